//! A real Envoy with the configuration that ships in `envoy/`.
//!
//! The shipped files are taken as text; addresses are put in, and a test that
//! wants to see what happens under another operator's setting changes that one
//! line. A line that is no longer there is an error, so the tests can't drift
//! away from what ships.

#![allow(dead_code, reason = "each test binary uses its own part of this module")]

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

/// How long an Envoy may take to be ready, on a busy machine.
const START_DEADLINE: Duration = Duration::from_secs(60);
/// How long one exchange over a socket may take.
const EXCHANGE_DEADLINE: Duration = Duration::from_secs(20);
/// The pause between two looks at a condition.
const POLL: Duration = Duration::from_millis(20);

/// A running Envoy; killed when dropped.
#[derive(Debug)]
pub(crate) struct Envoy {
    /// Where clients connect.
    pub(crate) address: SocketAddr,
    /// The admin port.
    pub(crate) admin: SocketAddr,
    child: Child,
    folder: TempDir,
}

/// Which shipped configuration, and what a test changes in it.
#[derive(Clone, Debug)]
pub(crate) struct EnvoyConfig {
    stagedoor: Stagedoor,
    upstream: SocketAddr,
    failure_mode_allow: bool,
    status_on_error: bool,
    plain_paths: bool,
    allow_underscores: bool,
    joined_headers: bool,
    trailers: bool,
    http2_service: bool,
    web_sockets: bool,
    stream_duration: Option<Duration>,
    check_timeout: Option<Duration>,
    replicas: Vec<SocketAddr>,
    health_interval: Option<Duration>,
    patience: Option<Duration>,
    tracer: Option<(Tracer, SocketAddr)>,
}

/// How an Envoy traces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tracer {
    /// By W3C's headers, with its own spans sent by OTLP over gRPC.
    OpenTelemetry,
    /// By B3's headers.
    Zipkin,
}

#[derive(Clone, Debug)]
enum Stagedoor {
    Tcp(SocketAddr),
    Http(SocketAddr),
    Tls { address: SocketAddr, folder: PathBuf, name: String },
    Unix(PathBuf),
}

impl EnvoyConfig {
    /// `envoy/tcp.yaml`.
    pub(crate) fn tcp(stagedoor: SocketAddr, upstream: SocketAddr) -> Self {
        Self::new(Stagedoor::Tcp(stagedoor), upstream)
    }

    /// `envoy/http.yaml`.
    pub(crate) fn http(stagedoor: SocketAddr, upstream: SocketAddr) -> Self {
        Self::new(Stagedoor::Http(stagedoor), upstream)
    }

    /// `envoy/unix.yaml`.
    pub(crate) fn unix(stagedoor: impl Into<PathBuf>, upstream: SocketAddr) -> Self {
        Self::new(Stagedoor::Unix(stagedoor.into()), upstream)
    }

    /// `envoy/tls.yaml`, with `tls.crt`, `tls.key` and `ca.crt` of this folder.
    pub(crate) fn tls(
        stagedoor: SocketAddr,
        upstream: SocketAddr,
        folder: impl Into<PathBuf>,
    ) -> Self {
        let name = "stagedoor.example.com".to_owned();
        Self::new(Stagedoor::Tls { address: stagedoor, folder: folder.into(), name }, upstream)
    }

    /// Expects another name in Stagedoor's certificate.
    pub(crate) fn expecting(mut self, expected: &str) -> Self {
        if let Stagedoor::Tls { name, .. } = &mut self.stagedoor {
            expected.clone_into(name);
        }
        self
    }

    fn new(stagedoor: Stagedoor, upstream: SocketAddr) -> Self {
        Self {
            stagedoor,
            upstream,
            failure_mode_allow: false,
            status_on_error: true,
            plain_paths: false,
            allow_underscores: false,
            joined_headers: false,
            trailers: false,
            http2_service: false,
            web_sockets: false,
            stream_duration: None,
            check_timeout: None,
            replicas: Vec::new(),
            health_interval: None,
            patience: None,
            tracer: None,
        }
    }

    /// `failure_mode_allow: true`: errors of the check let requests pass.
    pub(crate) fn failure_mode_allow(mut self) -> Self {
        self.failure_mode_allow = true;
        self
    }

    /// No `status_on_error`: errors of the check are 403.
    pub(crate) fn default_status_on_error(mut self) -> Self {
        self.status_on_error = false;
        self
    }

    /// No path normalisation at all: Stagedoor sees paths as they were sent.
    pub(crate) fn plain_paths(mut self) -> Self {
        self.plain_paths = true;
        self
    }

    /// Header names with underscores pass.
    pub(crate) fn allow_underscores(mut self) -> Self {
        self.allow_underscores = true;
        self
    }

    /// `encode_raw_headers: false`: headers arrive as a map, repetitions joined.
    pub(crate) fn joined_headers(mut self) -> Self {
        self.joined_headers = true;
        self
    }

    /// Trailers of requests pass.
    pub(crate) fn trailers(mut self) -> Self {
        self.trailers = true;
        self
    }

    /// The service speaks HTTP/2.
    pub(crate) fn http2_service(mut self) -> Self {
        self.http2_service = true;
        self
    }

    /// WebSockets pass.
    pub(crate) fn web_sockets(mut self) -> Self {
        self.web_sockets = true;
        self
    }

    /// The second `route` of the file's last route, in the place of the first, with another time
    /// than an hour: whatever is answered ends then.
    pub(crate) fn streams_end_after(mut self, duration: Duration) -> Self {
        self.stream_duration = Some(duration);
        self
    }

    /// Another timeout of the check than the shipped 200 ms.
    pub(crate) fn check_timeout(mut self, timeout: Duration) -> Self {
        self.check_timeout = Some(timeout);
        self
    }

    /// One more Stagedoor to ask, with `envoy/tcp.yaml`.
    pub(crate) fn replica(mut self, stagedoor: SocketAddr) -> Self {
        self.replicas.push(stagedoor);
        self
    }

    /// Looks at Stagedoor's health this often instead of every two seconds.
    pub(crate) fn health_interval(mut self, interval: Duration) -> Self {
        self.health_interval = Some(interval);
        self
    }

    /// Waits this long instead of a second for a handshake with Stagedoor, and for an answer about
    /// its health.
    pub(crate) fn patience(mut self, patience: Duration) -> Self {
        self.patience = Some(patience);
        self
    }

    /// Traces, and sends its own spans to a collector.
    pub(crate) fn traced(mut self, tracer: Tracer, collector: SocketAddr) -> Self {
        self.tracer = Some((tracer, collector));
        self
    }

    /// The configuration file's text. The listener and the admin port are chosen
    /// by the system.
    pub(crate) fn render(&self) -> Result<String> {
        let mut text = match &self.stagedoor {
            Stagedoor::Tcp(address) => {
                let mut text = Template::read("tcp.yaml")?;
                let endpoint = |of: &str| {
                    let indent = " ".repeat(14);
                    format!(
                        "{indent}- endpoint:\n{indent}    address:\n{indent}      socket_address: {of}\n"
                    )
                };
                let all: String = std::iter::once(address)
                    .chain(&self.replicas)
                    .map(|address| endpoint(&socket_of(*address)))
                    .collect();
                text.replace(&endpoint(&socket("127.0.0.1", 9191)), &all)?;
                text
            }
            Stagedoor::Http(address) => {
                let mut text = Template::read("http.yaml")?;
                text.replace(&socket("127.0.0.1", 9193), &socket_of(*address))?;
                text
            }
            Stagedoor::Tls { address, folder, name } => {
                let folder = folder.display();
                let mut identity = Template::read("tls-identity.yaml")?;
                for file in ["filename: /etc/envoy/tls/tls.crt", "filename: /etc/envoy/tls/tls.key"]
                {
                    identity.replace(file, &file.replace("/etc/envoy/tls", &folder.to_string()))?;
                }
                identity.replace("path: /etc/envoy/tls ", &format!("path: {folder} "))?;
                let named = format!("{folder}/tls-identity.yaml");
                std::fs::write(&named, identity.0)?;
                let mut text = Template::read("tls.yaml")?;
                text.replace(&socket("127.0.0.1", 9191), &socket_of(*address))?;
                text.replace("path: /etc/envoy/tls-identity.yaml", &format!("path: {named}"))?;
                text.replace(
                    "filename: /etc/envoy/tls/ca.crt",
                    &format!("filename: {folder}/ca.crt"),
                )?;
                text.replace("sni: stagedoor.example.com", &format!("sni: {name}"))?;
                text.replace("exact: stagedoor.example.com", &format!("exact: {name}"))?;
                text
            }
            Stagedoor::Unix(path) => {
                let mut text = Template::read("unix.yaml")?;
                text.replace(
                    "path: /run/stagedoor/stagedoor.sock",
                    &format!("path: {:?}", path.display().to_string()),
                )?;
                text
            }
        };
        if let Some(interval) = self.health_interval {
            let every = |interval: &str| {
                format!(" interval: {interval}\n          no_traffic_interval: {interval}\n")
            };
            text.replace(&every("2s"), &every(&format!("{}s", interval.as_secs_f64())))?;
        }
        if let Some(patience) = self.patience {
            let seconds = format!("{}s", patience.as_secs_f64());
            let connecting = |time: &str| {
                format!("- name: stagedoor\n      type: STATIC\n      connect_timeout: {time}\n")
            };
            text.replace(&connecting("1s"), &connecting(&seconds))?;
            let looking = |time: &str| format!("- timeout: {time}\n          interval: ");
            text.replace(&looking("1s"), &looking(&seconds))?;
        }
        text.replace(&socket("127.0.0.1", 8080), &socket("127.0.0.1", 0))?;
        text.replace(&socket("127.0.0.1", 9901), &socket("127.0.0.1", 0))?;
        text.replace(&socket("127.0.0.1", 8081), &socket_of(self.upstream))?;
        if self.failure_mode_allow {
            text.replace("failure_mode_allow: false", "failure_mode_allow: true")?;
        }
        if !self.status_on_error {
            text.replace("status_on_error: { code: ServiceUnavailable }", "")?;
        }
        if self.plain_paths {
            text.replace("normalize_path: true", "normalize_path: false")?;
            text.replace("merge_slashes: true", "merge_slashes: false")?;
            text.replace(
                "path_with_escaped_slashes_action: REJECT_REQUEST",
                "path_with_escaped_slashes_action: KEEP_UNCHANGED",
            )?;
        }
        if self.allow_underscores {
            text.replace(
                "headers_with_underscores_action: REJECT_REQUEST",
                "headers_with_underscores_action: ALLOW",
            )?;
        }
        if self.joined_headers {
            text.replace("encode_raw_headers: true", "encode_raw_headers: false")?;
        }
        if let Some(timeout) = self.check_timeout {
            text.replace("timeout: 0.2s", &format!("timeout: {}s", timeout.as_secs_f64()))?;
        }
        if self.trailers {
            let away = " - remove_on_match: { key_matcher: { safe_regex: { regex: \".*\" } } }\n";
            let taken = format!("request_trailers_mutations:\n{}{away}", " ".repeat(25));
            text.replace(&taken, "request_trailers_mutations: []\n")?;
        }
        if self.http2_service {
            let service = "    - name: service\n      type: STATIC\n";
            text.replace(service, &format!("{service}      {HTTP2}\n"))?;
        }
        if self.web_sockets {
            let front = "stat_prefix: front\n";
            let upgrades = "upgrade_configs: [{ upgrade_type: websocket }]\n";
            text.replace(front, &format!("{front}{}{upgrades}", " ".repeat(16)))?;
        }
        if let Some(duration) = self.stream_duration {
            let route =
                |hash: &str, last: &str| format!("{hash}route: {{ cluster: service{last} }}");
            let hour = ", max_stream_duration: { max_stream_duration: 3600s }";
            let both = format!("{}\n{}{}\n", route("", ""), " ".repeat(26), route("# ", hour));
            let other = hour.replace("3600s", &format!("{}s", duration.as_secs_f64()));
            text.replace(&both, &format!("{}\n", route("", &other)))?;
        }
        if let Some((tracer, collector)) = self.tracer {
            let front = "stat_prefix: front\n";
            text.replace(front, &format!("{front}{}", tracing(tracer)))?;
            let clusters = "  clusters:\n";
            text.replace(clusters, &format!("{clusters}{}", collector_cluster(tracer, collector)))?;
        }
        Ok(text.0)
    }
}

impl Envoy {
    /// Starts an Envoy and waits until it takes requests.
    ///
    /// Fails, with the end of Envoy's log, where it doesn't become ready.
    pub(crate) async fn start(config: EnvoyConfig) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("envoy.yaml");
        tokio::fs::write(&file, config.render()?).await?;
        let output = std::fs::File::create(folder.path().join("access.log"))?;
        let mut child = Command::new(binary().await?)
            .arg("--config-path")
            .arg(&file)
            .arg("--admin-address-path")
            .arg(folder.path().join("admin"))
            .arg("--log-path")
            .arg(folder.path().join("envoy.log"))
            // Hot restart shares memory and a socket name between processes of one
            // base id; each test's Envoy is for itself.
            .args(["--disable-hot-restart", "--concurrency", "1"])
            .args(["--file-flush-interval-msec", "20"])
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .kill_on_drop(true)
            .spawn()
            .context("envoy could not be started")?;
        match Self::await_ready(&mut child, folder.path()).await {
            Ok((admin, address)) => Ok(Self { address, admin, child, folder }),
            Err(error) => {
                let log = std::fs::read_to_string(folder.path().join("envoy.log"));
                Err(error.context(tail(&log.unwrap_or_default(), 20)))
            }
        }
    }

    async fn await_ready(child: &mut Child, folder: &Path) -> Result<(SocketAddr, SocketAddr)> {
        let deadline = Instant::now() + START_DEADLINE;
        loop {
            if let Some(status) = child.try_wait()? {
                bail!("envoy ended early: {status}");
            }
            if let Some(addresses) = Self::addresses(folder).await {
                return Ok(addresses);
            }
            ensure!(Instant::now() < deadline, "envoy is not ready after {START_DEADLINE:?}");
            sleep(POLL).await;
        }
    }

    /// The admin's and the listener's addresses, once Envoy is ready.
    async fn addresses(folder: &Path) -> Option<(SocketAddr, SocketAddr)> {
        let admin = tokio::fs::read_to_string(folder.join("admin")).await.ok()?;
        let admin: SocketAddr = admin.trim().parse().ok()?;
        if get(admin, "/ready").await.ok()?.status != 200 {
            return None;
        }
        let listeners = get(admin, "/listeners?format=json").await.ok()?;
        let listeners: serde_json::Value = serde_json::from_slice(&listeners.body).ok()?;
        let socket = listeners.pointer("/listener_statuses/0/local_address/socket_address")?;
        let host = socket.get("address")?.as_str()?;
        let port = socket.get("port_value")?.as_u64()?;
        Some((admin, format!("{host}:{port}").parse().ok()?))
    }

    /// The value of a counter or gauge, such as `http.front.ext_authz.denied`.
    ///
    /// Fails where Envoy has none of this name.
    pub(crate) async fn stats(&self, name: &str) -> Result<u64> {
        let answer = get(self.admin, "/stats").await?;
        let text = String::from_utf8(answer.body)?;
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
            .with_context(|| format!("envoy has no statistic `{name}`"))?
            .parse()
            .with_context(|| format!("the statistic `{name}` is not a number"))
    }

    /// Waits until a statistic is at least this much.
    pub(crate) async fn await_stats(&self, name: &str, at_least: u64) -> Result<()> {
        let deadline = Instant::now() + EXCHANGE_DEADLINE;
        loop {
            let value = self.stats(name).await?;
            if value >= at_least {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "`{name}` stays at {value}");
            sleep(POLL).await;
        }
    }

    /// Waits until the host of a cluster passes its health checks.
    pub(crate) async fn await_healthy(&self, cluster: &str, host: SocketAddr) -> Result<()> {
        let wanted = format!("{cluster}::{host}::health_flags::healthy");
        // It may be starting.
        let deadline = Instant::now() + START_DEADLINE;
        loop {
            let hosts = String::from_utf8(get(self.admin, "/clusters").await?.body)?;
            if hosts.lines().any(|line| line == wanted) {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "`{host}` is not healthy:\n{hosts}");
            sleep(POLL).await;
        }
    }

    /// Waits for an access log entry that `wanted` accepts. Envoy writes the log
    /// some time after the answer.
    pub(crate) async fn access_log_entry(
        &self,
        wanted: impl Fn(&serde_json::Value) -> bool,
    ) -> Result<serde_json::Value> {
        let deadline = Instant::now() + EXCHANGE_DEADLINE;
        loop {
            let text = tokio::fs::read_to_string(self.folder.path().join("access.log")).await?;
            let entry = text.lines().filter_map(|l| serde_json::from_str(l).ok()).find(&wanted);
            if let Some(entry) = entry {
                return Ok(entry);
            }
            ensure!(Instant::now() < deadline, "no such entry in the access log:\n{text}");
            sleep(POLL).await;
        }
    }

    /// Sends these bytes to the listener; see [`raw_http`].
    pub(crate) async fn raw_http(&self, request: impl AsRef<[u8]>) -> Result<RawResponse> {
        raw_http(self.address, request).await
    }

    /// Ends the process and waits until it is gone.
    pub(crate) async fn kill(mut self) -> Result<()> {
        Ok(self.child.kill().await?)
    }
}

/// The Envoy binary: `$ENVOY`, or what `scripts/envoy` finds or installs.
pub(crate) async fn binary() -> Result<PathBuf> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/envoy");
    let output = Command::new(script).stdin(Stdio::null()).output().await?;
    ensure!(
        output.status.success(),
        "scripts/envoy found no envoy: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(PathBuf::from(String::from_utf8(output.stdout)?.trim_end()))
}

/// A response as it came, with header names in lower case and a chunked body put
/// together.
#[derive(Clone, Debug)]
pub(crate) struct RawResponse {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl RawResponse {
    /// The value of a header that is there once.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(key, _)| key == name);
        let (_, value) = found.next()?;
        found.next().is_none().then_some(value)
    }

    /// The body as JSON; null where it isn't.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// Sends exactly these bytes over a new connection and reads one HTTP/1.1
/// response. For what no client library would send: odd paths, repeated headers.
pub(crate) async fn raw_http(to: SocketAddr, request: impl AsRef<[u8]>) -> Result<RawResponse> {
    let request = request.as_ref();
    timeout(EXCHANGE_DEADLINE, async {
        let mut stream = TcpStream::connect(to).await?;
        // A server that refuses early may close before it has read everything; its
        // answer is there all the same.
        let _ = stream.write_all(request).await;
        read_response(&mut BufReader::new(stream), request.starts_with(b"HEAD ")).await
    })
    .await
    .with_context(|| format!("no response within {EXCHANGE_DEADLINE:?}"))?
}

/// As [`raw_http`], to Stagedoor's admin port. It lets go whoever takes a second to say what for:
/// where this process had to wait for its turn as long, and nothing of an answer came, it asks
/// again. What is no GET may have been done all the same, unless sending it alone took so long.
pub(crate) async fn raw_admin(to: SocketAddr, request: impl AsRef<[u8]>) -> Result<RawResponse> {
    let request = request.as_ref();
    let deadline = Instant::now() + START_DEADLINE;
    loop {
        let begun = Instant::now();
        let is_late = || begun.elapsed() >= Duration::from_secs(1) && begun < deadline;
        let answer = timeout(EXCHANGE_DEADLINE, async {
            let mut stream = BufReader::new(TcpStream::connect(to).await?);
            let _ = stream.write_all(request).await;
            let is_sent_late = is_late();
            let is_answered = stream.fill_buf().await.is_ok_and(|came| !came.is_empty());
            let may_repeat = is_sent_late || (request.starts_with(b"GET ") && is_late());
            if !is_answered && may_repeat {
                return Ok(None);
            }
            read_response(&mut stream, request.starts_with(b"HEAD ")).await.map(Some)
        })
        .await
        .with_context(|| format!("no response within {EXCHANGE_DEADLINE:?}"))??;
        if let Some(answer) = answer {
            return Ok(answer);
        }
    }
}

/// A connection that is opened when it is needed and kept for as long as it can be.
#[derive(Debug, Default)]
pub(crate) struct RawConnection(Option<(SocketAddr, BufReader<TcpStream>)>);

impl RawConnection {
    /// As [`raw_http`], over the connection that is open to this address.
    pub(crate) async fn exchange(
        &mut self,
        to: SocketAddr,
        request: impl AsRef<[u8]>,
    ) -> Result<RawResponse> {
        let request = request.as_ref();
        // It is put back where another request may follow.
        let kept = self.0.take().filter(|(address, _)| *address == to);
        timeout(EXCHANGE_DEADLINE, async {
            let mut stream = match kept {
                Some((_, stream)) => stream,
                None => BufReader::new(TcpStream::connect(to).await?),
            };
            let _ = stream.write_all(request).await;
            let answer = read_response(&mut stream, request.starts_with(b"HEAD ")).await?;
            let is_framed = answer.header("content-length").is_some()
                || answer.header("transfer-encoding").is_some();
            if is_framed && answer.header("connection") != Some("close") {
                self.0 = Some((to, stream));
            }
            Ok(answer)
        })
        .await
        .with_context(|| format!("no response within {EXCHANGE_DEADLINE:?}"))?
    }
}

async fn get(to: SocketAddr, path: &str) -> Result<RawResponse> {
    raw_http(to, format!("GET {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n")).await
}

async fn read_response(stream: &mut BufReader<TcpStream>, head: bool) -> Result<RawResponse> {
    loop {
        let line = read_line(stream).await?;
        let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status: u16 = status.with_context(|| format!("no status line: `{line}`"))?;
        let mut headers = Vec::new();
        loop {
            let line = read_line(stream).await?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').context("a header without a colon")?;
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        if (100..200).contains(&status) && status != 101 {
            continue;
        }
        let mut response = RawResponse { status, headers, body: Vec::new() };
        if !head && !matches!(status, 101 | 204 | 304) {
            response.body = read_body(stream, &response).await?;
        }
        return Ok(response);
    }
}

async fn read_body(stream: &mut BufReader<TcpStream>, head: &RawResponse) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    if head.header("transfer-encoding") == Some("chunked") {
        loop {
            let size = read_line(stream).await?;
            let size = u64::from_str_radix(size.split(';').next().unwrap_or_default().trim(), 16)?;
            if size == 0 {
                return Ok(body);
            }
            let read = (&mut *stream).take(size).read_to_end(&mut body).await?;
            ensure!(u64::try_from(read)? == size, "the response ends within a chunk");
            ensure!(read_line(stream).await?.is_empty(), "a chunk without its end");
        }
    }
    let Some(length) = head.header("content-length") else {
        stream.read_to_end(&mut body).await?;
        return Ok(body);
    };
    let length: u64 = length.parse()?;
    let read = stream.take(length).read_to_end(&mut body).await?;
    ensure!(u64::try_from(read)? == length, "the response ends within its body");
    Ok(body)
}

async fn read_line(stream: &mut BufReader<TcpStream>) -> Result<String> {
    let mut line = Vec::new();
    stream.read_until(b'\n', &mut line).await?;
    ensure!(line.ends_with(b"\n"), "the response ends within its head");
    Ok(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned())
}

/// A shipped configuration, in which each text that is replaced must stand once.
struct Template(String);

impl Template {
    fn read(name: &str) -> Result<Self> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("envoy").join(name);
        Ok(Self(std::fs::read_to_string(&path).with_context(|| path.display().to_string())?))
    }

    fn replace(&mut self, from: &str, to: &str) -> Result<()> {
        let count = self.0.matches(from).count();
        ensure!(count == 1, "`{from}` stands {count} times in the shipped configuration");
        self.0 = self.0.replace(from, to);
        Ok(())
    }
}

/// The connection manager's `tracing`.
fn tracing(tracer: Tracer) -> String {
    let (name, settings) = match tracer {
        Tracer::OpenTelemetry => (
            "opentelemetry",
            r#"{ "@type": type.googleapis.com/envoy.config.trace.v3.OpenTelemetryConfig, service_name: front, grpc_service: { envoy_grpc: { cluster_name: collector } } }"#,
        ),
        Tracer::Zipkin => (
            "zipkin",
            r#"{ "@type": type.googleapis.com/envoy.config.trace.v3.ZipkinConfig, collector_cluster: collector, collector_endpoint: /api/v2/spans, collector_endpoint_version: HTTP_JSON, shared_span_context: false }"#,
        ),
    };
    let indent = " ".repeat(16);
    format!(
        "{indent}tracing: {{ random_sampling: {{ value: 100 }}, provider: {{ name: envoy.tracers.{name}, typed_config: {settings} }} }}\n"
    )
}

/// Of a cluster that is spoken to over HTTP/2.
const HTTP2: &str = r#"typed_extension_protocol_options: { envoy.extensions.upstreams.http.v3.HttpProtocolOptions: { "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, explicit_http_config: { http2_protocol_options: {} } } }"#;

fn collector_cluster(tracer: Tracer, collector: SocketAddr) -> String {
    let http2 = match tracer {
        Tracer::Zipkin => String::new(),
        Tracer::OpenTelemetry => format!(", {HTTP2}"),
    };
    let address = socket_of(collector);
    format!(
        "    - {{ name: collector, type: STATIC, connect_timeout: 1s, load_assignment: {{ cluster_name: collector, endpoints: [{{ lb_endpoints: [{{ endpoint: {{ address: {{ socket_address: {address} }} }} }}] }}] }}{http2} }}\n"
    )
}

fn socket(host: &str, port: u16) -> String {
    format!("{{ address: {host}, port_value: {port} }}")
}

fn socket_of(address: SocketAddr) -> String {
    // Quoted: an IPv6 address is no plain YAML scalar.
    socket(&format!("\"{}\"", address.ip()), address.port())
}

fn tail(text: &str, lines: usize) -> String {
    let skip = text.lines().count().saturating_sub(lines);
    text.lines().skip(skip).fold(String::from("the end of envoy's log:"), |mut out, line| {
        let _ = write!(out, "\n  {line}");
        out
    })
}
