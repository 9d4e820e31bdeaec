//! What is recorded beside decisions.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::value::Instant;

/// Something that happened to the catalog.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename = "CatalogRecord")]
pub struct CatalogForm<'a> {
    /// The version of this form: 1.
    #[schemars(extend("const" = 1))]
    pub version: u32,
    /// When.
    pub time: Instant,
    /// What happened.
    pub event: CatalogWhat,
    /// Of a change: what it is, such as `owner_added`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<Cow<'a, str>>,
    /// What changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entity: Option<Cow<'a, str>>,
    /// The owner, group, parent, Entra id or claim that the change is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other: Option<Cow<'a, str>>,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<Cow<'a, str>>,
    /// The snapshot before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot_before: Option<Cow<'a, str>>,
    /// The snapshot from then on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot_version: Option<Cow<'a, str>>,
    /// Members that were left out on purpose, although there was something to say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub masked: Vec<Cow<'a, str>>,
}

/// What can happen to the catalog.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CatalogWhat {
    /// Another snapshot is decided by.
    CatalogAdopted,
    /// One difference to the one before.
    CatalogChange,
    /// A snapshot, or a part of one, waits.
    CatalogHeld,
}

/// The configuration was read again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename = "ConfigRecord")]
pub struct ConfigForm<'a> {
    /// The version of this form: 1.
    #[schemars(extend("const" = 1))]
    pub version: u32,
    /// When.
    pub time: Instant,
    /// What became of it.
    pub event: ConfigWhat,
    /// For people: every mistake, and every setting that needs a restart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<Cow<'a, str>>,
    /// The configuration that was in force before, where it was applied: a hash of the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_before: Option<Cow<'a, str>>,
    /// The configuration that is in force from then on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_version: Option<Cow<'a, str>>,
}

/// What can become of a configuration that is read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConfigWhat {
    /// It is in force.
    ConfigApplied,
    /// It is not, and the one before stays.
    ConfigRefused,
}

impl ConfigWhat {
    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ConfigApplied => "config_applied",
            Self::ConfigRefused => "config_refused",
        }
    }
}

/// Records are missing from the stream before this one: they were lost to a full queue, or
/// to a place that did not take them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename = "GapRecord")]
pub struct GapForm {
    /// The version of this form: 1.
    #[schemars(extend("const" = 1))]
    pub version: u32,
    /// When it was noticed.
    pub time: Instant,
    /// `audit_gap`.
    pub event: GapWhat,
    /// How many records.
    pub lost: u64,
    /// When the first of them was lost.
    pub since: Instant,
}

/// The one name of a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GapWhat {
    /// Records are missing.
    AuditGap,
}
