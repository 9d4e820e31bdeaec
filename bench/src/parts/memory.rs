//! What a cached token takes, all in.

use anyhow::{Result, ensure};
use tokio::runtime::Runtime;

use super::Plan;
use crate::load::{Load, Message, run};
use crate::report::Table;
use crate::world::{Sends, Setup, World, host, messages};

const TOKENS: usize = 100_000;
const MORE_TRIES: usize = 4;

/// Resident memory before and after many tokens, each seen once.
pub(super) fn measure(plan: &Plan, runtime: &Runtime, world: &World) -> Result<Vec<Table>> {
    let tokens = world.tokens(plan.requests(TOKENS), 0);
    let mut table = Table::new("memory", "resident memory", &[("bytes a token", 0)]);
    for (name, host) in [
        ("a token of 20 groups (aim: at most 350)", "whoami.example.com".to_owned()),
        ("a token, and a decision about one service", host(0)),
    ] {
        for pass in 0..plan.passes.min(3) {
            let setup = Setup::default();
            let name_of = format!("memory-{}-{pass}", table.rows.len());
            let stagedoor = runtime.block_on(world.stagedoor(&name_of, &setup))?;
            let all = messages(&tokens, &host, Sends::All);
            let send = |from: usize, requests: usize| {
                let load = Load {
                    target: stagedoor.target.clone(),
                    connections: 2,
                    streams: 4,
                    requests,
                    rate: None,
                };
                let next = |number: usize| {
                    all.get((from + number) % all.len())
                        .cloned()
                        .unwrap_or_else(|| Message { frame: bytes::Bytes::new(), is_forged: true })
                };
                run(&load, &next)
            };
            // Buffers, threads and the first tokens are there before.
            let first = all.len() / 50;
            send(0, first)?;
            let before = stagedoor.process.resident()?;
            let rest = all.len() - first;
            let mut outcome = send(first, rest)?;
            // On a busy machine new tokens are turned away: those come once more, and the
            // others, which are known by now, change nothing.
            for _ in 0..MORE_TRIES {
                if outcome.allowed == rest {
                    break;
                }
                outcome = send(first, rest)?;
            }
            ensure!(outcome.allowed == rest, "{} of {rest} allowed", outcome.allowed);
            let grown = stagedoor.process.resident()?.saturating_sub(before);
            let each = f64::from(u32::try_from(grown)?) / f64::from(u32::try_from(rest)?);
            table.add(name, &[each]);
        }
    }
    Ok(vec![table])
}
