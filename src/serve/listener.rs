//! Sockets that wait for connections.

use std::fmt;
use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixSocket, UnixStream};

use super::ListenAddress;
use super::accept::Handover;
use crate::tls::ServerTls;

/// Connections that the kernel holds until they are accepted (it may hold fewer).
const BACKLOG: u32 = 1024;

/// Where a listener really is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BoundAddress {
    /// A TCP address, with the port the system chose.
    Tcp(SocketAddr),
    /// A Unix socket's path.
    Unix(PathBuf),
}

/// Why the listeners could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// None is configured.
    #[error("there is no listener")]
    NoListener,
    /// The TCP address can't be had.
    #[error("cannot listen on `{address}`: {cause}")]
    Tcp {
        /// The configured address.
        address: SocketAddr,
        /// The system's words.
        cause: io::Error,
    },
    /// TLS is asked for, and there is no certificate.
    #[error("cannot listen on `{0}` with TLS: there is no certificate")]
    NoCertificate(SocketAddr),
    /// A thread that connections are served on can't be started.
    #[error("cannot start the threads that connections are served on: {0}")]
    Workers(io::Error),
    /// Something answers at the path: another process serves there.
    #[error("cannot listen on `{}`: another process serves there", path.display())]
    UnixInUse {
        /// The configured path.
        path: PathBuf,
    },
    /// At the path is something that we didn't make and don't remove.
    #[error("cannot listen on `{}`: there is a file that is not a socket", path.display())]
    UnixNotASocket {
        /// The configured path.
        path: PathBuf,
    },
    /// The socket's file can't be made.
    #[error("cannot listen on `{}`: {cause}", path.display())]
    Unix {
        /// The configured path.
        path: PathBuf,
        /// The system's words.
        cause: io::Error,
    },
}

/// One socket that listens. Dropped, it leaves no file behind.
#[derive(Debug)]
pub(super) enum Listener {
    Tcp(SocketAddr, TcpListener, Option<ServerTls>),
    // The file goes first, while the open socket still keeps its inode from being
    // given to another file.
    Unix(SocketFile, UnixListener),
}

/// A connection of any kind of listener, on no runtime.
#[derive(Debug)]
pub(super) enum Accepted {
    Tcp(std::net::TcpStream, Option<ServerTls>),
    Unix(std::os::unix::net::UnixStream),
}

impl Handover for Accepted {
    type Io = Stream;

    fn tls(&self) -> Option<ServerTls> {
        match self {
            Self::Tcp(_, tls) => tls.clone(),
            Self::Unix(_) => None,
        }
    }

    fn peer(&self) -> Option<IpAddr> {
        match self {
            // One that is gone has no address any more.
            Self::Tcp(stream, _) => Some(stream.peer_addr().ok()?.ip().to_canonical()),
            Self::Unix(_) => None,
        }
    }

    fn take(self) -> io::Result<Stream> {
        match self {
            Self::Tcp(stream, _) => TcpStream::from_std(stream).map(Stream::Tcp),
            Self::Unix(stream) => UnixStream::from_std(stream).map(Stream::Unix),
        }
    }
}

/// A connection of any kind of listener.
#[derive(Debug)]
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Listener {
    pub(super) async fn bind(
        address: &ListenAddress,
        tls: Option<&ServerTls>,
    ) -> Result<Self, BindError> {
        match address {
            ListenAddress::Tcp(address) => bind_tcp(*address, None),
            ListenAddress::Tls(address) => match tls {
                Some(tls) => bind_tcp(*address, Some(tls.clone())),
                None => Err(BindError::NoCertificate(*address)),
            },
            ListenAddress::Unix { path, mode } => bind_unix(path, *mode).await,
        }
    }

    /// Where it really listens.
    pub(super) fn address(&self) -> BoundAddress {
        match self {
            Self::Tcp(address, _, _) => BoundAddress::Tcp(*address),
            Self::Unix(file, _) => BoundAddress::Unix(file.path.clone()),
        }
    }

    pub(super) fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
        let accepted = match self {
            Self::Tcp(_, listener, tls) => {
                std::task::ready!(listener.poll_accept(cx)).and_then(|(stream, _)| {
                    // Answers are small and awaited. That it can fail only means that
                    // the connection is gone already, as the first read will tell.
                    let _ = stream.set_nodelay(true);
                    Ok(Accepted::Tcp(stream.into_std()?, tls.clone()))
                })
            }
            Self::Unix(_, listener) => std::task::ready!(listener.poll_accept(cx))
                .and_then(|(stream, _)| stream.into_std().map(Accepted::Unix)),
        };
        Poll::Ready(accepted)
    }
}

fn bind_tcp(address: SocketAddr, tls: Option<ServerTls>) -> Result<Listener, BindError> {
    let failed = |cause| BindError::Tcp { address, cause };
    let listener = listen_tcp(address).map_err(failed)?;
    Ok(Listener::Tcp(listener.local_addr().map_err(failed)?, listener, tls))
}

/// As `TcpListener::bind` does it, which has the kernel hold 128 connections: of a mesh that
/// connects anew at once the others would try again a second later.
pub(crate) fn listen_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    // A restart needn't wait for connections of before to be forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Binds, then sets the mode, then listens: until the last step nobody can
/// connect, so nobody gets in under the mode that the umask happened to give.
async fn bind_unix(path: &Path, mode: u32) -> Result<Listener, BindError> {
    let failed = |cause| BindError::Unix { path: path.to_owned(), cause };
    clear(path).await?;
    let socket = UnixSocket::new_stream().map_err(failed)?;
    socket.bind(path).map_err(failed)?;
    let file = SocketFile::of(path).map_err(failed)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(failed)?;
    let listener = socket.listen(BACKLOG).map_err(failed)?;
    Ok(Listener::Unix(file, listener))
}

/// Removes the socket of a process that is gone. Whether it is gone, only the
/// socket can tell: nobody answers. Two processes that start at the same moment
/// on one path can both find it free; the later one gets it.
async fn clear(path: &Path) -> Result<(), BindError> {
    let failed = |cause| BindError::Unix { path: path.to_owned(), cause };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(BindError::UnixNotASocket { path: path.to_owned() });
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path).await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        // A full backlog is the sign of somebody who listens.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            return Err(BindError::UnixInUse { path: path.to_owned() });
        }
        Err(error) => return Err(failed(error)),
        Ok(_) => return Err(BindError::UnixInUse { path: path.to_owned() }),
    }
    tracing::info!(path = %path.display(), "replacing the socket of a process that is gone");
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(error)),
        _ => Ok(()),
    }
}

/// The file of our own socket, removed in the end unless another took its place.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketFile {
    fn of(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), identity: identity(path)? })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|now| now == self.identity)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "the socket's file stays behind");
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|found| (found.dev(), found.ino()))
}

macro_rules! either {
    ($self:ident, $stream:ident => $body:expr) => {
        match $self.get_mut() {
            Self::Tcp($stream) => $body,
            Self::Unix($stream) => $body,
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        either!(self, stream => Pin::new(stream).poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        either!(self, stream => Pin::new(stream).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(self, stream => Pin::new(stream).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(stream) => stream.is_write_vectored(),
            Self::Unix(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => Pin::new(stream).poll_shutdown(cx))
    }
}

impl fmt::Display for BoundAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn many_who_connect_at_once_are_held() {
        let listener = listen_tcp((Ipv4Addr::LOCALHOST, 0).into()).expect("a port is free");
        let to = listener.local_addr().expect("it is bound");
        let most = fs::read_to_string("/proc/sys/net/core/somaxconn").expect("of the system");
        let held = most.trim().parse().map_or(400, |most: usize| most.min(400));
        // Nobody accepts them. Whom the kernel doesn't hold tries in vain.
        let mut streams = Vec::new();
        for number in 0..held {
            let connected = timeout(Duration::from_secs(20), TcpStream::connect(to)).await;
            let stream = connected.unwrap_or_else(|_| panic!("{number} are held, of {held}"));
            streams.push(stream.expect("it is there"));
        }
    }
}
