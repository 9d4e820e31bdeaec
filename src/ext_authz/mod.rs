//! stub

pub mod proto;
mod settings;

pub use settings::*;
