//! The gRPC listener with TLS, as its clients and its operator meet it: real sockets, real
//! certificates, files that change.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::support::tls::{Client, ENVOY, Mounted, SERVER, certificate};
use devtenant::authority::{Authority, Issued};
use hyper_util::rt::TokioIo;
use rustls::version::{TLS12, TLS13};
use rustls::{HandshakeKind, ProtocolVersion};
use stagedoor::clock::Now;
use stagedoor::serve::{
    BindError, BoundAddress, DrainReport, ListenAddress, ServeSettings, ServeStats, Server, Tower,
};
use stagedoor::shutdown::{Shutdown, ShutdownHandle};
use stagedoor::tls::{Protocol, ServerTls};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::client::TlsStream;
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

/// Longer than anything takes that is right, on a machine that is busy.
const SOON: Duration = Duration::from_secs(20);
const BEGINNING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

fn settings() -> ServeSettings {
    ServeSettings {
        listeners: vec![ListenAddress::Tls("127.0.0.1:0".parse().unwrap())],
        workers: 2,
        ..crate::serve_loop::settings()
    }
}

struct Running {
    address: SocketAddr,
    tls: ServerTls,
    stats: Arc<ServeStats>,
    handle: ShutdownHandle,
    report: JoinHandle<DrainReport>,
}

/// Serves the health service; every client has to be one of these, if there are any.
async fn start(mounted: &Mounted, clients: Option<&[&str]>, settings: ServeSettings) -> Running {
    let tls = ServerTls::load(mounted.settings(clients), Protocol::Grpc, Now::read()).unwrap();
    let server = Server::bind_with(settings, std::slice::from_ref(&tls)).await.unwrap();
    let BoundAddress::Tcp(address) = server.addresses()[0] else { panic!("not TCP") };
    let stats = server.stats();
    let (handle, shutdown) = Shutdown::new();
    let (watched, stop) = (tls.clone(), shutdown.receiver());
    tokio::spawn(async move { watched.run(stop).await });
    let health = tonic::service::Routes::new(tonic_health::server::health_reporter().1);
    let report = tokio::spawn(server.run(Tower(health), shutdown));
    Running { address, tls, stats, handle, report }
}

impl Running {
    /// Whether a client with this handshake is served.
    async fn serves(&self, client: &Client) -> bool {
        match soon(client.connect(self.address)).await {
            Ok(stream) => begins(stream).await.is_some(),
            Err(_) => false,
        }
    }

    fn failures(&self) -> u64 {
        self.tls.status().handshake_failures
    }

    /// Has the files read, and waits for what `reached` waits for.
    async fn reload(&self, mut reached: impl FnMut(&ServerTls) -> bool) {
        self.tls.reload_now();
        until(|| reached(&self.tls)).await;
    }
}

async fn soon<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(SOON, future).await.expect("in time")
}

/// Waits for what only a counter shows.
async fn until(mut reached: impl FnMut() -> bool) {
    soon(async {
        while !reached() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

/// A connection on which the server began HTTP/2, if it does.
async fn begins<I: AsyncRead + AsyncWrite + Unpin>(mut stream: I) -> Option<I> {
    // With TLS 1.3 a client only learns by reading that it isn't let in.
    let _ = stream.write_all(BEGINNING).await;
    let mut settings = [0; 9];
    soon(stream.read_exact(&mut settings)).await.ok()?;
    assert_eq!(settings[3], 4, "the server's SETTINGS");
    Some(stream)
}

/// Reads until the server closes; how it closes doesn't matter.
async fn closed(mut stream: TcpStream) {
    let mut bytes = Vec::new();
    let _ = soon(stream.read_to_end(&mut bytes)).await;
}

/// What the server shows on a connection.
fn shown(stream: &TlsStream<TcpStream>) -> Vec<u8> {
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

fn der(pair: &Issued) -> Vec<u8> {
    certificate(&pair.certificate).to_vec()
}

#[tokio::test]
async fn who_is_let_in() {
    let mounted = Mounted::new();
    let (ours, stranger) = (&mounted.authority, Authority::new("Contoso").unwrap());
    let issue = |names: &[&str]| Some(ours.issue(names).unwrap());
    let below = "spiffe://cluster.local/ns/gateways/*";
    let named: &[&str] = &[ENVOY, below, "envoy.example.com"];
    let (named, any, none) = (Some(named), Some(&[][..]), None);
    let cases = [
        // By name.
        ("its SPIFFE id", named, issue(&[ENVOY]), true),
        ("a SPIFFE id and a DNS name", named, issue(&[ENVOY, "x.example.com"]), true),
        ("below a prefix", named, issue(&["spiffe://cluster.local/ns/gateways/sa/a"]), true),
        ("its DNS name", named, issue(&["envoy.example.com"]), true),
        ("its DNS name in capitals", named, issue(&["Envoy.EXAMPLE.com"]), true),
        ("one of several DNS names", named, issue(&["a.example", "envoy.example.com"]), true),
        ("another SPIFFE id", named, issue(&["spiffe://cluster.local/ns/edge/sa/other"]), false),
        ("a longer SPIFFE id", named, issue(&[&format!("{ENVOY}2")]), false),
        ("a SPIFFE id below", named, issue(&[&format!("{ENVOY}/x")]), false),
        ("another case", named, issue(&["spiffe://cluster.local/ns/Edge/sa/envoy"]), false),
        ("another trust domain", named, issue(&["spiffe://evil.local/ns/edge/sa/envoy"]), false),
        ("the prefix itself", named, issue(&["spiffe://cluster.local/ns/gateways"]), false),
        ("beside the prefix", named, issue(&["spiffe://cluster.local/ns/gateways2/sa/a"]), false),
        ("up and down again", named, issue(&["spiffe://cluster.local/ns/gateways/../x"]), false),
        ("two SPIFFE ids", named, issue(&[ENVOY, "spiffe://cluster.local/ns/a/sa/b"]), false),
        ("a SPIFFE id as a DNS name", named, issue(&["cluster.local"]), false),
        ("a wildcard", named, issue(&["*.example.com"]), false),
        ("another DNS name", named, issue(&["example.com"]), false),
        ("an IP address", named, issue(&["127.0.0.1"]), false),
        // The common name is `envoy.example.com`.
        ("no name but the common one", named, issue(&[]), false),
        // By authority.
        ("anybody of the authority", any, issue(&["whoever.example.com"]), true),
        ("nobody", any, None, false),
        ("nobody, where names count", named, None, false),
        ("another authority of this name", named, stranger.issue(&[ENVOY]).ok(), false),
        ("expired", named, ours.issue_for(&[ENVOY], -9..-1).ok(), false),
        ("not yet good", named, ours.issue_for(&[ENVOY], 1..9).ok(), false),
        // Without an authority nobody is asked.
        ("nobody, unasked", none, None, true),
        ("a stranger, unasked", none, stranger.issue(&[ENVOY]).ok(), true),
    ];
    for (case, clients, pair, want) in &cases {
        let server = start(&mounted, *clients, settings()).await;
        for version in [&TLS12, &TLS13] {
            let client = Client::with_versions(ours, pair.as_ref(), &[version]);
            let before = server.failures();
            assert_eq!(server.serves(&client).await, *want, "{case}, {version:?}");
            until(|| server.failures() - before == u64::from(!want)).await;
        }
        assert_eq!(server.stats.preface_failures(), 0, "{case}");
    }
}

#[tokio::test]
async fn a_call_over_mtls() {
    let mounted = Mounted::new();
    let server = start(&mounted, Some(&[ENVOY]), settings()).await;
    let pair = mounted.authority.issue(&[ENVOY]).unwrap();
    let client = Arc::new(Client::new(&mounted.authority, Some(&pair)));
    let address = server.address;
    let connect = tower::service_fn(move |_| {
        let client = Arc::clone(&client);
        async move { client.connect(address).await.map(TokioIo::new) }
    });
    let channel = Endpoint::from_static("http://stagedoor").connect_with_connector(connect).await;
    let mut health = HealthClient::new(channel.unwrap());
    for _ in 0..100 {
        let answer = soon(health.check(HealthCheckRequest::default())).await.unwrap();
        assert_eq!(answer.into_inner().status, 1);
    }
    server.handle.drain();
    assert_eq!(soon(server.report).await.unwrap(), DrainReport { finished: 1, aborted: 0 });
    assert_eq!(server.tls.status().handshake_failures, 0);
}

#[tokio::test]
async fn what_is_agreed_on() {
    let mounted = Mounted::new();
    let server = start(&mounted, None, settings()).await;
    let client = || Client::new(&mounted.authority, None);
    let connect = async |client: Client| soon(client.connect(server.address)).await;
    let stream = connect(client()).await.unwrap();
    assert_eq!(stream.get_ref().1.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
    // Who can't say what is spoken, speaks HTTP/2; who says something else isn't heard.
    assert!(server.serves(&client().offering(&[])).await);
    assert!(server.serves(&client().offering(&["http/1.1", "h2"])).await);
    assert!(!server.serves(&client().offering(&["http/1.1"])).await);
    // A client that trusts somebody else isn't lost on others.
    let elsewhere = Client::new(&Authority::new("Elsewhere").unwrap(), None);
    assert!(!server.serves(&elsewhere).await);
    until(|| server.failures() == 2).await;
    // Nothing is resumed: whoever comes back is looked at again.
    let again = client();
    for _ in 0..2 {
        let stream = begins(again.connect(server.address).await.unwrap()).await.unwrap();
        assert_eq!(stream.get_ref().1.handshake_kind(), Some(HandshakeKind::Full));
    }
}

#[tokio::test]
async fn what_is_no_handshake() {
    let mounted = Mounted::new();
    let server = start(&mounted, None, settings()).await;
    let good = Client::new(&mounted.authority, None);
    let whole = begins(good.connect(server.address).await.unwrap()).await.unwrap();
    let mut random = [0_u8; 4096];
    for (place, byte) in random.iter_mut().enumerate() {
        *byte = u8::try_from(place * 7 % 251).unwrap();
    }
    let cases: [&[u8]; 6] = [
        BEGINNING,
        b"GET / HTTP/1.1\r\n\r\n",
        // An alert, a handshake of nonsense, a record that is too long.
        b"\x15\x03\x03\0\x02\x02\x28",
        b"\x16\x03\x01\0\x04\x0b\0\0\0",
        b"\x16\x03\x01\xff\xff\x01\0\0\0",
        &random,
    ];
    for (number, bytes) in cases.iter().enumerate() {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let _ = stream.write_all(bytes).await;
        closed(stream).await;
        until(|| server.failures() == number as u64 + 1).await;
    }
    drop(whole);
    assert!(server.serves(&good).await);
    assert_eq!(server.stats.preface_failures(), 0);
}

/// The first bytes of a client's handshake, as they would be sent.
fn client_hello(authority: &Authority) -> Vec<u8> {
    Client::new(authority, None).hello()
}

#[tokio::test]
async fn silent_clients_are_closed_while_others_are_served() {
    let mounted = Mounted::new();
    // Long enough for the good client to begin in, on a machine that is busy.
    let preface_timeout = Duration::from_secs(3);
    let short = ServeSettings { preface_timeout, ..settings() };
    let server = start(&mounted, None, short).await;
    let good = Client::new(&mounted.authority, None);
    let mut served = begins(good.connect(server.address).await.unwrap()).await.unwrap();
    let hello = client_hello(&mounted.authority);
    let mut silent = Vec::new();
    for number in 0..60 {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        // Nothing; the half of a hello; all of it, and no more.
        let sent = [0, hello.len() / 2, hello.len()][number % 3];
        stream.write_all(&hello[..sent]).await.unwrap();
        silent.push(stream);
    }
    for stream in silent {
        closed(stream).await;
    }
    until(|| server.stats.open() == 1).await;
    assert_eq!((server.failures(), server.stats.preface_failures()), (60, 0));
    // Who makes the handshake and then says nothing is no better.
    let mut mute = good.connect(server.address).await.unwrap();
    let mut bytes = Vec::new();
    let _ = soon(mute.read_to_end(&mut bytes)).await;
    until(|| server.stats.open() == 1).await;
    assert_eq!((server.failures(), server.stats.preface_failures()), (60, 1));
    // A ping, and what comes of it.
    served.write_all(b"\0\0\x08\x06\0\0\0\0\0pingpong").await.unwrap();
    let mut heard = Vec::new();
    while !heard.ends_with(b"pingpong") {
        heard.push(soon(served.read_u8()).await.unwrap());
    }
}

#[tokio::test]
async fn handshakes_count_as_connections() {
    let mounted = Mounted::new();
    let server = start(&mounted, None, ServeSettings { max_connections: 2, ..settings() }).await;
    let mut silent = Vec::new();
    for _ in 0..2 {
        silent.push(TcpStream::connect(server.address).await.unwrap());
    }
    until(|| server.stats.open() == 2).await;
    // Beyond the cap the oldest goes, which is not through its handshake.
    let client = Client::new(&mounted.authority, None);
    let _next = soon(client.connect(server.address)).await.unwrap();
    assert_eq!(soon(silent[0].read(&mut [0; 1])).await.unwrap(), 0);
    assert_eq!((server.stats.open(), server.stats.accepted()), (2, 3));
    assert_eq!(server.stats.preface_failures(), 1);
}

#[tokio::test]
async fn new_certificates_are_shown_and_old_connections_go_on() {
    let mounted = Mounted::new();
    let first = mounted.authority.issue_for(&[SERVER], -1..10).unwrap();
    mounted.swap(&first);
    let server = start(&mounted, Some(&[]), settings()).await;
    let pair = mounted.authority.issue(&[ENVOY]).unwrap();
    let client = Client::new(&mounted.authority, Some(&pair));
    let mut old = begins(client.connect(server.address).await.unwrap()).await.unwrap();
    assert_eq!(shown(&old), der(&first));

    // What Kubernetes does when a secret changes; nobody tells the server.
    let second = mounted.authority.issue_for(&[SERVER], -1..20).unwrap();
    let before = server.tls.status().facts.not_after;
    assert_eq!(server.tls.status().facts.lifetime(), 11 * 86_400);
    mounted.swap(&second);
    until(|| server.tls.status().facts.not_after != before).await;
    assert_eq!(server.tls.status().facts.lifetime(), 21 * 86_400);
    let new = begins(client.connect(server.address).await.unwrap()).await.unwrap();
    assert_eq!(shown(&new), der(&second));
    old.write_all(b"\0\0\x08\x06\0\0\0\0\0pingpong").await.unwrap();
    let mut heard = Vec::new();
    while !heard.ends_with(b"pingpong") {
        heard.push(soon(old.read_u8()).await.unwrap());
    }

    // Another authority of clients: the old one's are no longer let in, and back again.
    let other = Authority::new("Other").unwrap();
    mounted.write("ca.crt", other.certificate());
    server.tls.reload_now();
    soon(async {
        while server.serves(&client).await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let theirs = other.issue(&[ENVOY]).unwrap();
    assert!(server.serves(&Client::new(&mounted.authority, Some(&theirs))).await);
    assert_eq!(server.tls.status().last_error, None);
    // Files that stay as they are were read as well.
    let read = server.tls.status().read;
    server.reload(|tls| tls.status().read > read).await;
}

#[tokio::test]
async fn what_is_not_whole_changes_nothing() {
    let mounted = Mounted::new();
    let first = mounted.authority.issue_for(&[SERVER], -1..10).unwrap();
    mounted.swap(&first);
    let server = start(&mounted, Some(&[]), settings()).await;
    let pair = mounted.authority.issue(&[ENVOY]).unwrap();
    let client = Client::new(&mounted.authority, Some(&pair));
    let second = mounted.authority.issue_for(&[SERVER], -1..20).unwrap();
    let expired = mounted.authority.issue_for(&[SERVER], -9..-1).unwrap();
    let ca = mounted.authority.certificate().to_owned();
    let half = |text: &str| text.split_at(text.len() / 2).0.to_owned();
    let cases: [(&str, String, String, String, &str); 9] = [
        (
            "a certificate without its key",
            second.certificate.clone(),
            first.key.clone(),
            ca.clone(),
            "is not that of the first certificate",
        ),
        (
            "a key without its certificate",
            first.certificate.clone(),
            second.key.clone(),
            ca.clone(),
            "is not that of the first certificate",
        ),
        ("half a certificate", half(&second.certificate), second.key.clone(), ca.clone(), "holds"),
        (
            "no certificate",
            String::new(),
            second.key.clone(),
            ca.clone(),
            "holds no certificate in PEM",
        ),
        (
            "half a key",
            second.certificate.clone(),
            half(&second.key),
            ca.clone(),
            "holds no private key in PEM",
        ),
        (
            "no authority",
            second.certificate.clone(),
            second.key.clone(),
            String::new(),
            "holds no certificate in PEM",
        ),
        ("half an authority", second.certificate.clone(), second.key.clone(), half(&ca), "holds"),
        ("expired", expired.certificate.clone(), expired.key.clone(), ca.clone(), "expired at"),
        (
            "a key in place of a certificate",
            second.key.clone(),
            second.key.clone(),
            ca.clone(),
            "holds no certificate in PEM",
        ),
    ];
    for (case, certificate, key, authorities, want) in &cases {
        mounted.swap_to(certificate, key, authorities);
        let said = |tls: &ServerTls| tls.status().last_error.is_some_and(|e| e.contains(want));
        server.reload(said).await;
        let stream = begins(client.connect(server.address).await.unwrap()).await.expect(case);
        assert_eq!(shown(&stream), der(&first), "{case}");
        let text = server.tls.status().last_error.unwrap();
        assert!(!text.contains("PRIVATE") && !text.contains("BEGIN"), "{case}: {text}");
        // Once it is whole again, nothing is held against it.
        mounted.swap(&first);
        server.reload(|tls| tls.status().last_error.is_none()).await;
    }
    // A file that is gone, and one at a time that comes back.
    std::fs::remove_file(mounted.path("tls.key")).unwrap();
    server.reload(|tls| tls.status().last_error.is_some()).await;
    mounted.write("tls.crt", &second.certificate);
    assert!(server.serves(&client).await);
    mounted.write("tls.key", &second.key);
    server.reload(|tls| tls.status().last_error.is_none()).await;
    let stream = begins(client.connect(server.address).await.unwrap()).await.unwrap();
    assert_eq!(shown(&stream), der(&second));
}

#[tokio::test]
async fn without_a_certificate_there_is_no_listener() {
    let error = Server::bind(settings()).await.expect_err("nothing to show");
    assert!(matches!(error, BindError::NoCertificate(_)), "{error}");
}
