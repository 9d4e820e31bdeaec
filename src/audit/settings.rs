//! What the audit writer is configured with.

use std::path::PathBuf;

/// Where records go.
#[derive(Clone, Debug)]
pub struct AuditSettings {
    /// The sink.
    pub sink: AuditSink,
    /// Records that wait to be written; one more is dropped and counted.
    pub queue: usize,
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
