//! Counting.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;
use std::sync::Arc;

use super::report::{
    Cache, DeniedRow, Gaps, Latency, OutcomeRow, PolicyRow, Report, ShadowRow, Totals, What,
};
use crate::audit::form::{CatalogWhat, DecisionForm, Instant, Outcome, RecordForm};

/// What was counted so far.
#[derive(Debug, Default)]
pub(super) struct Tally {
    span: Option<(Instant, Instant)>,
    outcomes: HashMap<(Outcome, String), u64>,
    denied: HashMap<Denied, u64>,
    entities: HashMap<String, What>,
    routes: HashMap<String, What>,
    policies: BTreeMap<String, PolicyRow>,
    shadow: HashMap<ShadowKey, u64>,
    catalog: BTreeMap<String, u64>,
    latencies: Vec<u64>,
    cache: Cache,
    gaps: Gaps,
    versions: BTreeSet<(&'static str, String)>,
}

/// Who was denied what.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Denied {
    who: String,
    what: String,
    reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct ShadowKey {
    set: String,
    policies: Vec<String>,
    entity: String,
    would_allow: bool,
}

impl Tally {
    pub(super) fn add(&mut self, record: &RecordForm<'_>) {
        let time = record.time();
        let (first, last) = self.span.unwrap_or((time, time));
        self.span = Some((first.min(time), last.max(time)));
        match record {
            RecordForm::Decision(decision) => self.decision(decision),
            RecordForm::Catalog(record) => {
                let event = match record.event {
                    CatalogWhat::CatalogAdopted => "catalog_adopted",
                    CatalogWhat::CatalogChange => "catalog_change",
                    CatalogWhat::CatalogHeld => "catalog_held",
                };
                *self.catalog.entry(event.to_owned()).or_default() += 1;
            }
            RecordForm::Config(record) => {
                *self.catalog.entry(record.event.as_str().to_owned()).or_default() += 1;
            }
            RecordForm::Gap(gap) => {
                self.gaps.gaps += 1;
                self.gaps.lost = self.gaps.lost.saturating_add(gap.lost);
            }
        }
    }

    fn decision(&mut self, record: &DecisionForm<'_>) {
        let outcome = record.decision;
        count(&mut self.outcomes, (outcome, record.reason.to_string()));
        self.latencies.push(record.latency_us);
        let route = record.route.as_deref().unwrap_or("(no route)");
        self.routes.entry(route.to_owned()).or_default().add(outcome);
        if let Some(entity) = record.entity.as_deref() {
            self.entities.entry(entity.to_owned()).or_default().add(outcome);
        }
        if outcome == Outcome::Deny {
            let action = record.action.as_deref().unwrap_or("ask for");
            let what = record.entity.as_deref().unwrap_or(route);
            let who = record.principal.as_ref();
            let who = who.map_or("nobody".to_owned(), |who| format!("{} {}", who.kind, who.object));
            let (what, reason) = (format!("{action} {what}"), record.reason.to_string());
            count(&mut self.denied, Denied { who, what, reason });
        }
        if record.principal.is_some() {
            self.cache.tokens += 1;
            self.cache.tokens_remembered += u64::from(record.cache.token);
            // Only where policies were asked, there is an answer to remember.
            if record.gate.as_deref() == Some("policy") && record.snapshot_version.is_some() {
                self.cache.decisions += 1;
                self.cache.decisions_remembered += u64::from(record.cache.decision);
            }
        }
        for id in &record.policies {
            let row = self.policy(id);
            match outcome {
                Outcome::Allow => row.allowed += 1,
                Outcome::Deny => row.denied += 1,
            }
        }
        for notice in &record.alerts {
            self.policy(&notice.policy).alerted += 1;
        }
        for notice in &record.warnings {
            self.policy(&notice.policy).warned += 1;
        }
        for shadow in &record.shadow {
            for id in &shadow.policies {
                self.policy(id).shadow += 1;
            }
            let key = ShadowKey {
                set: shadow.set.to_string(),
                policies: texts(&shadow.policies),
                entity: record.entity.as_deref().unwrap_or(route).to_owned(),
                would_allow: shadow.allow,
            };
            count(&mut self.shadow, key);
        }
        for (name, version) in [
            ("policy", &record.policy_version),
            ("snapshot", &record.snapshot_version),
            ("keys", &record.keys_version),
        ] {
            if let Some(version) = version {
                self.versions.insert((name, version.to_string()));
            }
        }
    }

    fn policy(&mut self, id: &str) -> &mut PolicyRow {
        let new = || PolicyRow { policy: id.to_owned(), ..PolicyRow::default() };
        self.policies.entry(id.to_owned()).or_insert_with(new)
    }

    pub(super) fn report(
        mut self,
        top: usize,
        policies: Option<&[Arc<str>]>,
        strange_lines: u64,
    ) -> Report {
        let silent = policies.map(|ids| {
            let decided =
                |id: &&Arc<str>| self.policies.get(&***id).is_some_and(PolicyRow::decided);
            ids.iter().filter(|id| !decided(id)).map(ToString::to_string).collect()
        });
        let mut totals = Totals::default();
        for ((outcome, _), times) in &self.outcomes {
            match outcome {
                Outcome::Allow => totals.allowed += times,
                Outcome::Deny => totals.denied += times,
            }
        }
        totals.decisions = totals.allowed + totals.denied;
        let mut versions = BTreeMap::<_, u64>::new();
        for (name, _) in &self.versions {
            *versions.entry(*name).or_default() += 1;
        }
        let outcomes = sorted(self.outcomes, usize::MAX, |(outcome, reason)| {
            (outcome.as_str(), reason.clone())
        });
        let by_use = |map: HashMap<String, What>| {
            let mut rows: Vec<_> = map.into_iter().map(|(name, what)| what.named(name)).collect();
            rows.sort_by(|a, b| (Reverse(a.total()), &a.name).cmp(&(Reverse(b.total()), &b.name)));
            rows.truncate(top);
            rows
        };
        let mut decided: Vec<_> = self.policies.into_values().collect();
        decided
            .sort_by(|a, b| (Reverse(a.total()), &a.policy).cmp(&(Reverse(b.total()), &b.policy)));
        decided.truncate(top);
        Report {
            first: self.span.map(|(first, _)| first),
            last: self.span.map(|(_, last)| last),
            totals,
            outcomes: outcomes
                .into_iter()
                .map(|((decision, reason), count)| OutcomeRow { decision, reason, count })
                .collect(),
            denied_most: sorted(self.denied, top, Clone::clone)
                .into_iter()
                .map(|(Denied { who, what, reason }, count)| DeniedRow { who, what, reason, count })
                .collect(),
            entities: by_use(self.entities),
            routes: by_use(self.routes),
            policies: decided,
            policies_that_never_decided: silent,
            shadow: sorted(self.shadow, top, Clone::clone)
                .into_iter()
                .map(|(key, count)| ShadowRow {
                    set: key.set,
                    policies: key.policies,
                    entity: key.entity,
                    would: if key.would_allow { "allow" } else { "deny" },
                    count,
                })
                .collect(),
            latency: Latency::of(&mut self.latencies),
            cache: self.cache,
            versions,
            catalog: self.catalog,
            missing: self.gaps,
            strange_lines,
        }
    }
}

fn texts(ids: &[Cow<'_, str>]) -> Vec<String> {
    ids.iter().map(ToString::to_string).collect()
}

fn count<K: Eq + Hash>(counts: &mut HashMap<K, u64>, key: K) {
    *counts.entry(key).or_default() += 1;
}

/// The most frequent first; what is equally frequent by its name.
fn sorted<K, N: Ord>(counts: HashMap<K, u64>, top: usize, name: impl Fn(&K) -> N) -> Vec<(N, u64)> {
    let mut rows: Vec<_> = counts.into_iter().map(|(key, count)| (name(&key), count)).collect();
    rows.sort_by(|(a, x), (b, y)| y.cmp(x).then_with(|| a.cmp(b)));
    rows.truncate(top);
    rows
}
