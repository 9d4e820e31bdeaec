//! What becomes of a decision once its reply is made: a metric, a span, a record.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::audit::{AuditRecord, AuditSender};
use crate::domain::{
    Decision, DecisionId, Denial, Notes, Owners, Principal, Reason, Request, Verdict, Versions,
};
use crate::ext_authz::{Decided, OnGuarded, Record};
use crate::seldom::Seldom;
use crate::telemetry::{Checked, Metrics, Traces};

/// What one kind of news is logged at most once per.
const LOG_EVERY: Duration = Duration::from_secs(1);

/// Whether it is time to say it, and how often it went unsaid.
fn ask(seldom: &Mutex<Seldom>) -> Option<u64> {
    seldom.lock().ok()?.ask(Instant::now())
}

/// Cheap to clone; nothing in it waits for anything outside.
#[derive(Clone, Debug)]
pub(super) struct Recorder {
    shared: Arc<Sinks>,
}

#[derive(Debug)]
struct Sinks {
    metrics: Metrics,
    traces: Traces,
    audit: AuditSender,
    /// What a client could cause a thousand times a second is logged seldom: a log that
    /// isn't taken would hold requests up.
    defects: Mutex<Seldom>,
    unread: Mutex<Seldom>,
    alerts: Mutex<Seldom>,
}

impl Recorder {
    pub(super) fn new(metrics: Metrics, traces: Traces, audit: AuditSender) -> Self {
        let seldom = || Mutex::new(Seldom::new(LOG_EVERY));
        let (defects, unread, alerts) = (seldom(), seldom(), seldom());
        let sinks = Sinks { metrics, traces, audit, defects, unread, alerts };
        Self { shared: Arc::new(sinks) }
    }
}

impl Record for Recorder {
    fn decided(&self, decided: Decided<'_>) {
        let sinks = &*self.shared;
        let Decided { decision, request, status, started, took } = decided;
        sinks.metrics.decided(&decision, took);
        sinks.traces.record(&Checked { request, decision: &decision, status, started, took });
        sinks.say(&decision);
        if sinks.audit.is_on() {
            // Also what could not be read is on record, as a request of nothing.
            let nothing = Request::default();
            let request = request.unwrap_or(&nothing);
            sinks.audit.send(AuditRecord::of(decision, request, started, took));
        }
    }
}

impl Sinks {
    /// Says in the log what somebody should look at.
    fn say(&self, decision: &Decision) {
        // Who it was says the record, which the operator decides who may read.
        if let [first, others @ ..] = decision.notes.alerts.as_slice()
            && let Some(unsaid) = ask(&self.alerts)
        {
            tracing::warn!(
                unsaid,
                decision_id = %decision.id,
                reason = decision.code(),
                policy = %first.policy,
                text = %first.text,
                more = others.len(),
                "a policy wants a decision looked at"
            );
        }
        if let Verdict::Deny(denial) = &decision.verdict
            && denial.reason == Reason::Internal
            && let Some(unsaid) = ask(&self.defects)
        {
            tracing::error!(
                unsaid,
                decision_id = %decision.id,
                detail = denial.detail.as_deref().unwrap_or(""),
                "a decision failed, and was denied: this is a defect"
            );
        }
    }
}

impl OnGuarded for Recorder {
    fn guarded(&self, reason: Reason, cause: &str) {
        self.shared.metrics.guarded();
        if let Some(unsaid) = ask(&self.shared.unread) {
            let reason = reason.code();
            tracing::warn!(unsaid, reason, cause, "a call was denied before it could be read");
        }
        let decision = Decision {
            id: DecisionId::new(),
            verdict: Verdict::Deny(Denial::with_detail(reason, cause)),
            principal: Principal::Anonymous,
            target: None,
            owners: Owners::new(),
            versions: Versions::default(),
            notes: Notes::default(),
        };
        self.decided(Decided {
            decision,
            request: None,
            status: reason.status(),
            started: SystemTime::now(),
            took: Duration::ZERO,
        });
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use prometheus_client::registry::Registry;

    use super::*;
    use crate::audit::{AuditSettings, AuditSink, AuditWriter};
    use crate::domain::Notice;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("no panic").write(text)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// A line in the log, which says how many it stands for, a metric by policy, and a
    /// record of each.
    #[tokio::test]
    async fn an_alert_is_loud() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("audit");
        let settings = AuditSettings::to(AuditSink::File(file.clone()));
        let (sender, task) = AuditWriter::start(&settings).expect("started");
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        let recorder = Recorder::new(metrics, Traces::default(), sender);
        let notice = |policy: &str| Notice { policy: policy.into(), text: "look".into() };
        let decision = Decision {
            id: DecisionId::new(),
            verdict: Verdict::Deny(Reason::NotPermitted.into()),
            principal: Principal::Anonymous,
            target: None,
            owners: Owners::new(),
            versions: Versions::default(),
            notes: Notes { alerts: vec![notice("glass"), notice("night")], ..Notes::default() },
        };
        let id = decision.id.to_string();
        let decided = || Decided {
            decision: decision.clone(),
            request: None,
            status: 403,
            started: SystemTime::now(),
            took: Duration::ZERO,
        };
        let log = Log::default();
        let written = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || written.clone())
            .finish();
        tokio::time::pause();
        {
            let _guard = tracing::subscriber::set_default(subscriber);
            for _ in 0..3 {
                recorder.decided(decided());
            }
            tokio::time::advance(LOG_EVERY).await;
            recorder.decided(decided());
        }
        tokio::time::resume();
        let log = String::from_utf8(log.0.lock().expect("no panic").clone()).expect("text");
        let lines: Vec<_> = log.lines().collect();
        assert_eq!(lines.len(), 2, "{log}");
        for (line, unsaid) in lines.iter().zip(["unsaid=0", "unsaid=2"]) {
            for want in ["WARN", unsaid, "policy=glass", "text=look", "more=1", &id] {
                assert!(line.contains(want), "{want} in {line}");
            }
        }
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("text");
        for policy in ["glass", "night"] {
            let sample = format!("stagedoor_alerts_total{{policy=\"{policy}\"}} 4");
            assert!(text.contains(&sample), "{text}");
        }
        assert!(task.stop(Duration::from_secs(20)).await);
        let records = std::fs::read_to_string(file).expect("records");
        assert_eq!(records.matches("\"policy\":\"night\"").count(), 4);
    }
}
