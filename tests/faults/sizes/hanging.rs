//! Everything that Stagedoor depends on hangs: how long anybody waits for an answer.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use devtenant::front::{Authority, Passage};
use tokio::time::{Instant, sleep};

use super::{Findings, a_second, spread};
use crate::callers::{ALL, KNOWN, NEW_GRAPH, WAITING};
use crate::everything::{SHIPPED, all};
use crate::figures::of;
use crate::load::{Load, Pace, Window};
use crate::world::{Lane, World, until};

/// Requests a second, of all callers.
const RATE: f64 = 150.0;
const LENGTH: Duration = Duration::from_secs(60);

/// With so little time, who is new may be too late on a machine that is busy; whose groups
/// nobody knows can't be told.
fn window() -> Window {
    Window::some(&[(NEW_GRAPH, &["groups_unavailable"]), (WAITING, &["overloaded", "timeout"])])
}

pub(super) async fn measure() -> Result<Findings> {
    let lane = Arc::new(Lane::start().await?);
    let world = Arc::new(World::new(&lane, &Authority::generate()?, SHIPPED).await?);
    let pace = Pace::Every(Duration::from_secs_f64(ALL.len() as f64 / RATE));
    let load = Load::start_at(pace, &ALL.map(|caller| (caller, 1)), &lane, &world);
    world.process.start();
    load.served(&Window::Nobody).await.context("before anything hangs")?;
    load.announce(&window());
    let before = world.backstage_front.accepted();
    all(&world, Passage::Silent);
    let begun = Instant::now();
    until("Backstage is waited for", || async {
        world.backstage_front.accepted() > before && begun.elapsed().as_secs() > 2
    })
    .await?;

    load.measure();
    let (begun, asked) = (Instant::now(), load.requests());
    sleep(LENGTH).await;
    let (took, asked) = (begun.elapsed(), load.requests() - asked);
    let times = load.times();
    // Who asks at this very moment is not answered any more.
    load.announce(&Window::Everybody);
    let (ends, leaks) = (world.process.ends(), world.process.leaks());
    world.process.take_down().await;
    let (_, wrongs) = load.stop();

    let mut findings = Findings::default();
    findings.note(
        "requests while tenant, Graph, Backstage, collector and log hang",
        "",
        format!("{asked}, {:.0} a second", a_second(asked, took)),
    );
    let known = of(&times, |caller, _| KNOWN.contains(&caller));
    let everybody = of(&times, |_, _| true);
    findings.note(
        "let in wrongly; refused wrongly",
        "0; 0",
        format!("{}; {}", wrongs.admitted, wrongs.refused + wrongs.odd),
    );
    findings.hold(!known.is_empty() && everybody.len() > 100, "hardly anybody was answered");
    findings.note("who is known: p50, p99, longest", "150 ms", spread(known));
    findings.note("everybody: p50, p99, longest", "150 ms", spread(everybody));
    findings.hold(wrongs.count() == 0, format!("wrong answers: {:?}", wrongs.first));
    findings.hold(ends == 0, "the process ended");
    findings.hold(leaks.is_empty(), format!("there is a token in what it writes: {leaks:?}"));
    Ok(findings)
}
