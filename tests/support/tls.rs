//! Certificates in files, as an operator has them, and clients that show them.

#![allow(dead_code, reason = "each test binary uses its own part of this module")]

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use devtenant::authority::{Authority, Issued};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, SupportedProtocolVersion,
};
use stagedoor::tls::{ClientName, TlsSettings};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// What the server's certificate is for.
pub(crate) const SERVER: &str = "stagedoor.example.com";
/// A client that is let in.
pub(crate) const ENVOY: &str = "spiffe://cluster.local/ns/edge/sa/envoy";

/// A server's certificate, key and client authority, mounted as Kubernetes does it: each
/// file is a link into a folder that is replaced as a whole.
pub(crate) struct Mounted {
    pub(crate) authority: Arc<Authority>,
    folder: TempDir,
    generation: AtomicU32,
}

impl Mounted {
    pub(crate) fn new() -> Self {
        Self::of(Arc::new(Authority::new("Contoso").unwrap()), &[SERVER])
    }

    /// A certificate with these names, of this authority.
    pub(crate) fn of(authority: Arc<Authority>, names: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mounted = Self { authority, folder, generation: AtomicU32::new(0) };
        mounted.swap(&mounted.authority.issue(names).unwrap());
        for name in ["tls.crt", "tls.key", "ca.crt"] {
            let (target, link) = (Path::new("..data").join(name), mounted.path(name));
            std::os::unix::fs::symlink(target, link).unwrap();
        }
        mounted
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Replaces all files in one step.
    pub(crate) fn swap(&self, pair: &Issued) {
        self.swap_to(&pair.certificate, &pair.key, self.authority.certificate());
    }

    pub(crate) fn swap_to(&self, certificate: &str, key: &str, authorities: &str) {
        let data = format!("..{}", self.generation.fetch_add(1, Ordering::Relaxed));
        std::fs::create_dir(self.path(&data)).unwrap();
        for (name, text) in [("tls.crt", certificate), ("tls.key", key), ("ca.crt", authorities)] {
            std::fs::write(self.path(&data).join(name), text).unwrap();
        }
        std::os::unix::fs::symlink(&data, self.path("..data_tmp")).unwrap();
        std::fs::rename(self.path("..data_tmp"), self.path("..data")).unwrap();
    }

    /// Replaces one file, and leaves the others as they are.
    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), text).unwrap();
    }

    /// The settings that name these files, as they stand in a configuration.
    pub(crate) fn yaml(&self, more: &str) -> String {
        let path = |name| self.path(name).display().to_string();
        format!("{{ certificate_file: {}, key_file: {}{more} }}", path("tls.crt"), path("tls.key"))
    }

    /// The same with the authority of clients, and these clients.
    pub(crate) fn mutual_yaml(&self, clients: &[&str]) -> String {
        self.yaml(&format!(
            ", client_ca_file: {}, clients: {clients:?}",
            self.path("ca.crt").display()
        ))
    }

    /// The settings that name these files.
    pub(crate) fn settings(&self, clients: Option<&[&str]>) -> TlsSettings {
        TlsSettings {
            certificate_file: self.path("tls.crt"),
            key_file: self.path("tls.key"),
            client_ca_file: clients.map(|_| self.path("ca.crt")),
            clients: clients
                .into_iter()
                .flatten()
                .map(|name| name.parse::<ClientName>().unwrap())
                .collect(),
        }
    }
}

/// How a client makes its handshakes.
pub(crate) struct Client {
    config: ClientConfig,
}

impl Client {
    /// One that trusts this authority, shows this certificate and speaks HTTP/2.
    pub(crate) fn new(authority: &Authority, shown: Option<&Issued>) -> Self {
        Self::with_versions(authority, shown, rustls::DEFAULT_VERSIONS)
    }

    pub(crate) fn with_versions(
        authority: &Authority,
        shown: Option<&Issued>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(certificate(authority.certificate())).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match shown {
            Some(pair) => builder.with_client_auth_cert(chain(pair), key(pair)).unwrap(),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Self { config }
    }

    /// One that speaks HTTP/1.1.
    pub(crate) fn http1(authority: &Authority, shown: Option<&Issued>) -> Self {
        Self::new(authority, shown).offering(&["http/1.1"])
    }

    /// Offers these protocols, or none.
    pub(crate) fn offering(mut self, protocols: &[&str]) -> Self {
        self.config.alpn_protocols = protocols.iter().map(|p| p.as_bytes().to_vec()).collect();
        self
    }

    /// The first bytes that it would send.
    pub(crate) fn hello(&self) -> Vec<u8> {
        let name = ServerName::try_from(SERVER).unwrap();
        let mut client = ClientConnection::new(Arc::new(self.config.clone()), name).unwrap();
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).unwrap();
        bytes
    }

    /// A connection whose handshake went well, as far as the client can tell.
    pub(crate) async fn connect(&self, to: SocketAddr) -> io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(to).await?;
        let name = ServerName::try_from(SERVER).unwrap();
        TlsConnector::from(Arc::new(self.config.clone())).connect(name, stream).await
    }
}

/// What a server with this certificate makes its handshakes with.
pub(crate) fn acceptor(pair: &Issued) -> TlsAcceptor {
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain(pair), key(pair))
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

pub(crate) fn certificate(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

fn chain(pair: &Issued) -> Vec<CertificateDer<'static>> {
    vec![certificate(&pair.certificate)]
}

fn key(pair: &Issued) -> PrivateKeyDer<'static> {
    PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap()
}
