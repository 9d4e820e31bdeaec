//! What the machine gives the process: the time, and a disk.

use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

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

/// The code that the process is started with, and the file that it goes by.
pub(crate) const CODE: &str = "machine.so";
pub(crate) const NUMBERS: &str = "machine";

/// Numbers in the file, of eight bytes each.
const COUNT: usize = 3;

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

pub(crate) fn faults() -> Vec<Fault> {
    vec![
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
