//! What a collector is sent: spans in the caller's trace, metrics, and nothing that holds a
//! request up.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::collector::{Collector, Mood, Protocol, Received, Signal, attribute};
use crate::support::envoy::{Envoy, EnvoyConfig, RawResponse, Tracer};
use crate::support::process::Process;
use crate::support::stack::{AUDIENCE, OTHERS, OWNERS, Options, Stack, Stagedoor, request};
use devtenant::keys::SigningKey;
use devtenant::service::Echo;
use devtenant::tenant::{Endpoint, Fault, Tenant, TenantOptions};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use stagedoor::serve::BoundAddress;
use tokio::io::AsyncWriteExt as _;
use tokio::time::{Instant, sleep};

const CHECK: &str = "envoy.service.auth.v3.Authorization/Check";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const OTHER_TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const HALF: &str = "8448eb211c80319c";
const SPAN: &str = "00f067aa0ba902b7";
const OTHER_SPAN: &str = "b7ad6b7169203331";

fn telemetry(settings: &str) -> Options {
    Options { more: format!("telemetry: {{ {settings} }}\n"), ..Options::default() }
}

/// A GET that is denied, so that the answer names the decision.
async fn denied(stack: &Stack, headers: &[(&str, &str)]) -> String {
    let token = stack.stagedoor.tenant.token().audience(AUDIENCE).groups(&[OTHERS]).sign();
    let bearer = format!("Bearer {token}");
    let headers: Vec<_> =
        headers.iter().copied().chain([("authorization", bearer.as_str())]).collect();
    let answer =
        stack.ask("GET", "payments.example.com", "/v1/orders?q=secret", &headers).await.unwrap();
    assert_eq!(answer.status, 403);
    decision(&answer)
}

fn decision(answer: &RawResponse) -> String {
    answer.json()["decision_id"].as_str().unwrap().to_owned()
}

fn is_of<'a>(decision: &'a str) -> impl Fn(&Received) -> bool + 'a {
    move |span| span.attribute("stagedoor.decision_id").as_deref() == Some(decision)
}

/// Waits until a metric is at least this much, and returns all of them.
async fn metrics_with(stagedoor: &Stagedoor, name: &str, at_least: f64) -> String {
    let begun = Instant::now();
    loop {
        let (_, metrics) = stagedoor.get("/metrics").await.unwrap();
        if samples(&metrics).get(name).is_some_and(|value| *value >= at_least) {
            return metrics;
        }
        assert!(begun.elapsed() < Duration::from_secs(90), "`{name}` stays in\n{metrics}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Every sample by its name and labels, with bounds of buckets in one spelling.
fn samples(metrics: &str) -> BTreeMap<String, f64> {
    let lines = metrics.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            let name = match name.split_once("{le=\"") {
                Some((name, bound)) => bucket(name, bound.trim_end_matches("\"}").parse().unwrap()),
                None => name.to_owned(),
            };
            (name, value.parse().unwrap())
        })
        .collect()
}

fn bucket(name: &str, bound: f64) -> String {
    format!("{name}{{le=\"{bound}\"}}")
}

/// Headers of a request, and the trace and the parent of its span; nothing where there is to
/// be none.
type Joined = (Vec<(&'static str, String)>, Option<(&'static str, &'static str)>);

fn ways_to_join() -> Vec<Joined> {
    let w3c = |flags: &str| ("traceparent", format!("00-{TRACE}-{SPAN}-{flags}"));
    let b3 = |text: String| ("b3", text);
    let several = |sampled: &str| {
        vec![
            ("x-b3-traceid", OTHER_TRACE.to_owned()),
            ("x-b3-spanid", OTHER_SPAN.to_owned()),
            ("x-b3-sampled", sampled.to_owned()),
        ]
    };
    let padded = "00000000000000008448eb211c80319c";
    let (by_w3c, by_b3) = (Some((TRACE, SPAN)), Some((OTHER_TRACE, OTHER_SPAN)));
    vec![
        (vec![w3c("01"), ("tracestate", "vendor=value".to_owned())], by_w3c),
        (vec![b3(format!("{OTHER_TRACE}-{OTHER_SPAN}-1"))], by_b3),
        (several("1"), by_b3),
        ([several("0"), vec![("x-b3-flags", "1".to_owned())]].concat(), by_b3),
        // W3C's word comes first, and only a word counts.
        (vec![w3c("01"), b3(format!("{OTHER_TRACE}-{OTHER_SPAN}-0"))], by_w3c),
        ([vec![w3c("zz")], several("1")].concat(), by_b3),
        (vec![b3(format!("{HALF}-{OTHER_SPAN}-d"))], Some((padded, OTHER_SPAN))),
        // Left to whoever is asked.
        (vec![b3(format!("{OTHER_TRACE}-{OTHER_SPAN}"))], by_b3),
        (vec![w3c("00")], None),
        (vec![b3(format!("{OTHER_TRACE}-{OTHER_SPAN}-0"))], None),
        (several("0"), None),
        (vec![b3("0".to_owned())], None),
    ]
}

async fn spans_join(protocol: Protocol) {
    let mut collector = Collector::start(protocol).await;
    let stack = Stack::start(telemetry(&collector.settings())).await.unwrap();
    let mut asked = Vec::new();
    for (headers, want) in ways_to_join() {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, &**value)).collect();
        asked.push((denied(&stack, &headers).await, want));
    }
    // In no trace: the root of one.
    let root = denied(&stack, &[]).await;
    let spans = collector.spans_until(is_of(&root)).await;
    assert_eq!(spans.last().unwrap().parent(), "");
    for (decision, want) in &asked {
        let span = spans.iter().find(|span| is_of(decision)(span));
        let found = span.map(|span| (span.trace_id(), span.parent()));
        let want = want.map(|(trace, parent)| (trace.to_owned(), parent.to_owned()));
        assert_eq!(found, want, "{span:?}");
    }
    assert_eq!(spans[0].span.trace_state, "vendor=value");
    // The records of the decisions name the same traces, recorded or not.
    let records = stack.stagedoor.audit(asked.len() + 1).await.unwrap();
    for (record, (decision, want)) in records.iter().zip(&asked) {
        assert_eq!(record["decision_id"], **decision);
        if let Some((trace, _)) = want {
            assert_eq!(record["trace_id"], *trace);
        }
    }
    metrics_with(&stack.stagedoor, "stagedoor_spans_sent_total", 9.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_join_the_callers_trace_by_grpc() {
    spans_join(Protocol::Grpc).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_join_the_callers_trace_by_http() {
    spans_join(Protocol::Http).await;
}

/// By the conventions, and with nothing of the caller.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_span_says() {
    let mut collector = Collector::start(Protocol::Grpc).await;
    let stack = Stack::start(telemetry(&collector.settings())).await.unwrap();
    let refused = denied(&stack, &[]).await;
    let owner = stack.stagedoor.tenant.token().audience(AUDIENCE).groups(&[OWNERS]).sign();
    let bearer = format!("Bearer {owner}");
    let headers = [("authorization", bearer.as_str())];
    let answer = stack.ask("PROPFIND", "payments.example.com", "/public", &headers).await.unwrap();
    assert_eq!(answer.status, 200);
    let spans = collector
        .spans_until(|span| span.attribute("stagedoor.reason").as_deref() == Some("public_route"))
        .await;
    let (refused, allowed) = (spans.iter().find(|span| is_of(&refused)(span)), spans.last());
    for (span, want) in [
        (
            refused.unwrap(),
            [
                ("http.request.method", "GET"),
                ("http.response.status_code", "403"),
                ("rpc.method", CHECK),
                ("rpc.response.status_code", "OK"),
                ("rpc.system.name", "grpc"),
                ("stagedoor.action", "read"),
                ("stagedoor.decision", "deny"),
                ("stagedoor.reason", "not_permitted"),
                ("stagedoor.route", "payments"),
            ]
            .as_slice(),
        ),
        (
            allowed.unwrap(),
            &[
                ("http.request.method", "_OTHER"),
                ("rpc.method", CHECK),
                ("rpc.response.status_code", "OK"),
                ("rpc.system.name", "grpc"),
                ("stagedoor.action", "admin"),
                ("stagedoor.decision", "allow"),
                ("stagedoor.reason", "public_route"),
                ("stagedoor.route", "public"),
            ],
        ),
    ] {
        let mut said: Vec<_> = span.span.attributes.iter().map(|pair| &*pair.key).collect();
        said.retain(|name| *name != "stagedoor.decision_id");
        said.sort_unstable();
        let said: Vec<_> =
            said.into_iter().map(|name| (name, span.attribute(name).unwrap())).collect();
        let want: Vec<_> = want.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        assert_eq!(said, want);
        let shape = (&*span.span.name, span.span.kind(), span.span.status.clone());
        assert_eq!(shape, (CHECK, SpanKind::Server, Some(Default::default())));
        assert!(span.span.end_time_unix_nano > span.span.start_time_unix_nano);
        assert!(span.span.events.is_empty() && span.span.links.is_empty());
    }
    let resource = |name| attribute(&spans[0].resource, name);
    assert_eq!(resource("service.name").as_deref(), Some("stagedoor"));
    assert_eq!(resource("service.version").as_deref(), Some(env!("CARGO_PKG_VERSION")));
    assert!(resource("service.instance.id").is_some());
    let shown = format!("{spans:?}");
    for secret in [&*owner, "payments.example.com", "/v1/orders", "secret", "PROPFIND"] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
}

/// Where Envoy traces, the check is a part of what Envoy's own span of it is, also where the
/// client began no trace.
#[tokio::test(flavor = "multi_thread")]
async fn a_check_is_a_child_of_envoys_span() {
    let mut collector = Collector::start(Protocol::Grpc).await;
    let address = collector.address;
    let stagedoor = Stagedoor::start(telemetry(&collector.settings())).await.unwrap();
    let traced =
        |envoy: crate::support::envoy::EnvoyConfig| envoy.traced(Tracer::OpenTelemetry, address);
    let stack = Stack::of(stagedoor, traced).await.unwrap();
    let traceparent = format!("00-{TRACE}-{SPAN}-01");
    for headers in [&[][..], &[("traceparent", &*traceparent)]] {
        let decision = denied(&stack, headers).await;
        let mut spans = collector.spans_until(is_of(&decision)).await;
        let ours = spans.last().unwrap().clone();
        assert_eq!(headers.is_empty(), ours.trace_id() != TRACE);
        let parent = ours.parent();
        assert_ne!(parent, SPAN);
        // Envoy sends its spans when it likes.
        if !spans.iter().any(|span| span.id() == parent) {
            spans = collector.spans_until(|span| span.id() == parent).await;
        }
        let envoys = spans.iter().find(|span| span.id() == parent).unwrap();
        assert_eq!(envoys.trace_id(), ours.trace_id());
        assert_eq!(attribute(&envoys.resource, "service.name").as_deref(), Some("front"));
    }
    let records = stack.stagedoor.audit(2).await.unwrap();
    assert!(records[0]["trace_id"].is_string(), "{records:?}");
    assert_eq!(records[1]["trace_id"], TRACE);
}

/// The same by B3, which Zipkin's tracer speaks.
#[tokio::test(flavor = "multi_thread")]
async fn a_check_is_in_the_trace_of_an_envoy_that_speaks_b3() {
    let mut collector = Collector::start(Protocol::Http).await;
    let address = collector.address;
    let stagedoor = Stagedoor::start(telemetry(&collector.settings())).await.unwrap();
    let traced = |envoy: crate::support::envoy::EnvoyConfig| envoy.traced(Tracer::Zipkin, address);
    let stack = Stack::of(stagedoor, traced).await.unwrap();
    let b3 = [("x-b3-traceid", OTHER_TRACE), ("x-b3-spanid", OTHER_SPAN), ("x-b3-sampled", "1")];
    let (joined, begun) = (denied(&stack, &b3).await, denied(&stack, &[]).await);
    let spans = collector.spans_until(is_of(&begun)).await;
    let joined = spans.iter().find(|span| is_of(&joined)(span)).unwrap();
    assert_eq!(joined.trace_id(), OTHER_TRACE);
    assert_ne!(joined.parent(), OTHER_SPAN, "Envoy's span is between the two");
    assert_eq!(joined.parent().len(), 16);
    assert_eq!(spans.last().unwrap().parent().len(), 16);
}

/// What is waited for outside is a span of its own, and nothing else is.
#[tokio::test(flavor = "multi_thread")]
async fn waits_are_child_spans() {
    const APP: &str = "eeeeeeee-0000-0000-0000-000000000001";
    const ADA: &str = "bbbbbbbb-0000-0000-0000-000000000001";
    let mut collector = Collector::start(Protocol::Grpc).await;
    let tenant = Tenant::start(TenantOptions::default()).await.unwrap();
    tenant.directory().user(ADA, &[OTHERS]);
    tenant.applications().secret(APP, "the secret");
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), "the secret").unwrap();
    let options = Options {
        entra: format!(
            "  overage: graph\n  graph: {{ client_id: {APP}, secret_file: {}, wait: 8s }}\n  \
             keys: {{ unknown_key_wait: 8s }}\n",
            secret.path().display()
        ),
        tenant: format!("      graph_url: {}\n", tenant.graph_url()),
        ..telemetry(&collector.settings())
    };
    let stagedoor = Stagedoor::start_with(tenant, options).await.unwrap();
    let stack = Stack::of(stagedoor, |envoy| envoy).await.unwrap();
    let tenant = &stack.stagedoor.tenant;
    let ada = tenant.token().audience(AUDIENCE).oid(ADA).overage();

    let waited = decision(&stack.get(&ada.sign()).await.unwrap());
    let at_hand = decision(&stack.get(&ada.sign()).await.unwrap());
    let key = SigningKey::generate("new", 2048).unwrap();
    tenant.publish_key(&key);
    let by_a_new_key = decision(&stack.get(&ada.sign_with(&key)).await.unwrap());
    tenant.faults().set(Endpoint::Graph, Fault::Status(403));
    let nobody = ada.clone().oid("bbbbbbbb-0000-0000-0000-000000000003").sign();
    let answer = stack.get(&nobody).await.unwrap();
    assert_eq!(answer.status, 503);
    let failed = decision(&answer);

    let spans = collector.spans_until(is_of(&failed)).await;
    let of = |decision: &str| {
        let check = spans.iter().find(|span| is_of(decision)(span)).unwrap();
        let children = spans.iter().filter(|span| span.parent() == check.id());
        (check, children.collect::<Vec<_>>())
    };
    for (decision, want) in [
        (&waited, &["wait for groups"][..]),
        (&at_hand, &[]),
        (&by_a_new_key, &["wait for a signing key"]),
        (&failed, &["wait for groups"]),
    ] {
        let (check, children) = of(decision);
        let names: Vec<_> = children.iter().map(|child| &*child.span.name).collect();
        assert_eq!(names, want);
        for child in children {
            assert_eq!(child.trace_id(), check.trace_id());
            assert_eq!(child.span.kind(), SpanKind::Internal);
            assert!(child.span.start_time_unix_nano >= check.span.start_time_unix_nano);
            assert!(child.span.end_time_unix_nano <= check.span.end_time_unix_nano);
        }
    }
    let status = |span: &Received| span.span.status.clone().unwrap_or_default().code();
    let (check, children) = of(&failed);
    for span in [check, children[0]] {
        assert_eq!(span.attribute("error.type").as_deref(), Some("groups_unavailable"));
        assert_eq!(status(span), StatusCode::Error);
    }
    let (check, children) = of(&waited);
    assert!([check, children[0]].iter().all(|span| status(span) == StatusCode::Unset));
    // The calls of Graph are counted as what they came to.
    let (_, metrics) = stack.stagedoor.get("/metrics").await.unwrap();
    let samples = samples(&metrics);
    assert_eq!(samples["stagedoor_graph_calls_total{outcome=\"ok\"}"], 1.0);
    assert_eq!(samples["stagedoor_graph_calls_total{outcome=\"refused\"}"], 1.0);
}

/// Of the traces that begin here, so many; of a caller's, what the caller says.
#[tokio::test(flavor = "multi_thread")]
async fn a_ratio_is_for_roots() {
    let mut collector = Collector::start(Protocol::Grpc).await;
    let settings = format!("{}, sample_ratio: 0", collector.settings());
    let stack = Stack::start(telemetry(&settings)).await.unwrap();
    for _ in 0..5 {
        denied(&stack, &[]).await;
        denied(&stack, &[("b3", &format!("{OTHER_TRACE}-{OTHER_SPAN}"))]).await;
    }
    let traceparent = format!("00-{TRACE}-{SPAN}-01");
    let sampled = denied(&stack, &[("traceparent", &traceparent)]).await;
    let spans = collector.spans_until(is_of(&sampled)).await;
    assert_eq!(spans.len(), 1, "{spans:?}");
    let forced = denied(&stack, &[("b3", "d")]).await;
    assert_eq!(collector.spans_until(is_of(&forced)).await.len(), 1);
}

/// One metric in an export: its kind, and its values by labels as Prometheus writes them.
fn exported(export: &ExportMetricsServiceRequest) -> BTreeMap<String, f64> {
    let metrics = &export.resource_metrics[0].scope_metrics[0].metrics;
    let mut all = BTreeMap::new();
    for metric in metrics {
        let points = match metric.data.as_ref().unwrap() {
            Data::Gauge(gauge) => &gauge.data_points,
            Data::Sum(sum) => {
                assert!(sum.is_monotonic && metric.name.ends_with("_total"), "{metric:?}");
                &sum.data_points
            }
            Data::Histogram(histogram) => {
                let [point] = histogram.data_points.as_slice() else { panic!("{metric:?}") };
                let sum = point.sum.unwrap();
                let name = &metric.name;
                #[allow(clippy::cast_precision_loss, reason = "a small count")]
                all.insert(format!("{name}_count"), point.count as f64);
                all.insert(format!("{name}_sum"), sum);
                let mut below = 0;
                for (bound, count) in point.explicit_bounds.iter().zip(&point.bucket_counts) {
                    below += count;
                    #[allow(clippy::cast_precision_loss, reason = "as above")]
                    all.insert(bucket(&format!("{name}_bucket"), *bound), below as f64);
                }
                #[allow(clippy::cast_precision_loss, reason = "as above")]
                all.insert(bucket(&format!("{name}_bucket"), f64::INFINITY), point.count as f64);
                continue;
            }
            other => panic!("{other:?}"),
        };
        for point in points {
            assert!(point.start_time_unix_nano <= point.time_unix_nano);
            let labels: Vec<_> = point
                .attributes
                .iter()
                .map(|pair| {
                    let value = attribute(&point.attributes, &pair.key).unwrap();
                    format!("{}=\"{value}\"", pair.key)
                })
                .collect();
            let labels =
                if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
            let Some(Number::AsDouble(value)) = point.value else { panic!("{point:?}") };
            all.insert(format!("{}{labels}", metric.name), value);
        }
    }
    all
}

async fn metrics_are_sent(protocol: Protocol) {
    let mut collector = Collector::start(protocol).await;
    let settings = format!("{}, metrics_every: 1s", collector.settings());
    let stack = Stack::start(telemetry(&settings)).await.unwrap();
    let token = stack.stagedoor.tenant.token().audience(AUDIENCE).groups(&[OWNERS]).sign();
    for _ in 0..3 {
        assert_eq!(stack.get(&token).await.unwrap().status, 200);
    }
    denied(&stack, &[]).await;
    // Nothing of this changes any more.
    let settled = |name: &str| {
        ["stagedoor_decision", "stagedoor_token_cache", "stagedoor_policies", "stagedoor_build"]
            .iter()
            .any(|part| name.starts_with(part))
    };
    let (_, text) = stack.stagedoor.get("/metrics").await.unwrap();
    let scraped = samples(&text);
    let whole = "stagedoor_decisions_total{decision=\"allow\",reason=\"permitted\"}";
    assert_eq!(scraped[whole], 3.0);
    let export = loop {
        let export = collector.metrics().await;
        if exported(&export)["stagedoor_decision_duration_seconds_count"] >= 4.0 {
            break export;
        }
    };
    let sent = exported(&export);
    let names =
        |samples: &BTreeMap<String, f64>| -> BTreeSet<String> { samples.keys().cloned().collect() };
    assert_eq!(names(&sent), names(&scraped));
    let mut compared = 0;
    for (name, value) in scraped.iter().filter(|(name, _)| settled(name)) {
        assert!((sent[name] - value).abs() < 1e-9, "{name}: {} and {value}", sent[name]);
        compared += 1;
    }
    assert!(compared > 30, "{compared}");
    let resource = export.resource_metrics[0].resource.as_ref().unwrap();
    assert_eq!(attribute(&resource.attributes, "service.name").as_deref(), Some("stagedoor"));
    assert!(attribute(&resource.attributes, "service.instance.id").is_some());
    metrics_with(&stack.stagedoor, "stagedoor_metrics_exports_total", 1.0).await;
    // What was counted last is sent at the end.
    denied(&stack, &[]).await;
    stack.stagedoor.stop().await.unwrap();
    loop {
        let last = exported(&collector.metrics().await);
        if last["stagedoor_decision_duration_seconds_count"] >= 5.0 {
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_sent_by_grpc() {
    metrics_are_sent(Protocol::Grpc).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_sent_by_http() {
    metrics_are_sent(Protocol::Http).await;
}

/// What a collector wants to see, such as a key, comes with every export; what a signal has of
/// its own stands in the place of it.
async fn headers_are_sent(protocol: Protocol) {
    let mut collector = Collector::start(protocol).await;
    // Records go over gRPC in any case.
    let mut records = Collector::start(Protocol::Grpc).await;
    let options = Options {
        audit: format!(", otlp: \"http://{}\"", records.address),
        ..telemetry(&format!("{}, metrics_every: 1s", collector.settings()))
    };
    let process = Process::begin(&options, |command, _| {
        for signal in ["TRACES", "LOGS"] {
            command.env_remove(format!("OTEL_EXPORTER_OTLP_{signal}_HEADERS"));
        }
        command
            .env("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Basic%20YTpi,x-scope=all")
            .env("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "authorization=Basic%20Yzpk");
    })
    .await;
    let is_ready = |line: &str| line.contains("ready") && !line.contains("not ready");
    process.said("that it is ready", is_ready).await;
    let BoundAddress::Tcp(address) = process.address().await else { panic!("not TCP") };
    let upstream = Echo::start().await.unwrap();
    let envoy = EnvoyConfig::tcp(address, upstream.address());
    let envoy = Envoy::start(envoy.check_timeout(Duration::from_secs(10))).await.unwrap();
    let health = request("GET", "payments.example.com", "/healthz", &[]);
    assert_eq!(envoy.raw_http(health).await.unwrap().status, 200);

    let everyones = (Some("Basic YTpi"), Some("all"));
    assert_eq!(credentials(&collector.head(Signal::Traces).await), everyones);
    assert_eq!(credentials(&records.head(Signal::Logs).await), everyones);
    let own = (Some("Basic Yzpk"), None);
    assert_eq!(credentials(&collector.head(Signal::Metrics).await), own);
}

/// Two headers, if they are there.
fn credentials(head: &http::HeaderMap) -> (Option<&str>, Option<&str>) {
    let of = |name: &str| head.get(name).map(|value| value.to_str().unwrap());
    (of("authorization"), of("x-scope"))
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_are_sent_by_grpc() {
    headers_are_sent(Protocol::Grpc).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_are_sent_by_http() {
    headers_are_sent(Protocol::Http).await;
}

/// Whatever a collector does, requests are answered, what is lost is counted, and the process
/// ends.
#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_not_well_changes_nothing() {
    for protocol in [Protocol::Grpc, Protocol::Http] {
        let collector = Collector::start(protocol).await;
        let nobody =
            format!("otlp_endpoint: \"http://127.0.0.1:9\", otlp_protocol: {}", protocol.name());
        let there = collector.settings();
        for (mood, settings) in
            [(None, &nobody), (Some(Mood::Refuses), &there), (Some(Mood::Hangs), &there)]
        {
            if let Some(mood) = mood {
                collector.set(mood);
            }
            let settings = format!("{settings}, metrics_every: 1s");
            let stack = Stack::start(telemetry(&settings)).await.unwrap();
            let token = stack.stagedoor.tenant.token().audience(AUDIENCE).groups(&[OWNERS]).sign();
            for _ in 0..20 {
                assert_eq!(stack.get(&token).await.unwrap().status, 200, "{protocol:?} {mood:?}");
            }
            if mood != Some(Mood::Hangs) {
                let failures = "stagedoor_metrics_export_failures_total";
                metrics_with(&stack.stagedoor, failures, 1.0).await;
                metrics_with(&stack.stagedoor, "stagedoor_spans_failed_total", 1.0).await;
            }
            let end = tokio::time::timeout(Duration::from_secs(60), stack.stagedoor.stop());
            end.await.expect("ends").expect("well");
        }
    }
}

/// A certificate of an authority that only the file vouches for.
#[tokio::test(flavor = "multi_thread")]
async fn a_collector_is_known_by_its_certificate() {
    for protocol in [Protocol::Grpc, Protocol::Http] {
        let mut collector = Collector::start_secured(protocol).await;
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), collector.certificate.as_ref().unwrap()).unwrap();
        let plain = format!("{}, metrics_every: 1s", collector.settings());
        let known = format!("{plain}, ca_file: {}", file.path().display());
        let stack = Stack::start(telemetry(&known)).await.unwrap();
        let decision = denied(&stack, &[]).await;
        collector.spans_until(is_of(&decision)).await;
        collector.metrics().await;
        drop(stack);
        let stack = Stack::start(telemetry(&plain)).await.unwrap();
        denied(&stack, &[]).await;
        metrics_with(&stack.stagedoor, "stagedoor_metrics_export_failures_total", 1.0).await;
        metrics_with(&stack.stagedoor, "stagedoor_spans_failed_total", 1.0).await;
    }
}

/// A process of its own: only there is a log that is this one's alone.
#[tokio::test]
async fn what_is_logged_changes_while_it_runs() {
    let tenant = Tenant::start(TenantOptions::default()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let options = Options { unix: true, ..telemetry("log: info, log_format: json") };
    let config = crate::support::stack::write_config(&folder, &tenant, &options).unwrap();
    let file = folder.path().join("log");
    let mut process = tokio::process::Command::new(env!("CARGO_BIN_EXE_stagedoor"))
        .args(["serve", "--config"])
        .arg(&config)
        .stdout(std::process::Stdio::null())
        .stderr(std::fs::File::create(&file).unwrap())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let begun = Instant::now();
    // The first line that is wanted, of those that are whole.
    let line = async |wanted: &dyn Fn(&serde_json::Value) -> bool| loop {
        let text = std::fs::read_to_string(&file).unwrap();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let mut lines =
            whole.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        if let Some(line) = lines.find(wanted) {
            break line;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "not in\n{text}");
        sleep(Duration::from_millis(20)).await;
    };
    let says = |line: &serde_json::Value, text: &str| line["fields"]["message"] == text;
    let open = line(&|line| says(line, "the admin port is open")).await;
    let admin: std::net::SocketAddr = open["fields"]["address"].as_str().unwrap().parse().unwrap();
    let ask = async |method: &str, headers: &str, body: &str| {
        let request = format!(
            "{method} /log-level HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        let answer = crate::support::envoy::raw_admin(admin, request).await.unwrap();
        (answer.status, String::from_utf8(answer.body).unwrap())
    };
    assert_eq!(ask("GET", "", "").await, (200, "info\n".to_owned()));
    let (status, why) = ask("PUT", "", "info,stagedoor=dbug").await;
    assert_eq!(status, 400);
    assert!(why.starts_with("`info,stagedoor=dbug` is no log filter: expected a filter"), "{why}");
    let (status, why) = ask("PUT", "", "debgu").await;
    assert_eq!(status, 400);
    assert!(why.contains("did you mean `debug`?"), "{why}");
    assert_eq!(ask("PUT", "", &"a=info,".repeat(1000)).await.0, 400);
    assert_eq!(ask("PUT", "origin: https://evil.example\r\n", "trace").await.0, 403);
    assert_eq!(ask("GET", "", "").await, (200, "info\n".to_owned()));
    let debug = |line: &serde_json::Value| line["level"] == "DEBUG";
    assert!(!std::fs::read_to_string(&file).unwrap().contains("\"DEBUG\""));
    let filter = "warn,stagedoor=debug";
    assert_eq!(ask("PUT", "", &format!("{filter}\n")).await, (200, format!("{filter}\n")));
    assert_eq!(ask("GET", "", "").await, (200, format!("{filter}\n")));
    let changed = line(&|line| says(line, "what is logged changes")).await;
    assert_eq!(
        (&changed["fields"]["before"], &changed["fields"]["after"]),
        (&"info".into(), &filter.into())
    );
    let socket = folder.path().join("stagedoor.sock");
    let mut odd = tokio::net::UnixStream::connect(socket).await.unwrap();
    odd.write_all(&[b'x'; 100]).await.unwrap();
    line(&debug).await;
    drop(odd);
    let pid = process.id().unwrap().to_string();
    std::process::Command::new("kill").arg(pid).status().unwrap();
    assert!(process.wait().await.unwrap().success());
}

/// In a process whose log is somebody else's there is none to change.
#[tokio::test]
async fn a_log_that_is_not_ours_is_left_alone() {
    let stagedoor = Stagedoor::start(Options::default()).await.unwrap();
    let (status, text) = stagedoor.get("/log-level").await.unwrap();
    assert_eq!((status, &*text), (404, "this process has no log of its own\n"));
}
