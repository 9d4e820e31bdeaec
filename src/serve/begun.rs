//! The requests that a connection has read, and answers.

use std::fmt;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use pin_project_lite::pin_project;

use super::ServeStats;

type Answer = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What a connection began in this turn. Nearly every answer is made without waiting, for which
/// a task of its own would cost a good part of what the decision does. It isn't made where the
/// request is read either: HTTP/2 writes what it has before it reads the next request, and each
/// answer would be written by itself.
#[derive(Clone)]
pub(super) struct Begun {
    answers: Arc<Mutex<Vec<Answer>>>,
    stats: Arc<ServeStats>,
}

impl fmt::Debug for Begun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Begun").finish_non_exhaustive()
    }
}

impl Begun {
    pub(super) fn new(stats: Arc<ServeStats>) -> Self {
        Self { answers: Arc::default(), stats }
    }

    /// A connection, after each turn of which what it began is answered.
    pub(super) fn after<F>(&self, connection: F) -> Answering<F> {
        Answering { connection, begun: self.clone() }
    }

    /// Makes the answers; one that has to wait goes on as a task.
    fn answer(&self) {
        let mut answers = mem::take(&mut *self.lock());
        for mut answer in answers.drain(..) {
            // What a task looks at again wakes that task.
            let mut context = Context::from_waker(Waker::noop());
            if answer.as_mut().poll(&mut context).is_pending() {
                // Who waits for everybody else, as new tokens do, would otherwise be the very
                // next: a task that was just begun is looked at before any socket is.
                tokio::spawn(async move {
                    tokio::task::yield_now().await;
                    answer.await;
                });
            }
        }
        // The room is used again.
        let mut begun = self.lock();
        if begun.is_empty() {
            *begun = answers;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Answer>> {
        // Nothing panics while it is locked.
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<F> hyper::rt::Executor<F> for Begun
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, request: F) {
        let answer = Box::pin(Guarded { request, stats: Arc::clone(&self.stats) });
        self.lock().push(answer);
    }
}

pin_project! {
    /// A connection that answers after each turn what it read in it. What it has to write wakes
    /// it again.
    pub(super) struct Answering<F> {
        #[pin]
        connection: F,
        begun: Begun,
    }

    impl<F> PinnedDrop for Answering<F> {
        fn drop(this: Pin<&mut Self>) {
            // Each request holds what it was put into: were one left there, neither would end.
            let left = mem::take(&mut *this.begun.lock());
            drop(left);
        }
    }
}

impl<F> Answering<F> {
    /// The connection itself.
    pub(super) fn connection(self: Pin<&mut Self>) -> Pin<&mut F> {
        self.project().connection
    }
}

impl<F: Future> Future for Answering<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let polled = this.connection.poll(context);
        this.begun.answer();
        polled
    }
}

pin_project! {
    /// A request whose panic ends nothing but itself.
    struct Guarded<F> {
        #[pin]
        request: F,
        stats: Arc<ServeStats>,
    }
}

impl<F: Future> Future for Guarded<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        // What the future touched is dropped with it; nothing is looked at again.
        match catch_unwind(AssertUnwindSafe(|| this.request.poll(context))) {
            Ok(poll) => poll.map(drop),
            Err(_) => {
                this.stats.panicked();
                tracing::error!("a request panicked outside the service's own guard");
                Poll::Ready(())
            }
        }
    }
}

#[cfg(test)]
mod tests;
