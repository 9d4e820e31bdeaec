//! The listeners as clients and operators meet them: real sockets, real clients.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::pending;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Request, Response};
use stagedoor::serve::{
    BindError, BoundAddress, DrainReport, GrpcService, ListenAddress, ServeSettings, ServeStats,
    Server, Tower,
};
use stagedoor::shutdown::{Shutdown, ShutdownHandle};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream, UnixStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tonic::body::Body;
use tonic::service::Routes;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

/// Longer than anything takes that is right, on a machine that is busy.
const SOON: Duration = Duration::from_secs(20);
/// Longer than any test runs.
const NEVER: Duration = Duration::from_secs(3600);

/// Nothing ends by itself.
pub(crate) fn settings() -> ServeSettings {
    ServeSettings {
        listeners: vec![ListenAddress::Tcp("127.0.0.1:0".parse().unwrap())],
        http_listeners: Vec::new(),
        workers: 0,
        max_connections: 500,
        max_concurrent_streams: 100,
        max_message_bytes: 64 * 1024,
        max_header_list_bytes: 16 * 1024,
        preface_timeout: NEVER,
        keepalive_interval: NEVER,
        keepalive_timeout: NEVER,
        max_connection_age: NEVER,
        pre_stop: Duration::ZERO,
        drain_timeout: NEVER,
    }
}

struct Running {
    address: BoundAddress,
    stats: Arc<ServeStats>,
    handle: ShutdownHandle,
    report: JoinHandle<DrainReport>,
}

async fn start<S>(settings: ServeSettings, service: S) -> Running
where
    Tower<S>: GrpcService,
{
    let server = Server::bind(settings).await.unwrap();
    let address = server.addresses()[0].clone();
    let stats = server.stats();
    let (handle, shutdown) = Shutdown::new();
    let report = tokio::spawn(server.run(Tower(service), shutdown));
    Running { address, stats, handle, report }
}

impl Running {
    fn tcp(&self) -> SocketAddr {
        let BoundAddress::Tcp(address) = self.address else { panic!("not TCP") };
        address
    }

    async fn client(&self) -> HealthClient<Channel> {
        HealthClient::new(endpoint(self.tcp()).connect().await.unwrap())
    }

    async fn silent(&self) -> TcpStream {
        TcpStream::connect(self.tcp()).await.unwrap()
    }

    /// A connection that began properly and then fell silent.
    async fn begun(&self) -> TcpStream {
        let mut stream = self.silent().await;
        stream.write_all(BEGINNING).await.unwrap();
        // The server's own SETTINGS tell that it is served.
        stream.read_exact(&mut [0; 9]).await.unwrap();
        stream
    }

    async fn drained(self) -> DrainReport {
        self.handle.drain();
        self.ended().await
    }

    async fn ended(self) -> DrainReport {
        soon(self.report).await.unwrap()
    }
}

const BEGINNING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

fn endpoint(address: SocketAddr) -> Endpoint {
    Endpoint::from_shared(format!("http://{address}")).unwrap()
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

/// Reads until the server closes; how it closes doesn't matter.
async fn closed(mut stream: TcpStream) {
    let mut bytes = Vec::new();
    let _ = soon(stream.read_to_end(&mut bytes)).await;
}

async fn is_served(client: &mut HealthClient<Channel>) {
    let answer = soon(client.check(HealthCheckRequest::default())).await.unwrap();
    assert_eq!(answer.into_inner().status, 1);
}

fn health() -> Routes {
    Routes::new(tonic_health::server::health_reporter().1)
}

/// The health service behind a gate: each request reports that it has come and
/// waits for a permit.
#[derive(Clone)]
struct Gated {
    came: mpsc::UnboundedSender<()>,
    gate: Arc<Semaphore>,
    inner: Routes,
}

impl Gated {
    fn new() -> (Self, mpsc::UnboundedReceiver<()>) {
        let (came, coming) = mpsc::unbounded_channel();
        (Self { came, gate: Arc::new(Semaphore::new(0)), inner: health() }, coming)
    }
}

impl tower::Service<Request<Body>> for Gated {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let Self { came, gate, mut inner } = self.clone();
        Box::pin(async move {
            // Dropped with the future: the test sees a request that was cut.
            came.send(()).expect("the test listens");
            gate.acquire().await.expect("never closed").forget();
            inner.call(request).await
        })
    }
}

#[tokio::test]
async fn silent_connections_are_closed_while_a_good_client_is_served() {
    // Long enough for the good client to begin in, on a machine that is busy.
    let preface_timeout = Duration::from_secs(3);
    let server = start(ServeSettings { preface_timeout, ..settings() }, health()).await;
    let mut good = server.client().await;
    is_served(&mut good).await;
    let mut silent = Vec::new();
    for number in 0..200 {
        let mut stream = server.silent().await;
        // Nothing; the half of it; all but the SETTINGS frame.
        let sent = [0, 10, 24, BEGINNING.len() - 1][number % 4];
        stream.write_all(&BEGINNING[..sent]).await.unwrap();
        silent.push(stream);
    }
    is_served(&mut good).await;
    for stream in silent {
        closed(stream).await;
    }
    until(|| server.stats.open() == 1).await;
    assert_eq!((server.stats.accepted(), server.stats.preface_failures()), (201, 200));
    is_served(&mut good).await;
}

#[tokio::test]
async fn what_is_not_http2_is_closed_at_once() {
    let server = start(settings(), health()).await;
    for start in [b"GET / HTTP/1.1\r\n\r\n".as_slice(), b"\x16\x03\x01\x02\0", b"\0"] {
        let mut stream = server.silent().await;
        stream.write_all(start).await.unwrap();
        closed(stream).await;
    }
    assert_eq!(server.stats.preface_failures(), 3);
}

#[tokio::test]
async fn at_the_cap_the_next_connection_waits_for_a_place() {
    let server = start(ServeSettings { max_connections: 3, ..settings() }, health()).await;
    assert_eq!(server.stats.limit(), 3);
    // Envoys that have asked something, and have nothing to ask now.
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut client = server.client().await;
        is_served(&mut client).await;
        held.push(client);
    }
    let mut waiting = server.silent().await;
    waiting.write_all(BEGINNING).await.unwrap();
    let early = tokio::time::timeout(Duration::from_millis(200), waiting.readable()).await;
    assert!(early.is_err(), "beyond the cap");
    assert_eq!((server.stats.open(), server.stats.accepted()), (3, 3));

    drop(held.pop());
    soon(waiting.read_exact(&mut [0; 9])).await.unwrap();
    assert_eq!((server.stats.open(), server.stats.accepted()), (3, 4));
    for client in &mut held {
        is_served(client).await;
    }
    assert_eq!(server.stats.unused(), 0);
}

/// Whoever connects on and on and asks nothing keeps nobody out who asks, and cuts off nobody who
/// has asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_the_cap_who_asks_nothing_makes_room() {
    let (service, mut coming) = Gated::new();
    let gate = Arc::clone(&service.gate);
    let few = ServeSettings { max_connections: 20, workers: 1, ..settings() };
    let server = start(few, service).await;
    // One that has nothing to ask now, and one that waits for its answer.
    let (mut idle, mut busy) = (server.client().await, server.client().await);
    gate.add_permits(1);
    is_served(&mut idle).await;
    soon(coming.recv()).await;
    let waiting = tokio::spawn(async move { busy.check(HealthCheckRequest::default()).await });
    soon(coming.recv()).await;

    let to = server.tcp();
    let flood = tokio::spawn(async move {
        let mut opened = VecDeque::new();
        for number in 0_usize.. {
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
            let mut stream = socket.connect(to).await.unwrap();
            // Nothing; a part of the preface; all of it.
            let sent = [0, 10, BEGINNING.len()][number % 3];
            let _ = stream.write_all(&BEGINNING[..sent]).await;
            opened.push_back(stream);
            // Descriptors are to last for however long the others take. It is the server that
            // has to make room, so none is let go of here that it has not closed.
            if opened.len() > 300 {
                closed(opened.pop_front().unwrap()).await;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    until(|| server.stats.accepted() > 100).await;
    gate.add_permits(1);
    soon(waiting).await.unwrap().unwrap();
    gate.add_permits(1000);
    let mut clients = vec![idle];
    for _ in 0..10 {
        let mut client = server.client().await;
        is_served(&mut client).await;
        clients.push(client);
    }
    for client in &mut clients {
        is_served(client).await;
    }
    assert!(server.stats.open() <= 20);
    assert!(server.stats.unused() > 0 && server.stats.preface_failures() > 0);
    flood.abort();
    assert!(flood.await.is_err_and(|error| error.is_cancelled()), "it ended by itself");
}

#[tokio::test]
async fn who_makes_room_is_told() {
    // The last stream there may be, and no error.
    const GOAWAY: &[u8] = b"\0\0\x08\x07\0\0\0\0\0\x7f\xff\xff\xff\0\0\0\0";
    let server = start(ServeSettings { max_connections: 2, ..settings() }, health()).await;
    let mut asks = server.client().await;
    is_served(&mut asks).await;
    let mut quiet = server.begun().await;
    let _next = server.begun().await;
    let mut said = Vec::new();
    soon(quiet.read_to_end(&mut said)).await.unwrap();
    assert!(said.windows(GOAWAY.len()).any(|frame| frame == GOAWAY), "{said:?}");
    is_served(&mut asks).await;
    assert_eq!((server.stats.accepted(), server.stats.unused()), (3, 1));
}

#[tokio::test]
async fn a_client_that_answers_no_ping_is_closed() {
    // The good client has as long to answer, on a machine that is busy.
    let (interval, timeout) = (Duration::from_millis(100), Duration::from_secs(5));
    let server = start(
        ServeSettings { keepalive_interval: interval, keepalive_timeout: timeout, ..settings() },
        health(),
    )
    .await;
    let mut good = server.client().await;
    is_served(&mut good).await;
    let begun = Instant::now();
    let deaf = server.begun().await;
    // A headers frame that never ends, so that no other frame can be read.
    let mut slow = server.begun().await;
    slow.write_all(b"\0\0\x01\x01\0\0\0\0\x01\x82").await.unwrap();
    closed(deaf).await;
    closed(slow).await;
    assert!(begun.elapsed() >= interval + timeout, "{:?}", begun.elapsed());
    // The good client has been pinged several times by now.
    is_served(&mut good).await;
    assert_eq!(server.stats.accepted(), 3);
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_closed() {
    let short = Duration::from_millis(100);
    let server = start(ServeSettings { keepalive_timeout: short, ..settings() }, health()).await;
    let mut stream = server.begun().await;
    // Each ping is to be answered, and the answers find no room in the end.
    let pings = b"\0\0\x08\x06\0\0\0\0\0pingpong".repeat(4096);
    let writing = async { while stream.write_all(&pings).await.is_ok() {} };
    soon(writing).await;
    until(|| server.stats.open() == 0).await;
}

#[tokio::test]
async fn a_drain_lets_requests_in_flight_finish() {
    let (service, mut coming) = Gated::new();
    let gate = Arc::clone(&service.gate);
    let server = start(settings(), service).await;
    let mut client = server.client().await;
    let mut idle = server.client().await;
    gate.add_permits(1);
    is_served(&mut idle).await;
    soon(coming.recv()).await;

    let request = tokio::spawn(async move { client.check(HealthCheckRequest::default()).await });
    soon(coming.recv()).await;
    server.handle.drain();
    until(|| server.stats.open() == 1).await;
    assert!(TcpStream::connect(server.tcp()).await.is_err(), "nobody listens any more");
    assert!(!server.report.is_finished());

    gate.add_permits(1);
    soon(request).await.unwrap().unwrap();
    assert_eq!(server.ended().await, DrainReport { finished: 2, aborted: 0 });
}

#[tokio::test]
async fn before_the_drain_new_connections_are_served_on() {
    // Long enough for a client to be served in, on a machine that is busy.
    let pre_stop = Duration::from_secs(5);
    let server = start(ServeSettings { pre_stop, ..settings() }, health()).await;
    let ordered = Instant::now();
    server.handle.drain();
    let mut late = server.client().await;
    is_served(&mut late).await;
    assert_eq!(server.ended().await, DrainReport { finished: 1, aborted: 0 });
    assert!(ordered.elapsed() >= pre_stop);
}

#[tokio::test]
async fn nobody_holds_up_the_drain_beyond_its_limit() {
    let (service, mut coming) = Gated::new();
    let server =
        start(ServeSettings { drain_timeout: Duration::from_millis(200), ..settings() }, service)
            .await;
    let _silent = server.silent().await;
    let _deaf = server.begun().await;
    let mut client = server.client().await;
    let stuck = tokio::spawn(async move { client.check(HealthCheckRequest::default()).await });
    soon(coming.recv()).await;
    until(|| server.stats.open() == 3).await;

    // The silent one is let go at once; the deaf one and the stuck request are cut.
    let stats = Arc::clone(&server.stats);
    assert_eq!(server.drained().await, DrainReport { finished: 1, aborted: 2 });
    assert_eq!(stats.open(), 0);
    soon(stuck).await.unwrap().unwrap_err();
    // The handler itself is gone, with its sender.
    assert_eq!(soon(coming.recv()).await, None);
}

#[tokio::test]
async fn an_abort_waits_for_nothing_at_any_stage() {
    for (pre_stop, drain_first) in
        [(Duration::ZERO, false), (NEVER, false), (NEVER, true), (Duration::ZERO, true)]
    {
        let (service, mut coming) = Gated::new();
        let server = start(ServeSettings { pre_stop, ..settings() }, service).await;
        let mut client = server.client().await;
        let stuck = tokio::spawn(async move { client.check(HealthCheckRequest::default()).await });
        soon(coming.recv()).await;
        if drain_first {
            server.handle.drain();
            tokio::task::yield_now().await;
        }
        server.handle.abort();
        assert_eq!(server.ended().await, DrainReport { finished: 0, aborted: 1 });
        soon(stuck).await.unwrap().unwrap_err();
        assert_eq!(soon(coming.recv()).await, None);
    }
}

#[tokio::test]
async fn an_old_connection_is_asked_to_end_and_its_client_comes_again() {
    let (service, mut coming) = Gated::new();
    service.gate.add_permits(Semaphore::MAX_PERMITS);
    let server = start(
        ServeSettings { max_connection_age: Duration::from_millis(100), ..settings() },
        service,
    )
    .await;
    let mut client = HealthClient::new(endpoint(server.tcp()).connect_lazy());
    let mut answered = 0;
    while server.stats.accepted() < 4 {
        match soon(client.check(HealthCheckRequest::default())).await {
            Ok(_) => answered += 1,
            // tonic's client takes a request while it learns that the connection
            // ends, and gives it back unsent.
            Err(status) => assert_eq!(status.code(), tonic::Code::Cancelled, "{status}"),
        }
    }
    // So whatever arrived was answered.
    drop(client);
    until(|| server.stats.open() == 0).await;
    server.drained().await;
    let mut came = 0;
    while coming.recv().await.is_some() {
        came += 1;
    }
    assert_eq!(answered, came);
}

#[tokio::test]
async fn an_old_connection_that_does_not_end_is_cut() {
    let short = Duration::from_millis(100);
    let server = start(
        ServeSettings { max_connection_age: short, drain_timeout: short, ..settings() },
        health(),
    )
    .await;
    closed(server.begun().await).await;
    until(|| server.stats.open() == 0).await;
}

#[tokio::test]
async fn a_panic_ends_one_request() {
    let service = tower::service_fn(|request: Request<Body>| async move {
        assert!(!request.headers().contains_key("panic"), "as asked");
        let mut inner = health();
        tower::Service::call(&mut inner, request).await
    });
    let server = start(settings(), service).await;
    let mut client = server.client().await;
    is_served(&mut client).await;
    let mut request = tonic::Request::new(HealthCheckRequest::default());
    request.metadata_mut().insert("panic", "now".parse().unwrap());
    soon(client.check(request)).await.unwrap_err();
    is_served(&mut client).await;
    assert_eq!((server.stats.panics(), server.stats.accepted()), (1, 1));
}

#[tokio::test]
async fn more_streams_than_allowed_wait_and_oversized_headers_fail() {
    let (service, mut coming) = Gated::new();
    let gate = Arc::clone(&service.gate);
    let server = start(ServeSettings { max_concurrent_streams: 2, ..settings() }, service).await;
    let client = server.client().await;
    // One request first, so that the client knows the server's settings.
    gate.add_permits(1);
    is_served(&mut client.clone()).await;
    soon(coming.recv()).await;

    let requests: Vec<_> = (0..5)
        .map(|_| {
            let mut client = client.clone();
            tokio::spawn(async move { client.check(HealthCheckRequest::default()).await })
        })
        .collect();
    for _ in 0..2 {
        soon(coming.recv()).await;
    }
    assert!(coming.try_recv().is_err());
    gate.add_permits(5);
    for request in requests {
        soon(request).await.unwrap().unwrap();
    }
    while coming.try_recv().is_ok() {}

    let mut request = tonic::Request::new(HealthCheckRequest::default());
    request.metadata_mut().insert("long", "a".repeat(17 * 1024).parse().unwrap());
    soon(client.clone().check(request)).await.unwrap_err();
    assert!(coming.try_recv().is_err(), "it never reached the service");
}

#[tokio::test]
async fn a_flood_of_resets_ends_the_connection() {
    let server = start(settings(), tower::service_fn(|_| pending::<Result<_, Infallible>>())).await;
    let mut stream = server.begun().await;
    // Streams opened (`:method: GET`, `:scheme: http`, `:path: /`) and taken back.
    let mut flood = Vec::new();
    for number in 0..2000_u32 {
        let id = (2 * number + 1).to_be_bytes();
        flood.extend([0, 0, 3, 1, 5]);
        flood.extend(id);
        flood.extend([0x82, 0x86, 0x84]);
        flood.extend([0, 0, 4, 3, 0]);
        flood.extend(id);
        flood.extend([0, 0, 0, 8]);
    }
    let _ = stream.write_all(&flood).await;
    closed(stream).await;
    until(|| server.stats.open() == 0).await;
}

fn unix(path: &Path) -> ServeSettings {
    let listener = ListenAddress::Unix { path: path.to_owned(), mode: 0o640 };
    ServeSettings { listeners: vec![listener], ..settings() }
}

async fn unix_client(path: PathBuf) -> HealthClient<Channel> {
    let connect = tower::service_fn(move |_| {
        let path = path.clone();
        async move { UnixStream::connect(path).await.map(hyper_util::rt::TokioIo::new) }
    });
    let endpoint = Endpoint::from_static("http://localhost");
    HealthClient::new(soon(endpoint.connect_with_connector(connect)).await.unwrap())
}

#[tokio::test]
async fn a_unix_socket_has_its_mode_serves_and_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("authz.sock");
    let server = start(unix(&path), health()).await;
    assert_eq!(server.address, BoundAddress::Unix(path.clone()));
    assert_eq!(server.address.to_string(), format!("unix:{}", path.display()));
    let found = std::fs::symlink_metadata(&path).unwrap();
    assert!(found.file_type().is_socket());
    assert_eq!(found.permissions().mode() & 0o777, 0o640);
    is_served(&mut unix_client(path.clone()).await).await;
    server.drained().await;
    assert!(!path.exists());
}

#[tokio::test]
async fn a_socket_left_behind_is_replaced_and_a_live_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("authz.sock");
    // A listener of the standard library leaves its file.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let server = start(unix(&path), health()).await;

    let error = Server::bind(unix(&path)).await.expect_err("it is in use");
    assert!(matches!(&error, BindError::UnixInUse { path: named } if *named == path), "{error}");
    assert!(error.to_string().contains(path.to_str().unwrap()));
    is_served(&mut unix_client(path.clone()).await).await;

    // Whatever has taken the place of our socket is left alone in the end.
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "something else").unwrap();
    server.drained().await;
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "something else");

    let error = Server::bind(unix(&path)).await.expect_err("a file is there");
    assert!(matches!(&error, BindError::UnixNotASocket { .. }), "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "something else");

    let nowhere = folder.path().join("none/authz.sock");
    let error = Server::bind(unix(&nowhere)).await.expect_err("no folder");
    assert!(matches!(&error, BindError::Unix { .. }), "{error}");
}

#[tokio::test]
async fn all_listeners_are_bound_or_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("authz.sock");
    let mut both = unix(&path);
    both.listeners.push(ListenAddress::Tcp("127.0.0.1:0".parse().unwrap()));
    let server = Server::bind(both.clone()).await.unwrap();
    let [BoundAddress::Unix(_), BoundAddress::Tcp(tcp)] = server.addresses() else {
        panic!("{:?}", server.addresses())
    };
    let taken = *tcp;
    assert_ne!(taken.port(), 0);

    let second = folder.path().join("second.sock");
    let mut clashing = unix(&second);
    clashing.listeners.push(ListenAddress::Tcp(taken));
    let error = Server::bind(clashing).await.expect_err("the port is taken");
    assert!(matches!(&error, BindError::Tcp { address, .. } if *address == taken), "{error}");
    assert!(!second.exists(), "given back");

    // Both are served.
    let (handle, shutdown) = Shutdown::new();
    let running = tokio::spawn(server.run(Tower(health()), shutdown));
    is_served(&mut unix_client(path).await).await;
    is_served(&mut HealthClient::new(endpoint(taken).connect().await.unwrap())).await;
    handle.drain();
    soon(running).await.unwrap();

    let none = ServeSettings { listeners: Vec::new(), ..settings() };
    assert!(matches!(Server::bind(none).await, Err(BindError::NoListener)));
}

/// Set in the process that has few descriptors.
const FEW: &str = "STAGEDOOR_TEST_FEW_DESCRIPTORS";

#[test]
fn out_of_descriptors() {
    let output = std::process::Command::new("sh")
        .args(["-c", r#"ulimit -n 64 && exec "$0" --exact serve_loop::with_few_descriptors"#])
        .arg(std::env::current_exe().unwrap())
        .env(FEW, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

/// The other half of `out_of_descriptors`, nothing by itself.
#[tokio::test]
async fn with_few_descriptors() {
    if std::env::var_os(FEW).is_none() {
        return;
    }
    let server = start(settings(), health()).await;
    assert_eq!(server.stats.limit(), 32, "the rest has half of so few");
    let mut others = Vec::new();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        others.push(file);
    }
    // Three are left: one for each end of a connection, and one for another client.
    others.truncate(others.len() - 3);
    let begun = Instant::now();
    let _first = server.begun().await;
    let mut second = server.silent().await;
    second.write_all(BEGINNING).await.unwrap();
    until(|| server.stats.accept_errors() >= 4).await;
    assert!(begun.elapsed() >= Duration::from_millis(50 + 100 + 200), "{:?}", begun.elapsed());
    assert_eq!(server.stats.accepted(), 1);

    drop(others);
    soon(second.read_exact(&mut [0; 9])).await.unwrap();
    is_served(&mut server.client().await).await;
    assert_eq!(server.stats.accepted(), 3);
}
