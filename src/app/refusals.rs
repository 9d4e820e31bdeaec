//! What of refused reloads is news.
//!
//! What was refused is tried again by itself, since what it lacks may come. Whoever reads the
//! log, the records and the metrics is to hear of each outcome once, and not each half minute.

use std::time::Duration;

use tokio::time::Instant;

use crate::admin::ReloadOutcome;
use crate::seldom::Seldom;

/// How often it is said that nothing has changed.
const SAY_EVERY: Duration = Duration::from_secs(3600);
/// What comes out differently more often than this is different each time, and no news.
const MAX_TOLD: usize = 16;

/// The outcomes that were told since somebody asked for a reload, or the file changed.
#[derive(Debug)]
pub(super) struct Refusals {
    told: Vec<ReloadOutcome>,
    still: Seldom,
}

/// What there is to tell of an outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// Everything, in every place.
    New,
    /// That it is still so, in the log, and how often that was not said.
    Still(u64),
    /// Nothing.
    Known,
}

impl Default for Refusals {
    fn default() -> Self {
        Self { told: Vec::new(), still: Seldom::new(SAY_EVERY) }
    }
}

impl Refusals {
    /// Whatever comes next is news.
    pub(super) fn forget(&mut self) {
        self.told.clear();
    }

    /// What there is to tell of this outcome, which counts as told then.
    pub(super) fn weigh(&mut self, outcome: &ReloadOutcome, now: Instant) -> News {
        if outcome.applied {
            self.forget();
            return News::New;
        }
        if !self.told.contains(outcome) && self.told.len() < MAX_TOLD {
            self.told.push(outcome.clone());
            // What is said now is not to be repeated before its time.
            self.still = Seldom::new(SAY_EVERY);
            let _ = self.still.ask(now);
            return News::New;
        }
        self.still.ask(now).map_or(News::Known, News::Still)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(error: &str) -> ReloadOutcome {
        ReloadOutcome { errors: vec![error.to_owned()], ..ReloadOutcome::default() }
    }

    #[test]
    fn each_outcome_is_told_once() {
        let start = Instant::now();
        let mut refusals = Refusals::default();
        let applied = ReloadOutcome { applied: true, ..ReloadOutcome::default() };
        for (at, outcome, want) in [
            (0, &refused("a"), News::New),
            (30, &refused("a"), News::Known),
            (60, &refused("b"), News::New),
            // Back and forth is no news either.
            (90, &refused("a"), News::Known),
            (120, &refused("b"), News::Known),
            (3660, &refused("b"), News::Still(2)),
            (3690, &refused("b"), News::Known),
            (3720, &applied, News::New),
            (3750, &refused("a"), News::New),
        ] {
            let at = start + Duration::from_secs(at);
            assert_eq!(refusals.weigh(outcome, at), want, "{outcome:?}");
        }
        refusals.forget();
        assert_eq!(refusals.weigh(&refused("a"), start), News::New, "somebody asked");
    }

    #[test]
    fn what_differs_each_time_is_no_news() {
        let start = Instant::now();
        let mut refusals = Refusals::default();
        let new = (0..1000)
            .filter(|number| refusals.weigh(&refused(&number.to_string()), start) == News::New)
            .count();
        assert_eq!((new, refusals.told.len()), (MAX_TOLD, MAX_TOLD));
    }
}
