//! What the routes table is configured with.

use crate::domain::{Action, Demands, Gate};

/// One route, as written in the configuration.
#[derive(Clone, Debug)]
pub struct RouteSettings {
    /// Its name, for audit, metrics and messages; unique.
    pub name: String,
    /// Host patterns: exact (`payments.example.com`), suffix wildcard
    /// (`*.example.com`: one or more labels), or with one-label placeholders
    /// (`{component}.apps.example.com`). `*` is any host.
    pub hosts: Vec<String>,
    /// Path patterns: prefixes that end at a segment (`/v1/orders`), with
    /// one-segment placeholders (`/svc/{component}`); a final `$` demands that the path ends there.
    /// Empty is the same as `/`.
    pub paths: Vec<String>,
    /// Methods as on the request line; empty is any.
    pub methods: Vec<String>,
    /// Who may pass.
    pub gate: Gate,
    /// The entity, with the placeholders of hosts and paths:
    /// `component:default/{component}`. Required by the gate `policy`.
    pub entity: Option<String>,
    /// The action; nothing derives it from the method.
    pub action: Option<Action>,
    /// Whether `;` parameters in a segment are taken as part of the segment.
    /// Otherwise a path with a `;` matches nothing here.
    pub allow_path_parameters: bool,
    /// What the route asks of its callers beyond its gate.
    pub demands: Demands,
}
