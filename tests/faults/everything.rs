//! All that Stagedoor depends on, at once.

use std::time::Duration;

use anyhow::ensure;
use devtenant::front::Passage;
use tokio::time::Instant;

use crate::callers::{GRAPH, KNOWN};
use crate::figures::{Figure, millis, of, within};
use crate::load::Window;
use crate::run::{Fault, State, fault};
use crate::world::{SHIPPED_CHECK, SHIPPED_WAIT, Setting, World, is_short, until};

const FAMILY: &str = "everything";
/// As it ships, with a collector.
pub(crate) const SHIPPED: Setting = Setting {
    check: Some(SHIPPED_CHECK),
    graph_wait: SHIPPED_WAIT,
    collector: true,
    ..Setting::USUAL
};

/// Within which half of the answers have to come to each who is known. A machine that is busy is
/// slower than what ships now and then, and by far not so slow half of the time. Whoever waits for
/// a fetch that hangs waits for a second; what a check waits for Graph or a key at most is less,
/// and in time for what ships as well.
const HALF_WITHIN: Duration = Duration::from_millis(700);

/// The same, but that a check has the usual time in the short list: on a machine that is busy who
/// is known may be too late for what ships, and not because anything hangs. With so much time they
/// are let in also where they wait for what hangs: that is found by [`HALF_WITHIN`].
fn setting() -> Setting {
    if is_short() { Setting { check: None, ..SHIPPED } } else { SHIPPED }
}

/// Has all of them do this.
pub(crate) fn all(world: &World, passage: Passage) {
    for front in [&world.tenant_front, &world.backstage_front] {
        front.set(passage);
    }
    let collector = if passage == Passage::Open { Passage::Closed } else { passage };
    world.collector.set(collector);
    world.process.take_output(passage == Passage::Open);
}

pub(crate) fn faults() -> Vec<Fault> {
    vec![
        fault(FAMILY, "tenant, Graph, Backstage, collector and log hang")
            // Started into it, it has what it kept.
            .after_a_good_run()
            .alone()
            .hurried()
            .with(setting())
            .inject(|scene| async move {
                all(&scene.world, Passage::Silent);
                Ok(())
            })
            .met(|scene| async move {
                let begun = Instant::now();
                until("Backstage is waited for", || async {
                    scene.world.backstage_front.accepted() > 0 && begun.elapsed().as_secs() > 2
                })
                .await?;
                scene.load.measure();
                scene.load.more(40).await?;
                let times = scene.load.times();
                for known in KNOWN {
                    let half = within(0.5, of(&times, |caller, _| caller == *known));
                    ensure!(
                        half.is_some_and(|took| took < HALF_WITHIN),
                        "{known:?} waits for what hangs: half of the answers took {half:?}"
                    );
                }
                let known = of(&times, |caller, _| KNOWN.contains(&caller));
                for (figure, times) in
                    [(Figure::HangingKnown, known), (Figure::HangingAll, of(&times, |_, _| true))]
                {
                    if let Some(took) = within(0.99, times) {
                        scene.note(figure, millis(took));
                    }
                }
                Ok(())
            })
            .lift(|scene| async move {
                all(&scene.world, Passage::Open);
                Ok(())
            })
            // With so little time, a new token may be too late on a machine that is busy.
            .costs(|state| match state {
                // Groups are kept in memory alone.
                State::Cold => {
                    Window::some(&[(GRAPH, &["groups_unavailable"])]).and(Window::hurried())
                }
                State::Warm | State::Reloading => Window::hurried(),
            }),
    ]
}
