//! What telemetry is configured with.

use std::time::Duration;

use crate::collector::CollectorSettings;

/// Logs, traces and metrics.
#[derive(Clone, Debug)]
pub struct TelemetrySettings {
    /// A `tracing` filter: `info`, `stagedoor=debug,info`.
    pub log: String,
    /// The form of log lines.
    pub log_format: LogFormat,
    /// The OTLP collector; without one nothing is exported.
    pub collector: Option<CollectorSettings>,
    /// Of the traces that begin here, the part that is recorded: 0 to 1. A caller's trace is
    /// recorded where the caller says so.
    pub sample_ratio: f64,
    /// How often metrics are sent to the collector; nothing is never.
    pub metrics_every: Option<Duration>,
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
