//! What an operator sees: spans in the caller's trace, metrics, health, reflection,
//! and never a token.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::envoy::{Envoy, EnvoyConfig};
use crate::support::stack::{AUDIENCE, OTHERS, OWNERS, Options, Stack, Stagedoor};
use crate::support::tls::{ENVOY, Mounted};
use devtenant::backstage::{Backstage, BackstageOptions};
use devtenant::service::Echo;
use devtenant::tenant::{Endpoint, Fault, Tenant, TenantOptions};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{
    LogsService, LogsServiceServer,
};
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use stagedoor::serve::BoundAddress;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

/// An OTLP collector that hands on every log record, and refuses when it is told to.
#[derive(Clone)]
struct Logs {
    records: mpsc::UnboundedSender<LogRecord>,
    refuses: Arc<AtomicBool>,
}

#[tonic::async_trait]
impl LogsService for Logs {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        if self.refuses.load(Ordering::Relaxed) {
            return Err(Status::permission_denied("not now"));
        }
        for resource in request.into_inner().resource_logs {
            for scope in resource.scope_logs {
                for record in scope.log_records {
                    let _ = self.records.send(record);
                }
            }
        }
        Ok(Response::new(ExportLogsServiceResponse::default()))
    }
}

async fn log_collector() -> (String, Arc<AtomicBool>, mpsc::UnboundedReceiver<LogRecord>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (records, receiver) = mpsc::unbounded_channel();
    let refuses = Arc::new(AtomicBool::new(false));
    let logs = Logs { records, refuses: Arc::clone(&refuses) };
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let routes = tonic::service::Routes::new(LogsServiceServer::new(logs.clone()));
            let service = TowerToHyperService::new(routes.prepare());
            tokio::spawn(async move {
                let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    (format!("http://{address}"), refuses, receiver)
}

/// A value as JSON has it.
fn json_of(value: &Option<opentelemetry_proto::tonic::common::v1::AnyValue>) -> serde_json::Value {
    match value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(Any::StringValue(text)) => text.as_str().into(),
        Some(Any::BoolValue(value)) => (*value).into(),
        Some(Any::IntValue(value)) => (*value).into(),
        Some(Any::ArrayValue(list)) => {
            list.values.iter().map(|value| json_of(&Some(value.clone()))).collect()
        }
        Some(Any::KvlistValue(members)) => serde_json::Value::Object(
            members.values.iter().map(|kv| (kv.key.clone(), json_of(&kv.value))).collect(),
        ),
        other => panic!("{other:?}"),
    }
}

/// The file and the collector get the same records; what the collector does not take is
/// counted, and named in the stream that it gets.
#[tokio::test(flavor = "multi_thread")]
async fn records_go_to_a_collector() {
    let (endpoint, refuses, mut logs) = log_collector().await;
    let options = Options { audit: format!(", otlp: \"{endpoint}\""), ..Options::default() };
    let stack = Stack::start(options).await.unwrap();
    let token = stack.stagedoor.tenant.token().audience(AUDIENCE).groups(&[OTHERS]).sign();
    let bearer = format!("Bearer {token}");
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let traceparent = format!("00-{trace}-00f067aa0ba902b7-01");
    let headers = [("authorization", &*bearer), ("traceparent", &*traceparent)];
    stack.ask("GET", "payments.example.com", "/v1/orders", &headers).await.unwrap();
    let file = stack.stagedoor.audit(1).await.unwrap().remove(0);
    let mut next =
        async || tokio::time::timeout(Duration::from_secs(30), logs.recv()).await.unwrap().unwrap();
    let adopted = next().await;
    assert_eq!(
        (adopted.event_name.as_str(), adopted.severity_text.as_str()),
        ("stagedoor.catalog_adopted", "INFO")
    );
    let record = next().await;
    assert_eq!(
        (record.event_name.as_str(), record.severity_text.as_str()),
        ("stagedoor.decision", "INFO")
    );
    assert_eq!(json_of(&record.body), file);
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!(hex(&record.trace_id), trace);
    let attribute = |name: &str| {
        json_of(&record.attributes.iter().find(|kv| kv.key == name).expect(name).value)
    };
    assert_eq!(attribute("stagedoor.decision_id"), file["decision_id"]);
    assert_eq!(attribute("stagedoor.reason"), "not_permitted");
    assert!(!format!("{record:?}").contains(&token));

    // Not taken: counted, and said with what is taken next.
    refuses.store(true, Ordering::Relaxed);
    stack.get(&token).await.unwrap();
    let status = async || -> serde_json::Value {
        serde_json::from_str(&stack.stagedoor.get("/status").await.unwrap().1).unwrap()
    };
    let becomes = async |pointer: &str, count: usize| {
        let begun = tokio::time::Instant::now();
        loop {
            let status = status().await;
            if status.pointer(pointer) == Some(&count.into()) {
                return;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "{pointer}: {status}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    becomes("/audit/otlp/failed", 1).await;
    refuses.store(false, Ordering::Relaxed);
    stack.get(&token).await.unwrap();
    let gap = next().await;
    assert_eq!(
        (gap.event_name.as_str(), gap.severity_text.as_str()),
        ("stagedoor.audit_gap", "WARN")
    );
    let gap = json_of(&gap.body);
    assert_eq!((&gap["event"], &gap["lost"]), (&"audit_gap".into(), &1.into()));
    assert_eq!(json_of(&next().await.body)["event"], serde_json::Value::Null);
    let (_, metrics) = stack.stagedoor.get("/metrics").await.unwrap();
    assert_eq!(sample(&metrics, "stagedoor_audit_otlp_records_failed_total"), 1.0);
    assert_eq!(sample(&metrics, "stagedoor_audit_otlp_records_dropped_total"), 0.0);
    // Counted once it is written, and sent before that.
    becomes("/audit/written", stack.stagedoor.audit(3).await.unwrap().len() + 1).await;
    let status = status().await;
    assert_eq!((&status["audit"]["dropped"], &status["audit"]["failed"]), (&0.into(), &0.into()));
    // What is queued at the end is still sent.
    stack.get(&token).await.unwrap();
    stack.stagedoor.stop().await.unwrap();
    assert_eq!(json_of(&next().await.body)["reason"], "not_permitted");
}

/// Every record of a real run follows the schema in the docs; with pseudonyms no caller's
/// id is in any of them, and the operator finds theirs.
#[tokio::test]
async fn records_follow_the_schema_and_hide_who_they_are_about() {
    let schema: serde_json::Value =
        serde_json::from_str(include_str!("../../docs/audit.schema.json")).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let key = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(key.path(), [7; 32]).unwrap();
    let audit = format!(", mask: [host], pseudonyms: {{ key_file: \"{}\" }}", key.path().display());
    let policy = r#"
        @id("loud") @alert("look at this")
        permit (principal, action == Action::"read", resource) when { principal in resource.owners };
        @id("strict") @mode("shadow")
        forbid (principal, action, resource);
    "#;
    let options = Options { audit, policy: policy.to_owned(), ..Options::default() };
    let stack = Stack::start(options).await.unwrap();
    let token = stack.stagedoor.tenant.token().audience(AUDIENCE).groups(&[OWNERS]);
    let object = token.claims()["oid"].as_str().unwrap().to_owned();
    let bearer = format!("Bearer {}", token.sign());
    for (path, headers) in [
        ("/healthz", &[][..]),
        ("/v1/orders", &[("authorization", &*bearer)]),
        ("/v1/orders", &[("authorization", "Bearer garbage")]),
        (&*format!("/users/{}", object.to_uppercase()), &[("authorization", &*bearer)]),
        ("/a/../b", &[]),
    ] {
        stack.ask("GET", "payments.example.com", path, headers).await.unwrap();
    }
    stack.ask("GET", "nowhere.example.com", "/", &[]).await.unwrap();
    let mut records = stack.stagedoor.audit(6).await.unwrap();
    let folder = stack.stagedoor.folder.path();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_stagedoor"))
        .args(["audit", "pseudonym", "--config"])
        .arg(folder.join("stagedoor.yaml"))
        .arg(&object)
        .output()
        .unwrap();
    let pseudonym = String::from_utf8(output.stdout).unwrap().trim().to_owned();
    assert!(pseudonym.starts_with("p1_"), "{}", String::from_utf8_lossy(&output.stderr));
    let of = |path: &str| records.iter().find(|record| record["path"] == path).unwrap();
    assert_eq!(of("/v1/orders")["principal"]["object"], *pseudonym);
    // What policies say beside their effect is there, and out loud.
    let alert = serde_json::json!([{ "policy": "loud", "text": "look at this" }]);
    assert_eq!(of("/v1/orders")["alerts"], alert);
    let shadow = &of("/v1/orders")["shadow"][0];
    assert_eq!((&shadow["set"], &shadow["allow"]), (&"mode".into(), &false.into()));
    let (_, metrics) = stack.stagedoor.get("/metrics").await.unwrap();
    assert_eq!(sample(&metrics, "stagedoor_alerts_total{policy=\"loud\"}"), 2.0);
    let keys = &of("/v1/orders")["keys_version"];
    let (_, status) = stack.stagedoor.get("/status").await.unwrap();
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    let known = status["keys"].as_array().unwrap().iter().any(|issuer| issuer["version"] == *keys);
    assert!(keys.is_string() && known, "{keys} in {status}");
    assert_eq!(of(&format!("/users/{pseudonym}"))["principal"]["object"], *pseudonym);
    assert!(records.iter().all(|record| record.get("host").is_none()));
    assert!(records.iter().all(|record| record["masked"] == serde_json::json!(["host"])));
    records.extend(stack.stagedoor.catalog_records(1).await.unwrap());
    for record in &records {
        if let Err(error) = validator.validate(record) {
            panic!("{error} in {record:#}");
        }
        assert!(!record.to_string().to_lowercase().contains(&object), "{record:#}");
    }
}

/// The value of a sample.
fn sample(metrics: &str, name: &str) -> f64 {
    let line = metrics
        .lines()
        .find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')));
    line.unwrap_or_else(|| panic!("no `{name}` in\n{metrics}"))
        .rsplit(' ')
        .next()
        .unwrap()
        .parse()
        .unwrap()
}

#[tokio::test]
async fn metrics_count_what_was_decided() {
    let stack = Stack::start(Options::default()).await.unwrap();
    let token =
        |group: &str| stack.stagedoor.tenant.token().audience(AUDIENCE).groups(&[group]).sign();
    let (owner, other) = (token(OWNERS), token(OTHERS));
    for _ in 0..3 {
        stack.get(&owner).await.unwrap();
    }
    stack.get(&other).await.unwrap();
    stack.get("garbage").await.unwrap();
    stack.stagedoor.audit(5).await.unwrap();
    // Counted once it is written.
    let begun = tokio::time::Instant::now();
    let metrics = loop {
        let (status, metrics) = stack.stagedoor.get("/metrics").await.unwrap();
        assert_eq!(status, 200);
        if sample(&metrics, "stagedoor_audit_records_written_total") >= 6.0 {
            break metrics;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{metrics}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    for (name, want) in [
        ("stagedoor_decisions_total{decision=\"allow\",reason=\"permitted\"}", 3.0),
        ("stagedoor_decisions_total{decision=\"deny\",reason=\"not_permitted\"}", 1.0),
        ("stagedoor_decisions_total{decision=\"deny\",reason=\"token_malformed\"}", 1.0),
        ("stagedoor_decisions_total{decision=\"deny\",reason=\"internal\"}", 0.0),
        ("stagedoor_decision_duration_seconds_count", 5.0),
        ("stagedoor_token_cache_hits_total", 2.0),
        ("stagedoor_token_cache_entries", 2.0),
        ("stagedoor_issuers_usable", 2.0),
        ("stagedoor_connection_accept_errors_total", 0.0),
        ("stagedoor_connection_preface_failures_total", 0.0),
        ("stagedoor_connection_panics_total", 0.0),
        ("stagedoor_catalog_usable", 1.0),
        ("stagedoor_catalog_entities", 2.0),
        ("stagedoor_catalog_groups", 4.0),
        ("stagedoor_audit_records_written_total", 6.0),
        ("stagedoor_audit_records_dropped_total", 0.0),
    ] {
        assert!((sample(&metrics, name) - want).abs() < f64::EPSILON, "{name}:\n{metrics}");
    }
    assert!(sample(&metrics, "stagedoor_connections_open") >= 1.0);
    // What is configured, where the test may open as many files.
    let limit = sample(&metrics, "stagedoor_connections_limit");
    let most = sample(&metrics, "process_max_fds") - 64.0;
    assert!((limit - most.min(1024.0)).abs() < f64::EPSILON, "{limit} of {most}");
    assert!(sample(&metrics, "stagedoor_connections_accepted_total") >= 1.0);
    assert!(metrics.ends_with("# EOF\n"));
    let reference = include_str!("../../docs/audit.md");
    for record in stack.stagedoor.audit(5).await.unwrap() {
        for name in record.as_object().unwrap().keys() {
            assert!(reference.contains(&format!("`{name}`")), "{name} stands in no reference");
        }
    }
    let (status, live) = stack.stagedoor.get("/live").await.unwrap();
    assert_eq!((status, live.as_str()), (200, "live\n"));
    let (status, _) = stack.stagedoor.get("/nothing").await.unwrap();
    assert_eq!(status, 404);
}

/// The reference names each metric with its labels, and no other.
#[tokio::test]
async fn the_reference_has_every_metric_and_no_other() {
    const APP: &str = "eeeeeeee-0000-0000-0000-000000000001";
    let tenant = Tenant::start(TenantOptions::default()).await.unwrap();
    let secret = tempfile::NamedTempFile::new().unwrap();
    let mounted = Mounted::new();
    let theirs = Mounted::of(Arc::clone(&mounted.authority), &[ENVOY]);
    // Whatever has a sample only once something happened, happens.
    let options = Options {
        entra: format!(
            "  overage: graph\n  graph: {{ client_id: {APP}, secret_file: {} }}\n",
            secret.path().display()
        ),
        listen: format!(", tls: {}", mounted.mutual_yaml(&[ENVOY])),
        tenant: format!("      graph_url: {}\n", tenant.graph_url()),
        policy: r#"
            @id("loud") @alert("look at this")
            permit (principal, action == Action::"read", resource) when { principal in resource.owners };
            @id("strict") @mode("shadow") forbid (principal, action, resource);
            @id("broken") forbid (principal, action == Action::"write", resource)
            when { 9223372036854775807 + 1 == 0 };
        "#
        .to_owned(),
        ..Options::default()
    };
    let stagedoor = Stagedoor::start_with(tenant, options).await.unwrap();
    let upstream = Echo::start().await.unwrap();
    let BoundAddress::Tcp(address) = stagedoor.address else { panic!("not TCP") };
    let config = EnvoyConfig::tls(address, upstream.address(), theirs.folder());
    let patience = Duration::from_secs(10);
    let config = config.check_timeout(patience).patience(patience);
    let envoy = Envoy::start(config).await.unwrap();
    let stack = Stack { stagedoor, upstream, envoy };
    let token = stack.stagedoor.tenant.token().audience(AUDIENCE).groups(&[OWNERS]).sign();
    assert_eq!(stack.get(&token).await.unwrap().status, 200);
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str())];
    stack.ask("POST", "payments.example.com", "/v1/orders", &headers).await.unwrap();
    std::fs::remove_file(stack.stagedoor.catalog_file()).unwrap();
    let failed = "stagedoor_catalog_refresh_failures_total{";
    let begun = tokio::time::Instant::now();
    let metrics = loop {
        let (_, metrics) = stack.stagedoor.get("/metrics").await.unwrap();
        if metrics.contains(failed) {
            break metrics;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{metrics}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let mut exposed = BTreeSet::new();
    for line in metrics.lines().filter(|line| !line.starts_with('#')) {
        let (sample, _) = line.rsplit_once(' ').unwrap();
        let (name, labels) = sample.split_once('{').unwrap_or((sample, ""));
        let name = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|end| name.strip_suffix(end).filter(|name| name.ends_with("_seconds")))
            .unwrap_or(name);
        let labels: Vec<_> = labels
            .split("\",")
            .filter_map(|label| label.split_once('=').map(|(label, _)| label))
            .filter(|label| *label != "le")
            .collect();
        exposed.insert((name.to_owned(), labels.join(",")));
    }
    let reference = include_str!("../../docs/operations.md");
    let mut documented = BTreeSet::new();
    let is_metric = |row: &&str| row.starts_with("stagedoor_") || row.starts_with("process_");
    let rows = reference.lines().filter_map(|line| line.strip_prefix("| `"));
    for row in rows.filter(is_metric) {
        let (metric, _) = row.split_once('`').unwrap();
        let (name, labels) = metric.split_once('{').unwrap_or((metric, ""));
        let labels = labels.trim_end_matches('}');
        assert!(documented.insert((name.to_owned(), labels.to_owned())), "{row}");
    }
    let missing: Vec<_> = exposed.difference(&documented).collect();
    let others: Vec<_> = documented.difference(&exposed).collect();
    assert!(
        missing.is_empty() && others.is_empty(),
        "only exposed {missing:?}, only documented {others:?}"
    );
}

async fn channel(stagedoor: &Stagedoor) -> Channel {
    let BoundAddress::Tcp(address) = &stagedoor.address else { panic!("tcp") };
    Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap()
}

async fn health(channel: &Channel, service: &str) -> ServingStatus {
    let request = HealthCheckRequest { service: service.to_owned() };
    let answer = HealthClient::new(channel.clone()).check(request).await.unwrap();
    answer.into_inner().status()
}

#[tokio::test]
async fn health_follows_readiness() {
    let tenant = Tenant::start(TenantOptions::default()).await.unwrap();
    tenant.faults().set(Endpoint::Discovery, Fault::Status(500));
    let options = Options {
        wait: false,
        more: "limits: { pre_stop: 30s }\n".to_owned(),
        ..Options::default()
    };
    let stagedoor = Stagedoor::start_with(tenant, options).await.unwrap();
    let channel = channel(&stagedoor).await;
    let services = ["", "envoy.service.auth.v3.Authorization"];
    for service in services {
        assert_eq!(health(&channel, service).await, ServingStatus::NotServing, "{service}");
    }
    stagedoor.tenant.faults().clear();
    stagedoor.await_ready().await.unwrap();
    for service in services {
        while health(&channel, service).await != ServingStatus::Serving {
            tokio::task::yield_now().await;
        }
    }
    // The drain is announced before the door closes.
    stagedoor.shutdown.drain();
    let begun = tokio::time::Instant::now();
    while health(&channel, services[1]).await == ServingStatus::Serving {
        assert!(begun.elapsed() < Duration::from_secs(30), "said while it still accepts");
    }
    let (status, body) = stagedoor.get("/ready").await.unwrap();
    assert_eq!(status, 503);
    assert!(body.contains("shutting down"), "{body}");
}

/// Keys alone are not enough to serve.
#[tokio::test]
async fn health_waits_for_the_catalog() {
    let backstage = Backstage::start(BackstageOptions {
        token: None,
        entities: vec![
            devtenant::backstage::group("payments-team", Some(OWNERS), None),
            devtenant::backstage::component("payments", "payments-team"),
        ],
        ..BackstageOptions::default()
    })
    .await
    .unwrap();
    backstage.set_fault(Some(devtenant::backstage::Fault::Status(503)));
    let catalog =
        format!("catalog:\n  backstage: {{ url: \"{}\" }}\n  refresh_every: 1s\n", backstage.url());
    let options = Options { catalog: Some(catalog), wait: false, ..Options::default() };
    let stagedoor = Stagedoor::start(options).await.unwrap();
    let channel = channel(&stagedoor).await;
    // Until the keys are there, and the catalog is all that is missing.
    loop {
        let (_, metrics) = stagedoor.get("/metrics").await.unwrap();
        if sample(&metrics, "stagedoor_issuers_usable") > 0.0
            && sample(&metrics, "stagedoor_issuers_usable") == sample(&metrics, "stagedoor_issuers")
        {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(health(&channel, "").await, ServingStatus::NotServing);
    let (status, body) = stagedoor.get("/ready").await.unwrap();
    assert_eq!(status, 503);
    assert!(body.contains("catalog"), "{body}");
    backstage.set_fault(None);
    stagedoor.await_ready().await.unwrap();
    while health(&channel, "").await != ServingStatus::Serving {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn reflection_tells_the_services() {
    use tonic_reflection::pb::v1::ServerReflectionRequest;
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

    let stagedoor = Stagedoor::start(Options::default()).await.unwrap();
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut client = ServerReflectionClient::new(channel(&stagedoor).await);
    let stream = futures_util::stream::iter([request]);
    let mut answers = client.server_reflection_info(stream).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap().message_response.unwrap();
    let MessageResponse::ListServicesResponse(list) = answer else { panic!("a list") };
    let names: Vec<_> = list.service.iter().map(|service| service.name.as_str()).collect();
    assert!(names.contains(&"envoy.service.auth.v3.Authorization"), "{names:?}");
    assert!(names.contains(&"grpc.health.v1.Health"), "{names:?}");
}

/// A real process, with everything it says: no token, no part of one, and no secret.
#[tokio::test]
async fn no_token_is_in_any_output() {
    let tenant = Tenant::start(TenantOptions::default()).await.unwrap();
    let upstream = Echo::start().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let secret = "catalog-token-0123456789";
    let backstage = Backstage::start(BackstageOptions {
        token: Some(secret.to_owned()),
        entities: vec![
            devtenant::backstage::group("payments-team", Some(OWNERS), None),
            devtenant::backstage::component("payments", "payments-team"),
        ],
        ..BackstageOptions::default()
    })
    .await
    .unwrap();
    std::fs::write(folder.path().join("secret"), secret).unwrap();
    let catalog = format!(
        "catalog:\n  backstage: {{ url: \"{}\", token_file: secret }}\n  refresh_every: 1s\n",
        backstage.url()
    );
    let options = Options {
        unix: true,
        catalog: Some(catalog),
        more: "telemetry: { log: trace }\n".to_owned(),
        ..Options::default()
    };
    let config = crate::support::stack::write_config(&folder, &tenant, &options).unwrap();
    let log = std::fs::File::create(folder.path().join("log")).unwrap();
    let mut process = tokio::process::Command::new(env!("CARGO_BIN_EXE_stagedoor"))
        .args(["serve", "--config"])
        .arg(&config)
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let socket = folder.path().join("stagedoor.sock");
    while !std::fs::read_to_string(folder.path().join("log"))
        .unwrap()
        .contains("the catalog has changed")
    {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let config = EnvoyConfig::unix(&socket, upstream.address());
    let envoy = Envoy::start(config.check_timeout(Duration::from_secs(10))).await.unwrap();
    let good = tenant.token().audience(AUDIENCE).groups(&[OWNERS]);
    let tokens = [
        good.sign(),
        good.clone().groups(&[OTHERS]).sign(),
        good.clone().expires(1_700_000_000).sign(),
        good.clone().header("kid", "secret-key-id".into()).sign(),
        good.unsigned(),
    ];
    for token in &tokens {
        let bearer = format!("Bearer {token}");
        for (path, name) in
            [("/v1/orders", "authorization"), (&*format!("/v1?access_token={token}"), "x-other")]
        {
            let request = crate::support::stack::request(
                "GET",
                "payments.example.com",
                path,
                &[(name, &bearer)],
            );
            envoy.raw_http(request).await.unwrap();
        }
    }
    // Also where the catalog refuses the secret.
    backstage.set_fault(Some(devtenant::backstage::Fault::Status(401)));
    let log_text = || std::fs::read_to_string(folder.path().join("log")).unwrap();
    while !log_text().contains("could not be refreshed") {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // The admin port is where the log says.
    let admin: std::net::SocketAddr = {
        let log = log_text();
        let line = log.lines().find(|line| line.contains("the admin port is open")).unwrap();
        let (_, address) = line.rsplit_once("address=").unwrap();
        address.trim().parse().unwrap()
    };
    let mut shown = String::new();
    for path in ["/metrics", "/status", "/ready"] {
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        let answer = crate::support::envoy::raw_admin(admin, request).await.unwrap();
        shown.push_str(&String::from_utf8(answer.body).unwrap());
    }
    assert!(shown.contains("stagedoor_decisions_total"));
    // Ended, so that everything is written.
    let pid = i32::try_from(process.id().unwrap()).unwrap();
    std::process::Command::new("kill").arg(pid.to_string()).status().unwrap();
    assert!(process.wait().await.unwrap().success());
    let log = std::fs::read_to_string(folder.path().join("log")).unwrap();
    let audit = std::fs::read_to_string(folder.path().join("audit.jsonl")).unwrap();
    let decisions = audit.lines().filter(|line| !line.contains("\"event\":"));
    assert_eq!(decisions.count(), 2 * tokens.len());
    assert!(log.contains("DEBUG") || log.contains("TRACE"), "the log is as wordy as it can be");
    assert!(backstage.requests() > 1, "the secret was used");
    assert!(![&log, &audit, &shown].iter().any(|text| text.contains(secret)));
    for token in &tokens {
        for part in token.split('.').filter(|part| !part.is_empty()) {
            assert!(!audit.contains(part), "the audit records hold a part of a token");
            assert!(!shown.contains(part), "the admin port shows a part of a token");
            // The header is the same in every token of a key, and says nothing.
            let secret = part != tokens[0].split('.').next().unwrap();
            assert!(!secret || !log.contains(part), "the log holds a part of a token");
        }
    }
}
