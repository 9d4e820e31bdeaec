//! The processes themselves: Stagedoor's and Envoy's.

use std::time::Duration;

use tokio::time::sleep;

use crate::load::Window;
use crate::run::{Fault, Scene, State, fault};
use crate::world::until;

const FAMILY: &str = "processes";
const RUNNING: &[State] = &[State::Warm, State::Reloading];

fn signalled(name: &'static str, signals: &'static [&'static str]) -> Fault {
    fault(FAMILY, name)
        .only(RUNNING)
        .inject(move |scene: Scene| async move {
            let before = scene.world.process.ends();
            for signal in signals {
                scene.world.process.signal(signal);
            }
            until("it ended", || async { scene.world.process.ends() > before }).await
        })
        .costs(|_| Window::Everybody)
}

pub(crate) fn faults() -> Vec<Fault> {
    vec![
        signalled("SIGKILL under load, and a restart", &["KILL"]),
        signalled("SIGTERM under load, and a restart", &["TERM"]),
        signalled("SIGTERM twice under load, and a restart", &["TERM", "TERM"]),
        fault(FAMILY, "SIGKILL again and again while it starts")
            .only(&[State::Cold])
            .met(|scene| async move {
                for number in 0..8_u64 {
                    sleep(Duration::from_millis(40 * number)).await;
                    let before = scene.world.process.ends();
                    scene.world.process.signal("KILL");
                    until("it ended", || async { scene.world.process.ends() > before }).await?;
                    until("it is started again", || async {
                        scene.world.process.running().pid.is_some()
                    })
                    .await?;
                }
                Ok(())
            })
            .costs(|_| Window::Everybody),
        fault(FAMILY, "it stands still, as a suspended machine")
            .only(RUNNING)
            .briefly()
            .inject(|scene| async move {
                scene.world.process.signal("STOP");
                Ok(())
            })
            .met(|scene| async move {
                let gone =
                    || async { scene.load.last(crate::callers::Caller::Public) == "envoy_503" };
                until("Envoy waits in vain", gone).await
            })
            .lift(|scene| async move {
                scene.world.process.signal("CONT");
                Ok(())
            })
            .costs(|_| Window::Everybody),
        fault(FAMILY, "Envoy is killed, and another one comes")
            .only(RUNNING)
            .inject(|scene| async move { scene.lane.replace_envoy().await })
            .costs(|_| Window::Everybody),
    ]
}
