//! Stagedoor beside a server that always says yes, and beside Envoy's own filters.
//!
//! `make bench` builds and runs it; `docs/performance.md` says what it measures.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it prints what it found")]

mod envoy;
mod load;
mod parts;
mod process;
mod report;
mod world;
mod yes;

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use clap::{Parser, Subcommand};
use report::Table;
use serde_json::Value;

/// As in Stagedoor, so that the two differ in what they do only.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Serves the server that always says yes.
    Yes {
        /// `address:port`, or `unix:` and a path.
        address: String,
        /// Threads.
        workers: usize,
        /// The `CheckResponse` to answer with; the plainest by default.
        answer: Option<PathBuf>,
    },
    /// Measures.
    Run {
        /// What to measure; everything by default.
        #[arg(long, value_delimiter = ',', default_values = parts::NAMES)]
        parts: Vec<String>,
        /// Where `stagedoor` is.
        #[arg(long)]
        binaries: PathBuf,
        /// The Envoy binary.
        #[arg(long)]
        envoy: PathBuf,
        /// The profile that the steps are built with.
        #[arg(long, default_value = "bench")]
        profile: String,
        /// How often each is measured, in turn with the others.
        #[arg(long, default_value_t = 5)]
        passes: usize,
        /// A smoke test: few requests, and no figure that means anything.
        #[arg(long)]
        quick: bool,
        /// Of the part `raw` only this row: for a profiler that watches.
        #[arg(long)]
        only: Option<String>,
        /// Writes tables and plots into `docs/`.
        #[arg(long)]
        docs: bool,
    },
}

fn main() -> Result<()> {
    match Arguments::parse().what {
        What::Yes { address, workers, answer } => yes::serve(&address, workers, answer.as_deref()),
        What::Run { parts, binaries, envoy, profile, passes, quick, only, docs } => {
            let passes = if quick { 1 } else { passes };
            let plan = parts::Plan { binaries, envoy, passes, quick, profile, only };
            let measured = measured(&plan)?;
            println!("{measured}\n");
            let mut results = serde_json::Map::new();
            let mut failed = Vec::new();
            for part in &parts {
                // What was measured is kept, whatever becomes of the rest.
                match plan.run(part) {
                    Ok(tables) => keep(&tables, &measured, &mut results, docs)?,
                    Err(error) => {
                        eprintln!("{part}: {error:#}");
                        failed.push(part.as_str());
                    }
                }
            }
            ensure!(failed.is_empty(), "could not be measured: {}", failed.join(", "));
            Ok(())
        }
    }
}

/// Prints what a part found, and writes it where it is looked for.
fn keep(
    tables: &[Table],
    measured: &str,
    results: &mut serde_json::Map<String, Value>,
    docs: bool,
) -> Result<()> {
    for table in tables {
        println!("{}", table.markdown());
        results.insert(table.name.to_owned(), table.json());
    }
    let root = world::root();
    let file = root.join("target/bench/results.json");
    std::fs::create_dir_all(file.parent().context("a folder")?)?;
    std::fs::write(&file, serde_json::to_string_pretty(results)?)?;
    if docs { report::write_docs(root, tables, measured) } else { Ok(()) }
}

/// On what, of what and how often it was measured.
fn measured(plan: &parts::Plan) -> Result<String> {
    let run = |program: &OsStr, arguments: &[&str]| -> Result<String> {
        let output = Command::new(program).args(arguments).current_dir(world::root()).output()?;
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    };
    let commit = run("git".as_ref(), &["describe", "--always", "--dirty"])?;
    let envoy = run(plan.envoy.as_ref(), &["--version"])?;
    // `…version: <commit>/<version>/<more>`
    let version = envoy.split_once("version: ").and_then(|(_, text)| text.split('/').nth(1));
    let envoy = version.unwrap_or("unknown");
    Ok(format!("{}; commit {commit}, profile {}, Envoy {envoy}", machine()?, plan.profile))
}

fn machine() -> Result<String> {
    let info = std::fs::read_to_string("/proc/cpuinfo")?;
    let model = info.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model.map_or("unknown", |model| model.trim_start_matches([' ', '\t', ':']));
    let cores = std::thread::available_parallelism()?;
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    Ok(format!(
        "{model}, {cores} cores, Linux {}; client, servers and Envoy share them",
        kernel.trim()
    ))
}
