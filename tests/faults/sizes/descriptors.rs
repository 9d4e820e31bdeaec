//! Sixty-four descriptors and a flood of connections that say nothing.

use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::time::{Instant, sleep};

use super::client::{Client, Outcome};
use super::site::{Setup, Site};
use super::{Findings, mebibytes};
use crate::figures::millis;
use crate::floods::silent_connections;

const DESCRIPTORS: usize = 64;
/// Those that were open before there were so few stay open, whatever their number.
const BEFORE: usize = 4;
const FLOOD: usize = 200;
/// How long processor time is counted.
const WATCHED: Duration = Duration::from_secs(10);
/// Between two requests of somebody who is known.
const PAUSE: Duration = Duration::from_millis(50);

/// When there are so few.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Since {
    /// It knows, and takes in fewer connections than that.
    TheStart,
    /// It doesn't know, and the system refuses.
    Lately,
}

pub(super) async fn measure() -> Result<Findings> {
    let mut findings = Findings::default();
    for (since, name) in [
        (Since::TheStart, "64 from the start"),
        (Since::Lately, "64 from some time after the start"),
    ] {
        flood(since, name, &mut findings).await?;
    }
    Ok(findings)
}

async fn flood(since: Since, name: &str, findings: &mut Findings) -> Result<()> {
    let first = if since == Since::TheStart { "ulimit -n 64;" } else { "" };
    let site = Site::start(Setup { first, ..Setup::default() }).await?;
    let to = site.address()?;
    let known = site.warm(0, 1).await?.remove(0);
    let mut client = Client::connect(to, 1).await?;
    // A connection on which nothing was asked yet makes room for others.
    anyhow::ensure!(client.one(&known).await?.outcome() == Outcome::Allowed, "it is refused");
    let usage = || site.process.usage().context("it ended");
    if since == Since::Lately {
        site.process.limit(&format!("--nofile={DESCRIPTORS}:"))?;
    }

    let attack = tokio::spawn(silent_connections(to, FLOOD));
    sleep(Duration::from_secs(1)).await;
    let (before, begun) = (usage()?, Instant::now());
    let (mut let_in, mut wrong, mut most) = (0_u32, 0_u32, 0);
    while begun.elapsed() < WATCHED {
        match client.one(&known).await?.outcome() {
            Outcome::Allowed => let_in += 1,
            _ => wrong += 1,
        }
        most = most.max(usage()?.descriptors);
        sleep(PAUSE).await;
    }
    let after = usage()?;
    let spent = after.processor.saturating_sub(before.processor);
    let busy = spent.as_secs_f64() / begun.elapsed().as_secs_f64();
    attack.abort();
    let begun = Instant::now();
    let answer = Client::connect(to, 1).await?.one(&known).await?;
    let served = begun.elapsed();
    // With nobody in the way, so that it can be asked.
    let refused = site.process.metric("stagedoor_connection_accept_errors_total").await;

    findings.note(
        format!("{name}: processors busy, of {FLOOD} connections that come again and again"),
        "0.1",
        format!("{busy:.3}"),
    );
    findings.note(
        format!("{name}: served on a new connection after it within"),
        "1,000 ms",
        format!("{:.0} ms", millis(served)),
    );
    findings.note(
        format!("{name}: descriptors at most; accepting failed; memory"),
        "",
        format!("{most}; {refused:.0} times; {}", mebibytes(after.memory)),
    );
    findings.note(
        format!("{name}: known callers let in meanwhile; refused"),
        "all; none",
        format!("{let_in}; {wrong}"),
    );
    findings.hold(answer.outcome() == Outcome::Allowed, format!("afterwards: {}", answer.text()));
    findings.hold(wrong == 0 && let_in > 0, format!("{let_in} were let in, {wrong} were not"));
    findings.hold(
        most > DESCRIPTORS / 2 && most <= DESCRIPTORS + BEFORE,
        format!("{name}: {most} descriptors were open"),
    );
    findings.hold(
        since == Since::TheStart || refused > 0.0,
        format!("{name}: there were descriptors left"),
    );
    findings.hold(site.process.ends() == 0, "the process ended");
    Ok(())
}
