//! `policy`: who may do what.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::values::{ByteSize, Period};

#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Policy {
    /// Cedar files, and folders of files that end in `.cedar`. None stands for the built-in
    /// policy: owners only.
    pub(in crate::config) files: Vec<String>,
    /// Another set of policies, evaluated and compared, never enforced.
    pub(in crate::config) shadow: Shadow,
    /// How often the files are looked at for changes; `1s` to `1h`. SIGHUP has them read at
    /// once.
    pub(in crate::config) reload_every: Period,
    /// Answers that are remembered.
    pub(in crate::config) cache: Cache,
    /// The request header in which a caller gives a reason, which policies read as
    /// `context.justification`.
    pub(in crate::config) justification_header: String,
    /// Who may ask why.
    pub(in crate::config) debug: Debug,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            files: Vec::new(),
            shadow: Shadow::default(),
            reload_every: Period::seconds(5),
            cache: Cache::default(),
            justification_header: "x-stagedoor-justification".to_owned(),
            debug: Debug::default(),
        }
    }
}

#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Shadow {
    /// Cedar files, and folders of them. None is no such set.
    pub(in crate::config) files: Vec<String>,
    /// Of a hundred answers that differ, how many are on record. All are counted.
    #[schemars(range(min = 0, max = 100))]
    pub(in crate::config) sample_percent: u8,
}

impl Default for Shadow {
    fn default() -> Self {
        Self { files: Vec::new(), sample_percent: 100 }
    }
}

#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Cache {
    /// At most this many answers; 0 remembers none.
    #[schemars(range(min = 0, max = 100_000_000))]
    pub(in crate::config) max_entries: u32,
    /// At most this many bytes, as far as they can be counted.
    pub(in crate::config) max_bytes: ByteSize,
}

impl Default for Cache {
    fn default() -> Self {
        Self { max_entries: 100_000, max_bytes: ByteSize::mib(64) }
    }
}

#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Debug {
    /// Backstage groups whose members get the explanation of a decision with the answer,
    /// where the request has `x-stagedoor-debug: 1`. None is nobody.
    pub(in crate::config) groups: Vec<String>,
}
