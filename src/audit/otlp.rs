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
use opentelemetry_otlp::{ExporterBuildError, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{
    BatchConfigBuilder, BatchLogProcessor, LogBatch, LogExporter, SdkLogger, SdkLoggerProvider,
};
use serde_json::Value;
use tokio::time::Instant;
use url::Url;

use super::form::{CatalogWhat, RecordForm};
use super::loss::Gap;
use crate::seldom::Seldom;

/// Records that wait or are on their way; one more is dropped and counted.
const QUEUE: usize = 8192;
const BATCH: usize = 512;
const EVERY: Duration = Duration::from_secs(1);
const SAY_EVERY: Duration = Duration::from_secs(10);

/// Sends records. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Otlp {
    provider: SdkLoggerProvider,
    logger: SdkLogger,
    counters: Arc<OtlpCounters>,
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

impl Otlp {
    /// Prepares sending. The collector need not be there. Must be called on a runtime,
    /// which carries the connection.
    pub(super) fn new(endpoint: &Url) -> Result<Self, ExporterBuildError> {
        let exporter = opentelemetry_otlp::LogExporter::builder()
            .with_tonic()
            .with_endpoint(endpoint.as_str())
            .build()?;
        Ok(Self::with(exporter))
    }

    fn with(exporter: impl LogExporter + 'static) -> Self {
        let counters = Arc::new(OtlpCounters::default());
        let news = Mutex::new(Seldom::new(SAY_EVERY));
        let exporter = Counting { exporter, counters: Arc::clone(&counters), news };
        let config = BatchConfigBuilder::default()
            .with_max_queue_size(QUEUE)
            .with_max_export_batch_size(BATCH)
            .with_scheduled_delay(EVERY)
            .build();
        let processor = BatchLogProcessor::builder(exporter).with_batch_config(config).build();
        let provider = SdkLoggerProvider::builder()
            .with_log_processor(processor)
            .with_resource(Resource::builder().with_service_name("stagedoor").build())
            .build();
        let logger = provider.logger("stagedoor.audit");
        Self { provider, logger, counters }
    }

    pub(super) fn counters(&self) -> &Arc<OtlpCounters> {
        &self.counters
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
            RecordForm::Gap(_) => ("stagedoor.audit_gap", Severity::Warn),
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
    news: Mutex<Seldom>,
}

impl<E: LogExporter> LogExporter for Counting<E> {
    async fn export(&self, batch: LogBatch<'_>) -> OTelSdkResult {
        let count = u64::try_from(batch.iter().count()).unwrap_or(u64::MAX);
        let result = self.exporter.export(batch).await;
        // What was given up at the end is counted already.
        let _ = self.counters.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |was| {
            Some(was.saturating_sub(count))
        });
        match &result {
            Ok(()) => {
                self.counters.sent.fetch_add(count, Ordering::Relaxed);
            }
            Err(error) => {
                self.counters.failed.fetch_add(count, Ordering::Relaxed);
                self.counters.gap.lose(count);
                let unsaid = self.news.lock().ok().and_then(|mut news| news.ask(Instant::now()));
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
