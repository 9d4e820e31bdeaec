//! Where cases are decided: policies, a catalog, and with a configuration its routes.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;

use super::asked::{Asked, What};
use super::caller::{self, Caller};
use super::came::Came;
use super::suite::{Case, CatalogFrom, Ground};
use crate::authorizer::{Authorizer, Rehearsal, Routes};
use crate::catalog::{
    self, Catalog, Membership, Snapshot, SourceSettings, load_entities, load_folder,
};
use crate::cli::policy::fields::Mistakes;
use crate::clock::Now;
use crate::config::Config;
use crate::domain::{Denial, Identity, Notes, TenantId};
use crate::entra::{Authenticator, GroupResolver, Overage, Tenants, suppose};
use crate::policy::{Policies, PolicySet, PolicySettings};

/// What was loaded, so that many files that name the same have it loaded once.
#[derive(Debug)]
pub(super) struct Stages {
    config: Option<Config>,
    policies: HashMap<Vec<PathBuf>, Policies>,
    snapshots: Vec<(Option<CatalogFrom>, Arc<Snapshot>)>,
}

/// Where the cases of a file are decided.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) policies: Arc<PolicySet>,
    snapshot: Arc<Snapshot>,
    membership: Membership,
    tenant: Option<TenantId>,
    /// With a configuration.
    authorizer: Option<Authorizer>,
}

impl Stages {
    pub(super) fn new(config: Option<Config>) -> Self {
        Self { config, policies: HashMap::new(), snapshots: Vec::new() }
    }

    /// Loads what a file names, or else the configuration.
    pub(super) fn of(&mut self, ground: &Ground) -> anyhow::Result<Stage> {
        let policies = self.policies(ground)?;
        let snapshot = self.snapshot(ground.catalog.as_ref())?;
        let config = self.config.as_ref();
        let membership = ground
            .membership
            .or_else(|| config.map(|config| config.membership))
            .unwrap_or(Membership::Either);
        let tenant = ground.tenant.or_else(|| config.and_then(first_tenant));
        let authorizer = config
            .map(|config| authorizer(config, membership, policies.clone(), &snapshot))
            .transpose()?;
        Ok(Stage { policies: policies.current(), snapshot, membership, tenant, authorizer })
    }

    fn policies(&mut self, ground: &Ground) -> anyhow::Result<Policies> {
        let configured = || self.config.as_ref().map(|config| config.policy.clone());
        let settings = if ground.policies.is_empty() {
            configured().unwrap_or_default()
        } else {
            PolicySettings { files: ground.policies.clone(), ..PolicySettings::default() }
        };
        if let Some(known) = self.policies.get(&settings.files) {
            return Ok(known.clone());
        }
        // What a case expects does not depend on luck: every difference is on record.
        let settings = PolicySettings { shadow_sample: 100, ..settings };
        let policies = Policies::fixed(PolicySet::load(&settings)?);
        self.policies.insert(settings.files, policies.clone());
        Ok(policies)
    }

    fn snapshot(&mut self, from: Option<&CatalogFrom>) -> anyhow::Result<Arc<Snapshot>> {
        if let Some((_, known)) = self.snapshots.iter().find(|(known, _)| known.as_ref() == from) {
            return Ok(Arc::clone(known));
        }
        let grant = self.config.as_ref().is_some_and(|config| config.catalog.root_groups_grant);
        let snapshot = match (from, &self.config) {
            (Some(CatalogFrom::Folder(folder)), _) => load_folder(folder, grant)?,
            (Some(CatalogFrom::Snapshot(file)), _) => {
                catalog::read_snapshot(file).with_context(|| format!("`{}`", file.display()))?
            }
            (Some(CatalogFrom::Inline(file, entities)), _) => load_entities(file, entities.clone())
                .with_context(|| format!("the entities of `{}`", file.display()))?,
            (None, Some(config)) => match &config.catalog.source {
                SourceSettings::Folder(folder) => load_folder(folder, grant)?,
                SourceSettings::Backstage(_) => crate::cli::snapshot::fetch_now(config)?,
            },
            (None, None) => anyhow::bail!("no catalog is named"),
        };
        let snapshot = Arc::new(snapshot);
        self.snapshots.push((from.cloned(), Arc::clone(&snapshot)));
        Ok(snapshot)
    }
}

fn first_tenant(config: &Config) -> Option<TenantId> {
    config.entra.tenants.iter().find_map(|tenant| match &tenant.tenants {
        Tenants::One(tenant) => Some(*tenant),
        Tenants::Listed(tenants) => tenants.first().copied(),
        Tenants::Any => None,
    })
}

fn authorizer(
    config: &Config,
    membership: Membership,
    policy: Policies,
    snapshot: &Arc<Snapshot>,
) -> anyhow::Result<Authorizer> {
    let catalog = Catalog::new(config.catalog.clone());
    catalog.publish(Arc::clone(snapshot), Now::read());
    let routes = Routes::new(config.route_table.clone(), config.delegations.clone());
    routes.adopt(snapshot);
    Ok(Authorizer {
        authenticator: Authenticator::new(config.entra.clone())?,
        catalog,
        routes,
        policy,
        membership,
        // Nobody carries lookups out: callers whose groups are elsewhere are denied.
        overage: crate::app::overage(config.overage, GroupResolver::new(&config.entra).as_ref()),
    })
}

impl Stage {
    /// Decides a case. Nothing comes where the case has a mistake, which is said.
    pub(super) async fn play(&self, case: &Case, mistakes: &mut Mistakes) -> Option<Came> {
        let caller = self.caller(&case.caller, case.asked.at, mistakes)?;
        let now = Now::at(case.asked.at);
        Some(match (&case.asked.what, caller) {
            (What::Routed, caller) => self.routed(&case.asked, caller, now).await?,
            (What::Given { .. }, Err(denial)) => Came::denied(&denial, &Notes::default()),
            (What::Given { action, entity, route }, Ok(identity)) => {
                let rehearsal = Rehearsal {
                    snapshot: &self.snapshot,
                    policy: &self.policies,
                    membership: self.membership,
                };
                let request = case.asked.request();
                Came::of_judgement(
                    rehearsal.judge(&identity, *action, entity, &request, route, now),
                )
            }
        })
    }

    async fn routed(
        &self,
        asked: &Asked,
        caller: Result<Arc<Identity>, Denial>,
        now: Now,
    ) -> Option<Came> {
        // A case with a URL is read only where there is a configuration.
        let authorizer = self.authorizer.as_ref()?;
        let decision = authorizer.decide_as(&asked.request(), caller, now).await;
        Some(Came::of_decision(&decision))
    }

    fn caller(
        &self,
        caller: &Caller,
        at: i64,
        mistakes: &mut Mistakes,
    ) -> Option<Result<Arc<Identity>, Denial>> {
        match caller {
            Caller::Nobody => Some(Err(caller::nobody())),
            Caller::Described(who) => {
                who.identity(&self.snapshot, self.tenant, at, mistakes).map(Ok)
            }
            Caller::Claims(claims) => {
                let claims = caller::filled(claims, self.tenant, at);
                let identity = match &self.authorizer {
                    Some(authorizer) => authorizer.authenticator.suppose(&claims),
                    None => suppose(&claims, None, Overage::Deny),
                };
                Some(identity.map(Arc::new))
            }
        }
    }
}
