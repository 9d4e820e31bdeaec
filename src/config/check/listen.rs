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
    pub(super) tls: Option<TlsSettings>,
    pub(super) admin: SocketAddr,
    pub(super) admin_tls: Option<TlsSettings>,
    pub(super) admin_token_file: Option<PathBuf>,
}

pub(super) fn listeners(listen: &Listen, findings: &mut Findings<'_>) -> Option<Listeners> {
    let mode = findings.read(
        "/listen/unix_socket_mode",
        u32::from_str_radix(&listen.unix_socket_mode, 8)
            .map_err(|_| "expected a file mode in octal, such as `\"0660\"`"),
    );
    let mut grpc: Vec<(String, ListenAddress)> = Vec::new();
    for (index, text) in listen.grpc.iter().enumerate() {
        let pointer = below("/listen/grpc", index);
        let address = match text.strip_prefix("unix:") {
            Some(path) => unix(&pointer, path, mode.unwrap_or_default(), findings),
            None => tcp(&pointer, text, listen, findings),
        };
        if let Some(address) = address {
            if let Some((other, _)) = grpc.iter().find(|(_, other)| collide(other, &address)) {
                let message = "the same place as another listener";
                findings.say_of(&pointer, &[other], message);
            }
            grpc.push((pointer, address));
        }
    }
    let is_used = grpc.iter().any(|(_, address)| matches!(address, ListenAddress::Tls(_)));
    let tls = listen.tls.as_ref().map(|tls| {
        if !is_used {
            let message = "no listener of `grpc` has it: they are Unix sockets, or in \
                           `allow_plaintext_on`";
            let others = ["/listen/grpc", "/listen/allow_plaintext_on"];
            findings.say_of("/listen/tls", &others, message);
        }
        transport::tls("/listen/tls", tls, Protocol::Grpc, findings)
    });
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
            grpc.iter().find(|(_, other)| collide(other, &ListenAddress::Tcp(admin)))
    {
        findings.say_of("/listen/admin", &[other], "the same place as a listener of `grpc`");
    }
    for (index, allowed) in listen.allow_plaintext_on.iter().enumerate() {
        if allowed != &listen.admin && !listen.grpc.contains(allowed) {
            let message = "names no listener: expected one as written in `grpc` or `admin`";
            let pointer = below("/listen/allow_plaintext_on", index);
            findings.say_of(pointer, &["/listen/grpc", "/listen/admin"], message);
        }
    }
    mode?;
    Some(Listeners {
        grpc: grpc.into_iter().map(|(_, address)| address).collect(),
        tls: given(tls)?,
        admin: admin?,
        admin_tls: given(admin_tls)?,
        admin_token_file: given(admin_token_file)?,
    })
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
    listen: &Listen,
    findings: &mut Findings<'_>,
) -> Option<ListenAddress> {
    let expected = "expected `address:port`, such as `127.0.0.1:9191`, or `unix:/path`";
    let address: SocketAddr = findings.read(pointer, text.parse().map_err(|_| expected))?;
    if listen.allow_plaintext_on.iter().any(|allowed| allowed == text) {
        return Some(ListenAddress::Tcp(address));
    }
    if listen.tls.is_some() {
        return Some(ListenAddress::Tls(address));
    }
    if !is_loopback(address) {
        findings.say_of(
            pointer,
            &["/listen/allow_plaintext_on", "/listen/tls"],
            format!(
                "`{address}` can be reached from other machines, without TLS: use loopback or a \
                 Unix socket, give `listen.tls`, or add it to `listen.allow_plaintext_on`"
            ),
        );
    }
    Some(ListenAddress::Tcp(address))
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
    pub(super) fn with(self, listeners: Vec<ListenAddress>) -> ServeSettings {
        ServeSettings { listeners, ..self.0 }
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
