//! What an operator can see: logs, metrics, traces.

mod latency;
mod log;
mod metrics;
mod settings;
mod trace;

pub use log::{LogError, LogFilter, LogGuard, dropped_lines, init, parse as parse_log_filter};
pub use metrics::Metrics;
pub use settings::{LogFormat, TelemetrySettings};
pub use trace::Traces;
