//! `delegations` and `workloads`: what the catalog may say about routes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Delegation {
    /// The hosts that may be claimed: exact, or `*.apps.example.com` for all below. A host
    /// that a configured route covers, be it by `*`, can't be claimed.
    pub(in crate::config) hosts: Vec<String>,
    /// The SPIFFE ids that may be claimed, and what is below each:
    /// `spiffe://cluster.local/ns/shop`.
    pub(in crate::config) workloads: Vec<String>,
    /// To the entities of this namespace. Exactly one of this and the next four is given.
    pub(in crate::config) namespace: Option<String>,
    /// To what is part of this system: `system:default/checkout`.
    pub(in crate::config) system: Option<String>,
    /// To what is part of this domain: `domain:default/shop`.
    pub(in crate::config) domain: Option<String>,
    /// To what this group owns: `group:default/payments`.
    pub(in crate::config) group: Option<String>,
    /// To every entity. Whoever may register one can then claim any of these hosts and
    /// workloads that is free.
    pub(in crate::config) dangerously_any_entity: bool,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["id", "entity"]))]
pub(in crate::config) struct Workload {
    /// The SPIFFE id of the destination, with a placeholder for a whole segment:
    /// `spiffe://cluster.local/ns/{namespace}/sa/{name}`.
    pub(in crate::config) id: String,
    /// The entity, with these placeholders: `component:{namespace}/{name}`.
    pub(in crate::config) entity: String,
}
