//! Publishing: the one way a snapshot gets to the shared place.

use bytes::Bytes;
use tokio::time::Instant;

use super::election::Lease;
use super::error::SharedError;
use super::frame::Header;
use super::place::{ETag, Expect, Object, Written};
use super::store::{Mark, Present, SharedStore, hashing};
use crate::clock::Now;

/// Others can write in between only at a change of publisher, so few are needed.
const ATTEMPTS: u32 = 4;

/// What became of a publication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Published {
    /// It is there.
    Done(ETag),
    /// A snapshot of a later crawl is there already; nothing was written.
    Outdated(Mark),
    /// This replica doesn't lead (any more); nothing was written. Follow.
    Lost(Lost),
}

/// Why a replica doesn't lead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// The lease ran out on this replica's own clock.
    #[error("the lease of epoch {epoch} has run out")]
    Expired {
        /// The epoch of the lease.
        epoch: u64,
    },
    /// The lease is another's, was given back, or is gone.
    #[error("the lease of epoch {epoch} is no longer held")]
    Replaced {
        /// The epoch of the lease.
        epoch: u64,
    },
    /// The snapshot that is there is of a later publisher.
    #[error("a snapshot of epoch {present} stands against the lease of epoch {epoch}")]
    Overtaken {
        /// The epoch of the lease.
        epoch: u64,
        /// The epoch of the snapshot.
        present: u64,
    },
}

impl SharedStore {
    /// Publishes a snapshot that was crawled at `crawled_at`, in seconds since 1970.
    ///
    /// Only with a lease that is live and still stands in the store; only over a
    /// snapshot of the same or a lower epoch and of no later crawl, or over what can't be
    /// read. One exception: a crawl of the same or a lower epoch that is dated in the future
    /// is replaced, or a wrong clock would silence all that come after it.
    ///
    /// # Errors
    /// The store can't be asked, or holds what is of a version to come. The
    /// snapshot may or may not have been published; publishing again is safe.
    pub async fn publish(
        &self,
        lease: &Lease,
        bytes: Bytes,
        crawled_at: i64,
        now: Now,
    ) -> Result<Published, SharedError> {
        let epoch = lease.epoch();
        let content = bytes.clone();
        let header =
            hashing(content.len(), move || Header::of(&content, epoch, crawled_at)).await?;
        let parts = vec![header.encode(), bytes];
        let size = parts.iter().map(|part| part.len() as u64).sum();
        if size > self.limits.max_bytes {
            let (object, limit) = (Object::Snapshot.name(), self.limits.max_bytes);
            return Err(SharedError::TooLarge { object, size, limit });
        }
        for _ in 0..ATTEMPTS {
            if let Some(lost) = self.lost(lease).await? {
                return Ok(Published::Lost(lost));
            }
            let expect = match self.header().await? {
                Present::Nothing => Expect::Absent,
                // This very write happened, and its answer was lost.
                Present::Snapshot(etag, present) if present.stamp == header.stamp => {
                    return Ok(Published::Done(etag));
                }
                Present::Snapshot(_, present) if present.epoch > epoch => {
                    let present = present.epoch;
                    return Ok(Published::Lost(Lost::Overtaken { epoch, present }));
                }
                Present::Snapshot(_, present) if header.mark().is_behind(present.mark(), now) => {
                    return Ok(Published::Outdated(present.mark()));
                }
                Present::Snapshot(etag, _) => Expect::Is(etag),
                Present::Unreadable(etag, error) => {
                    // It doesn't say whether somebody published later. If the lease stands
                    // still, nobody had by when it was read, and who does so from now on
                    // changes it under this write.
                    if let Some(lost) = self.lost(lease).await? {
                        return Ok(Published::Lost(lost));
                    }
                    tracing::warn!(%error, "the shared snapshot can't be read, and is replaced");
                    Expect::Is(etag)
                }
            };
            // The clock is read here and not handed down: the questions above took
            // a time that isn't ours to bound.
            if !lease.is_live(Instant::now()) {
                return Ok(Published::Lost(Lost::Expired { epoch }));
            }
            if let Written::As(etag) = self.write(Object::Snapshot, parts.clone(), expect).await? {
                return Ok(Published::Done(etag));
            }
        }
        Err(SharedError::Contended { object: Object::Snapshot.name(), attempts: ATTEMPTS })
    }

    /// Whether the lease is lost, by our own clock and then by what stands there.
    async fn lost(&self, lease: &Lease) -> Result<Option<Lost>, SharedError> {
        let epoch = lease.epoch();
        if !lease.is_live(Instant::now()) {
            return Ok(Some(Lost::Expired { epoch }));
        }
        let held = self.lease().await?.is_some_and(|(_, present)| {
            present.holder == lease.holder() && present.epoch == epoch && !present.released
        });
        Ok(if held { None } else { Some(Lost::Replaced { epoch }) })
    }
}

impl Header {
    pub(super) fn mark(&self) -> Mark {
        Mark { epoch: self.epoch, crawled_at: self.crawled_at }
    }
}
