//! Serving the admin port, within bounds.

use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};

use super::access::Peer;
use crate::tls::ServerTls;

/// Probes and scrapers are few. What is beyond waits in the kernel's queue, and takes no
/// descriptor from those who serve requests.
const MAX_CONNECTIONS: usize = 32;
/// Nobody needs longer to ask, or for the TLS handshake before that.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// Or to be answered.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(30);
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(100);

/// Answers one request a connection, until dropped.
pub async fn serve(listener: TcpListener, tls: Option<ServerTls>, router: Router) {
    let turns = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(turn) = Arc::clone(&turns).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!(%error, "the admin port could not accept");
                sleep(PAUSE_AFTER_ERROR).await;
                continue;
            }
        };
        let (tls, router) = (tls.clone(), router.clone());
        tokio::spawn(async move {
            match tls {
                None => answer(stream, Peer { has_certificate: false }, router).await,
                Some(tls) => {
                    let deadline = Instant::now() + HEADER_TIMEOUT;
                    if let Some(stream) = tls.handshake(stream, deadline).await {
                        let certificates = stream.get_ref().1.peer_certificates();
                        let peer = Peer { has_certificate: certificates.is_some() };
                        answer(stream, peer, router).await;
                    }
                }
            }
            drop(turn);
        });
    }
}

async fn answer<I>(stream: I, peer: Peer, router: Router)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = TowerToHyperService::new(router.layer(Extension(peer)));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    // Whoever is too slow is let go.
    let _ = timeout(CONNECTION_TIMEOUT, connection).await;
}
