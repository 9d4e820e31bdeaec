//! HTTP/1.1 on a connection, for proxies that ask without gRPC.

use std::convert::Infallible;
use std::fmt;
use std::future::{pending, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::CACHE_CONTROL;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep_until};

use super::ServeSettings;
use crate::quiet::Asking;

/// How long a connection may be silent between two requests, or take for the head of one that
/// isn't its first. Longer than nginx (a minute) and Traefik (a minute and a half) keep one that
/// they don't use: so it is they who close it. One that is closed under a request, because it is
/// as old as it may be or the server drains, is asked over another: nginx and Traefik do so.
const IDLE: Duration = Duration::from_secs(120);
/// A client may send a hundred through nginx, and some more come on the way.
const MAX_HEADERS: usize = 256;
/// hyper reads into no less.
const LEAST_BUFFER: usize = 8192;

/// The future of a response.
pub type HttpAnswer = Pin<Box<dyn Future<Output = Response<Full<Bytes>>> + Send>>;

/// What the listeners serve that speak HTTP/1.1. It has an answer to everything.
pub trait HttpService: fmt::Debug + Send + Sync + 'static {
    /// Answers one request.
    fn call(self: Arc<Self>, request: Request<Incoming>) -> HttpAnswer;
}

/// Nothing is served.
#[derive(Debug)]
pub(super) struct Nothing;

impl HttpService for Nothing {
    fn call(self: Arc<Self>, _: Request<Incoming>) -> HttpAnswer {
        let mut response = Response::new(Full::default());
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Box::pin(ready(response))
    }
}

/// The terms of HTTP/1.1.
pub(super) fn builder(settings: &ServeSettings) -> http1::Builder {
    let limit = usize::try_from(settings.max_header_list_bytes).unwrap_or(usize::MAX);
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .max_headers(MAX_HEADERS)
        .max_header_size(limit)
        .max_buf_size(limit.max(LEAST_BUFFER));
    builder
}

/// A connection, of which it is told when something is asked on it.
pub(super) fn connection<I>(
    builder: &http1::Builder,
    io: I,
    service: Arc<dyn HttpService>,
    asking: Asking,
) -> http1::Connection<
    TokioIo<I>,
    impl hyper::service::HttpService<Incoming, ResBody = Full<Bytes>, Error = Infallible, Future: Send>
    + Send,
>
where
    I: AsyncRead + AsyncWrite + Unpin,
{
    let answer = service_fn(move |request| {
        asking.asked();
        let answer = Arc::clone(&service).call(request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    builder.serve_connection(TokioIo::new(io), answer)
}

/// Comes to an end at `deadline` if no request has begun by then, and else never.
pub(super) async fn silent(deadline: Instant, asking: &Asking) {
    sleep_until(deadline).await;
    if asking.has_asked() {
        pending::<()>().await;
    }
}
