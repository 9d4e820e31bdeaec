//! Taking connections in, whatever the system says to it.

use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep_until};

use super::ServeStats;
use super::listener::{Accepted, Listener};
use super::settings::Speaks;
use crate::seldom::Seldom;
use crate::tls::ServerTls;

/// The first wait after an error, and the longest. Whoever comes when descriptors are there again
/// waits as long at the most.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(200));
const SAY_EVERY: Duration = Duration::from_secs(10);

/// Where connections come from. A narrow trait, so that a fault can be had in a
/// test that is hard to bring about in a system.
pub(super) trait Accept {
    /// A connection.
    type Io: Handover;

    /// The next connection.
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Self::Io>>;
}

/// A connection on its way from the runtime that accepted it to the one that serves it.
pub(super) trait Handover: Send + 'static {
    /// The connection on a runtime.
    type Io: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// What makes its TLS handshake, where it begins with one.
    fn tls(&self) -> Option<ServerTls>;

    /// What is spoken on it, within TLS if there is TLS.
    fn speaks(&self) -> Speaks {
        Speaks::Http2
    }

    /// Where it comes from, if that has an address.
    fn peer(&self) -> Option<IpAddr> {
        None
    }

    /// Takes it in on the runtime of the caller.
    fn take(self) -> io::Result<Self::Io>;
}

/// All listeners of a server, taken in turn.
#[derive(Debug)]
pub(super) struct Listeners {
    listeners: Vec<(Listener, Speaks)>,
    first: usize,
}

impl Listeners {
    pub(super) fn new(listeners: Vec<(Listener, Speaks)>) -> Self {
        Self { listeners, first: 0 }
    }
}

impl Handover for (Accepted, Speaks) {
    type Io = <Accepted as Handover>::Io;

    fn tls(&self) -> Option<ServerTls> {
        self.0.tls()
    }

    fn speaks(&self) -> Speaks {
        self.1
    }

    fn peer(&self) -> Option<IpAddr> {
        self.0.peer()
    }

    fn take(self) -> io::Result<Self::Io> {
        self.0.take()
    }
}

impl Accept for Listeners {
    type Io = (Accepted, Speaks);

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Self::Io>> {
        // Each call begins with another, so that a busy one starves nobody.
        let count = self.listeners.len();
        self.first = (self.first + 1) % count.max(1);
        let (before, after) = self.listeners.split_at_checked(self.first).unwrap_or_default();
        for (listener, speaks) in after.iter().chain(before) {
            if let Poll::Ready(accepted) = listener.poll_accept(cx) {
                return Poll::Ready(accepted.map(|accepted| (accepted, *speaks)));
            }
        }
        Poll::Pending
    }
}

/// Accepts on and on. When the system can't give a connection (no descriptor, no
/// memory), the next try waits: the connection stays in the kernel's queue, which
/// would report it again at once and for as long as it takes.
#[derive(Debug)]
pub(super) struct Door<A> {
    accept: A,
    stats: Arc<ServeStats>,
    wait: Duration,
    again: Option<Instant>,
    news: Seldom,
}

impl<A: Accept> Door<A> {
    pub(super) fn new(accept: A, stats: Arc<ServeStats>) -> Self {
        Self { accept, stats, wait: BACKOFF.0, again: None, news: Seldom::new(SAY_EVERY) }
    }

    /// The next connection. Nothing is lost when the future is dropped.
    pub(super) async fn next(&mut self) -> A::Io {
        loop {
            if let Some(again) = self.again {
                sleep_until(again).await;
                self.again = None;
            }
            match poll_fn(|cx| self.accept.poll_accept(cx)).await {
                Ok(io) => {
                    self.wait = BACKOFF.0;
                    return io;
                }
                Err(error) if is_the_clients(&error) => {}
                Err(error) => self.put_off(&error),
            }
        }
    }

    fn put_off(&mut self, error: &io::Error) {
        self.stats.accept_failed();
        let now = Instant::now();
        if let Some(unsaid) = self.news.ask(now) {
            tracing::warn!(%error, unsaid, "cannot accept connections, trying again");
        }
        self.again = Some(now + self.wait);
        self.wait = (self.wait * 2).min(BACKOFF.1);
    }
}

/// Whether it is that one connection's end, which says nothing about the next.
fn is_the_clients(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}
