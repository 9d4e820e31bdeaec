//! Who publishes: a lease, taken and renewed by conditional writes.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use super::error::SharedError;
use super::lease::{Document, is_plain};
use super::place::{ETag, Expect, Object, Written};
use super::store::{Present, SharedStore};
use crate::clock::Now;

/// How long a lease can run. Shorter than this, a slow answer of the store loses it.
pub const TTL_RANGE: RangeInclusive<Duration> =
    RangeInclusive::new(Duration::from_secs(3), Duration::from_secs(600));

const ATTEMPTS: u32 = 4;

/// The right to publish. Only [`Elector::acquire_or_renew`] gives one.
#[derive(Clone, Debug)]
pub struct Lease {
    holder: Arc<str>,
    epoch: u64,
    until: Instant,
}

impl Lease {
    /// Higher than that of any publisher before.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// When it must count as lost, a margin before others may take it.
    #[must_use]
    pub const fn until(&self) -> Instant {
        self.until
    }

    /// Whether it can still be relied on.
    #[must_use]
    pub fn is_live(&self, now: Instant) -> bool {
        now < self.until
    }

    pub(super) fn holder(&self) -> &str {
        &self.holder
    }

    /// As a machine sees it whose clock stands still.
    #[cfg(test)]
    pub(super) fn frozen(self) -> Self {
        Self { until: Instant::now() + *TTL_RANGE.end(), ..self }
    }
}

/// Where a replica stands.
#[derive(Clone, Debug)]
pub enum Standing {
    /// It publishes. Renew every third of the lease.
    Leading(Lease),
    /// Another does.
    Following {
        /// Its name and the id of its run.
        holder: String,
        /// When this replica may take over, if nothing is heard of the holder.
        vacant_at: Instant,
    },
}

/// One replica's part in the election. One per process: two would compete.
#[derive(Debug)]
pub struct Elector {
    store: SharedStore,
    holder: Arc<str>,
    ttl: Duration,
    heard: Option<Heard>,
    proved: bool,
    /// The highest epoch that was seen. What stands in the store can be taken away.
    known: u64,
}

/// The last news of another's lease.
#[derive(Debug)]
struct Heard {
    etag: ETag,
    /// After it was read: no earlier than it was written.
    at: Instant,
}

impl Elector {
    /// A candidate. `name` is for people (the pod's, say); a random id is added, so
    /// that a replica started again is another holder than it was.
    ///
    /// # Errors
    /// The name has characters that don't belong into a log, or no lease can run
    /// that long.
    pub fn new(store: SharedStore, name: &str, ttl: Duration) -> Result<Self, SharedError> {
        let plain = name.chars().all(|char| is_plain(char) && char != '/');
        if !plain || !(1..=128).contains(&name.len()) {
            return Err(SharedError::Holder(name.escape_debug().take(200).collect()));
        }
        if !TTL_RANGE.contains(&ttl) {
            let (min, max) = TTL_RANGE.into_inner();
            return Err(SharedError::Ttl { ttl, min, max });
        }
        let holder = format!("{name}/{}", Uuid::now_v7()).into();
        Ok(Self { store, holder, ttl, heard: None, proved: false, known: 0 })
    }

    /// The name that stands in the lease when this replica leads.
    #[must_use]
    pub fn holder(&self) -> &str {
        &self.holder
    }

    /// Takes the lease if it is free, prolongs it if it is ours, or says whose it is.
    ///
    /// `now` is read by the caller just before; a lease runs from there. A renewal
    /// usually keeps the epoch. Where another publisher's snapshot shows that the
    /// lease was lost in between, it is a new one.
    ///
    /// # Errors
    /// The store can't be asked or isn't fit, or the lease or the snapshot there is
    /// none that this program knows. A lease from before stands until it runs out.
    pub async fn acquire_or_renew(&mut self, now: Now) -> Result<Standing, SharedError> {
        for _ in 0..ATTEMPTS {
            let (expect, held) = match self.store.lease().await? {
                None => (Expect::Absent, None),
                Some((etag, present)) => {
                    self.known = self.known.max(present.epoch);
                    match self.vacant_at(&etag, &present) {
                        Some(vacant_at) if now.instant < vacant_at => {
                            return Ok(Standing::Following { holder: present.holder, vacant_at });
                        }
                        _ => (Expect::Is(etag), Some(present)),
                    }
                }
            };
            if !self.proved {
                self.store.prove().await?;
                self.proved = true;
            }
            let epoch = self.next_epoch(held.as_ref()).await?;
            let lease = Document::new(&self.holder, epoch, self.ttl, now.unix);
            let parts = vec![lease.encode()?];
            if let Written::As(_) = self.store.write(Object::Lease, parts, expect).await? {
                if held.is_none() {
                    // As an empty folder looks on which nothing is mounted; each replica
                    // would lead in its own.
                    tracing::warn!(
                        epoch,
                        "no lease stood in the shared place: it is new, was emptied, or isn't \
                         mounted"
                    );
                }
                self.heard = None;
                self.known = epoch;
                let until = now.instant + (self.ttl - margin(self.ttl));
                return Ok(Standing::Leading(Lease { holder: self.holder.clone(), epoch, until }));
            }
            // Somebody was quicker; or this very write happened and its answer was
            // lost, and then the lease is found to be ours.
        }
        Err(SharedError::Contended { object: Object::Lease.name(), attempts: ATTEMPTS })
    }

    /// Gives the lease back, if it is ours, so that another can take it at once. Stop
    /// publishing first.
    ///
    /// # Errors
    /// The store can't be asked. The lease then runs out by itself.
    pub async fn release(&mut self) -> Result<(), SharedError> {
        let Some((etag, present)) = self.store.lease().await? else {
            return Ok(());
        };
        if *present.holder == *self.holder && !present.released {
            let parts = vec![present.released().encode()?];
            // A conflict says that another has it already.
            self.store.write(Object::Lease, parts, Expect::Is(etag)).await?;
        }
        Ok(())
    }

    /// From when on this lease may be taken; nothing if it may be at once.
    fn vacant_at(&mut self, etag: &ETag, present: &Document) -> Option<Instant> {
        if present.released || *present.holder == *self.holder {
            return None;
        }
        let at = match &self.heard {
            Some(heard) if heard.etag == *etag => heard.at,
            // Read here and not handed down: it must be after the answer came.
            _ => self.heard.insert(Heard { etag: etag.clone(), at: Instant::now() }).at,
        };
        Some(at + present.ttl() + margin(present.ttl()))
    }

    /// The epoch to write: ours if the lease is ours and none is known above it, else
    /// higher than all there is and was.
    async fn next_epoch(&mut self, held: Option<&Document>) -> Result<u64, SharedError> {
        let published = match self.store.header().await? {
            Present::Nothing => 0,
            Present::Snapshot(_, header) => header.epoch,
            // No epoch of a snapshot is higher than the lease's. Where there is no lease
            // either, this may be somebody else's object at an address given by mistake,
            // and whoever leads replaces it.
            Present::Unreadable(_, error) if held.is_none() => return Err(error),
            Present::Unreadable(..) => 0,
        };
        let leased = held.map_or(0, |present| present.epoch);
        self.known = self.known.max(published).max(leased);
        let ours = held.is_some_and(|it| *it.holder == *self.holder && !it.released);
        if ours && self.known <= leased {
            return Ok(leased);
        }
        self.known
            .checked_add(1)
            .ok_or_else(|| SharedError::Lease("has the last epoch there is".to_owned()))
    }
}

/// What a holder gives up early and a follower waits longer.
fn margin(ttl: Duration) -> Duration {
    ttl / 10
}
