//! From files to what a handshake is made with.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{Error, InconsistentKeys, RootCertStore, ServerConfig};

use super::clients::NamedClients;
use super::files::Files;
use super::{CertificateFacts, TlsError, TlsFile, TlsSettings};

/// What is spoken within TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// gRPC. Where there is an authority for clients, nobody connects without a certificate.
    Grpc,
    /// HTTP/1.1 that asks for decisions. As with gRPC, nobody connects without a certificate
    /// where there is an authority for clients.
    Http,
    /// HTTP/1.1, of which a part is for everybody: a client may show no certificate, and
    /// each request says whether that will do.
    Admin,
}

impl Protocol {
    /// Its name in logs and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::Http => "http",
            Self::Admin => "admin",
        }
    }

    const fn alpn(self) -> &'static [&'static [u8]] {
        match self {
            Self::Grpc => &[b"h2"],
            Self::Http | Self::Admin => &[b"http/1.1"],
        }
    }
}

/// What a handshake is made with, and what there is to tell of it.
#[derive(Clone, Debug)]
pub(super) struct Offer {
    pub(super) config: Arc<ServerConfig>,
    /// Of the certificate that is shown.
    pub(super) facts: CertificateFacts,
    /// When it was made, in Unix time.
    pub(super) since: i64,
}

impl Offer {
    /// All files together, or which of them can't be used at `now`.
    pub(super) fn new(
        settings: &TlsSettings,
        files: &Files,
        protocol: Protocol,
        now: i64,
    ) -> Result<Self, TlsError> {
        let wrong = |text: String| TlsError::new(TlsFile::Certificate, text);
        let shown = settings.certificate_file.display();
        let chain = certificates(&files.certificate)
            .map_err(|cause| wrong(format!("the file `{shown}` holds {cause}")))?;
        let facts = facts(&chain, now)
            .map_err(|cause| wrong(format!("the certificate in `{shown}` {cause}")))?;
        let key_shown = settings.key_file.display();
        let wrong_key = |text: String| TlsError::new(TlsFile::Key, text);
        // The parser's own words could hold what stands in the file.
        let key = PrivateKeyDer::from_pem_slice(&files.key).map_err(|_| {
            wrong_key(format!(
                "the file `{key_shown}` holds no private key in PEM (it must not be encrypted)"
            ))
        })?;

        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| wrong(error.to_string()))?;
        let builder = match clients(settings, files, protocol, provider)? {
            Some(clients) => builder.with_client_cert_verifier(clients),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_single_cert(chain, key).map_err(|error| match error {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => wrong_key(format!(
                "the key in `{key_shown}` is not that of the first certificate in `{shown}`"
            )),
            error => wrong_key(format!("the key in `{key_shown}` can't be used: {error}")),
        })?;
        config.alpn_protocols = protocol.alpn().iter().map(|name| name.to_vec()).collect();
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Self { config: Arc::new(config), facts, since: now })
    }
}

/// The certificates of a PEM file.
fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, &'static str> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let all = all.map_err(|_| "a certificate that is not whole")?;
    if all.is_empty() { Err("no certificate in PEM") } else { Ok(all) }
}

/// Those of the first certificate, which is the one that is shown. It has to be good at `now`.
fn facts(chain: &[CertificateDer<'_>], now: i64) -> Result<CertificateFacts, String> {
    let first = chain.first().map(AsRef::as_ref).unwrap_or_default();
    let facts = CertificateFacts::read(first)?;
    let (from, until) = (facts.not_before, facts.not_after);
    if now > until {
        return Err(format!("expired at {}, and it is {}", time(until), time(now)));
    }
    if now < from {
        return Err(format!("is not good before {}, and it is {}", time(from), time(now)));
    }
    Ok(facts)
}

fn time(unix: i64) -> String {
    let time = chrono::DateTime::from_timestamp(unix, 0).unwrap_or_default();
    time.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}

/// What looks at clients' certificates, where they are asked for one.
fn clients(
    settings: &TlsSettings,
    files: &Files,
    protocol: Protocol,
    provider: Arc<rustls::crypto::CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, TlsError> {
    let (Some(file), Some(pem)) = (&settings.client_ca_file, &files.client_ca) else {
        return Ok(None);
    };
    let wrong = |cause: String| {
        TlsError::new(TlsFile::ClientCa, format!("the file `{}` {cause}", file.display()))
    };
    let mut roots = RootCertStore::empty();
    for authority in certificates(pem).map_err(|cause| wrong(format!("holds {cause}")))? {
        roots
            .add(authority)
            .map_err(|error| wrong(format!("holds what is no certificate: {error}")))?;
    }
    let vouched = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let vouched = match protocol {
        Protocol::Grpc | Protocol::Http => vouched,
        Protocol::Admin => vouched.allow_unauthenticated(),
    };
    let vouched = vouched.build().map_err(|error| wrong(format!("can't be used: {error}")))?;
    if settings.clients.is_empty() {
        return Ok(Some(vouched));
    }
    Ok(Some(Arc::new(NamedClients { vouched, names: settings.clients.clone() })))
}
