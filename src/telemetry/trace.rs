//! One span for each check, in the trace of the proxied request.

use std::collections::HashMap;
use std::time::SystemTime;

use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::{Span as _, SpanKind, Tracer as _, TracerProvider as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};

use super::settings::TelemetrySettings;
use crate::collector::reach;
use crate::domain::{Decision, Request};

/// Makes spans where an OTLP collector is configured, and nothing otherwise.
#[derive(Clone, Debug, Default)]
pub struct Traces {
    exporter: Option<Exporter>,
}

#[derive(Clone, Debug)]
struct Exporter {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

impl Traces {
    /// Prepares the export. The collector need not be there: spans are queued and
    /// dropped off the request's path.
    ///
    /// # Errors
    /// The endpoint is not one that the exporter can use.
    pub fn new(
        settings: &TelemetrySettings,
    ) -> Result<Self, opentelemetry_otlp::ExporterBuildError> {
        let Some(endpoint) = &settings.otlp_endpoint else { return Ok(Self::default()) };
        let exporter = opentelemetry_otlp::SpanExporter::builder().with_tonic();
        let exporter = reach(exporter, endpoint, &settings.authorities).build()?;
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(Resource::builder().with_service_name("stagedoor").build())
            .build();
        let tracer = provider.tracer("stagedoor");
        Ok(Self { exporter: Some(Exporter { provider, tracer }) })
    }

    /// Records the span of a decision that was just made.
    pub fn record(&self, request: Option<&Request<'_>>, decision: &Decision, started: SystemTime) {
        let Some(exporter) = &self.exporter else { return };
        let parent = request.map_or_else(Context::new, parent);
        // The attributes of the decision only: paths and names can be personal data,
        // and they stand in the audit record under the same id.
        let mut attributes = vec![
            KeyValue::new("stagedoor.decision_id", decision.id.to_string()),
            KeyValue::new("stagedoor.decision", if decision.is_allow() { "allow" } else { "deny" }),
            KeyValue::new("stagedoor.reason", decision.code()),
        ];
        if let Some(target) = &decision.target {
            attributes.push(KeyValue::new("stagedoor.route", target.route.to_string()));
            attributes.push(KeyValue::new("stagedoor.action", target.action.as_str()));
        }
        let mut span = exporter
            .tracer
            .span_builder("envoy.service.auth.v3.Authorization/Check")
            .with_kind(SpanKind::Server)
            .with_start_time(started)
            .with_attributes(attributes)
            .start_with_context(&exporter.tracer, &parent);
        span.end();
    }

    /// Sends what is queued, and stops. Blocks; call it off the runtime's threads.
    pub fn shutdown(&self) {
        if let Some(exporter) = &self.exporter
            && let Err(error) = exporter.provider.shutdown()
        {
            tracing::warn!(%error, "the last spans could not be sent");
        }
    }
}

/// The context that `traceparent` and `tracestate` of the proxied request name.
fn parent(request: &Request<'_>) -> Context {
    let carrier: HashMap<String, String> =
        [("traceparent", &request.traceparent), ("tracestate", &request.tracestate)]
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value.as_ref()?.to_string())))
            .collect();
    TraceContextPropagator::new().extract_with_context(&Context::new(), &carrier)
}
