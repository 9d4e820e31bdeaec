//! An OTLP collector for traces and metrics, over gRPC or HTTP, with or without TLS. Over gRPC
//! it takes logs, too, and forgets them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse as _;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{
    LogsService, LogsServiceServer,
};
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls;
use tonic::{Request, Response, Status};

/// Long enough for a busy machine; nothing waits for it to pass.
const DEADLINE: Duration = Duration::from_secs(60);

/// How a collector is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Grpc,
    Http,
}

impl Protocol {
    /// As the configuration names it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::Http => "http",
        }
    }
}

/// What it does with what it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    Takes,
    Refuses,
    Hangs,
}

/// What is sent to a collector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    Traces,
    Metrics,
    Logs,
}

/// A running collector, and what it was sent.
pub(crate) struct Collector {
    pub(crate) address: SocketAddr,
    pub(crate) protocol: Protocol,
    /// Its certificate, where it speaks TLS.
    pub(crate) certificate: Option<String>,
    inbox: Inbox,
    spans: mpsc::UnboundedReceiver<Received>,
    metrics: mpsc::UnboundedReceiver<ExportMetricsServiceRequest>,
    heads: mpsc::UnboundedReceiver<(Signal, HeaderMap)>,
}

/// A span, and who says that it is theirs.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) resource: Vec<KeyValue>,
    pub(crate) span: Span,
}

impl Received {
    pub(crate) fn attribute(&self, name: &str) -> Option<String> {
        attribute(&self.span.attributes, name)
    }

    pub(crate) fn trace_id(&self) -> String {
        hex(&self.span.trace_id)
    }

    pub(crate) fn parent(&self) -> String {
        hex(&self.span.parent_span_id)
    }

    pub(crate) fn id(&self) -> String {
        hex(&self.span.span_id)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An attribute as text.
pub(crate) fn attribute(attributes: &[KeyValue], name: &str) -> Option<String> {
    let pair = attributes.iter().find(|pair| pair.key == name)?;
    match pair.value.as_ref()? {
        AnyValue { value: Some(Any::StringValue(text)) } => Some(text.clone()),
        AnyValue { value: Some(Any::IntValue(number)) } => Some(number.to_string()),
        other => panic!("{other:?}"),
    }
}

#[derive(Clone)]
struct Inbox {
    spans: mpsc::UnboundedSender<Received>,
    metrics: mpsc::UnboundedSender<ExportMetricsServiceRequest>,
    heads: mpsc::UnboundedSender<(Signal, HeaderMap)>,
    mood: Arc<AtomicU8>,
}

impl Inbox {
    /// What becomes of a request: nothing, ever, or a refusal, or it is taken.
    async fn mood(&self) -> Result<(), ()> {
        match self.mood.load(Ordering::Relaxed) {
            mood if mood == Mood::Takes as u8 => Ok(()),
            mood if mood == Mood::Refuses as u8 => Err(()),
            _ => std::future::pending().await,
        }
    }

    fn take_head(&self, signal: Signal, head: HeaderMap) {
        let _ = self.heads.send((signal, head));
    }

    fn take_spans(&self, request: ExportTraceServiceRequest) {
        for resource in request.resource_spans {
            let of = resource.resource.unwrap_or_default().attributes;
            for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                let _ = self.spans.send(Received { resource: of.clone(), span });
            }
        }
    }
}

#[tonic::async_trait]
impl TraceService for Inbox {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.mood().await.map_err(|()| Status::permission_denied("not now"))?;
        self.take_head(Signal::Traces, request.metadata().clone().into_headers());
        self.take_spans(request.into_inner());
        Ok(Response::new(Default::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Inbox {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        self.mood().await.map_err(|()| Status::permission_denied("not now"))?;
        self.take_head(Signal::Metrics, request.metadata().clone().into_headers());
        let _ = self.metrics.send(request.into_inner());
        Ok(Response::new(Default::default()))
    }
}

#[tonic::async_trait]
impl LogsService for Inbox {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        self.mood().await.map_err(|()| Status::permission_denied("not now"))?;
        self.take_head(Signal::Logs, request.metadata().clone().into_headers());
        Ok(Response::new(Default::default()))
    }
}

/// `POST /v1/traces` and `/v1/metrics`, as a collector's receiver has them.
fn by_http(inbox: Inbox) -> axum::Router {
    type Answer = axum::response::Response;
    const PROTOBUF: &str = "application/x-protobuf";
    fn protobuf(headers: &HeaderMap) -> bool {
        headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind == PROTOBUF)
    }
    async fn traces(State(inbox): State<Inbox>, headers: HeaderMap, body: Bytes) -> Answer {
        if inbox.mood().await.is_err() {
            return StatusCode::FORBIDDEN.into_response();
        }
        inbox.take_head(Signal::Traces, headers.clone());
        match ExportTraceServiceRequest::decode(body) {
            Ok(request) if protobuf(&headers) => inbox.take_spans(request),
            _ => return StatusCode::BAD_REQUEST.into_response(),
        }
        let answer = ExportTraceServiceResponse::default().encode_to_vec();
        ([(header::CONTENT_TYPE, PROTOBUF)], answer).into_response()
    }
    async fn metrics(State(inbox): State<Inbox>, headers: HeaderMap, body: Bytes) -> Answer {
        if inbox.mood().await.is_err() {
            return StatusCode::FORBIDDEN.into_response();
        }
        inbox.take_head(Signal::Metrics, headers.clone());
        match ExportMetricsServiceRequest::decode(body) {
            Ok(request) if protobuf(&headers) => drop(inbox.metrics.send(request)),
            _ => return StatusCode::BAD_REQUEST.into_response(),
        }
        let answer = ExportMetricsServiceResponse::default().encode_to_vec();
        ([(header::CONTENT_TYPE, PROTOBUF)], answer).into_response()
    }
    axum::Router::new()
        .route("/v1/traces", axum::routing::post(traces))
        .route("/v1/metrics", axum::routing::post(metrics))
        .with_state(inbox)
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send,
    protocol: Protocol,
    inbox: Inbox,
) {
    let stream = TokioIo::new(stream);
    match protocol {
        Protocol::Grpc => {
            let routes = tonic::service::Routes::new(TraceServiceServer::new(inbox.clone()))
                .add_service(MetricsServiceServer::new(inbox.clone()))
                .add_service(LogsServiceServer::new(inbox));
            let service = TowerToHyperService::new(routes.prepare());
            let http = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            let _ = http.serve_connection(stream, service).await;
        }
        Protocol::Http => {
            let service = TowerToHyperService::new(by_http(inbox));
            let http = hyper::server::conn::http1::Builder::new();
            let _ = http.serve_connection(stream, service).await;
        }
    }
}

impl Collector {
    pub(crate) async fn start(protocol: Protocol) -> Self {
        Self::start_with(protocol, None).await
    }

    /// One that speaks TLS, with a certificate that only its own file vouches for.
    pub(crate) async fn start_secured(protocol: Protocol) -> Self {
        let names = vec!["127.0.0.1".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
        let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der())
            .expect("a key");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .expect("a certificate and its key");
        config.alpn_protocols = match protocol {
            Protocol::Grpc => vec![b"h2".to_vec()],
            Protocol::Http => vec![b"http/1.1".to_vec()],
        };
        let mut collector = Self::start_with(protocol, Some(config)).await;
        collector.certificate = Some(pem(made.cert.der()));
        collector
    }

    async fn start_with(protocol: Protocol, tls: Option<rustls::ServerConfig>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (to_spans, spans) = mpsc::unbounded_channel();
        let (to_metrics, metrics) = mpsc::unbounded_channel();
        let mood = Arc::new(AtomicU8::new(Mood::Takes as u8));
        let (to_heads, heads) = mpsc::unbounded_channel();
        let inbox = Inbox { spans: to_spans, metrics: to_metrics, heads: to_heads, mood };
        let tls = tls.map(|config| TlsAcceptor::from(Arc::new(config)));
        let taken = inbox.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (inbox, tls) = (taken.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, protocol, inbox).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, protocol, inbox).await;
                            }
                        }
                    }
                });
            }
        });
        Self { address, protocol, certificate: None, inbox, spans, metrics, heads }
    }

    pub(crate) fn set(&self, mood: Mood) {
        self.inbox.mood.store(mood as u8, Ordering::Relaxed);
    }

    /// The members of `telemetry` that lead here.
    pub(crate) fn settings(&self) -> String {
        let scheme = if self.certificate.is_some() { "https" } else { "http" };
        format!(
            "otlp_endpoint: \"{scheme}://{}\", otlp_protocol: {}",
            self.address,
            self.protocol.name()
        )
    }

    /// The next span, and those before it, until `wanted` accepts one.
    pub(crate) async fn spans_until(
        &mut self,
        wanted: impl Fn(&Received) -> bool,
    ) -> Vec<Received> {
        let mut spans = Vec::new();
        loop {
            let next = timeout(DEADLINE, self.spans.recv()).await;
            let Ok(Some(span)) = next else { panic!("not among {spans:#?}") };
            let done = wanted(&span);
            spans.push(span);
            if done {
                return spans;
            }
        }
    }

    /// What the next export of this signal has for headers.
    pub(crate) async fn head(&mut self, of: Signal) -> HeaderMap {
        loop {
            let next = timeout(DEADLINE, self.heads.recv()).await;
            let (signal, head) = next.expect("in time").expect("there");
            if signal == of {
                return head;
            }
        }
    }

    /// The next export of metrics.
    pub(crate) async fn metrics(&mut self) -> ExportMetricsServiceRequest {
        timeout(DEADLINE, self.metrics.recv()).await.expect("in time").expect("there")
    }
}

fn pem(der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}
