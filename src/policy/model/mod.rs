//! The entity model: what policies can speak of, and how facts become it.

mod generate;
mod names;
mod slice;
pub mod vocabulary;

pub use generate::{edition, schema, tables};
pub(super) use names::{Names, ResourceType};
pub(super) use slice::{ModelError, context, slice};
