//! Trailers of a request come after the decision: no service gets any, whoever made them up.

use std::future::ready;
use std::net::SocketAddr;

use crate::support::envoy::Envoy;
use crate::support::stack::{AUDIENCE, OWNERS, Options, Stagedoor};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use tonic::body::Body;
use tonic::transport::Endpoint;
use tower::ServiceExt as _;

/// What a client makes up, with a name that means nothing beside.
const FORGED: [(&str, &str); 4] = [
    ("x-stagedoor-subject", "forged"),
    ("x-stagedoor-entity", "forged"),
    ("authorization", "Bearer forged"),
    ("x-other", "forged"),
];

fn pairs(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect()
}

/// A service that says what headers and trailers it got, over HTTP/1.1 and HTTP/2.
async fn service() -> SocketAddr {
    let app = axum::Router::new().fallback(|request: axum::extract::Request| async move {
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap();
        let trailers = body.trailers().map(pairs).unwrap_or_default();
        let version = format!("{:?}", head.version);
        json!({ "version": version, "headers": pairs(&head.headers), "trailers": trailers })
            .to_string()
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

/// What the service got of a request with trailers over HTTP/2.
async fn over_http2(envoy: &Envoy, bearer: &str) -> Value {
    let forged = FORGED
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
    let trailers: HeaderMap = forged.into_iter().collect();
    let body = Full::new(Bytes::from_static(b"hello")).with_trailers(ready(Some(Ok(trailers))));
    let request = Request::post("/v1/orders")
        .header("authorization", bearer)
        .header("te", "trailers")
        .body(Body::new(body))
        .unwrap();
    let to = Endpoint::from_shared(format!("http://{}", envoy.address)).unwrap();
    let to = to.origin("http://payments.example.com".parse().unwrap());
    let answer = to.connect().await.unwrap().oneshot(request).await.unwrap();
    assert_eq!(answer.status(), 200);
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    serde_json::from_slice(&body).unwrap()
}

/// The same over HTTP/1.1.
async fn over_http1(envoy: &Envoy, bearer: &str) -> Value {
    let mut request = format!(
        "POST /v1/orders HTTP/1.1\r\nhost: payments.example.com\r\nauthorization: {bearer}\r\n\
         te: trailers\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n5\r\nhello\r\n0\r\n"
    );
    for (name, value) in FORGED {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str("\r\n");
    let answer = envoy.raw_http(request).await.unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

#[tokio::test]
async fn no_trailer_reaches_a_service() {
    let stagedoor = Stagedoor::start(Options::default()).await.unwrap();
    let token = stagedoor.tenant.token().audience(AUDIENCE).groups(&[OWNERS]);
    let subject = token.claims()["oid"].as_str().unwrap().to_owned();
    let bearer = format!("Bearer {}", token.sign());
    let service = service().await;
    let shipped = || stagedoor.envoy(service);
    for (name, config, version) in [
        ("shipped", shipped(), "HTTP/1.1"),
        ("shipped, and the service speaks HTTP/2", shipped().http2_service(), "HTTP/2.0"),
        // Without the filter that takes them away.
        ("trailers", shipped().trailers(), "HTTP/1.1"),
        (
            "trailers, and the service speaks HTTP/2",
            shipped().trailers().http2_service(),
            "HTTP/2.0",
        ),
    ] {
        let envoy = Envoy::start(config).await.unwrap();
        let passes = name.starts_with("trailers") && version == "HTTP/2.0";
        for (got, passes) in [
            (over_http1(&envoy, &bearer).await, false),
            (over_http2(&envoy, &bearer).await, passes),
        ] {
            assert_eq!(got["version"], version, "{name}");
            // What the filter is for: this is what a service would get.
            let want = if passes { json!(FORGED) } else { json!([]) };
            let mut trailers = got["trailers"].as_array().unwrap().clone();
            trailers.sort_by_key(ToString::to_string);
            let mut want = want.as_array().unwrap().clone();
            want.sort_by_key(ToString::to_string);
            assert_eq!(trailers, want, "{name}: {got}");
            // And none of them becomes a header, filter or not.
            assert!(!got["headers"].to_string().contains("forged"), "{name}: {got}");
            let headers = got["headers"].as_array().unwrap();
            let mine = json!(["x-stagedoor-subject", subject]);
            assert!(headers.contains(&mine), "{name}: {got}");
        }
    }
}
