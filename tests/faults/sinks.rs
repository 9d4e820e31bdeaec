//! Where records, logs and spans go.

use devtenant::front::Passage;

use crate::load::Window;
use crate::run::{Fault, State, fault};
use crate::world::{Setting, until};

const FAMILY: &str = "sinks";

const COLLECTOR: Setting = Setting { collector: true, ..Setting::USUAL };
/// HTTP/2's own lines are many.
const TALKATIVE: Setting = Setting { log: Some("debug,hyper=info"), ..Setting::USUAL };

fn collector(name: &'static str, passage: Passage) -> Fault {
    fault(FAMILY, name)
        .with(COLLECTOR)
        .inject(move |scene| async move {
            scene.world.collector.set(passage);
            Ok(())
        })
        .met(|scene| async move {
            // A call of the exporter that hangs is the only one for a while.
            until("the collector was looked for", || async {
                scene.world.collector.accepted() > 0
            })
            .await?;
            scene.load.more(20).await
        })
        .lift(|scene| async move {
            scene.world.collector.set(Passage::Closed);
            Ok(())
        })
}

fn blocked(name: &'static str, setting: Setting, counter: &'static str) -> Fault {
    fault(FAMILY, name)
        .with(setting)
        .only(&[State::Warm, State::Reloading])
        .inject(|scene| async move {
            scene.world.process.take_output(false);
            Ok(())
        })
        .met(move |scene| async move {
            until("something is lost and counted", || async {
                scene.world.metric(counter).await > 0.0
            })
            .await
        })
        .lift(|scene| async move {
            scene.world.process.take_output(true);
            Ok(())
        })
        .costs(|_| Window::Nobody)
}

pub(crate) fn faults() -> Vec<Fault> {
    vec![
        blocked(
            "nobody takes the records",
            Setting::USUAL,
            "stagedoor_audit_records_dropped_total",
        ),
        blocked("nobody takes the log", TALKATIVE, "stagedoor_log_lines_dropped_total"),
        collector("the collector is down", Passage::Closed),
        collector("the collector accepts and is silent", Passage::Silent),
        fault(FAMILY, "standard output is full")
            .only(&[State::Cold])
            .inject(|scene| async move {
                scene.world.process.first("exec >/dev/full;");
                Ok(())
            })
            .met(|scene| async move {
                let failed = "stagedoor_audit_records_failed_total";
                until("records fail", || async { scene.world.metric(failed).await > 0.0 }).await?;
                anyhow::ensure!(scene.world.process.ends() == 0, "it ended");
                Ok(())
            }),
    ]
}
