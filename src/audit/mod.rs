//! The audit record: one JSON line per decision, written off the request's path.

mod settings;

pub use settings::*;
