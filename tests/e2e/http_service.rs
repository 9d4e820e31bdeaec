//! Through a real Envoy that asks over HTTP, with `envoy/http.yaml`.

use crate::support::envoy::{Envoy, EnvoyConfig};
use crate::support::stack::{AUDIENCE, OTHERS, OWNERS, Options, Stack, Stagedoor, reason, seen};
use devtenant::service::Echo;
use stagedoor::serve::BoundAddress;
use std::time::Duration;

async fn start(options: Options, change: impl FnOnce(EnvoyConfig) -> EnvoyConfig) -> Stack {
    let options = Options {
        listen: ", http: ['127.0.0.1:0']".to_owned(),
        more: "http_authorization: { dialect: envoy, path_prefix: /authorize }\n".to_owned(),
        ..options
    };
    let stagedoor = Stagedoor::start(options).await.unwrap();
    let upstream = Echo::start().await.unwrap();
    let BoundAddress::Tcp(asked) = stagedoor.http[0] else { panic!("not TCP") };
    let config =
        EnvoyConfig::http(asked, upstream.address()).check_timeout(Duration::from_secs(10));
    let envoy = Envoy::start(change(config)).await.unwrap();
    Stack { stagedoor, upstream, envoy }
}

#[tokio::test]
async fn decisions() {
    let stack = start(Options::default(), EnvoyConfig::allow_underscores).await;
    let token = |groups: &[&str]| {
        let token = stack.stagedoor.tenant.token().audience(AUDIENCE).groups(groups).sign();
        format!("Bearer {token}")
    };
    let (owner, others) = (token(&[OWNERS]), token(&[OTHERS]));
    let forged = [
        ("x-stagedoor-subject", "root"),
        ("x-stagedoor-tenant", "root"),
        ("x-stagedoor-entity", "root"),
        ("x_stagedoor_subject", "root"),
        ("x-stagedoor_kind", "root"),
    ];
    let host = "payments.example.com";
    for method in ["GET", "POST", "DELETE"] {
        let mut headers = forged.to_vec();
        headers.push(("authorization", &owner));
        let answer = stack.ask(method, host, "/v1/orders?a=b%2F", &headers).await.unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        let echo = answer.json();
        assert_eq!((&echo["method"], &echo["path"]), (&method.into(), &"/v1/orders?a=b%2F".into()));
        assert!(!echo.to_string().contains("root"), "{echo}");
        assert_eq!(seen(&answer, "x-stagedoor-entity"), ["component:default/payments"]);
        assert_eq!(seen(&answer, "x-stagedoor-kind"), ["user"]);
    }
    let answer = stack.ask("GET", host, "/healthz", &forged).await.unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(seen(&answer, "x-stagedoor-kind"), ["anonymous"]);
    assert!(!answer.json().to_string().contains("root"), "{answer:?}");
    for name in ["x-stagedoor-subject", "x-stagedoor-tenant", "x-stagedoor-entity"] {
        assert_eq!(seen(&answer, name), [""; 0]);
    }
    let before = stack.upstream.count();
    for (headers, status, code) in [
        (vec![], 401, "token_missing"),
        (vec![("authorization", "Bearer garbage")], 401, "token_malformed"),
        (vec![("authorization", others.as_str())], 403, "not_permitted"),
        (
            vec![("authorization", owner.as_str()), ("authorization", others.as_str())],
            401,
            "credentials_repeated",
        ),
        // What a client says of its request is not looked at.
        (
            vec![("authorization", others.as_str()), ("x-envoy-original-path", "/healthz")],
            403,
            "not_permitted",
        ),
    ] {
        let answer = stack.ask("GET", host, "/v1/orders", &headers).await.unwrap();
        assert_eq!(answer.status, status, "{answer:?}");
        assert_eq!(reason(&answer).unwrap(), code, "{answer:?}");
        assert_eq!(answer.header("www-authenticate").is_some(), status == 401, "{answer:?}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        assert!(answer.header("x-stagedoor-decision-id").is_some(), "{answer:?}");
    }
    assert_eq!(stack.upstream.count(), before);
}

/// Over HTTP, Envoy takes any of the 500s for a failure: with `failure_mode_allow` it would let
/// the request in.
#[tokio::test]
async fn what_cannot_be_decided_is_no_failure() {
    let catalog = "catalog: { backstage: { url: 'http://127.0.0.1:9' }, refresh_every: 60s }\n";
    let options = Options { catalog: Some(catalog.to_owned()), wait: false, ..Options::default() };
    let stack = start(options, EnvoyConfig::failure_mode_allow).await;
    let token = stack.stagedoor.tenant.token().audience(AUDIENCE).groups(&[OWNERS]).sign();
    let answer = stack.get(&token).await.unwrap();
    assert_eq!(answer.status, 429, "{answer:?}");
    assert_eq!(answer.json()["status"], 503, "{answer:?}");
    assert_eq!(stack.upstream.count(), 0);
    assert_eq!(stack.envoy.stats("http.front.ext_authz.error").await.unwrap(), 0);
}
