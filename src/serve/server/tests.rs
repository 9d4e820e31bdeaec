use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::Instant;

use super::super::connection::Tower;
use super::*;

#[test]
fn connections_leave_descriptors_for_the_rest() {
    for (wanted, descriptors, want) in [
        (1000, None, 1000),
        (1000, Some(1_048_576), 1000),
        (1000, Some(1024), 960),
        (100, Some(1024), 100),
        (1000, Some(64), 32),
        (1000, Some(1), 1),
        (0, Some(1024), 1),
        (0, None, 1),
    ] {
        assert_eq!(affordable(wanted, descriptors), want, "{wanted} of {descriptors:?}");
    }
    let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
                  Max processes             63432                63432                processes \n\
                  Max open files            1024                 524288               files     \n";
    assert_eq!(parse_limit(limits), Some(1024));
    assert_eq!(parse_limit(&limits.replace("1024  ", "unlimited")), None);
    assert_eq!(parse_limit(""), None);
    assert!(descriptor_limit().is_some_and(|limit| limit > 3));
}

/// Gives what it was told to give, then fails for ever, and counts the questions.
struct Scripted {
    given: VecDeque<io::Result<DuplexStream>>,
    then: io::ErrorKind,
    asked: Arc<AtomicUsize>,
}

impl Accept for Scripted {
    type Io = DuplexStream;

    fn poll_accept(&mut self, _: &mut Context<'_>) -> Poll<io::Result<DuplexStream>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        Poll::Ready(self.given.pop_front().unwrap_or_else(|| Err(self.then.into())))
    }
}

impl Handover for DuplexStream {
    type Io = Self;

    fn tls(&self) -> Option<ServerTls> {
        None
    }

    fn take(self) -> io::Result<Self> {
        Ok(self)
    }
}

pub(in crate::serve) fn settings() -> ServeSettings {
    ServeSettings {
        listeners: Vec::new(),
        http_listeners: Vec::new(),
        workers: 0,
        max_connections: 10,
        max_concurrent_streams: 100,
        max_message_bytes: 64 * 1024,
        max_header_list_bytes: 16 * 1024,
        preface_timeout: Duration::from_secs(3),
        keepalive_interval: Duration::from_secs(20),
        keepalive_timeout: Duration::from_secs(10),
        max_connection_age: Duration::from_secs(1800),
        pre_stop: Duration::from_secs(3),
        drain_timeout: Duration::from_secs(7),
    }
}

/// Serves from `given` for `long`, then drains. Also how often it was asked.
async fn serve_for(
    long: Duration,
    given: Vec<io::Result<DuplexStream>>,
    then: io::ErrorKind,
) -> (DrainReport, usize, Arc<ServeStats>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let accept = Scripted { given: given.into(), then, asked: Arc::clone(&asked) };
    let stats = Arc::new(ServeStats::default());
    let (handle, shutdown) = Shutdown::new();
    let grpc = Tower(tower::service_fn(|_| std::future::pending::<Result<_, Infallible>>()));
    let service = Served { grpc, http: None };
    let workers = Workers::start(0).expect("none");
    let settings = ServeSettings { pre_stop: Duration::ZERO, ..settings() };
    let serving = serve(accept, &workers, &settings, service, &shutdown, &stats);
    let (report, ()) = tokio::join!(serving, async {
        tokio::time::sleep(long).await;
        handle.drain();
    });
    (report, asked.load(Ordering::Relaxed), stats)
}

#[tokio::test(start_paused = true)]
async fn without_descriptors_the_loop_waits_and_goes_on() {
    // EMFILE has no kind of its own; any that isn't the client's stands for it.
    let exhausted = || Err(io::Error::from_raw_os_error(24));
    let minute = Duration::from_secs(60);
    let (_, asked, stats) = serve_for(minute, Vec::new(), io::ErrorKind::Other).await;
    // 50, 100 and then 200 ms apart.
    assert!((300..=304).contains(&asked), "{asked} times");
    assert_eq!(stats.accept_errors(), asked as u64);

    // One connection gets in between the errors, and the wait starts small again.
    let (client, server) = tokio::io::duplex(64);
    let mut given: Vec<_> = (0..20).map(|_| exhausted()).collect();
    given.push(Ok(server));
    given.extend((0..3).map(|_| exhausted()));
    let long = Duration::from_millis(50 + 100 + 18 * 200 + 50 + 100 + 60);
    let (_, asked, stats) = serve_for(long, given, io::ErrorKind::Other).await;
    assert_eq!(stats.accepted(), 1);
    assert_eq!(asked, 24, "20 errors, the connection, an error, and two more 50 and 100 ms later");
    drop(client);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_gone_before_it_is_accepted_delays_nobody() {
    let (_client, server) = tokio::io::duplex(64);
    let mut given: Vec<io::Result<_>> = (0..20)
        .map(|number| match number % 2 {
            0 => Err(io::ErrorKind::ConnectionAborted.into()),
            _ => Err(io::ErrorKind::ConnectionReset.into()),
        })
        .collect();
    given.push(Ok(server));
    let (report, _, stats) = serve_for(Duration::from_millis(1), given, io::ErrorKind::Other).await;
    assert_eq!(stats.accepted(), 1);
    assert_eq!(report, DrainReport { finished: 1, aborted: 0 });
}

#[tokio::test(start_paused = true)]
async fn by_default_figures_silent_connections_are_gone_after_three_seconds() {
    let (clients, given): (Vec<_>, Vec<_>) =
        (0..10).map(|_| tokio::io::duplex(64)).map(|(client, server)| (client, Ok(server))).unzip();
    let begun = Instant::now();
    let closing = async {
        for mut client in clients {
            client.read_to_end(&mut Vec::new()).await.expect("closed");
        }
        begun.elapsed()
    };
    let serving = serve_for(Duration::from_secs(60), given, io::ErrorKind::Other);
    let (_, after) = tokio::join!(serving, closing);
    assert_eq!(after.as_secs(), 3);
}

/// How long a client is kept that says this and then answers pings and nothing else.
async fn kept(mut client: DuplexStream, says: &[u8]) -> Duration {
    const BEGINNING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    const PING: u8 = 6;
    const ACK: u8 = 1;
    let begun = Instant::now();
    client.write_all(BEGINNING).await.expect("open");
    client.write_all(says).await.expect("open");
    let mut header = [0; 9];
    while client.read_exact(&mut header).await.is_ok() {
        let [a, b, c, kind, flags, ..] = header;
        let length = usize::try_from(u32::from_be_bytes([0, a, b, c])).expect("small");
        let mut payload = vec![0; length];
        client.read_exact(&mut payload).await.expect("whole frames");
        if (kind, flags) == (PING, 0) {
            header[4] = ACK;
            // How the last one ends doesn't matter.
            let _ = client.write_all(&[&header[..], &payload[..]].concat()).await;
        }
    }
    begun.elapsed()
}

#[tokio::test(start_paused = true)]
async fn by_pings_alone_a_connection_stays_for_a_minute() {
    // `:method: GET`, `:scheme: http` and `:path: /`, and no body.
    const REQUEST: &[u8] = b"\0\0\x03\x01\x05\0\0\0\x01\x82\x86\x84";
    let (quiet, first) = tokio::io::duplex(1 << 16);
    let (asking, second) = tokio::io::duplex(1 << 16);
    let long = Duration::from_secs(3600);
    let serving = serve_for(long, vec![Ok(first), Ok(second)], io::ErrorKind::Other);
    let ((_, _, stats), quiet, asking) =
        tokio::join!(serving, kept(quiet, &[]), kept(asking, REQUEST));
    assert_eq!(quiet.as_secs(), 60);
    // Until it is as old as any may be, which is half an hour.
    assert!((1600..2000).contains(&asking.as_secs()), "{asking:?}");
    assert_eq!((stats.accepted(), stats.unused()), (2, 1));
}
