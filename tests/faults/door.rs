//! The way from Envoy to Stagedoor where that is mTLS: the files of both sides, an Envoy that
//! asks by them, and what passes its connections on to whichever process runs.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::process::{Running, Supervised};
use crate::support::envoy::{Envoy, EnvoyConfig};
use crate::support::tls::{ENVOY, Mounted, SERVER};

/// Between the two.
pub(crate) struct Door {
    /// What Stagedoor shows, and whose clients it takes.
    pub(crate) ours: Mounted,
    /// What Envoy shows.
    pub(crate) theirs: Mounted,
    envoy: Envoy,
    relay: Relay,
}

impl Door {
    /// The files of both, and an Envoy that asks this process about requests to a service.
    pub(crate) async fn make(
        process: &Supervised,
        service: SocketAddr,
        check_timeout: Duration,
    ) -> Result<Self> {
        let ours = Mounted::new();
        let theirs = Mounted::of(Arc::clone(&ours.authority), &[ENVOY]);
        let relay = Relay::start(process.watch()).await?;
        let config = EnvoyConfig::tls(relay.address, service, theirs.folder());
        let envoy =
            Envoy::start(config.check_timeout(check_timeout).patience(check_timeout)).await?;
        Ok(Self { ours, theirs, envoy, relay })
    }

    /// Where requests go.
    pub(crate) fn address(&self) -> SocketAddr {
        self.envoy.address
    }

    /// What stands in Stagedoor's configuration.
    pub(crate) fn tls(&self) -> String {
        self.ours.mutual_yaml(&[ENVOY])
    }

    /// Ends all connections between the two. Others may follow.
    pub(crate) fn cut(&self) {
        self.relay.cut.send_replace(());
    }

    /// Mounts new certificates of both sides that are good.
    pub(crate) fn renew(&self) -> Result<()> {
        self.ours.swap(&self.ours.authority.issue(&[SERVER])?);
        self.theirs.swap(&self.ours.authority.issue(&[ENVOY])?);
        Ok(())
    }
}

/// Passes connections on. Where the process listens is another place after each start, and
/// Envoy's configuration names one.
struct Relay {
    address: SocketAddr,
    cut: watch::Sender<()>,
    task: JoinHandle<()>,
}

impl Relay {
    async fn start(running: watch::Receiver<Running>) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (cut, watched) = watch::channel(());
        let task = tokio::spawn(accept(listener, running, watched));
        Ok(Self { address, cut, task })
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(
    listener: TcpListener,
    running: watch::Receiver<Running>,
    cut: watch::Receiver<()>,
) {
    loop {
        let Ok((mut client, _)) = listener.accept().await else {
            sleep(Duration::from_millis(20)).await;
            continue;
        };
        let to = running.borrow().grpc;
        // Where nobody listens, a connection ends at once.
        let Some(to) = to else { continue };
        let mut cut = cut.clone();
        cut.mark_unchanged();
        tokio::spawn(async move {
            let Ok(mut server) = TcpStream::connect(to).await else { return };
            tokio::select! {
                // A connection that ended with an error has ended.
                _ = copy_bidirectional(&mut client, &mut server) => {}
                // With the sender goes the door.
                _ = cut.changed() => {}
            }
        });
    }
}
