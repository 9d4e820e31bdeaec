//! Time as an argument.
//!
//! The wall clock judges what others wrote down (`exp`, `nbf`); the monotonic
//! clock measures ages and deadlines, so that a clock set back makes nothing
//! young again. Each is read once per check and handed down. The monotonic clock
//! stands still while the machine is suspended: whoever keeps what grows old is
//! told when it was (`app/suspended.rs`).

use std::time::{SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// One reading of both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Seconds since 1970.
    pub unix: i64,
    /// Tokio's monotonic clock, which tests can pause.
    pub instant: Instant,
}

impl Now {
    /// Reads both clocks.
    #[must_use]
    pub fn read() -> Self {
        Self::of(SystemTime::now())
    }

    /// This reading of the wall clock, and one of the monotonic clock.
    #[must_use]
    pub fn of(wall: SystemTime) -> Self {
        // Before 1970, or beyond the range: no token is valid at either end.
        let unix = wall
            .duration_since(UNIX_EPOCH)
            .ok()
            .and_then(|since| i64::try_from(since.as_secs()).ok())
            .unwrap_or(i64::MAX);
        Self { unix, instant: Instant::now() }
    }

    /// A given wall-clock time, as the offline commands and tests use.
    #[must_use]
    pub fn at(unix: i64) -> Self {
        Self { unix, instant: Instant::now() }
    }
}
