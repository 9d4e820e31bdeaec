//! The threads that connections are served on.
//!
//! Each has a runtime of its own with nothing to steal from another: a request is decided
//! where its bytes come in. Everything that isn't a request runs elsewhere. A connection
//! stays where it was put, and Envoy opens about one for each of its own threads, so each is
//! put where the fewest are.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

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

impl Workers {
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
        let runtime = Builder::new_current_thread().enable_all().build()?;
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
}
