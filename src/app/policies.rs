//! Metrics of the policies, read when they are scraped.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::authorizer::Current;

/// Labels beyond this are counted together.
const MAX_LABELS: usize = 1000;
/// The label of what is counted together.
const OTHERS: &str = "(others)";

/// The policies that are asked.
#[derive(Debug)]
pub(super) struct PolicyMetrics(pub(super) Current);

impl Collector for PolicyMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let current = self.0.load();
        let policies = &current.authorizer().policy;
        let (set, status, stats) = (policies.current(), policies.status(), policies.stats());
        let mut gauge = |name: &str, help: &str, value: usize| {
            let descriptor = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            let value = u32::try_from(value).unwrap_or(u32::MAX);
            ConstGauge::new(f64::from(value)).encode(descriptor)
        };
        gauge("stagedoor_policies", "Policies of the set in force", status.policies)?;
        let memory = set.memory();
        gauge("stagedoor_decision_cache_entries", "Remembered answers", memory.entries)?;
        gauge("stagedoor_decision_cache_bytes", "Their size, as counted", memory.bytes)?;
        gauge(
            "stagedoor_policies_current",
            "1 while what the policy files say is in force",
            usize::from(status.last_error.is_none()),
        )?;
        let mut counter = |name: &str, help: &str, value: u64| {
            let descriptor = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            ConstCounter::new(value).encode(descriptor)
        };
        counter("stagedoor_policy_reloads", "Changed policy sets taken over", status.adopted)?;
        counter(
            "stagedoor_policy_reload_failures",
            "Changes of policy files that were not taken over",
            status.refused,
        )?;
        counter(
            "stagedoor_decision_cache_hits",
            "Questions to this policy set that were answered before",
            memory.hits,
        )?;
        counter(
            "stagedoor_decision_cache_misses",
            "Questions to this policy set that were new",
            memory.misses,
        )?;

        let help = "Evaluations that failed, by policy";
        let mut errors = encoder.encode_descriptor(
            "stagedoor_policy_errors",
            help,
            None,
            MetricType::Counter,
        )?;
        for (policy, count) in
            bounded(stats.errors().into_iter().map(|(id, count)| {
                (id.map_or_else(|| OTHERS.to_owned(), |id| id.to_string()), count)
            }))
        {
            ConstCounter::new(count)
                .encode(errors.encode_family(&[("policy", policy.as_str())])?)?;
        }
        let help = "Answers of policies in the shadow that differ from the enforced ones";
        let mut shadow = encoder.encode_descriptor(
            "stagedoor_shadow_differences",
            help,
            None,
            MetricType::Counter,
        )?;
        let (differences, others) = stats.differences();
        // Entities are too many for labels: those are in the status.
        let labelled = differences.into_iter().map(|(difference, count)| {
            let policy = difference.policy.map_or_else(String::new, |policy| policy.to_string());
            ((difference.set, would(difference.would_allow), policy), count)
        });
        let others = (others > 0).then(|| (("", "", OTHERS.to_owned()), others));
        for ((set, would, policy), count) in bounded(labelled.chain(others)) {
            let labels = [("set", set), ("would", would), ("policy", policy.as_str())];
            ConstCounter::new(count).encode(shadow.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

fn would(allow: bool) -> &'static str {
    if allow { "allow" } else { "deny" }
}

/// Sums up by label; what is beyond the bound is left to the status.
fn bounded<K: Ord>(counts: impl Iterator<Item = (K, u64)>) -> impl Iterator<Item = (K, u64)> {
    let mut sums = std::collections::BTreeMap::new();
    for (key, count) in counts {
        if sums.len() < MAX_LABELS || sums.contains_key(&key) {
            *sums.entry(key).or_insert(0) += count;
        }
    }
    sums.into_iter()
}
