//! What the audit writer is configured with.

use std::path::PathBuf;

use url::Url;

use super::Member;
use crate::tls::Authorities;

/// Where records go, and what is in them.
#[derive(Clone, Debug)]
pub struct AuditSettings {
    /// The sink.
    pub sink: AuditSink,
    /// When a file is begun anew; nothing never does.
    pub rotate: Option<RotateSettings>,
    /// Records that wait to be written; one more is dropped and counted.
    pub queue: usize,
    /// An OTLP collector that gets them too, by gRPC.
    pub otlp: Option<Url>,
    /// What the collector's certificate may come from, beside the system's authorities.
    pub authorities: Authorities,
    /// What is left out.
    pub content: ContentSettings,
}

impl AuditSettings {
    /// All there is to say, to this sink and no other.
    #[must_use]
    pub fn to(sink: AuditSink) -> Self {
        let content = ContentSettings { facts: true, mask: Vec::new(), pseudonyms: None };
        let authorities = Authorities::default();
        Self { sink, rotate: None, queue: 8192, otlp: None, authorities, content }
    }
}

/// Where records go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuditSink {
    /// Standard output, one JSON object a line.
    Stdout,
    /// Appended to a file.
    File(PathBuf),
    /// Nowhere.
    Off,
}

/// When a file is begun anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RotateSettings {
    /// Bytes of a file.
    pub max_size: u64,
    /// Files that are kept beside the one that is written to.
    pub keep: u32,
}

/// What is in a record.
#[derive(Clone, Debug)]
pub struct ContentSettings {
    /// Whether what the token said is in it.
    pub facts: bool,
    /// Members that are left out.
    pub mask: Vec<Member>,
    /// Whose ids are replaced, and by which key.
    pub pseudonyms: Option<PseudonymSettings>,
}

/// How ids are replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PseudonymSettings {
    /// The file that holds the key.
    pub key_file: PathBuf,
    /// Whether the caller's object id is replaced.
    pub object: bool,
    /// Whether the client application's id is.
    pub client: bool,
}
