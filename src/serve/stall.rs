//! A deadline on writing.
//!
//! A client that answers nothing is found by pings, but closing its connection
//! takes a last frame, and a client that reads nothing leaves no room for one. So
//! a write that makes no progress for long enough is an error.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// Ends a connection whose client doesn't take what is written.
#[derive(Debug)]
pub(super) struct Stalling<I> {
    io: I,
    limit: Duration,
    /// Runs while a write waits.
    timer: Option<Pin<Box<Sleep>>>,
}

impl<I> Stalling<I> {
    /// A write may wait for `limit`.
    pub(super) fn new(io: I, limit: Duration) -> Self {
        Self { io, limit, timer: None }
    }

    fn judge<T>(
        &mut self,
        cx: &mut Context<'_>,
        progress: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if progress.is_ready() {
            self.timer = None;
            return progress;
        }
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(self.limit)));
        match timer.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Stalling<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Stalling<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let progress = Pin::new(&mut self.io).poll_write(cx, buf);
        self.judge(cx, progress)
    }

    // Not vectored: h2 then copies every frame of less than a kilobyte into one buffer and
    // writes it once, where otherwise each answer would be a call of the system of its own.
    fn is_write_vectored(&self) -> bool {
        false
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let progress = Pin::new(&mut self.io).poll_flush(cx);
        self.judge(cx, progress)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let progress = Pin::new(&mut self.io).poll_shutdown(cx);
        self.judge(cx, progress)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_write_without_progress_fails_in_time() {
        let (mut client, server) = tokio::io::duplex(8);
        let mut server = Stalling::new(server, Duration::from_secs(10));

        // Slow, but moving: each wait is short of the limit.
        let reading = tokio::spawn(async move {
            let mut byte = [0; 8];
            for _ in 0..5 {
                tokio::time::sleep(Duration::from_secs(9)).await;
                client.read_exact(&mut byte).await.expect("sent");
            }
            client
        });
        server.write_all(&[7; 48]).await.expect("taken");
        let _client = reading.await.expect("no panic");

        let stuck = Instant::now();
        let error = server.write_all(&[7; 48]).await.expect_err("nobody reads");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(stuck.elapsed().as_secs(), 10);
    }
}
