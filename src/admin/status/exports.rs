//! What is exported to OTLP collectors, and how that goes.

use super::{ExportForm, age};
use crate::audit::AuditSender;
use crate::clock::Now;
use crate::telemetry::{ExportStatus, MetricsPush, Traces};

/// Each kind that is exported at all.
pub(super) fn all(
    traces: &Traces,
    push: &MetricsPush,
    audit: &AuditSender,
    now: Now,
) -> Vec<ExportForm> {
    let spans = traces.exports().map(|status| {
        let stats = traces.stats().unwrap_or_default();
        ExportForm {
            queued: Some(stats.waiting),
            sent: stats.sent,
            dropped: Some(stats.dropped),
            failed: stats.failed,
            ..form("spans", status, now)
        }
    });
    let metrics = push.exports().map(|status| {
        let stats = push.stats().unwrap_or_default();
        ExportForm { sent: stats.sent, failed: stats.failed, ..form("metrics", status, now) }
    });
    let records = audit.exports().map(|status| {
        let stats = audit.stats();
        ExportForm {
            queued: Some(audit.otlp_queued()),
            sent: stats.otlp_sent,
            dropped: Some(stats.otlp_dropped),
            failed: stats.otlp_failed,
            ..form("audit_records", status, now)
        }
    });
    [spans, metrics, records].into_iter().flatten().collect()
}

/// Where it goes and how that goes, without the counts.
fn form(what: &'static str, status: ExportStatus, now: Now) -> ExportForm {
    let state = match (&status.last_error, status.taken) {
        (Some(_), _) => "failing",
        (None, Some(_)) => "fresh",
        (None, None) => "idle",
    };
    ExportForm {
        what,
        endpoint: status.endpoint,
        protocol: status.protocol.name(),
        state,
        queued: None,
        sent: 0,
        dropped: None,
        failed: 0,
        age_seconds: age(status.taken, now),
        last_error: status.last_error,
    }
}
