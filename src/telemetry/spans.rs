//! Sending spans, and counting what becomes of them.
//!
//! The SDK queues and sends in the background and says nothing of what it loses. So what is on
//! its way is counted here: never more than its queue holds, which it then never drops.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentelemetry_otlp::{
    Protocol, SpanExporter as OtlpExporter, WithExportConfig as _, WithHttpConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider, SpanData, SpanExporter,
};
use tokio::time::Instant;

use super::export::ExportError;
use crate::collector::{CollectorSettings, Exports, HttpSender, OtlpProtocol, reach, resource};
use crate::seldom::Seldom;

/// Spans that wait or are on their way; one more is dropped and counted.
const QUEUE: usize = 8192;
const BATCH: usize = 512;
const EVERY: Duration = Duration::from_secs(1);
const SAY_EVERY: Duration = Duration::from_secs(10);

/// What became of spans, since the start.
#[derive(Debug, Default)]
pub(super) struct SpanCounters {
    waiting: AtomicU64,
    sent: AtomicU64,
    dropped: AtomicU64,
    failed: AtomicU64,
}

/// What became of spans, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpanStats {
    /// Wait to be sent, or are on their way.
    pub waiting: u64,
    /// Taken by the collector.
    pub sent: u64,
    /// Not queued: too many waited.
    pub dropped: u64,
    /// Queued, but the collector did not take them.
    pub failed: u64,
}

impl SpanCounters {
    /// Room for this many spans, which are then to be made, or none.
    pub(super) fn reserve(&self, count: u64) -> bool {
        let most = (QUEUE as u64).saturating_sub(count);
        let room = self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |waiting| {
            (waiting <= most).then(|| waiting + count)
        });
        if room.is_err() {
            self.dropped.fetch_add(count, Ordering::Relaxed);
        }
        room.is_ok()
    }

    pub(super) fn stats(&self) -> SpanStats {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        SpanStats {
            waiting: of(&self.waiting),
            sent: of(&self.sent),
            dropped: of(&self.dropped),
            failed: of(&self.failed),
        }
    }

    /// What was still waiting at the end is lost.
    pub(super) fn lose_the_rest(&self) -> u64 {
        let lost = self.waiting.swap(0, Ordering::Relaxed);
        self.failed.fetch_add(lost, Ordering::Relaxed);
        lost
    }
}

/// What makes and sends spans. The collector need not be there. Must be called on a runtime,
/// which carries the connection.
pub(super) fn provider(
    settings: &CollectorSettings,
    counters: &Arc<SpanCounters>,
    exports: &Arc<Exports>,
) -> Result<SdkTracerProvider, ExportError> {
    let authorities = settings.authorities().map_err(ExportError::Authorities)?;
    let builder = OtlpExporter::builder();
    let exporter = match settings.protocol {
        OtlpProtocol::Grpc => {
            reach(builder.with_tonic(), &settings.endpoint, authorities.as_deref(), &settings.more)
                .build()
        }
        OtlpProtocol::Http => builder
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_http_client(HttpSender::new(
                &settings.endpoint,
                authorities.as_deref(),
                &settings.more,
            )?)
            .with_endpoint(settings.path_of("traces").as_str())
            .build(),
    };
    Ok(with(exporter?, counters, exports))
}

fn with(
    exporter: impl SpanExporter + 'static,
    counters: &Arc<SpanCounters>,
    exports: &Arc<Exports>,
) -> SdkTracerProvider {
    let news = Mutex::new(Seldom::new(SAY_EVERY));
    let (counters, exports) = (Arc::clone(counters), Arc::clone(exports));
    let exporter = Counting { exporter, counters, exports, news };
    let config = BatchConfigBuilder::default()
        .with_max_queue_size(QUEUE)
        .with_max_export_batch_size(BATCH)
        .with_scheduled_delay(EVERY)
        .build();
    let processor = BatchSpanProcessor::builder(exporter).with_batch_config(config).build();
    SdkTracerProvider::builder()
        .with_span_processor(processor)
        .with_resource(resource())
        // Whether to record is known before anything of a span is made.
        .with_sampler(Sampler::AlwaysOn)
        .build()
}

/// Counts what an exporter is given, and what comes of it.
#[derive(Debug)]
struct Counting<E> {
    exporter: E,
    counters: Arc<SpanCounters>,
    exports: Arc<Exports>,
    news: Mutex<Seldom>,
}

impl<E: SpanExporter> SpanExporter for Counting<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let count = u64::try_from(batch.len()).unwrap_or(u64::MAX);
        let result = self.exporter.export(batch).await;
        self.exports.note(&result);
        let counters = &self.counters;
        // What was given up at the end is counted already.
        let _ = counters.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |waiting| {
            Some(waiting.saturating_sub(count))
        });
        match &result {
            Ok(()) => {
                counters.sent.fetch_add(count, Ordering::Relaxed);
            }
            Err(error) => {
                counters.failed.fetch_add(count, Ordering::Relaxed);
                let unsaid = self.news.lock().ok().and_then(|mut news| news.ask(Instant::now()));
                if let Some(unsaid) = unsaid {
                    tracing::warn!(%error, unsaid, "spans could not be sent by OTLP");
                }
            }
        }
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use opentelemetry::trace::{Tracer as _, TracerProvider as _};
    use opentelemetry_sdk::error::OTelSdkError;

    use super::*;

    /// Takes spans when it is told whether to.
    #[derive(Debug)]
    struct Scripted(Mutex<mpsc::Receiver<bool>>);

    impl SpanExporter for Scripted {
        async fn export(&self, _: Vec<SpanData>) -> OTelSdkResult {
            match self.0.lock().expect("no panic").recv() {
                Ok(false) => Err(OTelSdkError::InternalFailure("no".to_owned())),
                _ => Ok(()),
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_counted_and_nothing_waits() {
        let (take, takes) = mpsc::channel();
        let (counters, exports) = (Arc::new(SpanCounters::default()), Arc::default());
        let provider = with(Scripted(Mutex::new(takes)), &counters, &exports);
        let tracer = provider.tracer("test");
        let (more, queue) = (7, QUEUE as u64);
        for _ in 0..queue + more {
            if counters.reserve(1) {
                drop(tracer.start("span"));
            }
        }
        assert!(!counters.reserve(3), "all or none");
        let stats = SpanStats { waiting: queue, dropped: more + 3, ..SpanStats::default() };
        assert_eq!(counters.stats(), stats);
        take.send(false).expect("still there");
        drop(take);
        provider.shutdown_with_timeout(Duration::from_secs(60)).expect("sent");
        let stats = counters.stats();
        assert_eq!((stats.waiting, stats.sent + stats.failed), (0, queue));
        assert!(stats.failed > 0 && stats.failed <= BATCH as u64, "{stats:?}");
    }
}
