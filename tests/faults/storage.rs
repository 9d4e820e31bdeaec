//! What Stagedoor keeps on disk, and the disk.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use devtenant::front::Passage;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::callers::{GRAPH, POLICY, TOKENS};
use crate::load::Window;
use crate::run::{Fault, Scene, State, fault, more};
use crate::world::World;

const FAMILY: &str = "disk";

/// Neither the tenant nor Backstage can be had, so what is kept is all there is.
fn cut_off(world: &World, passage: Passage) {
    world.tenant_front.set(passage);
    world.backstage_front.set(passage);
}

/// A restart from what is kept, after something was done to it.
fn restart(name: &'static str, damage: fn(&World) -> Result<()>, costs: Window) -> Fault {
    fault(FAMILY, name)
        .only(&[State::Cold])
        .after_a_good_run()
        .inject(move |scene: Scene| async move {
            cut_off(&scene.world, Passage::Closed);
            damage(&scene.world)
        })
        .met(|scene| async move {
            more("Backstage was looked for", 2, || scene.world.backstage_front.accepted()).await
        })
        .lift(|scene| async move {
            cut_off(&scene.world, Passage::Open);
            Ok(())
        })
        .costs(move |_| costs.clone())
}

/// The files in a store, in order.
fn kept(world: &World, store: &str) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(world.path(store))?;
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    files.sort();
    ensure!(!files.is_empty(), "nothing is kept in `{store}`");
    Ok(files)
}

fn change(file: &Path, change: impl FnOnce(&mut Vec<u8>)) -> Result<()> {
    let mut bytes = std::fs::read(file).with_context(|| file.display().to_string())?;
    change(&mut bytes);
    Ok(std::fs::write(file, bytes)?)
}

/// One bit, wherever the seed says.
fn flip(bytes: &mut [u8]) {
    let mut random = StdRng::seed_from_u64(bytes.len() as u64);
    let at = random.random_range(0..bytes.len());
    bytes[at] ^= 1 << random.random_range(0..8);
}

/// The stores are gone, and can't be made again: there is no writing below `/proc`.
fn take_stores_away(world: &World) -> Result<()> {
    for store in ["keys", "snapshots"] {
        std::fs::rename(world.path(store), world.path(&format!("{store}.away")))?;
        std::os::unix::fs::symlink("/proc/self", world.path(store))?;
    }
    Ok(())
}

fn give_stores_back(world: &World) -> Result<()> {
    for store in ["keys", "snapshots"] {
        std::fs::remove_file(world.path(store))?;
        std::fs::rename(world.path(&format!("{store}.away")), world.path(store))?;
    }
    Ok(())
}

/// Something new to be kept.
pub(crate) fn news(world: &World) {
    let mut entities = world.entities.clone();
    entities.push(devtenant::backstage::component("news", "orders-team"));
    world.backstage.set_entities(entities);
}

/// Snapshots that can't be kept, and are decided by all the same.
async fn not_kept(scene: Scene) -> Result<()> {
    news(&scene.world);
    more("Backstage was asked", 12, || scene.world.backstage.requests()).await
}

pub(crate) fn faults() -> Vec<Fault> {
    let without_snapshot =
        || Window::some(&[(POLICY, &["catalog_unavailable"]), (GRAPH, &["groups_unavailable"])]);
    let without_keys = || Window::some(&[(TOKENS, &["keys_unavailable"])]);
    // Groups are kept in memory alone.
    let whole = || Window::some(&[(GRAPH, &["groups_unavailable"])]);
    vec![
        restart("restart while nothing else can be had", |_| Ok(()), whole()),
        restart(
            "restart with half a snapshot",
            |world| {
                change(&world.path("snapshots/snapshot"), |bytes| bytes.truncate(bytes.len() / 2))
            },
            without_snapshot(),
        ),
        restart(
            "restart with an empty snapshot",
            |world| change(&world.path("snapshots/snapshot"), Vec::clear),
            without_snapshot(),
        ),
        restart(
            "restart with one flipped bit in the snapshot",
            |world| change(&world.path("snapshots/snapshot"), |bytes| flip(bytes)),
            without_snapshot(),
        ),
        restart(
            "restart with one flipped bit in the key sets",
            |world| {
                kept(world, "keys")?.iter().try_for_each(|file| change(file, |bytes| flip(bytes)))
            },
            without_keys(),
        ),
        restart(
            "restart with half the key sets",
            |world| {
                let halve = |bytes: &mut Vec<u8>| bytes.truncate(bytes.len() / 2);
                kept(world, "keys")?.iter().try_for_each(|file| change(file, halve))
            },
            without_keys(),
        ),
        fault(FAMILY, "what is kept is damaged while it is served from memory")
            .only(&[State::Warm, State::Reloading])
            .inject(|scene| async move {
                for store in ["keys", "snapshots"] {
                    for file in kept(&scene.world, store)? {
                        change(&file, |bytes| flip(bytes))?;
                    }
                }
                Ok(())
            })
            .met(not_kept),
        fault(FAMILY, "the folders of what is kept can't be written to")
            .inject(|scene| async move { take_stores_away(&scene.world) })
            .met(not_kept)
            .lift(|scene| async move { give_stores_back(&scene.world) }),
        fault(FAMILY, "no file may grow, as on a full disk")
            .inject(|scene| async move {
                if scene.state == State::Cold {
                    scene.world.process.first("ulimit -S -f 0;");
                    return Ok(());
                }
                scene.world.process.limit("--fsize=0:")
            })
            .met(not_kept)
            .lift(|scene| async move {
                scene.world.process.first("");
                scene.world.process.limit("--fsize=unlimited:")
            }),
    ]
}
