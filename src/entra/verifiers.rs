//! Where tokens are verified that nobody has verified yet.
//!
//! A signature costs several times what a whole decision about a known caller does, and
//! whoever can send a request can have one looked at. So that is not done where requests are
//! answered: a few threads of lower priority do it, each with a queue of its own. A flood of
//! new or forged tokens fills the queues, and what has no place in them is turned away at
//! once; known callers go on beside it.
//!
//! The threads take no lock that a request's thread could have to wait for: at their priority
//! they can be put aside while they hold one.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::cache::{Entry, TokenHash};
use super::{Rejected, Shared, VerificationSettings};
use crate::clock::Now;
use crate::domain::{Denial, Reason};

/// What a thread remembers, so that a token that many ask about at once is verified once.
const REMEMBERED: usize = 16;
/// Below what answers requests, and above nothing else that matters (`nice`).
const PRIORITY: i32 = 10;

/// The threads. They end when this is dropped.
#[derive(Debug)]
pub(super) struct Verifiers {
    queues: Box<[mpsc::Sender<Job>]>,
    max_wait: Duration,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    verified: AtomicU64,
    full: AtomicU64,
    late: AtomicU64,
}

/// What the threads did, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VerifierStats {
    /// Tokens that wait for a thread now.
    pub queued: usize,
    /// Tokens that were looked at, whatever came of it.
    pub verified: u64,
    /// Tokens that were turned away because as many as may were waiting.
    pub full: u64,
    /// Tokens that were turned away because they had waited for too long.
    pub late: u64,
}

struct Job {
    hash: TokenHash,
    token: Box<str>,
    now: Now,
    reply: oneshot::Sender<Result<Entry, Rejected>>,
}

impl Verifiers {
    /// Starts the threads, which verify by what `shared` says.
    pub(super) fn start(settings: VerificationSettings, shared: &Arc<Shared>) -> io::Result<Self> {
        let threads = settings.threads.max(1);
        let room = settings.queue.div_ceil(threads).max(1);
        let counts = Arc::<Counts>::default();
        let queues = (0..threads)
            .map(|number| {
                let (sender, receiver) = mpsc::channel(room);
                let (shared, counts) = (Arc::downgrade(shared), Arc::clone(&counts));
                thread::Builder::new()
                    .name(format!("verify-{number}"))
                    .spawn(move || run(receiver, &shared, &counts))?;
                Ok(sender)
            })
            .collect::<io::Result<_>>()?;
        Ok(Self { queues, max_wait: settings.max_wait, counts })
    }

    /// Has a token verified. The same token always goes to the same thread.
    pub(super) async fn verify(
        &self,
        hash: TokenHash,
        token: &str,
        now: Now,
    ) -> Result<Entry, Rejected> {
        let internal = || Rejected::from(Denial::from(Reason::Internal));
        let queue = self.queues.get(hash.spread(self.queues.len())).ok_or_else(internal)?;
        let (reply, answer) = oneshot::channel();
        // Only who has a place has the token copied.
        let place = queue.try_reserve().map_err(|error| match error {
            TrySendError::Full(()) => {
                self.counts.full.fetch_add(1, Ordering::Relaxed);
                overloaded("as many new tokens as may were waiting to be verified")
            }
            TrySendError::Closed(()) => internal(),
        })?;
        place.send(Job { hash, token: token.into(), now, reply });
        match timeout(self.max_wait, answer).await {
            Ok(Ok(verified)) => verified,
            // The thread panicked over it.
            Ok(Err(_)) => Err(internal()),
            Err(_) => {
                self.counts.late.fetch_add(1, Ordering::Relaxed);
                Err(overloaded("the token waited too long to be verified"))
            }
        }
    }

    pub(super) fn stats(&self) -> VerifierStats {
        let waiting = |queue: &mpsc::Sender<Job>| queue.max_capacity() - queue.capacity();
        VerifierStats {
            queued: self.queues.iter().map(waiting).sum(),
            verified: self.counts.verified.load(Ordering::Relaxed),
            full: self.counts.full.load(Ordering::Relaxed),
            late: self.counts.late.load(Ordering::Relaxed),
        }
    }
}

fn overloaded(detail: &'static str) -> Rejected {
    Denial::with_detail(Reason::Overloaded, detail).into()
}

/// Verifies what comes, until nobody can send anything any more.
fn run(queue: mpsc::Receiver<Job>, shared: &Weak<Shared>, counts: &Counts) {
    crate::priority::lower(PRIORITY);
    let mut lately: VecDeque<(TokenHash, Entry)> = VecDeque::with_capacity(REMEMBERED);
    each(queue, |job| {
        // Nobody is left who could ask.
        let shared = shared.upgrade()?;
        let known = lately.iter().find(|(hash, _)| *hash == job.hash).map(|(_, entry)| entry);
        if let Some(entry) = known
            && let Some(Ok(())) = shared.stands(entry, job.now)
        {
            return Some(Ok(entry.clone()));
        }
        counts.verified.fetch_add(1, Ordering::Relaxed);
        let verified = shared.verify(&job.token, job.now);
        if let Ok(entry) = &verified {
            lately.truncate(REMEMBERED - 1);
            lately.push_front((job.hash, entry.clone()));
        }
        Some(verified)
    });
}

/// Answers each job. One that meets a panic has no answer, which is a denial.
fn each(
    mut queue: mpsc::Receiver<Job>,
    mut answer: impl FnMut(&Job) -> Option<Result<Entry, Rejected>>,
) {
    while let Some(job) = queue.blocking_recv() {
        // Whoever asked may have been told that it took too long.
        if job.reply.is_closed() {
            continue;
        }
        // What is left of a token that met a panic is looked at by nobody.
        if let Ok(Some(verified)) = catch_unwind(AssertUnwindSafe(|| answer(&job))) {
            // Nobody may be waiting any more, which is as well.
            let _ = job.reply.send(verified);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bounded::Bounds;
    use crate::entra::cache::TokenCache;

    #[tokio::test]
    async fn a_panic_denies_and_the_next_token_is_looked_at() {
        let (sender, receiver) = mpsc::channel(2);
        let verifiers = Verifiers {
            queues: Box::new([sender]),
            max_wait: Duration::from_secs(60),
            counts: Arc::default(),
        };
        let thread = thread::spawn(move || {
            each(receiver, |job| {
                assert!(&*job.token != "bad", "a defect");
                Some(Err(Denial::from(Reason::TokenSignature).into()))
            });
        });
        let cache = TokenCache::new(Bounds { max_entries: 1, max_bytes: 1 }).expect("random");
        let hash = cache.hash("any").expect("a hash");
        for (token, reason) in
            [("bad", Reason::Internal), ("good", Reason::TokenSignature), ("bad", Reason::Internal)]
        {
            let rejected = verifiers.verify(hash, token, Now::at(0)).await.expect_err("denied");
            assert_eq!(rejected.denial.reason, reason, "{token}");
        }
        drop(verifiers);
        thread.join().expect("it ended by itself");
    }
}
