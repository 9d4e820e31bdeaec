//! When a token is verified that is not known.
//!
//! A signature costs several times what a whole decision about a known caller does, and
//! whoever can send a request can have one looked at. So new tokens take turns: on each thread
//! one is verified at a time, and before each everything else that is ready there goes on. A
//! known caller waits for one signature at most, and never for those that wait their turn. So
//! many may wait, and for so long; what comes beyond that is turned away at once.
//!
//! Threads of their own for this were tried: handing a token over and back cost as much as a
//! third of a signature, and under a flood the scheduler gave them time in slices of
//! milliseconds, at whatever priority, for which known callers waited.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::yield_now;
use tokio::time::timeout;

use super::VerificationSettings;
use crate::domain::{Denial, Reason};

thread_local! {
    /// Whose turn it is on this thread.
    static TURN: Arc<Semaphore> = Arc::new(Semaphore::new(1));
}

/// The turns of all threads.
#[derive(Debug, Default)]
pub(super) struct Turns {
    waiting: AtomicUsize,
    verified: AtomicU64,
    full: AtomicU64,
    late: AtomicU64,
}

/// How new tokens fared, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VerificationStats {
    /// Tokens that wait for their turn now.
    pub waiting: usize,
    /// Tokens that were looked at whole, whatever came of it.
    pub verified: u64,
    /// Tokens that were turned away because as many as may were waiting.
    pub full: u64,
    /// Tokens that were turned away because they had waited for too long.
    pub late: u64,
}

/// The turn, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    _permit: OwnedSemaphorePermit,
}

/// One that waits, until it is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl Turns {
    /// Waits for a turn.
    pub(super) async fn take(&self, settings: VerificationSettings) -> Result<Turn, Denial> {
        let waiting = Waiting(&self.waiting);
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= settings.queue {
            self.full.fetch_add(1, Ordering::Relaxed);
            let detail = "as many new tokens as may were waiting to be verified";
            return Err(Denial::with_detail(Reason::Overloaded, detail));
        }
        let mine = TURN.with(Arc::clone).acquire_owned();
        let Ok(turn) = timeout(settings.max_wait, mine).await else {
            self.late.fetch_add(1, Ordering::Relaxed);
            let detail = "the token waited too long to be verified";
            return Err(Denial::with_detail(Reason::Overloaded, detail));
        };
        // It is never closed.
        let permit = turn.map_err(|_| Denial::from(Reason::Internal))?;
        // Whoever is known goes first.
        yield_now().await;
        drop(waiting);
        Ok(Turn { _permit: permit })
    }

    /// A token is verified.
    pub(super) fn count(&self) {
        self.verified.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn stats(&self) -> VerificationStats {
        VerificationStats {
            waiting: self.waiting.load(Ordering::Relaxed),
            verified: self.verified.load(Ordering::Relaxed),
            full: self.full.load(Ordering::Relaxed),
            late: self.late.load(Ordering::Relaxed),
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
