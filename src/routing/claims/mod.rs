//! Routes from the catalog: which requests the entities themselves say are for them.
//!
//! Whoever writes an entity is not trusted. So an entity's annotations can only take up
//! what the operator [delegated](Delegations); they never widen it.
//!
//! # What a claim grants
//!
//! An entity claims hosts and workloads (identities in Istio's certificates), and
//! paths that narrow both. A request for them is for this entity, by the gate `policy`,
//! with the action of its method. Other gates, and `;` in a path, are the operator's
//! to allow, in the table.
//!
//! - A host or workload counts only if a delegation covers it that is to this entity:
//!   to its namespace, a system or domain it is part of, a group that owns it. All
//!   these its author wrote. A delegation can also ask for the location that the
//!   entity came from, which Backstage itself writes.
//! - **The configured table wins.** A host that any of its patterns matches, whatever
//!   the path, is the table's; with `*` in the table every host is. A workload that a
//!   naming rule names is that rule's.
//! - **A host or workload that two entities claim goes to neither**, whatever the paths:
//!   who claims `/admin` below another's `/` takes a part of the other's requests.
//!   Where a delegation has `allow_shared_hosts`, entities may share a host if all of
//!   them have the very same owners, all come by such a delegation, no two claim the
//!   same path pattern, and none of the claims has a mistake. Else the host goes to
//!   nobody: if only the contested path did, its requests would fall to a wider one.
//!   Only those entitled to the host count in this; others can't contest it.
//! - What can't be read – a pattern, another spelling than the canonical one, too much
//!   of it – voids all that its entity claims. What it claims still counts against
//!   others.
//!
//! # Who decides: the host or the destination
//!
//! `Host` is the client's choice. At a gateway that is no matter, since the gateway
//! routes by the same host. But a sidecar hands every request to its own workload,
//! whatever the host says: if the host decided, anyone in the mesh could send
//! `Host: mine.apps.example.com` to the payments service and be judged by an
//! entity of their own. What the sidecar's certificate says is certain. So:
//!
//! - At a destination with a workload identity (`spiffe://…`), a claimed host means
//!   nothing. The naming rules decide, then claimed workloads, and if there is neither,
//!   nobody gets in. Gateways that have such an identity are listed by the operator.
//! - The table comes first there too, and it goes by hosts. So at a destination that a
//!   naming rule gives an entity, a route of the table counts only if it is for that
//!   very entity, or if it is for any host (`*`), where no choice of a client's leads.
//!   Another is denied, not replaced. This holds without a catalog as well.
//!
//! # Without a catalog
//!
//! What could be the catalog's, but there is none yet or it is too old, is denied with
//! the reason for that (503), not as a request without a route (403).

mod build;
mod delegations;
mod finding;
mod naming;
mod read;
mod route;
mod settings;

use std::collections::HashMap;

pub use delegations::Delegations;
pub use finding::ClaimFinding;
pub use settings::{
    Delegate, DelegationError, DelegationSettings, DelegationsSettings, NamingSettings,
};

use super::RouteTable;
use super::index::PathIndex;
use crate::domain::{EntityRef, Host, Path, Reason, SpiffeId};

/// The name of the route that the catalog is, for records and metrics.
pub(super) const CATALOG: &str = "catalog";

/// What one entity says about itself. The texts are its author's, as they are; an empty
/// one stands for an annotation that isn't there. Items of lists are separated by
/// commas or blanks.
#[derive(Clone, Debug)]
pub struct Claim<'a> {
    /// The entity.
    pub entity: &'a EntityRef,
    /// Its annotation `stagedoor.dev/hosts`.
    pub hosts: &'a str,
    /// Its annotation `stagedoor.dev/paths`.
    pub paths: &'a str,
    /// Its annotation `stagedoor.dev/workloads`.
    pub workloads: &'a str,
    /// The groups and users that own it and exist.
    pub owners: Vec<&'a EntityRef>,
    /// The systems and domains that it is part of.
    pub wholes: Vec<&'a EntityRef>,
    /// Where it came from, `backstage.io/managed-by-location`, as Backstage wrote it.
    /// Empty where that is unknown, and then no delegation counts that asks for it.
    pub location: &'a str,
}

/// What all claims of a catalog grant.
#[derive(Clone, Debug, Default)]
pub struct CatalogRoutes {
    hosts: HashMap<Box<str>, Granted>,
    workloads: HashMap<Box<str>, Granted>,
}

/// The entities of a host or workload, by path; nothing, if it is contested.
#[derive(Clone, Debug)]
struct Granted(Option<PathIndex<EntityRef>>);

/// One path of a host or workload that is an entity's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CatalogRoute<'a> {
    /// The host, or the workload's identity, which begins with `spiffe://`.
    pub place: &'a str,
    /// The path pattern, as it is written.
    pub path: String,
    /// Whose it is.
    pub entity: &'a EntityRef,
}

/// The catalog's part in routing a request.
#[derive(Clone, Copy, Debug)]
pub struct Claims<'a> {
    /// What is delegated.
    pub rules: &'a Delegations,
    /// What the catalog makes of it, or why there is no catalog to ask:
    /// [`Reason::CatalogUnavailable`] or [`Reason::CatalogExpired`].
    pub routes: Result<&'a CatalogRoutes, Reason>,
}

impl CatalogRoutes {
    /// Finds out what is granted, and what isn't, and why. Not for the request's path.
    pub fn build<'a>(
        rules: &Delegations,
        table: &RouteTable,
        claims: impl IntoIterator<Item = Claim<'a>>,
    ) -> (Self, Vec<ClaimFinding>) {
        build::build(rules, table, claims)
    }

    /// The entity that a host and path are for.
    #[must_use]
    pub fn by_host(&self, host: &Host<'_>, path: &Path<'_>) -> Option<&EntityRef> {
        Self::find(&self.hosts, host.as_str(), path)
    }

    /// The entity that a destination, by its principal, and path are for.
    #[must_use]
    pub fn by_workload(&self, principal: &str, path: &Path<'_>) -> Option<&EntityRef> {
        Self::find(&self.workloads, SpiffeId::parse(principal).ok()?.as_str(), path)
    }

    /// Everything that is granted, in no order.
    pub fn iter(&self) -> impl Iterator<Item = CatalogRoute<'_>> {
        self.hosts.iter().chain(&self.workloads).flat_map(|(place, Granted(paths))| {
            paths.iter().flat_map(PathIndex::iter).map(move |(shape, entity)| CatalogRoute {
                place,
                path: shape.to_string(),
                entity,
            })
        })
    }

    fn find<'r>(
        map: &'r HashMap<Box<str>, Granted>,
        key: &str,
        path: &Path<'_>,
    ) -> Option<&'r EntityRef> {
        // Whether a backend drops `;` parameters is not for a catalog's author to say.
        if path.has_parameters() {
            return None;
        }
        map.get(key)?.0.as_ref()?.find(path)
    }
}

#[cfg(test)]
mod tests;
