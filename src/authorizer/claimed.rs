//! What the catalog claims to be routed by, kept in step with the snapshot.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::catalog::{CatalogState, Snapshot};
use crate::domain::{Denial, Reason, Request, RequestLine, Target};
use crate::routing::{CatalogRoutes, Claim, ClaimFinding, Claims, Delegations, RouteTable};

/// The configured routes, and those that the catalog claims. Cheap to clone; every clone
/// sees the same.
#[derive(Clone, Debug)]
pub struct Routes {
    table: Arc<RouteTable>,
    delegations: Arc<Delegations>,
    claimed: Arc<ArcSwap<Claimed>>,
}

/// What the catalog claims, and what of it does not count.
#[derive(Debug, Default)]
pub struct Claimed {
    /// The routes.
    pub routes: CatalogRoutes,
    /// What does not count.
    pub findings: Vec<ClaimFinding>,
    /// The snapshot that they are from: what is routed by one is decided by it.
    snapshot: Option<Arc<Snapshot>>,
}

impl Routes {
    /// The configured routes, and what the catalog may add to them.
    #[must_use]
    pub fn new(table: RouteTable, delegations: Delegations) -> Self {
        let (table, delegations) = (Arc::new(table), Arc::new(delegations));
        Self { table, delegations, claimed: Arc::default() }
    }

    /// Takes over what a snapshot claims. Off the request's path, right before requests see
    /// the snapshot.
    pub fn adopt(&self, snapshot: &Arc<Snapshot>) {
        if self.delegations.is_empty() {
            return;
        }
        let claims = snapshot.claims().map(|(entity, claim)| Claim {
            entity: entity.entity(),
            hosts: &claim.hosts,
            paths: &claim.paths,
            workloads: &claim.workloads,
            owners: entity.owners().collect(),
            wholes: entity.wholes().collect(),
            location: &claim.location,
        });
        let (routes, findings) = CatalogRoutes::build(&self.delegations, &self.table, claims);
        let claimed = Arc::new(Claimed { routes, findings, snapshot: Some(Arc::clone(snapshot)) });
        let before = self.claimed.swap(Arc::clone(&claimed));
        if before.findings != claimed.findings {
            for finding in claimed.findings.iter().take(MAX_SAID) {
                tracing::warn!(entity = %finding.entity, what = %finding.message, "a claim does not count");
            }
        }
    }

    /// The routes that the catalog claims.
    #[must_use]
    pub fn claimed(&self) -> Arc<Claimed> {
        self.claimed.load_full()
    }

    /// Whether the catalog's state makes a difference to a request's route.
    pub(super) fn depend_on_catalog(&self) -> bool {
        !self.delegations.is_empty()
    }

    pub(super) fn route(
        &self,
        request: &Request<'_>,
        line: &RequestLine<'_>,
        state: &CatalogState,
    ) -> Result<(Target, Option<Arc<Snapshot>>), Denial> {
        let claimed = self.claimed.load();
        let routes = match state {
            CatalogState::Fresh(_) | CatalogState::Stale(_) => Ok(&claimed.routes),
            CatalogState::Initializing => Err(Reason::CatalogUnavailable),
            CatalogState::Expired => Err(Reason::CatalogExpired),
        };
        let rules = Claims { rules: &self.delegations, routes };
        let target = self.table.route_with(request, line, &rules)?;
        Ok((target, claimed.snapshot.clone()))
    }

    pub(super) fn table(&self) -> &RouteTable {
        &self.table
    }
}

/// More are in the status.
const MAX_SAID: usize = 20;
