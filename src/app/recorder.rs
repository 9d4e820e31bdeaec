//! What becomes of a decision once its reply is made: a metric, a span, a record.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::audit::{AuditRecord, AuditSender};
use crate::domain::{Decision, DecisionId, Denial, Principal, Reason, Request, Verdict, Versions};
use crate::ext_authz::{Decided, OnGuarded, Record};
use crate::telemetry::{Metrics, Traces};

/// Cheap to clone; nothing in it blocks.
#[derive(Clone, Debug)]
pub(super) struct Recorder {
    shared: Arc<Sinks>,
}

#[derive(Debug)]
struct Sinks {
    metrics: Metrics,
    traces: Traces,
    audit: AuditSender,
}

impl Recorder {
    pub(super) fn new(metrics: Metrics, traces: Traces, audit: AuditSender) -> Self {
        Self { shared: Arc::new(Sinks { metrics, traces, audit }) }
    }
}

impl Record for Recorder {
    fn decided(&self, decided: &Decided<'_>) {
        let sinks = &*self.shared;
        sinks.metrics.decided(decided.decision, decided.took);
        sinks.traces.record(decided.request, decided.decision, decided.started);
        if sinks.audit.is_on() {
            // Also what could not be read is on record, as a request of nothing.
            let nothing = Request::default();
            let request = decided.request.unwrap_or(&nothing);
            sinks.audit.send(AuditRecord::of(
                decided.decision,
                request,
                decided.started,
                decided.took,
            ));
        }
        if let Verdict::Deny(denial) = &decided.decision.verdict
            && denial.reason == Reason::Internal
        {
            tracing::error!(
                decision_id = %decided.decision.id,
                detail = denial.detail.as_deref().unwrap_or(""),
                "a decision failed, and was denied: this is a defect"
            );
        }
    }
}

impl OnGuarded for Recorder {
    fn guarded(&self, reason: Reason, cause: &str) {
        self.shared.metrics.guarded();
        tracing::warn!(reason = reason.code(), cause, "a call was denied before it could be read");
        let decision = Decision {
            id: DecisionId::new(),
            verdict: Verdict::Deny(Denial::with_detail(reason, cause)),
            principal: Principal::Anonymous,
            target: None,
            owners: Vec::new(),
            versions: Versions::default(),
        };
        self.decided(&Decided {
            decision: &decision,
            request: None,
            status: reason.status(),
            started: SystemTime::now(),
            took: Duration::ZERO,
        });
    }
}
