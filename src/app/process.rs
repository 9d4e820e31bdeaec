//! What the process takes of the machine, read when somebody asks.

use std::fmt;
use std::fs;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::admin::status::ProcessStatus;
use crate::serve::descriptor_limit;

// Where values stand in `/proc/self/stat`, counted from behind the name.
const USER: usize = 11;
const SYSTEM: usize = 12;
const STARTED: usize = 19;
/// A tick of these values: there are a hundred a second wherever Linux runs.
const TICK_MILLIS: u64 = 10;

/// The process itself, under the names that Prometheus has for every program. What the
/// system doesn't tell is left out.
#[derive(Debug)]
pub(super) struct Process {
    /// Since 1970. Whoever looks for restarts wants one value, and the system reckons it anew
    /// by a clock that can be set.
    started: Option<Duration>,
}

impl Process {
    pub(super) fn new() -> Self {
        let booted = fs::read_to_string("/proc/stat").ok();
        let booted = booted.as_deref().and_then(booted_at);
        let since = own("stat").as_deref().and_then(|stat| time(stat, STARTED));
        let started = booted.zip(since).and_then(|(booted, since)| booted.checked_add(since));
        Self { started }
    }
}

/// What it takes now.
pub(super) fn now() -> ProcessStatus {
    let wide = |number: usize| u64::try_from(number).ok();
    let stat = own("stat");
    let spent = stat.as_deref().and_then(|stat| {
        let (user, system) = (time(stat, USER)?, time(stat, SYSTEM)?);
        user.checked_add(system)
    });
    ProcessStatus {
        resident_bytes: own("status").as_deref().and_then(resident),
        open_descriptors: open_descriptors().and_then(wide),
        max_descriptors: descriptor_limit().and_then(wide),
        cpu_seconds: spent.map(|spent| spent.as_secs_f64()),
    }
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let ProcessStatus { resident_bytes, open_descriptors, max_descriptors, cpu_seconds } =
            now();
        let mut gauge = |name: &str, help: &str, value: Option<u64>| -> fmt::Result {
            let Some(value) = value else { return Ok(()) };
            let descriptor = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(value).encode(descriptor)
        };
        gauge("process_resident_memory_bytes", "Memory that the process has", resident_bytes)?;
        gauge("process_open_fds", "File descriptors that are open", open_descriptors)?;
        gauge("process_max_fds", "File descriptors that may be open", max_descriptors)?;
        if let Some(started) = self.started {
            let name = "process_start_time_seconds";
            let help = "When the process was started, in seconds since 1970";
            let descriptor = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(started.as_secs_f64()).encode(descriptor)?;
        }
        if let Some(spent) = cpu_seconds {
            let name = "process_cpu_seconds";
            let help = "Processor time that the process has taken";
            let descriptor = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            ConstCounter::new(spent).encode(descriptor)?;
        }
        Ok(())
    }
}

fn own(name: &str) -> Option<String> {
    fs::read_to_string(format!("/proc/self/{name}")).ok()
}

/// Without the one that it takes to look.
fn open_descriptors() -> Option<usize> {
    fs::read_dir("/proc/self/fd").ok()?.count().checked_sub(1)
}

/// The resident memory that `/proc/self/status` tells, in bytes.
fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// When the machine was started, as `/proc/stat` tells, since 1970.
fn booted_at(stat: &str) -> Option<Duration> {
    let line = stat.lines().find_map(|line| line.strip_prefix("btime "))?;
    line.trim().parse().ok().map(Duration::from_secs)
}

/// A time that `/proc/self/stat` tells. The name in parentheses may hold anything.
fn time(stat: &str, at: usize) -> Option<Duration> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let ticks: u64 = fields.split(' ').nth(at)?.parse().ok()?;
    ticks.checked_mul(TICK_MILLIS).map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use prometheus_client::registry::Registry;

    use super::*;

    #[test]
    fn what_linux_tells() {
        let status = "Name:\tstagedoor\nVmHWM:\t   20480 kB\nVmRSS:\t   10240 kB\nThreads:\t9\n";
        assert_eq!(resident(status), Some(10 << 20));
        assert_eq!(resident("Name:\tstagedoor\n"), None);
        assert_eq!(resident("VmRSS:\t10240\n"), None);
        let stat = "7 (a) R 1 (b) S 1 7 7 0 -1 0 1 2 3 4 250 50 0 0 20 0 9 0 12345 1 2\n";
        assert_eq!(time(stat, USER), Some(Duration::from_millis(2500)));
        assert_eq!(time(stat, SYSTEM), Some(Duration::from_millis(500)));
        assert_eq!(time(stat, STARTED), Some(Duration::from_millis(123_450)));
        assert_eq!(time("7 (a) S 1", USER), None);
        let booted = booted_at("cpu  1 2\nbtime 1700000000\n");
        assert_eq!(booted, Some(Duration::from_secs(1_700_000_000)));
        assert_eq!(booted_at("cpu  1 2\n"), None);
    }

    /// Of the process that runs the tests, beside what the system tells of it.
    #[test]
    fn this_process() {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Process::new()));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("text");
        let sample = |name: &str| -> f64 {
            let name = format!("{name} ");
            let value = text.lines().find_map(|line| line.strip_prefix(&name));
            value.unwrap_or_else(|| panic!("no {name}in {text}")).parse().expect("a number")
        };
        let memory = sample("process_resident_memory_bytes");
        assert!((1_048_576.0..1e12).contains(&memory), "{memory}");
        let (open, most) = (sample("process_open_fds"), sample("process_max_fds"));
        assert!((3.0..=most).contains(&open), "{open} of {most}");
        let spent = sample("process_cpu_seconds_total");
        assert!((0.0..1e6).contains(&spent), "{spent}");
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
        let age = since.as_secs_f64() - sample("process_start_time_seconds");
        // The system says to the second when it was started.
        assert!((-2.0..86_400.0).contains(&age), "{age}");
    }
}
