//! All that Stagedoor depends on, at once.

use devtenant::front::Passage;
use tokio::time::Instant;

use crate::callers::{KNOWN, NEW_GRAPH, WAITING};
use crate::figures::{Figure, millis, of, within};
use crate::load::Window;
use crate::run::{Fault, State, fault};
use crate::world::{Setting, World, until};

const FAMILY: &str = "everything";
/// As it ships, with a collector.
pub(crate) const SHIPPED: Setting = Setting {
    check: Some("{ deadline: 150ms, queue_timeout: 10ms }"),
    graph_wait: "120ms",
    collector: true,
    ..Setting::USUAL
};

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
            .only(&[State::Warm, State::Reloading])
            .alone()
            .hurried()
            .with(SHIPPED)
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
            .costs(|_| {
                Window::some(&[
                    (NEW_GRAPH, &["groups_unavailable"]),
                    (WAITING, &["overloaded", "timeout"]),
                ])
            }),
    ]
}
