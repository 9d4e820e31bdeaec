//! Whether the process can go on, or should be started anew.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Whether the threads that serve connections answer, as far as they were felt. Nothing from
/// outside has a part in it: what is missing there comes back by itself, and a restart would lose
/// what is kept in memory. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Liveness(Arc<Mutex<Option<Felt>>>);

#[derive(Clone, Copy, Debug)]
struct Felt {
    /// When all of them answered last, or else began to be felt.
    answered: Instant,
    /// How long that may be ago.
    within: Duration,
    /// How many of them did not, the last time.
    silent: usize,
}

impl Liveness {
    /// From now on they are felt, and have to answer within this time. Until then they are taken
    /// to be well.
    pub fn begin(&self, within: Duration, now: Instant) {
        *self.felt() = Some(Felt { answered: now, within, silent: 0 });
    }

    /// All of them have answered.
    pub fn answered(&self, now: Instant) {
        if let Some(felt) = &mut *self.felt() {
            (felt.answered, felt.silent) = (now, 0);
        }
    }

    /// So many have not.
    pub fn silent(&self, threads: usize) {
        if let Some(felt) = &mut *self.felt() {
            felt.silent = threads;
        }
    }

    /// Threads that don't answer. That nobody feels them for too long is as bad as one.
    #[must_use]
    pub fn unresponsive(&self, now: Instant) -> usize {
        let felt = *self.felt();
        felt.map_or(0, |felt| felt.silent.max(usize::from(felt.overdue(now).is_some())))
    }

    /// Why the process can't go on, in words, if that is so.
    #[must_use]
    pub fn why_not(&self, now: Instant) -> Option<String> {
        let felt = (*self.felt())?;
        let seconds = felt.overdue(now)?.as_secs();
        Some(match felt.silent {
            0 => format!("nobody has felt the threads that serve connections for {seconds} s"),
            threads => format!(
                "threads that serve connections and have not answered for {seconds} s: {threads}"
            ),
        })
    }

    fn felt(&self) -> MutexGuard<'_, Option<Felt>> {
        // Nothing panics while it is locked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Felt {
    /// How long it is since they answered, where that is too long.
    fn overdue(&self, now: Instant) -> Option<Duration> {
        let since = now.saturating_duration_since(self.answered);
        (since > self.within).then_some(since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_the_time_that_they_have() {
        let (liveness, start) = (Liveness::default(), Instant::now());
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        assert_eq!((liveness.unresponsive(at(99)), liveness.why_not(at(99))), (0, None));
        liveness.begin(Duration::from_secs(15), at(0));
        assert_eq!((liveness.unresponsive(at(15)), liveness.why_not(at(15))), (0, None));
        // Whoever feels them hangs as well.
        let why = liveness.why_not(at(16)).expect("too long");
        assert_eq!(why, "nobody has felt the threads that serve connections for 16 s");
        assert_eq!(liveness.unresponsive(at(16)), 1);
        liveness.answered(at(20));
        assert_eq!((liveness.unresponsive(at(35)), liveness.why_not(at(35))), (0, None));
        // One that is late once is no end yet.
        liveness.silent(2);
        assert_eq!((liveness.unresponsive(at(30)), liveness.why_not(at(30))), (2, None));
        let why = liveness.why_not(at(37)).expect("too long");
        assert_eq!(why, "threads that serve connections and have not answered for 17 s: 2");
        liveness.answered(at(40));
        assert_eq!((liveness.unresponsive(at(40)), liveness.why_not(at(40))), (0, None));
    }
}
