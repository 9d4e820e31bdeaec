//! Records as OTLP logs, to a collector.
//!
//! The SDK queues and sends in the background and says nothing of what it loses. So what
//! is on its way is counted here: never more than its queue holds, which it then never
//! drops, and what comes back from sending.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use opentelemetry::logs::{AnyValue, LogRecord as _, Logger as _, LoggerProvider as _, Severity};
use opentelemetry::{Key, SpanId, TraceId};
use opentelemetry_otlp::ExporterBuildError;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{
    BatchConfigBuilder, BatchLogProcessor, LogBatch, LogExporter, SdkLogRecord, SdkLogger,
    SdkLoggerProvider,
};
use serde_json::Value;
use url::Url;

use super::form::{CatalogWhat, ConfigWhat, Instant, RecordForm};
use super::loss::{Gap, Lost};
use crate::collector::{ExportStatus, Exports, OtlpProtocol, reach, resource};
use crate::seldom::Seldom;
use crate::tls::Authorities;

/// Records that wait or are on their way; one more is dropped and counted.
const QUEUE: usize = 8192;
const BATCH: usize = 512;
const EVERY: Duration = Duration::from_secs(1);
const SAY_EVERY: Duration = Duration::from_secs(10);
const GAP: &str = "stagedoor.audit_gap";

/// Sends records. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Otlp {
    provider: SdkLoggerProvider,
    logger: SdkLogger,
    counters: Arc<OtlpCounters>,
    exports: Arc<Exports>,
}

/// What became of records that were to be sent.
#[derive(Debug, Default)]
pub(super) struct OtlpCounters {
    waiting: AtomicU64,
    pub(super) sent: AtomicU64,
    pub(super) dropped: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) gap: Gap,
}

impl OtlpCounters {
    pub(super) fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }
}

impl Otlp {
    /// Prepares sending. The collector need not be there. Must be called on a runtime,
    /// which carries the connection.
    pub(super) fn new(endpoint: &Url, more: &Authorities) -> Result<Self, ExporterBuildError> {
        let exporter = opentelemetry_otlp::LogExporter::builder().with_tonic();
        let exports = Exports::to(endpoint, OtlpProtocol::Grpc);
        Ok(Self::with(reach(exporter, endpoint, None, more).build()?, exports, EVERY))
    }

    fn with(exporter: impl LogExporter + 'static, exports: Exports, every: Duration) -> Self {
        let (counters, exports) = (Arc::new(OtlpCounters::default()), Arc::new(exports));
        let news = Mutex::new(Seldom::new(SAY_EVERY));
        let exporter = Counting {
            exporter,
            counters: Arc::clone(&counters),
            exports: Arc::clone(&exports),
            news,
        };
        let config = BatchConfigBuilder::default()
            .with_max_queue_size(QUEUE)
            .with_max_export_batch_size(BATCH)
            .with_scheduled_delay(every)
            .build();
        let processor = BatchLogProcessor::builder(exporter).with_batch_config(config).build();
        let provider = SdkLoggerProvider::builder()
            .with_log_processor(processor)
            .with_resource(resource())
            .build();
        let logger = provider.logger("stagedoor.audit");
        Self { provider, logger, counters, exports }
    }

    pub(super) fn counters(&self) -> &Arc<OtlpCounters> {
        &self.counters
    }

    /// Where records are sent, and how that goes.
    pub(super) fn exports(&self) -> ExportStatus {
        self.exports.status()
    }

    /// Queues a record; never waits.
    pub(super) fn send(&self, form: &RecordForm<'_>) {
        // Only this thread adds, so there are never more than were counted.
        if self.counters.waiting.load(Ordering::Relaxed) >= QUEUE as u64 {
            self.counters.dropped.fetch_add(1, Ordering::Relaxed);
            self.counters.gap.lose(1);
            return;
        }
        self.queue(form);
    }

    /// Queues the news of a gap, if there is one and there is room for it.
    pub(super) fn send_gap(&self, now: std::time::SystemTime) {
        if self.counters.waiting.load(Ordering::Relaxed) < QUEUE as u64
            && let Some(lost) = self.counters.gap.take()
        {
            self.queue(&RecordForm::Gap(lost.form(now)));
        }
    }

    fn queue(&self, form: &RecordForm<'_>) {
        // The forms are maps of text, so there is always one.
        let Ok(body) = serde_json::to_value(form) else { return };
        let mut record = self.logger.create_log_record();
        record.set_timestamp(form.time().0.into());
        let (name, severity) = match form {
            RecordForm::Decision(decision) if decision.alerts.is_empty() => {
                ("stagedoor.decision", Severity::Info)
            }
            RecordForm::Decision(_) => ("stagedoor.decision", Severity::Warn),
            RecordForm::Gap(_) => (GAP, Severity::Warn),
            RecordForm::Config(config) => match config.event {
                ConfigWhat::ConfigApplied => ("stagedoor.config_applied", Severity::Info),
                ConfigWhat::ConfigRefused => ("stagedoor.config_refused", Severity::Warn),
            },
            RecordForm::Catalog(catalog) => match catalog.event {
                CatalogWhat::CatalogAdopted => ("stagedoor.catalog_adopted", Severity::Info),
                CatalogWhat::CatalogChange => ("stagedoor.catalog_change", Severity::Info),
                CatalogWhat::CatalogHeld => ("stagedoor.catalog_held", Severity::Warn),
            },
        };
        record.set_event_name(name);
        record.set_severity_number(severity);
        record.set_severity_text(if severity == Severity::Warn { "WARN" } else { "INFO" });
        if let RecordForm::Decision(decision) = form {
            record.add_attribute("stagedoor.decision_id", decision.decision_id.to_string());
            record.add_attribute("stagedoor.decision", decision.decision.as_str());
            record.add_attribute("stagedoor.reason", decision.reason.to_string());
            if let Some(id) = decision.trace_id.as_deref().and_then(|id| TraceId::from_hex(id).ok())
            {
                record.set_trace_context(id, SpanId::INVALID, None);
            }
        }
        if let Some(body) = any(body) {
            record.set_body(body);
        }
        self.counters.waiting.fetch_add(1, Ordering::Relaxed);
        self.logger.emit(record);
    }

    /// Sends what is queued, and stops. Blocks; call it off the runtime's threads.
    pub(super) fn shutdown(&self, limit: Duration) {
        if let Err(error) = self.provider.shutdown_with_timeout(limit) {
            let lost = self.counters.waiting.swap(0, Ordering::Relaxed);
            self.counters.failed.fetch_add(lost, Ordering::Relaxed);
            tracing::error!(%error, lost, "the last audit records could not be sent by OTLP");
        }
    }
}

/// Counts what an exporter is given, and what comes of it.
#[derive(Debug)]
struct Counting<E> {
    exporter: E,
    counters: Arc<OtlpCounters>,
    exports: Arc<Exports>,
    news: Mutex<Seldom>,
}

impl<E: LogExporter> LogExporter for Counting<E> {
    async fn export(&self, batch: LogBatch<'_>) -> OTelSdkResult {
        let waited = u64::try_from(batch.iter().count()).unwrap_or(u64::MAX);
        let gaps: Vec<Lost> = batch.iter().filter_map(|(record, _)| lost_by(record)).collect();
        // The news of a gap is no record that could be lost.
        let count = waited.saturating_sub(u64::try_from(gaps.len()).unwrap_or(u64::MAX));
        let result = self.exporter.export(batch).await;
        self.exports.note(&result);
        // What was given up at the end is counted already.
        let _ = self.counters.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |was| {
            Some(was.saturating_sub(waited))
        });
        match &result {
            Ok(()) => {
                self.counters.sent.fetch_add(count, Ordering::Relaxed);
            }
            Err(error) => {
                self.counters.failed.fetch_add(count, Ordering::Relaxed);
                self.counters.gap.lose(count);
                // What was to be said of earlier ones is still to be said.
                for lost in gaps {
                    self.counters.gap.give_back(lost);
                }
                let unsaid = self
                    .news
                    .lock()
                    .ok()
                    .and_then(|mut news| news.ask(tokio::time::Instant::now()));
                if let Some(unsaid) = unsaid {
                    tracing::error!(%error, unsaid, "audit records could not be sent by OTLP");
                }
            }
        }
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

/// What a record says is missing, if that is what it says.
fn lost_by(record: &SdkLogRecord) -> Option<Lost> {
    let Some(AnyValue::Map(body)) = record.body().filter(|_| record.event_name() == Some(GAP))
    else {
        return None;
    };
    let (lost, since) = (body.get(&Key::from("lost"))?, body.get(&Key::from("since"))?);
    let (AnyValue::Int(lost), AnyValue::String(since)) = (lost, since) else { return None };
    let since: Instant = since.as_str().parse().ok()?;
    Some(Lost::of(u64::try_from(*lost).ok()?, since.0.into()))
}

/// A JSON value as OTLP has it; nothing for null.
fn any(value: Value) -> Option<AnyValue> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(value) => value.into(),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => whole.into(),
            None => number.as_f64()?.into(),
        },
        Value::String(text) => text.into(),
        Value::Array(values) => values.into_iter().filter_map(any).collect(),
        Value::Object(members) => members
            .into_iter()
            .filter_map(|(name, value)| Some((Key::from(name), any(value)?)))
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::SystemTime;

    use opentelemetry_sdk::error::OTelSdkError;

    use super::*;
    use crate::audit::form::{AlertForm, CacheForm, CatalogForm, DecisionForm, Outcome, VERSION};

    type Given = Vec<(Severity, Option<TraceId>, AnyValue)>;

    /// Says what it is given, and takes it when it is told whether to.
    #[derive(Debug)]
    struct Scripted {
        given: mpsc::Sender<Given>,
        takes: Mutex<mpsc::Receiver<bool>>,
    }

    impl LogExporter for Scripted {
        async fn export(&self, batch: LogBatch<'_>) -> OTelSdkResult {
            let records = batch.iter().map(|(record, _)| {
                let severity = record.severity_number().expect("a severity");
                let trace = record.trace_context().map(|context| context.trace_id);
                (severity, trace, record.body().expect("a body").clone())
            });
            self.given.send(records.collect()).expect("a test");
            match self.takes.lock().expect("no panic").recv() {
                Ok(false) => Err(OTelSdkError::InternalFailure("no".to_owned())),
                _ => Ok(()),
            }
        }
    }

    /// One that sends where a batch is full, or where it is told to, and never because time has
    /// passed: what is sent together stays so, however long that takes.
    fn scripted(given: mpsc::Sender<Given>, takes: mpsc::Receiver<bool>) -> Otlp {
        let exporter = Scripted { given, takes: Mutex::new(takes) };
        Otlp::with(exporter, Exports::default(), Duration::from_secs(3600))
    }

    fn decision(alerts: Vec<AlertForm<'static>>) -> RecordForm<'static> {
        RecordForm::Decision(Box::new(DecisionForm {
            version: VERSION,
            time: SystemTime::now().into(),
            decision_id: "d".into(),
            request_id: None,
            trace_id: Some("4bf92f3577b34da6a3ce929d0e0e4736".into()),
            source: None,
            destination: None,
            method: None,
            host: None,
            path: None,
            route: None,
            gate: None,
            entity: None,
            action: None,
            decision: Outcome::Allow,
            reason: "permitted".into(),
            status: None,
            policies: Vec::new(),
            detail: None,
            principal: None,
            facts: None,
            owners: Vec::new(),
            justification: None,
            warnings: Vec::new(),
            alerts,
            shadow: Vec::new(),
            cache: CacheForm::default(),
            policy_version: None,
            snapshot_version: None,
            keys_version: None,
            latency_us: u64::MAX,
            masked: Vec::new(),
        }))
    }

    fn counts(otlp: &Otlp) -> [u64; 3] {
        let counters = otlp.counters();
        [&counters.sent, &counters.dropped, &counters.failed]
            .map(|counter| counter.load(Ordering::Relaxed))
    }

    #[test]
    fn what_does_not_fit_is_counted_and_nothing_waits() {
        let (given, batches) = mpsc::channel();
        let (take, takes) = mpsc::channel();
        let otlp = scripted(given, takes);
        let more = 7;
        for _ in 0..QUEUE + more {
            otlp.send(&decision(Vec::new()));
        }
        // Also what is being sent counts as waiting, so there is no other number.
        assert_eq!(counts(&otlp), [0, more as u64, 0]);
        otlp.send_gap(SystemTime::now());
        assert_eq!(otlp.counters().waiting.load(Ordering::Relaxed), QUEUE as u64);
        take.send(false).expect("still there");
        let failed = batches.recv().expect("a batch").len() as u64;
        drop(take);
        otlp.shutdown(Duration::from_secs(20));
        assert_eq!(counts(&otlp), [QUEUE as u64 - failed, more as u64, failed]);
        // What is yet to be said is all of it.
        let gap = otlp.counters().gap.take().expect("a gap").form(SystemTime::now());
        assert_eq!(gap.lost, more as u64 + failed);
    }

    /// However often the news of it fails as well.
    #[test]
    fn a_gap_is_not_forgotten() {
        let (given, batches) = mpsc::channel();
        let (take, takes) = mpsc::channel();
        let otlp = scripted(given, takes);
        let begun = Instant::from(SystemTime::now());
        otlp.counters().gap.lose(5);
        for _ in 0..3 {
            otlp.send_gap(SystemTime::now());
            otlp.send(&decision(Vec::new()));
            take.send(false).expect("still there");
            otlp.provider.force_flush().expect_err("not taken");
        }
        assert_eq!(counts(&otlp), [0, 0, 3]);
        drop(take);
        otlp.send_gap(SystemTime::now());
        otlp.shutdown(Duration::from_secs(20));
        assert_eq!(counts(&otlp), [0, 0, 3]);
        let last = batches.try_iter().last().expect("a batch");
        let AnyValue::Map(body) = &last[0].2 else { panic!("a map") };
        assert_eq!(body[&Key::from("lost")], AnyValue::from(8_i64));
        let AnyValue::String(since) = &body[&Key::from("since")] else { panic!("a text") };
        assert!(since.as_str().parse::<Instant>().expect("a time") >= begun);
    }

    #[test]
    fn what_somebody_should_look_at_is_a_warning() {
        let (given, batches) = mpsc::channel();
        let (take, takes) = mpsc::channel();
        drop(take);
        let otlp = scripted(given, takes);
        let held = |event| {
            RecordForm::Catalog(Box::new(CatalogForm {
                version: VERSION,
                time: SystemTime::now().into(),
                event,
                change: None,
                entity: None,
                other: None,
                detail: None,
                snapshot_before: None,
                snapshot_version: None,
                masked: Vec::new(),
            }))
        };
        otlp.send(&decision(Vec::new()));
        otlp.send(&decision(vec![AlertForm { policy: "p".into(), text: "look".into() }]));
        otlp.send(&held(CatalogWhat::CatalogHeld));
        otlp.send(&held(CatalogWhat::CatalogChange));
        otlp.counters().gap.lose(1);
        otlp.send_gap(SystemTime::now());
        otlp.shutdown(Duration::from_secs(20));
        let records: Vec<_> = batches.try_iter().flatten().collect();
        let severities: Vec<_> = records.iter().map(|(severity, ..)| *severity).collect();
        let (info, warn) = (Severity::Info, Severity::Warn);
        assert_eq!(severities, [info, warn, warn, info, warn]);
        let trace = TraceId::from_hex("4bf92f3577b34da6a3ce929d0e0e4736").ok();
        assert_eq!((records[0].1, records[2].1), (trace, None));
        let AnyValue::Map(body) = &records[1].2 else { panic!("a map") };
        assert_eq!(body[&Key::from("reason")], AnyValue::from("permitted"));
        let AnyValue::ListAny(alerts) = &body[&Key::from("alerts")] else { panic!("a list") };
        assert_eq!(alerts.len(), 1);
        // OTLP has no such whole number.
        assert!(matches!(body[&Key::from("latency_us")], AnyValue::Double(_)));
    }

    #[tokio::test]
    async fn a_collector_is_reached_by_https_too() {
        for endpoint in ["https://127.0.0.1:9", "http://127.0.0.1:9"] {
            let endpoint = endpoint.parse().expect("an address");
            Otlp::new(&endpoint, &Authorities::default()).expect("prepared");
        }
    }
}
