//! One span for each check, in the trace of the proxied request.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use opentelemetry::trace::{
    Span as _, SpanBuilder, SpanContext, SpanKind, Status, TraceContextExt as _, TraceFlags,
    TraceState, Tracer as _, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue, SpanId, TraceId};
use opentelemetry_sdk::trace::{
    Sampler, SamplingDecision, SdkTracer, SdkTracerProvider, ShouldSample as _,
};

use super::export::ExportError;
use super::settings::TelemetrySettings;
use super::spans::{self, SpanCounters, SpanStats};
use crate::collector::{ExportStatus, Exports};
use crate::domain::{Decision, Method, Request, TraceIds, Waited};

/// The method that is traced, as gRPC names it.
const CHECK: &str = "envoy.service.auth.v3.Authorization/Check";

/// Makes spans where an OTLP collector is configured, and nothing otherwise.
#[derive(Clone, Debug, Default)]
pub struct Traces {
    exporter: Option<Exporter>,
}

#[derive(Clone, Debug)]
struct Exporter {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
    counters: Arc<SpanCounters>,
    exports: Arc<Exports>,
    sample_ratio: f64,
}

/// A check that was answered.
#[derive(Debug)]
pub struct Checked<'a> {
    /// The request, unless there was nothing to read.
    pub request: Option<&'a Request<'a>>,
    /// What was decided.
    pub decision: &'a Decision,
    /// The HTTP status that a denied client gets.
    pub status: u16,
    /// When it began.
    pub started: SystemTime,
    /// How long it took.
    pub took: Duration,
}

impl Traces {
    /// Prepares the export. The collector need not be there: spans are queued and
    /// dropped off the request's path.
    ///
    /// # Errors
    /// The settings are not such that the exporter can use them.
    pub fn new(settings: &TelemetrySettings) -> Result<Self, ExportError> {
        let Some(collector) = &settings.collector else { return Ok(Self::default()) };
        let counters = Arc::new(SpanCounters::default());
        let exports = Arc::new(collector.exports());
        let provider = spans::provider(collector, &counters, &exports)?;
        let tracer = provider.tracer("stagedoor");
        let sample_ratio = settings.sample_ratio;
        let exporter = Exporter { provider, tracer, counters, exports, sample_ratio };
        Ok(Self { exporter: Some(exporter) })
    }

    /// Records the span of a check.
    pub fn record(&self, checked: &Checked<'_>) {
        if let Some(exporter) = &self.exporter
            && let Some(parent) = exporter.parent(checked.request)
            && exporter.counters.reserve(1 + checked.decision.notes.waits.len() as u64)
        {
            exporter.record(checked, &parent);
        }
    }

    /// What became of spans; nothing where none are made.
    #[must_use]
    pub fn stats(&self) -> Option<SpanStats> {
        self.exporter.as_ref().map(|exporter| exporter.counters.stats())
    }

    /// Where spans are sent, and how that goes; nothing where none are made.
    #[must_use]
    pub fn exports(&self) -> Option<ExportStatus> {
        self.exporter.as_ref().map(|exporter| exporter.exports.status())
    }

    /// Sends what is queued, within `limit`, and stops. Blocks; call it off the runtime's
    /// threads.
    pub fn shutdown(&self, limit: Duration) {
        if let Some(exporter) = &self.exporter
            && let Err(error) = exporter.provider.shutdown_with_timeout(limit)
        {
            let lost = exporter.counters.lose_the_rest();
            tracing::warn!(%error, lost, "the last spans could not be sent");
        }
    }
}

impl Exporter {
    /// What the span is to be a child of, or nothing where it isn't to be recorded: the caller
    /// says so, or nobody says anything and it is not of the part that is.
    fn parent(&self, request: Option<&Request<'_>>) -> Option<Context> {
        let context = request.and_then(Request::trace);
        let ids = context.and_then(|context| context.ids).and_then(parse);
        let sampled = match (context.and_then(|context| context.sampled), ids) {
            (Some(sampled), _) => sampled,
            // By the trace, so that all who are left to decide alike decide alike.
            (None, Some((trace, _))) => self.samples(trace),
            (None, None) => self.sample_ratio >= 1.0 || rand::random::<f64>() < self.sample_ratio,
        };
        if !sampled {
            return None;
        }
        let Some((trace, span)) = ids else { return Some(Context::new()) };
        let state = request.and_then(|request| request.tracestate.as_deref());
        let state: TraceState = state.and_then(|state| state.parse().ok()).unwrap_or_default();
        let parent = SpanContext::new(trace, span, TraceFlags::SAMPLED, true, state);
        Some(Context::new().with_remote_span_context(parent))
    }

    fn samples(&self, trace: TraceId) -> bool {
        let sampler = Sampler::TraceIdRatioBased(self.sample_ratio);
        let result = sampler.should_sample(None, trace, CHECK, &SpanKind::Server, &[], &[]);
        result.decision == SamplingDecision::RecordAndSample
    }

    fn record(&self, checked: &Checked<'_>, parent: &Context) {
        let Checked { decision, started, took, .. } = checked;
        let span = SpanBuilder::from_name(CHECK)
            .with_kind(SpanKind::Server)
            .with_start_time(*started)
            .with_attributes(attributes(checked));
        let mut span = self.tracer.build_with_context(span, parent);
        if let Some(code) = failure(checked) {
            span.set_status(Status::error(code));
        }
        if decision.notes.waits.is_empty() {
            span.end_with_timestamp(*started + *took);
            return;
        }
        let check = Context::new().with_span(span);
        for wait in &decision.notes.waits {
            let name = match wait.what {
                Waited::SigningKey => "wait for a signing key",
                Waited::Groups => "wait for groups",
            };
            let span = SpanBuilder::from_name(name)
                .with_kind(SpanKind::Internal)
                .with_start_time(wait.since);
            let mut span = self.tracer.build_with_context(span, &check);
            if !wait.came {
                span.set_attribute(KeyValue::new("error.type", decision.code()));
                span.set_status(Status::error("it did not come"));
            }
            span.end_with_timestamp(wait.since + wait.took);
        }
        check.span().end_with_timestamp(*started + *took);
    }
}

/// By OpenTelemetry's semantic conventions for RPC and HTTP as far as they go. Only what says
/// nothing of the caller: paths, hosts and names can be personal data, and they stand in the
/// audit record under the same id.
fn attributes(checked: &Checked<'_>) -> Vec<KeyValue> {
    let Checked { request, decision, status, .. } = checked;
    let mut attributes = vec![
        KeyValue::new("rpc.system.name", "grpc"),
        KeyValue::new("rpc.method", CHECK),
        // A denial is an answer like any other: no check ends in a gRPC error.
        KeyValue::new("rpc.response.status_code", "OK"),
        KeyValue::new("stagedoor.decision_id", decision.id.to_string()),
        KeyValue::new("stagedoor.decision", if decision.is_allow() { "allow" } else { "deny" }),
        KeyValue::new("stagedoor.reason", decision.code()),
    ];
    if let Some(request) = request {
        attributes.push(KeyValue::new("http.request.method", method(request.method)));
    }
    // What an allowed client gets is for the service to say.
    if !decision.is_allow() {
        attributes.push(KeyValue::new("http.response.status_code", i64::from(*status)));
    }
    if let Some(code) = failure(checked) {
        attributes.push(KeyValue::new("error.type", code));
    }
    if let Some(target) = &decision.target {
        attributes.push(KeyValue::new("stagedoor.route", target.route.to_string()));
        attributes.push(KeyValue::new("stagedoor.action", target.action.as_str()));
    }
    attributes
}

/// Why it failed, if it did: a denial by right is no failure.
fn failure(checked: &Checked<'_>) -> Option<&'static str> {
    (!checked.decision.is_allow() && checked.status >= 500).then(|| checked.decision.code())
}

/// What is no usual method could be anything.
fn method(text: &str) -> &'static str {
    match Method::new(text) {
        Method::Get => "GET",
        Method::Head => "HEAD",
        Method::Options => "OPTIONS",
        Method::Post => "POST",
        Method::Put => "PUT",
        Method::Patch => "PATCH",
        Method::Delete => "DELETE",
        Method::Other(_) => "_OTHER",
    }
}

fn parse(ids: TraceIds<'_>) -> Option<(TraceId, SpanId)> {
    Some((TraceId::from_hex(ids.trace).ok()?, SpanId::from_hex(ids.span).ok()?))
}
