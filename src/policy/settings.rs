//! What the policy engine is configured with.

use std::path::PathBuf;

/// Where policies come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicySettings {
    /// Cedar files. None stands for the built-in policy: owners only.
    pub files: Vec<PathBuf>,
}
