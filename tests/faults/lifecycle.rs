//! The processes themselves: Stagedoor's and Envoy's.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};
use tonic::Streaming;
use tonic::transport::Endpoint;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::figures::{Figure, millis};
use crate::load::Window;
use crate::run::{Fault, Scene, State, fault};
use crate::support::abuse;
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

/// Connections that say nothing, and such as began a call and read no answer.
async fn deaf(to: SocketAddr) -> Result<Vec<TcpStream>> {
    let mut peers = Vec::new();
    for number in 0..10 {
        let mut peer = TcpStream::connect(to).await?;
        if number % 2 == 0 {
            peer.write_all(abuse::BEGINNING).await?;
            peer.write_all(&abuse::half_a_call()).await?;
        }
        peers.push(peer);
    }
    Ok(peers)
}

/// What health says, from now on.
async fn watch_health(to: SocketAddr) -> Result<Streaming<HealthCheckResponse>> {
    let channel = Endpoint::from_shared(format!("http://{to}"))?.connect().await?;
    let service = "envoy.service.auth.v3.Authorization".to_owned();
    let asked = HealthCheckRequest { service };
    Ok(HealthClient::new(channel).watch(asked).await?.into_inner())
}

pub(crate) fn faults() -> Vec<Fault> {
    vec![
        signalled("SIGKILL under load, and a restart", &["KILL"]),
        signalled("SIGTERM under load, and a restart", &["TERM"]),
        signalled("SIGTERM twice under load, and a restart", &["TERM", "TERM"]),
        fault(FAMILY, "SIGTERM with peers that don't react, and a restart")
            .only(RUNNING)
            .alone()
            .inject(|scene| async move {
                let to = scene.world.process.running().grpc.context("no port")?;
                let _peers = deaf(to).await?;
                let mut health = watch_health(to).await?;
                let before = scene.world.process.ends();
                scene.world.process.signal("TERM");
                let begun = Instant::now();
                while let Some(status) = health.message().await? {
                    if status.status() == ServingStatus::NotServing {
                        scene.note(Figure::NotServing, millis(begun.elapsed()));
                        break;
                    }
                }
                until("it ended", || async { scene.world.process.ends() > before }).await?;
                scene.note(Figure::Exit, millis(begun.elapsed()));
                Ok(())
            })
            .costs(|_| Window::Everybody),
        fault(FAMILY, "SIGKILL again and again while it starts")
            .only(&[State::Cold])
            .met(|scene| async move {
                for number in 0..8_u64 {
                    // Before it is there, nothing would be killed.
                    until("it is started", || async {
                        scene.world.process.running().pid.is_some()
                    })
                    .await?;
                    sleep(Duration::from_millis(40 * number)).await;
                    let before = scene.world.process.ends();
                    scene.world.process.signal("KILL");
                    until("it ended", || async { scene.world.process.ends() > before }).await?;
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
