//! `listen` and `limits`: who can reach what, and how much of it.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::Findings;
use crate::config::document::{Document, Listen};
use crate::config::problem::below;
use crate::config::values::{ByteSize, Period};
use crate::serve::{ListenAddress, ServeSettings};

/// What `sockaddr_un` holds, with its final NUL.
const MAX_UNIX_PATH: usize = 108;

/// Where to listen.
pub(super) struct Listeners {
    pub(super) grpc: Vec<ListenAddress>,
    pub(super) admin: SocketAddr,
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
            None => tcp(&pointer, text, listen, findings).map(ListenAddress::Tcp),
        };
        if let Some(address) = address {
            if let Some((other, _)) = grpc.iter().find(|(_, other)| collide(other, &address)) {
                let message = "the same place as another listener";
                findings.say_of(&pointer, &[other], message);
            }
            grpc.push((pointer, address));
        }
    }
    let admin = tcp("/listen/admin", &listen.admin, listen, findings);
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
    Some(Listeners { grpc: grpc.into_iter().map(|(_, address)| address).collect(), admin: admin? })
}

fn tcp(
    pointer: &str,
    text: &str,
    listen: &Listen,
    findings: &mut Findings<'_>,
) -> Option<SocketAddr> {
    let expected = if pointer == "/listen/admin" {
        "expected `address:port`, such as `127.0.0.1:9192`"
    } else {
        "expected `address:port`, such as `127.0.0.1:9191`, or `unix:/path`"
    };
    let address: SocketAddr = findings.read(pointer, text.parse().map_err(|_| expected))?;
    let allowed = listen.allow_plaintext_on.iter().any(|allowed| allowed == text);
    if !address.ip().to_canonical().is_loopback() && !allowed {
        findings.say_of(
            pointer,
            &["/listen/allow_plaintext_on"],
            format!(
                "`{address}` can be reached from other machines, without TLS: use loopback or a \
                 Unix socket, or add it to `listen.allow_plaintext_on`"
            ),
        );
    }
    Some(address)
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
        (ListenAddress::Tcp(a), ListenAddress::Tcp(b)) => {
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
