//! A port that is kept for somebody.

use std::net::SocketAddr;

use tokio::net::TcpSocket;

/// A port of this machine, for as long as this lives. Whoever is told it can listen there, one
/// after another, and where nobody does, connections are refused; who asks for any port is not
/// given it.
#[derive(Debug)]
pub(crate) struct Port {
    pub(crate) address: SocketAddr,
    /// Bound, and not listening: Linux lets a listener be bound beside it.
    _kept: TcpSocket,
}

impl Port {
    pub(crate) fn keep() -> Self {
        let kept = TcpSocket::new_v4().unwrap();
        kept.set_reuseaddr(true).unwrap();
        kept.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        Self { address: kept.local_addr().unwrap(), _kept: kept }
    }
}
