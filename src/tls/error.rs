//! Why a listener's files can't be used.

/// What is wrong with the files of a listener, and with which.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct TlsError {
    /// The file that has to change.
    pub file: TlsFile,
    text: String,
}

/// One of the files of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsFile {
    /// The certificate.
    Certificate,
    /// Its key.
    Key,
    /// The authorities of clients.
    ClientCa,
}

impl TlsError {
    pub(super) fn new(file: TlsFile, text: impl Into<String>) -> Self {
        Self { file, text: text.into() }
    }
}
