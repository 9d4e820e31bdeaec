//! The life of one connection.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::poll_immediate;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rand::{Rng, RngExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tonic::body::Body;
use tonic::codegen::StdError;
use tower::util::ServiceExt;

use super::ahead::{Ahead, READ_BUFFER};
use super::begun::{Answering, Begun};
use super::http1::{self as plain, HttpService, Nothing};
use super::preface::Prefaced;
use super::secured::Secured;
use super::settings::Speaks;
use super::stall::Stalling;
use super::turn::{InTurns, Turn};
use super::{ServeSettings, ServeStats};
use crate::quiet::Asking;
use crate::tls::ServerTls;

/// Streams that a client opened and took back before they were looked at; one
/// more and it is sent away (the rapid reset attack, CVE-2023-44487).
const PENDING_RESETS: usize = 20;
/// What a client may send ahead, of one stream and of all.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// How long a connection stays on which nothing is ever asked. Pings alone would keep it for as
/// long as any other. An Envoy asks as soon as it connects, and one that was told to connect in
/// advance (`preconnect_policy`) does so anew.
const UNUSED: Duration = Duration::from_secs(60);

/// What one connection can have kept unread, its headers aside.
pub const CONNECTION_BYTES: usize = READ_BUFFER + (1 << 20);
const _: () = assert!(CONNECTION_WINDOW == 1 << 20, "they are one number");

/// What the listeners serve. It has an answer to everything, and each request gets a clone of
/// it.
pub trait GrpcService: Clone + Send + Sync + 'static {
    /// The body of its responses.
    type Body: http_body::Body<Data = Bytes, Error: Into<StdError>> + Send + 'static;

    /// Answers one request.
    fn call(
        self,
        request: Request<Incoming>,
    ) -> impl Future<Output = Response<Self::Body>> + Send + 'static;
}

/// Serves a tower service with tonic's bodies, such as [`tonic::service::Routes`].
#[derive(Clone, Debug)]
pub struct Tower<S>(pub S);

impl<S> GrpcService for Tower<S>
where
    S: tower::Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S: Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
{
    type Body = Body;

    fn call(
        self,
        request: Request<Incoming>,
    ) -> impl Future<Output = Response<Body>> + Send + 'static {
        let answer = self.0.oneshot(request.map(Body::new));
        async move {
            match answer.await {
                Ok(response) => response,
                Err(never) => match never {},
            }
        }
    }
}

/// What is served, on which kind of listener.
#[derive(Clone)]
pub(super) struct Served<S> {
    pub(super) grpc: S,
    pub(super) http: Option<Arc<dyn HttpService>>,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// By itself, or because it was asked to.
    Finished,
    /// It was asked to and didn't.
    Cut,
}

/// Why a connection is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    /// The server drains.
    Drain,
    /// Its place is needed, and nothing was asked on it.
    Needed,
    /// It is as old as it may be.
    Age,
}

/// What every connection is held to.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    http2: Http2,
    http1: http1::Builder,
    preface_timeout: Duration,
    write_timeout: Duration,
    max_age: Duration,
    grace: Duration,
    stats: Arc<ServeStats>,
}

/// What HTTP/2 is held to, of what is configured.
#[derive(Clone, Copy, Debug)]
struct Http2 {
    max_concurrent_streams: u32,
    max_header_list_bytes: u32,
    keepalive_interval: Duration,
    keepalive_timeout: Duration,
}

impl Http2 {
    fn of(settings: &ServeSettings) -> Self {
        let ServeSettings {
            max_concurrent_streams,
            max_header_list_bytes,
            keepalive_interval,
            keepalive_timeout,
            ..
        } = *settings;
        Self {
            max_concurrent_streams,
            max_header_list_bytes,
            keepalive_interval,
            keepalive_timeout,
        }
    }

    /// Of a connection whose requests are begun there.
    fn builder(&self, begun: Begun) -> http2::Builder<Begun> {
        let mut http2 = http2::Builder::new(begun);
        http2
            .timer(TokioTimer::new())
            .adaptive_window(false)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_concurrent_streams(self.max_concurrent_streams)
            .max_header_list_size(self.max_header_list_bytes)
            .max_pending_accept_reset_streams(PENDING_RESETS)
            .keep_alive_interval(self.keepalive_interval)
            .keep_alive_timeout(self.keepalive_timeout);
        http2
    }
}

impl Terms {
    pub(super) fn new(settings: &ServeSettings, stats: Arc<ServeStats>) -> Self {
        Self {
            http2: Http2::of(settings),
            http1: plain::builder(settings),
            preface_timeout: settings.preface_timeout,
            write_timeout: settings.keepalive_timeout,
            max_age: settings.max_connection_age,
            grace: settings.drain_timeout,
            stats,
        }
    }

    /// Serves a connection to its end, which `closing` asks for.
    pub(super) async fn serve<I, S>(
        self,
        io: I,
        tls: Option<ServerTls>,
        speaks: Speaks,
        service: Served<S>,
        mut closing: watch::Receiver<bool>,
        asking: Asking,
    ) -> Ended
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        S: GrpcService,
    {
        let closing = pin!(async move {
            // The sender is gone when the server is, which is an end as well.
            let _ = closing.wait_for(|closing| *closing).await;
        });
        let deadline = Instant::now() + self.preface_timeout;
        let io = Stalling::new(io, self.write_timeout);
        match speaks {
            Speaks::Http2 => {
                self.serve_http2(io, tls, service.grpc, (deadline, closing), asking).await
            }
            // What is seldom is no part of every connection's future.
            Speaks::Http1 => {
                let service = service.http.unwrap_or_else(|| Arc::new(Nothing));
                Box::pin(self.serve_http1(io, tls, service, (deadline, closing), asking)).await
            }
        }
    }

    async fn serve_http1<I>(
        self,
        io: Stalling<I>,
        tls: Option<ServerTls>,
        service: Arc<dyn HttpService>,
        (deadline, mut closing): (Instant, Pin<&mut impl Future<Output = ()>>),
        asking: Asking,
    ) -> Ended
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let io = tokio::select! {
            biased;
            io = secure(io, tls, deadline) => match io {
                Some(io) => io,
                None => return Ended::Finished,
            },
            () = closing.as_mut() => return Ended::Finished,
            () = asking.needed() => {
                self.stats.preface_failed();
                return Ended::Finished;
            }
        };
        let connection = plain::connection(&self.http1, io, service, asking.clone());
        let mut connection = pin!(connection);
        let connection = self.until_it_ends(connection.as_mut(), closing, &asking);
        tokio::select! {
            biased;
            ended = connection => ended,
            () = plain::silent(deadline, &asking) => {
                tracing::debug!("a connection did not begin in time");
                self.stats.preface_failed();
                Ended::Finished
            }
        }
    }

    async fn serve_http2<I, S>(
        self,
        io: Stalling<I>,
        tls: Option<ServerTls>,
        service: S,
        (deadline, mut closing): (Instant, Pin<&mut impl Future<Output = ()>>),
        asking: Asking,
    ) -> Ended
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        S: GrpcService,
    {
        let io = tokio::select! {
            biased;
            begun = self.begin(io, tls, deadline) => match begun {
                Some(io) => io,
                None => return Ended::Finished,
            },
            () = closing.as_mut() => return Ended::Finished,
            () = asking.needed() => {
                self.stats.preface_failed();
                return Ended::Finished;
            }
        };
        let asks = asking.clone();
        let answer = service_fn(move |request| {
            asks.asked();
            // hyper and tokio move what they run several times before it runs, and most of a
            // request's future is room for what seldom happens.
            let answer = Box::pin(service.clone().call(request));
            async move { Ok::<_, Infallible>(answer.await) }
        });
        let turn = Turn::default();
        let io = Ahead::new(turn.reads(io));
        let begun = Begun::new(Arc::clone(&self.stats));
        let connection =
            self.http2.builder(begun.clone()).serve_connection(TokioIo::new(io), answer);
        self.until_it_ends(pin!(begun.after(turn.polls(connection))), closing, &asking).await
    }

    /// Runs a connection until it ends by itself, is too old, is to close, or is in the way.
    async fn until_it_ends(
        &self,
        mut connection: Pin<&mut impl Connection>,
        closing: Pin<&mut impl Future<Output = ()>>,
        asking: &Asking,
    ) -> Ended {
        let age = jittered(self.max_age, &mut rand::rng());
        let why = tokio::select! {
            biased;
            () = closing => Why::Drain,
            result = connection.as_mut() => return finished(result),
            () = asking.needed() => Why::Needed,
            () = lasts(age, asking) => Why::Age,
        };
        if why != Why::Drain && !asking.has_asked() {
            tracing::debug!(?why, "a connection is let go on which nothing was asked");
            self.stats.was_unused();
        }
        connection.as_mut().ask_to_end();
        match why {
            // In a drain one clock runs for all connections, and it isn't here.
            Why::Drain => finished(connection.await),
            // It is told and not waited for: somebody else is waiting.
            Why::Needed => poll_immediate(connection).await.map_or(Ended::Finished, finished),
            Why::Age => match timeout(self.grace, connection).await {
                Ok(result) => finished(result),
                Err(_) => Ended::Cut,
            },
        }
    }

    /// What a client does first, with one deadline for all of it.
    async fn begin<I>(
        &self,
        io: I,
        tls: Option<ServerTls>,
        deadline: Instant,
    ) -> Option<Prefaced<Secured<I>>>
    where
        I: AsyncRead + AsyncWrite + Unpin,
    {
        let io = secure(io, tls, deadline).await?;
        match timeout_at(deadline, Prefaced::read(io)).await {
            Ok(Ok(io)) => return Some(io),
            Ok(Err(error)) => tracing::debug!(%error, "a connection did not begin as HTTP/2 does"),
            Err(_) => tracing::debug!("a connection did not begin in time"),
        }
        self.stats.preface_failed();
        None
    }
}

/// A connection of either kind: a future that can be asked to end.
trait Connection: Future<Output = hyper::Result<()>> {
    fn ask_to_end(self: Pin<&mut Self>);
}

impl<I, S, B> Connection for http2::Connection<I, S, Begun>
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
    S: hyper::service::HttpService<Incoming, ResBody = B, Error: Into<StdError>>,
    B: http_body::Body<Error: Into<StdError>> + 'static,
    Self: Future<Output = hyper::Result<()>>,
    Begun: hyper::rt::bounds::Http2ServerConnExec<S::Future, B>,
{
    fn ask_to_end(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<C: Connection> Connection for Answering<C> {
    fn ask_to_end(self: Pin<&mut Self>) {
        self.connection().ask_to_end();
    }
}

impl<C: Connection> Connection for InTurns<C> {
    fn ask_to_end(self: Pin<&mut Self>) {
        self.connection().ask_to_end();
    }
}

impl<I, S, B> Connection for http1::Connection<I, S>
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin + 'static,
    S: hyper::service::HttpService<Incoming, ResBody = B, Error: Into<StdError>>,
    B: http_body::Body<Error: Into<StdError>> + 'static,
    Self: Future<Output = hyper::Result<()>>,
{
    fn ask_to_end(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// The TLS handshake, where there is one.
async fn secure<I>(io: I, tls: Option<ServerTls>, deadline: Instant) -> Option<Secured<I>>
where
    I: AsyncRead + AsyncWrite + Unpin,
{
    Some(match tls {
        None => Secured::Plain(io),
        // Room for a handshake, only while there is one.
        Some(tls) => Secured::Tls(Box::new(Box::pin(tls.handshake(io, deadline)).await?)),
    })
}

/// A client that goes away in the middle is nothing an operator can do about.
fn finished(result: hyper::Result<()>) -> Ended {
    if let Err(error) = result {
        tracing::debug!(%error, "a connection ended with an error");
    }
    Ended::Finished
}

/// Comes to an end when a connection is as old as it may be; sooner where nothing is asked on it.
async fn lasts(age: Duration, asking: &Asking) {
    sleep(age.min(UNUSED)).await;
    if asking.has_asked() {
        sleep(age.saturating_sub(UNUSED)).await;
    }
}

/// Around `max`, so that connections that began together don't end together.
fn jittered(max: Duration, random: &mut impl Rng) -> Duration {
    let factor = random.random_range(0.9..=1.1);
    Duration::try_from_secs_f64(max.as_secs_f64() * factor).unwrap_or(max)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    #[test]
    fn ages_differ_by_a_tenth_at_most() {
        let mut random = StdRng::seed_from_u64(7);
        let max = Duration::from_secs(1800);
        let ages: Vec<u64> = (0..1000).map(|_| jittered(max, &mut random).as_secs()).collect();
        assert!(ages.iter().all(|age| (1620..=1980).contains(age)));
        assert!(ages.iter().any(|age| *age < 1700) && ages.iter().any(|age| *age > 1900));
        assert_eq!(jittered(Duration::ZERO, &mut random), Duration::ZERO);
        // Longer than there is time: no panic.
        assert!(jittered(Duration::MAX, &mut random) > Duration::from_secs(1 << 40));
    }
}
