//! Whether a principal may: policies in Cedar.
//!
//! The engine is given facts ([`Question`]) and answers with a permit or a denial. It knows
//! neither tokens nor the catalog nor the network. Files become a [`PolicySet`]
//! ([`source`] to [`parse`] to [`set`]); a set decides by an [`engine`], which finds the
//! policies that can apply ([`index`]), builds what they can see ([`model`], [`reads`]), asks
//! Cedar, and remembers ([`memory`]).

mod attributes;
mod decide;
mod engine;
mod error;
mod explain;
mod index;
mod lint;
mod live;
mod memory;
pub mod model;
mod parse;
mod question;
mod reads;
mod rule;
mod set;
mod settings;
mod source;
mod stats;
#[cfg(test)]
mod tests;

pub use decide::Judgement;
pub use error::{PolicyError, PolicyErrors};
pub use explain::{Applies, Hint, Lack, PolicyTrace, PolicyTraces};
pub use lint::{Finding, Kind, Known, Severity, Surroundings, lint};
pub use live::{Policies, PolicyStatus};
pub use memory::MemoryStats;
pub use question::{Facts, Question, RequestFacts, ResourceFacts};
pub use rule::{Demand, Mode, PolicyInfo};
pub use set::PolicySet;
pub use settings::PolicySettings;
pub use source::{PolicySource, read};
pub use stats::{Difference, PolicyStats};
