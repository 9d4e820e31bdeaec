//! Through a real Envoy with one worker: what a request costs in all.

use anyhow::{Context as _, Result};
use envoy_types::pb::envoy::service::auth::v3::CheckResponse;
use prost::Message as _;
use tokio::runtime::Runtime;

use super::{Plan, per_second, percentiles};
use crate::envoy::{Asked, Envoy};
use crate::load::{Load, Target, run};
use crate::process::Process;
use crate::report::Table;
use crate::world::{GROUPS, Sends, Setup, Stagedoor, World, host, messages};

const REQUESTS: usize = 32_000;
const CONNECTIONS: usize = 32;
/// Services, routes and rules.
const RULES: usize = 1000;
const ALL: &str = "Stagedoor, every header sent";
const SHORT: &str = "Stagedoor, short answer";
const COPY: &str = "always yes, with the answer of Stagedoor";
const YES_ALL: &str = "always yes, every header sent";

/// Envoy is started anew for each measurement: where its memory comes to lie makes a
/// difference that would otherwise look like one between the contenders.
pub(super) fn measure(plan: &Plan, runtime: &Runtime, world: &World) -> Result<Vec<Table>> {
    let (yes, yes_at) = runtime.block_on(world.yes(1, false))?;
    let setup = Setup { services: RULES, ..Setup::default() };
    let tcp = runtime.block_on(world.stagedoor("envoy-tcp", &setup))?;
    let short = Setup { short: true, ..setup.clone() };
    let short = runtime.block_on(world.stagedoor("envoy-short", &short))?;
    let setup = Setup { unix: true, ..setup };
    let unix = runtime.block_on(world.stagedoor("envoy-unix", &setup))?;
    // The same answers without a decision: what is left is the work that they are for Envoy.
    let token = world.tokens(1, 0).pop().unwrap_or_default();
    let whole = answer(&tcp, &token)?;
    let (copy, copy_at) = runtime.block_on(world.yes_with(1, false, Some(&whole)))?;
    let native = |cached, spread| Asked::Native { rules: RULES, cached, spread };
    let asked = |target: &Target| Asked::ExtAuthz(target.clone(), Sends::Used);
    let asked_all = |target: &Target| Asked::ExtAuthz(target.clone(), Sends::All);
    let contenders: [(&str, Asked, Option<&Process>); 12] = [
        ("nobody is asked", Asked::Nobody, None),
        ("always yes", asked(&yes_at), Some(&yes)),
        ("Stagedoor", asked(&tcp.target), Some(&tcp.process)),
        ("Stagedoor, Unix socket", asked(&unix.target), Some(&unix.process)),
        (SHORT, asked(&short.target), Some(&short.process)),
        (COPY, asked(&copy_at), Some(&copy)),
        (YES_ALL, asked_all(&yes_at), Some(&yes)),
        (ALL, asked_all(&tcp.target), Some(&tcp.process)),
        ("jwt_authn cached, rbac flat", native(true, false), None),
        ("jwt_authn cached, rbac spread over routes", native(true, true), None),
        ("jwt_authn not cached, rbac flat", native(false, false), None),
        ("jwt_authn not cached, rbac spread over routes", native(false, true), None),
    ];
    // What the caller may: every fiftieth of the thousand.
    let hosts: Vec<String> = (0..GROUPS).map(|at| host(at * 50)).collect();
    let mut table = Table::new(
        "envoy",
        "through Envoy, 1,000 services",
        &[
            ("Envoy CPU µs", 0),
            ("server CPU µs", 1),
            ("requests/s", 0),
            ("p50 µs", 0),
            ("p90 µs", 0),
            ("p99 µs", 0),
            ("p99.9 µs", 0),
        ],
    );
    for pass in 0..plan.passes {
        // Nobody is always after the same.
        let turns = contenders.iter().cycle().skip(pass).take(contenders.len());
        for (name, asked, server) in turns {
            let figures = runtime.block_on(async {
                let folder = world.folder.path();
                let envoy = Envoy::start(&plan.envoy, folder, &world.tenant, asked).await?;
                let requests = plan.requests(REQUESTS);
                envoy.load(CONNECTIONS, requests / 4, &token, &hosts).await?;
                let cpu = |process: &Process| process.cpu();
                let before = (cpu(&envoy.process)?, server.map(cpu).transpose()?);
                let (took, latencies) = envoy.load(CONNECTIONS, requests, &token, &hosts).await?;
                let after = (cpu(&envoy.process)?, server.map(cpu).transpose()?);
                let each = 1e6 / f64::from(u32::try_from(requests)?);
                let of_envoy = (after.0 - before.0).as_secs_f64() * each;
                let of_server = match (after.1, before.1) {
                    (Some(after), Some(before)) => (after - before).as_secs_f64() * each,
                    _ => 0.0,
                };
                let [p50, p90, p99, p999] = percentiles(&latencies);
                let rate = per_second(requests, took);
                anyhow::Ok([of_envoy, of_server, rate, p50, p90, p99, p999])
            })?;
            table.add(name, &figures);
        }
    }
    let mut ratios = Table::new("envoy-ratios", "ratio of medians", &[("ratio", 2)]);
    for (name, column, of, by) in [
        ("requests/s, Stagedoor ÷ always yes (aim: at least 0.95)", 2, "Stagedoor", "always yes"),
        ("p99, Stagedoor ÷ always yes", 5, "Stagedoor", "always yes"),
        ("requests/s, Stagedoor with short answers ÷ always yes", 2, SHORT, "always yes"),
        ("p99, Stagedoor with short answers ÷ always yes", 5, SHORT, "always yes"),
        ("requests/s, Stagedoor ÷ always yes with its answer", 2, "Stagedoor", COPY),
        ("p99, Stagedoor ÷ always yes with its answer", 5, "Stagedoor", COPY),
        ("Envoy's CPU time, every header sent ÷ those used", 0, ALL, "Stagedoor"),
        ("Envoy's CPU time, Unix socket ÷ TCP", 0, "Stagedoor, Unix socket", "Stagedoor"),
        ("p50, Unix socket ÷ TCP", 3, "Stagedoor, Unix socket", "Stagedoor"),
        (
            "requests/s, Stagedoor ÷ native cached, flat (aim: at least 1.2)",
            2,
            "Stagedoor",
            "jwt_authn cached, rbac flat",
        ),
        (
            "requests/s, Stagedoor ÷ native cached, spread",
            2,
            "Stagedoor",
            "jwt_authn cached, rbac spread over routes",
        ),
    ] {
        let (over, under) = (table.figure(of, column)?, table.figure(by, column)?);
        ratios.add(name, &[over.least() / under.most()]);
        ratios.add(name, &[over.median() / under.median()]);
        ratios.add(name, &[over.most() / under.least()]);
    }
    Ok(vec![table, ratios])
}

/// What Stagedoor answers to a request that passes.
fn answer(stagedoor: &Stagedoor, token: &str) -> Result<CheckResponse> {
    let all = messages(&[token.to_owned()], &host(0), Sends::Used);
    let message = all.first().context("a message")?;
    let load = Load {
        target: stagedoor.target.clone(),
        connections: 1,
        streams: 1,
        requests: 1,
        rate: None,
    };
    Ok(CheckResponse::decode(run(&load, &|_| message.clone())?.first.as_slice())?)
}
