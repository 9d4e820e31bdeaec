//! What the listeners that are asked for decisions are configured with.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::tls::Protocol;

/// Where to listen, and the limits of a connection.
#[derive(Clone, Debug)]
pub struct ServeSettings {
    /// The listeners that speak gRPC; at least one.
    pub listeners: Vec<ListenAddress>,
    /// The listeners that speak HTTP/1.1.
    pub http_listeners: Vec<ListenAddress>,
    /// Threads that connections are served on, each with a runtime of its own. With 0 they
    /// are served on the runtime that [`Server::run`](super::Server::run) is called on.
    pub workers: usize,
    /// Connections at a time over all listeners.
    pub max_connections: usize,
    /// Streams at a time on one connection.
    pub max_concurrent_streams: u32,
    /// The largest gRPC message that is read.
    pub max_message_bytes: usize,
    /// The largest header list that is read.
    pub max_header_list_bytes: u32,
    /// How long a new connection may take to send the HTTP/2 preface, or the head of its first
    /// HTTP/1.1 request, its TLS handshake included.
    pub preface_timeout: Duration,
    /// A ping is sent after this long without anything received…
    pub keepalive_interval: Duration,
    /// … and the connection is closed when it isn't answered for this long.
    pub keepalive_timeout: Duration,
    /// A connection is asked to end after about this long.
    pub max_connection_age: Duration,
    /// After the first signal, new connections are still accepted for this long,
    /// so that Envoy sees the health change before the door closes.
    pub pre_stop: Duration,
    /// After that, what is still running is ended after this long.
    pub drain_timeout: Duration,
}

/// What is spoken on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speaks {
    /// HTTP/2 from its first byte, for gRPC.
    Http2,
    /// HTTP/1.1.
    Http1,
}

impl Speaks {
    /// Whose certificate it shows.
    pub(super) fn protocol(self) -> Protocol {
        match self {
            Self::Http2 => Protocol::Grpc,
            Self::Http1 => Protocol::Http,
        }
    }
}

/// One listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// TCP; port 0 lets the system choose.
    Tcp(SocketAddr),
    /// TCP with TLS, by what [`Server::bind_with`](super::Server::bind_with) is given for its
    /// protocol.
    Tls(SocketAddr),
    /// A Unix socket and the mode of its file.
    Unix {
        /// The socket's path. A socket left over by a dead process is replaced.
        path: PathBuf,
        /// The file mode, such as `0o660`.
        mode: u32,
    },
}
