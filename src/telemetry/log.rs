//! Logs, on standard error: standard output belongs to the audit records.

use std::io::IsTerminal as _;

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

/// Sets the process's logs up, once.
///
/// # Errors
/// The filter doesn't parse, or logs are set up already.
pub fn init(settings: &TelemetrySettings) -> Result<(), LogError> {
    let filter = EnvFilter::try_new(&settings.log).map_err(|cause| LogError::Filter {
        filter: settings.log.clone(),
        cause: cause.to_string(),
    })?;
    // Colours are for people: in a file they hide the words that one looks for.
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match settings.log_format {
        LogFormat::Text => logs.try_init(),
        LogFormat::Json => logs.json().try_init(),
    }
    .map_err(|_| LogError::Twice)
}
