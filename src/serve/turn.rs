//! How much one connection reads before the others of its thread go on.
//!
//! A thread serves several connections, and HTTP/2 is read for as long as there is something
//! to read. Tokio gives a connection 128 reads a turn, which are megabytes of the smallest
//! frames: who floods would hold the thread for tenths of a second each time.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes of a turn. Envoy seldom has more to say at once: they are a dozen checks.
pub(super) const TURN: usize = 32 * 1024;

/// Lets others go first after each [`TURN`].
#[derive(Debug)]
pub(super) struct Turns<I> {
    io: I,
    /// What was read since there was last nothing to read.
    read: usize,
}

impl<I> Turns<I> {
    pub(super) fn new(io: I) -> Self {
        Self { io, read: 0 }
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Turns<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.read >= TURN {
            self.read = 0;
            // It is its turn again as soon as everything that is ready went on.
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.io).poll_read(context, buffer);
        if read.is_pending() {
            self.read = 0;
        }
        ready!(read)?;
        self.read += buffer.filled().len() - before;
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Turns<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Wake, Waker};

    use futures_util::FutureExt as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, repeat};

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn who_has_much_to_say_lets_others_go_first() {
        let mut turns = Turns::new(repeat(7));
        let mut bytes = vec![0; 10 * TURN];
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let mut context = Context::from_waker(&waker);
        let mut reading = pin!(turns.read_exact(&mut bytes));
        let mut pauses = 0;
        while reading.as_mut().poll(&mut context).is_pending() {
            pauses += 1;
            assert_eq!(woken.0.load(Ordering::Relaxed), pauses, "it is its turn again");
        }
        assert_eq!(pauses, 9, "one between two turns");
    }

    #[tokio::test]
    async fn pieces_that_come_one_by_one_are_no_turn() {
        let (mut client, server) = tokio::io::duplex(TURN);
        let mut turns = Turns::new(server);
        let mut bytes = vec![0; TURN / 2];
        for _ in 0..10 {
            client.write_all(&bytes).await.expect("there is room");
            assert!(turns.read_exact(&mut bytes).now_or_never().is_some(), "it is there");
            assert!(turns.read_u8().now_or_never().is_none(), "that was all");
        }
    }
}
