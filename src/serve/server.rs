//! The server: from binding to the last connection's end.

use std::fs;
use std::future::pending;
use std::pin::pin;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::sleep;

use super::accept::{Accept, Door, Handover, Listeners};
use super::connection::{Ended, GrpcService, Served, Terms};
use super::http1::HttpService;
use super::listener::Listener;
use super::settings::Speaks;
use super::workers::{Pulse, Workers};
use super::{BindError, BoundAddress, ServeSettings, ServeStats};
use crate::quiet::{Asking, Quiet, Told};
use crate::shutdown::Shutdown;
use crate::tls::ServerTls;

/// Descriptors that are kept for everything that isn't a connection: files, key
/// set and catalog fetches, the admin port, and the connection that waits for another's place.
const RESERVED_DESCRIPTORS: usize = 64;

/// Bound listeners, ready to serve.
#[derive(Debug)]
pub struct Server {
    settings: ServeSettings,
    listeners: Listeners,
    workers: Workers,
    addresses: Vec<BoundAddress>,
    http_addresses: Vec<BoundAddress>,
    http: Option<Arc<dyn HttpService>>,
    stats: Arc<ServeStats>,
}

/// How the connections ended that were open when the listeners closed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DrainReport {
    /// Those that ended by themselves or when asked to.
    pub finished: usize,
    /// Those that were ended because they outlived the drain, or it was aborted.
    pub aborted: usize,
}

impl Server {
    /// Binds every listener. From then on connections queue up in the kernel.
    ///
    /// The file of a Unix socket has its mode before anybody can connect. A socket
    /// that nobody answers at is replaced.
    ///
    /// # Errors
    /// The first listener that can't be had; those before it are given back.
    pub async fn bind(settings: ServeSettings) -> Result<Self, BindError> {
        Self::bind_with(settings, &[]).await
    }

    /// [`Server::bind`] with what listeners with TLS show, for each protocol.
    ///
    /// # Errors
    /// As above; also where a listener has TLS and there is nothing to show.
    pub async fn bind_with(
        mut settings: ServeSettings,
        tls: &[ServerTls],
    ) -> Result<Self, BindError> {
        if settings.listeners.is_empty() {
            return Err(BindError::NoListener);
        }
        let mut listeners = Vec::new();
        let (mut addresses, mut http_addresses) = (Vec::new(), Vec::new());
        for (speaks, wanted, bound) in [
            (Speaks::Http2, &settings.listeners, &mut addresses),
            (Speaks::Http1, &settings.http_listeners, &mut http_addresses),
        ] {
            let tls = tls.iter().find(|tls| tls.protocol() == speaks.protocol());
            for address in wanted {
                let listener = Listener::bind(address, tls).await?;
                bound.push(listener.address());
                listeners.push((listener, speaks));
            }
        }
        settings.max_connections = affordable(settings.max_connections, descriptor_limit());
        let listeners = Listeners::new(listeners);
        let workers = Workers::start(settings.workers).map_err(BindError::Workers)?;
        let stats = Arc::new(ServeStats::new(settings.max_connections));
        Ok(Self { settings, listeners, workers, addresses, http_addresses, http: None, stats })
    }

    /// Has this answer on the listeners that speak HTTP/1.1. Without, they answer 503.
    #[must_use]
    pub fn with_http(self, service: Arc<dyn HttpService>) -> Self {
        Self { http: Some(service), ..self }
    }

    /// Where the gRPC listeners really are, in the order of the settings.
    #[must_use]
    pub fn addresses(&self) -> &[BoundAddress] {
        &self.addresses
    }

    /// The same of the listeners that speak HTTP/1.1.
    #[must_use]
    pub fn http_addresses(&self) -> &[BoundAddress] {
        &self.http_addresses
    }

    /// Connections that may be open at a time: as many as the settings say, or fewer where the
    /// process has too few descriptors for them.
    #[must_use]
    pub fn max_connections(&self) -> usize {
        self.settings.max_connections
    }

    /// Feels whether the threads answer that connections are served on.
    #[must_use]
    pub fn pulse(&self) -> Pulse {
        self.workers.pulse()
    }

    /// The counters, for as long as anybody looks.
    #[must_use]
    pub fn stats(&self) -> Arc<ServeStats> {
        Arc::clone(&self.stats)
    }

    /// Serves until `shutdown` drains or aborts, and tells how it went.
    ///
    /// At the cap the next connection takes the place of one on which nothing was asked yet
    /// (`quiet.rs` says of which). Where something was asked on all of them, no connection is
    /// accepted until one ends; the kernel's queue holds the others.
    ///
    /// A drain goes: accept on for `pre_stop`; close the listeners and remove the
    /// files of Unix sockets; ask every connection to end (GOAWAY), which lets
    /// requests in flight finish; cut what is left after `drain_timeout`. An abort
    /// cuts at once. When this returns, no connection is left.
    pub async fn run<S>(self, service: S, shutdown: Shutdown) -> DrainReport
    where
        S: GrpcService,
    {
        let (accept, workers) = (self.listeners, self.workers);
        let service = Served { grpc: service, http: self.http };
        serve(accept, &workers, &self.settings, service, &shutdown, &self.stats).await
    }
}

/// [`Server::run`] with connections from anywhere.
pub(super) async fn serve<A, S>(
    accept: A,
    workers: &Workers,
    settings: &ServeSettings,
    service: Served<S>,
    shutdown: &Shutdown,
    stats: &Arc<ServeStats>,
) -> DrainReport
where
    A: Accept,
    S: GrpcService,
{
    let terms = Terms::new(settings, Arc::clone(stats));
    let (close, closing) = watch::channel(false);
    let mut connections = Connections { tasks: JoinSet::new(), stats: Arc::clone(stats) };
    let mut door = Door::new(accept, Arc::clone(stats));

    let mut aborting = pin!(shutdown.aborting());
    // The drain's first part: seen as ending, but still open.
    let mut stopped = pin!(async {
        shutdown.draining().await;
        sleep(settings.pre_stop).await;
    });
    let mut quiet = Quiet::default();
    // Who was accepted and has no place yet, and who was told to make it.
    let mut next: Option<A::Io> = None;
    let mut told: Option<Told> = None;
    let aborted = loop {
        let is_full = connections.tasks.len() >= settings.max_connections;
        if !is_full && let Some(io) = next.take() {
            told = None;
            stats.opened();
            let asking = quiet.enter(io.peer());
            let (terms, service) = (terms.clone(), service.clone());
            connections.start(workers, serve_one(io, terms, service, closing.clone(), asking));
            continue;
        }
        if next.is_some() && told.is_none() {
            told = quiet.tell_one();
        }
        let is_open = next.is_none() && (!is_full || quiet.is_any());
        tokio::select! {
            biased;
            () = &mut aborting => break true,
            () = &mut stopped => break false,
            Some(ended) = connections.tasks.join_next() => {
                connections.settle(ended);
            }
            () = stays(told.as_ref()) => told = None,
            io = door.next(), if is_open => next = Some(io),
        }
    };
    drop((door, next));
    close.send_replace(true);

    let mut report = DrainReport::default();
    if !aborted {
        let mut late = pin!(sleep(settings.drain_timeout));
        loop {
            tokio::select! {
                biased;
                ended = connections.tasks.join_next() => match ended {
                    Some(ended) => report.add(connections.settle(ended)),
                    None => break,
                },
                () = &mut late => break,
                () = &mut aborting => break,
            }
        }
    }
    connections.tasks.abort_all();
    while let Some(ended) = connections.tasks.join_next().await {
        report.add(connections.settle(ended));
    }
    report
}

/// Comes to an end when a connection that was told to go stays after all.
async fn stays(told: Option<&Told>) {
    match told {
        Some(told) => told.stays().await,
        None => pending().await,
    }
}

/// The running connections, and their count.
struct Connections {
    tasks: JoinSet<Ended>,
    stats: Arc<ServeStats>,
}

/// Serves a connection on whatever runtime this runs.
async fn serve_one<H: Handover, S: GrpcService>(
    io: H,
    terms: Terms,
    service: Served<S>,
    closing: watch::Receiver<bool>,
    asking: Asking,
) -> Ended {
    let (tls, speaks) = (io.tls(), io.speaks());
    match io.take() {
        Ok(io) => terms.serve(io, tls, speaks, service, closing, asking).await,
        Err(error) => {
            tracing::warn!(%error, "a connection was accepted and cannot be served");
            Ended::Cut
        }
    }
}

impl Connections {
    /// Runs a connection where the fewest are.
    fn start(
        &mut self,
        workers: &Workers,
        connection: impl Future<Output = Ended> + Send + 'static,
    ) {
        match workers.least_busy() {
            Some((runtime, place)) => {
                let connection = async move {
                    let ended = connection.await;
                    drop(place);
                    ended
                };
                self.tasks.spawn_on(connection, runtime);
            }
            None => {
                self.tasks.spawn(connection);
            }
        }
    }

    fn settle(&self, ended: Result<Ended, JoinError>) -> Ended {
        self.stats.closed();
        ended.unwrap_or_else(|error| {
            if error.is_panic() {
                self.stats.panicked();
                tracing::error!("a connection panicked");
            }
            Ended::Cut
        })
    }
}

impl DrainReport {
    fn add(&mut self, ended: Ended) {
        match ended {
            Ended::Finished => self.finished += 1,
            Ended::Cut => self.aborted += 1,
        }
    }
}

/// The cap that leaves descriptors for the rest of the process.
fn affordable(wanted: usize, descriptors: Option<usize>) -> usize {
    let Some(descriptors) = descriptors else { return wanted.max(1) };
    let most = descriptors.saturating_sub(RESERVED_DESCRIPTORS.min(descriptors / 2));
    if wanted > most {
        tracing::warn!(wanted, most, descriptors, "too few descriptors for all connections");
    }
    wanted.min(most).max(1)
}

/// The process's soft limit of open files, where the system tells.
pub(crate) fn descriptor_limit() -> Option<usize> {
    parse_limit(&fs::read_to_string("/proc/self/limits").ok()?)
}

fn parse_limit(limits: &str) -> Option<usize> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
pub(super) mod tests;
