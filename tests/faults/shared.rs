//! The place where replicas share snapshots.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use devtenant::bucket::{Bucket, Fault as Wrong};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::callers::{Caller, May, POLICY};
use crate::load::Window;
use crate::policies::refused_at_start;
use crate::process::{Launch, Supervised};
use crate::run::{Fault, Scene, State, fault, more};
use crate::storage::news;
use crate::support::envoy::raw_http;
use crate::world::{Setting, Sharing, World, until};

const FAMILY: &str = "shared";
const RUNNING: &[State] = &[State::Warm, State::Reloading];

/// Who is tested leads, and nobody else is there.
const LEADS: Setting = Setting { sharing: Sharing::Folder, ..Setting::USUAL };
/// Another replica leads, and who is tested follows it.
const FOLLOWS: Setting = Setting { sharing: Sharing::Followed, ..Setting::USUAL };
const BUCKET: Setting = Setting { sharing: Sharing::Bucket, ..Setting::USUAL };

/// Where snapshots are shared in a folder.
pub(crate) const FOLDER: &str = "shared";
/// The objects there.
const SNAPSHOT: &str = "shared/snapshot";
const LEASE: &str = "shared/lease";

/// So often is something done again and again.
const AGAIN: Duration = Duration::from_millis(50);

const STRANGERS: [Caller; 3] = [Caller::Stranger, Caller::NewStranger, Caller::ListedStranger];

/// What stands in the configuration. The lease is the shortest, so that a change of who leads
/// takes seconds.
pub(crate) fn section(world: &World, sharing: Sharing) -> String {
    let url = match sharing {
        Sharing::Nowhere => return String::new(),
        Sharing::Folder | Sharing::Followed => format!("file://{}", world.path(FOLDER).display()),
        Sharing::Bucket => "s3://snapshots/test".to_owned(),
    };
    format!("  shared: {{ url: \"{url}\", lease: 3s, poll_every: 1s }}\n")
}

/// What the shell says to the process of an object store: where it is, and who asks.
pub(crate) fn environment(bucket: &Bucket) -> String {
    format!(
        "export AWS_ENDPOINT=http://{} AWS_REGION=test AWS_ACCESS_KEY_ID=test \
         AWS_SECRET_ACCESS_KEY=test NO_PROXY=localhost,127.0.0.1;",
        bucket.address()
    )
}

/// Another replica with the same configuration, but files and places of its own, that has
/// published a snapshot.
pub(crate) async fn lead(world: &World, launch: Launch) -> Result<Supervised> {
    let text = std::fs::read_to_string(world.path("stagedoor.yaml"))?;
    let (before, rest) = text.split_once("\"unix:").context("no Unix socket")?;
    let (_, after) = rest.split_once("\", ").context("no other listener")?;
    let mut text = format!("{before}{after}");
    for store in ["keys", "snapshots"] {
        let (one, other) = (format!("store: {store}"), format!("store: other-{store}"));
        ensure!(text.contains(&one), "no `{one}` in the configuration");
        text = text.replace(&one, &other);
        std::fs::create_dir(world.path(&format!("other-{store}")))?;
    }
    let config = world.path("other.yaml");
    std::fs::write(&config, text)?;
    let other = Supervised::new(Launch { config, ..launch });
    other.start();
    until("the other replica leads", || async { plays(&other, "publisher").await }).await?;
    until("it has published", || async { world.path(SNAPSHOT).exists() }).await?;
    Ok(other)
}

/// What a process says of its catalog; nothing while it can't be asked.
async fn catalog(process: &Supervised) -> Option<Value> {
    let admin = process.running().admin?;
    let request = "GET /status HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    let answer = raw_http(admin, request).await.ok()?;
    Some(answer.json()["catalog"].clone())
}

/// Whether this is its part.
async fn plays(process: &Supervised, role: &str) -> bool {
    catalog(process).await.is_some_and(|catalog| catalog["sharing"] == role)
}

async fn version(process: &Supervised) -> Value {
    catalog(process).await.map_or(Value::Null, |catalog| catalog["version"].clone())
}

/// The replica that leads at first.
fn other(scene: &Scene) -> Result<&Supervised> {
    scene.world.other.as_ref().context("there is no other replica")
}

/// Waits until refreshes failed.
async fn goes_wrong(scene: &Scene) -> Result<()> {
    let failed = "stagedoor_catalog_refresh_failures_total";
    let before = scene.world.metric(failed).await;
    until("refreshes fail", || async { scene.world.metric(failed).await >= before + 2.0 }).await
}

/// Waits until something new has come to who is tested, who leads now.
async fn takes_over(scene: &Scene) -> Result<()> {
    let process = &scene.world.process;
    until("it leads", || async { plays(process, "publisher").await }).await?;
    let before = version(process).await;
    news(&scene.world);
    until("it reads Backstage", || async {
        let now = version(process).await;
        now.is_string() && now != before
    })
    .await
}

/// Puts this in the place of the snapshot again and again, for who leads replaces it.
fn replace(world: &World, with: Vec<u8>) {
    let (snapshot, new) = (world.path(SNAPSHOT), world.path("shared/.replaced"));
    world.meanwhile(async move {
        loop {
            // The folder is there for as long as the world is.
            if std::fs::write(&new, &with).is_ok() {
                let _ = std::fs::rename(&new, &snapshot);
            }
            sleep(AGAIN).await;
        }
    });
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| path.display().to_string())
}

/// The folder is not there, as a volume that is not mounted. Nobody starts without it.
fn gone(name: &'static str, setting: Setting) -> Fault {
    fault(FAMILY, name)
        .with(setting)
        .inject(|scene| async move {
            Ok(std::fs::rename(scene.world.path(FOLDER), scene.world.path("away"))?)
        })
        .met(|scene| async move {
            if scene.state == State::Cold {
                return more("it did not start", 2, || scene.world.process.ends()).await;
            }
            // Where nothing is there is nothing to read, and nobody can lead.
            let process = &scene.world.process;
            let said = "the lease for publishing snapshots";
            until("nobody can lead", || async { process.log().contains(said) }).await?;
            goes_wrong(&scene).await?;
            scene.load.more(20).await
        })
        .lift(|scene| async move {
            Ok(std::fs::rename(scene.world.path("away"), scene.world.path(FOLDER))?)
        })
        .costs(refused_at_start)
}

/// The snapshot is not what was published. Who had one goes on by it, after a start by what it
/// keeps itself.
fn damaged(name: &'static str, setting: Setting, damage: fn(&mut Vec<u8>)) -> Fault {
    fault(FAMILY, name)
        .with(setting)
        .after_a_run()
        .inject(move |scene: Scene| async move {
            let mut bytes = read(&scene.world.path(SNAPSHOT))?;
            damage(&mut bytes);
            replace(&scene.world, bytes);
            Ok(())
        })
        .met(|scene| async move { goes_wrong(&scene).await })
        .lift(|scene| async move {
            scene.world.calm();
            let snapshot = scene.world.path(SNAPSHOT);
            // What is there now was not published, or was after it.
            let before = read(&snapshot).unwrap_or_default();
            until("another snapshot is published", || async {
                read(&snapshot).is_ok_and(|now| now != before)
            })
            .await
        })
}

/// A snapshot by which another team was in is put back after the team is out. Nobody goes back
/// to it; who is started into it has what it kept itself.
fn put_back(name: &'static str, setting: Setting) -> Fault {
    fault(FAMILY, name)
        .with(setting)
        .inject(|scene| async move {
            let Scene { world, load, .. } = &scene;
            if scene.state == State::Cold {
                world.process.start();
                load.served(&Window::Nobody).await?;
            }
            for caller in STRANGERS {
                load.rule(caller, May::Either);
            }
            let mut entities = world.entities.clone();
            let payments = entities
                .iter_mut()
                .find(|entity| entity["metadata"]["name"] == "payments")
                .context("no such component")?;
            let owner = json!({ "type": "ownedBy", "targetRef": "group:default/orders-team" });
            payments["relations"].as_array_mut().context("no relations")?.push(owner);
            world.backstage.set_entities(entities);
            answered(&scene, "200").await?;
            published(&scene).await?;
            let old = read(&world.path(SNAPSHOT))?;
            world.backstage.set_entities(world.entities.clone());
            answered(&scene, "not_permitted").await?;
            published(&scene).await?;
            for caller in STRANGERS {
                load.rule(caller, May::No);
            }
            if scene.state == State::Cold {
                world.process.take_down().await;
            }
            replace(world, old);
            Ok(())
        })
        .met(|scene| async move {
            let process = &scene.world.process;
            until("it is seen to be older", || async { process.log().contains("is older than") })
                .await?;
            scene.load.more(20).await
        })
        .lift(|scene| async move {
            scene.world.calm();
            Ok(())
        })
}

/// Waits until all of another team are answered so.
async fn answered(scene: &Scene, outcome: &str) -> Result<()> {
    until("the other team is answered otherwise", || async {
        STRANGERS.iter().all(|caller| scene.load.last(*caller) == outcome)
    })
    .await?;
    // What was asked for before and is answered after it may be answered either way.
    scene.load.more(2).await
}

/// Waits until whoever leads has published what it knows, and is seconds on: times of crawls
/// are in seconds.
async fn published(scene: &Scene) -> Result<()> {
    sleep(Duration::from_secs(2)).await;
    for _ in 0..2 {
        let snapshot = scene.world.path(SNAPSHOT);
        let before = read(&snapshot)?;
        until("another snapshot is published", || async {
            read(&snapshot).is_ok_and(|now| now != before)
        })
        .await?;
    }
    // And until a follower has looked.
    sleep(Duration::from_secs(2)).await;
    Ok(())
}

/// Snapshot and lease are taken away again and again, so that anybody may lead.
fn deleted(name: &'static str, setting: Setting) -> Fault {
    fault(FAMILY, name)
        .with(setting)
        .after_a_run()
        .inject(|scene| async move {
            let objects = [SNAPSHOT, LEASE].map(|object| scene.world.path(object));
            scene.world.meanwhile(async move {
                loop {
                    for object in &objects {
                        // It may not be there yet.
                        let _ = std::fs::remove_file(object);
                    }
                    sleep(4 * AGAIN).await;
                }
            });
            Ok(())
        })
        .met(|scene| async move {
            news(&scene.world);
            more("Backstage was asked", 12, || scene.world.backstage.requests()).await
        })
        .lift(|scene| async move {
            scene.world.calm();
            let snapshot = scene.world.path(SNAPSHOT);
            until("a snapshot is published", || async { snapshot.exists() }).await
        })
}

/// Holds the other replica still, and not while it holds a lock: nobody could write for as long,
/// which is another fault.
async fn hold(scene: &Scene) -> Result<()> {
    let other = other(scene)?;
    until("it stands still without a lock", || async {
        other.signal("STOP");
        sleep(AGAIN).await;
        let free = ["shared/.lease.lock", "shared/.snapshot.lock"].iter().all(|lock| {
            let file = std::fs::File::open(scene.world.path(lock));
            file.is_ok_and(|file| file.try_lock().is_ok())
        });
        if !free {
            other.signal("CONT");
        }
        free
    })
    .await
}

/// An object store that doesn't answer as it should. Started for the first time there is no
/// snapshot; later the last one goes on.
fn store(name: &'static str, wrong: Wrong) -> Fault {
    fault(FAMILY, name)
        .with(BUCKET)
        .inject(move |scene: Scene| async move {
            scene.world.bucket.as_ref().context("no store")?.set_fault(Some(wrong));
            Ok(())
        })
        .met(|scene| async move {
            let bucket = scene.world.bucket.as_ref().context("no store")?;
            more("the store was asked", 1, || bucket.requests()).await?;
            scene.load.more(20).await
        })
        .lift(|scene| async move {
            scene.world.bucket.as_ref().context("no store")?.set_fault(None);
            if scene.state == State::Cold {
                return Ok(());
            }
            until("it leads again", || async { plays(&scene.world.process, "publisher").await })
                .await
        })
        .costs(|state| match state {
            State::Cold => Window::some(&[(POLICY, &["catalog_unavailable"])]),
            State::Warm | State::Reloading => Window::Nobody,
        })
}

pub(crate) fn faults() -> Vec<Fault> {
    let garbage: fn(&mut Vec<u8>) = |bytes| *bytes = b"<html>Sign in</html>".to_vec();
    // Its header stays whole.
    let cut_off: fn(&mut Vec<u8>) = |bytes| bytes.truncate(bytes.len() * 3 / 4);
    let flipped: fn(&mut Vec<u8>) = |bytes| {
        if let Some(last) = bytes.last_mut() {
            *last ^= 1;
        }
    };
    vec![
        gone("the folder is gone, to who leads", LEADS),
        gone("the folder is gone, to who follows", FOLLOWS),
        damaged("the snapshot is garbage, to who leads", LEADS, garbage),
        damaged("the snapshot is garbage, to who follows", FOLLOWS, garbage),
        damaged("the snapshot is cut off, to who leads", LEADS, cut_off),
        damaged("the snapshot is cut off, to who follows", FOLLOWS, cut_off),
        damaged("one bit of the snapshot is flipped, to who follows", FOLLOWS, flipped),
        put_back("an old snapshot is put back, to who leads", LEADS),
        put_back("an old snapshot is put back, to who follows", FOLLOWS),
        deleted("snapshot and lease are deleted again and again, to who leads", LEADS),
        deleted("snapshot and lease are deleted again and again, to who follows", FOLLOWS),
        fault(FAMILY, "who leads is killed")
            .with(FOLLOWS)
            .inject(|scene| async move {
                other(&scene)?.take_down().await;
                Ok(())
            })
            .met(|scene| async move { takes_over(&scene).await })
            .lift(|scene| async move {
                let other = other(&scene)?;
                other.start();
                until("it follows", || async { plays(other, "follower").await }).await
            }),
        fault(FAMILY, "who leads stands still, and goes on")
            .only(RUNNING)
            .with(FOLLOWS)
            .inject(|scene| async move { hold(&scene).await })
            .met(|scene| async move { takes_over(&scene).await })
            .lift(|scene| async move {
                let other = other(&scene)?;
                other.signal("CONT");
                until("it follows", || async { plays(other, "follower").await }).await?;
                until("both know the same", || async {
                    let ours = version(&scene.world.process).await;
                    ours.is_string() && ours == version(other).await
                })
                .await
            }),
        store("the object store answers 503", Wrong::Status(503)),
        store("the object store answers 403", Wrong::Status(403)),
        store("the object store accepts and is silent", Wrong::Hang),
        store("the object store takes two seconds", Wrong::Slow(Duration::from_secs(2))),
        store("a sign-in page instead of the object store", Wrong::Html),
    ]
}
