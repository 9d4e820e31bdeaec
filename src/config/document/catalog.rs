//! `catalog`: who owns what.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::values::Period;

#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Catalog {
    /// A folder of `catalog-info.yaml` files. Either this or `backstage`.
    pub(in crate::config) folder: Option<String>,
    /// A Backstage backend. Either this or `folder`.
    pub(in crate::config) backstage: Option<Backstage>,
    /// A snapshot is made this often; `1s` to `24h`.
    pub(in crate::config) refresh_every: Period,
    /// A snapshot older than this is no longer decided by; from `refresh_every` to
    /// `168h`.
    pub(in crate::config) max_age: Period,
    /// A folder that keeps the last snapshot, so that a restart survives an outage of
    /// Backstage, up to `max_age`.
    pub(in crate::config) store: Option<String>,
    /// Where replicas share snapshots, so that one of them reads Backstage for all. Without
    /// it each reads Backstage by itself.
    pub(in crate::config) shared: Option<Shared>,
    /// How much a new snapshot may lose or reassign before it is held back.
    pub(in crate::config) guard: Guard,
    /// Whether what a group owns is also owned by the groups below it if everything is
    /// below it: the directory's own root, a group of type `organization` or `root`, or one
    /// that at least nine in ten of the other groups are under. Then everybody owns it.
    pub(in crate::config) root_groups_grant: bool,
    /// Which side says who is in a group: the token's group claims, the catalog's
    /// `memberOf`, either of them, or only both together.
    pub(in crate::config) membership: Membership,
}

impl Default for Catalog {
    fn default() -> Self {
        Self {
            folder: None,
            backstage: None,
            refresh_every: Period::seconds(60),
            max_age: Period::hours(24),
            store: None,
            shared: None,
            guard: Guard::default(),
            root_groups_grant: false,
            membership: Membership::Token,
        }
    }
}

#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["url"]))]
pub(in crate::config) struct Shared {
    /// `file:///folder`, `az://container/prefix` or `s3://bucket/prefix`. Credentials come
    /// from the environment (`AZURE_*`, `AWS_*`), workload and managed identities included.
    pub(in crate::config) url: String,
    /// The replica that reads Backstage is replaced when nothing was heard of it for about
    /// this long; `3s` to `10m`.
    pub(in crate::config) lease: Period,
    /// The others look for a new snapshot this often; `1s` to `1h`.
    pub(in crate::config) poll_every: Period,
}

impl Default for Shared {
    fn default() -> Self {
        Self { url: String::new(), lease: Period::seconds(60), poll_every: Period::seconds(10) }
    }
}

#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Guard {
    /// The share of the owned entities, of the groups, of the Entra ids and of the
    /// memberships that may be gone at once, in percent.
    #[schemars(range(min = 0, max = 100))]
    pub(in crate::config) max_loss_percent: u8,
    /// The share of the owned entities whose owners may change at once, in percent.
    #[schemars(range(min = 0, max = 100))]
    pub(in crate::config) max_reassigned_percent: u8,
    /// What is held back is adopted when it has come with so many crawls in a row, unless
    /// an operator confirms it before.
    #[schemars(range(min = 1, max = 10_000))]
    pub(in crate::config) adopt_after: u32,
}

impl Default for Guard {
    fn default() -> Self {
        Self { max_loss_percent: 20, max_reassigned_percent: 20, adopt_after: 10 }
    }
}

#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["url"]))]
pub(in crate::config) struct Backstage {
    /// The backend's base address, below which `api/catalog` is; https, or http on
    /// loopback.
    pub(in crate::config) url: String,
    /// The file that holds the bearer token, read anew for each crawl.
    pub(in crate::config) token_file: Option<String>,
    /// Entities a page.
    #[schemars(range(min = 1, max = 10_000))]
    pub(in crate::config) page_size: u32,
    /// A crawl is given up after this long; `1s` to `1h`.
    pub(in crate::config) crawl_timeout: Period,
    /// Prefixes of `backstage.io/managed-by-location` from which Entra ids are
    /// believed, such as `url:https://github.com/contoso/org/`. The Microsoft Graph
    /// provider's own entities always are; everything else can be written by
    /// whoever may register a file.
    pub(in crate::config) trusted_id_locations: Vec<String>,
    /// The Microsoft Graph providers whose entities are believed, by the ids that they have
    /// in Backstage's `catalog.providers.microsoftGraphOrg`. Empty is any.
    pub(in crate::config) graph_providers: Vec<String>,
}

impl Default for Backstage {
    fn default() -> Self {
        Self {
            url: String::new(),
            token_file: None,
            page_size: 500,
            crawl_timeout: Period::seconds(60),
            trusted_id_locations: Vec::new(),
            graph_providers: Vec::new(),
        }
    }
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum Membership {
    Token,
    Catalog,
    Either,
    Both,
}
