//! Two thousand connections that say nothing, or only half of what a connection begins with.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::site::{Callers, Manner, Setup, Site};
use super::{Findings, spread};
use crate::world::DEADLINE;

const SILENT: usize = 2000;
const ROOM: Setup = Setup { more: "limits: { max_connections: 3000 }\n", first: "" };

/// What some of them say before they say no more.
const SAID: [&[u8]; 3] = [b"", b"PRI * HTTP/2.0\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"];

/// How long the server bears with one.
async fn silent(to: SocketAddr, said: &'static [u8]) -> Result<Duration> {
    let mut stream = TcpStream::connect(to).await?;
    let begun = Instant::now();
    // It may be closed already.
    let _ = stream.write_all(said).await;
    let mut bytes = [0; 64];
    let from = stream.local_addr()?;
    let closed = async { while stream.read(&mut bytes).await.is_ok_and(|read| read > 0) {} };
    let said = String::from_utf8_lossy(said);
    timeout(DEADLINE, closed)
        .await
        .with_context(|| format!("one that said {said:?} stays open, from {from}"))?;
    Ok(begun.elapsed())
}

pub(super) async fn measure() -> Result<Findings> {
    let site = Site::start(ROOM).await?;
    let to = site.address()?;
    let known = site.warm(0, 10).await?;
    let manner = Manner { pause: Duration::from_millis(5), anew: false, may_be_shed: false };
    let usual = Callers::start(to, known.clone(), manner);
    let anew = Manner { pause: Duration::from_millis(50), anew: true, ..manner };
    let anew = Callers::start(to, known, anew);

    let mut connections = JoinSet::new();
    for number in 0..SILENT {
        connections.spawn(silent(to, SAID[number % SAID.len()]));
        // Not more at once than the system keeps for who accepts them.
        if number % 100 == 99 {
            sleep(Duration::from_millis(20)).await;
        }
    }
    let mut times = Vec::new();
    let mut most = 0;
    while !connections.is_empty() {
        most = most.max(site.process.usage().context("it ended")?.descriptors);
        while let Some(ended) = connections.try_join_next() {
            times.push(ended??);
        }
        sleep(Duration::from_millis(50)).await;
    }
    let (usual, anew) = (usual.stop().await?, anew.stop().await?);

    let mut findings = Findings::default();
    let longest = times.iter().max().copied().unwrap_or_default();
    findings.note(
        "silent connections; descriptors open at a time, at most",
        "2,000",
        format!("{}; {most}", times.len()),
    );
    findings.note(
        "the longest until one is closed",
        "10 s",
        format!("{:.1} s", longest.as_secs_f64()),
    );
    findings.note(
        "meanwhile on an open connection: let in; refused; p50, p99, longest",
        "all; none",
        format!("{}; {}; {}", usual.let_in, usual.wrong, spread(usual.times)),
    );
    findings.note(
        "meanwhile on a new connection each time: let in; refused; p50, p99, longest",
        "all; none",
        format!("{}; {}; {}", anew.let_in, anew.wrong, spread(anew.times)),
    );
    findings.hold(times.len() == SILENT, format!("{} connections were closed", times.len()));
    findings.hold(usual.wrong + anew.wrong == 0, format!("{} {}", usual.first, anew.first));
    findings.hold(usual.let_in > 0 && anew.let_in > 0, "nobody was let in meanwhile");
    findings.hold(site.process.ends() == 0, "the process ended");
    Ok(findings)
}
