//! Raw gRPC: what a request costs the server.

use anyhow::{Result, ensure};
use tokio::runtime::Runtime;

use super::{Plan, cost, per_second, percentiles};
use crate::load::{Load, Message, Target};
use crate::process::Process;
use crate::report::Table;
use crate::world::{Sends, Setup, World, host, messages};

const REQUESTS: usize = 60_000;
const YES: &str = "always yes";
const WARM: &str = "Stagedoor, 1 token";
const STEALING: &str = "Stagedoor, 1 token, one runtime that steals work";
const YES_FEW: &str = "always yes, few headers";
const FEW: &str = "Stagedoor, 1 token, few headers";

/// One server, and what it is asked.
struct Contender {
    name: String,
    server: usize,
    messages: std::sync::Arc<[Message]>,
    allowed: bool,
}

/// Compares them.
pub(super) fn measure(plan: &Plan, runtime: &Runtime, world: &World) -> Result<Vec<Table>> {
    let mut servers: Vec<(Process, Target)> = Vec::new();
    let mut contenders = Vec::new();
    // They take a while to sign.
    let number = if plan.only.is_none() { plan.requests(100_000) } else { 1000 };
    let with = |tokens: usize, first| messages(&world.tokens(tokens, first), &host(0), Sends::All);
    let (one, thousand, many) = (with(1, 0), with(1000, 0), with(number, 0));
    let others = with(1, 7);
    let few = messages(&world.tokens(1, 0), &host(0), Sends::Used);
    for (workers, unix, note) in
        [(1, false, ""), (1, true, ", Unix socket"), (2, false, ", 2 workers")]
    {
        let mut add = |name: &str, server: usize, messages: &std::sync::Arc<[Message]>, allowed| {
            let (name, messages) = (format!("{name}{note}"), std::sync::Arc::clone(messages));
            contenders.push(Contender { name, server, messages, allowed });
        };
        add(YES, servers.len(), &one, true);
        if note.is_empty() {
            add(YES_FEW, servers.len(), &few, true);
        }
        servers.push(runtime.block_on(world.yes(workers, unix))?);
        let setup = Setup { workers, unix, ..Setup::default() };
        let name = format!("raw-{}", servers.len());
        let stagedoor = runtime.block_on(world.stagedoor(&name, &setup))?;
        add(WARM, servers.len(), &one, true);
        if note.is_empty() {
            add(FEW, servers.len(), &few, true);
            add("Stagedoor, 1,000 tokens", servers.len(), &thousand, true);
            add("Stagedoor, 100,000 tokens", servers.len(), &many, true);
            add("Stagedoor, denied", servers.len(), &others, false);
        }
        servers.push((stagedoor.process, stagedoor.target));
    }
    // With no workers of their own, connections are served on the runtime that everything
    // else runs on: the usual one, with threads that steal work from each other.
    let setup = Setup { workers: 0, ..Setup::default() };
    let stagedoor = runtime.block_on(world.stagedoor("raw-stealing", &setup))?;
    contenders.push(Contender {
        name: STEALING.to_owned(),
        server: servers.len(),
        messages: std::sync::Arc::clone(&one),
        allowed: true,
    });
    servers.push((stagedoor.process, stagedoor.target));
    let setup = Setup { audit: true, ..Setup::default() };
    let stagedoor = runtime.block_on(world.stagedoor("raw-audit", &setup))?;
    contenders.push(Contender {
        name: "Stagedoor, 1 token, each on record in a file".to_owned(),
        server: servers.len(),
        messages: one,
        allowed: true,
    });
    servers.push((stagedoor.process, stagedoor.target));

    let mut table = Table::new(
        "raw",
        "raw gRPC",
        &[
            ("CPU µs", 2),
            ("requests/s", 0),
            ("p50 µs", 0),
            ("p90 µs", 0),
            ("p99 µs", 0),
            ("p99.9 µs", 0),
            ("resident MiB", 0),
        ],
    );
    let mut aims = Table::new("raw-ratios", "ratio of CPU time", &[("ratio", 2)]);
    contenders.retain(|contender| plan.only.as_ref().is_none_or(|only| contender.name == *only));
    // Everything is warm before anything is measured.
    for pass in 0..=plan.passes {
        // Nobody is always after the same.
        let first = pass.saturating_sub(1);
        for contender in contenders.iter().cycle().skip(first).take(contenders.len()) {
            let Some((process, target)) = servers.get(contender.server) else { continue };
            let many = contender.messages.len();
            let load = Load {
                target: target.clone(),
                connections: 2,
                streams: 16,
                requests: if pass == 0 { many.max(5000) } else { plan.requests(REQUESTS) },
                rate: None,
            };
            let next = |number: usize| {
                contender
                    .messages
                    .get(number % many)
                    .cloned()
                    .unwrap_or_else(|| Message { frame: bytes::Bytes::new(), is_forged: true })
            };
            let cost = cost(process, &load, &next)?;
            let expected =
                if contender.allowed { cost.outcome.allowed } else { cost.outcome.denied };
            ensure!(expected == load.requests, "{}: {:?}", contender.name, cost.outcome.allowed);
            if pass > 0 {
                let [p50, p90, p99, p999] = percentiles(&cost.outcome.good);
                let rate = per_second(load.requests, cost.outcome.took);
                let resident = f64::from(u32::try_from(process.resident()? >> 10)?) / 1024.0;
                table.add(&contender.name, &[cost.micros, rate, p50, p90, p99, p999, resident]);
            }
        }
    }
    if plan.only.is_some() {
        return Ok(vec![table]);
    }
    for (name, of, by) in [
        ("a warm decision ÷ always yes (aim: at most 0.75)", WARM.to_owned(), YES.to_owned()),
        ("the same with only the headers that are used", FEW.to_owned(), YES_FEW.to_owned()),
        (
            "the same over a Unix socket",
            format!("{WARM}, Unix socket"),
            format!("{YES}, Unix socket"),
        ),
        ("the same with 2 workers", format!("{WARM}, 2 workers"), format!("{YES}, 2 workers")),
        ("a denial ÷ an allow (aim: at most 1.1)", "Stagedoor, denied".to_owned(), WARM.to_owned()),
        (
            "one runtime that steals work ÷ 2 workers",
            STEALING.to_owned(),
            format!("{WARM}, 2 workers"),
        ),
        (
            "on record in a file ÷ not on record",
            "Stagedoor, 1 token, each on record in a file".to_owned(),
            WARM.to_owned(),
        ),
    ] {
        let (over, under) = (table.figure(&of, 0)?, table.figure(&by, 0)?);
        // The median of ratios would need pairs; extremes against extremes bound it.
        aims.add(name, &[over.least() / under.most()]);
        aims.add(name, &[over.median() / under.median()]);
        aims.add(name, &[over.most() / under.least()]);
    }
    Ok(vec![table, aims])
}
