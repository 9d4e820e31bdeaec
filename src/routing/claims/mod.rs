//! Routes that the catalog claims: an entity's own annotations say which requests are for
//! it, as far as the operator has delegated that.
//!
//! # What counts
//!
//! `stagedoor.dev/hosts` names exact hosts, `stagedoor.dev/paths` path patterns without
//! placeholders (all paths, if it is missing), `stagedoor.dev/workloads` SPIFFE ids; lists
//! are separated by commas or blanks. Anybody who may write an entity may write these. So:
//!
//! - **Delegated or nothing.** A host counts only if a delegation covers it and the entity
//!   is one of those that it delegates to; a workload likewise.
//! - **The table wins.** A host that any configured route covers, be it `*`, can't be claimed.
//! - **Two of different owners get neither.** Where two entities claim the same host, both
//!   must be owned by exactly the same owners, and by somebody; otherwise the host is
//!   nobody's. So no team can take a path of another's host. Two that claim the same path of
//!   a host, or the same workload, get neither in any case.
//! - The gate is `policy`, the method says the action, `;` parameters match nothing.
//!
//! What doesn't count is a finding.
//!
//! # Workloads before hosts
//!
//! A sidecar's own certificate is certain; the host is what the client wrote. Where the
//! operator has workload rules or delegates workloads, a request to a destination with a
//! SPIFFE id is routed by that id alone, after the configured table. Otherwise whoever owns
//! any host in the catalog could reach every workload by writing that host.

mod build;
mod delegation;
mod workload;

use std::collections::HashMap;
use std::sync::Arc;

pub use delegation::{DelegationError, DelegationSettings, Delegations, WorkloadSettings};

use super::index::PathIndex;
use super::{RouteTable, no_route, resolve};
use crate::domain::{Denial, EntityRef, Gate, Reason, Request, RequestLine, Target};

/// The name, in records, of what the catalog routes.
pub(super) const NAME: &str = "catalog";

/// What an entity claims, and what is known of it.
#[derive(Clone, Debug)]
pub struct Claim<'a> {
    /// Which entity.
    pub entity: &'a EntityRef,
    /// `stagedoor.dev/hosts`, as written.
    pub hosts: &'a str,
    /// `stagedoor.dev/paths`, as written.
    pub paths: &'a str,
    /// `stagedoor.dev/workloads`, as written.
    pub workloads: &'a str,
    /// Who owns it, sorted.
    pub owners: Vec<&'a EntityRef>,
    /// The systems and domains that it is part of.
    pub wholes: Vec<&'a EntityRef>,
}

/// A claim, or a part of one, that does not count.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClaimFinding {
    /// Whose.
    pub entity: EntityRef,
    /// Why not.
    pub message: String,
}

/// The routes that the catalog claims, prepared for lookups.
#[derive(Clone, Debug, Default)]
pub struct CatalogRoutes {
    hosts: HashMap<Box<str>, PathIndex>,
    workloads: HashMap<Box<str>, EntityRef>,
    findings: Vec<ClaimFinding>,
}

impl CatalogRoutes {
    /// Prepares the claims that count.
    #[must_use]
    pub fn build<'a>(
        delegations: &Delegations,
        table: &RouteTable,
        claims: impl IntoIterator<Item = Claim<'a>>,
    ) -> Self {
        build::build(delegations, table, claims)
    }

    /// What did not count, sorted.
    #[must_use]
    pub fn findings(&self) -> &[ClaimFinding] {
        &self.findings
    }

    /// How many hosts and how many workloads are claimed.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        (self.hosts.len(), self.workloads.len())
    }
}

/// What the catalog has for a request.
#[derive(Clone, Copy, Debug)]
pub enum FromCatalog<'a> {
    /// These routes.
    Routes(&'a CatalogRoutes),
    /// There is no catalog that could be decided by, for this reason.
    Unavailable(Reason),
}

impl RouteTable {
    /// As [`RouteTable::route`]; what the table has nothing for is routed by the
    /// destination's workload and by what the catalog claims.
    ///
    /// # Errors
    /// As [`RouteTable::route`], and the catalog's own reason where it is not there and the
    /// request can be its business.
    pub fn route_with(
        &self,
        request: &Request<'_>,
        line: &RequestLine<'_>,
        delegations: &Delegations,
        catalog: FromCatalog<'_>,
    ) -> Result<Target, Denial> {
        let configured = !request.context_extensions.is_empty() || self.covers(&line.host);
        if configured || delegations.is_empty() {
            return self.route(request, line);
        }
        if let Some(id) = delegations.workload_of(request) {
            let entity = match (delegations.named(id), catalog) {
                (Some(entity), _) => Some(entity?),
                (None, FromCatalog::Routes(routes)) => routes.workloads.get(id).cloned(),
                (None, FromCatalog::Unavailable(reason)) if delegations.covers_workload(id) => {
                    return Err(reason.into());
                }
                (None, FromCatalog::Unavailable(_)) => None,
            };
            let entity = entity.ok_or_else(|| no_route("no entity claims the workload"))?;
            return target(entity, line);
        }
        let routes = match catalog {
            FromCatalog::Routes(routes) => routes,
            FromCatalog::Unavailable(reason) if delegations.covers_host(line.host.as_str()) => {
                return Err(reason.into());
            }
            FromCatalog::Unavailable(_) => return self.route(request, line),
        };
        match routes.hosts.get(line.host.as_str()) {
            Some(paths) => resolve(paths, line),
            None => self.route(request, line),
        }
    }
}

/// What a request to a workload is for. A path with `;` has more than one reading, which
/// policies that look at it must not depend on.
fn target(entity: EntityRef, line: &RequestLine<'_>) -> Result<Target, Denial> {
    if line.path.has_parameters() {
        return Err(no_route("the path has `;` parameters, and the catalog can't allow them"));
    }
    Ok(Target {
        resource: Some(entity),
        action: line.method.action(),
        gate: Gate::Policy,
        route: Arc::from(NAME),
        demands: None,
    })
}

#[cfg(test)]
mod tests;
