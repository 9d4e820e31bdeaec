//! How usable the catalog is, as requests and operators see it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::finding::FindingKind;
use super::guard::Held;
use super::snapshot::Snapshot;

/// What can be decided by.
#[derive(Clone, Debug)]
pub enum CatalogState {
    /// No snapshot was ever made.
    Initializing,
    /// Refreshed in time.
    Fresh(Arc<Snapshot>),
    /// The last refreshes failed or were held back; it is used on.
    Stale(Arc<Snapshot>),
    /// Too old to decide by.
    Expired,
}

impl CatalogState {
    /// Whether ownership can be decided by it.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        matches!(self, Self::Fresh(_) | Self::Stale(_))
    }

    /// The codes of all of them.
    pub const CODES: [&'static str; 4] = ["initializing", "fresh", "stale", "expired"];

    /// Its stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Initializing => "initializing",
            Self::Fresh(_) => "fresh",
            Self::Stale(_) => "stale",
            Self::Expired => "expired",
        }
    }
}

impl fmt::Display for CatalogState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// What an operator sees of the catalog.
#[derive(Clone, Debug)]
pub struct CatalogStatus {
    /// How usable it is.
    pub state: CatalogState,
    /// The snapshot's version.
    pub version: Option<Arc<str>>,
    /// Since its crawl began.
    pub age: Option<Duration>,
    /// Entities that can be asked for.
    pub entities: usize,
    /// Groups.
    pub groups: usize,
    /// Users.
    pub users: usize,
    /// What was not believed, by kind.
    pub findings: BTreeMap<FindingKind, usize>,
    /// The snapshot that is held back, if one is.
    pub held: Option<Held>,
    /// Why the last refresh failed, if it did.
    pub last_error: Option<RefreshError>,
    /// Refreshes that went well, and that did not, since the start.
    pub refreshes: u64,
    /// Refreshes that failed, by the error's code.
    pub failures: BTreeMap<&'static str, u64>,
    /// Where snapshots are shared: `publisher` or `follower`.
    pub role: Option<&'static str>,
    /// Until the next regular refresh; nothing while one is under way.
    pub next_refresh: Option<Duration>,
}

/// Why a refresh failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefreshError {
    /// Its stable code.
    pub code: &'static str,
    /// For people.
    pub message: String,
}
