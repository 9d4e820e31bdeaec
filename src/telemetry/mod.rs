//! What an operator can see: logs, metrics, traces.

mod latency;
mod log;
mod metrics;
mod settings;
mod trace;

pub use log::{LogError, LogGuard, dropped_lines, init};
pub use metrics::Metrics;
pub use settings::{LogFormat, TelemetrySettings};
pub use trace::Traces;
