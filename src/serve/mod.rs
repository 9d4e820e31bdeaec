//! stub

mod settings;

pub use settings::*;
