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
    use futures_util::FutureExt as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, repeat};
    use tokio::task::yield_now;

    use super::*;

    #[tokio::test]
    async fn who_has_much_to_say_lets_others_go_first() {
        let mut turns = Turns::new(repeat(7));
        let mut bytes = vec![0; TURN];
        for _ in 0..3 {
            assert!(turns.read_exact(&mut bytes).now_or_never().is_some(), "a turn");
            // Nobody else is there: it goes on at once.
            assert!(turns.read_u8().now_or_never().is_none(), "and no more than that");
            assert_eq!(turns.read_u8().await.expect("it never ends"), 7);
            turns.read = 0;
        }
        let others = std::rc::Rc::new(std::cell::Cell::new(0));
        let local = tokio::task::LocalSet::new();
        local
            .run_until(async {
                let counted = std::rc::Rc::clone(&others);
                tokio::task::spawn_local(async move {
                    loop {
                        counted.set(counted.get() + 1);
                        yield_now().await;
                    }
                });
                turns.read_exact(&mut vec![0; 10 * TURN]).await.expect("it never ends");
            })
            .await;
        assert!(others.get() >= 9, "{}", others.get());
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
