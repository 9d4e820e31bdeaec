//! A record as it is written and read: the names of its members are public API.
//!
//! One set of types serves all three: what the writer writes, what `stagedoor audit`
//! reads, and the JSON Schema in `docs/audit.schema.json`. Within version 1 members are
//! only added.

mod decision;
mod event;
mod schema;
mod value;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use decision::{
    AlertForm, CacheForm, DecisionForm, FactsForm, Outcome, PrincipalForm, ShadowForm,
};
pub use event::{CatalogForm, CatalogWhat, ConfigForm, ConfigWhat, GapForm, GapWhat};
pub use schema::schema;
pub use value::Instant;

/// The version of the form.
pub const VERSION: u32 = 1;

/// One record: one line of the audit stream. An event has an `event`; a decision has none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum RecordForm<'a> {
    /// Something happened to the catalog.
    Catalog(Box<CatalogForm<'a>>),
    /// The configuration was read again.
    Config(Box<ConfigForm<'a>>),
    /// Records are missing here.
    Gap(GapForm),
    /// A request was decided.
    Decision(Box<DecisionForm<'a>>),
}

impl RecordForm<'_> {
    /// When it happened.
    #[must_use]
    pub fn time(&self) -> Instant {
        match self {
            Self::Decision(decision) => decision.time,
            Self::Catalog(catalog) => catalog.time,
            Self::Config(config) => config.time,
            Self::Gap(gap) => gap.time,
        }
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(super) use tests::follows_schema;
