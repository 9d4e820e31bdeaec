//! Tasks that must run, and what is said of one that ends by itself.

use std::any::Any;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::thread;

use futures_util::FutureExt as _;
use futures_util::future::select_all;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A task that ended, and why, if that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Which.
    pub task: &'static str,
    /// What a panic said, or else what there is to say.
    pub cause: Option<String>,
}

/// Runs a task to its end, whatever that is. Of a task that holds others, that may be one of
/// theirs.
pub(super) async fn named(task: &'static str, run: impl Future<Output = Option<Ended>>) -> Ended {
    match AssertUnwindSafe(run).catch_unwind().await {
        Ok(ended) => ended.unwrap_or(Ended { task, cause: None }),
        Err(panic) => Ended::of(task, Err(panic)),
    }
}

impl Ended {
    /// Of a task that is a thread of its own.
    pub(super) fn of(task: &'static str, outcome: thread::Result<()>) -> Self {
        let cause = outcome.err().map(|panic| format!("a panic: {}", said(&*panic)));
        Self { task, cause }
    }
}

/// What a panic says of itself.
fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}

/// A task that is ended by whoever holds it.
#[derive(Debug)]
pub(super) struct Running {
    task: &'static str,
    stop: watch::Sender<bool>,
    handle: JoinHandle<Ended>,
}

impl Running {
    /// Starts a task that ends when it is told to.
    pub(super) fn start<F>(task: &'static str, run: impl FnOnce(watch::Receiver<bool>) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (stop, stopped) = watch::channel(false);
        let handle = tokio::spawn(named(task, run(stopped).map(|()| None)));
        Self { task, stop, handle }
    }

    /// Ends it, and waits for that.
    pub(super) async fn end(mut self) {
        self.stop.send_replace(true);
        // However it ended.
        let _ = (&mut self.handle).await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.handle.abort();
    }
}

/// Completes when the first of them ends by itself.
pub(super) async fn first_ended(tasks: impl Iterator<Item = &mut Running>) -> Ended {
    let tasks = tasks.map(|running| {
        let task = running.task;
        (&mut running.handle)
            .map(move |ended| ended.unwrap_or(Ended { task, cause: Some("it was cut".into()) }))
            .boxed()
    });
    select_all(tasks).await.0
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the task `{}` ended by itself", self.task)?;
        match &self.cause {
            Some(cause) => write!(f, ": {cause}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_ends_says_why() {
        let says = async |run: fn() -> futures_util::future::BoxFuture<'static, ()>| {
            let mut ending = Running::start("one", |_| run());
            let mut other = Running::start("other", |mut stop| async move {
                let _ = stop.wait_for(|stop| *stop).await;
            });
            let ended = first_ended([&mut other, &mut ending].into_iter()).await;
            // One that is told to end does.
            other.end().await;
            ended.to_string()
        };
        assert_eq!(says(|| async {}.boxed()).await, "the task `one` ended by itself");
        let panics = says(|| async { panic!("{} lost", "all is") }.boxed()).await;
        assert_eq!(panics, "the task `one` ended by itself: a panic: all is lost");
    }
}
