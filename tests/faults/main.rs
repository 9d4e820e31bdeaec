//! Every way to fail that can be brought about, each with requests going on all the time
//! through a real Envoy: nobody gets in who may not, nobody is refused whom the fault
//! doesn't concern, and everything is well again without a hand.
//!
//! Usually each fault comes once, to a server that is warm where it can. With
//! `STAGEDOOR_FAULTS=all` each comes in all its states, and with `STAGEDOOR_FAULTS=few` those
//! come that stand for the others; `STAGEDOOR_FAULTS_TO` names a file that gets the table, `STAGEDOOR_FAULTS_ONLY` a
//! part of the names, and `STAGEDOOR_BINARY` another program than the one built with this. With
//! `STAGEDOOR_FAULTS_DEADLINES=shipped` checks get as little time as they do where nothing is set.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test a panic is the result")]
#![allow(clippy::indexing_slicing, clippy::string_slice, clippy::panic, reason = "as above")]
#![allow(clippy::print_stderr, reason = "who waits for minutes wants to see that it goes on")]

mod callers;
mod catalog;
mod directory;
mod door;
mod everything;
mod figures;
mod floods;
mod identity;
mod lifecycle;
mod load;
mod machine;
#[path = "../support/message.rs"]
mod message;
mod policies;
mod process;
mod run;
mod shared;
mod sinks;
mod sizes;
mod soak;
mod storage;
#[path = "../support/mod.rs"]
mod support;
mod table;
mod tls;
mod world;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use devtenant::front::Authority;
use run::{Fault, Row, State};
use tokio::sync::Semaphore;
use world::Lane;

/// Worlds at a time, each with an Envoy.
const LANES: usize = 2;

/// Those that stand for the others where there is little time: at least one of a kind.
const FEW: [&str; 25] = [
    "documents answered with 500",
    "garbage instead of documents",
    "the tenant accepts and is silent",
    "the tenant's certificate is nobody's",
    "a new key signs from one moment to the next",
    "a key is withdrawn",
    "fifty made-up key ids at a time",
    "groups answered with 503",
    "groups that never come",
    "a next page at another place",
    "no entities, with 200",
    "the owning team is gone",
    "Backstage is down",
    "restart while nothing else can be had",
    "restart with one flipped bit in the snapshot",
    "policies that are no Cedar",
    "the policies let nobody in any more",
    "revocations that are garbage",
    "SIGTERM under load, and a restart",
    "nobody takes the records",
    "tenant, Graph, Backstage, collector and log hang",
    "one-time tokens, all of them valid",
    "its certificate is half written",
    "Envoy's certificate is of a strange authority",
    "an old snapshot is put back, to who follows",
];

fn all() -> Vec<Fault> {
    let families = [
        identity::faults,
        directory::faults,
        catalog::faults,
        storage::faults,
        policies::faults,
        lifecycle::faults,
        machine::faults,
        sinks::faults,
        everything::faults,
        floods::faults,
        tls::faults,
        shared::faults,
    ];
    families.iter().flat_map(|faults| faults()).collect()
}

/// How much of it is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extent {
    /// Each fault in all its states.
    All,
    /// Each fault in the most telling state.
    Once,
    /// As `Once`, and of faults that are alike one stands for the others.
    Few,
}

impl Extent {
    fn of(setting: &str) -> Self {
        match setting {
            "all" => Self::All,
            "few" => Self::Few,
            "" => Self::Once,
            other => panic!("STAGEDOOR_FAULTS is `all`, `few` or nothing, and not `{other}`"),
        }
    }
}

/// What is to be played.
fn selection(faults: &[Fault], extent: Extent, only: &str) -> Vec<(usize, State)> {
    let mut chosen = Vec::new();
    let whole = extent == Extent::All;
    for (index, fault) in faults.iter().enumerate() {
        if extent == Extent::Few && !FEW.contains(&fault.name) {
            continue;
        }
        if !format!("{}: {}", fault.family, fault.name).contains(only) {
            continue;
        }
        let warm = fault.states.contains(&State::Warm);
        let is_one = |state: &&State| whole || !warm || **state == State::Warm;
        chosen.extend(fault.states.iter().filter(is_one).map(|state| (index, *state)));
    }
    chosen
}

async fn play_all(faults: Arc<Vec<Fault>>, chosen: Vec<(usize, State)>) -> Vec<Row> {
    let authority = Arc::new(Authority::generate().unwrap());
    let queue = Arc::new(Mutex::new(chosen.into_iter().enumerate().collect::<VecDeque<_>>()));
    let room = Arc::new(Semaphore::new(LANES));
    let lanes = (0..LANES).map(|_| {
        let (faults, queue) = (Arc::clone(&faults), Arc::clone(&queue));
        let room = Arc::clone(&room);
        let authority = Arc::clone(&authority);
        tokio::spawn(async move {
            let lane = Arc::new(Lane::start().await.unwrap());
            let mut rows = Vec::new();
            loop {
                let next = queue.lock().unwrap().pop_front();
                let Some((number, (index, state))) = next else { return rows };
                let fault = &faults[index];
                let places = if fault.alone { LANES } else { 1 };
                let places = room.acquire_many(u32::try_from(places).unwrap()).await.unwrap();
                let row = run::play(&lane, &authority, fault, state).await;
                drop(places);
                let mark = if row.is_good() { "good" } else { "WRONG" };
                eprintln!(
                    "{mark}: {}: {}, {} ({} requests in {:.1?}, 99 % in {:.0?}, recovered in {:.1?}) {}",
                    row.family,
                    row.name,
                    state.name(),
                    row.requests,
                    row.took,
                    row.times.map(Option::unwrap_or_default),
                    row.recovered.unwrap_or_default(),
                    if mark == "good" { "" } else { row.error.as_deref().unwrap_or("") },
                );
                rows.push((number, row));
            }
        })
    });
    let lanes = futures_util::future::join_all(lanes).await;
    let mut rows: Vec<_> = lanes.into_iter().flat_map(Result::unwrap).collect();
    rows.sort_by_key(|(number, _)| *number);
    rows.into_iter().map(|(_, row)| row).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_fails_lets_anybody_in() {
    let setting = |name: &str| std::env::var(name).unwrap_or_default();
    let faults = Arc::new(all());
    let extent = Extent::of(&setting("STAGEDOOR_FAULTS"));
    let chosen = selection(&faults, extent, &setting("STAGEDOOR_FAULTS_ONLY"));
    assert!(!chosen.is_empty(), "no fault has such a name");
    let rows = play_all(Arc::clone(&faults), chosen).await;
    let (table, sums) = (table::table(&rows), table::sums(&rows));
    let figures = figures::table(&rows);
    eprintln!("{table}\n{sums}\n\n{figures}");
    for row in rows.iter().filter(|row| !row.is_good()) {
        let (name, state) = (row.name, row.state.name());
        eprintln!("\n{}: {name}, {state}: {:?}", row.family, row.wrongs);
        if let Some(error) = &row.error {
            eprintln!("{error}");
        }
    }
    let to = setting("STAGEDOOR_FAULTS_TO");
    if !to.is_empty() {
        write_between(&to, "begin", "end", &format!("{sums}\n\n{figures}\n{table}"));
    }
    assert!(rows.iter().all(Row::is_good), "something went wrong: see above");
}

/// Puts a text between two marks of a page.
fn write_between(page: &str, begin: &str, end: &str, text: &str) {
    let [begin, end] = [begin, end].map(|mark| format!("<!-- {mark} -->"));
    let all = std::fs::read_to_string(page).unwrap();
    let (before, rest) = all.split_once(&format!("{begin}\n")).unwrap();
    let (_, after) = rest.split_once(&end).unwrap();
    std::fs::write(page, format!("{before}{begin}\n{text}{end}{after}")).unwrap();
}

/// Sixty is what was asked for; a fault that is taken out by mistake is missed here.
#[test]
fn there_are_enough_of_them() {
    let faults = all();
    assert!(faults.len() >= 80, "{} faults", faults.len());
    let rows = selection(&faults, Extent::All, "").len();
    assert!(rows >= 190, "{rows} rows");
    assert_eq!(selection(&faults, Extent::Once, "").len(), faults.len(), "each once");
    assert_eq!(selection(&faults, Extent::Few, "").len(), FEW.len(), "each has this name");
    let mut names: Vec<_> = faults.iter().map(|fault| (fault.family, fault.name)).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), faults.len(), "each has a name of its own");
}
