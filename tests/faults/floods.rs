//! More than there should be: requests, connections, frames; and fewer descriptors.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use devtenant::tenant::{Endpoint, Fault as Wrong};
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use crate::callers::{KNOWN, NEW_GRAPH, WAITING};
use crate::figures::{Figure, millis, of, within};
use crate::load::Window;
use crate::process::descriptors;
use crate::run::{Fault, Scene, State, fault};
use crate::support::abuse::{self, Abuse};
use crate::support::envoy::raw_http;
use crate::support::stack::{AUDIENCE, OTHERS, OWNERS, request};
use crate::world::{Setting, until};

const FAMILY: &str = "floods";

/// Few connections, so that a flood reaches the cap, and silent ones go soon.
const FEW_CONNECTIONS: Setting =
    Setting { more: "limits: { max_connections: 60, preface_timeout: 500ms }\n", ..Setting::USUAL };
/// Few checks at a time, but room for each of the suite's own callers: thirteen of them may
/// come with a new token at once, and half of this many may wait to be verified.
const FEW_CHECKS: Setting = Setting {
    check: Some("{ max_concurrent: 32, queue_timeout: 10ms, deadline: 9s }"),
    ..Setting::USUAL
};

/// Sends requests with these tokens on and on, fifty at a time, until calm.
pub(crate) fn requests(scene: &Scene, tokens: Vec<String>) {
    let (lane, tokens) = (Arc::clone(&scene.lane), Arc::new(tokens));
    for first in 0..50 {
        let (lane, tokens) = (Arc::clone(&lane), Arc::clone(&tokens));
        scene.world.meanwhile(async move {
            for number in first.. {
                let bearer = format!("Bearer {}", tokens[number % tokens.len()]);
                let headers = [("authorization", bearer.as_str())];
                let request = request("GET", "payments.example.com", "/v1/orders", &headers);
                let _ = raw_http(lane.address(), request).await;
                // Not so many that a machine with few processors does nothing else.
                sleep(Duration::from_millis(100)).await;
            }
        });
    }
}

/// A token that is new is verified after everything else that is ready, and a flood is
/// always ready. Who is known goes on.
fn turned_away(_: State) -> Window {
    Window::some(&[(WAITING, &["overloaded", "timeout", "groups_unavailable"])])
}

fn of_tokens(name: &'static str, make: fn(&Scene) -> Vec<String>) -> Fault {
    fault(FAMILY, name)
        .alone()
        .inject(move |scene: Scene| async move {
            requests(&scene, make(&scene));
            Ok(())
        })
        .costs(turned_away)
        .met(|scene| async move { scene.load.more(30).await })
        .lift(|scene| async move {
            scene.world.calm();
            Ok(())
        })
}

/// New callers whose groups are asked for, each of whom takes a place until they come.
fn waiting(scene: &Scene) {
    let tenant = &scene.world.tenant;
    let token = |number: usize| {
        let oid = format!("ffffffff-0000-0000-0000-{number:012}");
        tenant.directory().user(&oid, &[OWNERS]);
        tenant.token().audience(AUDIENCE).oid(&oid).overage().sign()
    };
    requests(scene, (0..500).map(token).collect());
}

fn of_frames(name: &'static str, abuse: Abuse, connections: usize) -> Fault {
    fault(FAMILY, name)
        .alone()
        .with(FEW_CONNECTIONS)
        .inject(move |scene: Scene| async move {
            let mut running = scene.world.process.watch();
            scene.world.meanwhile(async move {
                // Started into it, it meets the first of them as soon as it listens.
                let to = match running.wait_for(|running| running.grpc.is_some()).await {
                    Ok(running) => running.grpc,
                    Err(_) => None,
                };
                let Some(to) = to else { return };
                abuse::forever(to, abuse, connections).await;
            });
            Ok(())
        })
        .costs(turned_away)
        .met(|scene| async move {
            let accepted = "stagedoor_connections_accepted_total";
            until("it came in", || async { scene.world.metric(accepted).await > 2.0 }).await?;
            scene.load.more(20).await
        })
        .lift(|scene| async move {
            scene.world.calm();
            Ok(())
        })
}

/// As many connections as there may be, and more, that say nothing.
pub(crate) async fn silent_connections(to: std::net::SocketAddr, count: usize) {
    let one = || async {
        loop {
            if let Ok(mut stream) = TcpStream::connect(to).await {
                let _ = stream.write_all(b"PRI * HTTP/2.0\r\n").await;
                sleep(Duration::from_secs(2)).await;
            }
            sleep(Duration::from_millis(10)).await;
        }
    };
    futures_util::future::join_all((0..count).map(|_| one())).await;
}

/// Processors that are busy while these many more answers are given.
async fn busy(scene: &Scene, answers: usize) -> Result<f64> {
    let processor = || Some(scene.world.process.usage()?.processor);
    let (before, begun) = (processor().context("no process")?, Instant::now());
    scene.load.more(answers).await?;
    let now = processor().context("no process")?;
    Ok(now.saturating_sub(before).as_secs_f64() / begun.elapsed().as_secs_f64())
}

/// How many descriptors the process has open.
fn open_descriptors(scene: &Scene) -> Result<usize> {
    let pid = scene.world.process.running().pid.context("no process")?;
    descriptors(pid).context("no descriptors")
}

pub(crate) fn faults() -> Vec<Fault> {
    vec![
        of_tokens("one-time tokens, all of them valid", |scene| {
            let token = |number: usize| {
                let good = scene.world.tenant.token().audience(AUDIENCE).groups(&[OTHERS]);
                good.claim("uti", json!(format!("once-{number}"))).sign()
            };
            (0..2000).map(token).collect()
        }),
        of_tokens("tokens with made-up signatures", |scene| {
            let token = |number: usize| {
                let good = scene.world.tenant.token().audience(AUDIENCE).groups(&[OWNERS]);
                let token = good.claim("uti", json!(format!("made-up-{number}"))).sign();
                let (signed, _) = token.rsplit_once('.').unwrap();
                format!("{signed}.{}", "A".repeat(342))
            };
            (0..500).map(token).collect()
        }),
        of_tokens("tokens of 16 KiB", |scene| {
            let token = |number: usize| {
                let good = scene.world.tenant.token().audience(AUDIENCE);
                good.claim("x", json!(format!("{number}{}", "x".repeat(11_000)))).sign()
            };
            (0..50).map(token).collect()
        }),
        of_tokens("tokens that are garbage", |_| {
            (0..200).map(|number| format!("eyJ{number}.{}.x", "Q".repeat(number * 20))).collect()
        }),
        fault(FAMILY, "more checks that wait than may")
            .alone()
            .with(FEW_CHECKS)
            .recovery_is(Figure::AfterOverload)
            .inject(|scene| async move {
                // New callers wait for their groups, and take the places.
                let late = Wrong::Slow(Duration::from_secs(1));
                scene.world.tenant.faults().set(Endpoint::Graph, late);
                if scene.state == State::Cold {
                    waiting(&scene);
                }
                Ok(())
            })
            .met(|scene| async move {
                if scene.state != State::Cold {
                    waiting(&scene);
                }
                let shed = "stagedoor_decisions_total{decision=\"deny\",reason=\"overloaded\"}";
                until("some are shed", || async {
                    let metrics = scene.world.admin("/metrics").await.unwrap_or_default();
                    metrics.lines().any(|line| line.starts_with(shed) && !line.ends_with(" 0"))
                })
                .await?;
                if scene.state == State::Cold {
                    // There was no time before it to compare with.
                    return scene.load.more(30).await;
                }
                // The times so far are those before it.
                let known = |caller, outcome: &str| outcome == "200" && KNOWN.contains(&caller);
                let before = within(0.5, of(&scene.load.times(), known));
                scene.load.measure();
                scene.load.more(30).await?;
                let times = scene.load.times();
                let turned_away = of(&times, |_, outcome| outcome == "overloaded");
                if let Some(shed) = within(0.5, turned_away) {
                    scene.note(Figure::Shed, millis(shed));
                }
                // Each asks again a pause after its answer.
                if let (Some(before), Some(now)) = (before, within(0.5, of(&times, known))) {
                    let per = |took| 1.0 / (millis(took) + millis(crate::load::PAUSE));
                    scene.note(Figure::Goodput, 100.0 * per(now) / per(before));
                }
                Ok(())
            })
            .lift(|scene| async move {
                scene.world.calm();
                scene.world.tenant.faults().clear();
                Ok(())
            })
            // Who has to wait for nothing is not asked to.
            .costs(|_| {
                Window::some(&[
                    (WAITING, &["overloaded", "timeout"]),
                    (NEW_GRAPH, &["groups_unavailable"]),
                ])
            }),
        of_frames("silent connections beyond the cap", Abuse::Silence, 150)
            .recovery_is(Figure::AfterSilence),
        of_frames("rapid resets", Abuse::RapidReset, 2),
        of_frames("headers without an end", Abuse::Continuation, 2),
        of_frames("settings without an end", Abuse::SettingsFlood, 2),
        of_frames("pings without an end", Abuse::PingFlood, 2),
        of_frames("frames of nothing", Abuse::EmptyData, 2),
        of_frames("answers that find no room", Abuse::ZeroWindow, 2),
        of_frames("streams that are never finished", Abuse::Streams, 2),
        of_frames("frames that are too long", Abuse::LongFrame, 2),
        of_frames("frames of random bytes", Abuse::Noise, 2),
        fault(FAMILY, "no descriptors are left")
            .alone()
            .recovery_is(Figure::AfterDescriptors)
            .inject(|scene| async move {
                if scene.state == State::Cold {
                    scene.world.process.first("ulimit -S -n 64;");
                    return Ok(());
                }
                let most = open_descriptors(&scene)? + 2;
                scene.world.process.limit(&format!("--nofile={most}:"))
            })
            .met(|scene| async move {
                until("it listens", || async { scene.world.process.running().grpc.is_some() })
                    .await?;
                let to = scene.world.process.running().grpc.context("no port")?;
                scene.world.meanwhile(silent_connections(to, 100));
                if scene.state == State::Cold {
                    return scene.load.more(40).await;
                }
                let most = open_descriptors(&scene)?;
                until("they are all used", || async {
                    open_descriptors(&scene).is_ok_and(|open| open >= most.max(10))
                })
                .await?;
                scene.note(Figure::Descriptors, busy(&scene, 40).await?);
                Ok(())
            })
            .lift(|scene| async move {
                scene.world.calm();
                scene.world.process.first("");
                scene.world.process.limit("--nofile=1024:")
            })
            // Who needs a new connection to Graph doesn't get one.
            .costs(|_| Window::some(&[(NEW_GRAPH, &["groups_unavailable"])])),
    ]
}
