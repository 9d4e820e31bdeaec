//! What telemetry is configured with.

use url::Url;

/// Logs and traces.
#[derive(Clone, Debug)]
pub struct TelemetrySettings {
    /// A `tracing` filter: `info`, `stagedoor=debug,info`.
    pub log: String,
    /// The form of log lines.
    pub log_format: LogFormat,
    /// The OTLP collector's gRPC address; nothing exports nothing.
    pub otlp_endpoint: Option<Url>,
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For machines.
    Json,
}
