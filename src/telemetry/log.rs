//! Logs, on standard error: standard output belongs to the audit records.

use std::io::IsTerminal as _;
use std::sync::{Arc, Mutex, OnceLock};

use tracing_appender::non_blocking::{ErrorCounter, WorkerGuard};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, Registry, fmt, reload};

use super::settings::{LogFormat, TelemetrySettings};
use crate::nearest::nearest;

/// Logs can't be set up, or not be set like this.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter is not one.
    #[error("`{filter}` is no log filter: {cause}")]
    Filter {
        /// As given.
        filter: String,
        /// What is wrong with it.
        cause: String,
    },
    /// Somebody else did before.
    #[error("logs are set up already")]
    Twice,
    /// The log is gone.
    #[error("there is no log any more")]
    Gone,
}

const QUEUED_LINES: usize = 4096;
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

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
    filter: LogFilter,
    _guard: WorkerGuard,
}

impl LogGuard {
    /// What is logged, to be changed.
    pub fn filter(&self) -> LogFilter {
        self.filter.clone()
    }
}

/// What is logged. Cheap to clone; every clone is of the same log.
#[derive(Clone, Debug)]
pub struct LogFilter {
    handle: reload::Handle<EnvFilter, Registry>,
    text: Arc<Mutex<String>>,
}

impl LogFilter {
    /// The filter in force.
    #[must_use]
    pub fn current(&self) -> String {
        self.text.lock().map(|text| text.clone()).unwrap_or_default()
    }

    /// Logs by another filter from now on.
    ///
    /// # Errors
    /// It is no filter; the one in force stays.
    pub fn set(&self, filter: &str) -> Result<(), LogError> {
        let parsed = parse(filter)?;
        // Held meanwhile, so that what is told is what was set last.
        let mut text = self.text.lock().map_err(|_| LogError::Gone)?;
        let (before, after) = (text.clone(), filter.trim().to_owned());
        let say = || tracing::warn!(before, after, "what is logged changes");
        // By the filter of the two that lets it through: no log ends without a word.
        let is_heard = tracing::enabled!(tracing::Level::WARN);
        if is_heard {
            say();
        }
        self.handle.reload(parsed).map_err(|_| LogError::Gone)?;
        if !is_heard {
            say();
        }
        *text = after.clone();
        Ok(())
    }
}

/// Reads a filter. Stricter than `tracing`, which takes a misspelt level for a module's name,
/// and then logs nothing else.
///
/// # Errors
/// It is no filter.
pub fn parse(filter: &str) -> Result<EnvFilter, LogError> {
    let refuse = |cause: String| LogError::Filter { filter: filter.to_owned(), cause };
    let expected = "expected a filter such as `info` or `stagedoor=debug,info`";
    if filter.trim().is_empty() {
        return Err(refuse(expected.to_owned()));
    }
    let words: Vec<&str> = filter.split(',').map(str::trim).collect();
    // In braces stand fields of spans, which can be any words.
    for word in words.iter().filter(|_| !filter.contains('{')) {
        let is_level = LEVELS.iter().any(|level| word.eq_ignore_ascii_case(level));
        if !is_level && !word.contains(['=', '[']) {
            let meant = nearest(word, &LEVELS).map(|level| format!(": did you mean `{level}`?"));
            let meant = meant.unwrap_or_default();
            return Err(refuse(format!("`{word}` is neither a level nor `target=level`{meant}")));
        }
    }
    let parsed = EnvFilter::builder().parse(words.join(","));
    parsed.map_err(|error| refuse(format!("{expected}: {error}")))
}

/// Sets the process's logs up, once, for as long as the guard is held.
///
/// # Errors
/// The filter doesn't parse, or logs are set up already.
pub fn init(settings: &TelemetrySettings) -> Result<LogGuard, LogError> {
    let (filter, handle) = reload::Layer::new(parse(&settings.log)?);
    // A log that nobody takes must hold nobody up: lines wait in a bounded queue for a
    // thread of their own, and what doesn't fit is dropped and counted.
    let (writer, guard) = tracing_appender::non_blocking::NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(QUEUED_LINES)
        .finish(std::io::stderr());
    // Who sets logs up twice is told below.
    let _ = DROPPED.set(writer.error_counter());
    // Colours are for people: in a file they hide the words that one looks for.
    let lines = fmt::layer().with_ansi(std::io::stderr().is_terminal()).with_writer(writer);
    let lines = match settings.log_format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().boxed(),
    };
    tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .try_init()
        .map_err(|_| LogError::Twice)?;
    let text = Arc::new(Mutex::new(settings.log.trim().to_owned()));
    Ok(LogGuard { filter: LogFilter { handle, text }, _guard: guard })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_level_is_no_module() {
        for (filter, want) in [
            ("info", None),
            (" INFO , stagedoor::entra=debug", None),
            ("off", None),
            ("warn,stagedoor[check]=trace", None),
            ("", Some("expected a filter such as `info` or `stagedoor=debug,info`")),
            ("inof", Some("`inof` is neither a level nor `target=level`: did you mean `info`?")),
            ("info,stagedoor", Some("`stagedoor` is neither a level nor `target=level`")),
            ("info,", Some("`` is neither a level nor `target=level`")),
            // What follows are the library's own words, which depend on how it is built.
            (
                "stagedoor=loud",
                Some("expected a filter such as `info` or `stagedoor=debug,info`: "),
            ),
        ] {
            let found = parse(filter).map(drop).map_err(|error| error.to_string());
            let Some(cause) = want else {
                assert_eq!(found, Ok(()), "{filter}");
                continue;
            };
            let want = format!("`{filter}` is no log filter: {cause}");
            let found = found.expect_err(filter);
            let is_as_wanted =
                if want.ends_with(": ") { found.starts_with(&want) } else { found == want };
            assert!(is_as_wanted, "{found}, not {want}");
        }
    }

    #[test]
    fn what_is_logged_changes_and_a_bad_filter_changes_nothing() {
        let (filter, handle) = reload::Layer::new(parse("warn").expect("a filter"));
        let text = Arc::new(Mutex::new("warn".to_owned()));
        let log = LogFilter { handle, text };
        let subscriber = tracing_subscriber::registry().with(filter);
        let _guard = tracing::subscriber::set_default(subscriber);
        let is_on = || tracing::event_enabled!(tracing::Level::DEBUG);
        assert!(!is_on());
        log.set("debug").expect("a filter");
        assert!(is_on());
        log.set("worn").expect_err("no filter");
        assert!(is_on());
        assert_eq!(log.current(), "debug");
        log.set("error").expect("a filter");
        assert!(!is_on());
    }
}
