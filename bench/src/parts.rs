//! What is measured. Contenders take turns within each pass, so that what else the machine
//! does meets all of them.

mod cost;
mod growth;
mod memory;
mod pressure;
mod start;
mod steps;
mod swaps;
mod through_envoy;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use hdrhistogram::Histogram;

use crate::load::{Load, Message, Outcome, run};
use crate::process::Process;
use crate::report::Table;
use crate::world::World;

/// The parts, in the order in which they run.
pub(crate) const NAMES: [&str; 8] =
    ["steps", "raw", "envoy", "forged", "swaps", "growth", "memory", "start"];

/// How to measure.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) binaries: PathBuf,
    pub(crate) envoy: PathBuf,
    pub(crate) passes: usize,
    pub(crate) quick: bool,
    /// The profile that the steps are built with.
    pub(crate) profile: String,
    /// Of raw gRPC only this row, for a profiler that watches.
    pub(crate) only: Option<String>,
}

impl Plan {
    /// Measures a part.
    pub(crate) fn run(&self, part: &str) -> Result<Vec<Table>> {
        eprintln!("{part} …");
        if part == "steps" {
            return steps::measure(self);
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let world = runtime.block_on(World::start(self.binaries.clone()))?;
        match part {
            "raw" => cost::measure(self, &runtime, &world),
            "envoy" => through_envoy::measure(self, &runtime, &world),
            "forged" => pressure::measure(self, &runtime, &world),
            "swaps" => swaps::measure(self, &runtime, &world),
            "growth" => growth::measure(self, &runtime, &world),
            "memory" => memory::measure(self, &runtime, &world),
            "start" => start::measure(self, &runtime, &world),
            other => bail!("there is no part `{other}`: expected {}", NAMES.join(", ")),
        }
    }

    /// So many, or fewer for a smoke test.
    fn requests(&self, wanted: usize) -> usize {
        if self.quick { (wanted / 50).max(100) } else { wanted }
    }
}

/// What a load cost its server.
struct Cost {
    micros: f64,
    outcome: Outcome,
}

/// Runs a load, and measures the CPU time of its server.
fn cost(process: &Process, load: &Load, next: &dyn Fn(usize) -> Message) -> Result<Cost> {
    let before = process.cpu()?;
    let outcome = run(load, next)?;
    let requests = f64::from(u32::try_from(load.requests)?);
    let micros = (process.cpu()?.saturating_sub(before)).as_secs_f64() * 1e6 / requests;
    Ok(Cost { micros, outcome })
}

fn per_second(requests: usize, took: Duration) -> f64 {
    f64::from(u32::try_from(requests).unwrap_or(u32::MAX)) / took.as_secs_f64()
}

/// p50, p90, p99 and p99.9, in microseconds.
fn percentiles(latencies: &Histogram<u64>) -> [f64; 4] {
    [0.5, 0.9, 0.99, 0.999].map(|part| {
        let nanos = Duration::from_nanos(latencies.value_at_quantile(part));
        nanos.as_secs_f64() * 1e6
    })
}
