//! What the policy engine is configured with.

use std::path::PathBuf;
use std::time::Duration;

use crate::bounded::Bounds;

/// Where policies come from, and how they are evaluated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicySettings {
    /// Cedar files, and folders of them. None stands for the built-in policy: owners only.
    pub files: Vec<PathBuf>,
    /// Another set of them, that is evaluated and compared, and never enforced.
    pub shadow: Vec<PathBuf>,
    /// Of a hundred answers of the shadow that differ, how many are on record. All are
    /// counted.
    pub shadow_sample: u8,
    /// How often the files are looked at for changes; never where there is none.
    pub reload_every: Option<Duration>,
    /// How many answers are remembered.
    pub memory: Bounds,
}

impl Default for PolicySettings {
    fn default() -> Self {
        Self {
            files: Vec::new(),
            shadow: Vec::new(),
            shadow_sample: 100,
            reload_every: Some(Duration::from_secs(5)),
            memory: Bounds { max_entries: 100_000, max_bytes: 64 << 20 },
        }
    }
}
