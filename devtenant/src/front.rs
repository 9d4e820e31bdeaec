//! What stands between a client and a server and can fail as networks do: over TLS, with
//! the right certificate or a wrong one, or in the middle of an answer.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::{DEFAULT_VERSIONS, ServerConfig};

use crate::keys::pem;
use crate::serve::anywhere;

/// What a front does with connections. Those that are open end when it changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    /// Passes everything on.
    Open,
    /// Ends each connection at once.
    Closed,
    /// Accepts, and says nothing.
    Silent,
    /// Passes so many bytes of answers on, and ends the connection.
    CutOff(usize),
    /// Passes answers on byte by byte, with a pause before each.
    Drip(Duration),
    /// Shows a certificate of an authority that nobody knows.
    Untrusted,
    /// Shows a certificate for another host.
    OtherHost,
    /// Shows a certificate that is over.
    Expired,
    /// Answers without TLS.
    Plain,
}

/// Who signs the certificates that fronts show.
pub struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Not the private key.
        out.debug_struct("Authority").finish_non_exhaustive()
    }
}

impl Authority {
    /// A new one.
    ///
    /// # Errors
    /// No key or certificate can be made.
    pub fn generate() -> Result<Self> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = pem("CERTIFICATE", params.self_signed(&key)?.der());
        Ok(Self { pem, issuer: Issuer::new(params, key) })
    }

    /// Its certificate as PEM: what a client has to trust.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    fn acceptor(&self, host: &str, expired: bool) -> Result<TlsAcceptor> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(vec![host.to_owned()])?;
        if expired {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2020, 2, 1);
        }
        let certificate = params.signed_by(&key, &self.issuer)?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(DEFAULT_VERSIONS)?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)?;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

/// A running front; ends when dropped.
#[derive(Debug)]
pub struct Front {
    address: SocketAddr,
    shared: Arc<Shared>,
    passage: watch::Sender<Passage>,
    task: JoinHandle<()>,
}

struct Shared {
    target: Mutex<Option<SocketAddr>>,
    accepted: AtomicUsize,
    good: TlsAcceptor,
    untrusted: TlsAcceptor,
    other_host: TlsAcceptor,
    expired: TlsAcceptor,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Shared").field("target", &self.target).finish_non_exhaustive()
    }
}

impl Front {
    /// Starts a front on loopback, under the name `localhost`. It passes nothing on before
    /// it has a [target](Self::lead_to).
    ///
    /// # Errors
    /// No address can be had, or no certificate made.
    pub async fn start(authority: &Authority) -> Result<Self> {
        let shared = Arc::new(Shared {
            target: Mutex::new(None),
            accepted: AtomicUsize::new(0),
            good: authority.acceptor("localhost", false)?,
            untrusted: Authority::generate()?.acceptor("localhost", false)?,
            other_host: authority.acceptor("elsewhere.example.com", false)?,
            expired: authority.acceptor("localhost", true)?,
        });
        let listener = TcpListener::bind(anywhere()).await?;
        let address = listener.local_addr()?;
        let (passage, watched) = watch::channel(Passage::Open);
        let task = tokio::spawn(accept(listener, Arc::clone(&shared), watched));
        Ok(Self { address, shared, passage, task })
    }

    /// Passes on to this server from now on.
    pub fn lead_to(&self, target: SocketAddr) {
        *self.shared.target.lock().unwrap_or_else(PoisonError::into_inner) = Some(target);
    }

    /// Its base address, without a final slash.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }

    /// Does this from now on.
    pub fn set(&self, passage: Passage) {
        self.passage.send_replace(passage);
    }

    /// How many connections came.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, passage: watch::Receiver<Passage>) {
    loop {
        let Ok((client, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        shared.accepted.fetch_add(1, Ordering::SeqCst);
        let (shared, mut changes) = (Arc::clone(&shared), passage.clone());
        tokio::spawn(async move {
            let now = *changes.borrow_and_update();
            tokio::select! {
                // A connection that ended with an error is what was asked for.
                _ = pass(client, &shared, now) => {}
                // With the sender goes the front.
                _ = changes.changed() => {}
            }
        });
    }
}

async fn pass(mut client: TcpStream, shared: &Shared, passage: Passage) -> Result<()> {
    let acceptor = match passage {
        Passage::Closed => return Ok(()),
        Passage::Silent => std::future::pending().await,
        Passage::Plain => {
            let answer = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";
            return Ok(client.write_all(answer).await?);
        }
        Passage::Untrusted => &shared.untrusted,
        Passage::OtherHost => &shared.other_host,
        Passage::Expired => &shared.expired,
        Passage::Open | Passage::CutOff(_) | Passage::Drip(_) => &shared.good,
    };
    let client = acceptor.accept(client).await?;
    let target = *shared.target.lock().unwrap_or_else(PoisonError::into_inner);
    let server = TcpStream::connect(target.context("no target")?).await?;
    let (mut asking, mut asked) = tokio::io::split(client);
    let (mut answering, mut answered) = server.into_split();
    let forth = async {
        tokio::io::copy(&mut asking, &mut answered).await?;
        // A client that asks no more may still wait for an answer.
        answered.shutdown().await
    };
    tokio::try_join!(forth, answers(&mut answering, &mut asked, passage))?;
    Ok(())
}

/// Passes answers on, as far and as fast as it is to be. An error ends the connection.
async fn answers(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    passage: Passage,
) -> io::Result<()> {
    let (mut left, pause) = match passage {
        Passage::CutOff(bytes) => (bytes, None),
        Passage::Drip(pause) => (usize::MAX, Some(pause)),
        _ => (usize::MAX, None),
    };
    let mut room = [0; 4096];
    loop {
        let most = if pause.is_some() { 1 } else { left.min(room.len()) };
        let room = room.get_mut(..most).unwrap_or_default();
        let read = from.read(room).await?;
        if read == 0 {
            return to.shutdown().await;
        }
        if let Some(pause) = pause {
            tokio::time::sleep(pause).await;
        }
        to.write_all(room.get(..read).unwrap_or_default()).await?;
        to.flush().await?;
        left -= read;
        if left == 0 {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
    }
}
