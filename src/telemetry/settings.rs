//! What telemetry is configured with.

use url::Url;

use crate::tls::Authorities;

/// Logs and traces.
#[derive(Clone, Debug)]
pub struct TelemetrySettings {
    /// A `tracing` filter: `info`, `stagedoor=debug,info`.
    pub log: String,
    /// The form of log lines.
    pub log_format: LogFormat,
    /// The OTLP collector's gRPC address; nothing exports nothing.
    pub otlp_endpoint: Option<Url>,
    /// What the collector's certificate may come from, beside the system's authorities.
    pub authorities: Authorities,
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
