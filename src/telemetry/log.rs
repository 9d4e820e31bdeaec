//! Logs, on standard error: standard output belongs to the audit records.

use std::io::IsTerminal as _;
use std::sync::OnceLock;

use tracing_appender::non_blocking::{ErrorCounter, WorkerGuard};
use tracing_subscriber::EnvFilter;

use super::settings::{LogFormat, TelemetrySettings};

/// Logs can't be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter is not one.
    #[error("`{filter}` is no log filter: {cause}")]
    Filter {
        /// As configured.
        filter: String,
        /// What is wrong with it.
        cause: String,
    },
    /// Somebody else did before.
    #[error("logs are set up already")]
    Twice,
}

const QUEUED_LINES: usize = 4096;

/// There is one log a process.
static DROPPED: OnceLock<ErrorCounter> = OnceLock::new();

/// Log lines that were dropped because nobody took them.
#[must_use]
pub fn dropped_lines() -> u64 {
    DROPPED.get().map_or(0, |counter| counter.dropped_lines() as u64)
}

/// Writes what is still queued when it goes.
#[derive(Debug)]
#[must_use]
pub struct LogGuard {
    _guard: WorkerGuard,
}

/// Sets the process's logs up, once, for as long as the guard is held.
///
/// # Errors
/// The filter doesn't parse, or logs are set up already.
pub fn init(settings: &TelemetrySettings) -> Result<LogGuard, LogError> {
    let filter = EnvFilter::try_new(&settings.log).map_err(|cause| LogError::Filter {
        filter: settings.log.clone(),
        cause: cause.to_string(),
    })?;
    // A log that nobody takes must hold nobody up: lines wait in a bounded queue for a
    // thread of their own, and what doesn't fit is dropped and counted.
    let (writer, guard) = tracing_appender::non_blocking::NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(QUEUED_LINES)
        .finish(std::io::stderr());
    // Who sets logs up twice is told below.
    let _ = DROPPED.set(writer.error_counter());
    // Colours are for people: in a file they hide the words that one looks for.
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(writer);
    match settings.log_format {
        LogFormat::Text => logs.try_init(),
        LogFormat::Json => logs.json().try_init(),
    }
    .map_err(|_| LogError::Twice)?;
    Ok(LogGuard { _guard: guard })
}
