//! A follower: reads what is published and never goes back.

use super::error::SharedError;
use super::place::ETag;
use super::store::{Mark, Polled, SharedSnapshot, SharedStore};
use crate::clock::Now;

/// Polls the shared place, and remembers how far it got.
#[derive(Debug)]
pub struct Reader {
    store: SharedStore,
    held: Option<Mark>,
    known: Option<ETag>,
    /// Whether there ever was one.
    found: bool,
}

/// What a reader found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Nothing new.
    Unchanged,
    /// Nothing was published yet, as far as this reader knows.
    Absent,
    /// What was published is gone: the place was emptied, or is not mounted any more.
    Gone,
    /// A snapshot, no older than any this reader has seen.
    New(SharedSnapshot),
    /// The store went back: what is there is older than what this reader holds. Said
    /// once; a warning is in place, for nobody who publishes does so.
    Older {
        /// How far the snapshot that is there is.
        found: Mark,
        /// How far this reader is.
        held: Mark,
    },
    /// What is there is dated so far in the future that a clock is wrong. It would never
    /// grow old, and nothing would ever be newer. Said once.
    Ahead(Mark),
}

impl Reader {
    /// A reader that holds a snapshot of `held` already (from its own disk), or none.
    #[must_use]
    pub const fn new(store: SharedStore, held: Option<Mark>) -> Self {
        Self { store, held, known: None, found: false }
    }

    /// How far this reader is.
    #[must_use]
    pub const fn held(&self) -> Option<Mark> {
        self.held
    }

    /// A snapshot this replica published itself needs no reading, and none that is
    /// older is taken from now on.
    pub fn holds(&mut self, etag: ETag, mark: Mark) {
        self.known = Some(etag);
        self.found = true;
        self.held = self.held.max(Some(mark));
    }

    /// Asks what is new.
    ///
    /// # Errors
    /// As [`SharedStore::poll`]; the reader then holds what it held.
    pub async fn poll(&mut self, now: Now) -> Result<Seen, SharedError> {
        match self.store.poll(self.known.as_ref()).await? {
            Polled::Unchanged => Ok(Seen::Unchanged),
            Polled::Absent => {
                self.known = None;
                Ok(if self.found { Seen::Gone } else { Seen::Absent })
            }
            Polled::Snapshot(snapshot) => {
                let mark = snapshot.mark;
                self.found = true;
                self.known = Some(snapshot.etag.clone());
                if mark.is_ahead(now) {
                    return Ok(Seen::Ahead(mark));
                }
                match self.held {
                    Some(held) if mark.is_behind(held, now) => {
                        Ok(Seen::Older { found: mark, held })
                    }
                    _ => {
                        self.held = Some(mark);
                        Ok(Seen::New(snapshot))
                    }
                }
            }
        }
    }
}
