//! What a case came to.

use std::sync::Arc;

use crate::domain::{Challenge, Decision, Denial, Grant, Notes, Notice, Permit, Verdict};
use crate::policy::Judgement;

/// An answer, as far as a case can expect something of it. Ids are sorted.
#[derive(Debug)]
pub(super) struct Came {
    pub(super) allow: bool,
    pub(super) code: &'static str,
    /// Those that determined it.
    pub(super) policies: Vec<Arc<str>>,
    pub(super) warnings: Vec<Arc<str>>,
    pub(super) alerts: Vec<Arc<str>>,
    /// Those that would have determined another answer, were they not in the shadow.
    pub(super) shadow: Vec<Arc<str>>,
    pub(super) challenge: Option<String>,
    /// What a denied person reads.
    pub(super) advice: Vec<Arc<str>>,
    /// What an operator reads.
    pub(super) detail: Option<String>,
}

impl Came {
    pub(super) fn of_judgement(judgement: Judgement) -> Self {
        match &judgement.verdict {
            Ok(permit) => Self::allowed(permit, &judgement.notes),
            Err(denial) => Self::denied(denial, &judgement.notes),
        }
    }

    pub(super) fn of_decision(decision: &Decision) -> Self {
        match &decision.verdict {
            Verdict::Allow(permit) => Self::allowed(permit, &decision.notes),
            Verdict::Deny(denial) => Self::denied(denial, &decision.notes),
        }
    }

    pub(super) fn denied(denial: &Denial, notes: &Notes) -> Self {
        let challenge = denial.challenge.as_deref().map(|challenge| match challenge {
            Challenge::AuthContext(name) => name.to_string(),
            Challenge::IssuedSince(_) => "sign_in".to_owned(),
        });
        Self {
            challenge,
            advice: denial.advice.clone(),
            detail: denial.detail.clone(),
            ..Self::new(false, denial.reason.code(), &denial.policies, notes)
        }
    }

    fn allowed(permit: &Permit, notes: &Notes) -> Self {
        match permit.grant() {
            Grant::PublicRoute => Self::new(true, "public_route", &[], notes),
            Grant::AuthenticatedRoute => Self::new(true, "authenticated_route", &[], notes),
            Grant::Policies(policies) => Self::new(true, "permitted", policies, notes),
        }
    }

    fn new(allow: bool, code: &'static str, policies: &[Arc<str>], notes: &Notes) -> Self {
        let named = |notices: &[Notice]| {
            sorted(notices.iter().map(|notice| Arc::clone(&notice.policy)).collect())
        };
        let shadow = notes.shadow.iter().flat_map(|shadow| shadow.policies.iter().cloned());
        Self {
            allow,
            code,
            policies: sorted(policies.to_vec()),
            warnings: named(&notes.warnings),
            alerts: named(&notes.alerts),
            shadow: sorted(shadow.collect()),
            challenge: None,
            advice: Vec::new(),
            detail: None,
        }
    }

    /// Every policy that had a part in it.
    pub(super) fn touched(&self) -> impl Iterator<Item = &Arc<str>> {
        [&self.policies, &self.warnings, &self.alerts, &self.shadow].into_iter().flatten()
    }
}

fn sorted(mut ids: Vec<Arc<str>>) -> Vec<Arc<str>> {
    ids.sort_unstable();
    ids.dedup();
    ids
}
