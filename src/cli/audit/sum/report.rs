//! What a sum says.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::audit::form::{Instant, Outcome};
use crate::cli::audit::show::{clean, duration};

/// Everything, as `--json` prints it.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) first: Option<Instant>,
    pub(super) last: Option<Instant>,
    pub(super) totals: Totals,
    pub(super) outcomes: Vec<OutcomeRow>,
    pub(super) denied_most: Vec<DeniedRow>,
    pub(super) entities: Vec<UseRow>,
    pub(super) routes: Vec<UseRow>,
    pub(super) policies: Vec<PolicyRow>,
    /// Nothing where nobody said which policies there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) policies_that_never_decided: Option<Vec<String>>,
    pub(super) shadow: Vec<ShadowRow>,
    pub(super) latency: Option<Latency>,
    pub(super) cache: Cache,
    /// How many different ones decided.
    pub(super) versions: BTreeMap<&'static str, u64>,
    pub(super) catalog: BTreeMap<String, u64>,
    pub(super) missing: Gaps,
    pub(super) strange_lines: u64,
}

#[derive(Debug, Default, Serialize)]
pub(super) struct Totals {
    pub(super) decisions: u64,
    pub(super) allowed: u64,
    pub(super) denied: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct OutcomeRow {
    pub(super) decision: &'static str,
    pub(super) reason: String,
    pub(super) count: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct DeniedRow {
    pub(super) who: String,
    pub(super) what: String,
    pub(super) reason: String,
    pub(super) count: u64,
}

/// How often something was asked for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct What {
    allowed: u64,
    denied: u64,
}

impl What {
    pub(super) fn add(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Allow => self.allowed += 1,
            Outcome::Deny => self.denied += 1,
        }
    }

    pub(super) fn named(self, name: String) -> UseRow {
        UseRow { name, allowed: self.allowed, denied: self.denied }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct UseRow {
    pub(super) name: String,
    pub(super) allowed: u64,
    pub(super) denied: u64,
}

impl UseRow {
    pub(super) fn total(&self) -> u64 {
        self.allowed + self.denied
    }
}

#[derive(Debug, Default, Serialize)]
pub(super) struct PolicyRow {
    pub(super) policy: String,
    /// Times it determined an allow.
    pub(super) allowed: u64,
    /// Times it determined a denial.
    pub(super) denied: u64,
    pub(super) warned: u64,
    pub(super) alerted: u64,
    /// Times it would have determined another answer.
    pub(super) shadow: u64,
}

impl PolicyRow {
    pub(super) fn decided(&self) -> bool {
        self.total() > 0
    }

    pub(super) fn total(&self) -> u64 {
        self.allowed + self.denied
    }
}

#[derive(Debug, Serialize)]
pub(super) struct ShadowRow {
    pub(super) set: String,
    pub(super) policies: Vec<String>,
    pub(super) entity: String,
    /// `allow` or `deny`.
    pub(super) would: &'static str,
    pub(super) count: u64,
}

/// In microseconds.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Latency {
    pub(super) p50: u64,
    pub(super) p90: u64,
    pub(super) p99: u64,
    pub(super) p999: u64,
    pub(super) max: u64,
}

impl Latency {
    /// By the nearest rank: the smallest value that so many are not above.
    pub(super) fn of(values: &mut [u64]) -> Option<Self> {
        values.sort_unstable();
        let max = *values.last()?;
        let rank = |per_mille: usize| {
            let rank = values.len().saturating_mul(per_mille).div_ceil(1000).max(1);
            values.get(rank - 1).copied().unwrap_or(max)
        };
        Some(Self { p50: rank(500), p90: rank(900), p99: rank(990), p999: rank(999), max })
    }
}

#[derive(Debug, Default, Serialize)]
pub(super) struct Cache {
    pub(super) tokens: u64,
    pub(super) tokens_remembered: u64,
    pub(super) decisions: u64,
    pub(super) decisions_remembered: u64,
}

#[derive(Debug, Default, Serialize)]
pub(super) struct Gaps {
    pub(super) gaps: u64,
    pub(super) lost: u64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Totals { decisions, allowed, denied } = self.totals;
        match (self.first, self.last) {
            (Some(first), Some(last)) => writeln!(f, "from {first} to {last}")?,
            _ => return f.write_str("no records"),
        }
        writeln!(f, "{decisions} decisions: {allowed} allowed, {denied} denied")?;
        if self.missing.lost > 0 {
            let Gaps { gaps, lost } = self.missing;
            writeln!(f, "{lost} records are missing, in {gaps} gaps")?;
        }
        self.lists(f)?;
        self.rest(f)
    }
}

impl Report {
    fn lists(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.outcomes.iter();
        list(
            f,
            "outcomes",
            rows.map(|row| (row.count, format!("{} {}", row.decision, row.reason))),
        )?;
        list(
            f,
            "denied most",
            self.denied_most
                .iter()
                .map(|row| (row.count, format!("{}  {}  {}", row.who, row.what, row.reason))),
        )?;
        let used = |row: &UseRow| (row.total(), format!("{} ({} denied)", row.name, row.denied));
        list(f, "entities", self.entities.iter().map(used))?;
        list(f, "routes", self.routes.iter().map(used))?;
        list(
            f,
            "policies that decided",
            self.policies.iter().map(|row| {
                let mut text = format!("{} ({} denied", row.policy, row.denied);
                for (word, count) in [
                    ("warned", row.warned),
                    ("alerted", row.alerted),
                    ("in the shadow", row.shadow),
                ] {
                    if count > 0 {
                        text.push_str(&format!(", {count} {word}"));
                    }
                }
                (row.total(), format!("{text})"))
            }),
        )?;
        list(
            f,
            "what policies in the shadow would have changed",
            self.shadow.iter().map(|row| {
                let by = row.policies.join(", ");
                (row.count, format!("{}: {} {}, by {by}", row.set, row.would, row.entity))
            }),
        )
    }

    fn rest(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(silent) = &self.policies_that_never_decided {
            writeln!(f, "\npolicies that never decided")?;
            for policy in silent {
                writeln!(f, "  {}", clean(policy))?;
            }
            if silent.is_empty() {
                writeln!(f, "  none")?;
            }
        }
        if let Some(Latency { p50, p90, p99, p999, max }) = self.latency {
            let shown = [("50 %", p50), ("90 %", p90), ("99 %", p99), ("99.9 %", p999)]
                .map(|(share, value)| format!("{share} within {}", duration(value)));
            writeln!(f, "\nlatency: {}, the slowest {}", shown.join(", "), duration(max))?;
        }
        let Cache { tokens, tokens_remembered, decisions, decisions_remembered } = self.cache;
        let (token, decision) =
            (share(tokens_remembered, tokens), share(decisions_remembered, decisions));
        writeln!(f, "remembered: {token} of tokens, {decision} of decisions by policies")?;
        for (name, count) in &self.versions {
            writeln!(f, "{count} versions of {name}")?;
        }
        for (event, count) in &self.catalog {
            writeln!(f, "{count} {event}")?;
        }
        Ok(())
    }
}

fn list(
    f: &mut fmt::Formatter<'_>,
    title: &str,
    rows: impl ExactSizeIterator<Item = (u64, String)>,
) -> fmt::Result {
    if rows.len() == 0 {
        return Ok(());
    }
    writeln!(f, "\n{title}")?;
    for (count, text) in rows {
        writeln!(f, "{count:>9}  {}", clean(&text))?;
    }
    Ok(())
}

/// To a tenth of a percent.
fn share(part: u64, whole: u64) -> String {
    match part.saturating_mul(1000).checked_div(whole) {
        None => "none".to_owned(),
        Some(per_mille) => format!("{}.{} %", per_mille / 10, per_mille % 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_there() {
        assert_eq!(Latency::of(&mut []), None);
        let one = Latency { p50: 7, p90: 7, p99: 7, p999: 7, max: 7 };
        assert_eq!(Latency::of(&mut [7]), Some(one));
        let mut values: Vec<u64> = (1..=1000).rev().collect();
        let many = Latency { p50: 500, p90: 900, p99: 990, p999: 999, max: 1000 };
        assert_eq!(Latency::of(&mut values), Some(many));
        assert_eq!(
            (share(1, 3), share(0, 0), share(3, 3)),
            ("33.3 %".into(), "none".into(), "100.0 %".into())
        );
    }
}
