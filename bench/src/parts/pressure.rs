//! Known callers while others send tokens that nobody signed.

use anyhow::{Result, ensure};
use tokio::runtime::Runtime;

use super::{Plan, cost, percentiles};
use crate::load::{Load, Message};
use crate::report::Table;
use crate::world::{Sends, Setup, World, forged, host, messages};

/// Requests of known callers a second.
const RATE: f64 = 5000.0;
const REQUESTS: usize = 30_000;
const ALONE: &str = "nothing else";
const THIRTY: &str = "and 30 % of all are forged";
const MOST: &str = "and 75 % of all are forged";

/// The latency of the known ones, without and with the others.
pub(super) fn measure(plan: &Plan, runtime: &Runtime, world: &World) -> Result<Vec<Table>> {
    let stagedoor = runtime.block_on(world.stagedoor("forged", &Setup::default()))?;
    let good = messages(&world.tokens(1000, 0), &host(0), Sends::All);
    let token = world.tokens(1, 0).pop().unwrap_or_default();
    let mut table = Table::new(
        "forged",
        "known callers, 5,000 requests a second of theirs",
        &[("p50 µs", 0), ("p90 µs", 0), ("p99 µs", 0), ("p99.9 µs", 0), ("shed", 0)],
    );
    let good_at = |number: usize| good.get(number % good.len()).cloned();
    let none = || Message { frame: bytes::Bytes::new(), is_forged: true };
    let mut made = 0;
    for pass in 0..=plan.passes {
        // Nobody is always the first, or after the same.
        let mut turns = [(ALONE, 0_usize), (THIRTY, 6), (MOST, 15)];
        turns.rotate_left(pass.saturating_sub(1) % 3);
        for (name, share) in turns {
            let requests = plan.requests(REQUESTS) * 20 / (20 - share);
            let known = f64::from(u32::try_from(20 - share)?);
            let load = Load {
                target: stagedoor.target.clone(),
                connections: 2,
                streams: 64,
                requests,
                rate: Some(RATE * 20.0 / known),
            };
            // Made beforehand, each once: the load must cost no more with them.
            let bad: Vec<Message> = (0..requests * share / 20 + 20)
                .map(|number| forged(&token, &host(0), made + number))
                .collect();
            made += bad.len();
            let next = |number: usize| {
                if number % 20 < share {
                    bad.get(number / 20 * share + number % 20).cloned().unwrap_or_else(none)
                } else {
                    good_at(number).unwrap_or_else(none)
                }
            };
            let outcome = cost(&stagedoor.process, &load, &next)?.outcome;
            let forged = usize::try_from(outcome.forged.len())?;
            ensure!(outcome.allowed == requests - forged, "{}: {}", name, outcome.allowed);
            if pass > 0 {
                let [p50, p90, p99, p999] = percentiles(&outcome.good);
                let shed = f64::from(u32::try_from(outcome.unavailable)?);
                table.add(name, &[p50, p90, p99, p999, shed]);
            }
        }
    }
    let mut ratios = Table::new("forged-ratios", "ratio of p99", &[("ratio", 2)]);
    for (name, of) in [
        ("30 % forged ÷ nothing else (aim: at most 1.5)", THIRTY),
        ("75 % forged ÷ nothing else", MOST),
    ] {
        let (over, under) = (table.figure(of, 2)?, table.figure(ALONE, 2)?);
        ratios.add(name, &[over.least() / under.most()]);
        ratios.add(name, &[over.median() / under.median()]);
        ratios.add(name, &[over.most() / under.least()]);
    }
    Ok(vec![table, ratios])
}
