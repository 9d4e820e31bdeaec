//! What did not reach a place, counted for ever and, until it is said there, from when on.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::form::{GapForm, GapWhat, VERSION};

/// The records that one stream lacks and has not said so yet.
#[derive(Debug, Default)]
pub(super) struct Gap {
    lost: AtomicU64,
    /// Milliseconds since 1970 of the first; 0 where nothing is lost.
    since: AtomicU64,
}

/// What a gap amounts to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lost {
    count: u64,
    since: u64,
}

impl Gap {
    /// Counts records that are lost now.
    pub(super) fn lose(&self, count: u64) {
        if count == 0 {
            return;
        }
        if self.since.load(Ordering::Relaxed) == 0 {
            self.begin(millis(SystemTime::now()));
        }
        self.lost.fetch_add(count, Ordering::Relaxed);
    }

    fn begin(&self, since: u64) {
        // Whoever is first is the first.
        let _ = self.since.compare_exchange(0, since, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Takes what is to be said; nothing where nothing is lost.
    pub(super) fn take(&self) -> Option<Lost> {
        let count = self.lost.swap(0, Ordering::Relaxed);
        (count > 0).then(|| Lost { count, since: self.since.swap(0, Ordering::Relaxed) })
    }

    /// Takes back what could not be said: since the older of this and what was lost
    /// meanwhile.
    pub(super) fn give_back(&self, lost: Lost) {
        let older = |since: u64| Some(if since == 0 { lost.since } else { since.min(lost.since) });
        let _ = self.since.fetch_update(Ordering::Relaxed, Ordering::Relaxed, older);
        self.lost.fetch_add(lost.count, Ordering::Relaxed);
    }
}

impl Lost {
    /// So many, the first of them then.
    pub(super) fn of(count: u64, since: SystemTime) -> Self {
        Self { count, since: millis(since) }
    }

    pub(super) fn form(self, now: SystemTime) -> GapForm {
        // A loss that was counted and not yet dated has just happened.
        let since = UNIX_EPOCH.checked_add(Duration::from_millis(self.since));
        let since = since.filter(|_| self.since > 0).unwrap_or(now);
        GapForm {
            version: VERSION,
            time: now.into(),
            event: GapWhat::AuditGap,
            lost: self.count,
            since: since.into(),
        }
    }
}

fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_said_once_and_from_its_first_loss_on() {
        let gap = Gap::default();
        assert_eq!(gap.take(), None);
        let before = millis(SystemTime::now());
        gap.lose(0);
        assert_eq!(gap.take(), None);
        gap.lose(2);
        gap.lose(1);
        let first = gap.take().expect("a gap");
        assert_eq!(first.count, 3);
        assert!((before..=millis(SystemTime::now())).contains(&first.since));
        assert_eq!(gap.take(), None);
        gap.lose(4);
        gap.give_back(first);
        assert_eq!(gap.take(), Some(Lost { count: 7, since: first.since }));
        assert_eq!(gap.take(), None);
        let now = UNIX_EPOCH + Duration::from_millis(1_700_000_000_123);
        let undated = Lost { count: 1, since: 0 }.form(now);
        assert_eq!((undated.lost, undated.since), (1, now.into()));
    }
}
