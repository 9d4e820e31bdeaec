//! `listen` and `limits`: who can reach what, and how much of it.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::{Findings, transport};
use crate::admin::token;
use crate::config::document::{Document, Listen};
use crate::config::problem::below;
use crate::config::values::{ByteSize, Period};
use crate::serve::{ListenAddress, ServeSettings};
use crate::tls::{Protocol, TlsSettings};

/// What `sockaddr_un` holds, with its final NUL.
const MAX_UNIX_PATH: usize = 108;

/// Where to listen.
pub(super) struct Listeners {
    pub(super) grpc: Vec<ListenAddress>,
    pub(super) http: Vec<ListenAddress>,
    pub(super) tls: Option<TlsSettings>,
    pub(super) http_tls: Option<TlsSettings>,
    pub(super) admin: SocketAddr,
    pub(super) admin_tls: Option<TlsSettings>,
    pub(super) admin_token_file: Option<PathBuf>,
}

pub(super) fn listeners(document: &Document, findings: &mut Findings<'_>) -> Option<Listeners> {
    let listen = &document.listen;
    let mode = findings.read(
        "/listen/unix_socket_mode",
        u32::from_str_radix(&listen.unix_socket_mode, 8)
            .map_err(|_| "expected a file mode in octal, such as `\"0660\"`"),
    );
    let mut all: Vec<(String, ListenAddress)> = Vec::new();
    for (list, texts) in [("/listen/grpc", &listen.grpc), ("/listen/http", &listen.http)] {
        for (index, text) in texts.iter().enumerate() {
            let pointer = below(list, index);
            let address = match text.strip_prefix("unix:") {
                Some(path) => unix(&pointer, path, mode.unwrap_or_default(), findings),
                None => tcp(&pointer, text, document, findings),
            };
            if let Some(address) = address {
                if let Some((other, _)) = all.iter().find(|(_, other)| collide(other, &address)) {
                    let message = "the same place as another listener";
                    findings.say_of(&pointer, &[other], message);
                }
                all.push((pointer, address));
            }
        }
    }
    let (grpc_tls, http_tls) = tls(listen, &all, findings);
    let admin = admin(listen, findings);
    let admin_tls = listen.admin_tls.as_ref().map(|tls| {
        if listen.allow_plaintext_on.contains(&listen.admin) {
            let message = "the admin port doesn't have it: it is in `allow_plaintext_on`";
            let others = ["/listen/admin", "/listen/allow_plaintext_on"];
            findings.say_of("/listen/admin_tls", &others, message);
        }
        transport::tls("/listen/admin_tls", tls, Protocol::Admin, findings)
    });
    let admin_token_file = listen.admin_token_file.as_ref().map(|text| {
        let pointer = "/listen/admin_token_file";
        let file = findings.file(pointer, text)?;
        findings.read(pointer, token::read(&file)).map(|_| file)
    });
    if let Some(admin) = admin
        && let Some((other, _)) =
            all.iter().find(|(_, other)| collide(other, &ListenAddress::Tcp(admin)))
    {
        let list = if other.starts_with(HTTP) { "http" } else { "grpc" };
        let message = format!("the same place as a listener of `{list}`");
        findings.say_of("/listen/admin", &[other], message);
    }
    for (index, allowed) in listen.allow_plaintext_on.iter().enumerate() {
        let mut named = listen.grpc.iter().chain(&listen.http).chain([&listen.admin]);
        if !named.any(|named| named == allowed) {
            let message = "names no listener: expected one as written in `grpc`, `http` or `admin`";
            let pointer = below("/listen/allow_plaintext_on", index);
            findings.say_of(pointer, &["/listen/grpc", "/listen/http", "/listen/admin"], message);
        }
    }
    mode?;
    let (http, grpc): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|(pointer, _)| pointer.starts_with(HTTP));
    let addresses = |list: Vec<(String, ListenAddress)>| -> Vec<ListenAddress> {
        list.into_iter().map(|(_, address)| address).collect()
    };
    Some(Listeners {
        grpc: addresses(grpc),
        http: addresses(http),
        tls: given(grpc_tls)?,
        http_tls: given(http_tls)?,
        admin: admin?,
        admin_tls: given(admin_tls)?,
        admin_token_file: given(admin_token_file)?,
    })
}

/// Where the listeners stand that speak HTTP/1.1.
const HTTP: &str = "/listen/http/";

/// The TLS of the listeners of each protocol: the same files, shown for what is spoken.
fn tls(
    listen: &Listen,
    all: &[(String, ListenAddress)],
    findings: &mut Findings<'_>,
) -> (Option<Option<TlsSettings>>, Option<Option<TlsSettings>>) {
    let Some(tls) = &listen.tls else { return (None, None) };
    let has_tls = |address: &ListenAddress| matches!(address, ListenAddress::Tls(_));
    if !all.iter().any(|(_, address)| has_tls(address)) {
        let message = "no listener of `grpc` or `http` has it: they are Unix sockets, or in \
                       `allow_plaintext_on`";
        let others = ["/listen/grpc", "/listen/http", "/listen/allow_plaintext_on"];
        findings.say_of("/listen/tls", &others, message);
    }
    let settings = transport::tls("/listen/tls", tls, Protocol::Grpc, findings);
    let of = |is_http: bool| {
        let of_it = |(pointer, address): &(String, ListenAddress)| {
            pointer.starts_with(HTTP) == is_http && has_tls(address)
        };
        all.iter().any(of_it).then(|| settings.clone())
    };
    (of(false), of(true))
}

/// What isn't configured is nothing; what is configured and wrong is none at all.
fn given<T>(checked: Option<Option<T>>) -> Option<Option<T>> {
    match checked {
        None => Some(None),
        Some(None) => None,
        Some(Some(value)) => Some(Some(value)),
    }
}

fn tcp(
    pointer: &str,
    text: &str,
    document: &Document,
    findings: &mut Findings<'_>,
) -> Option<ListenAddress> {
    let listen = &document.listen;
    let expected = "expected `address:port`, such as `127.0.0.1:9191`, or `unix:/path`";
    let address: SocketAddr = findings.read(pointer, text.parse().map_err(|_| expected))?;
    let is_plaintext = listen.allow_plaintext_on.iter().any(|allowed| allowed == text);
    let tls = listen.tls.as_ref().filter(|_| !is_plaintext);
    if !is_loopback(address) {
        let names_clients =
            tls.is_some_and(|tls| tls.client_ca_file.is_some() && !tls.clients.is_empty());
        let believes = &document.http_authorization.believe_any_peer_on;
        if pointer.starts_with(HTTP) && !names_clients && !believes.iter().any(|it| it == text) {
            findings.say_of(
                pointer,
                &["/listen/tls", "/http_authorization/believe_any_peer_on"],
                format!(
                    "`{address}` can be reached from other machines, and believes what it is told \
                     of a request: use loopback or a Unix socket, give `listen.tls` with \
                     `client_ca_file` and `clients`, or add it to \
                     `http_authorization.believe_any_peer_on`"
                ),
            );
        } else if tls.is_none() && !is_plaintext {
            findings.say_of(
                pointer,
                &["/listen/allow_plaintext_on", "/listen/tls"],
                format!(
                    "`{address}` can be reached from other machines, without TLS: use loopback or \
                     a Unix socket, give `listen.tls`, or add it to `listen.allow_plaintext_on`"
                ),
            );
        }
    }
    Some(if tls.is_some() { ListenAddress::Tls(address) } else { ListenAddress::Tcp(address) })
}

fn admin(listen: &Listen, findings: &mut Findings<'_>) -> Option<SocketAddr> {
    let pointer = "/listen/admin";
    let expected = "expected `address:port`, such as `127.0.0.1:9192`";
    let address: SocketAddr = findings.read(pointer, listen.admin.parse().map_err(|_| expected))?;
    let asks = listen.admin_token_file.is_some()
        || listen.admin_tls.as_ref().is_some_and(|tls| tls.client_ca_file.is_some());
    if !is_loopback(address) && !asks && !listen.allow_plaintext_on.contains(&listen.admin) {
        let others =
            ["/listen/allow_plaintext_on", "/listen/admin_tls", "/listen/admin_token_file"];
        findings.say_of(
            pointer,
            &others,
            format!(
                "`{address}` can be reached from other machines, by anybody: use loopback, give \
                 `listen.admin_token_file`, or `listen.admin_tls` with `client_ca_file`, or add it \
                 to `listen.allow_plaintext_on`"
            ),
        );
    }
    Some(address)
}

fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

fn unix(
    pointer: &str,
    text: &str,
    mode: u32,
    findings: &mut Findings<'_>,
) -> Option<ListenAddress> {
    let path: PathBuf = findings.path(pointer, text)?;
    let length = path.as_os_str().len();
    if length >= MAX_UNIX_PATH {
        let message = format!(
            "the socket's path is {length} bytes long; the system allows {}",
            MAX_UNIX_PATH - 1
        );
        findings.say(pointer, message);
    }
    Some(ListenAddress::Unix { path, mode })
}

/// Whether the second of two listeners could not be bound.
fn collide(a: &ListenAddress, b: &ListenAddress) -> bool {
    match (a, b) {
        (ListenAddress::Unix { path: a, .. }, ListenAddress::Unix { path: b, .. }) => a == b,
        (
            ListenAddress::Tcp(a) | ListenAddress::Tls(a),
            ListenAddress::Tcp(b) | ListenAddress::Tls(b),
        ) => {
            let any = |ip: IpAddr| ip.is_unspecified();
            let alike =
                a.ip() == b.ip() || (a.is_ipv4() == b.is_ipv4() && (any(a.ip()) || any(b.ip())));
            a.port() != 0 && a.port() == b.port() && alike
        }
        _ => false,
    }
}

/// [`ServeSettings`] that still lack their listeners.
pub(super) struct ServeLimits(ServeSettings);

impl ServeLimits {
    pub(super) fn with(
        self,
        listeners: Vec<ListenAddress>,
        http_listeners: Vec<ListenAddress>,
    ) -> ServeSettings {
        ServeSettings { listeners, http_listeners, ..self.0 }
    }
}

/// The threads that connections are served on.
fn workers(configured: Option<u32>) -> usize {
    let processors = || std::thread::available_parallelism().map_or(1, usize::from);
    configured.and_then(|count| usize::try_from(count).ok()).unwrap_or_else(processors)
}

pub(super) fn limits(document: &Document, findings: &mut Findings<'_>) -> ServeLimits {
    let limits = &document.limits;
    let (ms, s, m, h) = (Period::millis, Period::seconds, Period::minutes, Period::hours);
    let kib = ByteSize::kib;
    if limits.max_message_bytes <= document.entra.max_token_bytes {
        findings.say_of(
            "/limits/max_message_bytes",
            &["/entra/max_token_bytes"],
            format!(
                "must be more than `entra.max_token_bytes` (`{}`): the token comes in the message",
                document.entra.max_token_bytes
            ),
        );
    }
    let mut period = |name: &str, value, least, most| -> Duration {
        findings.period(&below("/limits", name), value, least, most)
    };
    let preface_timeout = period("preface_timeout", limits.preface_timeout, ms(100), m(1));
    let keepalive_interval = period("keepalive_interval", limits.keepalive_interval, s(1), h(1));
    let keepalive_timeout = period("keepalive_timeout", limits.keepalive_timeout, ms(100), m(5));
    let max_connection_age = period("max_connection_age", limits.max_connection_age, s(1), h(24));
    let pre_stop = period("pre_stop", limits.pre_stop, ms(0), m(5));
    let drain_timeout = period("drain_timeout", limits.drain_timeout, ms(0), m(10));
    let mut size = |name: &str, value, most| -> usize {
        findings.size(&below("/limits", name), value, kib(4), most)
    };
    let max_message_bytes = size("max_message_bytes", limits.max_message_bytes, kib(16 << 10));
    let max_header_list = size("max_header_list_bytes", limits.max_header_list_bytes, kib(1 << 10));
    ServeLimits(ServeSettings {
        listeners: Vec::new(),
        http_listeners: Vec::new(),
        workers: workers(document.listen.workers),
        max_connections: usize::try_from(limits.max_connections).unwrap_or(usize::MAX),
        max_concurrent_streams: limits.max_concurrent_streams,
        max_message_bytes,
        max_header_list_bytes: u32::try_from(max_header_list).unwrap_or(u32::MAX),
        preface_timeout,
        keepalive_interval,
        keepalive_timeout,
        max_connection_age,
        pre_stop,
        drain_timeout,
    })
}
