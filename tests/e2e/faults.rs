//! Through a real Envoy, with things going wrong: nobody gets in who shouldn't, and
//! those with everything cached go on.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::envoy::{Envoy, EnvoyConfig, RawConnection, RawResponse};
use crate::support::files::replace;
use crate::support::process::Process;
use crate::support::stack::{AUDIENCE, CATALOG, OTHERS, OWNERS, Options, Stack, Stagedoor, reason};
use devtenant::backstage::{Backstage, BackstageOptions};
use devtenant::keys::SigningKey;
use devtenant::service::Echo;
use devtenant::tenant::{Endpoint, Fault, Tenant, TenantOptions};
use stagedoor::authorizer::Decide;
use stagedoor::clock::Now;
use stagedoor::domain::{Action, Decision, Denial, Gate, Permit, Request, Target};
use stagedoor::ext_authz::{
    Answer, AnswerSettings, CallLimits, CheckService, CheckSettings, Decided, Dialect,
    Endpoint as GrpcEndpoint, HttpEndpoint, IdentityHeaders, OnGuarded, Record,
};
use stagedoor::serve::{BoundAddress, ListenAddress, ServeSettings, ServeStats, Server};
use stagedoor::shutdown::{Shutdown, ShutdownHandle};

/// Of Envoy's check: longer than Stagedoor's own deadline, on a machine that is busy.
const CHECK_TIMEOUT: Duration = Duration::from_secs(15);

/// An Envoy that asks this process.
async fn envoy(process: &Process, upstream: &Echo) -> Envoy {
    let config = match process.address().await {
        BoundAddress::Tcp(address) => EnvoyConfig::tcp(address, upstream.address()),
        BoundAddress::Unix(path) => EnvoyConfig::unix(path, upstream.address()),
    };
    Envoy::start(config.check_timeout(CHECK_TIMEOUT)).await.unwrap()
}

/// A GET of the payments service with this token.
fn get(token: &str) -> Vec<u8> {
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str())];
    crate::support::stack::request("GET", "payments.example.com", "/v1/orders", &headers)
}

/// `kill -9` of Stagedoor while Envoy runs: refused, never through.
#[tokio::test]
async fn a_killed_stagedoor_lets_nobody_in() {
    for unix in [false, true] {
        let mut process = Process::start(Options { unix, ..Options::default() }).await;
        let upstream = Echo::start().await.unwrap();
        let envoy = envoy(&process, &upstream).await;
        let request = get(&process.tenant.token().audience(AUDIENCE).groups(&[OWNERS]).sign());
        assert_eq!(envoy.raw_http(&request).await.unwrap().status, 200, "unix {unix}");

        process.child.kill().await.unwrap();
        let before = upstream.count();
        for _ in 0..20 {
            let answer = envoy.raw_http(&request).await.unwrap();
            assert!(matches!(answer.status, 403 | 503), "unix {unix}: {answer:?}");
        }
        assert_eq!(upstream.count(), before);
    }
}

/// SIGHUP reads the catalog again, long before its time, and opens the audit file anew.
#[tokio::test]
async fn a_hangup_reads_again() {
    let catalog = "catalog: { folder: catalog, refresh_every: 1h, guard: { max_loss_percent: 100, max_reassigned_percent: 100 } }\n".to_owned();
    let process = Process::start(Options { catalog: Some(catalog), ..Options::default() }).await;
    let upstream = Echo::start().await.unwrap();
    let envoy = envoy(&process, &upstream).await;
    let token =
        |group: &str| get(&process.tenant.token().audience(AUDIENCE).groups(&[group]).sign());
    let (owner, other) = (token(OWNERS), token(OTHERS));
    assert_eq!(envoy.raw_http(&owner).await.unwrap().status, 200);
    assert_eq!(envoy.raw_http(&other).await.unwrap().status, 403);
    let is_in = async |file: &Path, text: &str| {
        while !std::fs::read_to_string(file).is_ok_and(|all| all.contains(text)) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };

    let changed = CATALOG.replace("owner: payments-team", "owner: orders-team");
    replace(process.folder.path().join("catalog/catalog-info.yaml"), changed);
    let (audit, rotated) =
        (process.folder.path().join("audit.jsonl"), process.folder.path().join("audit.jsonl.1"));
    // What is written after it begins anew is in the other file, whenever it was decided.
    is_in(&audit, "\"not_permitted\"").await;
    std::fs::rename(&audit, &rotated).unwrap();
    process.signal("HUP");
    while envoy.raw_http(&other).await.unwrap().status != 200 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(envoy.raw_http(&owner).await.unwrap().status, 403);
    is_in(&audit, "\"allow\"").await;
    let before = std::fs::read_to_string(&rotated).unwrap();
    assert!(before.lines().count() >= 2, "what was written before the rename stays there");
}

/// Keys change while requests run: the new one works at once, nothing valid fails,
/// and a removed key's tokens stop, cached or not.
#[tokio::test]
async fn keys_rotate_under_load() {
    let options = Options {
        entra: "  keys: { min_refresh_interval: 1s, unknown_key_wait: 8s }\n".to_owned(),
        ..Options::default()
    };
    let stack = Arc::new(Stack::start(options).await.unwrap());
    let token = |stack: &Stack, key: &SigningKey| {
        stack.stagedoor.tenant.token().audience(AUDIENCE).groups(&[OWNERS]).sign_with(key)
    };
    let old_key = stack.stagedoor.tenant.signing_key();
    let old = token(&stack, &old_key);
    assert_eq!(stack.get(&old).await.unwrap().status, 200);

    // Tokens that were never seen before, of every key that is published at the time.
    let new_key = SigningKey::test(1);
    let published = Arc::new(Mutex::new(vec![old_key.clone()]));
    let stop = Arc::new(AtomicBool::new(false));
    let asked = Arc::new(AtomicUsize::new(0));
    let load = tokio::spawn({
        let (stack, stop, asked) = (Arc::clone(&stack), Arc::clone(&stop), Arc::clone(&asked));
        let published = Arc::clone(&published);
        async move {
            while !stop.load(Ordering::Relaxed) {
                let keys = published.lock().unwrap().clone();
                for key in keys {
                    let answer = stack.get(&token(&stack, &key)).await.unwrap();
                    assert_eq!(answer.status, 200, "{}: {answer:?}", key.kid());
                    asked.fetch_add(1, Ordering::Relaxed);
                }
                // And none invalid passes: of a key that nobody published, by a known id.
                let good = stack.stagedoor.tenant.token().audience(AUDIENCE).groups(&[OWNERS]);
                let forged = stack.get(&good.forged_with(&SigningKey::test(3))).await.unwrap();
                assert_eq!(forged.status, 401, "{forged:?}");
            }
        }
    });
    let more = async |count: usize| {
        let until = asked.load(Ordering::Relaxed) + count;
        while asked.load(Ordering::Relaxed) < until {
            assert!(!load.is_finished(), "a valid request failed");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    more(10).await;
    stack.stagedoor.tenant.publish_key(&new_key);
    published.lock().unwrap().push(new_key.clone());
    let new = token(&stack, &new_key);
    for answer in futures_util::future::join_all((0..20).map(|_| stack.get(&new))).await {
        let answer = answer.unwrap();
        assert_eq!(answer.status, 200, "the new key works at once: {answer:?}");
    }
    more(20).await;

    // Withdrawn: gone with the next fetch, for the cached token as well. A made-up key
    // id makes for that fetch. Meanwhile the other key's tokens pass on.
    published.lock().unwrap().retain(|key| key.kid() != old_key.kid());
    more(2).await;
    let unknown = token(&stack, &SigningKey::test(2));
    stack.stagedoor.tenant.withdraw_key(old_key.kid());
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    loop {
        let made_up = stack.get(&unknown).await.unwrap();
        assert_eq!(reason(&made_up).unwrap(), "token_key_unknown");
        let answer = stack.get(&old).await.unwrap();
        if answer.status == 401 {
            assert_eq!(reason(&answer).unwrap(), "token_key_unknown");
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "the removed key still works");
    }
    let fresh = stack.get(&token(&stack, &old_key)).await.unwrap();
    assert_eq!(reason(&fresh).unwrap(), "token_key_unknown", "cached or not");
    more(10).await;
    stop.store(true, Ordering::Relaxed);
    load.await.unwrap();
}

/// The tenant is down, first at start, then later.
#[tokio::test]
async fn without_keys_nobody_is_known() {
    let tenant = Tenant::start(TenantOptions::default()).await.unwrap();
    tenant.faults().set(Endpoint::Keys, Fault::Status(500));
    let options = Options { wait: false, ..Options::default() };
    let stagedoor = Stagedoor::start_with(tenant, options).await.unwrap();
    let upstream = Echo::start().await.unwrap();
    let envoy = Envoy::start(stagedoor.envoy(upstream.address())).await.unwrap();
    let stack = Stack { stagedoor, upstream, envoy };
    let token = stack.stagedoor.tenant.token().audience(AUDIENCE).groups(&[OWNERS]).sign();

    let (status, body) = stack.stagedoor.get("/ready").await.unwrap();
    assert_eq!(status, 503);
    assert!(body.contains("keys of"), "{body}");
    let answer = stack.get(&token).await.unwrap();
    assert_eq!((answer.status, reason(&answer).unwrap().as_str()), (503, "keys_unavailable"));

    stack.stagedoor.tenant.faults().clear();
    stack.stagedoor.await_ready().await.unwrap();
    assert_eq!(stack.get(&token).await.unwrap().status, 200, "it recovers by itself");

    // Down again: what is known stays known, for tokens never seen before too.
    for fault in [Fault::Status(500), Fault::Garbage, Fault::EmptyKeys, Fault::Hang] {
        stack.stagedoor.tenant.faults().set(Endpoint::Keys, fault);
        let token = stack.stagedoor.tenant.token().audience(AUDIENCE).groups(&[OWNERS]).sign();
        assert_eq!(stack.get(&token).await.unwrap().status, 200);
        let unknown = stack
            .stagedoor
            .tenant
            .token()
            .audience(AUDIENCE)
            .groups(&[OWNERS])
            .sign_with(&SigningKey::test(2));
        let answer = stack.get(&unknown).await.unwrap();
        assert_eq!((answer.status, reason(&answer).unwrap().as_str()), (401, "token_key_unknown"));
    }
}

/// Backstage is down at start, comes up, changes an owner, answers nothing, and goes
/// down.
#[tokio::test]
async fn ownership_follows_backstage() {
    let group = |name: &str, id: &str| devtenant::backstage::group(name, Some(id), None);
    let entities = |owner: &str| {
        vec![
            group("payments-team", OWNERS),
            group("orders-team", OTHERS),
            devtenant::backstage::component("payments", owner),
        ]
    };
    let backstage = Backstage::start(BackstageOptions {
        token: Some("catalog-token-0123456789".to_owned()),
        entities: entities("payments-team"),
        ..BackstageOptions::default()
    })
    .await
    .unwrap();
    backstage.set_fault(Some(devtenant::backstage::Fault::Status(503)));
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), "catalog-token-0123456789\n").unwrap();
    let catalog = format!(
        "catalog:\n  backstage: {{ url: \"{}\", token_file: {} }}\n  refresh_every: 1s\n  guard: {{ max_loss_percent: 100, max_reassigned_percent: 100 }}\n",
        backstage.url(),
        secret.path().display()
    );
    let options = Options { catalog: Some(catalog), wait: false, ..Options::default() };
    let stagedoor = Stagedoor::start(options).await.unwrap();
    let upstream = Echo::start().await.unwrap();
    let envoy = Envoy::start(stagedoor.envoy(upstream.address())).await.unwrap();
    let stack = Stack { stagedoor, upstream, envoy };
    let token =
        |group: &str| stack.stagedoor.tenant.token().audience(AUDIENCE).groups(&[group]).sign();
    let (owner, other) = (token(OWNERS), token(OTHERS));

    let (status, body) = stack.stagedoor.get("/ready").await.unwrap();
    assert_eq!(status, 503);
    assert!(body.contains("catalog"), "{body}");
    // The keys may still be on their way; then it is the catalog that is missing.
    let answer = loop {
        let answer = stack.get(&owner).await.unwrap();
        assert_eq!(answer.status, 503, "{answer:?}");
        if reason(&answer).unwrap() != "keys_unavailable" {
            break answer;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert_eq!(reason(&answer).unwrap(), "catalog_unavailable");

    backstage.set_fault(None);
    stack.stagedoor.await_ready().await.unwrap();
    let version = stack.stagedoor.await_other_snapshot(None).await.unwrap();
    assert_eq!(stack.get(&owner).await.unwrap().status, 200);
    assert_eq!(stack.get(&other).await.unwrap().status, 403);

    backstage.set_entities(entities("orders-team"));
    stack.stagedoor.await_other_snapshot(Some(&version)).await.unwrap();
    assert_eq!(stack.get(&owner).await.unwrap().status, 403, "the old owner is out");
    assert_eq!(stack.get(&other).await.unwrap().status, 200, "the new one is in");

    for fault in [
        devtenant::backstage::Fault::Empty,
        devtenant::backstage::Fault::Truncated,
        devtenant::backstage::Fault::Status(500),
        devtenant::backstage::Fault::Status(404),
    ] {
        let before = backstage.requests();
        backstage.set_fault(Some(fault));
        // Until it was really asked again, twice.
        while backstage.requests() < before + 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(stack.get(&other).await.unwrap().status, 200, "it serves on");
        assert_eq!(stack.get(&owner).await.unwrap().status, 403, "and as before");
    }
}

/// A catalog that could not be read for too long decides nothing, and says so; what
/// asks for no ownership goes on.
#[tokio::test]
async fn an_old_snapshot_lets_nobody_in() {
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
    let catalog = format!(
        "catalog:\n  backstage: {{ url: \"{}\" }}\n  refresh_every: 1s\n  max_age: 10s\n  guard: {{ max_loss_percent: 100, max_reassigned_percent: 100 }}\n",
        backstage.url(),
    );
    let options = Options { catalog: Some(catalog), ..Options::default() };
    let stack = Stack::start(options).await.unwrap();
    let owner = stack.stagedoor.tenant.token().audience(AUDIENCE).groups(&[OWNERS]).sign();
    assert_eq!(stack.get(&owner).await.unwrap().status, 200);
    backstage.set_fault(Some(devtenant::backstage::Fault::Status(503)));
    let answer = loop {
        let answer = stack.get(&owner).await.unwrap();
        if answer.status != 200 {
            break answer;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert_eq!((answer.status, reason(&answer).unwrap().as_str()), (503, "catalog_expired"));
    // It is no better at another replica: this one goes on to be asked, and answers whoever
    // needs no catalog.
    let (status, body) = stack.stagedoor.get("/ready").await.unwrap();
    assert_eq!(status, 200);
    assert!(body.contains("expired"), "{body}");
    let bearer = format!("Bearer {owner}");
    let headers = [("authorization", bearer.as_str())];
    let answer = stack.ask("GET", "payments.example.com", "/whoami", &headers).await.unwrap();
    assert_eq!(answer.status, 200);
    // Back without a hand.
    backstage.set_fault(None);
    stack.stagedoor.await_ready().await.unwrap();
    assert_eq!(stack.get(&owner).await.unwrap().status, 200);
}

/// The folder's file changes: the next snapshot decides by it; a broken file
/// changes nothing.
#[tokio::test]
async fn ownership_follows_the_folder() {
    let stack = Stack::start(Options::default()).await.unwrap();
    let token =
        |group: &str| stack.stagedoor.tenant.token().audience(AUDIENCE).groups(&[group]).sign();
    let (owner, other) = (token(OWNERS), token(OTHERS));
    assert_eq!(stack.get(&owner).await.unwrap().status, 200);
    let version = stack.stagedoor.await_other_snapshot(None).await.unwrap();
    let file = stack.stagedoor.catalog_file();
    replace(&file, CATALOG.replace("owner: payments-team", "owner: orders-team"));
    stack.stagedoor.await_other_snapshot(Some(&version)).await.unwrap();
    assert_eq!(stack.get(&owner).await.unwrap().status, 403);
    assert_eq!(stack.get(&other).await.unwrap().status, 200);

    replace(&file, "kind: [");
    loop {
        let (_, status) = stack.stagedoor.get("/status").await.unwrap();
        let status: serde_json::Value = serde_json::from_str(&status).unwrap();
        if let Some(error) = status["catalog"]["last_error"]["message"].as_str() {
            assert!(error.contains("catalog-info.yaml"), "{error}");
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(stack.get(&other).await.unwrap().status, 200);
}

/// What goes wrong in a [`Broken`] decider.
#[derive(Clone, Copy, Debug)]
enum Defect {
    Panics,
    PanicsLater,
    /// For a request of this path only; others are let through.
    PanicsAt(&'static str),
    Hangs,
    /// It would be an allow, but no timer can end what doesn't yield.
    AllowsTooLate,
    /// The decision is an allow, but recording it panics.
    RecordPanics,
}

/// A decider with a defect, for faults that the real one can't be brought to show.
struct Broken(Defect);

impl Decide for Broken {
    async fn decide(&self, request: &Request<'_>, _now: Now) -> Decision {
        match self.0 {
            Defect::Panics => panic!("a defect"),
            Defect::PanicsAt(path) => {
                assert_ne!(request.path, path, "a defect");
                allow()
            }
            Defect::PanicsLater => {
                tokio::time::sleep(Duration::from_millis(1)).await;
                panic!("a later defect")
            }
            Defect::Hangs => std::future::pending().await,
            Defect::AllowsTooLate => {
                std::thread::sleep(Duration::from_millis(150));
                allow()
            }
            Defect::RecordPanics => allow(),
        }
    }

    fn deny(&self, denial: Denial) -> Decision {
        Decision {
            id: stagedoor::domain::DecisionId::new(),
            verdict: stagedoor::domain::Verdict::Deny(denial),
            principal: stagedoor::domain::Principal::Anonymous,
            target: None,
            owners: smallvec::SmallVec::new(),
            versions: stagedoor::domain::Versions::default(),
            notes: stagedoor::domain::Notes::default(),
        }
    }
}

fn allow() -> Decision {
    let target = Target {
        resource: None,
        action: Action::Read,
        gate: Gate::Public,
        route: "open".into(),
        demands: None,
    };
    Decision {
        id: stagedoor::domain::DecisionId::new(),
        verdict: stagedoor::domain::Verdict::Allow(Permit::by_public_gate(&target).unwrap()),
        principal: stagedoor::domain::Principal::Anonymous,
        target: Some(target),
        owners: smallvec::SmallVec::new(),
        versions: stagedoor::domain::Versions::default(),
        notes: stagedoor::domain::Notes::default(),
    }
}

/// What is recorded of decisions, and of what was none.
#[derive(Clone)]
struct Sink {
    defect: Defect,
    told: Arc<Mutex<Vec<&'static str>>>,
}

impl Sink {
    fn tell(&self, code: &'static str) {
        self.told.lock().unwrap().push(code);
    }
}

impl Record for Sink {
    fn decided(&self, decided: Decided<'_>) {
        assert!(!matches!(self.defect, Defect::RecordPanics), "a defect of the record");
        self.tell(decided.decision.code());
    }
}

impl OnGuarded for Sink {
    fn guarded(&self, reason: stagedoor::domain::Reason, _cause: &str) {
        self.tell(reason.code());
    }
}

/// A broken decider behind the real service and listeners.
struct Served {
    grpc: std::net::SocketAddr,
    http: std::net::SocketAddr,
    stats: Arc<ServeStats>,
    told: Arc<Mutex<Vec<&'static str>>>,
    /// It goes on as long as somebody could end it.
    _handle: ShutdownHandle,
}

/// Serves it over gRPC, and over HTTP in this dialect.
async fn broken(defect: Defect, dialect: Dialect) -> Served {
    let headers = IdentityHeaders {
        subject: "x-stagedoor-subject".to_owned(),
        tenant: "x-stagedoor-tenant".to_owned(),
        kind: "x-stagedoor-kind".to_owned(),
        entity: "x-stagedoor-entity".to_owned(),
        decision_id: "x-stagedoor-decision-id".to_owned(),
    };
    let answer = Answer::new(AnswerSettings::new(headers), None);
    // Nobody who is let through is to be late, on a machine that is busy.
    let in_time = matches!(defect, Defect::PanicsAt(_));
    let settings = CheckSettings {
        justification_header: "x-stagedoor-justification".to_owned(),
        max_concurrent: 100,
        queue_timeout: Duration::from_millis(10),
        deadline: Duration::from_millis(if in_time { 10_000 } else { 100 }),
    };
    let sink = Sink { defect, told: Arc::default() };
    let check = CheckService::new(Broken(defect), answer, settings, Box::new(sink.clone()));
    let others = tonic::service::Routes::default().prepare();
    // Whatever is late here is the decision, and not the message.
    let limits = CallLimits { deadline: Duration::from_secs(10), max_message_bytes: 64 * 1024 };
    let anywhere = ListenAddress::Tcp("127.0.0.1:0".parse().unwrap());
    let settings = ServeSettings { http_listeners: vec![anywhere], ..serve_settings() };
    let server = Server::bind(settings).await.unwrap();
    let BoundAddress::Tcp(grpc) = server.addresses()[0].clone() else { panic!("tcp") };
    let BoundAddress::Tcp(http) = server.http_addresses()[0].clone() else { panic!("tcp") };
    let (stats, told) = (server.stats(), Arc::clone(&sink.told));
    let over_http = HttpEndpoint::new(check.clone(), Arc::new(sink.clone()), dialect);
    let server = server.with_http(Arc::new(over_http));
    let (handle, shutdown) = Shutdown::new();
    let service = GrpcEndpoint::new(check, Arc::new(sink), limits, others);
    tokio::spawn(async move { server.run(service, shutdown).await });
    Served { grpc, http, stats, told, _handle: handle }
}

/// As shipped, but for a drain of a second.
pub(crate) fn serve_settings() -> ServeSettings {
    ServeSettings {
        listeners: vec![ListenAddress::Tcp("127.0.0.1:0".parse().unwrap())],
        http_listeners: Vec::new(),
        workers: 0,
        max_connections: 100,
        max_concurrent_streams: 100,
        max_message_bytes: 64 * 1024,
        max_header_list_bytes: 64 * 1024,
        preface_timeout: Duration::from_secs(3),
        keepalive_interval: Duration::from_secs(20),
        keepalive_timeout: Duration::from_secs(10),
        max_connection_age: Duration::from_secs(1800),
        pre_stop: Duration::ZERO,
        drain_timeout: Duration::from_secs(1),
    }
}

/// An Envoy whose operator set `failure_mode_allow: true` lets gRPC errors through;
/// no denial is one.
#[tokio::test]
async fn no_defect_is_an_open_door() {
    for defect in [
        Defect::Panics,
        Defect::PanicsLater,
        Defect::Hangs,
        Defect::AllowsTooLate,
        Defect::RecordPanics,
    ] {
        let served = broken(defect, Dialect::Traefik).await;
        let upstream = Echo::start().await.unwrap();
        let config = EnvoyConfig::tcp(served.grpc, upstream.address())
            .failure_mode_allow()
            .check_timeout(CHECK_TIMEOUT);
        let envoy = Envoy::start(config).await.unwrap();
        for _ in 0..20 {
            let request = crate::support::stack::request("GET", "payments.example.com", "/", &[]);
            let answer = envoy.raw_http(request).await.unwrap();
            let want = match defect {
                Defect::Hangs | Defect::AllowsTooLate => "timeout",
                _ => "internal",
            };
            assert_eq!(
                (answer.status, reason(&answer).unwrap().as_str()),
                (503, want),
                "{defect:?}"
            );
        }
        assert_eq!(upstream.count(), 0, "{defect:?}");
        assert_eq!(envoy.stats("http.front.ext_authz.failure_mode_allowed").await.unwrap(), 0);
    }
}

/// Over HTTP none of the 500s is an answer to Envoy: it says 429, and why in its body.
#[tokio::test]
async fn no_defect_over_http_is_an_open_door() {
    for (defect, code) in [
        (Defect::PanicsLater, "internal"),
        (Defect::RecordPanics, "internal"),
        (Defect::AllowsTooLate, "timeout"),
    ] {
        let dialect = Dialect::Envoy { path_prefix: "/authorize".to_owned() };
        let served = broken(defect, dialect).await;
        let upstream = Echo::start().await.unwrap();
        let config = EnvoyConfig::http(served.http, upstream.address())
            .failure_mode_allow()
            .check_timeout(CHECK_TIMEOUT);
        let envoy = Envoy::start(config).await.unwrap();
        for _ in 0..20 {
            let request = crate::support::stack::request("GET", "payments.example.com", "/", &[]);
            let answer = envoy.raw_http(request).await.unwrap();
            assert_eq!(
                (answer.status, reason(&answer).unwrap().as_str()),
                (429, code),
                "{defect:?}"
            );
            assert_eq!(answer.json()["status"], 503, "{defect:?}");
        }
        assert_eq!(upstream.count(), 0, "{defect:?}");
        assert_eq!(envoy.stats("http.front.ext_authz.failure_mode_allowed").await.unwrap(), 0);
    }
}

/// A question over HTTP, as a proxy of the dialect puts it.
fn question(dialect: &Dialect, path: &str) -> String {
    match dialect {
        Dialect::Nginx => format!(
            "GET /check HTTP/1.1\r\nhost: stagedoor\r\nx-original-method: GET\r\n\
             x-original-host: a.example.com\r\nx-original-uri: {path}\r\n\r\n"
        ),
        Dialect::Traefik => format!(
            "GET / HTTP/1.1\r\nhost: stagedoor\r\nx-forwarded-method: GET\r\n\
             x-forwarded-host: a.example.com\r\nx-forwarded-uri: {path}\r\n\r\n"
        ),
        Dialect::Envoy { path_prefix } => {
            format!("GET {path_prefix}{path} HTTP/1.1\r\nhost: a.example.com\r\n\r\n")
        }
    }
}

/// Who meets a defect is denied with 503, as far as the proxy can be told so, and it is
/// recorded; the next question on the very same connection is answered as if nothing had been.
#[tokio::test]
async fn a_panic_over_http_ends_one_request() {
    let envoy = Dialect::Envoy { path_prefix: "/authorize".to_owned() };
    for (dialect, status) in [(Dialect::Traefik, 503), (Dialect::Nginx, 403), (envoy, 429)] {
        let served = broken(Defect::PanicsAt("/panic"), dialect.clone()).await;
        let mut connection = RawConnection::default();
        let mut ask = async |request: String| {
            let answer = connection.exchange(served.http, request).await.unwrap();
            assert_eq!(answer.header("connection"), None, "{answer:?}");
            answer
        };
        assert_eq!(ask(question(&dialect, "/")).await.status, 200, "{dialect:?}");
        let answer = ask(question(&dialect, "/panic")).await;
        assert_eq!(answer.status, status, "{dialect:?}");
        let told = if dialect == Dialect::Nginx {
            let denial = answer.header("x-stagedoor-denial").expect("a denial");
            let back = format!(
                "GET /denial HTTP/1.1\r\nhost: stagedoor\r\nx-stagedoor-denial: {denial}\r\n\r\n"
            );
            let told = ask(back).await;
            assert_eq!(told.status, 503);
            told
        } else {
            answer
        };
        let problem = told.json();
        assert_eq!((&problem["status"], &problem["reason"]), (&503.into(), &"internal".into()));
        assert_eq!(ask(question(&dialect, "/")).await.status, 200, "{dialect:?}");
        let recorded = served.told.lock().unwrap().clone();
        assert_eq!(recorded, ["public_route", "internal", "public_route"], "{dialect:?}");
        // It was caught where a denial could be made of it, and not at the connection's end.
        assert_eq!((served.stats.accepted(), served.stats.panics()), (1, 0), "{dialect:?}");
    }
}

/// The same with the real thing: denied, shed and unreadable checks. Late ones are those of
/// [`no_defect_is_an_open_door`].
#[tokio::test]
async fn no_denial_is_an_open_door() {
    let options = Options {
        more: "check: { max_concurrent: 2, queue_timeout: 5ms, deadline: 5s }\n\
               limits: { max_message_bytes: 32KiB }\n"
            .to_owned(),
        // So long that as many as may wait are there together, however slowly they come.
        entra: "  keys: { min_refresh_interval: 1s, unknown_key_wait: 3s }\n".to_owned(),
        ..Options::default()
    };
    let stack = Stack::start_with(options, |envoy| {
        envoy.failure_mode_allow().check_timeout(Duration::from_secs(10))
    })
    .await
    .unwrap();
    let tenant = &stack.stagedoor.tenant;
    let denied = tenant.token().audience(AUDIENCE).groups(&[OTHERS]).sign();
    let check = |answer: &RawResponse, codes: &[&str]| {
        let reason = reason(answer).unwrap();
        assert!(codes.contains(&reason.as_str()), "{codes:?}: {answer:?}");
    };
    for _ in 0..500 {
        check(&stack.get(&denied).await.unwrap(), &["not_permitted"]);
        check(&stack.get("x").await.unwrap(), &["token_malformed"]);
    }
    // A message that is too large to be read.
    let large = "x".repeat(40 * 1024);
    check(&stack.get(&large).await.unwrap(), &["request_malformed"]);

    // Unknown keys while the tenant hangs: not found, and shed beyond two at a time.
    tenant.faults().set(Endpoint::Keys, Fault::Hang);
    let unknown =
        tenant.token().audience(AUDIENCE).groups(&[OWNERS]).sign_with(&SigningKey::test(2));
    let answers = futures_util::future::join_all((0..40).map(|_| stack.get(&unknown))).await;
    let mut codes = Vec::new();
    for answer in answers {
        let answer = answer.unwrap();
        check(&answer, &["overloaded", "token_key_unknown"]);
        codes.push(reason(&answer).unwrap());
    }
    assert!(codes.iter().any(|code| code == "overloaded"), "some were shed: {codes:?}");
    assert!(codes.iter().any(|code| code != "overloaded"), "some had a turn: {codes:?}");
    assert_eq!(stack.upstream.count(), 0);
    let allowed = stack.envoy.stats("http.front.ext_authz.failure_mode_allowed").await.unwrap();
    assert_eq!(allowed, 0);
    // And then it goes on.
    tenant.faults().clear();
    let owner = tenant.token().audience(AUDIENCE).groups(&[OWNERS]).sign();
    assert_eq!(stack.get(&owner).await.unwrap().status, 200);
}

/// A drain finishes what was begun, and ends.
#[tokio::test]
async fn a_drain_ends() {
    let options = Options {
        more: "limits: { pre_stop: 100ms, drain_timeout: 60s }\n".to_owned(),
        entra: "  keys: { unknown_key_wait: 5s }\n".to_owned(),
        ..Options::default()
    };
    let stack = Stack::start(options).await.unwrap();
    let tenant = &stack.stagedoor.tenant;
    tenant.faults().set(Endpoint::Keys, Fault::Hang);
    let unknown = tenant.token().audience(AUDIENCE).sign_with(&SigningKey::test(2));
    let begun = tokio::time::Instant::now();
    // It waits for a key while the drain begins.
    let (answer, ()) = tokio::join!(stack.get(&unknown), async {
        loop {
            let (_, status) = stack.stagedoor.get("/status").await.unwrap();
            let status: serde_json::Value = serde_json::from_str(&status).unwrap();
            if status["checks"]["in_flight"] == 1 {
                break;
            }
            assert!(begun.elapsed() < Duration::from_secs(30), "nobody waits: {status}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        stack.stagedoor.shutdown.drain();
    });
    assert_eq!(reason(&answer.unwrap()).unwrap(), "token_key_unknown");
    let report = stack.stagedoor.running.await.unwrap().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(60), "it waited for the drain's own end");
    assert_eq!(report.aborted, 0, "{report:?}");
}
