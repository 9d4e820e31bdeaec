//! The parts that decide, put together without a network.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;

use crate::app::overage;
use crate::authorizer::{Authorizer, Routes};
use crate::catalog::{Catalog, SourceSettings, load_folder};
use crate::clock::Now;
use crate::config::Config;
use crate::entra::{Authenticator, GroupResolver};
use crate::policy::Policies;

/// An authenticator whose keys come from a file, or that has none.
pub(super) fn authenticator(
    config: &Config,
    keys: Option<&Path>,
    now: Now,
) -> anyhow::Result<Authenticator> {
    let authenticator = Authenticator::new(config.entra.clone())?;
    if let Some(file) = keys {
        let json = std::fs::read(file).with_context(|| format!("`{}`", file.display()))?;
        authenticator.load_keys(&json, now).with_context(|| format!("`{}`", file.display()))?;
    }
    Ok(authenticator)
}

/// Everything that decides, with a snapshot from a folder: the given one, or the one
/// that the configuration names.
pub(super) fn authorizer(
    config: Config,
    keys: Option<&Path>,
    folder: Option<&Path>,
    now: Now,
) -> anyhow::Result<Authorizer> {
    let authenticator = authenticator(&config, keys, now)?;
    // Without a network nobody carries lookups out: they are unavailable.
    let overage = overage(config.overage, GroupResolver::new(&config.entra).as_ref());
    let policy = super::config::policy(&config)?;
    let folder = match (folder, &config.catalog.source) {
        (Some(folder), _) => Some(folder),
        (None, SourceSettings::Folder(folder)) => Some(folder.as_path()),
        // Without a network there is no catalog: what needs one is denied with 503.
        (None, SourceSettings::Backstage(_)) => None,
    };
    let catalog = Catalog::new(config.catalog.clone());
    let routes = Routes::new(config.route_table, config.delegations);
    if let Some(folder) = folder {
        let snapshot = Arc::new(load_folder(folder, config.catalog.root_groups_grant)?);
        routes.adopt(&snapshot);
        catalog.publish(snapshot, now);
    }
    Ok(Authorizer {
        authenticator,
        catalog,
        routes,
        policy: Policies::fixed(policy),
        membership: config.membership,
        overage,
    })
}
