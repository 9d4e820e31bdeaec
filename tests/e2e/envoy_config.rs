//! The configurations in `envoy/`, run by a real Envoy in front of a check
//! service that only records what it is asked.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::envoy::{Envoy, EnvoyConfig};
use crate::support::port::Port;
use crate::support::tls::Mounted;
use envoy_types::pb::envoy::config::core::v3::HeaderValue;
use envoy_types::pb::envoy::service::auth::v3::authorization_server::{
    Authorization, AuthorizationServer,
};
use envoy_types::pb::envoy::service::auth::v3::{
    CheckRequest, CheckResponse, OkHttpResponse, check_response::HttpResponse,
};
use envoy_types::pb::google::rpc;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tonic::{Request, Response, Status};

/// Of the check: whoever answers it here may be kept from the processor for longer than the
/// shipped fifth of a second.
const CHECK_TIMEOUT: Duration = Duration::from_secs(15);

/// An Envoy that asks there.
fn asking(stagedoor: SocketAddr, upstream: SocketAddr) -> EnvoyConfig {
    EnvoyConfig::tcp(stagedoor, upstream).check_timeout(CHECK_TIMEOUT)
}

#[tokio::test]
async fn envoy_accepts_the_shipped_configurations() {
    let binary = crate::support::envoy::binary().await.unwrap();
    // With TLS, also the files that it names have to be there.
    let mounted = Mounted::new();
    let nobody: SocketAddr = "127.0.0.1:9".parse().unwrap();
    let rendered = EnvoyConfig::tls(nobody, nobody, mounted.folder()).render().unwrap();
    let with_tls = mounted.path("envoy.yaml");
    std::fs::write(&with_tls, rendered).unwrap();
    let shipped = |name| Path::new(env!("CARGO_MANIFEST_DIR")).join("envoy").join(name);
    for (name, file) in [
        ("tcp.yaml", shipped("tcp.yaml")),
        ("unix.yaml", shipped("unix.yaml")),
        ("http.yaml", shipped("http.yaml")),
        ("tls.yaml", with_tls),
    ] {
        let output = tokio::process::Command::new(&binary)
            .args(["--disable-hot-restart", "--mode", "validate", "--config-path"])
            .arg(&file)
            .output()
            .await
            .unwrap();
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name}: {words}");
        // A field that will go away would be a surprise with the next Envoy.
        assert!(!words.contains("[warning]"), "{name}: {words}");
    }
}

/// What the check service was asked, and whether it lets pass.
#[derive(Clone, Default)]
struct Recorder {
    requests: Arc<Mutex<Vec<CheckRequest>>>,
}

#[tonic::async_trait]
impl Authorization for Recorder {
    async fn check(
        &self,
        request: Request<CheckRequest>,
    ) -> Result<Response<CheckResponse>, Status> {
        self.requests.lock().unwrap().push(request.into_inner());
        Ok(Response::new(CheckResponse {
            status: Some(rpc::Status::default()),
            http_response: Some(HttpResponse::OkResponse(OkHttpResponse::default())),
            ..CheckResponse::default()
        }))
    }
}

impl Recorder {
    async fn connection(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let routes = tonic::service::Routes::new(AuthorizationServer::new(self));
        let service = TowerToHyperService::new(routes.prepare());
        let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .serve_connection(TokioIo::new(stream), service)
            .await;
    }

    async fn tcp(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let recorder = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(recorder.clone().connection(stream));
            }
        });
        address
    }

    fn unix(&self, path: &Path) {
        let listener = UnixListener::bind(path).unwrap();
        let recorder = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(recorder.clone().connection(stream));
            }
        });
    }

    fn last(&self) -> CheckRequest {
        self.requests.lock().unwrap().last().cloned().expect("a check was asked for")
    }
}

/// A service that answers everything with 204.
async fn upstream() -> SocketAddr {
    let app = axum::Router::new().fallback(|| async { axum::http::StatusCode::NO_CONTENT });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

/// The named headers of a check, as they came.
fn header_map(check: &CheckRequest) -> Vec<(String, Vec<u8>)> {
    let http = check.attributes.as_ref().unwrap().request.as_ref().unwrap().http.as_ref().unwrap();
    http.header_map.iter().flat_map(|map| &map.headers).map(named_bytes).collect()
}

fn named_bytes(header: &HeaderValue) -> (String, Vec<u8>) {
    let raw = !header.raw_value.is_empty();
    let value = if raw { header.raw_value.to_vec() } else { header.value.clone().into_bytes() };
    (header.key.clone(), value)
}

/// Repeated headers, headers that Stagedoor doesn't read, and a byte that is no UTF-8.
const ODD: &[u8] = b"GET /v1/orders?q=1 HTTP/1.1\r\nHost: payments.example.com\r\n\
    Authorization: Bearer one\r\nauthorization: Bearer two\r\nCookie: secret=1\r\n\
    X-Stagedoor-Subject: forged\r\nTraceparent: 00-1-2-01\r\nTraceparent: 00-3-4-01\r\n\
    Tracestate: a\xffb\r\n\r\n";

#[tokio::test]
async fn what_stagedoor_is_sent() {
    let recorder = Recorder::default();
    let (stagedoor, upstream) = (recorder.tcp().await, upstream().await);
    let envoy = Envoy::start(asking(stagedoor, upstream)).await.unwrap();
    assert_eq!(envoy.raw_http(ODD).await.unwrap().status, 204);

    let check = recorder.last();
    let headers = header_map(&check);
    let named = |name: &str| -> Vec<&[u8]> {
        headers.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_slice()).collect()
    };
    // Repetitions stay apart, but for the headers that Envoy itself keeps in one
    // place; `authorization` is one of these, so a comma in it means repetition.
    assert_eq!(named("authorization"), [b"Bearer one,Bearer two"]);
    assert_eq!(named("traceparent"), [b"00-1-2-01", b"00-3-4-01"]);
    assert_eq!(named("tracestate"), [b"a\xffb"]);
    // Nothing is sent that isn't read.
    let mut names: Vec<_> = headers.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        ["authorization", "traceparent", "traceparent", "tracestate", "x-request-id"]
    );
    let attributes = check.attributes.unwrap();
    let http = attributes.request.unwrap().http.unwrap();
    // Host, method and path don't depend on which headers are sent.
    assert_eq!(
        (http.method.as_str(), http.host.as_str(), http.path.as_str()),
        ("GET", "payments.example.com", "/v1/orders?q=1")
    );
    assert!(http.headers.is_empty());
    assert!(attributes.context_extensions.is_empty());
    assert_eq!(envoy.stats("http.front.ext_authz.ok").await.unwrap(), 1);
    let entry = envoy.access_log_entry(|entry| entry["path"] == "/v1/orders").await.unwrap();
    assert_eq!(entry["status"], 204);
    assert_eq!(entry["details"], "via_upstream");
}

#[tokio::test]
async fn what_stagedoor_is_sent_in_the_map_form() {
    let recorder = Recorder::default();
    let (stagedoor, upstream) = (recorder.tcp().await, upstream().await);
    let config = asking(stagedoor, upstream).joined_headers();
    let envoy = Envoy::start(config).await.unwrap();
    assert_eq!(envoy.raw_http(ODD).await.unwrap().status, 204);

    let check = recorder.last();
    assert!(header_map(&check).is_empty());
    let http = check.attributes.unwrap().request.unwrap().http.unwrap();
    assert_eq!(http.headers.get("authorization").unwrap(), "Bearer one,Bearer two");
    assert_eq!(http.headers.get("traceparent").unwrap(), "00-1-2-01,00-3-4-01");
    assert_eq!(http.headers.get("tracestate").unwrap(), "a!b");
    assert_eq!(http.headers.get("cookie"), None);
}

#[tokio::test]
async fn a_route_says_what_it_is_about() {
    let recorder = Recorder::default();
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("s.sock");
    recorder.unix(&socket);
    let config = EnvoyConfig::unix(socket, upstream().await).check_timeout(CHECK_TIMEOUT);
    let envoy = Envoy::start(config).await.unwrap();
    let check = async |path: &str, expected: bool| {
        let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n");
        assert_eq!(envoy.raw_http(request).await.unwrap().status, 204, "{path}");
        let extensions = recorder.last().attributes.unwrap().context_extensions;
        let expected = if expected {
            [
                ("route", "envoy-admin"),
                ("gate", "policy"),
                ("entity", "component:default/payments"),
                ("action", "admin"),
            ]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into()
        } else {
            std::collections::HashMap::new()
        };
        assert_eq!(extensions, expected, "{path}");
    };
    check("/admin", true).await;
    check("/admin/users", true).await;
    check("/a/../admin", true).await;
    check("//admin", true).await;
    check("/administrator", false).await;
    check("/v1/orders", false).await;
}

#[tokio::test]
async fn what_envoy_refuses_by_itself() {
    let recorder = Recorder::default();
    let (stagedoor, upstream) = (recorder.tcp().await, upstream().await);
    let strict = Envoy::start(asking(stagedoor, upstream)).await.unwrap();
    let plain = asking(stagedoor, upstream).plain_paths().allow_underscores();
    let plain = Envoy::start(plain).await.unwrap();
    let cases = [
        ("GET /a%2fb HTTP/1.1\r\nhost: a\r\n\r\n", 400, 204),
        ("GET /a%5Cb HTTP/1.1\r\nhost: a\r\n\r\n", 400, 204),
        ("GET /a%00b HTTP/1.1\r\nhost: a\r\n\r\n", 400, 204),
        ("GET /a HTTP/1.1\r\nhost: a\r\nx_stagedoor_subject: root\r\n\r\n", 400, 204),
        ("GET /a HTTP/1.1\r\nhost: a\r\n\r\n", 204, 204),
    ];
    for (request, by_strict, by_plain) in cases {
        assert_eq!(strict.raw_http(request).await.unwrap().status, by_strict, "{request}");
        assert_eq!(plain.raw_http(request).await.unwrap().status, by_plain, "{request}");
    }
}

#[tokio::test]
async fn without_stagedoor_nobody_passes() {
    let nobody = Port::keep();
    let config = EnvoyConfig::tcp(nobody.address, upstream().await);
    for (config, status) in [
        (config.clone(), 503),
        (config.clone().default_status_on_error(), 403),
        // What the comment in the file warns of.
        (config.failure_mode_allow(), 204),
    ] {
        let envoy = Envoy::start(config).await.unwrap();
        let answer = envoy.raw_http("GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        assert_eq!(answer.status, status);
        envoy.await_stats("http.front.ext_authz.error", 1).await.unwrap();
    }
}

#[tokio::test]
async fn an_unhealthy_stagedoor_is_still_asked() {
    // It has no health service, so Envoy counts it as unhealthy.
    let recorder = Recorder::default();
    let config = asking(recorder.tcp().await, upstream().await);
    let envoy = Envoy::start(config).await.unwrap();
    envoy.await_stats("cluster.stagedoor.health_check.failure", 1).await.unwrap();
    assert_eq!(envoy.stats("cluster.stagedoor.membership_healthy").await.unwrap(), 0);
    let answer = envoy.raw_http("GET /a HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    assert_eq!(answer.status, 204);
    assert_eq!(recorder.requests.lock().unwrap().len(), 1);
}
