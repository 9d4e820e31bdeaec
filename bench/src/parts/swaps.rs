//! Known callers while the catalog changes each second, and no decision stands any more.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::runtime::Runtime;

use super::{Plan, cost, percentiles};
use crate::load::{Load, Message};
use crate::report::Table;
use crate::world::{GROUPS, Sends, Setup, World, group_id, host, messages};

/// Requests a second, and how many: some seconds' worth.
const RATE: f64 = 5000.0;
const REQUESTS: usize = 50_000;
const STILL: &str = "the catalog stays as it is";
const LIVELY: &str = "a new snapshot each second";

/// Their latency without and with new snapshots.
pub(super) fn measure(plan: &Plan, runtime: &Runtime, world: &World) -> Result<Vec<Table>> {
    let setup = Setup { services: 1000, lively: true, ..Setup::default() };
    let stagedoor = runtime.block_on(world.stagedoor("swaps", &setup))?;
    // Nobody is in the same groups as another.
    let groups = |caller: usize| -> Vec<String> {
        let others = (1..GROUPS).map(|at| group_id((caller * 7 + at * 31) % 999 + 1));
        std::iter::once(group_id(0)).chain(others).collect()
    };
    let tokens: Vec<String> =
        (0..1000).flat_map(|caller| world.tokens_in(1, &groups(caller))).collect();
    let good = messages(&tokens, &host(0), Sends::All);
    let mut table = Table::new(
        "swaps",
        "a thousand known callers, 5,000 requests a second",
        &[("p50 µs", 0), ("p90 µs", 0), ("p99 µs", 0), ("p99.9 µs", 0), ("CPU µs", 1)],
    );
    let load = Load {
        target: stagedoor.target.clone(),
        connections: 2,
        streams: 64,
        requests: plan.requests(REQUESTS),
        rate: Some(RATE),
    };
    let nothing = || Message { frame: bytes::Bytes::new(), is_forged: true };
    let next = |number: usize| good.get(number % good.len()).cloned().unwrap_or_else(nothing);
    let file = world.folder.path().join("swaps/catalog/changing.yaml");
    for pass in 0..=plan.passes {
        let mut turns = [(STILL, false), (LIVELY, true)];
        turns.rotate_left(pass.saturating_sub(1) % 2);
        for (name, changes) in turns {
            let done = AtomicBool::new(!changes);
            let cost = thread::scope(|scope| {
                let changing = scope.spawn(|| change(&file, &done));
                let cost = cost(&stagedoor.process, &load, &next);
                done.store(true, Ordering::Relaxed);
                changing.join().map_err(|_| anyhow::anyhow!("the catalog's writer panicked"))??;
                cost
            })?;
            ensure!(cost.outcome.allowed == load.requests, "{name}: {}", cost.outcome.allowed);
            if pass > 0 {
                let [p50, p90, p99, p999] = percentiles(&cost.outcome.good);
                table.add(name, &[p50, p90, p99, p999, cost.micros]);
            }
        }
    }
    let mut ratios = Table::new("swaps-ratios", "ratio", &[("ratio", 2)]);
    for (name, column) in [("p50, new snapshots ÷ none", 0), ("p99, new snapshots ÷ none", 2)] {
        let (over, under) = (table.figure(LIVELY, column)?, table.figure(STILL, column)?);
        ratios.add(name, &[over.least() / under.most()]);
        ratios.add(name, &[over.median() / under.median()]);
        ratios.add(name, &[over.most() / under.least()]);
    }
    Ok(vec![table, ratios])
}

/// Writes another entity again and again, until it is done.
fn change(file: &std::path::Path, done: &AtomicBool) -> Result<()> {
    let mut number = 0_u64;
    while !done.load(Ordering::Relaxed) {
        let new = file.with_extension("new");
        fs::write(
            &new,
            format!(
                "apiVersion: backstage.io/v1alpha1\nkind: Component\nmetadata: {{ name: \
                 changing, title: \"{number}\" }}\nspec: {{ type: service, lifecycle: production, \
                 owner: team-1 }}\n"
            ),
        )?;
        fs::rename(&new, file)?;
        number += 1;
        thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}
