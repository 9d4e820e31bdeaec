//! A replica's part where snapshots are shared.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::decode::decode;
use super::encode::encode;
use super::settings::SharedSettings;
use super::shared::{
    Elector, Lease, Mark, Published, Reader, Seen, SharedError, SharedStore, Standing,
};
use super::snapshot::Snapshot;
use super::state::RefreshError;
use crate::clock::Now;

/// How long giving the lease back may take at the end.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(2);

/// Leads or follows.
pub(super) struct Sharing {
    store: SharedStore,
    reader: Reader,
    poll_every: Duration,
    lease: watch::Receiver<Option<Lease>>,
    stop: watch::Sender<bool>,
    campaign: JoinHandle<()>,
}

impl Sharing {
    /// Begins to take part, with a snapshot of a crawl at `kept`, in seconds since 1970, or
    /// none. It takes none of an earlier crawl.
    pub(super) fn start(
        settings: &SharedSettings,
        kept: Option<i64>,
    ) -> Result<Self, RefreshError> {
        let store = SharedStore::open(&settings.url, &settings.authorities).map_err(failed)?;
        let elector =
            Elector::new(store.clone(), &settings.name, settings.lease).map_err(failed)?;
        let (sender, lease) = watch::channel(None);
        let (stop, stopped) = watch::channel(false);
        let campaign = tokio::spawn(campaign(elector, settings.lease / 3, sender, stopped));
        // What is kept doesn't say of which epoch it was; of the same crawl any is as good.
        let held = kept.map(|crawled_at| Mark { crawled_at, epoch: 0 });
        let reader = Reader::new(store.clone(), held);
        Ok(Self { store, reader, poll_every: settings.poll_every, lease, stop, campaign })
    }

    pub(super) fn poll_every(&self) -> Duration {
        self.poll_every
    }

    /// The right to publish, while this replica has it.
    pub(super) fn lease(&self) -> Option<Lease> {
        let now = Now::read().instant;
        self.lease.borrow().clone().filter(|lease| lease.is_live(now))
    }

    /// Completes when this replica begins to lead.
    pub(super) async fn elected(&mut self) {
        let led = self.lease.borrow_and_update().is_some();
        loop {
            if self.lease.changed().await.is_err() {
                // The campaign ends with the process only.
                std::future::pending::<()>().await;
            }
            if !led && self.lease.borrow_and_update().is_some() {
                return;
            }
            if led && self.lease.borrow_and_update().is_none() {
                return;
            }
        }
    }

    /// A snapshot that another published since the last time.
    pub(super) async fn poll(&mut self) -> Result<Option<Snapshot>, RefreshError> {
        let (now, held) = (Now::read(), self.reader.held());
        let seen = match self.reader.poll(now).await.map_err(failed)? {
            Seen::New(seen) => seen,
            Seen::Older { found, held } => {
                tracing::warn!(
                    ?found,
                    ?held,
                    "the shared snapshot is older than the one before, and is not taken"
                );
                return Ok(None);
            }
            Seen::Ahead(mark) => {
                let ahead = mark.crawled_at.saturating_sub(now.unix);
                let message = format!("the shared snapshot is dated {ahead} s in the future");
                return Err(RefreshError { code: "shared", message });
            }
            Seen::Gone => {
                let message =
                    "the shared snapshot is gone: the place was emptied, or isn't mounted";
                return Err(RefreshError { code: "shared", message: message.to_owned() });
            }
            Seen::Unchanged | Seen::Absent => return Ok(None),
        };
        if let Some(held) = held.filter(|held| seen.mark.epoch < held.epoch) {
            tracing::warn!(
                found = ?seen.mark,
                ?held,
                "the shared place has begun anew: its epochs are lower than they were"
            );
        }
        let read = tokio::task::spawn_blocking(move || {
            decode(&seen.bytes).map(|snapshot| Snapshot {
                // The same snapshot can have been found again by a later crawl.
                crawled_at: seen.mark.crawled_at,
                ..snapshot
            })
        });
        let read = read.await.map_err(|error| named("internal", &error))?;
        read.map(Some).map_err(|error| named("shared", &error))
    }

    /// Publishes what a crawl that began at this time found.
    pub(super) async fn publish(
        &mut self,
        snapshot: &Arc<Snapshot>,
        crawled_at: i64,
    ) -> Result<(), RefreshError> {
        let Some(lease) = self.lease() else { return Ok(()) };
        let snapshot = Arc::clone(snapshot);
        let bytes = tokio::task::spawn_blocking(move || encode(&snapshot)).await;
        let bytes = bytes.map_err(|error| named("internal", &error))?;
        let published = self.store.publish(&lease, bytes.into(), crawled_at, Now::read()).await;
        match published.map_err(failed)? {
            Published::Done(etag) => {
                self.reader.holds(etag, Mark { epoch: lease.epoch(), crawled_at });
            }
            Published::Outdated(mark) => {
                tracing::info!(?mark, "a later crawl is published already");
            }
            Published::Lost(lost) => tracing::warn!(%lost, "not published: another leads"),
        }
        Ok(())
    }

    /// Gives the lease back, so that another takes over at once.
    pub(super) async fn stop(mut self) {
        let _ = self.stop.send(true);
        let _ = timeout(RELEASE_TIMEOUT, &mut self.campaign).await;
    }
}

impl Drop for Sharing {
    /// Nobody holds a lease for somebody who is gone.
    fn drop(&mut self) {
        self.campaign.abort();
    }
}

/// Takes and keeps the lease, beside crawls that may take longer than it lasts.
async fn campaign(
    mut elector: Elector,
    every: Duration,
    lease: watch::Sender<Option<Lease>>,
    mut stopped: watch::Receiver<bool>,
) {
    loop {
        match elector.acquire_or_renew(Now::read()).await {
            Ok(Standing::Leading(renewed)) => drop(lease.send_replace(Some(renewed))),
            Ok(Standing::Following { holder, .. }) => {
                if lease.send_replace(None).is_some() {
                    tracing::warn!(holder, "another replica publishes snapshots now");
                }
            }
            // A lease from before stands until it runs out by itself.
            Err(error) => tracing::warn!(%error, "the lease for publishing snapshots"),
        }
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            _ = stopped.wait_for(|stopped| *stopped) => break,
        }
    }
    lease.send_replace(None);
    if let Err(error) = elector.release().await {
        tracing::warn!(%error, "the lease for publishing snapshots runs out by itself");
    }
}

fn failed(error: SharedError) -> RefreshError {
    named("shared", &error)
}

fn named(code: &'static str, error: &dyn std::error::Error) -> RefreshError {
    RefreshError { code, message: error.to_string() }
}

#[cfg(test)]
mod tests;
