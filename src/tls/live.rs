//! What a listener shows now, and how new files take its place.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::files::{Files, Fingerprint};
use super::offer::Offer;
use super::{CertificateFacts, Protocol, TlsError, TlsSettings};
use crate::clock::Now;
use crate::seldom::Seldom;

/// How often the files are looked at.
const EVERY: Duration = Duration::from_secs(2);
/// How long they have to stay as they are: whoever writes two files needs a moment.
const SETTLED_FOR: Duration = Duration::from_millis(100);
const SAY_EVERY: Duration = Duration::from_secs(10);
/// How often it is said that a certificate has expired.
const SAY_EXPIRED_EVERY: Duration = Duration::from_secs(3600);

/// A listener's TLS. Cheap to clone; every clone shows the same.
#[derive(Clone, Debug)]
pub struct ServerTls {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    settings: TlsSettings,
    protocol: Protocol,
    offer: ArcSwap<Offer>,
    again: Notify,
    seen: Mutex<Seen>,
    failures: AtomicU64,
    news: Mutex<Seldom>,
}

/// What came of the last look at the files.
#[derive(Debug)]
struct Seen {
    /// What was in them, unless they could not be read.
    fingerprint: Option<Fingerprint>,
    /// When all of them could be read.
    read: Instant,
    last_error: Option<String>,
    expired: Seldom,
}

/// The state of a listener's TLS, for people.
#[derive(Clone, Debug)]
pub struct TlsStatus {
    /// Which listener.
    pub listener: &'static str,
    /// The file of its certificate.
    pub file: PathBuf,
    /// What stands in the certificate that is shown.
    pub facts: CertificateFacts,
    /// Since when it is shown, in Unix time.
    pub since: i64,
    /// When its files could last be read.
    pub read: Instant,
    /// Why the files as they are now are not used.
    pub last_error: Option<String>,
    /// Connections that did not get through their handshake.
    pub handshake_failures: u64,
}

impl ServerTls {
    /// Reads the files for the first time.
    ///
    /// # Errors
    /// Which file can't be used, and why. An expired certificate can't.
    pub fn load(settings: TlsSettings, protocol: Protocol, now: Now) -> Result<Self, TlsError> {
        let files = Files::read(&settings)?;
        let offer = Offer::new(&settings, &files, protocol, now.unix)?;
        let seen = Seen {
            fingerprint: Some(files.fingerprint()),
            read: now.instant,
            last_error: None,
            expired: Seldom::new(SAY_EXPIRED_EVERY),
        };
        Ok(Self {
            shared: Arc::new(Shared {
                settings,
                protocol,
                offer: ArcSwap::from_pointee(offer),
                again: Notify::new(),
                seen: Mutex::new(seen),
                failures: AtomicU64::new(0),
                news: Mutex::new(Seldom::new(SAY_EVERY)),
            }),
        })
    }

    /// Whether clients are asked for certificates.
    #[must_use]
    pub fn asks_clients(&self) -> bool {
        self.shared.settings.client_ca_file.is_some()
    }

    /// What is spoken within.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.shared.protocol
    }

    /// Makes the handshake of a connection until `deadline`. Nothing comes back where it
    /// fails; that is counted, and said now and then.
    pub async fn handshake<I>(&self, io: I, deadline: Instant) -> Option<TlsStream<I>>
    where
        I: AsyncRead + AsyncWrite + Unpin,
    {
        let acceptor = TlsAcceptor::from(Arc::clone(&self.shared.offer.load().config));
        let error = match tokio::time::timeout_at(deadline, acceptor.accept(io)).await {
            Ok(Ok(stream)) => return Some(stream),
            Ok(Err(error)) => error,
            Err(_) => io::ErrorKind::TimedOut.into(),
        };
        self.shared.failures.fetch_add(1, Ordering::Relaxed);
        let news = self.shared.news.lock().ok().and_then(|mut news| news.ask(Instant::now()));
        if let Some(unsaid) = news {
            let listener = self.shared.protocol.name();
            tracing::warn!(listener, %error, unsaid, "a TLS handshake failed");
        }
        None
    }

    /// The state, for people.
    #[must_use]
    pub fn status(&self) -> TlsStatus {
        let offer = self.shared.offer.load();
        let seen = self.shared.seen();
        TlsStatus {
            listener: self.shared.protocol.name(),
            file: self.shared.settings.certificate_file.clone(),
            facts: offer.facts.clone(),
            since: offer.since,
            read: seen.read,
            last_error: seen.last_error.clone(),
            handshake_failures: self.shared.failures.load(Ordering::Relaxed),
        }
    }

    /// Has the files read again now.
    pub fn reload_now(&self) {
        self.shared.again.notify_one();
    }

    /// Reads the files again whenever it is time, until the end.
    pub async fn run(&self, mut stop: watch::Receiver<bool>) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                () = self.shared.again.notified() => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
            let shared = Arc::clone(&self.shared);
            if tokio::task::spawn_blocking(move || shared.look(Now::read())).await.is_err() {
                tracing::error!("reading the certificates failed: the ones in use stay");
            }
        }
    }
}

impl Shared {
    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes over what the files hold, where that is new and can be used as a whole.
    fn look(&self, now: Now) {
        self.say_expired(now);
        let read = Files::read(&self.settings);
        let fingerprint = read.as_ref().ok().map(Files::fingerprint);
        if fingerprint.is_some() {
            self.seen().read = now.instant;
        }
        // What could not be used is tried again: a certificate may have been too new.
        if fingerprint.is_some()
            && fingerprint == self.seen().fingerprint
            && self.seen().last_error.is_none()
        {
            return;
        }
        std::thread::sleep(SETTLED_FOR);
        let again = Files::read(&self.settings);
        if again.as_ref().ok().map(Files::fingerprint) != fingerprint {
            self.again.notify_one();
            return;
        }
        let offer =
            again.and_then(|files| Offer::new(&self.settings, &files, self.protocol, now.unix));
        let listener = self.protocol.name();
        let mut seen = self.seen();
        let is_news = seen.last_error.is_none() || seen.fingerprint != fingerprint;
        seen.fingerprint = fingerprint;
        match offer {
            Ok(offer) => {
                seen.last_error = None;
                drop(seen);
                // Many are good for hours only.
                let hours = offer.facts.left(now.unix) / 3600;
                tracing::info!(listener, hours, "other certificates are in use");
                self.offer.store(Arc::new(offer));
            }
            Err(error) => {
                if is_news {
                    tracing::error!(listener, %error, "the changed certificates are not used: the ones before stay");
                }
                seen.last_error = Some(error.to_string());
            }
        }
    }

    fn say_expired(&self, now: Now) {
        if self.offer.load().facts.left(now.unix) < 0
            && self.seen().expired.ask(now.instant).is_some()
        {
            let listener = self.protocol.name();
            tracing::error!(listener, "the certificate has expired, and no other one has come");
        }
    }
}
