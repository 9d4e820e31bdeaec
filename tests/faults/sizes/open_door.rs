//! An Envoy that lets requests pass where its check fails: nobody gets through whom Stagedoor
//! denied, in whatever way and for whatever reason.
//!
//! That a panic is a denial as well is shown by a decider that panics, in
//! `tests/e2e/faults.rs`: nobody can make the shipped program do so.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use devtenant::front::Authority;
use devtenant::tenant::{Endpoint, Fault};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::{Findings, a_second};
use crate::callers::{ALL, Caller, May};
use crate::support::envoy::{Envoy, EnvoyConfig, RawConnection};
use crate::support::stack::{AUDIENCE, OWNERS, request_of_many};
use crate::world::{Lane, Setting, World, until};

/// Requests that are denied, half of them while nothing else answers.
const WANTED: usize = 100_000;
/// Requests of each kind: those are sent over and over.
const EACH: u64 = 60;
/// Who asks at a time: anything, and what has to wait.
const ANYTHING: usize = 48;
const WAITING: usize = 96;
/// Few places for checks that wait, and a queue that is longer than what is left of a check's
/// time then: some are shed at once, some after a while.
const FEW: Setting = Setting {
    check: Some("{ max_concurrent: 16, queue_timeout: 100ms, deadline: 150ms }"),
    graph_wait: "100ms",
    more: "limits: { max_message_bytes: 32KiB }\n",
    ..Setting::USUAL
};
/// Much longer than Stagedoor's own deadline, so that it is Stagedoor that answers, on a
/// machine that does more than it can.
const CHECK_TIMEOUT: Duration = Duration::from_secs(6);
/// How that one calls itself who is let in all the time.
const OWNER: Caller = Caller::Owner;

/// How often each reason was told. What is no reason is an answer of Envoy's own.
type Told = BTreeMap<String, usize>;

/// Requests nobody may get through with: every way to be denied that the suite's callers know,
/// and what is no request that could be decided about.
fn denied(world: &World) -> Vec<Vec<u8>> {
    let mut requests = Vec::new();
    for caller in ALL.into_iter().filter(|caller| caller.may() == May::No) {
        requests.extend(of(world, caller));
    }
    let good = world.tenant.token().audience(AUDIENCE).groups(&[OWNERS]);
    let bearer = format!("Bearer {}", good.sign());
    let (none, large) = ("Bearer x".to_owned(), format!("Bearer {}", "x".repeat(40 * 1024)));
    let garbage = format!("Bearer eyJ.{}.x", "Q".repeat(2000));
    for (host, path, authorization) in [
        ("payments.example.com", "/v1/orders", &none),
        ("payments.example.com", "/v1/orders", &garbage),
        // A message that is too large to be read.
        ("payments.example.com", "/v1/orders", &large),
        // What nobody owns, and a path that can be read in two ways.
        ("nothing.apps.example.com", "/", &bearer),
        ("payments.example.com", "/v1/orders;a=b/c", &bearer),
    ] {
        let headers = [("x-caller", "other"), ("authorization", authorization.as_str())];
        for _ in 0..EACH / 4 {
            requests.push(request_of_many("GET", host, path, &headers));
        }
    }
    requests
}

fn of(world: &World, caller: Caller) -> Vec<Vec<u8>> {
    let mut kept = None;
    let request = |number| caller.request(&world.tenant, &world.old_key, &mut kept, number, 0);
    (0..EACH).map(request).collect()
}

/// Asks with all of these in turn until as many were asked as are wanted.
async fn ask(
    to: SocketAddr,
    requests: Arc<Vec<Vec<u8>>>,
    first: usize,
    asked: Arc<AtomicUsize>,
) -> Told {
    let (mut told, mut connection) = (Told::new(), RawConnection::default());
    for request in requests.iter().cycle().skip(first) {
        if asked.fetch_add(1, Ordering::Relaxed) >= WANTED / 2 {
            break;
        }
        *told.entry(answer(&mut connection, to, request).await).or_default() += 1;
    }
    told
}

/// The reason that is told, or what came instead of one.
async fn answer(connection: &mut RawConnection, to: SocketAddr, request: &[u8]) -> String {
    match connection.exchange(to, request).await {
        Ok(answer) => match (answer.status, answer.json()["reason"].as_str()) {
            (200, _) => "let in".to_owned(),
            (_, Some(reason)) => reason.to_owned(),
            (status, None) => format!("Envoy's own {status}"),
        },
        Err(_) => "no answer".to_owned(),
    }
}

/// Half of them, over all Envoys.
async fn half(
    envoys: &[Envoy],
    requests: &Arc<Vec<Vec<u8>>>,
    waiting: Option<&Arc<Vec<Vec<u8>>>>,
) -> Result<Told> {
    let asked = Arc::new(AtomicUsize::new(0));
    let mut askers = JoinSet::new();
    let groups = [(Some(requests), ANYTHING), (waiting, WAITING)];
    for (requests, count) in groups.into_iter().filter_map(|(of, count)| Some((of?, count))) {
        for (number, envoy) in (0..count).zip(envoys.iter().cycle()) {
            let first = number * requests.len() / count;
            askers.spawn(ask(envoy.address, Arc::clone(requests), first, Arc::clone(&asked)));
        }
    }
    let mut told = Told::new();
    while let Some(part) = askers.join_next().await {
        for (reason, count) in part? {
            *told.entry(reason).or_default() += count;
        }
    }
    Ok(told)
}

/// Who may get in, all the time: how often that was so, and what else was told.
async fn owner(to: SocketAddr, world: Arc<World>, stop: Arc<AtomicBool>) -> Told {
    let (mut told, mut kept, mut connection) = (Told::new(), None, RawConnection::default());
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let request = OWNER.request(&world.tenant, &world.old_key, &mut kept, number, 0);
        *told.entry(answer(&mut connection, to, &request).await).or_default() += 1;
        sleep(Duration::from_millis(20)).await;
    }
    told
}

pub(super) async fn measure() -> Result<Findings> {
    let lane = Lane::start().await?;
    let world = Arc::new(World::new(&lane, &Authority::generate()?, FEW).await?);
    world.process.start();
    let is_ready = || async {
        let answer = world.admin("/ready").await;
        answer.is_ok_and(|text| text.contains("\"pending\":[]"))
    };
    until("it is ready", is_ready).await.with_context(|| world.process.log())?;
    let to = world.process.running().grpc.context("it has no port")?;
    let mut envoys = Vec::new();
    for _ in 0..2 {
        let config = EnvoyConfig::tcp(to, lane.upstream.address());
        envoys.push(Envoy::start(config.failure_mode_allow().check_timeout(CHECK_TIMEOUT)).await?);
    }
    let requests = Arc::new(denied(&world));
    let waiting = [Caller::UnknownKey, Caller::ListedStranger, Caller::Gone];
    let waiting = Arc::new(waiting.into_iter().flat_map(|caller| of(&world, caller)).collect());

    let stop = Arc::new(AtomicBool::new(false));
    let first = envoys.first().context("there are two")?.address;
    let owner = tokio::spawn(owner(first, Arc::clone(&world), Arc::clone(&stop)));
    // Known from now on, so that it waits for nothing.
    let was_let_in = || async { lane.upstream.count_of(&OWNER.name()) > 0 };
    until("the owner is let in", was_let_in).await?;
    let begun = Instant::now();
    let mut told = half(&envoys, &requests, None).await?;
    for endpoint in [Endpoint::Keys, Endpoint::Graph] {
        world.tenant.faults().set(endpoint, Fault::Hang);
    }
    // And at times it gets no processor at all: what is under way then is late.
    let halted = Arc::clone(&world);
    let halts = tokio::spawn(async move {
        loop {
            sleep(Duration::from_millis(500)).await;
            halted.process.signal("STOP");
            sleep(Duration::from_millis(300)).await;
            halted.process.signal("CONT");
        }
    });
    let late = half(&envoys, &requests, Some(&waiting)).await;
    halts.abort();
    world.process.signal("CONT");
    for (reason, count) in late? {
        *told.entry(reason).or_default() += count;
    }
    let took = begun.elapsed();
    stop.store(true, Ordering::Relaxed);
    let owner = owner.await?;

    let mut allowed = 0;
    for envoy in &envoys {
        allowed += envoy.stats("http.front.ext_authz.failure_mode_allowed").await?;
    }
    let let_in = owner.get("let in").copied().unwrap_or_default();
    let others = lane.upstream.count() - lane.upstream.count_of(&OWNER.name());
    let seen = lane.upstream.count_of(&OWNER.name());
    let mut findings = report(&told, took, &world, [others, let_in, seen], allowed)?;
    let fairly = owner.keys().all(|told| ["let in", "timeout"].contains(&told.as_str()));
    findings.hold(fairly && let_in > 0, format!("the owner got {owner:?}"));
    Ok(findings)
}

/// What came of it, with how many requests the service saw of others, and how often the owner
/// was let in and seen.
fn report(
    told: &Told,
    took: Duration,
    world: &World,
    [others, let_in, seen]: [usize; 3],
    allowed: u64,
) -> Result<Findings> {
    let count = |reason: &str| told.get(reason).copied().unwrap_or_default();
    let asked: usize = told.values().sum();
    let is_reason = |told: &str| told.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    let odd: Vec<_> = told.iter().filter(|(told, _)| !is_reason(told)).collect();
    let mut findings = Findings::default();
    findings.note(
        "denied requests, through two Envoys with `failure_mode_allow`",
        "100,000",
        format!("{asked} at {:.0} a second", a_second(u64::try_from(asked)?, took)),
    );
    findings.note("of those, seen by the service", "0", others.to_string());
    findings.note("let through by an Envoy because the check failed", "0", allowed.to_string());
    let reasons: Vec<_> = told.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
    findings.note("what they were told", "", reasons.join(", "));
    findings.note(
        "the owner meanwhile: let in; seen by the service",
        "all",
        format!("{let_in}; {seen}"),
    );
    findings.hold(asked >= WANTED, format!("{asked} requests"));
    findings.hold(others == 0, format!("{others} got through"));
    findings.hold(allowed == 0, format!("Envoy let {allowed} pass by itself"));
    findings.hold(odd.is_empty(), format!("no denials: {odd:?}"));
    findings.hold(seen == let_in, format!("{let_in} owners were let in, {seen} were seen"));
    for reason in ["overloaded", "timeout", "request_malformed", "token_signature"] {
        findings.hold(count(reason) > 0, format!("nobody was told `{reason}`: {told:?}"));
    }
    findings.hold(told.len() >= 12, format!("only these reasons: {told:?}"));
    findings.hold(world.process.ends() == 0, "the process ended");
    findings.hold(world.process.leaks().is_empty(), "there is a token in what it writes");
    Ok(findings)
}
