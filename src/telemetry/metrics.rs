//! Every metric, by name. Labels are closed lists, so cardinality is bounded.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::latency::Latency;
use crate::domain::{Decision, Grant, Reason, Verdict};

/// The counters of decisions. Cheap to clone; a request touches two atomics.
#[derive(Clone, Debug)]
pub struct Metrics {
    allowed: [Counter; ALLOW_CODES.len()],
    denied: Vec<Counter>,
    duration: Latency,
    guarded: Counter,
    alerts: Alerts,
}

/// Policies that can have a label of their own; the others share one.
const MAX_ALERTING: usize = 1000;
/// What the others share.
const OTHERS: &str = "(others)";

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AlertLabels {
    policy: String,
}

/// Alerts by policy. Behind a lock, which few decisions need.
#[derive(Clone, Debug, Default)]
struct Alerts {
    counters: Family<AlertLabels, Counter>,
    policies: Arc<Mutex<HashSet<String>>>,
}

impl Alerts {
    fn count(&self, policy: &str) {
        let Ok(mut policies) = self.policies.lock() else { return };
        let known = policies.contains(policy)
            || (policies.len() < MAX_ALERTING && policies.insert(policy.to_owned()));
        drop(policies);
        let policy = if known { policy } else { OTHERS }.to_owned();
        self.counters.get_or_create(&AlertLabels { policy }).inc();
    }
}

/// The codes of an allow, as [`Decision::code`] gives them, in the order of the counters.
const ALLOW_CODES: [&str; 3] = ["permitted", "public_route", "authenticated_route"];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DecisionLabels {
    decision: &'static str,
    reason: &'static str,
}

impl Metrics {
    /// Makes the metrics and registers them.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let decisions: Family<DecisionLabels, Counter> = Family::default();
        // Made now, so that a request looks nothing up and a scrape shows the zeros.
        let counter = |decision, reason| {
            decisions.get_or_create(&DecisionLabels { decision, reason }).clone()
        };
        let allowed = ALLOW_CODES.map(|code| counter("allow", code));
        let denied = Reason::ALL.iter().map(|reason| counter("deny", reason.code())).collect();
        registry.register("stagedoor_decisions", "Decisions by outcome and reason", decisions);

        let duration = Latency::default();
        registry.register(
            "stagedoor_decision_duration_seconds",
            "Time from the decoded request to the reply",
            duration.clone(),
        );
        let guarded = Counter::default();
        registry.register(
            "stagedoor_guarded_calls",
            "Calls that would have ended in a gRPC error and were answered as denials",
            guarded.clone(),
        );
        let alerts = Alerts::default();
        let help = "Decisions that a policy wants looked at, by policy";
        registry.register("stagedoor_alerts", help, alerts.counters.clone());
        Self { allowed, denied, duration, guarded, alerts }
    }

    /// Counts a decision.
    pub fn decided(&self, decision: &Decision, took: Duration) {
        let counter = match &decision.verdict {
            Verdict::Allow(permit) => self.allowed.get(match permit.grant() {
                Grant::Policies(_) => 0,
                Grant::PublicRoute => 1,
                Grant::AuthenticatedRoute => 2,
            }),
            Verdict::Deny(denial) => self.denied.get(denial.reason as usize),
        };
        if let Some(counter) = counter {
            counter.inc();
        }
        self.duration.observe(took);
        for alert in &decision.notes.alerts {
            self.alerts.count(&alert.policy);
        }
    }

    /// How many decisions there were, by outcome and reason: every reason there is.
    pub fn decisions(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        let allowed = ALLOW_CODES.iter().zip(&self.allowed);
        let allowed = allowed.map(|(code, counter)| ("allow", *code, counter.get()));
        let denied = Reason::ALL.iter().zip(&self.denied);
        allowed.chain(denied.map(|(reason, counter)| ("deny", reason.code(), counter.get())))
    }

    /// How many decisions took how long: upper bounds in seconds, the last one open.
    #[must_use]
    pub fn durations(&self) -> Vec<(Option<f64>, u64)> {
        self.duration.counts()
    }

    /// Calls that the guard answered.
    #[must_use]
    pub fn guarded_calls(&self) -> u64 {
        self.guarded.get()
    }

    /// Counts a call that the guard answered.
    pub fn guarded(&self) {
        self.guarded.inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{DecisionId, Denial, Notes, Owners, Permit, Principal, Target, Versions};

    fn decision(verdict: Verdict) -> Decision {
        Decision {
            id: DecisionId::new(),
            verdict,
            principal: Principal::Anonymous,
            target: None,
            owners: Owners::new(),
            versions: Versions::default(),
            notes: Notes::default(),
        }
    }

    /// Each answer is counted as itself.
    #[test]
    fn every_code_has_its_counter() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        let target = |gate| Target {
            resource: None,
            action: crate::domain::Action::Read,
            gate,
            route: "r".into(),
            demands: None,
        };
        let public = Permit::by_public_gate(&target(crate::domain::Gate::Public));
        let policies = Permit::by_policies(vec!["p".into()]);
        let allowed = [public, policies].map(|permit| Verdict::Allow(permit.expect("a permit")));
        let denied = Reason::ALL.iter().map(|reason| Verdict::Deny(Denial::from(*reason)));
        for verdict in allowed.into_iter().chain(denied) {
            let decision = decision(verdict);
            let sample = format!(
                "stagedoor_decisions_total{{decision=\"{}\",reason=\"{}\"}} 1\n",
                if decision.is_allow() { "allow" } else { "deny" },
                decision.code()
            );
            metrics.decided(&decision, Duration::from_micros(20));
            let mut text = String::new();
            prometheus_client::encoding::text::encode(&mut text, &registry).expect("text");
            assert!(text.contains(&sample), "{sample} in {text}");
        }
    }

    #[test]
    fn only_so_many_policies_have_a_label() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        for number in 0..MAX_ALERTING + 5 {
            metrics.alerts.count(&format!("policy-{number}"));
        }
        metrics.alerts.count("policy-7");
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("text");
        let of = |policy: &str| {
            let name = format!("stagedoor_alerts_total{{policy=\"{policy}\"}} ");
            text.lines().find_map(|line| line.strip_prefix(&name)).map(str::to_owned)
        };
        assert_eq!(of("policy-7").as_deref(), Some("2"));
        assert_eq!(of("policy-999").as_deref(), Some("1"));
        assert_eq!(of("policy-1000"), None);
        assert_eq!(of(OTHERS).as_deref(), Some("5"));
    }
}
