//! What is remembered of a change of the catalog.

use std::sync::Arc;
use std::time::SystemTime;

use serde::Serialize;

use super::record::{AuditRecord, optional_text, rfc3339};
use crate::domain::EntityRef;

/// The record of one thing that happened to the catalog. It has an `event`, which the
/// record of a decision has not.
#[derive(Clone, Debug, Serialize)]
pub struct CatalogRecord {
    /// The version of this form: 1.
    pub version: u32,
    /// When: RFC 3339 in UTC, to the millisecond.
    #[serde(serialize_with = "rfc3339")]
    pub time: SystemTime,
    /// `catalog_adopted`, `catalog_change` or `catalog_held`.
    pub event: &'static str,
    /// Of a change: what it is, such as `owner_added`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub change: Option<&'static str>,
    /// What changed.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "optional_text")]
    pub entity: Option<EntityRef>,
    /// The owner, group, parent, Entra id or claim that the change is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub other: Option<Box<str>>,
    /// What an operator needs to understand it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<Box<str>>,
    /// The snapshot before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot_before: Option<Arc<str>>,
    /// The snapshot from then on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot_version: Option<Arc<str>>,
}

impl CatalogRecord {
    /// A record of this event, with nothing else in it.
    #[must_use]
    pub fn of(event: &'static str, time: SystemTime) -> Self {
        Self {
            version: 1,
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
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Entry {
    Decision(Box<AuditRecord>),
    Catalog(Box<CatalogRecord>),
}
