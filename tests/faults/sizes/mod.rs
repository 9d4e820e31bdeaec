//! What was aimed at, at the size that was aimed at: each figure has a process of its own, as
//! it ships, real connections, and a real Envoy where the figure is about one.
//!
//! What has to hold on any machine is asserted: that no answer is wrong, and how much memory
//! there may be. Times and rates are reported. `make test-figures` runs it;
//! `STAGEDOOR_FIGURES_ONLY` names parts of the names of those that are measured.

mod cheap;
mod client;
mod descriptors;
mod hanging;
mod memory;
mod mint;
mod open_door;
mod overload;
mod silent;
mod site;
mod unknown_keys;

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::Result;
use futures_util::future::BoxFuture;
use tokio::time::Instant;

use crate::figures::{millis, within};
use crate::process::run;

/// What a figure is called, and what measures it.
type Measure = (&'static str, fn() -> BoxFuture<'static, Result<Findings>>);

const ALL: [Measure; 7] = [
    ("open door", || Box::pin(open_door::measure())),
    ("unknown keys", || Box::pin(unknown_keys::measure())),
    ("silent connections", || Box::pin(silent::measure())),
    ("descriptors", || Box::pin(descriptors::measure())),
    ("memory", || Box::pin(memory::measure())),
    ("overload", || Box::pin(overload::measure())),
    ("hanging", || Box::pin(hanging::measure())),
];

/// The suite's own connections and those of a process that it starts.
const DESCRIPTORS: &str = "8192";

/// What came of one figure.
#[derive(Debug, Default)]
pub(super) struct Findings {
    rows: Vec<[String; 3]>,
    wrongs: Vec<String>,
}

impl Findings {
    /// What was measured, and what was aimed at; nothing where it only says how it was.
    fn note(&mut self, what: impl Into<String>, aim: &str, measured: impl Into<String>) {
        self.rows.push([what.into(), aim.to_owned(), measured.into()]);
    }

    /// What has to hold on any machine.
    fn hold(&mut self, holds: bool, what: impl Into<String>) {
        if !holds {
            self.wrongs.push(what.into());
        }
    }
}

/// The median, what 99 of 100 are within, and the longest.
fn spread(times: Vec<Duration>) -> String {
    let at = |part| within(part, times.clone()).map_or(0.0, millis);
    format!("{:.1}, {:.1}, {:.1} ms", at(0.5), at(0.99), at(1.0))
}

/// So many MiB.
fn mebibytes(bytes: u64) -> String {
    format!("{:.0} MiB", bytes as f64 / f64::from(1 << 20))
}

fn a_second(count: u64, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64()
}

/// The table, in which those rows stay that belong to figures which were not measured now.
fn table(before: &str, measured: &[(&str, Findings)]) -> String {
    let mut text = "| figure | what | aim | measured |\n| --- | --- | --- | --- |\n".to_owned();
    for (name, _) in ALL {
        match measured.iter().find(|(other, _)| *other == name) {
            Some((_, findings)) => {
                for [what, aim, measured] in &findings.rows {
                    // Writing to a text never fails.
                    let _ = writeln!(text, "| {name} | {what} | {aim} | {measured} |");
                }
            }
            None => {
                let kept = before.lines().filter(|line| line.starts_with(&format!("| {name} | ")));
                kept.for_each(|line| {
                    let _ = writeln!(text, "{line}");
                });
            }
        }
    }
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a quarter of an hour: make test-figures"]
async fn figures_at_full_size() {
    let only = std::env::var("STAGEDOOR_FIGURES_ONLY").unwrap_or_default();
    let is_wanted = |name: &str| only.split(',').any(|part| name.contains(part.trim()));
    let pid = std::process::id().to_string();
    let soft = format!("--nofile={DESCRIPTORS}:");
    assert!(run("prlimit", &["--pid", &pid, &soft]), "{DESCRIPTORS} descriptors are needed");
    let (mut measured, mut wrongs) = (Vec::new(), Vec::new());
    for (name, measure) in ALL.into_iter().filter(|(name, _)| is_wanted(name)) {
        let begun = Instant::now();
        match measure().await {
            Ok(mut findings) => {
                wrongs.extend(findings.wrongs.drain(..).map(|wrong| format!("{name}: {wrong}")));
                measured.push((name, findings));
            }
            Err(error) => wrongs.push(format!("{name}: {error:#}")),
        }
        eprintln!("{name}, {:.0?}:\n{}", begun.elapsed(), table("", &measured));
    }
    eprintln!("{}", wrongs.join("\n"));
    if let Ok(page) = std::env::var("STAGEDOOR_FIGURES_TO") {
        let before = std::fs::read_to_string(&page).unwrap();
        crate::write_between(&page, "figures", "end of figures", &table(&before, &measured));
    }
    assert!(!measured.is_empty() || !wrongs.is_empty(), "no figure has such a name");
    assert_eq!(wrongs, Vec::<String>::new());
}

#[test]
fn what_is_not_measured_stays_as_it_was() {
    let before =
        "| memory | peak | 128 MiB | 90 MiB |\n| overload | old | | 1 |\n| other | x | | 2 |\n";
    let mut findings = Findings::default();
    findings.note("new", "80 %", "85 %");
    let text = table(before, &[("overload", findings)]);
    let rows: Vec<_> = text.lines().skip(2).collect();
    assert_eq!(rows, ["| memory | peak | 128 MiB | 90 MiB |", "| overload | new | 80 % | 85 % |"]);
    let mut findings = Findings::default();
    findings.hold(true, "fine");
    findings.hold(false, "not fine");
    assert_eq!(findings.wrongs, ["not fine"]);
}
