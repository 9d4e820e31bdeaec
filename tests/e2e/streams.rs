//! Envoy asks once, when a request begins: what ends that which goes on for long.

use std::net::SocketAddr;
use std::time::Duration;

use crate::support::envoy::Envoy;
use crate::support::files::replace;
use crate::support::stack::{AUDIENCE, CATALOG, OWNERS, Options, Stagedoor, reason, request};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, timeout};

/// In place of the hour of the shipped files. What is asked meanwhile has to be answered by then.
const BOUND: Duration = Duration::from_secs(10);
/// Long enough for a busy machine.
const CLOSES: Duration = Duration::from_secs(30);

/// A service that answers without an end: a download, or what a WebSocket is used for.
async fn endless() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(go_on(stream));
        }
    });
    address
}

async fn go_on(mut stream: TcpStream) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let upgrade =
        String::from_utf8_lossy(&head).to_ascii_lowercase().contains("upgrade: websocket");
    let begin: &[u8] = if upgrade {
        b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
    } else {
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    };
    stream.write_all(begin).await?;
    loop {
        stream.write_all(b"1\r\nx\r\n").await?;
        sleep(Duration::from_millis(50)).await;
    }
}

/// Something that began with this status.
async fn begin(envoy: &Envoy, bearer: &str, upgrade: bool, status: &str) -> TcpStream {
    let mut headers = vec![("authorization", bearer)];
    if upgrade {
        headers.extend([
            ("connection", "upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ]);
    }
    let request = crate::support::stack::request_of_many(
        "GET",
        "payments.example.com",
        "/v1/orders",
        &headers,
    );
    let mut stream = TcpStream::connect(envoy.address).await.unwrap();
    stream.write_all(&request).await.unwrap();
    let mut line = [0; 12];
    stream.read_exact(&mut line).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&line), format!("HTTP/1.1 {status}"));
    stream
}

/// Whether it comes to its end within this time. Until then it goes on.
async fn ends_within(stream: &mut TcpStream, time: Duration) -> bool {
    let end = async {
        let mut some = [0; 4096];
        while stream.read(&mut some).await.is_ok_and(|count| count > 0) {}
    };
    timeout(time, end).await.is_ok()
}

/// What was begun goes on when its caller has lost the right; by the setting that is shipped
/// beside the other it ends at its bound.
#[tokio::test]
async fn what_goes_on_ends_at_its_bound() {
    let stagedoor = Stagedoor::start(Options::default()).await.unwrap();
    let token = stagedoor.tenant.token().audience(AUDIENCE).groups(&[OWNERS]).sign();
    let bearer = format!("Bearer {token}");
    let service = endless().await;
    let config = || stagedoor.envoy(service).web_sockets();
    let unbounded = Envoy::start(config()).await.unwrap();
    let bounded = Envoy::start(config().streams_end_after(BOUND)).await.unwrap();

    let version = stagedoor.await_other_snapshot(None).await.unwrap();
    let begun = Instant::now();
    let mut go_on = [
        begin(&unbounded, &bearer, false, "200").await,
        begin(&unbounded, &bearer, true, "101").await,
    ];
    let mut end =
        [begin(&bounded, &bearer, false, "200").await, begin(&bounded, &bearer, true, "101").await];

    let others = CATALOG.replace("owner: payments-team", "owner: orders-team");
    replace(stagedoor.catalog_file(), others);
    stagedoor.await_other_snapshot(Some(&version)).await.unwrap();
    for envoy in [&unbounded, &bounded] {
        let headers = [("authorization", bearer.as_str())];
        let again = request("GET", "payments.example.com", "/v1/orders", &headers);
        let answer = envoy.raw_http(again).await.unwrap();
        assert_eq!((answer.status, reason(&answer).unwrap().as_str()), (403, "not_permitted"));
    }

    for stream in &mut end {
        assert!(ends_within(stream, CLOSES).await, "it goes on after its bound");
    }
    assert!(begun.elapsed() >= BOUND, "it ended early: {:?}", begun.elapsed());
    let ended = "http.front.downstream_rq_max_duration_reached";
    assert_eq!(bounded.stats(ended).await.unwrap(), 2);
    // Begun before the others, and still there: this is what the bound is for.
    for stream in &mut go_on {
        assert!(!ends_within(stream, Duration::from_secs(1)).await, "it ended without a bound");
    }
    assert_eq!(unbounded.stats(ended).await.unwrap(), 0);
}
