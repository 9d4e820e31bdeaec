//! Through a real Envoy that asks over mTLS: who answers, who is answered, and what happens
//! when certificates change.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::envoy::{Envoy, EnvoyConfig, raw_http};
use crate::support::stack::{AUDIENCE, OTHERS, OWNERS, Options, Stack, Stagedoor, reason, request};
use crate::support::tls::{ENVOY, Mounted, SERVER};
use devtenant::authority::Authority;
use devtenant::service::Echo;
use stagedoor::serve::BoundAddress;
use tokio::time::{Instant, sleep};

const DEADLINE: Duration = Duration::from_secs(60);
/// For a check and for a handshake, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(10);

/// A Stagedoor that lets in one client, by its SPIFFE id.
async fn stagedoor(mounted: &Mounted, max_age: &str) -> Stagedoor {
    let listen = format!(", tls: {}", mounted.mutual_yaml(&[ENVOY]));
    let more = format!("limits: {{ max_connection_age: {max_age}, preface_timeout: 30s }}\n");
    Stagedoor::start(Options { listen, more, ..Options::default() }).await.unwrap()
}

/// The configuration of an Envoy that shows what is mounted.
fn envoy(stagedoor: &Stagedoor, upstream: &Echo, shows: &Mounted) -> EnvoyConfig {
    let BoundAddress::Tcp(address) = stagedoor.address else { panic!("not TCP") };
    EnvoyConfig::tls(address, upstream.address(), shows.folder())
        .check_timeout(PATIENCE)
        .patience(PATIENCE)
}

async fn metric(stagedoor: &Stagedoor, name: &str) -> f64 {
    let (_, text) = stagedoor.get("/metrics").await.unwrap();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("no `{name}` in {text}")).parse().unwrap()
}

#[tokio::test]
async fn decisions_over_mtls() {
    let mounted = Mounted::new();
    let theirs = Mounted::of(Arc::clone(&mounted.authority), &[ENVOY]);
    let stagedoor = stagedoor(&mounted, "30m").await;
    let upstream = Echo::start().await.unwrap();
    let envoy = Envoy::start(envoy(&stagedoor, &upstream, &theirs)).await.unwrap();
    let stack = Stack { stagedoor, upstream, envoy };
    let token = |group| stack.stagedoor.tenant.token().audience(AUDIENCE).groups(&[group]).sign();
    assert_eq!(stack.get(&token(OWNERS)).await.unwrap().status, 200);
    let denied = stack.get(&token(OTHERS)).await.unwrap();
    assert_eq!((denied.status, reason(&denied).unwrap().as_str()), (403, "not_permitted"));
    assert_eq!(stack.get("garbage").await.unwrap().status, 401);
    // Envoy asks for health over the same connections.
    stack.envoy.await_stats("cluster.stagedoor.health_check.success", 1).await.unwrap();
    assert!(stack.envoy.stats("cluster.stagedoor.ssl.handshake").await.unwrap() > 0);
    let failures = metric(&stack.stagedoor, "stagedoor_tls_handshake_failures_total").await;
    assert!(failures.abs() < f64::EPSILON);
    let left = "stagedoor_tls_certificate_expiry_seconds{listener=\"grpc\"}";
    let days = metric(&stack.stagedoor, left).await / 86_400.0;
    assert!(days > 29.0 && days < 30.1, "{days}");
    // Beside what it was issued for: from a day before now.
    let whole = "stagedoor_tls_certificate_lifetime_seconds{listener=\"grpc\"}";
    let whole = metric(&stack.stagedoor, whole).await / 86_400.0;
    assert!((whole - 31.0).abs() < 0.1, "{whole}");
    let current = "stagedoor_tls_certificate_current{listener=\"grpc\"}";
    assert!(metric(&stack.stagedoor, current).await > 0.5);
}

/// Whichever of the two doesn't know the other, nobody passes.
#[tokio::test]
async fn strangers_are_not_asked_and_not_answered() {
    let mounted = Mounted::new();
    let stagedoor = stagedoor(&mounted, "30m").await;
    let upstream = Echo::start().await.unwrap();
    let ours = |names: &[&str]| Mounted::of(Arc::clone(&mounted.authority), names);
    let elsewhere = Mounted::of(Arc::new(Authority::new("Elsewhere").unwrap()), &[ENVOY]);
    let certificate = std::fs::read_to_string(elsewhere.path("tls.crt")).unwrap();
    let key = std::fs::read_to_string(elsewhere.path("tls.key")).unwrap();
    // Its authority of servers is ours, its certificate is not.
    elsewhere.swap_to(&certificate, &key, mounted.authority.certificate());
    let expired = ours(&[ENVOY]);
    expired.swap(&mounted.authority.issue_for(&[ENVOY], -9..-1).unwrap());
    let token = stagedoor.tenant.token().audience(AUDIENCE).groups(&[OWNERS]).sign();
    let bearer = format!("Bearer {token}");
    let asked =
        |path: &str| request("GET", "payments.example.com", path, &[("authorization", &bearer)]);
    for (case, shows, expects) in [
        ("another client of the authority", ours(&["spiffe://cluster.local/ns/a/sa/b"]), SERVER),
        ("a client of another authority", elsewhere, SERVER),
        ("an expired client", expired, SERVER),
        ("a server of another name", ours(&[ENVOY]), "other.example.com"),
    ] {
        let before = metric(&stagedoor, "stagedoor_tls_handshake_failures_total").await;
        let config = envoy(&stagedoor, &upstream, &shows).expecting(expects);
        for config in [config.clone(), config.default_status_on_error()] {
            let envoy = Envoy::start(config).await.unwrap();
            let status = envoy.raw_http(asked("/v1/orders")).await.unwrap().status;
            assert!(matches!(status, 403 | 503), "{case}: {status}");
            // Not even what is public.
            assert!(envoy.raw_http(asked("/healthz")).await.unwrap().status >= 400, "{case}");
        }
        // Envoy may have given up before Stagedoor knows that it did.
        let deadline = Instant::now() + DEADLINE;
        while metric(&stagedoor, "stagedoor_tls_handshake_failures_total").await <= before {
            assert!(Instant::now() < deadline, "{case}: no handshake failed");
            sleep(Duration::from_millis(20)).await;
        }
    }
    assert_eq!(upstream.count(), 0);
    // Who is known is still answered.
    let envoy = Envoy::start(envoy(&stagedoor, &upstream, &ours(&[ENVOY]))).await.unwrap();
    assert_eq!(envoy.raw_http(asked("/v1/orders")).await.unwrap().status, 200);
}

/// Both sides get new certificates several times, while requests go on.
#[tokio::test]
async fn rotation_loses_no_request() {
    let mounted = Mounted::new();
    let theirs = Mounted::of(Arc::clone(&mounted.authority), &[ENVOY]);
    let stagedoor = stagedoor(&mounted, "1s").await;
    let upstream = Echo::start().await.unwrap();
    let envoy = Envoy::start(envoy(&stagedoor, &upstream, &theirs)).await.unwrap();
    let token = stagedoor.tenant.token().audience(AUDIENCE).groups(&[OWNERS]).sign();
    let (ended, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let asking = tokio::spawn({
        let (ended, answered, address) = (Arc::clone(&ended), Arc::clone(&answered), envoy.address);
        let bearer = format!("Bearer {token}");
        async move {
            while !ended.load(Ordering::Relaxed) {
                let headers = [("authorization", bearer.as_str())];
                let bytes = request("GET", "payments.example.com", "/v1/orders", &headers);
                let answer = raw_http(address, bytes).await.unwrap();
                assert_eq!(answer.status, 200, "{answer:?}");
                answered.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    let left = "stagedoor_tls_certificate_expiry_seconds{listener=\"grpc\"}";
    let update = "cluster.stagedoor.client_ssl_socket_factory.ssl_context_update_by_sds";
    for round in 1..=3 {
        let days = 30 + round * 10;
        mounted.swap(&mounted.authority.issue_for(&[SERVER], -1..days).unwrap());
        theirs.swap(&mounted.authority.issue_for(&[ENVOY], -1..days).unwrap());
        let deadline = Instant::now() + DEADLINE;
        #[allow(clippy::cast_precision_loss, reason = "a few days")]
        let wanted = (days - 1) as f64 * 86_400.0;
        while metric(&stagedoor, left).await < wanted {
            assert!(Instant::now() < deadline, "the new certificate is not in use");
            sleep(Duration::from_millis(50)).await;
        }
        let connections = "stagedoor_connections_accepted_total";
        let before = metric(&stagedoor, connections).await;
        // Envoy's connections end with their age, and the next ones show what is new.
        while metric(&stagedoor, connections).await < before + 2.0 {
            assert!(Instant::now() < deadline, "no new connection");
            sleep(Duration::from_millis(50)).await;
        }
    }
    envoy.await_stats(update, 2).await.unwrap();
    ended.store(true, Ordering::Relaxed);
    asking.await.unwrap();
    assert!(answered.load(Ordering::Relaxed) > 10);
    let failures = metric(&stagedoor, "stagedoor_tls_handshake_failures_total").await;
    assert!(failures.abs() < f64::EPSILON, "{failures}");
}
