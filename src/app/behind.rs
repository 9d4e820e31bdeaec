//! Metrics of what goes on behind the requests: each key set, the calls of Microsoft Graph,
//! the queues, and telemetry itself.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::audit::AuditSender;
use crate::authorizer::Current;
use crate::clock::Now;
use crate::entra::{GroupResolver, IssuerStatus};
use crate::telemetry::{MetricsPush, Traces};

/// The parts that are asked.
#[derive(Debug)]
pub(super) struct Behind {
    pub(super) current: Current,
    pub(super) audit: AuditSender,
    pub(super) traces: Traces,
    pub(super) push: MetricsPush,
}

impl Collector for Behind {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        let mut build = encoder.encode_descriptor(
            "stagedoor_build_info",
            "1, with what was built",
            None,
            MetricType::Gauge,
        )?;
        ConstGauge::new(1_u64).encode(build.encode_family(&version)?)?;

        let current = self.current.load();
        let authorizer = current.authorizer();
        let resolver = authorizer.overage.resolver();
        key_sets(&authorizer.authenticator.status(Now::read()), &mut encoder)?;
        let mut calls = encoder.encode_descriptor(
            "stagedoor_graph_calls",
            "Calls of microsoft graph, by what came of them",
            None,
            MetricType::Counter,
        )?;
        for (outcome, count) in resolver.iter().flat_map(|resolver| resolver.calls()) {
            ConstCounter::new(count).encode(calls.encode_family(&[("outcome", outcome)])?)?;
        }

        let mut gauge = |name: &str, help: &str, value: u64| {
            let descriptor = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(value).encode(descriptor)
        };
        let groups = resolver.map(GroupResolver::stats).unwrap_or_default();
        let queue = self.audit.queue();
        let (queued, capacity) = queue.map_or((0, 0), |queue| (queue.waiting, queue.capacity));
        let spans = self.traces.stats().unwrap_or_default();
        gauge(
            "stagedoor_groups_lookups_queued",
            "Lookups that are under way or wait for their turn",
            wide(groups.flights),
        )?;
        gauge(
            "stagedoor_audit_records_queued",
            "Audit records that wait to be written",
            wide(queued),
        )?;
        gauge(
            "stagedoor_audit_queue_capacity",
            "Audit records that may wait to be written",
            wide(capacity),
        )?;
        gauge(
            "stagedoor_audit_otlp_records_queued",
            "Audit records that wait for the OTLP collector",
            self.audit.otlp_queued(),
        )?;
        gauge("stagedoor_spans_queued", "Spans that wait for the OTLP collector", spans.waiting)?;

        let mut counter = |name: &str, help: &str, value: u64| {
            let descriptor = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            ConstCounter::new(value).encode(descriptor)
        };
        let pushes = self.push.stats().unwrap_or_default();
        counter("stagedoor_spans_sent", "Spans that the OTLP collector took", spans.sent)?;
        counter(
            "stagedoor_spans_dropped",
            "Spans not queued for the OTLP collector: too many waited",
            spans.dropped,
        )?;
        counter(
            "stagedoor_spans_failed",
            "Spans that could not be sent to the OTLP collector",
            spans.failed,
        )?;
        counter("stagedoor_metrics_exports", "Times the OTLP collector took metrics", pushes.sent)?;
        counter(
            "stagedoor_metrics_export_failures",
            "Times metrics could not be sent to the OTLP collector",
            pushes.failed,
        )
    }
}

/// By issuer, of which there are as many as are configured.
fn key_sets(issuers: &[IssuerStatus], encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let ages = |issuer: &IssuerStatus| issuer.age.map(|age| age.as_secs_f64());
    let help = "Age of the issuer's key set";
    by_issuer(encoder, ("stagedoor_key_set_age_seconds", help), issuers, ages)?;
    #[allow(clippy::cast_precision_loss, reason = "beyond 2^53 seconds a few don't matter")]
    let skews = |issuer: &IssuerStatus| issuer.clock_skew.map(|skew| skew as f64);
    let help = "Seconds by which the clock here is ahead of the issuer's";
    by_issuer(encoder, ("stagedoor_clock_skew_seconds", help), issuers, skews)?;
    let usable = |issuer: &IssuerStatus| Some(f64::from(u8::from(issuer.state.is_usable())));
    let help = "1 while tokens of the issuer can be verified";
    by_issuer(encoder, ("stagedoor_key_set_usable", help), issuers, usable)?;
    for (name, help, of) in [
        (
            "stagedoor_key_set_fetches",
            "Fetches of the issuer's key set",
            (|issuer| issuer.fetches) as fn(&IssuerStatus) -> u64,
        ),
        ("stagedoor_key_set_fetch_failures", "Those that failed", |issuer| issuer.failures),
    ] {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for issuer in issuers {
            let labels = [("issuer", issuer.issuer.as_str())];
            ConstCounter::new(of(issuer)).encode(family.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

/// A gauge of each issuer that has a value.
fn by_issuer(
    encoder: &mut DescriptorEncoder<'_>,
    (name, help): (&str, &str),
    issuers: &[IssuerStatus],
    value: impl Fn(&IssuerStatus) -> Option<f64>,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for issuer in issuers {
        if let Some(value) = value(issuer) {
            let labels = [("issuer", issuer.issuer.as_str())];
            ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

fn wide(value: usize) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}
