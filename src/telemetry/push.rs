//! Sending metrics to a collector, now and again.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use opentelemetry_http::HttpClient as _;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use prometheus_client::encoding::prometheus_protobuf::encode;
use prometheus_client::registry::Registry;
use prost::Message as _;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, Endpoint};
use url::Url;

use super::export::ExportError;
use super::otlp_metrics::{Span, request};
use super::settings::TelemetrySettings;
use crate::collector::{ExportStatus, Exports, HttpSender, OtlpProtocol, headers, resource, tls};
use crate::seldom::Seldom;

/// An export that takes longer is given up.
const TIMEOUT: Duration = Duration::from_secs(10);
const SAY_EVERY: Duration = Duration::from_secs(60);

/// Sends what a registry holds. Cheap to clone; without a collector it does nothing.
#[derive(Clone, Debug, Default)]
pub struct MetricsPush {
    sender: Option<Arc<Sender>>,
    counters: Arc<PushCounters>,
}

#[derive(Debug)]
struct Sender {
    way: Way,
    headers: HeaderMap,
    every: Duration,
    started: SystemTime,
    exports: Exports,
    news: Mutex<Seldom>,
}

#[derive(Debug)]
enum Way {
    Grpc(MetricsServiceClient<Channel>),
    Http(HttpSender, Url),
}

#[derive(Debug, Default)]
struct PushCounters {
    sent: AtomicU64,
    failed: AtomicU64,
}

/// How often metrics were sent, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PushStats {
    /// Times that the collector took them.
    pub sent: u64,
    /// Times that it did not.
    pub failed: u64,
}

/// Why metrics were not taken.
#[derive(Debug, thiserror::Error)]
enum PushError {
    #[error("the metrics could not be read")]
    Unreadable(#[from] std::fmt::Error),
    #[error("no answer within {TIMEOUT:?}")]
    Slow,
    #[error("{}: {}", .0.code(), .0.message())]
    Grpc(#[from] Box<tonic::Status>),
    #[error(transparent)]
    Http(#[from] opentelemetry_http::HttpError),
    #[error("it answered {0}")]
    Status(StatusCode),
    #[error("{0} values were refused: {1}")]
    Refused(i64, String),
}

impl MetricsPush {
    /// Prepares sending, as the settings say. The collector need not be there. Must be called
    /// on a runtime, which carries the connection.
    ///
    /// # Errors
    /// The settings can't be used.
    pub fn new(settings: &TelemetrySettings) -> Result<Self, ExportError> {
        let (Some(collector), Some(every)) = (&settings.collector, settings.metrics_every) else {
            return Ok(Self::default());
        };
        let authorities = collector.authorities().map_err(ExportError::Authorities)?;
        let (authorities, endpoint) = (authorities.as_deref(), &collector.endpoint);
        let way = match collector.protocol {
            OtlpProtocol::Grpc => {
                let mut channel =
                    Endpoint::from_shared(endpoint.to_string())?.connect_timeout(TIMEOUT / 2);
                if let Some(tls) = tls(endpoint, authorities, &collector.more) {
                    channel = channel.tls_config(tls)?;
                }
                Way::Grpc(MetricsServiceClient::new(channel.connect_lazy()))
            }
            OtlpProtocol::Http => Way::Http(
                HttpSender::new(endpoint, authorities, &collector.more)?,
                collector.path_of("metrics"),
            ),
        };
        let sender = Sender {
            way,
            headers: headers("METRICS"),
            every,
            started: SystemTime::now(),
            exports: collector.exports(),
            news: Mutex::new(Seldom::new(SAY_EVERY)),
        };
        Ok(Self { sender: Some(Arc::new(sender)), counters: Arc::default() })
    }

    /// Sends until `stop` becomes true. Nothing waits for it, and it waits for the collector
    /// for a bounded time.
    pub async fn run(&self, registry: Arc<Registry>, mut stop: watch::Receiver<bool>) {
        let Some(sender) = &self.sender else {
            // A task that ends by itself would end the process.
            let _ = stop.wait_for(|stop| *stop).await;
            return;
        };
        loop {
            tokio::select! {
                () = sleep(sender.every) => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
            self.send(&registry).await;
        }
    }

    /// Sends once.
    pub async fn send(&self, registry: &Registry) {
        let Some(sender) = &self.sender else { return };
        let sent = sender.send(registry).await;
        sender.exports.note(&sent);
        match sent {
            Ok(()) => {
                self.counters.sent.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => {
                self.counters.failed.fetch_add(1, Ordering::Relaxed);
                let news = sender.news.lock().ok();
                if let Some(unsaid) = news.and_then(|mut news| news.ask(Instant::now())) {
                    tracing::warn!(%error, unsaid, "metrics could not be sent by OTLP");
                }
            }
        }
    }

    /// How often metrics were sent; nothing where they are not to be.
    #[must_use]
    pub fn stats(&self) -> Option<PushStats> {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &*self.counters;
        let stats = PushStats { sent: of(&counters.sent), failed: of(&counters.failed) };
        self.sender.as_ref().map(|_| stats)
    }

    /// Where metrics are sent, and how that goes; nothing where they are not to be.
    #[must_use]
    pub fn exports(&self) -> Option<ExportStatus> {
        self.sender.as_ref().map(|sender| sender.exports.status())
    }
}

impl Sender {
    async fn send(&self, registry: &Registry) -> Result<(), PushError> {
        let span = Span { started: self.started, now: SystemTime::now() };
        let request = request(encode(registry)?, &resource(), span);
        let answer =
            timeout(TIMEOUT, self.exchange(request)).await.map_err(|_| PushError::Slow)??;
        match answer.partial_success {
            Some(part) if part.rejected_data_points > 0 => {
                Err(PushError::Refused(part.rejected_data_points, part.error_message))
            }
            _ => Ok(()),
        }
    }

    async fn exchange(
        &self,
        metrics: ExportMetricsServiceRequest,
    ) -> Result<ExportMetricsServiceResponse, PushError> {
        match &self.way {
            Way::Grpc(client) => {
                let mut request = tonic::Request::new(metrics);
                *request.metadata_mut() = MetadataMap::from_headers(self.headers.clone());
                let answer = client.clone().export(request).await;
                Ok(answer.map_err(|status| PushError::Grpc(Box::new(status)))?.into_inner())
            }
            Way::Http(client, url) => {
                let mut request = Request::new(Bytes::from(metrics.encode_to_vec()));
                *request.method_mut() = http::Method::POST;
                *request.uri_mut() =
                    url.as_str().parse().map_err(opentelemetry_http::HttpError::from)?;
                *request.headers_mut() = self.headers.clone();
                let protobuf = HeaderValue::from_static("application/x-protobuf");
                request.headers_mut().insert(header::CONTENT_TYPE, protobuf);
                let answer = client.send_bytes(request).await?;
                if !answer.status().is_success() {
                    return Err(PushError::Status(answer.status()));
                }
                // What is no such message says nothing against it.
                Ok(ExportMetricsServiceResponse::decode(answer.into_body()).unwrap_or_default())
            }
        }
    }
}
