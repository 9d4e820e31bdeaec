//! Checks over raw gRPC, as fast as the server takes them or at a given rate.
//!
//! On h2 itself and with messages made beforehand, so that the load costs less than what
//! it measures. The field's generators send one body; here each request can carry another
//! token, and each kind of token has percentiles of its own.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use h2::client::SendRequest;
use hdrhistogram::Histogram;
use http::Request;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::{LocalSet, yield_now};

/// Where the server is.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    Tcp(u16),
    Unix(String),
}

/// What is sent.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    pub(crate) target: Target,
    pub(crate) connections: usize,
    /// Requests in flight on each connection.
    pub(crate) streams: usize,
    /// Requests in all.
    pub(crate) requests: usize,
    /// Requests a second, however many are in flight; without it, the next one goes when
    /// there is an answer.
    pub(crate) rate: Option<f64>,
}

/// A message with its frame, and whether its token is forged.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) frame: Bytes,
    pub(crate) is_forged: bool,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) took: Duration,
    pub(crate) allowed: usize,
    pub(crate) denied: usize,
    /// Denied because the server could not know: overload, among others.
    pub(crate) unavailable: usize,
    /// The first answer, without its frame.
    pub(crate) first: Vec<u8>,
    /// Of requests whose tokens are good, in nanoseconds.
    pub(crate) good: Histogram<u64>,
    pub(crate) forged: Histogram<u64>,
}

/// Sends `requests` messages, which `next` gives by number.
pub(crate) fn run(load: &Load, next: &dyn Fn(usize) -> Message) -> Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, send(load, next))
}

struct Shared<'a> {
    next: &'a dyn Fn(usize) -> Message,
    given: Cell<usize>,
    requests: usize,
    begun: Instant,
    outcome: RefCell<Outcome>,
}

async fn send(load: &Load, next: &dyn Fn(usize) -> Message) -> Result<Outcome> {
    let mut senders = Vec::new();
    for _ in 0..load.connections {
        senders.push(match &load.target {
            Target::Tcp(port) => {
                let stream = TcpStream::connect(("127.0.0.1", *port)).await?;
                stream.set_nodelay(true)?;
                connect(stream).await?
            }
            Target::Unix(path) => connect(UnixStream::connect(path).await?).await?,
        });
    }
    let histogram = || Histogram::new_with_bounds(1, 60_000_000_000, 3);
    let outcome = Outcome {
        took: Duration::ZERO,
        allowed: 0,
        denied: 0,
        unavailable: 0,
        first: Vec::new(),
        good: histogram()?,
        forged: histogram()?,
    };
    let shared = Rc::new(Shared {
        next,
        given: Cell::new(0),
        requests: load.requests,
        begun: Instant::now(),
        outcome: RefCell::new(outcome),
    });
    match load.rate {
        None => {
            let streams = senders.iter().flat_map(|sender| vec![sender; load.streams]);
            let all = streams.map(|sender| stream(sender, &shared));
            for ended in futures_util::future::join_all(all).await {
                ended?;
            }
        }
        Some(rate) => paced(&senders, &shared, Duration::from_secs_f64(1.0 / rate)).await?,
    }
    let took = shared.begun.elapsed();
    let shared = Rc::into_inner(shared).context("a stream is left")?;
    let outcome = Outcome { took, ..shared.outcome.into_inner() };
    let answers = outcome.allowed + outcome.denied + outcome.unavailable;
    ensure!(answers == load.requests, "{answers} answers to {} requests", load.requests);
    Ok(outcome)
}

async fn connect<I>(stream: I) -> Result<SendRequest<Bytes>>
where
    I: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let (sender, connection) = h2::client::Builder::new()
        .initial_window_size(1 << 20)
        .initial_connection_window_size(1 << 24)
        .handshake(stream)
        .await?;
    tokio::task::spawn_local(connection);
    Ok(sender)
}

/// One request after another, until there are no more.
async fn stream(sender: &SendRequest<Bytes>, shared: &Shared<'_>) -> Result<()> {
    loop {
        let number = shared.given.get();
        if number >= shared.requests {
            return Ok(());
        }
        shared.given.set(number + 1);
        one(sender.clone(), shared, number, Instant::now()).await?;
    }
}

/// Each request when it is due, however many are on their way. Latency is measured from then:
/// who is late because the server is doesn't make it look fast.
async fn paced(senders: &[SendRequest<Bytes>], shared: &Shared<'_>, every: Duration) -> Result<()> {
    let mut on_their_way = FuturesUnordered::new();
    for (number, sender) in (0..shared.requests).zip(senders.iter().cycle()) {
        let due = shared.begun + every.mul_f64(f64::from(u32::try_from(number)?));
        loop {
            // The answers that are there are taken meanwhile.
            match on_their_way.next().now_or_never() {
                Some(Some(ended)) => ended?,
                Some(None) | None => yield_now().await,
            }
            if Instant::now() >= due {
                break;
            }
        }
        on_their_way.push(one(sender.clone(), shared, number, due));
    }
    while let Some(ended) = on_their_way.next().await {
        ended?;
    }
    Ok(())
}

/// One request, and what comes back.
async fn one(
    sender: SendRequest<Bytes>,
    shared: &Shared<'_>,
    number: usize,
    due: Instant,
) -> Result<()> {
    let message = (shared.next)(number);
    let request = Request::post("http://stagedoor/envoy.service.auth.v3.Authorization/Check")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())?;
    let mut sender = sender.ready().await?;
    let (response, mut body) = sender.send_request(request, false)?;
    body.send_data(message.frame, true)?;
    let (head, mut body) = response.await?.into_parts();
    ensure!(head.status == 200, "status {}", head.status);
    let mut answer = Vec::new();
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        answer.extend_from_slice(&data);
    }
    let trailers = body.trailers().await?.context("no trailers")?;
    ensure!(trailers.get("grpc-status").is_some_and(|code| code == "0"), "{trailers:?}");
    let nanos = u64::try_from(due.elapsed().as_nanos())?.max(1);
    let mut outcome = shared.outcome.borrow_mut();
    if outcome.first.is_empty() {
        outcome.first = answer.get(5..).unwrap_or_default().to_vec();
    }
    if message.is_forged { &mut outcome.forged } else { &mut outcome.good }.record(nanos)?;
    match code(&answer).context("no answer to a check")? {
        0 => outcome.allowed += 1,
        14 => outcome.unavailable += 1,
        _ => outcome.denied += 1,
    }
    Ok(())
}

/// `status.code` of a `CheckResponse` in its frame. Both servers write the status first, and
/// the code first in it where there is one.
fn code(answer: &[u8]) -> Option<u8> {
    match answer.get(5..)? {
        [0x0a, 0, ..] => Some(0),
        [0x0a, _, 0x08, code, ..] => Some(*code),
        [0x0a, _, 0x12, ..] => Some(0),
        _ => None,
    }
}
