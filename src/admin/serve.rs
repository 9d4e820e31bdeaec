//! Serving the admin port, within bounds.

use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout};

use super::access::Peer;
use crate::quiet::{Asking, Quiet};
use crate::tls::ServerTls;

/// Probes and scrapers are few. What is beyond waits in the kernel's queue, and takes no
/// descriptor from those who serve requests.
const MAX_CONNECTIONS: usize = 32;
/// Nobody needs longer to ask.
const HEADER_TIMEOUT: Duration = Duration::from_secs(1);
/// Or for the TLS handshake before that.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(3);
/// Or to be answered.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(30);
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(100);

/// Answers one request a connection, until dropped.
///
/// Whoever reaches the port can connect, and only what is asked tells whether it is Kubernetes:
/// a probe that gets no answer ends the process. So where all places are taken, a connection on
/// which nothing was asked yet gives up its own to the next; one that is being answered stays.
pub async fn serve(listener: TcpListener, tls: Option<ServerTls>, router: Router) {
    let turns = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut quiet = Quiet::default();
    loop {
        let (stream, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%error, "the admin port could not accept");
                sleep(PAUSE_AFTER_ERROR).await;
                continue;
            }
        };
        let Some(turn) = turn(&turns, &mut quiet).await else { return };
        let asking = quiet.enter(Some(from.ip().to_canonical()));
        let answering = answer(stream, tls.clone(), router.clone(), asking.clone());
        tokio::spawn(async move {
            tokio::select! {
                biased;
                () = answering => {}
                () = asking.needed() => {}
            }
            drop(turn);
        });
    }
}

/// The next turn. Where there is none left, somebody who has asked nothing is told to let go.
async fn turn(turns: &Arc<Semaphore>, quiet: &mut Quiet) -> Option<OwnedSemaphorePermit> {
    loop {
        if let Ok(turn) = Arc::clone(turns).try_acquire_owned() {
            return Some(turn);
        }
        let next = Arc::clone(turns).acquire_owned();
        let Some(told) = quiet.tell_one() else { return next.await.ok() };
        tokio::select! {
            turn = next => return turn.ok(),
            () = told.stays() => {}
        }
    }
}

async fn answer(stream: TcpStream, tls: Option<ServerTls>, router: Router, asking: Asking) {
    let Some(tls) = tls else {
        return answer_on(stream, Peer { has_certificate: false }, router, asking).await;
    };
    let deadline = Instant::now() + HANDSHAKE_TIMEOUT;
    if let Some(stream) = tls.handshake(stream, deadline).await {
        let certificates = stream.get_ref().1.peer_certificates();
        let peer = Peer { has_certificate: certificates.is_some() };
        answer_on(stream, peer, router, asking).await;
    }
}

async fn answer_on<I>(stream: I, peer: Peer, router: Router, asking: Asking)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let pages = TowerToHyperService::new(router.layer(Extension(peer)));
    let service = service_fn(move |request: Request<Incoming>| {
        asking.asked();
        pages.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    // Whoever is too slow is let go.
    let _ = timeout(CONNECTION_TIMEOUT, connection).await;
}
