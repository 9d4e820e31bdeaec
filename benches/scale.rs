//! The catalog of a large organisation: half a million entities from a catalog API in
//! another process. What reading, keeping and swapping it costs.
//!
//! `cargo bench --bench scale` prints figures; nothing is asserted about times.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark that fails ends")]
#![allow(clippy::indexing_slicing, clippy::print_stdout, reason = "it prints what it found")]
#![allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "figures")]

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use devtenant::backstage::{Backstage, BackstageOptions};
use devtenant::generated::Generated;
use stagedoor::catalog::{
    BackstageSettings, Catalog, CatalogSettings, CatalogState, GuardSettings, Membership, Snapshot,
    SourceSettings, load_with_progress, read_snapshot, write_snapshot,
};
use stagedoor::clock::Now;
use stagedoor::domain::{EntityRef, Holder, Identity, IdentityKind, TokenFacts};
use stagedoor::fetch::HttpClient;

const SERVE: &str = "--serve-generated";

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(at) = arguments.iter().position(|argument| argument == SERVE) {
        let edition = arguments[at + 1].parse().unwrap();
        runtime.block_on(serve(edition));
        return;
    }
    runtime.block_on(measure());
}

/// In the other process.
async fn serve(edition: usize) {
    let generated = Some(Generated { edition, ..Generated::large() });
    let options = BackstageOptions { generated, ..BackstageOptions::default() };
    let backstage = Backstage::start(options).await.unwrap();
    println!("{}", backstage.url());
    std::future::pending::<()>().await;
}

async fn measure() {
    let client = HttpClient::new().unwrap();
    println!("resident before: {} MB", status("VmRSS:"));
    let first = crawl(&client, 0).await;
    println!("resident at the peak of the first: {} MB", status("VmHWM:"));
    let second = crawl(&client, 1).await;
    println!("resident at the peak, with the first still there: {} MB", status("VmHWM:"));

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("snapshot");
    store(&first, &file);
    swap(first, second, &file).await;
}

async fn crawl(client: &HttpClient, edition: usize) -> Snapshot {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([SERVE, &edition.to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut url = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
    let settings = settings(url.trim());
    let (began, cpu) = (Instant::now(), cpu());
    let last = std::sync::Mutex::new((Instant::now(), cpu));
    let progress = |_| *last.lock().unwrap() = (Instant::now(), self::cpu());
    let snapshot = load_with_progress(&settings, client, &progress).await.unwrap();
    let (crawled, crawled_cpu) = *last.lock().unwrap();
    let (entities, groups, users) = snapshot.counts();
    println!("\n{entities} entities, {groups} groups, {users} users");
    println!(
        "crawl:   {:>6} ms, of which our CPU {:>6} ms",
        (crawled - began).as_millis(),
        (crawled_cpu - cpu).as_millis()
    );
    println!(
        "compile: {:>6} ms, of which our CPU {:>6} ms (with one last count of entities)",
        crawled.elapsed().as_millis(),
        (self::cpu() - crawled_cpu).as_millis()
    );
    child.kill().unwrap();
    child.wait().unwrap();
    snapshot
}

fn store(snapshot: &Snapshot, file: &Path) {
    let began = Instant::now();
    write_snapshot(snapshot, file).unwrap();
    let size = std::fs::metadata(file).unwrap().len();
    println!("\nwritten: {} MB in {} ms", size / 1_000_000, began.elapsed().as_millis());
    let times: Vec<u128> = (0..5)
        .map(|_| {
            let began = Instant::now();
            read_snapshot(file).unwrap();
            began.elapsed().as_millis()
        })
        .collect();
    println!("read:    {times:?} ms");
}

/// What a decision asks of the catalog, while snapshots are swapped and while they aren't.
async fn swap(first: Snapshot, second: Snapshot, file: &Path) {
    let catalog = Catalog::new(settings("http://127.0.0.1:1"));
    catalog.publish(first, Now::read());
    let stop = Arc::new(AtomicBool::new(false));
    let mut asking = Asking { catalog: catalog.clone(), turn: 0 };
    let quiet = asking.for_a_while(Duration::from_secs(3), &stop);
    let swapping = std::thread::spawn({
        let (catalog, stop, file) = (catalog.clone(), Arc::clone(&stop), file.to_owned());
        let runtime = tokio::runtime::Handle::current();
        move || {
            let _in = runtime.enter();
            let mut next = Some(second);
            let mut swaps = 0;
            while !stop.load(Ordering::Relaxed) {
                catalog.publish(next.take().unwrap(), Now::read());
                swaps += 1;
                next = Some(read_snapshot(&file).unwrap());
            }
            swaps
        }
    });
    let busy = asking.for_a_while(Duration::from_secs(3), &stop);
    stop.store(true, Ordering::Relaxed);
    let swaps = swapping.join().unwrap();
    println!("\nlookups of a decision (nanoseconds)    p50     p99   p99.9       max");
    println!("without swaps                       {}", row(quiet));
    println!("with {swaps:>3} swaps beside                {}", row(busy));
}

struct Asking {
    catalog: Catalog,
    turn: usize,
}

impl Asking {
    fn for_a_while(&mut self, time: Duration, _stop: &AtomicBool) -> Vec<u64> {
        let generated = Generated::large();
        let mut took = Vec::with_capacity(4_000_000);
        let began = Instant::now();
        while began.elapsed() < time {
            self.turn += 1;
            let number = self.turn.wrapping_mul(7919) % generated.components;
            let entity =
                EntityRef::parse(&format!("component:default/service-{number:06}")).unwrap();
            let caller = caller(generated.owner(number));
            let (began, now) = (Instant::now(), Now::read());
            let CatalogState::Fresh(snapshot) = self.catalog.current(now) else { continue };
            let entity = snapshot.entity(&entity).unwrap();
            let groups = snapshot.groups_of(&caller, &caller.groups(), Membership::Token);
            let owns = entity.owners().any(|owner| groups.contains(&owner));
            std::hint::black_box(owns);
            drop(snapshot);
            took.push(began.elapsed().as_nanos() as u64);
        }
        took
    }
}

fn caller(group: usize) -> Identity {
    Holder {
        tenant: "11111111-2222-3333-4444-555555555555".parse().unwrap(),
        object: Generated::user_id(group).parse().unwrap(),
        kind: IdentityKind::User,
        delegated: true,
        client: None,
        groups: [Generated::group_id(group).parse().unwrap()].into(),
        group_names: Box::new([]),
        groups_elsewhere: false,
        roles: Box::new([]),
        scopes: Box::new([]),
        issued_at: 0,
        expires_at: 0,
        facts: TokenFacts::default(),
    }
    .into()
}

fn row(mut took: Vec<u64>) -> String {
    took.sort_unstable();
    let at = |per_mille: usize| took[(took.len() - 1) * per_mille / 1000];
    format!("{:>7} {:>7} {:>7} {:>9}", at(500), at(990), at(999), at(1000))
}

fn settings(url: &str) -> CatalogSettings {
    CatalogSettings {
        source: SourceSettings::Backstage(BackstageSettings {
            url: url.parse().unwrap(),
            token_file: None,
            page_size: 1000,
            crawl_timeout: Duration::from_secs(600),
            trusted_id_locations: Vec::new(),
            graph_providers: Vec::new(),
        }),
        refresh_every: Duration::from_secs(60),
        max_age: Duration::from_secs(3600),
        guard: GuardSettings { max_loss_percent: 20, max_reassigned_percent: 20, adopt_after: 10 },
        root_groups_grant: false,
        store: None,
        shared: None,
    }
}

/// A line of this process's status, in megabytes.
fn status(name: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024 / 1_000_000
}

/// The processor time of this process.
fn cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = text.rsplit(") ").next().unwrap_or("").split(' ').collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
    // A hundred a second on Linux.
    Duration::from_millis((ticks(11) + ticks(12)) * 10)
}
