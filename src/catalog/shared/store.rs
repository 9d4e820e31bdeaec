//! The shared place as its users see it: timed, capped, verified.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::error::SharedError;
use super::frame::{self, Header};
use super::lease::{self, Document};
use super::place::{Ask, ETag, Expect, Object, Place, Read, Written};
use crate::clock::Now;
use crate::tls::Authorities;

/// Content that is hashed where it is; what is larger would hold up a worker thread.
const HASHED_IN_PLACE: usize = 256 * 1024;
/// As far as the clocks of two machines may differ, in seconds.
const CLOCKS_APART: i64 = 300;

/// Bounds of the calls to a shared place.
#[derive(Clone, Copy, Debug)]
pub struct SharedLimits {
    /// For a call that carries a lease or a header, and for silence in a longer one.
    pub small_timeout: Duration,
    /// For a call that carries a snapshot.
    pub bulk_timeout: Duration,
    /// The largest snapshot, with its header.
    pub max_bytes: u64,
}

impl Default for SharedLimits {
    fn default() -> Self {
        Self {
            small_timeout: Duration::from_secs(10),
            bulk_timeout: Duration::from_secs(120),
            max_bytes: 1024 * 1024 * 1024,
        }
    }
}

/// A folder or a bucket where replicas share snapshots. Cheap to clone.
#[derive(Clone, Debug)]
pub struct SharedStore {
    place: Arc<dyn Place>,
    pub(super) limits: SharedLimits,
}

/// How far a snapshot is on: first by its crawl, then by the publisher's epoch. Epochs can
/// begin anew where the shared place was emptied; what the catalog said last can't.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    /// When the catalog was crawled, in seconds since 1970, on the publisher's clock.
    pub crawled_at: i64,
    /// Grows with each change of publisher.
    pub epoch: u64,
}

impl Mark {
    /// Whether a clock that is wrong dated its crawl, by this one.
    pub(super) fn is_ahead(self, now: Now) -> bool {
        self.crawled_at > now.unix.saturating_add(CLOCKS_APART)
    }

    /// Whether it would be a step back from another. One exception: another that is dated
    /// in the future gives way to the same publisher's and any later one's, or a wrong clock
    /// would silence all that come after it, and itself once it is right again.
    pub(super) fn is_behind(self, other: Self, now: Now) -> bool {
        self < other && !(other.is_ahead(now) && other.epoch <= self.epoch)
    }
}

/// A whole, verified snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedSnapshot {
    /// What was given to `publish`.
    pub bytes: Bytes,
    /// To ask for the next one with.
    pub etag: ETag,
    /// How far it is on.
    pub mark: Mark,
}

/// What a poll found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Polled {
    /// The snapshot is still the one that was named.
    Unchanged,
    /// Nothing was published yet.
    Absent,
    /// Another snapshot.
    Snapshot(SharedSnapshot),
}

/// What stands where the snapshot is to be, by its beginning.
#[derive(Debug)]
pub(super) enum Present {
    Nothing,
    Snapshot(ETag, Header),
    /// Something else, or a damaged header. None of a version to come.
    Unreadable(ETag, SharedError),
}

impl SharedStore {
    /// Opens the place that a URL names: `file:///folder`, `az://container/prefix`
    /// (and the other spellings for Azure Blob Storage), `s3://bucket/prefix`.
    ///
    /// Credentials and endpoints come from the environment, as `object_store` reads
    /// it: `AZURE_…` (workload identity, managed identity, keys) and `AWS_…`. Certificates may
    /// be of these authorities beside the system's.
    ///
    /// # Errors
    /// The URL is none of these, the folder isn't there, something is missing in the
    /// environment, or an endpoint is neither https nor on loopback. That credentials
    /// are accepted shows with the first call.
    pub fn open(url: &str, authorities: &Authorities) -> Result<Self, SharedError> {
        Ok(Self::over(super::open::open(url, authorities)?))
    }

    pub(super) fn over(place: Arc<dyn Place>) -> Self {
        Self { place, limits: SharedLimits::default() }
    }

    /// With other bounds than the default.
    #[must_use]
    pub fn with_limits(self, limits: SharedLimits) -> Self {
        Self { limits, ..self }
    }

    /// Asks for the snapshot, unless it is still the one `known`.
    ///
    /// # Errors
    /// The store can't be read in time, or what is there is no whole snapshot of a
    /// known version.
    pub async fn poll(&self, known: Option<&ETag>) -> Result<Polled, SharedError> {
        // The beginning comes soon or not at all. Only who has seen that there is something
        // new waits for as long as a snapshot takes.
        let ask = Ask { unless: known.cloned(), ..self.ask_for_header() };
        match self.read(Object::Snapshot, ask).await? {
            Read::Absent => return Ok(Polled::Absent),
            Read::Unchanged => return Ok(Polled::Unchanged),
            Read::Found { bytes, .. } => {
                Header::decode(&bytes)?;
            }
        }
        let ask = Ask { head: None, limit: self.limits.max_bytes, ..self.ask_for_header() };
        match self.read(Object::Snapshot, ask).await? {
            Read::Absent => Ok(Polled::Absent),
            Read::Unchanged => Err(unasked(Object::Snapshot)),
            Read::Found { etag, bytes } => {
                let (header, bytes) = hashing(bytes.len(), move || frame::decode(&bytes)).await??;
                Ok(Polled::Snapshot(SharedSnapshot { bytes, etag, mark: header.mark() }))
            }
        }
    }

    pub(super) fn is_proved(&self) -> bool {
        self.place.is_proved()
    }

    /// The lease that stands there now.
    pub(super) async fn lease(&self) -> Result<Option<(ETag, Document)>, SharedError> {
        let ask = Ask { head: None, limit: lease::MAX_BYTES, ..self.ask_for_header() };
        match self.read(Object::Lease, ask).await? {
            Read::Absent => Ok(None),
            Read::Unchanged => Err(unasked(Object::Lease)),
            Read::Found { etag, bytes } => Ok(Some((etag, Document::decode(&bytes)?))),
        }
    }

    /// The header of the snapshot that stands there now.
    pub(super) async fn header(&self) -> Result<Present, SharedError> {
        match self.read(Object::Snapshot, self.ask_for_header()).await? {
            Read::Absent => Ok(Present::Nothing),
            Read::Unchanged => Err(unasked(Object::Snapshot)),
            Read::Found { etag, bytes } => match Header::decode(&bytes) {
                Ok(header) => Ok(Present::Snapshot(etag, header)),
                Err(error @ SharedError::Snapshot(_)) => Ok(Present::Unreadable(etag, error)),
                Err(error) => Err(error),
            },
        }
    }

    const fn ask_for_header(&self) -> Ask {
        let head = frame::HEADER as u64;
        Ask { unless: None, head: Some(head), limit: head, patience: self.limits.small_timeout }
    }

    async fn read(&self, object: Object, ask: Ask) -> Result<Read, SharedError> {
        let after = self.deadline(ask.limit);
        tokio::time::timeout(after, self.place.read(object, ask))
            .await
            .unwrap_or(Err(SharedError::Timeout { object: object.name(), after }))
    }

    pub(super) async fn write(
        &self,
        object: Object,
        parts: Vec<Bytes>,
        expect: Expect,
    ) -> Result<Written, SharedError> {
        let size = parts.iter().map(|part| part.len() as u64).sum();
        let after = self.deadline(size);
        tokio::time::timeout(after, self.place.write(object, parts, expect))
            .await
            .unwrap_or(Err(SharedError::Timeout { object: object.name(), after }))
    }

    const fn deadline(&self, bytes: u64) -> Duration {
        if bytes <= lease::MAX_BYTES { self.limits.small_timeout } else { self.limits.bulk_timeout }
    }
}

/// Hashes where it is, or on a thread that may be held up.
pub(super) async fn hashing<T: Send + 'static>(
    bytes: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, SharedError> {
    if bytes <= HASHED_IN_PLACE {
        return Ok(work());
    }
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| SharedError::Snapshot(format!("could not be hashed: {e}")))
}

/// A store that answers "unchanged" to a question without a condition.
fn unasked(object: Object) -> SharedError {
    SharedError::Store {
        object: object.name(),
        cause: "unchanged, though nothing to compare with was sent".to_owned(),
    }
}
