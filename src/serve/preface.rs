//! The beginning of an HTTP/2 connection.
//!
//! hyper waits for the client's preface for as long as the client likes. So it is
//! read here, against a deadline, and handed on with the connection.
//!
//! By RFC 9113, section 3.4, a client begins with 24 fixed bytes that a SETTINGS
//! frame must follow, and may not wait for the server between the two. Both are
//! asked for: a client that stops after the fixed bytes is no better than one
//! that sent nothing.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

const MAGIC: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The fixed bytes and the header of the SETTINGS frame.
const LENGTH: usize = MAGIC.len() + 9;
const TYPE_SETTINGS: u8 = 4;
const FLAG_ACK: u8 = 1;

/// A connection whose client began as it must. Reads the beginning once more.
#[derive(Debug)]
pub(super) struct Prefaced<I> {
    start: [u8; LENGTH],
    replayed: usize,
    io: I,
}

impl<I: AsyncRead + Unpin> Prefaced<I> {
    /// Waits for the beginning; the caller sets the deadline. The first byte that
    /// differs is enough to refuse.
    pub(super) async fn read(mut io: I) -> io::Result<Self> {
        let mut start = [0; LENGTH];
        let mut filled = 0;
        while filled < LENGTH {
            let rest = start.get_mut(filled..).unwrap_or_default();
            match io.read(rest).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => filled += read,
            }
            if !start.get(..filled).is_some_and(may_begin) {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "not HTTP/2"));
            }
        }
        Ok(Self { start, replayed: 0, io })
    }
}

/// Whether an HTTP/2 connection may begin with these bytes.
fn may_begin(bytes: &[u8]) -> bool {
    let (magic, frame) = bytes.split_at_checked(MAGIC.len()).unwrap_or((bytes, &[]));
    let header = |at: usize| frame.get(at).copied();
    // Length (0–2) is the codec's to judge; the reserved bit of the stream
    // identifier is to be ignored.
    MAGIC.starts_with(magic)
        && header(3).is_none_or(|kind| kind == TYPE_SETTINGS)
        && header(4).is_none_or(|flags| flags & FLAG_ACK == 0)
        && header(5).is_none_or(|byte| byte & 0x7f == 0)
        && frame.get(6..).unwrap_or_default().iter().all(|byte| *byte == 0)
}

impl<I: AsyncRead + Unpin> AsyncRead for Prefaced<I> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let left = this.start.get(this.replayed..).unwrap_or_default();
        if left.is_empty() {
            return Pin::new(&mut this.io).poll_read(cx, buf);
        }
        let now = left.get(..left.len().min(buf.remaining())).unwrap_or(left);
        buf.put_slice(now);
        this.replayed += now.len();
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Prefaced<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn beginning(frame: &[u8]) -> Vec<u8> {
        [MAGIC.as_slice(), frame].concat()
    }

    /// Reads `input`, then everything that comes out again.
    async fn replay(input: &[u8], piece: usize) -> io::Result<Vec<u8>> {
        let (mut client, server) = tokio::io::duplex(piece);
        let sent = input.to_vec();
        let sending = tokio::spawn(async move {
            use tokio::io::AsyncWriteExt;
            let _ = client.write_all(&sent).await;
        });
        let mut out = Vec::new();
        let result = Prefaced::read(server).await;
        match result {
            Ok(mut io) => io.read_to_end(&mut out).await.map(|_| out),
            Err(error) => {
                sending.abort();
                Err(error)
            }
        }
    }

    #[tokio::test]
    async fn what_an_http2_client_may_begin_with() {
        let ok = Ok(());
        let wrong = Err(io::ErrorKind::InvalidData);
        let short = Err(io::ErrorKind::UnexpectedEof);
        for (input, want) in [
            (beginning(&[0, 0, 0, 4, 0, 0, 0, 0, 0]), ok),
            (beginning(&[0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 1]), ok),
            (beginning(&[0, 0, 0, 4, 0, 0x80, 0, 0, 0]), ok),
            (beginning(&[0, 0, 0, 4, 1, 0, 0, 0, 0]), wrong),
            (beginning(&[0, 0, 0, 1, 0, 0, 0, 0, 0]), wrong),
            (beginning(&[0, 0, 0, 4, 0, 0, 0, 0, 1]), wrong),
            (beginning(&[]), short),
            (beginning(&[0, 0, 0]), short),
            (b"GET / HTTP/1.1\r\n\r\n".to_vec(), wrong),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\r".to_vec(), wrong),
            (b"\x16\x03\x01".to_vec(), wrong),
            (Vec::new(), short),
        ] {
            for piece in [1, 7, 4096] {
                let got = replay(&input, piece).await;
                match &got {
                    Ok(out) => assert_eq!(*out, input),
                    Err(_) => assert!(want.is_err()),
                }
                assert_eq!(got.map(drop).map_err(|error| error.kind()), want, "{input:?}");
            }
        }
    }

    proptest! {
        /// Nothing that could still become right is refused, whatever the pieces.
        #[test]
        fn refusing_early_is_refusing_late(
            bytes in proptest::collection::vec(any::<u8>(), 9),
            cut in 0..=LENGTH,
        ) {
            let whole = beginning(&bytes);
            if may_begin(&whole) {
                prop_assert!(may_begin(&whole[..cut]));
            }
        }
    }
}
