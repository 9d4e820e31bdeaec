//! What the catalog is configured with.

use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use super::guard::GuardSettings;
use crate::tls::Authorities;

/// Everything `catalog` needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogSettings {
    /// Where the entities come from.
    pub source: SourceSettings,
    /// A snapshot is made this often.
    pub refresh_every: Duration,
    /// A snapshot older than this is no longer decided by.
    pub max_age: Duration,
    /// How much may change at once.
    pub guard: GuardSettings,
    /// Whether what a group owns that everything is under is everybody's below it.
    pub root_groups_grant: bool,
    /// The folder that keeps the last snapshot, so that a restart survives an outage.
    pub store: Option<PathBuf>,
    /// Where the replicas share snapshots; nothing where each crawls by itself.
    pub shared: Option<SharedSettings>,
}

impl CatalogSettings {
    /// These settings with what of the others can take effect without a restart.
    pub(super) fn changed_in_place(&self, other: Self) -> Self {
        let source = match (&self.source, other.source) {
            (SourceSettings::Backstage(own), SourceSettings::Backstage(other)) => {
                SourceSettings::Backstage(BackstageSettings { url: own.url.clone(), ..other })
            }
            (own, _) => own.clone(),
        };
        Self { source, store: self.store.clone(), shared: self.shared.clone(), ..other }
    }
}

/// A place where replicas share snapshots: one crawls, the others read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedSettings {
    /// `file:///folder`, `az://container/prefix`, `s3://bucket/prefix`.
    pub url: String,
    /// This replica, for people.
    pub name: String,
    /// After about this long without a sign of it, the one that crawls is replaced.
    pub lease: Duration,
    /// The others look for a new snapshot this often.
    pub poll_every: Duration,
    /// Whom its certificate may be of, beside the system's authorities.
    pub authorities: Authorities,
}

/// Where the entities come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceSettings {
    /// A folder of `catalog-info.yaml` files: every `*.yaml` and `*.yml` below it.
    /// Written by the operator, so its Entra ids are trusted.
    Folder(PathBuf),
    /// A Backstage catalog API.
    Backstage(BackstageSettings),
}

/// A Backstage catalog API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackstageSettings {
    /// The backend's base address, below which `api/catalog` is.
    pub url: Url,
    /// The file that holds the bearer token, read anew for each crawl. Nothing
    /// where the backend asks for none.
    pub token_file: Option<PathBuf>,
    /// Entities a page.
    pub page_size: u32,
    /// A crawl is given up after this long.
    pub crawl_timeout: Duration,
    /// Values of `backstage.io/managed-by-location`, and what is below them, from which an
    /// Entra id, a membership and a parent is believed. The Microsoft Graph provider's own entities are always believed
    /// (`msgraph:<provider>/<the same id>`); everything else can be written by
    /// whoever may register a file.
    pub trusted_id_locations: Vec<String>,
    /// The Microsoft Graph providers that are believed, by their ids in Backstage's
    /// configuration; empty is any.
    pub graph_providers: Vec<String>,
}

/// Which side says who is in a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Membership {
    /// The token's group claims.
    #[default]
    Token,
    /// The catalog's `memberOf`.
    Catalog,
    /// Either.
    Either,
    /// Both must.
    Both,
}
