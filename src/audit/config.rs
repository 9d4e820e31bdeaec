//! What is remembered of a change of the configuration.

use std::sync::Arc;
use std::time::SystemTime;

use super::form::ConfigWhat;

/// What is kept of one reload until it is written.
#[derive(Clone, Debug)]
pub struct ConfigRecord {
    /// When.
    pub time: SystemTime,
    /// What became of it.
    pub event: ConfigWhat,
    /// The version that was in force before, where it was applied.
    pub before: Option<Arc<str>>,
    /// The version that is in force from then on.
    pub version: Option<Arc<str>>,
    /// Why it was refused.
    pub detail: Option<Box<str>>,
}

impl ConfigRecord {
    /// A record of this event, with nothing else in it.
    #[must_use]
    pub fn of(event: ConfigWhat, time: SystemTime) -> Self {
        Self { time, event, before: None, version: None, detail: None }
    }
}
