//! What a listener's TLS is configured with.

use std::path::PathBuf;

use super::ClientName;

/// The files of a listener, and the clients that it lets in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSettings {
    /// The certificate and those that lead to its authority, in PEM.
    pub certificate_file: PathBuf,
    /// The certificate's private key, in PEM.
    pub key_file: PathBuf,
    /// The authorities that clients' certificates must come from, in PEM. Nothing where
    /// clients show none.
    pub client_ca_file: Option<PathBuf>,
    /// The clients that are let in; empty is every one that has a certificate.
    pub clients: Vec<ClientName>,
}
