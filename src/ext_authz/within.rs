//! A deadline that costs nothing until somebody waits.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep};

pin_project! {
    /// The output of a future, or nothing where it took too long.
    ///
    /// Most have their output at once, so the timer is made for those only that wait; and a
    /// struct of its own, not an `async fn`, which would have room for the future twice.
    pub(super) struct Within<F> {
        #[pin]
        future: F,
        limit: Duration,
        timer: Option<Pin<Box<Sleep>>>,
    }
}

/// Gives `future` this long, from when it is first polled.
pub(super) fn within<F: Future>(limit: Duration, future: F) -> Within<F> {
    Within { future, limit, timer: None }
}

impl<F: Future> Future for Within<F> {
    type Output = Option<F::Output>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(output) = this.future.poll(context) {
            return Poll::Ready(Some(output));
        }
        let limit = *this.limit;
        let timer = this.timer.get_or_insert_with(|| Box::pin(sleep(limit)));
        timer.as_mut().poll(context).map(|()| None)
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_takes_too_long_has_no_output() {
        let begun = Instant::now();
        let limit = Duration::from_secs(3);
        assert_eq!(within(Duration::ZERO, ready(7)).await, Some(7));
        assert_eq!(within(limit, pending::<()>()).await, None);
        assert_eq!(begun.elapsed(), limit);
        let later = async {
            sleep(Duration::from_secs(2)).await;
            7
        };
        assert_eq!(within(limit, later).await, Some(7));
    }
}
