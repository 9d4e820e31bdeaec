//! Reading more of a connection than is asked for at a time.
//!
//! A connection that has nothing to say needs no room for it, and most of thousands have
//! nothing to say. So the room is its thread's: a connection has it for as long as something in
//! it was not asked for yet, which is until the end of its turn, but where its reader has enough.

use std::cell::Cell;
use std::io;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What is read at once. h2 asks for 8 KiB, which is two or three checks; Envoy sends more
/// together when it is busy.
pub(super) const READ_BUFFER: usize = 32 * 1024;

thread_local! {
    /// Empty while a connection of this thread has it.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Room to read into, out of the thread's.
fn take() -> Vec<u8> {
    let spare = SPARE.take();
    if spare.is_empty() { vec![0; READ_BUFFER] } else { spare }
}

/// A connection that is read ahead.
#[derive(Debug)]
pub(super) struct Ahead<I> {
    io: I,
    /// Empty where nothing was read ahead.
    room: Vec<u8>,
    /// What of it was read and not asked for.
    begin: usize,
    end: usize,
}

impl<I> Ahead<I> {
    pub(super) fn new(io: I) -> Self {
        Self { io, room: Vec::new(), begin: 0, end: 0 }
    }

    /// Hands on what was read ahead. The room is the thread's again once nothing is left in it.
    fn hand_on(&mut self, buffer: &mut ReadBuf<'_>) {
        // `begin` and `end` are places in it; were they none, this would look like the end.
        let left = self.room.get(self.begin..self.end).unwrap_or_default();
        let (now, _) = left.split_at(left.len().min(buffer.remaining()));
        buffer.put_slice(now);
        self.begin += now.len();
        if self.begin == self.end {
            self.give_back();
        }
    }

    fn give_back(&mut self) {
        (self.begin, self.end) = (0, 0);
        SPARE.set(mem::take(&mut self.room));
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Ahead<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.room.is_empty() {
            if buffer.remaining() >= READ_BUFFER {
                return Pin::new(&mut this.io).poll_read(context, buffer);
            }
            this.room = take();
            let mut room = ReadBuf::new(&mut this.room);
            let polled = Pin::new(&mut this.io).poll_read(context, &mut room);
            this.end = room.filled().len();
            if !matches!(polled, Poll::Ready(Ok(()))) {
                this.give_back();
            }
            ready!(polled)?;
        }
        this.hand_on(buffer);
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Ahead<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(context, bytes)
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
    use std::task::Waker;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    /// Whether the thread has the room.
    fn is_spare() -> bool {
        let spare = SPARE.take();
        let there = spare.len() == READ_BUFFER;
        SPARE.set(spare);
        there
    }

    /// Bytes that tell where they are from, and at what place they were.
    fn numbered(from: u8, count: usize) -> Vec<u8> {
        (0..251).cycle().map(|place| place ^ from).take(count).collect()
    }

    /// Reads at most so many bytes, or nothing where there is nothing.
    fn read(io: &mut Ahead<tokio::io::DuplexStream>, most: usize) -> Poll<Vec<u8>> {
        let mut bytes = vec![0; most];
        let mut buffer = ReadBuf::new(&mut bytes);
        let mut context = Context::from_waker(Waker::noop());
        ready!(Pin::new(io).poll_read(&mut context, &mut buffer)).expect("it can be read");
        Poll::Ready(buffer.filled().to_vec())
    }

    #[tokio::test]
    async fn what_is_read_is_what_was_written() {
        for (piece, most) in [(1, 1), (1000, 7), (READ_BUFFER, 8192), (READ_BUFFER + 1, 100_000)] {
            let (mut there, here) = duplex(1 << 20);
            let bytes = numbered(0, 200_000);
            let mut here = Ahead::new(here);
            let mut got = Vec::new();
            for piece in bytes.chunks(piece) {
                there.write_all(piece).await.unwrap();
                if let Poll::Ready(some) = read(&mut here, most) {
                    got.extend(some);
                }
            }
            drop(there);
            here.read_to_end(&mut got).await.unwrap();
            assert_eq!(got, bytes, "{piece} at a time, and {most} are asked for");
            assert!(is_spare());
        }
    }

    #[tokio::test]
    async fn connections_of_a_thread_share_the_room_and_not_what_is_in_it() {
        let connections: Vec<_> = (0..3).map(|_| duplex(1 << 20)).collect();
        let (mut there, here): (Vec<_>, Vec<_>) = connections.into_iter().unzip();
        let mut here: Vec<_> = here.into_iter().map(Ahead::new).collect();
        for (from, there) in (0..).zip(&mut there) {
            there.write_all(&numbered(from, 1000)).await.unwrap();
        }
        // Each is in the middle of what it read when the next one reads.
        for (from, here) in (0..).zip(&mut here) {
            let Poll::Ready(got) = read(here, 400) else { panic!("there is something") };
            assert_eq!(got, numbered(from, 1000)[..400]);
            assert!(!is_spare(), "it is in use");
        }
        for (from, here) in (0..).zip(&mut here) {
            let Poll::Ready(got) = read(here, 5000) else { panic!("there is something") };
            assert_eq!(got, numbered(from, 1000)[400..]);
            assert!(is_spare(), "nothing is left in it");
            assert!(here.room.is_empty());
        }
    }

    #[tokio::test]
    async fn who_has_nothing_to_say_has_no_room() {
        let (there, here) = duplex(100);
        let mut here = Ahead::new(here);
        assert_eq!(read(&mut here, 10), Poll::Pending);
        assert!(here.room.is_empty() && is_spare());
        drop(there);
        assert_eq!(read(&mut here, 10), Poll::Ready(Vec::new()), "its end");
        assert!(here.room.is_empty() && is_spare());
    }

    #[tokio::test]
    async fn an_error_is_one() {
        let mut here = Ahead::new(Broken);
        let error = here.read_u8().await.expect_err("it is broken");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        assert!(here.room.is_empty() && is_spare());
    }

    #[derive(Debug)]
    struct Broken;

    impl AsyncRead for Broken {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
        }
    }
}
