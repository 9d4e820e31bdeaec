//! The steps of a decision by themselves, as criterion measures them in process.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::Plan;
use crate::report::Table;
use crate::world::root;

const YARDSTICK: &str = "step/sha256 of the token";
const WARM: &str = "whole/allow, warm";
const NEW: &str = "new token/whole";
const SIGNATURE: &str = "new token/signature alone";

/// Runs `benches/micro.rs`, and reads what criterion wrote down.
pub(super) fn measure(plan: &Plan) -> Result<Vec<Table>> {
    let folder =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), Into::into);
    let folder: PathBuf = folder;
    // What there was before may have other names now.
    match fs::remove_dir_all(folder.join("criterion")) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["bench", "--locked", "--profile", &plan.profile, "--package", "stagedoor"]);
    command.args(["--bench", "micro", "--"]);
    if plan.quick {
        command.args(["--warm-up-time", "0.1", "--measurement-time", "0.2"]);
    }
    ensure!(command.current_dir(root()).status()?.success(), "the steps could not be measured");
    let mut table = Table::new("steps", "in process", &[("ns", 0), ("÷ SHA-256 of the token", 2)]);
    let mut found = Vec::new();
    for group in fs::read_dir(folder.join("criterion"))? {
        for step in fs::read_dir(group?.path())? {
            let new = step?.path().join("new");
            // Beside the steps are their reports.
            let Ok(estimates) = fs::read(new.join("estimates.json")) else { continue };
            let estimates: Value = serde_json::from_slice(&estimates)?;
            let benchmark: Value = serde_json::from_slice(&fs::read(new.join("benchmark.json"))?)?;
            let name = benchmark.get("full_id").and_then(Value::as_str).context("a name")?;
            let median = estimates.get("median").context("a median")?;
            let bounds = median.get("confidence_interval").context("an interval")?;
            let figure = |of: &Value, name: &str| of.get(name).and_then(Value::as_f64);
            let figures = [
                figure(bounds, "lower_bound").context("a lower bound")?,
                figure(median, "point_estimate").context("an estimate")?,
                figure(bounds, "upper_bound").context("an upper bound")?,
            ];
            found.push((name.to_owned(), figures));
        }
    }
    found.sort_by_key(|(name, _)| ORDER.iter().position(|group| name.starts_with(group)));
    let of = |wanted: &str| {
        let found = found.iter().find(|(name, _)| name == wanted);
        found.map(|(_, figures)| *figures).with_context(|| format!("no step `{wanted}`"))
    };
    let [_, yardstick, _] = of(YARDSTICK)?;
    for (name, figures) in &found {
        figures.iter().for_each(|nanos| table.add(name, &[*nanos, nanos / yardstick]));
    }
    let mut aims = Table::new("steps-aims", "aim", &[("", 2)]);
    let name = "parse, decide, encode, record: warm ÷ SHA-256 of the token (aim: at most 1.5)";
    for (warm, yardstick) in of(WARM)?.iter().zip(of(YARDSTICK)?.iter().rev()) {
        aims.add(name, &[warm / yardstick]);
    }
    let name = "µs of a cold decision beyond its signature (aim: at most 15)";
    for (new, signature) in of(NEW)?.iter().zip(of(SIGNATURE)?.iter().rev()) {
        aims.add(name, &[(new - signature) / 1e3]);
    }
    Ok(vec![table, aims, allocations()?])
}

/// What a warm decision allocates, as `tests/allocations.rs` counts it: a profiler's allocator
/// would make the steps slower.
fn allocations() -> Result<Table> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["test", "--locked", "--package", "stagedoor", "--test", "allocations", "--"]);
    command.args(["--nocapture", "what_decisions_allocate"]);
    let output = command.current_dir(root()).output()?;
    ensure!(output.status.success(), "allocations could not be counted");
    let text = String::from_utf8(output.stdout)?;
    let title = "a warm decision, in process";
    let mut table = Table::new("allocations", title, &[("allocations", 0), ("bytes", 0)]);
    for line in text.lines() {
        // `allocations of a warm …: 3 of 1234 bytes`
        let Some(rest) = line.strip_prefix("allocations of a warm ") else { continue };
        let (name, counts) = rest.split_once(": ").context("a name")?;
        let (count, bytes) = counts.split_once(" of ").context("a count")?;
        let bytes = bytes.strip_suffix(" bytes").context("bytes")?;
        table.add(name, &[count.parse()?, bytes.parse()?]);
    }
    ensure!(!table.rows.is_empty(), "no allocations were told");
    Ok(table)
}

/// The groups of `benches/micro.rs`.
const ORDER: [&str; 3] = ["step/", "whole/", "new token/"];
