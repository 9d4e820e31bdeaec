//! `reload`

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::values::Period;

#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Reload {
    /// Whether a change of this file is taken over by itself. Without, only `SIGHUP` and
    /// `POST /reload` have it read again.
    pub(in crate::config) watch: bool,
    /// How often the file is looked at for changes; `1s` to `1h`.
    pub(in crate::config) every: Period,
}

impl Default for Reload {
    fn default() -> Self {
        Self { watch: true, every: Period::seconds(5) }
    }
}
