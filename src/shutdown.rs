//! The end of the process, in two stages.
//!
//! The first signal drains: what was begun is finished, within limits. The second
//! aborts: nothing is waited for any more.

use std::fmt;
use std::future::pending;
use std::io;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// How far the end has come. Stages only go forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Nobody has asked for an end.
    Running,
    /// Finish what was begun and take on nothing new.
    Draining,
    /// Stop at once.
    Aborting,
}

/// Tells a task when to end. Cheap to clone.
#[derive(Clone)]
pub struct Shutdown {
    line: Arc<Line>,
}

/// Orders the end. Cheap to clone. Dropping it orders nothing: a process is ended
/// because somebody said so, not because a value went out of scope.
#[derive(Clone)]
pub struct ShutdownHandle {
    line: Arc<Line>,
}

/// The senders live as long as anybody listens, so no receiver ever sees them gone.
struct Line {
    stage: watch::Sender<Stage>,
    draining: watch::Sender<bool>,
}

impl Shutdown {
    /// A new line: who may order the end, and who is told.
    #[must_use]
    pub fn new() -> (ShutdownHandle, Self) {
        let line = Arc::new(Line {
            stage: watch::Sender::new(Stage::Running),
            draining: watch::Sender::new(false),
        });
        (ShutdownHandle { line: Arc::clone(&line) }, Self { line })
    }

    /// How far it has come.
    #[must_use]
    pub fn stage(&self) -> Stage {
        *self.line.stage.borrow()
    }

    /// Completes when draining begins, or at once when it has.
    pub async fn draining(&self) {
        self.reached(Stage::Draining).await;
    }

    /// Completes when everything is to stop at once.
    pub async fn aborting(&self) {
        self.reached(Stage::Aborting).await;
    }

    /// A flag that becomes true when draining begins, for tasks that know only
    /// running and ending. It works as long as a [`Shutdown`] or a
    /// [`ShutdownHandle`] of this line is kept; after that, waiting on it fails.
    #[must_use]
    pub fn receiver(&self) -> watch::Receiver<bool> {
        self.line.draining.subscribe()
    }

    async fn reached(&self, stage: Stage) {
        let mut receiver = self.line.stage.subscribe();
        if receiver.wait_for(|now| *now >= stage).await.is_err() {
            // The sender is in `self.line`; were it gone, no order could come.
            pending::<()>().await;
        }
    }
}

impl ShutdownHandle {
    /// Orders the drain; has no effect once it has begun.
    pub fn drain(&self) {
        self.advance(Stage::Draining);
    }

    /// Orders the immediate stop.
    pub fn abort(&self) {
        self.advance(Stage::Aborting);
    }

    /// Listens to SIGTERM and SIGINT from now on. The future, which never ends,
    /// must be polled: the first signal of either kind drains, every further one
    /// aborts.
    ///
    /// # Errors
    /// The signal handlers can't be installed.
    pub fn signals(self) -> io::Result<impl Future<Output = ()> + Send + 'static> {
        let mut term = signal(SignalKind::terminate())?;
        let mut int = signal(SignalKind::interrupt())?;
        Ok(async move {
            loop {
                let received = tokio::select! {
                    got = term.recv() => got.map(|()| "SIGTERM"),
                    got = int.recv() => got.map(|()| "SIGINT"),
                };
                match received {
                    Some(name) if *self.line.stage.borrow() == Stage::Running => {
                        tracing::info!(signal = name, "draining");
                        self.drain();
                    }
                    Some(name) => {
                        tracing::warn!(signal = name, "aborting");
                        self.abort();
                    }
                    // No signal can be received any more, so none will be.
                    None => pending().await,
                }
            }
        })
    }

    fn advance(&self, to: Stage) {
        self.line.stage.send_if_modified(|now| {
            let forward = *now < to;
            if forward {
                *now = to;
            }
            forward
        });
        self.line.draining.send_if_modified(|draining| !std::mem::replace(draining, true));
    }
}

impl fmt::Debug for Shutdown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Shutdown").field(&self.stage()).finish()
    }
}

impl fmt::Debug for ShutdownHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ShutdownHandle").field(&*self.line.stage.borrow()).finish()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn stages_only_go_forward() {
        let (handle, shutdown) = Shutdown::new();
        let mut flag = shutdown.receiver();
        let seen = |shutdown: &Shutdown| {
            (
                shutdown.stage(),
                shutdown.draining().now_or_never().is_some(),
                shutdown.aborting().now_or_never().is_some(),
            )
        };
        assert_eq!(seen(&shutdown), (Stage::Running, false, false));
        assert!(!*flag.borrow_and_update());

        handle.drain();
        assert_eq!(seen(&shutdown), (Stage::Draining, true, false));
        assert!(*flag.borrow_and_update());

        handle.abort();
        assert_eq!(seen(&shutdown), (Stage::Aborting, true, true));
        assert!(*shutdown.receiver().borrow());

        handle.drain();
        assert_eq!(seen(&shutdown), (Stage::Aborting, true, true));
        assert!(!flag.has_changed().expect("the line is there"), "told once");
    }

    #[test]
    fn an_abort_alone_is_a_drain_too() {
        let (handle, shutdown) = Shutdown::new();
        handle.abort();
        assert!(shutdown.draining().now_or_never().is_some());
        assert!(*shutdown.receiver().borrow());
    }

    #[tokio::test]
    async fn a_waiting_task_is_woken_and_a_dropped_handle_orders_nothing() {
        let (handle, shutdown) = Shutdown::new();
        let other = handle.clone();
        drop(handle);
        let mut waiting = Box::pin(shutdown.draining());
        assert!(waiting.as_mut().now_or_never().is_none());
        other.drain();
        waiting.await;
    }
}
