//! From the start of the process to the first decision.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use devtenant::backstage::{Backstage, BackstageOptions};
use devtenant::generated::Generated;
use tokio::runtime::Runtime;

use super::Plan;
use crate::load::{Load, run};
use crate::report::Table;
use crate::world::{Sends, Setup, World, messages};

/// Twenty thousand entities.
const CATALOG: Generated = Generated {
    components: 15_000,
    resources: 2_200,
    users: 2_000,
    groups: 500,
    levels: 4,
    edition: 0,
};

/// With a snapshot on disk, and keys to be fetched from the tenant.
pub(super) fn measure(plan: &Plan, runtime: &Runtime, world: &World) -> Result<Vec<Table>> {
    let options = BackstageOptions { generated: Some(CATALOG), ..BackstageOptions::default() };
    let backstage = runtime.block_on(Backstage::start(options))?;
    let setup = Setup {
        backstage: Some(backstage.url()),
        store: true,
        entity: "component:default/service-000000".to_owned(),
        ..Setup::default()
    };
    let tokens = world.tokens_in(1, &[Generated::group_id(CATALOG.owner(0))]);
    let message = messages(&tokens, "one.example.com", Sends::All);
    let message = message.first().context("a message")?;
    let title = format!("{} entities on disk", CATALOG.total());
    let mut table = Table::new("start", &title, &[("ms", 0)]);
    // The first start has no snapshot, and makes it.
    for pass in 0..=plan.passes {
        let begun = Instant::now();
        let stagedoor = runtime.block_on(world.stagedoor("start", &setup))?;
        let load = Load {
            target: stagedoor.target.clone(),
            connections: 1,
            streams: 1,
            requests: 1,
            rate: None,
        };
        let outcome = run(&load, &|_| message.clone())?;
        ensure!(outcome.allowed == 1, "the first decision is a denial");
        if pass > 0 {
            let millis = begun.elapsed().as_secs_f64() * 1e3;
            table.add("from the start to the first decision (aim: at most 100)", &[millis]);
        } else {
            // It is written after it is in force.
            std::thread::sleep(Duration::from_millis(500));
        }
    }
    Ok(vec![table])
}
