//! The threads that connections are served on.
//!
//! Each has a runtime of its own with nothing to steal from another: a request is decided
//! where its bytes come in. Everything that isn't a request runs elsewhere. A connection
//! stays where it was put, and Envoy opens about one for each of its own threads, so each is
//! put where the fewest are.

use std::future::ready;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::time::timeout;

/// After so many turns of what is ready it is looked at what else became ready: who has just
/// sent something, and who waits for everybody else. A turn is all that a connection had to
/// say, up to some eighty decisions, beside which a look, a call of the system, is nothing;
/// Tokio's 61 would be many.
const TURNS_A_LOOK: u32 = 2;

/// The threads. They end when this is dropped.
#[derive(Debug)]
pub(super) struct Workers(Vec<Worker>);

#[derive(Debug)]
struct Worker {
    runtime: Handle,
    open: Arc<AtomicUsize>,
    _running: oneshot::Sender<()>,
}

/// A connection's place on a worker, counted until it is dropped.
#[derive(Debug)]
pub(super) struct Place(Arc<AtomicUsize>);

/// Feels whether the threads answer. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Pulse(Vec<Handle>);

/// Threads that did not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unwell {
    /// So many of them, not in time.
    #[error("threads that serve connections do not answer: {0}")]
    Late(usize),
    /// And never will.
    #[error("a thread that serves connections is gone")]
    Gone,
}

impl Pulse {
    /// Has each thread do next to nothing, among everything else that it has to do.
    ///
    /// # Errors
    /// Some of them did not within this time.
    pub async fn beat(&self, within: Duration) -> Result<(), Unwell> {
        let beats = self.0.iter().map(|thread| timeout(within, thread.spawn(ready(()))));
        let beats = join_all(beats).await;
        // The runtime of one that is gone ended with it, and what was given to it.
        if beats.iter().any(|beat| matches!(beat, Ok(Err(_)))) {
            return Err(Unwell::Gone);
        }
        match beats.iter().filter(|beat| beat.is_err()).count() {
            0 => Ok(()),
            late => Err(Unwell::Late(late)),
        }
    }
}

impl Workers {
    pub(super) fn pulse(&self) -> Pulse {
        Pulse(self.0.iter().map(|worker| worker.runtime.clone()).collect())
    }

    /// Starts this many.
    pub(super) fn start(count: usize) -> io::Result<Self> {
        (0..count).map(Worker::start).collect::<io::Result<_>>().map(Self)
    }

    /// The worker with the fewest connections, and a place on it; nothing where there are no
    /// workers.
    pub(super) fn least_busy(&self) -> Option<(&Handle, Place)> {
        let worker = self.0.iter().min_by_key(|worker| worker.open.load(Ordering::Relaxed))?;
        worker.open.fetch_add(1, Ordering::Relaxed);
        Some((&worker.runtime, Place(Arc::clone(&worker.open))))
    }
}

impl Worker {
    fn start(number: usize) -> io::Result<Self> {
        let runtime =
            Builder::new_current_thread().enable_all().event_interval(TURNS_A_LOOK).build()?;
        let handle = runtime.handle().clone();
        let (running, stopped) = oneshot::channel::<()>();
        thread::Builder::new().name(format!("check-{number}")).spawn(move || {
            // The end of the sender is the end of the thread.
            let _ = runtime.block_on(stopped);
        })?;
        Ok(Self { runtime: handle, open: Arc::default(), _running: running })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn connections_are_spread_evenly() {
        let workers = Workers::start(3).expect("threads");
        let name = || thread::current().name().map(str::to_owned);
        let mut held = Vec::new();
        for round in 1..=4 {
            for _ in 0..3 {
                let (runtime, place) = workers.least_busy().expect("a worker");
                let thread = runtime.spawn(async move { name() }).await.expect("runs");
                held.push((thread, place));
            }
            for number in 0..3 {
                let thread = Some(format!("check-{number}"));
                let here = held.iter().filter(|(on, _)| *on == thread).count();
                assert_eq!(here, round, "on {thread:?}");
            }
        }
        // Where one ends, the next one goes.
        let (ended, _) = held.remove(7);
        let (runtime, _place) = workers.least_busy().expect("a worker");
        assert_eq!(runtime.spawn(async move { name() }).await.expect("runs"), ended);
        assert!(Workers::start(0).expect("nothing").least_busy().is_none());
    }

    #[tokio::test]
    async fn a_thread_that_is_held_up_is_noticed() {
        // The other thread has to answer within the shorter, on a machine that is busy.
        let (long, short) = (Duration::from_secs(60), Duration::from_secs(5));
        let workers = Workers::start(2).expect("threads");
        let pulse = workers.pulse();
        assert_eq!(pulse.beat(long).await, Ok(()));
        let (go_on, held) = std::sync::mpsc::channel::<()>();
        let (runtime, _place) = workers.least_busy().expect("a worker");
        let busy = runtime.spawn(async move { held.recv() });
        assert_eq!(pulse.beat(short).await, Err(Unwell::Late(1)));
        go_on.send(()).expect("it waits");
        busy.await.expect("it ran").expect("it was told");
        assert_eq!(pulse.beat(long).await, Ok(()));
        drop(workers);
        // The threads end when they come to it.
        while pulse.beat(long).await != Err(Unwell::Gone) {
            tokio::task::yield_now().await;
        }
    }
}
