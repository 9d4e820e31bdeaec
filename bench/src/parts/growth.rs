//! What a warm decision costs as everything around it grows.

use anyhow::{Context as _, Result, ensure};
use devtenant::backstage::{Backstage, BackstageOptions};
use devtenant::generated::Generated;
use tokio::runtime::Runtime;

use super::{Plan, cost};
use crate::load::{Load, Message};
use crate::report::Table;
use crate::world::{GROUPS, Sends, Setup, Stagedoor, World, group_id, host, messages};

const REQUESTS: usize = 40_000;

/// Routes, policies, entities and groups, each from few to many.
pub(super) fn measure(plan: &Plan, runtime: &Runtime, world: &World) -> Result<Vec<Table>> {
    let mut tables = Vec::new();
    let token = world.tokens(1, 0);
    let one = |host: &str, tokens: &[String]| messages(tokens, host, Sends::All).first().cloned();

    let mut contenders = Vec::new();
    for routes in [10, 1000, 10_000, 100_000] {
        let setup = Setup { services: routes, ..Setup::default() };
        let stagedoor = runtime.block_on(world.stagedoor(&format!("routes-{routes}"), &setup))?;
        contenders.push((format!("{routes} routes"), stagedoor, one(&host(0), &token)));
    }
    tables.push(compare(plan, "growth-routes", "routes, each of a host", contenders)?);

    let mut contenders = Vec::new();
    for policies in [10, 1000, 10_000] {
        let setup = Setup { policies, services: 10_000, ..Setup::default() };
        let stagedoor =
            runtime.block_on(world.stagedoor(&format!("policies-{policies}"), &setup))?;
        contenders.push((format!("{policies} policies"), stagedoor, one(&host(0), &token)));
    }
    tables.push(compare(plan, "growth-policies", "policies", contenders)?);

    let mut contenders = Vec::new();
    let small =
        Generated { components: 700, resources: 160, users: 80, groups: 50, levels: 4, edition: 0 };
    let middle =
        Generated { components: 15_000, resources: 2_200, users: 2_000, groups: 500, ..small };
    for generated in [small, middle, Generated::large()] {
        let options =
            BackstageOptions { generated: Some(generated), ..BackstageOptions::default() };
        let backstage = runtime.block_on(Backstage::start(options))?;
        let setup = Setup {
            backstage: Some(backstage.url()),
            entity: "component:default/service-000000".to_owned(),
            ..Setup::default()
        };
        let tokens = world.tokens_in(1, &[Generated::group_id(generated.owner(0))]);
        let name = format!("{} entities", generated.total());
        let stagedoor = runtime.block_on(world.stagedoor(&name.replace(' ', "-"), &setup))?;
        contenders.push((name, stagedoor, one("one.example.com", &tokens)));
    }
    tables.push(compare(plan, "growth-entities", "entities", contenders)?);

    let mut contenders = Vec::new();
    // Entra lists no more than two hundred groups in a token; more are asked from Graph once,
    // and then known like these.
    for groups in [5, GROUPS, 100, 200, 500] {
        let all: Vec<String> = (0..groups).map(group_id).collect();
        let tokens = world.tokens_in(1, &all);
        let setup = Setup { max_token_kib: 64, ..Setup::default() };
        let stagedoor = runtime.block_on(world.stagedoor(&format!("groups-{groups}"), &setup))?;
        contenders.push((format!("{groups} groups"), stagedoor, one(&host(0), &tokens)));
    }
    tables.push(compare(plan, "growth-groups", "groups of the caller", contenders)?);
    Ok(tables)
}

fn compare(
    plan: &Plan,
    name: &'static str,
    title: &str,
    contenders: Vec<(String, Stagedoor, Option<Message>)>,
) -> Result<Table> {
    let mut table = Table::new(name, title, &[("CPU µs", 2), ("÷ the first", 2)]);
    for pass in 0..=plan.passes {
        let mut first = None;
        for (name, stagedoor, message) in &contenders {
            let message = message.as_ref().context("a message")?;
            let load = Load {
                target: stagedoor.target.clone(),
                connections: 2,
                streams: 16,
                requests: plan.requests(REQUESTS),
                rate: None,
            };
            let cost = cost(&stagedoor.process, &load, &|_| message.clone())?;
            ensure!(cost.outcome.allowed == load.requests, "{name}: denied");
            if pass > 0 {
                let first = *first.get_or_insert(cost.micros);
                table.add(name, &[cost.micros, cost.micros / first]);
            }
        }
    }
    Ok(table)
}
