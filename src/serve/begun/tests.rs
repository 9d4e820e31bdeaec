use std::convert::Infallible;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::{Method, Request, Response};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};
use tokio::sync::watch;
use tonic::body::Body;

use super::super::connection::{Served, Terms, Tower};
use super::super::server::tests::settings;
use super::super::settings::Speaks;
use super::*;
use crate::quiet::Asking;

/// Counts how often something is written.
struct Counted {
    io: DuplexStream,
    writes: Arc<AtomicUsize>,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.writes.fetch_add(1, Ordering::Relaxed);
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// Of HPACK's static table: `:method: POST`, `:method: GET`, `:path: /`, `:path: /index.html`,
/// `:scheme: http`.
const AT_ONCE: [u8; 3] = [0x83, 0x86, 0x84];
const LATER: [u8; 3] = [0x82, 0x86, 0x84];
const NEVER: [u8; 3] = [0x83, 0x86, 0x85];

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).expect("a short one");
    let mut frame = vec![0, 0, length, kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// What a client says at once: that it speaks HTTP/2, and these requests.
fn requests(headers: &[[u8; 3]]) -> Vec<u8> {
    let mut said = PREFACE.to_vec();
    said.extend(frame(4, 0, 0, &[]));
    for (headers, stream) in headers.iter().zip((1..).step_by(2)) {
        said.extend(frame(HEADERS, END_STREAM | END_HEADERS, stream, headers));
    }
    said
}

/// Reads until as many streams have ended. How many were answered, and how many were broken off.
async fn ends(client: &mut DuplexStream, streams: usize) -> (usize, usize) {
    let (mut answered, mut broken) = (0, 0);
    while answered + broken < streams {
        let mut head = [0; 9];
        client.read_exact(&mut head).await.expect("a frame");
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).expect("a length")];
        client.read_exact(&mut payload).await.expect("what the frame holds");
        match head[3] {
            HEADERS if head[4] & END_STREAM != 0 => answered += 1,
            RESET => broken += 1,
            _ => {}
        }
    }
    (answered, broken)
}

/// What one connection came to that said all of this at once.
struct Came {
    answered: usize,
    broken: usize,
    writes: usize,
    panics: u64,
}

async fn serve(headers: &[[u8; 3]]) -> Came {
    let (mut client, io) = tokio::io::duplex(1 << 20);
    let writes = Arc::new(AtomicUsize::new(0));
    let io = Counted { io, writes: Arc::clone(&writes) };
    let stats = Arc::new(ServeStats::default());
    let held = Arc::new(());
    let holds = Arc::clone(&held);
    let grpc = Tower(tower::service_fn(move |request: Request<Body>| {
        let holds = Arc::clone(&holds);
        async move {
            assert_ne!(request.uri().path(), "/index.html", "the defect of this test");
            if request.method() == Method::GET {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            drop(holds);
            Ok::<_, Infallible>(Response::new(Body::empty()))
        }
    }));
    let terms = Terms::new(&settings(), Arc::clone(&stats));
    let (_close, closing) = watch::channel(false);
    let service = Served { grpc, http: None };
    let serving =
        tokio::spawn(terms.serve(io, None, Speaks::Http2, service, closing, Asking::default()));
    client.write_all(&requests(headers)).await.expect("it is read");
    let (answered, broken) = ends(&mut client, headers.len()).await;
    let writes = writes.load(Ordering::Relaxed);
    drop(client);
    serving.await.expect("it ends");
    assert_eq!(Arc::strong_count(&held), 1, "nothing of the connection is left");
    Came { answered, broken, writes, panics: stats.panics() }
}

/// Each write is a call of the system, and costs more than a decision.
#[tokio::test]
async fn what_is_read_together_is_written_together() {
    let came = serve(&[AT_ONCE; 60]).await;
    assert_eq!((came.answered, came.broken, came.panics), (60, 0, 0));
    assert!(came.writes <= 6, "{} writes of 60 answers", came.writes);
}

#[tokio::test]
async fn who_waits_and_who_panics_hold_up_nobody() {
    let mut all = vec![AT_ONCE; 20];
    all.extend([LATER, NEVER, LATER]);
    all.extend([AT_ONCE; 20]);
    let came = serve(&all).await;
    assert_eq!((came.answered, came.broken, came.panics), (42, 1, 1));
}
