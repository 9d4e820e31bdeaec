//! The server that always says yes, as a sensible person would write it in ten minutes:
//! plain tonic, and Envoy's complete types.

use std::future::poll_fn;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::thread;

use anyhow::{Context as _, Result};
use envoy_types::ext_authz::v3::CheckResponseExt as _;
use envoy_types::ext_authz::v3::pb::{
    Authorization, AuthorizationServer, CheckRequest, CheckResponse,
};
use futures_util::stream;
use prost::Message as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::runtime::Builder;
use tokio::sync::mpsc;
use tonic::transport::Server;
use tonic::transport::server::Connected;
use tonic::{Request, Response, Status};

#[derive(Clone)]
struct Yes(CheckResponse);

#[tonic::async_trait]
impl Authorization for Yes {
    async fn check(&self, _: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        Ok(Response::new(self.0.clone()))
    }
}

/// The plainest yes, or the one in a file.
fn answer(file: Option<&Path>) -> Result<CheckResponse> {
    match file {
        None => Ok(CheckResponse::with_status(Status::ok("yes"))),
        Some(file) => Ok(CheckResponse::decode(std::fs::read(file)?.as_slice())?),
    }
}

/// Serves at `address`, or at `unix:` and a path, on this many threads: each has a runtime of
/// its own, as Stagedoor's have, and takes its turn with the connections.
pub(crate) fn serve(address: &str, workers: usize, file: Option<&Path>) -> Result<()> {
    let yes = Yes(answer(file)?);
    match address.strip_prefix("unix:") {
        Some(path) => {
            let listener = std::os::unix::net::UnixListener::bind(Path::new(path))?;
            listener.set_nonblocking(true)?;
            let accept = move || {
                let listener = UnixListener::from_std(listener)?;
                Ok(async move || Ok(listener.accept().await?.0.into_std()?))
            };
            spread(&yes, workers, accept, tokio::net::UnixStream::from_std)
        }
        None => {
            let listener = std::net::TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            let accept = move || {
                let listener = TcpListener::from_std(listener)?;
                Ok(async move || {
                    let (stream, _) = listener.accept().await?;
                    stream.set_nodelay(true)?;
                    stream.into_std()
                })
            };
            spread(&yes, workers, accept, tokio::net::TcpStream::from_std)
        }
    }
}

fn spread<S, I, A>(
    yes: &Yes,
    workers: usize,
    accept: impl FnOnce() -> io::Result<A>,
    take: fn(S) -> io::Result<I>,
) -> Result<()>
where
    S: Send + 'static,
    I: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
    A: AsyncFn() -> io::Result<S>,
{
    let mut senders = Vec::new();
    for number in 0..workers {
        let (sender, receiver) = mpsc::unbounded_channel();
        senders.push(sender);
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let yes = yes.clone();
        thread::Builder::new()
            .name(format!("yes-{number}"))
            .spawn(move || runtime.block_on(worker(yes, receiver, take)))?;
    }
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async move {
        let accept = accept()?;
        let mut turn = senders.iter().cycle();
        loop {
            let stream = accept().await?;
            turn.next().context("no workers")?.send(stream).ok().context("a worker has ended")?;
        }
    })
}

async fn worker<S, I>(
    yes: Yes,
    mut receiver: mpsc::UnboundedReceiver<S>,
    take: fn(S) -> io::Result<I>,
) where
    S: Send + 'static,
    I: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
{
    let incoming =
        stream::poll_fn(move |context| receiver.poll_recv(context).map(|stream| stream.map(take)));
    let incoming: Pin<Box<dyn stream::Stream<Item = io::Result<I>> + Send>> = Box::pin(incoming);
    // It ends with the process.
    let _ = Server::builder()
        .add_service(AuthorizationServer::new(yes))
        .serve_with_incoming(incoming)
        .await;
    poll_fn(|_| std::task::Poll::Pending).await
}
