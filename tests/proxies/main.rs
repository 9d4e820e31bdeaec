//! Through a real nginx and a real Traefik, with the configurations that ship in `deploy/`.
//!
//! They are for themselves because they need binaries that not every machine can have: see
//! `scripts/nginx` and `scripts/traefik`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test a panic is the result")]
#![allow(clippy::indexing_slicing, clippy::string_slice, clippy::panic, reason = "as above")]

mod front;
mod nginx;
#[path = "../support/mod.rs"]
mod support;
mod traefik;

use devtenant::service::Echo;
use front::Front;
use support::envoy::{RawResponse, raw_http};
use support::stack::{AUDIENCE, OTHERS, OWNERS, Options, Stagedoor, reason, request, seen};
use tokio::time::{Duration, Instant, sleep};

const PAYMENTS: &str = "payments.example.com";
const IDENTITY: [&str; 5] = [
    "x-stagedoor-subject",
    "x-stagedoor-tenant",
    "x-stagedoor-kind",
    "x-stagedoor-entity",
    "x-stagedoor-decision-id",
];

/// A service, and a proxy in front of it that asks a Stagedoor.
struct Stack {
    stagedoor: Stagedoor,
    upstream: Echo,
    front: Front,
}

impl Stack {
    async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> RawResponse {
        raw_http(self.front.address, request(method, PAYMENTS, path, headers)).await.unwrap()
    }

    fn bearer(&self, groups: &[&str]) -> String {
        let token = self.stagedoor.tenant.token().audience(AUDIENCE).groups(groups).sign();
        format!("Bearer {token}")
    }
}

/// The options of a Stagedoor that is asked in this dialect.
fn options(dialect: &str, more: &str) -> Options {
    Options {
        listen: ", http: ['127.0.0.1:0']".to_owned(),
        more: format!("http_authorization: {{ dialect: {dialect} }}\n{more}"),
        debug: vec!["group:default/payments-team".to_owned()],
        ..Options::default()
    }
}

/// What a client made up, in every spelling.
const FORGED: [(&str, &str); 10] = [
    ("x-stagedoor-subject", "root"),
    ("X-STAGEDOOR-TENANT", "root"),
    ("x-stagedoor-entity", "root"),
    ("x-stagedoor-kind", "root"),
    ("x-stagedoor-decision-id", "root"),
    ("x_stagedoor_subject", "root"),
    ("X.Stagedoor.Subject", "root"),
    ("X_Stagedoor-Subject", "root"),
    ("x-stagedoor_entity", "root"),
    ("x-stagedoor-decision_id", "root"),
];

async fn who_passes_and_as_whom(stack: &Stack) {
    let owner = stack.bearer(&[OWNERS]);
    let path = "/v1/orders?status=open&x=%2F";
    for method in ["GET", "POST", "DELETE"] {
        let mut headers = FORGED.to_vec();
        headers.push(("authorization", &owner));
        let answer = stack.ask(method, path, &headers).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let echo = answer.json();
        assert_eq!((echo["method"].as_str(), echo["path"].as_str()), (Some(method), Some(path)));
        assert_eq!(echo["host"], PAYMENTS);
        for name in IDENTITY {
            let values = seen(&answer, name);
            assert!(values.len() == 1 && values[0] != "root", "{name}: {values:?}");
        }
        assert_eq!(seen(&answer, "x-stagedoor-entity"), ["component:default/payments"]);
        assert!(!echo.to_string().contains("root"), "{echo}");
        assert!(!echo.to_string().contains("x-original"), "{echo}");
        assert_eq!(seen(&answer, "authorization"), [owner.as_str()]);
    }
    // Nobody is nobody, whatever they say.
    let answer = stack.ask("GET", "/healthz", &FORGED).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(seen(&answer, "x-stagedoor-kind"), ["anonymous"]);
    for name in ["x-stagedoor-subject", "x-stagedoor-tenant", "x-stagedoor-entity"] {
        assert!(seen(&answer, name).iter().all(String::is_empty), "{name}");
    }
    assert!(!answer.json().to_string().contains("root"), "{answer:?}");
}

async fn who_is_denied_and_how(stack: &Stack) {
    let others = stack.bearer(&[OTHERS]);
    let garbage = "Bearer garbage".to_owned();
    let before = stack.upstream.count();
    for (token, method, path, status, code) in [
        (None, "GET", "/v1/orders", 401, "token_missing"),
        (Some(&garbage), "GET", "/v1/orders", 401, "token_malformed"),
        (Some(&others), "GET", "/v1/orders", 403, "not_permitted"),
        (Some(&others), "POST", "/v1/orders", 403, "not_permitted"),
        (None, "POST", "/healthz", 403, "no_route"),
        (Some(&others), "GET", "/v1;a=b/x", 403, "no_route"),
    ] {
        let headers: Vec<_> = token.iter().map(|token| ("authorization", token.as_str())).collect();
        let answer = stack.ask(method, path, &headers).await;
        let case = format!("{method} {path}: {answer:?}");
        assert_eq!(answer.status, status, "{case}");
        assert_eq!(reason(&answer).unwrap(), code, "{case}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{case}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{case}");
        assert!(answer.header("x-stagedoor-decision-id").is_some(), "{case}");
        assert!(answer.header("x-stagedoor-denial").is_none(), "{case}");
        // Once, where there is one.
        let challenges = answer.headers.iter().filter(|(name, _)| name == "www-authenticate");
        assert_eq!(challenges.count(), usize::from(status == 401), "{case}");
    }
    // A person gets a page, with everything that keeps it harmless.
    let page = [("authorization", others.as_str()), ("accept", "text/html")];
    let answer = stack.ask("GET", "/v1/orders", &page).await;
    assert_eq!(answer.status, 403);
    assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(answer.header("content-security-policy").unwrap().contains("default-src 'none'"));
    let text = String::from_utf8(answer.body).unwrap();
    assert!(text.contains("Payments Team") && text.trim_end().ends_with("</html>"), "{text}");
    // The answer to HEAD has none.
    let answer = stack.ask("HEAD", "/v1/orders", &[]).await;
    assert_eq!((answer.status, answer.body.len()), (401, 0));
    assert_eq!(stack.upstream.count(), before);
}

/// What the proxy is to say itself, a client says: it is not believed.
async fn what_a_client_says_of_its_request(stack: &Stack) {
    let others = stack.bearer(&[OTHERS]);
    let before = stack.upstream.count();
    let headers = [
        ("authorization", others.as_str()),
        ("x-original-method", "GET"),
        ("x-original-host", PAYMENTS),
        ("x-original-uri", "/healthz"),
        ("x-forwarded-method", "GET"),
        ("x-forwarded-host", PAYMENTS),
        ("x-forwarded-uri", "/healthz"),
        ("x-forwarded-proto", "https"),
        ("x-stagedoor-denial", "CgMIyAE="),
        ("x-http-method-override", "GET"),
    ];
    for method in ["GET", "POST"] {
        let answer = stack.ask(method, "/v1/orders", &headers).await;
        assert_eq!((answer.status, reason(&answer).unwrap().as_str()), (403, "not_permitted"));
    }
    assert_eq!(stack.upstream.count(), before);
    // Two credentials are none.
    let owner = stack.bearer(&[OWNERS]);
    let twice = [("authorization", owner.as_str()), ("authorization", others.as_str())];
    let answer = stack.ask("GET", "/v1/orders", &twice).await;
    assert!(matches!(answer.status, 400 | 401), "{answer:?}");
    // A header that is named to be of this hop only.
    let bytes = format!(
        "GET /v1/orders HTTP/1.1\r\nhost: {PAYMENTS}\r\nauthorization: {owner}\r\n\
         connection: x-stagedoor-subject, x-original-uri, close\r\n\r\n"
    );
    let answer = raw_http(stack.front.address, bytes).await.unwrap();
    let subject = seen(&answer, "x-stagedoor-subject");
    assert!(answer.status != 200 || subject.len() == 1, "{answer:?}");
}

/// A denial of 503 is one for the client as well, and where nobody answers nobody passes.
async fn what_cannot_be_decided(start: impl AsyncFn(Options) -> Stack, dialect: &str) {
    let catalog = "catalog: { backstage: { url: 'http://127.0.0.1:9' }, refresh_every: 60s }\n";
    let options =
        Options { catalog: Some(catalog.to_owned()), wait: false, ..options(dialect, "") };
    let stack = start(options).await;
    let owner = stack.bearer(&[OWNERS]);
    let headers = [("authorization", owner.as_str())];
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let answer = stack.ask("GET", "/v1/orders", &headers).await;
        assert_eq!(answer.status, 503, "{answer:?}");
        if reason(&answer).unwrap() == "catalog_unavailable" {
            assert_eq!(answer.header("cache-control"), Some("no-store"));
            break;
        }
        assert!(Instant::now() < deadline, "{answer:?}");
        sleep(Duration::from_millis(10)).await;
    }
    let Stack { stagedoor, upstream, front } = stack;
    stagedoor.shutdown.abort();
    let _ = stagedoor.running.await;
    for path in ["/healthz", "/v1/orders"] {
        let bytes = request("GET", PAYMENTS, path, &headers);
        let answer = raw_http(front.address, bytes).await.unwrap();
        assert!((500..600).contains(&answer.status), "{answer:?}");
    }
    assert_eq!(upstream.count(), 0);
}
