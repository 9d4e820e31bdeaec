//! What an operator can see: logs, metrics, traces.

mod export;
mod latency;
mod log;
mod metrics;
mod otlp_metrics;
mod push;
mod settings;
mod spans;
mod trace;

pub use crate::collector::{CollectorSettings, ExportStatus, OtlpProtocol};
pub use export::ExportError;
pub use log::{LogError, LogFilter, LogGuard, dropped_lines, init, parse as parse_log_filter};
pub use metrics::Metrics;
pub use push::{MetricsPush, PushStats};
pub use settings::{LogFormat, TelemetrySettings};
pub use spans::SpanStats;
pub use trace::{Checked, Traces};
