//! The latest denials, for people who watch a running server.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::form::{DecisionForm, Instant, Outcome, PrincipalForm, RecordForm};

/// How many are kept.
pub const LATEST_DENIALS: usize = 100;

/// The latest denials, as they were recorded: what is masked in the record is masked here.
/// The writer's thread fills it, so a request pays nothing for it. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct LatestDenials {
    kept: Arc<Mutex<VecDeque<Box<RawValue>>>>,
}

/// What is shown of a record. The names are those of the record.
#[derive(Serialize)]
struct Shown<'a> {
    time: Instant,
    decision_id: &'a str,
    reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    entity: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    policies: &'a [Cow<'a, str>],
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    principal: Option<&'a PrincipalForm<'a>>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    owners: &'a [Cow<'a, str>],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    masked: &'a [Cow<'a, str>],
}

impl LatestDenials {
    /// The denials, the latest first.
    #[must_use]
    pub fn all(&self) -> Vec<Box<RawValue>> {
        self.kept().iter().rev().cloned().collect()
    }

    /// Takes a record, if it is of a denial.
    pub(super) fn add(&self, form: &RecordForm<'_>) {
        let RecordForm::Decision(decision) = form else { return };
        if decision.decision != Outcome::Deny {
            return;
        }
        let Ok(shown) = to_raw_value(&Shown::of(decision)) else { return };
        let mut kept = self.kept();
        if kept.len() >= LATEST_DENIALS {
            kept.pop_front();
        }
        kept.push_back(shown);
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, VecDeque<Box<RawValue>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'a> Shown<'a> {
    fn of(decision: &'a DecisionForm<'a>) -> Self {
        Self {
            time: decision.time,
            decision_id: &decision.decision_id,
            reason: &decision.reason,
            status: decision.status,
            method: decision.method.as_deref(),
            host: decision.host.as_deref(),
            path: decision.path.as_deref(),
            route: decision.route.as_deref(),
            entity: decision.entity.as_deref(),
            action: decision.action.as_deref(),
            policies: &decision.policies,
            detail: decision.detail.as_deref(),
            principal: decision.principal.as_ref(),
            owners: &decision.owners,
            masked: &decision.masked,
        }
    }
}
