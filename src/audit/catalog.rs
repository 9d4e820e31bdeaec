//! What is remembered of a change of the catalog.

use std::sync::Arc;
use std::time::SystemTime;

use super::config::ConfigRecord;
use super::form::CatalogWhat;
use super::record::AuditRecord;
use crate::domain::EntityRef;

/// What is kept of one thing that happened to the catalog until it is written.
#[derive(Clone, Debug)]
pub struct CatalogRecord {
    /// When.
    pub time: SystemTime,
    /// What happened.
    pub event: CatalogWhat,
    /// Of a change: what it is, such as `owner_added`.
    pub change: Option<&'static str>,
    /// What changed.
    pub entity: Option<EntityRef>,
    /// The owner, group, parent, Entra id or claim that the change is about.
    pub other: Option<Box<str>>,
    /// What an operator needs to understand it.
    pub detail: Option<Box<str>>,
    /// The snapshot before.
    pub snapshot_before: Option<Arc<str>>,
    /// The snapshot from then on.
    pub snapshot_version: Option<Arc<str>>,
}

impl CatalogRecord {
    /// A record of this event, with nothing else in it.
    #[must_use]
    pub fn of(event: CatalogWhat, time: SystemTime) -> Self {
        Self {
            time,
            event,
            change: None,
            entity: None,
            other: None,
            detail: None,
            snapshot_before: None,
            snapshot_version: None,
        }
    }
}

/// Anything that is recorded.
#[derive(Clone, Debug)]
pub(super) enum Entry {
    Decision(Box<AuditRecord>),
    Catalog(Box<CatalogRecord>),
    Config(Box<ConfigRecord>),
}

impl Entry {
    pub(super) fn is_denial(&self) -> bool {
        matches!(self, Self::Decision(record) if !record.decision.is_allow())
    }
}
