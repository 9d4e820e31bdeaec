//! Memory with ten thousand entities: at rest, and while millions of tokens come that are all
//! valid and each come once, beside two thousand connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::client::{Client, Outcome, apart};
use super::mint::Form;
use super::site::{KEY, PATH, RECORDS_TO_NOWHERE, Setup, Site};
use super::{Findings, a_second, mebibytes};

/// Unless `STAGEDOOR_FIGURES_TOKENS` says another number.
const TOKENS: u64 = 5_000_000;
/// Where the machine can't do as many in this time, it is as many as it can.
const MOST_TIME: Duration = Duration::from_secs(8 * 60);
const OPEN: usize = 2000;
/// Each of those asks so often.
const EVERY: Duration = Duration::from_secs(15);
/// Tokens on their way at a time, over so many connections.
const AT_A_TIME: usize = 64;
const LINES: usize = 4;
/// What `docs/deploy.md` says that it takes.
const MOST: u64 = 512 << 20;
/// Parts of all tokens after which memory is looked at.
const PARTS: u64 = 20;
/// Numbers of tokens that are not among them.
const OTHERS: u64 = 900_000_000_000;

const SETUP: Setup =
    Setup { more: "limits: { max_connections: 2500 }\n", first: RECORDS_TO_NOWHERE };

/// A connection that stays open and asks now and then; it ends at an answer that is wrong.
async fn open(to: SocketAddr, check: Bytes, answers: Arc<AtomicU64>) -> Result<()> {
    let mut client = Client::connect(to, 1).await?;
    loop {
        let answer = client.one(&check).await?;
        ensure!(answer.outcome() == Outcome::Allowed, "who is known got: {}", answer.text());
        answers.fetch_add(1, Ordering::Relaxed);
        let begun = Instant::now();
        while begun.elapsed() < EVERY {
            // Pings are answered meanwhile.
            client.turn(Duration::from_secs(5), &mut Vec::new()).await?;
        }
    }
}

/// What became of the tokens.
#[derive(Debug, Default)]
struct Flood {
    let_in: u64,
    shed: u64,
    wrong: u64,
    first: String,
}

pub(super) async fn measure() -> Result<Findings> {
    let wanted = std::env::var("STAGEDOOR_FIGURES_TOKENS")
        .map_or(TOKENS, |text| text.parse().expect("a number of tokens"));
    let site = Site::start(SETUP).await?;
    let to = site.address()?;
    let usage = || site.process.usage().context("it ended");
    sleep(Duration::from_secs(5)).await;
    let at_rest = usage()?.memory;

    let check = site.warm(OTHERS, 1).await?.remove(0);
    let answers = Arc::new(AtomicU64::new(0));
    let mut connections = JoinSet::new();
    for number in 0..OPEN {
        connections.spawn(open(to, check.clone(), Arc::clone(&answers)));
        // Not more at once than the system keeps for who accepts them.
        if number % 100 == 99 {
            sleep(Duration::from_millis(50)).await;
        }
    }
    crate::world::until("each was answered", || async {
        answers.load(Ordering::Relaxed) >= OPEN as u64
    })
    .await?;
    let with_connections = usage()?.memory;

    let done = Arc::new(AtomicU64::new(0));
    let (mint, key, counted) = (site.mint.clone(), Arc::clone(&site.key), Arc::clone(&done));
    let tokens = tokio::spawn(apart(move || async move {
        let sign = |number| mint.signed(number, KEY, &key);
        flood(to, &sign, wanted, &counted).await
    }));
    let mut series = Vec::new();
    while !tokens.is_finished() {
        let part = done.load(Ordering::Relaxed) * PARTS / wanted.max(1);
        if part > series.len() as u64 {
            series.push(usage()?.memory >> 20);
        }
        sleep(Duration::from_millis(50)).await;
    }
    let (flood, took) = tokens.await??;
    let end = usage()?;
    let descriptors = end.descriptors;
    let ended = connections.try_join_next();
    connections.abort_all();

    let mut findings = Findings::default();
    findings.note("at rest, with 10,000 entities", "64 MiB", mebibytes(at_rest));
    findings.note(
        "with 2,000 connections, each of which asked once",
        "",
        mebibytes(with_connections),
    );
    let all = flood.let_in + flood.shed + flood.wrong;
    findings.note(
        "distinct valid tokens beside them: let in; turned away",
        "5 million",
        format!("{}; {}, {:.0} a second", flood.let_in, flood.shed, a_second(all, took)),
    );
    findings.note("the most, from the start on", "128 MiB", mebibytes(end.peak));
    let shown: Vec<_> = series.iter().map(u64::to_string).collect();
    findings.note("MiB after each twentieth of the tokens", "", shown.join(", "));
    findings.note(
        "descriptors at the end; answers on the 2,000 connections, all of them right",
        "",
        format!("{descriptors}; {}", answers.load(Ordering::Relaxed)),
    );
    findings.hold(end.peak <= MOST, format!("{} bytes at most", end.peak));
    // Whatever its bounds are, they have to hold: the last tokens cost no more than those in the
    // middle.
    let (middle, last) = (series.get(series.len() / 2), series.last());
    findings.hold(
        middle.zip(last).is_some_and(|(middle, last)| last * 10 <= middle * 11),
        format!("it grows on: {shown:?}"),
    );
    findings.hold(flood.wrong == 0, format!("{} got: {}", flood.wrong, flood.first));
    findings.hold(flood.let_in > wanted / 10, format!("only {} were let in", flood.let_in));
    findings.hold(ended.is_none(), format!("a connection ended: {ended:?}"));
    findings.hold(descriptors > OPEN, format!("only {descriptors} descriptors"));
    findings.hold(site.process.ends() == 0, "the process ended");
    Ok(findings)
}

/// Sends so many tokens, or as many as there is time for.
async fn flood(
    to: SocketAddr,
    sign: &dyn Fn(u64) -> String,
    wanted: u64,
    done: &AtomicU64,
) -> Result<(Flood, Duration)> {
    let form = Form::like(&sign(0), PATH);
    let mut client = Client::connect(to, LINES).await?;
    let mut flood = Flood::default();
    let begun = Instant::now();
    let goes_on = |number: u64| number < wanted && begun.elapsed() < MOST_TIME;
    let next = |number: u64| (number, form.with(&sign(number)));
    let asking = client.closed(AT_A_TIME, goes_on, next, |answer| {
        match answer.outcome() {
            Outcome::Allowed => flood.let_in += 1,
            Outcome::TurnedAway => flood.shed += 1,
            _ => {
                if flood.wrong == 0 {
                    flood.first = answer.text();
                }
                flood.wrong += 1;
            }
        }
        done.fetch_add(1, Ordering::Relaxed);
    });
    let took = asking.await?.took;
    Ok((flood, took))
}
