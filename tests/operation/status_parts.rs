//! What the status of a running server says of its certificates, its collectors, the checks that
//! wait, and the process.

use std::sync::Arc;
use std::time::Duration;

use crate::collector::{Collector, Mood, Protocol};
use crate::message::message;
use crate::status::{decide, status};
use crate::support::stack::{AUDIENCE, OWNERS, Options, Stagedoor};
use crate::support::tls::{Client, ENVOY, Mounted, SERVER};
use devtenant::authority::{Authority, Issued};
use devtenant::certificate::Certificate;
use devtenant::tenant::{Endpoint, Fault, Tenant, TenantOptions};
use serde_json::{Value, json};
use stagedoor::serve::BoundAddress;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, sleep};

const HOST: &str = "payments.example.com";
const APP: &str = "eeeeeeee-0000-0000-0000-000000000001";
const DAY: i64 = 86_400;

/// The status, once it is so.
async fn once(stagedoor: &Stagedoor, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let begun = Instant::now();
    loop {
        let status = status(stagedoor).await;
        if is_so(&status) {
            return status;
        }
        assert!(begun.elapsed() < Duration::from_secs(90), "{what}: {status:#}");
        sleep(Duration::from_millis(10)).await;
    }
}

/// With these files on the gRPC port.
async fn secured(mounted: &Mounted) -> Stagedoor {
    let listen = format!(", tls: {}", mounted.mutual_yaml(&[ENVOY]));
    Stagedoor::start(Options { listen, ..Options::default() }).await.unwrap()
}

/// The only certificate, once it is so.
async fn certificate(stagedoor: &Stagedoor, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let status = once(stagedoor, what, |status| is_so(&status["certificates"][0])).await;
    assert_eq!(status["certificates"].as_array().unwrap().len(), 1);
    // Whatever becomes of the files, what is in them stays there.
    let text = status.to_string();
    assert!(!text.contains("PRIVATE") && !text.contains("BEGIN"), "{text}");
    status["certificates"][0].clone()
}

#[tokio::test]
async fn a_certificate_says_whose_it_is_and_how_long_it_lasts() {
    let mounted = Mounted::new();
    let names = [SERVER, "10.1.2.3", ENVOY];
    mounted.swap(&mounted.authority.issue_for(&names, -1..30).unwrap());
    let stagedoor = secured(&mounted).await;
    let shown = certificate(&stagedoor, "is there", |_| true).await;
    assert_eq!(shown["shown_by"], "grpc");
    assert_eq!(shown["file"], mounted.path("tls.crt").display().to_string());
    assert_eq!(
        (&shown["subject"], &shown["names"]),
        (&json!("CN=envoy.example.com"), &json!(names))
    );
    assert_eq!((&shown["state"], &shown["current"]), (&json!("good"), &json!(true)));
    assert_eq!((&shown["last_error"], &shown["handshake_failures"]), (&Value::Null, &json!(0)));
    assert!(shown["age_seconds"].as_u64().unwrap() < 60, "{shown}");
    let left = shown["left_seconds"].as_i64().unwrap();
    assert!((29 * DAY..=30 * DAY).contains(&left), "{left}");
    let at = |name: &str| {
        let time = shown[name].as_str().unwrap().parse::<chrono::DateTime<chrono::Utc>>();
        (time.unwrap() - chrono::Utc::now()).num_seconds()
    };
    assert!((at("not_after") - left).abs() < 60, "{shown}");
    assert!((-60..=0).contains(&at("since")), "{shown}");

    // Those of which little is left, and one that lasts.
    for (days, state) in [(6, "ends_soon"), (1, "near_end"), (8, "good")] {
        mounted.swap(&mounted.authority.issue_for(&names, -30..days).unwrap());
        stagedoor.reload.notify_one();
        let shown = certificate(&stagedoor, state, |shown| shown["state"] == state).await;
        let left = shown["left_seconds"].as_i64().unwrap();
        assert!(((days - 1) * DAY..=days * DAY).contains(&left), "{shown}");
    }
}

#[tokio::test]
async fn a_certificate_says_why_another_one_is_refused() {
    let mounted = Mounted::new();
    let issue = |days| mounted.authority.issue_for(&[SERVER], days).unwrap();
    let (first, second, expired) = (issue(-1..30), issue(-1..40), issue(-9..-1));
    mounted.swap(&first);
    let stagedoor = secured(&mounted).await;
    let before = certificate(&stagedoor, "is there", |_| true).await;
    let other_key = Issued { key: second.key.clone(), ..first.clone() };
    for (pair, why) in
        [(other_key, "is not that of the first certificate"), (expired, "expired at")]
    {
        mounted.swap(&pair);
        stagedoor.reload.notify_one();
        let says = |shown: &Value| shown["last_error"].as_str().is_some_and(|e| e.contains(why));
        let shown = certificate(&stagedoor, why, says).await;
        assert_eq!(shown["current"], false);
        // The one before is in use, and that is a good one.
        for name in ["not_after", "since", "state"] {
            assert_eq!(shown[name], before[name], "{why}: {name}");
        }
    }
    mounted.swap(&second);
    stagedoor.reload.notify_one();
    let is_other =
        |shown: &Value| shown["current"] == true && shown["not_after"] != before["not_after"];
    let shown = certificate(&stagedoor, "the other one", is_other).await;
    assert_eq!(shown["last_error"], Value::Null);
    assert!(shown["left_seconds"].as_i64().unwrap() > 39 * DAY - 60, "{shown}");
}

#[tokio::test]
async fn a_certificate_that_is_over_is_said_to_be() {
    let mounted = Mounted::new();
    let stagedoor = secured(&mounted).await;
    let before = certificate(&stagedoor, "is there", |_| true).await;
    // It has to be read before it is over: a busy machine gets another one.
    for seconds in [3, 20, 60] {
        let (begun, lasts) = (Instant::now(), Duration::from_secs(seconds));
        mounted.swap(&mounted.authority.issue_lasting(&[SERVER], lasts).unwrap());
        stagedoor.reload.notify_one();
        let is_other = |shown: &Value| shown["not_after"] != before["not_after"];
        let is_settled = |shown: &Value| is_other(shown) || begun.elapsed() > lasts;
        if is_other(&certificate(&stagedoor, "is read", is_settled).await) {
            break;
        }
    }
    let is_over = |shown: &Value| shown["state"] == "expired";
    let shown = certificate(&stagedoor, "is over", is_over).await;
    assert!(shown["left_seconds"].as_i64().unwrap() < 0, "{shown}");
    assert_ne!(shown["not_after"], before["not_after"]);
    // It is shown on.
    let pair = mounted.authority.issue(&[ENVOY]).unwrap();
    let BoundAddress::Tcp(grpc) = stagedoor.address else { panic!("not TCP") };
    let client = Client::new(&mounted.authority, Some(&pair));
    assert!(client.connect(grpc).await.is_err(), "the client sees that it is over");
    let failed = |shown: &Value| shown["handshake_failures"] == 1;
    certificate(&stagedoor, "a handshake failed", failed).await;
}

/// Each listener has its own, and the admin port tells of all over its own TLS.
#[tokio::test]
async fn each_listener_has_its_certificate() {
    let mounted = Mounted::new();
    let authority = Arc::new(Authority::new("Contoso").unwrap());
    let admins = Mounted::of(authority, &[SERVER, "admin.example.com"]);
    let options = Options {
        listen: format!(
            ", http: [\"127.0.0.1:0\"], tls: {}, admin_tls: {}",
            mounted.mutual_yaml(&[ENVOY]),
            admins.yaml("")
        ),
        more: "http_authorization: { dialect: traefik }\n".to_owned(),
        wait: false,
        ..Options::default()
    };
    let stagedoor = Stagedoor::start(options).await.unwrap();
    let client = Client::http1(&admins.authority, None);
    let mut stream = client.connect(stagedoor.admin).await.unwrap();
    let request = "GET /status HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // How the connection ends doesn't matter.
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8(answer).unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let status: Value = serde_json::from_str(body).unwrap();
    let file = |mounted: &Mounted| json!(mounted.path("tls.crt").display().to_string());
    let shown = status["certificates"].as_array().unwrap();
    let shown: Vec<_> =
        shown.iter().map(|one| (&one["shown_by"], &one["file"], &one["names"])).collect();
    let (grpc, http, admin) = (json!("grpc"), json!("http"), json!("admin"));
    let (ours, theirs) = (file(&mounted), file(&admins));
    let (ours_names, theirs_names) = (json!([SERVER]), json!([SERVER, "admin.example.com"]));
    assert_eq!(
        shown,
        [
            (&grpc, &ours, &ours_names),
            (&http, &ours, &ours_names),
            (&admin, &theirs, &theirs_names)
        ]
    );
}

/// The one that Microsoft Graph is asked with is read when it is needed.
#[tokio::test]
async fn the_certificate_for_graph() {
    let tenant = Tenant::start(TenantOptions::default()).await.unwrap();
    let pair = Certificate::generate("stagedoor").unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "nothing of the kind").unwrap();
    tenant.applications().certificate(APP, pair.der());
    let callers = [caller(1), caller(2)];
    for oid in &callers {
        tenant.directory().user(oid, &[OWNERS]);
    }
    let options = Options {
        entra: format!(
            "  overage: graph\n  graph: {{ client_id: {APP}, certificate_file: {}, wait: 8s, \
             failure_ttl: 1s }}\n",
            file.path().display()
        ),
        tenant: format!("      graph_url: {}\n", tenant.graph_url()),
        ..Options::default()
    };
    let stagedoor = Stagedoor::start_with(tenant, options).await.unwrap();
    let shown = certificate(&stagedoor, "is there", |_| true).await;
    assert_eq!((&shown["shown_by"], &shown["state"]), (&json!("graph"), &json!("unread")));
    assert_eq!(shown["file"], file.path().display().to_string());
    assert_eq!((&shown["not_after"], &shown["age_seconds"]), (&Value::Null, &Value::Null));
    assert_eq!((&shown["current"], &shown["handshake_failures"]), (&json!(true), &Value::Null));
    let graph = async || {
        let (_, text) = stagedoor.get("/status").await.unwrap();
        serde_json::from_str::<Value>(&text).unwrap()["graph"].take()
    };
    let nothing = graph().await;
    assert_eq!((&nothing["state"], &nothing["last_error"]), (&json!("fresh"), &Value::Null));
    assert_eq!((&nothing["lookups"], &nothing["failures"]), (&json!(0), &json!(0)));

    let token = |oid: &str| stagedoor.tenant.token().audience(AUDIENCE).oid(oid).overage().sign();
    decide(&stagedoor, &token(&callers[0]), HOST, "/v1").await;
    let is_refused = |shown: &Value| shown["current"] == false;
    let shown = certificate(&stagedoor, "is refused", is_refused).await;
    let error = shown["last_error"].as_str().unwrap();
    assert!(error.contains("it holds no certificate"), "{error}");
    let failing = graph().await;
    assert_eq!(failing["state"], "failing");
    assert!(failing["last_error"].as_str().unwrap().contains("it holds no certificate"));
    assert!(failing["failures"].as_u64().unwrap() >= 1, "{failing}");
    assert_eq!((&shown["state"], &shown["age_seconds"]), (&json!("unread"), &Value::Null));

    std::fs::write(file.path(), format!("{}{}", pair.cert_pem(), pair.key_pem())).unwrap();
    // After a refusal nobody asks again for a few seconds.
    let begun = Instant::now();
    let shown = loop {
        decide(&stagedoor, &token(&callers[1]), HOST, "/v1").await;
        let shown = certificate(&stagedoor, "is there", |_| true).await;
        if shown["current"] == true {
            break shown;
        }
        assert!(begun.elapsed() < Duration::from_secs(90), "{shown:#}");
        sleep(Duration::from_millis(100)).await;
    };
    assert_eq!((&shown["state"], &shown["last_error"]), (&json!("good"), &Value::Null));
    assert_eq!(shown["subject"], "CN=stagedoor");
    assert!(shown["age_seconds"].as_u64().unwrap() < 60, "{shown}");
    let well = graph().await;
    assert_eq!((&well["state"], &well["last_error"]), (&json!("fresh"), &Value::Null));
}

fn caller(number: usize) -> String {
    format!("bbbbbbbb-0000-0000-0000-{number:012}")
}

/// What is exported, by its name.
fn export<'a>(status: &'a Value, what: &str) -> &'a Value {
    status["exports"].as_array().unwrap().iter().find(|one| one["what"] == what).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn collectors_and_what_became_of_exports() {
    for protocol in [Protocol::Grpc, Protocol::Http] {
        let collector = Collector::start(protocol).await;
        let options = Options {
            // Where nobody is.
            audit: ", otlp: \"http://127.0.0.1:9\"".to_owned(),
            more: format!("telemetry: {{ {}, metrics_every: 1s }}\n", collector.settings()),
            ..Options::default()
        };
        let stagedoor = Stagedoor::start(options).await.unwrap();
        let token = stagedoor.tenant.token().audience(AUDIENCE).groups(&[OWNERS]).sign();
        let first = status(&stagedoor).await;
        let spans = export(&first, "spans");
        assert_eq!(spans["endpoint"], format!("http://{}/", collector.address));
        assert_eq!(spans["protocol"], protocol.name());
        assert_eq!((&spans["state"], &spans["age_seconds"]), (&json!("idle"), &Value::Null));
        assert_eq!((&spans["queued"], &spans["sent"]), (&json!(0), &json!(0)));
        let records = export(&first, "audit_records");
        assert_eq!(records["endpoint"], "http://127.0.0.1:9/");
        assert_eq!(records["protocol"], "grpc");

        decide(&stagedoor, &token, HOST, "/v1").await;
        let all_are = |status: &Value, state: &str| {
            ["spans", "metrics"].iter().all(|what| export(status, what)["state"] == state)
        };
        let taken = once(&stagedoor, "both are taken", |status| all_are(status, "fresh")).await;
        let spans = export(&taken, "spans");
        assert_eq!((&spans["sent"], &spans["failed"]), (&json!(1), &json!(0)));
        assert!(spans["age_seconds"].as_u64().unwrap() < 60, "{spans}");
        let metrics = export(&taken, "metrics");
        assert!(metrics["sent"].as_u64().unwrap() >= 1, "{metrics}");
        assert_eq!((&metrics["queued"], &metrics["dropped"]), (&Value::Null, &Value::Null));

        collector.set(Mood::Refuses);
        decide(&stagedoor, &token, HOST, "/v1").await;
        let refused =
            once(&stagedoor, "neither is taken", |status| all_are(status, "failing")).await;
        for what in ["spans", "metrics"] {
            let one = export(&refused, what);
            assert!(!one["last_error"].as_str().unwrap().is_empty(), "{one}");
            assert!(one["failed"].as_u64().unwrap() >= 1, "{one}");
            assert!(one["age_seconds"].is_u64(), "what was taken before was: {one}");
        }
        assert_eq!(export(&refused, "spans")["sent"], 1);

        collector.set(Mood::Takes);
        decide(&stagedoor, &token, HOST, "/v1").await;
        let again = once(&stagedoor, "both again", |status| all_are(status, "fresh")).await;
        assert_eq!(export(&again, "spans")["last_error"], Value::Null);

        // That nobody is there for records is no matter of the other two.
        let lost = once(&stagedoor, "records are lost", |status| {
            export(status, "audit_records")["state"] == "failing"
        })
        .await;
        let records = export(&lost, "audit_records");
        assert_eq!((&records["sent"], &records["age_seconds"]), (&json!(0), &Value::Null));
        assert!(records["failed"].as_u64().unwrap() >= 1, "{records}");
        assert!(!records["last_error"].as_str().unwrap().is_empty(), "{records}");
    }
}

/// Two may wait at a time, and two more for their turn.
#[tokio::test]
async fn checks_that_wait_and_those_that_are_turned_away() {
    let tenant = Tenant::start(TenantOptions::default()).await.unwrap();
    tenant.applications().secret(APP, "the secret");
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), "the secret").unwrap();
    let options = Options {
        entra: format!(
            "  overage: graph\n  graph: {{ client_id: {APP}, secret_file: {}, wait: 9s }}\n",
            secret.path().display()
        ),
        tenant: format!("      graph_url: {}\n", tenant.graph_url()),
        more: "check: { max_concurrent: 2, queue_timeout: 10s, deadline: 10s }\n\
               limits: { max_connections: 7 }\n"
            .to_owned(),
        ..Options::default()
    };
    let stagedoor = Stagedoor::start_with(tenant, options).await.unwrap();
    stagedoor.tenant.faults().set(Endpoint::Graph, Fault::Hang);
    let idle = status(&stagedoor).await;
    assert_eq!(
        idle["checks"],
        json!({
            "in_flight": 0, "queued": 0, "receiving": 0, "max_concurrent": 2,
            "queue_timeout_seconds": 10.0,
            "shed": { "concurrency": 0, "message": 0, "new_token": 0 },
        })
    );
    assert_eq!(
        (&idle["connections"]["max"], &idle["tokens"]["max_waiting"]),
        (&json!(7), &json!(1))
    );

    // Known callers, whose groups are not: what they wait for is Graph alone.
    let tokens: Vec<_> = (0..5)
        .map(|number| {
            stagedoor.tenant.token().audience(AUDIENCE).oid(&caller(number)).overage().sign()
        })
        .collect();
    for token in &tokens {
        decide(&stagedoor, token, HOST, "/whoami").await;
    }
    let mut waiting = Vec::new();
    for (token, in_flight, queued) in
        [(&tokens[0], 1_u64, 0_u64), (&tokens[1], 2, 0), (&tokens[2], 3, 1), (&tokens[3], 4, 2)]
    {
        let (check, message) = (stagedoor.check.clone(), message(token, HOST, "/v1"));
        waiting.push(tokio::spawn(async move { check.answer(&message).await.map(drop) }));
        once(&stagedoor, "waits", |status| {
            status["checks"]["in_flight"] == in_flight && status["checks"]["queued"] == queued
        })
        .await;
    }
    decide(&stagedoor, &tokens[4], HOST, "/v1").await;
    let full = status(&stagedoor).await;
    assert_eq!(full["checks"]["shed"], json!({ "concurrency": 1, "message": 0, "new_token": 0 }));
    assert_eq!(full["checks"]["in_flight"], 4);
    assert_eq!(full["decisions"]["deny"]["overloaded"], 1);
    // Whoever goes away waits no more, and what was turned away was.
    waiting.iter().for_each(tokio::task::JoinHandle::abort);
    let gone = once(&stagedoor, "nobody waits", |status| status["checks"]["in_flight"] == 0).await;
    assert_eq!(
        (&gone["checks"]["queued"], &gone["checks"]["shed"]["concurrency"]),
        (&json!(0), &json!(1))
    );
}

#[tokio::test]
async fn what_the_process_takes() {
    let stagedoor = Stagedoor::start(Options::default()).await.unwrap();
    let process = status(&stagedoor).await["process"].clone();
    let number = |name: &str| process[name].as_f64().unwrap_or_else(|| panic!("{name}: {process}"));
    assert!((1_048_576.0..1e12).contains(&number("resident_bytes")), "{process}");
    assert!((3.0..=number("max_descriptors")).contains(&number("open_descriptors")), "{process}");
    assert!((0.0..1e6).contains(&number("cpu_seconds")), "{process}");
}
