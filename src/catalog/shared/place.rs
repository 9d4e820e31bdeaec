//! What a shared place must be able to do: read, and write on a condition.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::error::SharedError;

/// The objects, and one more to try the store with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Object {
    /// Who publishes.
    Lease,
    /// What was published.
    Snapshot,
    /// Holds nothing of worth.
    Probe,
}

impl Object {
    /// Its name in the folder or under the prefix.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Lease => "lease",
            Self::Snapshot => "snapshot",
            Self::Probe => "probe",
        }
    }
}

/// Names one state of an object. Opaque: only compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ETag(String);

impl ETag {
    pub(super) fn new(tag: impl Into<String>) -> Self {
        Self(tag.into())
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is asked of a read.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    /// Answer `Unchanged` if the object is still this one.
    pub(super) unless: Option<ETag>,
    /// Only the first so many bytes.
    pub(super) head: Option<u64>,
    /// More bytes than this are refused.
    pub(super) limit: u64,
    /// A store that says nothing for so long is given up.
    pub(super) patience: Duration,
}

/// What a read found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// No such object.
    Absent,
    /// Still the one that was named.
    Unchanged,
    /// The bytes, all from one state of the object.
    Found {
        /// That state.
        etag: ETag,
        /// All bytes, or those asked for.
        bytes: Bytes,
    },
}

/// What must hold for a write to happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expect {
    /// There is no such object yet.
    Absent,
    /// The object is this one.
    Is(ETag),
    /// Nothing. Only for what holds nothing of worth.
    Anything,
}

/// What became of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// Done.
    As(ETag),
    /// The condition didn't hold (or no longer does, if it was this very write that
    /// happened and its answer was lost).
    Conflict,
}

/// A folder or a bucket. A narrow trait, so that tests can put faults in between.
///
/// What callers promise: no two writes have the same first [`STAMPED_HEAD`] bytes.
pub(super) trait Place: fmt::Debug + Send + Sync {
    /// Reads an object or its beginning.
    fn read(&self, object: Object, ask: Ask) -> BoxFuture<'_, Result<Read, SharedError>>;

    /// Writes an object, given in parts, as one if the condition holds. An error
    /// leaves open whether it happened, or will.
    fn write(
        &self,
        object: Object,
        parts: Vec<Bytes>,
        expect: Expect,
    ) -> BoxFuture<'_, Result<Written, SharedError>>;

    /// Whether it is known to keep the conditions, or has to prove it.
    fn is_proved(&self) -> bool;
}

/// An object's random stamp stands within its first so many bytes.
pub(super) const STAMPED_HEAD: u64 = 4096;
