//! `catalog_routes`, as it is written.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct CatalogRoutes {
    /// The hosts and workloads that entities may claim by their own annotations
    /// (`stagedoor.dev/hosts`, `stagedoor.dev/workloads`, both narrowed by
    /// `stagedoor.dev/paths`), and which entities. Nothing else can be claimed.
    pub(in crate::config) delegations: Vec<Delegation>,
    /// The entities of workloads, by their identities in Istio's certificates; no
    /// annotation is needed, and none counts beside it.
    pub(in crate::config) workloads: Vec<Workload>,
    /// The workload identities of gateways: there claimed hosts decide, as they do where
    /// the destination has no such identity. Everywhere else it is the destination.
    pub(in crate::config) gateways: Vec<String>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Delegation {
    /// The hosts: exact, or all names below one, `*.apps.example.com`.
    pub(in crate::config) hosts: Vec<String>,
    /// Prefixes of workload identities, ending at a segment:
    /// `spiffe://cluster.local/ns/payments`.
    pub(in crate::config) workloads: Vec<String>,
    /// To the entities in this namespace. Exactly one of this and the next four.
    pub(in crate::config) namespace: Option<String>,
    /// To this system and what is part of it: `system:default/payments`.
    pub(in crate::config) system: Option<String>,
    /// To this domain and what is part of it: `domain:default/finance`.
    pub(in crate::config) domain: Option<String>,
    /// To the entities that this group itself owns: `group:default/payments-team`.
    pub(in crate::config) group: Option<String>,
    /// To any entity: whoever may register one can claim what nobody else does.
    pub(in crate::config) dangerously_to_any_entity: bool,
    /// Only to entities whose `backstage.io/managed-by-location` begins with one of these,
    /// such as `url:https://github.com/contoso/payments/`. Without, namespace, system and
    /// owner are taken as the entity's author wrote them.
    pub(in crate::config) locations: Vec<String>,
    /// Whether entities with the very same owners may share a host, each with paths of
    /// its own. Otherwise a host that two entities claim goes to neither.
    pub(in crate::config) allow_shared_hosts: bool,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["id", "entity"]))]
pub(in crate::config) struct Workload {
    /// The identity, with placeholders for whole segments:
    /// `spiffe://cluster.local/ns/{namespace}/sa/{name}`.
    pub(in crate::config) id: String,
    /// The entity, with these placeholders: `component:{namespace}/{name}`.
    pub(in crate::config) entity: String,
}
