//! What the operator gives away to the catalog's authors, and to whom.

use crate::domain::EntityRef;

/// Everything the catalog may say about routes. Nothing, by default.
#[derive(Clone, Debug, Default)]
pub struct DelegationsSettings {
    /// What entities may claim by annotations.
    pub delegations: Vec<DelegationSettings>,
    /// How workloads are named after entities.
    pub workloads: Vec<NamingSettings>,
    /// Workload identities of gateways: there the host decides.
    pub gateways: Vec<String>,
}

/// Hosts and workloads that some entities may claim.
#[derive(Clone, Debug)]
pub struct DelegationSettings {
    /// Exact (`pay.example.com`), or all names below one (`*.apps.example.com`).
    pub hosts: Vec<String>,
    /// Prefixes of SPIFFE ids that end at a segment: `spiffe://cluster.local/ns/payments`.
    pub workloads: Vec<String>,
    /// Which entities.
    pub to: Delegate,
    /// Prefixes of the locations from which an entity must come; empty is any.
    pub locations: Vec<String>,
    /// Whether entities with the very same owners may share a host, by paths.
    pub allow_shared_hosts: bool,
}

/// Which entities something is delegated to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delegate {
    /// Those in this namespace, in lower case.
    Namespace(String),
    /// This system or domain, and what is part of it.
    Whole(EntityRef),
    /// Those that this group itself owns.
    Group(EntityRef),
    /// All: a relaxation.
    AnyEntity,
}

/// Which entity a workload is, by its identity.
#[derive(Clone, Debug)]
pub struct NamingSettings {
    /// A SPIFFE id with a placeholder for some whole segments:
    /// `spiffe://cluster.local/ns/{namespace}/sa/{name}`.
    pub id: String,
    /// The entity, with these placeholders: `component:{namespace}/{name}`.
    pub entity: String,
}

/// A mistake in these settings.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct DelegationError {
    /// Where: `delegations[0].hosts[1]`, `workloads[0].entity`, …
    pub field: String,
    /// What is wrong, and what is expected.
    pub message: String,
}
