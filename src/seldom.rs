//! Saying a thing seldom.
//!
//! An error that comes back a thousand times a second is one piece of news. What
//! is left out is counted, so that the line that is written tells how often it
//! happened.

use std::time::Duration;

use tokio::time::Instant;

/// Lets one of many equal messages through per interval.
#[derive(Debug)]
pub struct Seldom {
    every: Duration,
    said: Option<Instant>,
    unsaid: u64,
}

impl Seldom {
    /// At most one message per `every`.
    #[must_use]
    pub fn new(every: Duration) -> Self {
        Self { every, said: None, unsaid: 0 }
    }

    /// Asks to say it now. The answer is the number of times it was not said
    /// since the last time, or nothing when it is too early.
    pub fn ask(&mut self, now: Instant) -> Option<u64> {
        let early = self.said.is_some_and(|said| now.saturating_duration_since(said) < self.every);
        if early {
            self.unsaid = self.unsaid.saturating_add(1);
            return None;
        }
        self.said = Some(now);
        Some(std::mem::take(&mut self.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_per_interval() {
        let start = Instant::now();
        let mut seldom = Seldom::new(Duration::from_secs(10));
        for (at, want) in [
            (0, Some(0)),
            (1, None),
            (9, None),
            (10, Some(2)),
            (19, None),
            (20, Some(1)),
            (90, Some(0)),
        ] {
            assert_eq!(seldom.ask(start + Duration::from_secs(at)), want, "at {at} s");
        }
    }
}
