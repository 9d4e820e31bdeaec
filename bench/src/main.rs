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

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};

/// As in Stagedoor, so that the two differ in what they do only.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
struct Command {
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
    match Command::parse().what {
        What::Yes { address, workers, answer } => yes::serve(&address, workers, answer.as_deref()),
        What::Run { parts, binaries, envoy, profile, passes, quick, only, docs } => {
            let passes = if quick { 1 } else { passes };
            let plan = parts::Plan { binaries, envoy, passes, quick, profile, only };
            let tables = plan.run(&parts)?;
            let machine = machine()?;
            println!("{machine}\n");
            for table in &tables {
                println!("{}", table.markdown());
            }
            let root = world::root();
            let file = root.join("target/bench/results.json");
            std::fs::create_dir_all(file.parent().context("a folder")?)?;
            let results: serde_json::Map<_, _> =
                tables.iter().map(|table| (table.name.to_owned(), table.json())).collect();
            std::fs::write(&file, serde_json::to_string_pretty(&results)?)?;
            if docs {
                report::write_docs(root, &tables, &machine)?;
            }
            Ok(())
        }
    }
}

/// What it was measured on.
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
