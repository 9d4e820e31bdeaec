//! What the machine gives the process: the time, and a disk.

use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use devtenant::front::Passage;

use crate::callers::{Caller, May, TOKENS};
use crate::load::Window;
use crate::run::{Fault, Scene, State, fault, more};
use crate::storage::news;
use crate::world::{Setting, until};

const FAMILY: &str = "machine";
const SETTABLE: Setting = Setting { machine: true, ..Setting::USUAL };
/// What was seen by a process that has ended can't be remembered.
const RUNNING: &[State] = &[State::Warm, State::Reloading];
/// Longer than any token is valid.
const AHEAD_BY: i64 = 3 * 3600;
/// So that the token that is over is valid by the clock, and no token that is valid.
const BEHIND_BY: i64 = 3600 + 1800;

/// Longer than keys and snapshots are decided by without being fetched.
const SUSPENDED_FOR: i64 = 26 * 3600;
/// Made-up key ids make for no fetch, nor does the time within a test.
const SLEEPY: Setting = Setting { keys: "refresh_every: 1h, min_refresh_interval: 1h", ..SETTABLE };
const SOON: Duration = Duration::from_secs(15);
/// What those may be told who come with a token of the day before, or before all is fetched.
const OLD: &[&str] = &["token_expired", "keys_expired", "catalog_expired", "groups_unavailable"];

/// The code that the process is started with, and the file that it goes by.
pub(crate) const CODE: &str = "machine.so";
pub(crate) const NUMBERS: &str = "machine";

/// Numbers in the file, of eight bytes each.
const COUNT: usize = 4;

/// Makes both of them in a folder.
pub(crate) fn make(folder: &Path) -> Result<()> {
    let status = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(folder.join(CODE))
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/faults/machine.c"))
        .status()
        .context("no C compiler")?;
    ensure!(status.success(), "the machine can't be compiled");
    Ok(std::fs::write(folder.join(NUMBERS), [0; 8 * COUNT])?)
}

/// What can be set, by where its number is in the file.
#[derive(Clone, Copy, Debug)]
enum Number {
    /// Seconds that the clock is ahead.
    Ahead = 0,
    /// Milliseconds of each write.
    WriteTakes = 8,
    /// Writes that took so long.
    Written = 16,
    /// Seconds that the machine was suspended for.
    Suspended = 24,
}

/// What it is now, which the process counts on.
fn get(scene: &Scene, number: Number) -> Result<i64> {
    let mut file = std::fs::File::open(scene.world.path(NUMBERS))?;
    file.seek(SeekFrom::Start(number as u64))?;
    let mut value = [0; 8];
    file.read_exact(&mut value)?;
    Ok(i64::from_ne_bytes(value))
}

/// Sets it for the process, which has the file in its memory.
fn set(scene: &Scene, number: Number, value: i64) -> Result<()> {
    let mut file = std::fs::File::options().write(true).open(scene.world.path(NUMBERS))?;
    file.seek(SeekFrom::Start(number as u64))?;
    Ok(file.write_all(&value.to_ne_bytes())?)
}

fn clock(name: &'static str, ahead: i64, outcome: &'static [&'static str]) -> Fault {
    fault(FAMILY, name)
        .only(RUNNING)
        .with(SETTABLE)
        .inject(move |scene: Scene| async move {
            // Tokens that were never seen and are valid by a clock that is behind can't be told
            // from valid ones. Whose end was seen is another matter.
            if ahead < 0 {
                scene.load.rule(Caller::Expired, May::Either);
            }
            set(&scene, Number::Ahead, ahead)
        })
        .met(move |scene| async move {
            let refused = || async {
                outcome.contains(&scene.load.last(Caller::NewOwner).as_str())
                    && outcome.contains(&scene.load.last(Caller::Owner).as_str())
            };
            until("tokens are judged by the new time", refused).await
        })
        .lift(|scene| async move { set(&scene, Number::Ahead, 0) })
        .costs(move |_| Window::Some(vec![(TOKENS, outcome)]))
}

/// Stops the process, as a machine that is suspended does.
async fn fall_asleep(scene: &Scene) -> Result<()> {
    let pid = scene.world.process.running().pid.context("no process")?;
    scene.world.process.signal("STOP");
    let stopped = || async {
        // The name in parentheses may hold anything.
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
    };
    until("it stands still", stopped).await
}

/// Goes on, more than a day later for everybody.
fn wake_up(scene: &Scene) -> Result<()> {
    scene.load.advance(SUSPENDED_FOR);
    set(scene, Number::Suspended, SUSPENDED_FOR)?;
    scene.world.process.signal("CONT");
    Ok(())
}

/// Waits until it is so, for much less than the rest of the hour after which keys are fetched by
/// the clock that stood still.
async fn soon<F: Future<Output = bool>>(what: &str, so: impl FnMut() -> F) -> Result<()> {
    tokio::time::timeout(SOON, until(what, so)).await.with_context(|| format!("not yet: {what}"))?
}

pub(crate) fn faults() -> Vec<Fault> {
    vec![
        fault(FAMILY, "it is suspended for a day, and a key is withdrawn meanwhile")
            .only(RUNNING)
            .with(SLEEPY)
            .inject(|scene: Scene| async move {
                fall_asleep(&scene).await?;
                scene.load.rule(Caller::OldKey, May::Either);
                scene.world.tenant.withdraw_key("old-key");
                wake_up(&scene)
            })
            .met(|scene| async move {
                let refused = || async { scene.load.last(Caller::OldKey) == "token_key_unknown" };
                soon("the old key stops working", refused).await?;
                scene.load.rule(Caller::OldKey, May::No);
                Ok(())
            })
            .costs(|_| Window::some(&[(TOKENS, OLD)])),
        fault(FAMILY, "it is suspended for a day, and neither tenant nor Backstage is there then")
            .only(RUNNING)
            .with(SLEEPY)
            .inject(|scene: Scene| async move {
                fall_asleep(&scene).await?;
                scene.world.tenant_front.set(Passage::Closed);
                scene.world.backstage_front.set(Passage::Closed);
                wake_up(&scene)
            })
            .met(|scene| async move {
                let refused = || async {
                    let refused = |caller| scene.load.last(caller) == "keys_expired";
                    refused(Caller::Owner) && refused(Caller::NewOwner) && refused(Caller::Known)
                };
                soon("nobody is known by the keys of a day ago", refused).await?;
                for caller in TOKENS {
                    scene.load.rule(*caller, May::No);
                }
                Ok(())
            })
            .lift(|scene| async move {
                for caller in TOKENS {
                    scene.load.rule(*caller, caller.may());
                }
                scene.world.tenant_front.set(Passage::Open);
                scene.world.backstage_front.set(Passage::Open);
                Ok(())
            })
            .costs(|_| Window::some(&[(TOKENS, OLD)])),
        clock("the clock is three hours ahead, and right again", AHEAD_BY, &["token_expired"]),
        clock(
            "the clock is an hour and a half behind, and right again",
            -BEHIND_BY,
            &["token_not_yet_valid"],
        ),
        fault(FAMILY, "each write to the disk takes two seconds")
            .with(SETTABLE)
            .inject(|scene| async move { set(&scene, Number::WriteTakes, 2000) })
            .met(|scene| async move {
                news(&scene.world);
                more("Backstage was asked", 12, || scene.world.backstage.requests()).await?;
                let written = || async { get(&scene, Number::Written).is_ok_and(|n| n > 0) };
                until("a write took so long", written).await
            })
            .lift(|scene| async move { set(&scene, Number::WriteTakes, 0) }),
    ]
}
