//! Whether a principal may: policies in Cedar.
//!
//! The engine is given facts ([`Question`]) and answers with a permit or a
//! denial. It knows neither tokens nor the catalog nor the network.

mod decide;
mod error;
mod model;
mod question;
mod set;
mod settings;
#[cfg(test)]
mod tests;

pub use error::{PolicyError, PolicyErrors};
pub use question::{Question, RequestFacts, ResourceFacts};
pub use set::{PolicySet, PolicySource, SCHEMA};
pub use settings::PolicySettings;
