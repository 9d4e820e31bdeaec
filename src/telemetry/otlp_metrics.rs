//! The registry's metrics as OTLP has them.
//!
//! Made from what the registry encodes, so there is one source: whatever stands on `/metrics`
//! is sent, under the same names and labels.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint,
    ResourceMetrics, ScopeMetrics, Sum, metric::Data, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prometheus_client::encoding::prometheus_protobuf::prometheus_data_model as prometheus;

/// When the values were counted from, and when they were read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) started: SystemTime,
    pub(super) now: SystemTime,
}

/// One export of everything that a registry holds.
pub(super) fn request(
    families: Vec<prometheus::MetricFamily>,
    resource: &opentelemetry_sdk::Resource,
    span: Span,
) -> ExportMetricsServiceRequest {
    let attributes =
        resource.iter().map(|(key, value)| text(key.as_str(), value.as_str())).collect();
    let scope = InstrumentationScope {
        name: "stagedoor".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    };
    let metrics = families.into_iter().filter_map(|family| metric(family, span));
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: Some(Resource { attributes, ..Resource::default() }),
            scope_metrics: vec![ScopeMetrics {
                scope: Some(scope),
                metrics: metrics.collect(),
                schema_url: String::new(),
            }],
            schema_url: String::new(),
        }],
    }
}

/// One metric with all its labels; nothing where there is no value of it.
fn metric(family: prometheus::MetricFamily, span: Span) -> Option<Metric> {
    let (mut gauges, mut sums, mut histograms) = (Vec::new(), Vec::new(), Vec::new());
    for metric in family.metric {
        let attributes =
            metric.label.into_iter().map(|label| text(&label.name, label.value)).collect();
        // The other kinds are not made here.
        if let Some(gauge) = metric.gauge {
            gauges.push(number(gauge.value, attributes, span));
        } else if let Some(counter) = metric.counter {
            sums.push(number(counter.value, attributes, span));
        } else if let Some(value) = metric.histogram {
            histograms.push(histogram(&value, attributes, span));
        }
    }
    let aggregation_temporality = AggregationTemporality::Cumulative.into();
    let data = if !gauges.is_empty() {
        Data::Gauge(Gauge { data_points: gauges })
    } else if !sums.is_empty() {
        Data::Sum(Sum { data_points: sums, aggregation_temporality, is_monotonic: true })
    } else if !histograms.is_empty() {
        Data::Histogram(Histogram { data_points: histograms, aggregation_temporality })
    } else {
        return None;
    };
    Some(Metric {
        unit: unit(&family.name).to_owned(),
        name: family.name,
        description: family.help,
        metadata: Vec::new(),
        data: Some(data),
    })
}

/// What a name says of its unit, in the letters of UCUM.
fn unit(name: &str) -> &'static str {
    match name.rsplit('_').next() {
        Some("seconds") => "s",
        Some("bytes") => "By",
        _ => "",
    }
}

fn number(value: f64, attributes: Vec<KeyValue>, span: Span) -> NumberDataPoint {
    NumberDataPoint {
        attributes,
        start_time_unix_nano: nanos(span.started),
        time_unix_nano: nanos(span.now),
        value: Some(number_data_point::Value::AsDouble(value)),
        ..NumberDataPoint::default()
    }
}

/// Prometheus counts what is in a bucket or in one below it, and OTLP each bucket alone.
fn histogram(
    value: &prometheus::Histogram,
    attributes: Vec<KeyValue>,
    span: Span,
) -> HistogramDataPoint {
    // What is above all bounds has none of its own.
    let bounded = value.bucket.iter().filter(|bucket| bucket.upper_bound < f64::MAX);
    let (mut bounds, mut counts, mut below) = (Vec::new(), Vec::new(), 0);
    for bucket in bounded {
        bounds.push(bucket.upper_bound);
        counts.push(bucket.cumulative_count.saturating_sub(below));
        below = bucket.cumulative_count;
    }
    counts.push(value.sample_count.saturating_sub(below));
    HistogramDataPoint {
        attributes,
        start_time_unix_nano: nanos(span.started),
        time_unix_nano: nanos(span.now),
        count: value.sample_count,
        sum: Some(value.sample_sum),
        bucket_counts: counts,
        explicit_bounds: bounds,
        ..HistogramDataPoint::default()
    }
}

fn text(key: &str, value: impl Into<String>) -> KeyValue {
    let value = AnyValue { value: Some(any_value::Value::StringValue(value.into())) };
    KeyValue { key: key.to_owned(), value: Some(value), ..KeyValue::default() }
}

fn nanos(time: SystemTime) -> u64 {
    let since: Duration = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::prometheus_protobuf::encode;
    use prometheus_client::metrics::counter::Counter;
    use prometheus_client::metrics::family::Family;
    use prometheus_client::metrics::gauge::Gauge as PrometheusGauge;
    use prometheus_client::metrics::info::Info;
    use prometheus_client::registry::Registry;

    use super::*;
    use crate::telemetry::latency::Latency;
    use number_data_point::Value::AsDouble;

    #[test]
    fn each_kind_is_what_it_was() {
        let mut registry = Registry::default();
        let calls: Family<[(&str, &str); 1], Counter> = Family::default();
        calls.get_or_create(&[("outcome", "ok")]).inc_by(3);
        calls.get_or_create(&[("outcome", "failed")]).inc();
        registry.register("calls", "Calls", calls);
        let age = PrometheusGauge::<i64>::default();
        age.set(-7);
        registry.register("age_seconds", "An age", age);
        registry.register("build", "A build", Info::new([("version", "1")]));
        let took = Latency::default();
        took.observe(Duration::from_micros(16));
        took.observe(Duration::from_micros(20));
        took.observe(Duration::from_secs(10));
        registry.register("took_seconds", "A time", took);

        let started = UNIX_EPOCH + Duration::from_secs(5);
        let span = Span { started, now: started + Duration::from_nanos(1) };
        let resource = opentelemetry_sdk::Resource::builder_empty()
            .with_attribute(opentelemetry::KeyValue::new("service.name", "s"))
            .build();
        let families = encode(&registry).expect("encoded");
        let mut request = request(families, &resource, span);
        let mut resource = request.resource_metrics.remove(0);
        assert_eq!(resource.resource.expect("one").attributes, [text("service.name", "s")]);
        let metrics = resource.scope_metrics.remove(0).metrics;
        let shapes: Vec<_> =
            metrics.iter().map(|metric| (metric.name.as_str(), metric.unit.as_str())).collect();
        assert_eq!(
            shapes,
            [("calls_total", ""), ("age_seconds", "s"), ("build_info", ""), ("took_seconds", "s")]
        );
        let [calls, age, build, took] = metrics.as_slice() else { panic!("four") };
        let Some(Data::Sum(calls)) = &calls.data else { panic!("a sum") };
        assert!(calls.is_monotonic);
        assert_eq!(calls.aggregation_temporality, AggregationTemporality::Cumulative as i32);
        let mut points: Vec<_> =
            calls.data_points.iter().map(|point| (&point.attributes[0], point.value)).collect();
        points.sort_by_key(|(attribute, _)| format!("{attribute:?}"));
        let (failed, ok) = (text("outcome", "failed"), text("outcome", "ok"));
        assert_eq!(points, [(&failed, Some(AsDouble(1.0))), (&ok, Some(AsDouble(3.0)))]);
        let point = &calls.data_points[0];
        let times = (point.start_time_unix_nano, point.time_unix_nano);
        assert_eq!(times, (5_000_000_000, 5_000_000_001));
        let Some(Data::Gauge(age)) = &age.data else { panic!("a gauge") };
        assert_eq!(age.data_points[0].value, Some(AsDouble(-7.0)));
        let Some(Data::Gauge(build)) = &build.data else { panic!("a gauge") };
        assert_eq!(build.data_points[0].value, Some(AsDouble(1.0)));
        assert_eq!(build.data_points[0].attributes, [text("version", "1")]);
        let Some(Data::Histogram(took)) = &took.data else { panic!("a histogram") };
        let took = &took.data_points[0];
        assert_eq!((took.count, took.bucket_counts.iter().sum::<u64>()), (3, 3));
        assert_eq!(took.bucket_counts.len(), took.explicit_bounds.len() + 1);
        assert_eq!((took.bucket_counts[0], took.bucket_counts[1]), (1, 1));
        assert_eq!(took.bucket_counts.last(), Some(&1));
        assert!(took.explicit_bounds.iter().all(|bound| bound.is_finite() && *bound < 1.0));
    }
}
