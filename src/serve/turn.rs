//! How much one connection reads before the others of its thread go on.
//!
//! A thread serves several connections, and HTTP/2 is read for as long as there is something
//! to read. Tokio gives a task 128 reads a turn, which are megabytes of the smallest frames:
//! who floods would hold the thread for tenths of a second each time.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes of a turn. They are some eighty checks, more than Envoy has to say at once: what is
/// answered in one turn is written at once, and with turns of a dozen checks each of them cost
/// twice as much.
pub(super) const TURN: usize = 256 * 1024;

/// What was read in this turn, of one connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Turn(Arc<AtomicUsize>);

impl Turn {
    /// What is read of a connection, at most [`TURN`] each time it is polled.
    pub(super) fn reads<I>(&self, io: I) -> Turns<I> {
        Turns { io, turn: self.clone() }
    }

    /// A connection, of which each poll is a turn.
    pub(super) fn polls<F>(&self, connection: F) -> InTurns<F> {
        InTurns { connection, turn: self.clone() }
    }
}

/// Has nothing more to read when a turn is over.
#[derive(Debug)]
pub(super) struct Turns<I> {
    io: I,
    turn: Turn,
}

pin_project! {
    /// Begins a turn with each poll.
    pub(super) struct InTurns<F> {
        #[pin]
        connection: F,
        turn: Turn,
    }
}

impl<F> InTurns<F> {
    /// The connection itself.
    pub(super) fn connection(self: Pin<&mut Self>) -> Pin<&mut F> {
        self.project().connection
    }
}

impl<F: Future> Future for InTurns<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        this.turn.0.store(0, Ordering::Relaxed);
        this.connection.poll(context)
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Turns<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = self.turn.0.load(Ordering::Relaxed);
        if read >= TURN {
            // It is its turn again as soon as everything that is ready went on.
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(context, buffer))?;
        self.turn.0.store(read + (buffer.filled().len() - before), Ordering::Relaxed);
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
    use std::future::poll_fn;
    use std::pin::pin;
    use std::task::{Wake, Waker};

    use tokio::io::repeat;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// As HTTP/2 does: it reads whatever there is, and asks again after there was nothing.
    #[test]
    fn who_has_much_to_say_lets_others_go_first() {
        let turn = Turn::default();
        let mut io = turn.reads(repeat(7));
        let mut read = 0;
        let connection = poll_fn(|context| {
            let mut nothing = 0;
            while nothing < 3 {
                let mut bytes = [0; 1000];
                let mut buffer = ReadBuf::new(&mut bytes);
                match Pin::new(&mut io).poll_read(context, &mut buffer) {
                    Poll::Ready(result) => {
                        result.expect("it never ends");
                        read += buffer.filled().len();
                    }
                    Poll::Pending => nothing += 1,
                }
            }
            if read >= 10 * TURN { Poll::Ready(read) } else { Poll::Pending }
        });
        let mut connection = pin!(turn.polls(connection));
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let mut context = Context::from_waker(&waker);
        let mut turns = 1;
        let read = loop {
            match connection.as_mut().poll(&mut context) {
                Poll::Ready(read) => break read,
                Poll::Pending => turns += 1,
            }
            assert!(woken.0.load(Ordering::Relaxed) >= turns - 1, "it is its turn again");
        };
        assert_eq!(turns, 10);
        assert!(read < 10 * (TURN + 1000), "{read}");
    }
}
