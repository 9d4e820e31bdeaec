//! What in the catalog was not believed.

use std::collections::BTreeMap;
use std::fmt;

use crate::domain::plain;

/// More than this are counted and no longer kept: strangers write the catalog.
const MAX_KEPT: usize = 10_000;

/// Something in the catalog that was not believed, and grants nothing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The entity, as far as it could be read.
    pub entity: String,
    /// What kind of thing.
    pub kind: FindingKind,
    /// What about it.
    pub message: String,
}

/// The kinds of findings. Their codes are used alike in metrics, in JSON and in the docs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FindingKind {
    /// An entity that can't be read; it is left out.
    Unreadable,
    /// A ref that two entities have; both are left out.
    Repeated,
    /// An Entra id, a membership or a parent from a place that is not trusted.
    Untrusted,
    /// An Entra id that two entities claim; neither has it.
    Ambiguous,
    /// An Entra id that is none.
    InvalidId,
    /// An owner, a group or a parent that does not exist or can't be one.
    Dangling,
    /// An entity that is part of too many others; it is left out.
    TooNested,
    /// An entity that came under a known name from elsewhere; what it was before goes on.
    Moved,
    /// A group that everything is under owns something, which grants nothing downwards.
    Root,
    /// A claim of requests that was not delegated, or that is another's too.
    Route,
}

impl FindingKind {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Unreadable,
        Self::Repeated,
        Self::Untrusted,
        Self::Ambiguous,
        Self::InvalidId,
        Self::Dangling,
        Self::TooNested,
        Self::Moved,
        Self::Root,
        Self::Route,
    ];

    /// Its stable code.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::Repeated => "repeated",
            Self::Untrusted => "untrusted",
            Self::Ambiguous => "ambiguous",
            Self::InvalidId => "invalid_id",
            Self::Dangling => "dangling",
            Self::TooNested => "too_nested",
            Self::Moved => "moved",
            Self::Root => "root",
            Self::Route => "route",
        }
    }

    /// The kind of this code.
    #[must_use]
    pub fn of_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }
}

impl fmt::Display for FindingKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// All findings of a snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    kept: Vec<Finding>,
    counts: BTreeMap<FindingKind, usize>,
}

impl Findings {
    pub(super) fn add(
        &mut self,
        kind: FindingKind,
        entity: impl Into<String>,
        message: impl Into<String>,
    ) {
        *self.counts.entry(kind).or_default() += 1;
        if self.kept.len() < MAX_KEPT {
            self.kept.push(Finding { entity: entity.into(), kind, message: message.into() });
        }
    }

    pub(super) fn of_parts(kept: Vec<Finding>, counts: BTreeMap<FindingKind, usize>) -> Self {
        Self { kept, counts }
    }

    pub(super) fn sort(&mut self) {
        self.kept.sort();
        self.kept.shrink_to_fit();
    }

    /// The findings, sorted; the first ten thousand of them.
    #[must_use]
    pub fn kept(&self) -> &[Finding] {
        &self.kept
    }

    /// How many there are of each kind.
    #[must_use]
    pub fn counts(&self) -> &BTreeMap<FindingKind, usize> {
        &self.counts
    }

    /// How many there are.
    #[must_use]
    pub fn total(&self) -> usize {
        self.counts.values().sum()
    }
}

/// Text of the catalog in a message: as much of it as people read.
pub(super) fn shown(text: &str) -> String {
    const LONGEST: usize = 200;
    plain(text, LONGEST)
}
