//! What Envoy's access log and later filters can read of a decision.

use prost_types::{Struct, Value, value::Kind};

use crate::domain::Decision;

/// Lands under `envoy.filters.http.ext_authz`, for denials too:
/// `%DYNAMIC_METADATA(envoy.filters.http.ext_authz:decision_id)%`.
pub(super) fn metadata(decision: &Decision) -> Struct {
    let mut fields = vec![
        ("decision_id", decision.id.to_string()),
        ("decision", if decision.is_allow() { "allow" } else { "deny" }.to_owned()),
        ("reason", decision.code().to_owned()),
        ("kind", decision.principal.kind().to_owned()),
    ];
    if let Some(identity) = decision.principal.identity() {
        fields.push(("tenant", identity.tenant.to_string()));
        fields.push(("subject", identity.object.to_string()));
    }
    if let Some(target) = &decision.target {
        fields.push(("route", target.route.to_string()));
        fields.push(("action", target.action.to_string()));
        if let Some(resource) = &target.resource {
            fields.push(("entity", resource.to_string()));
        }
    }
    if !decision.policies().is_empty() {
        fields.push(("policies", decision.policies().join(",")));
    }
    if let Some(snapshot) = &decision.versions.snapshot {
        fields.push(("snapshot", snapshot.to_string()));
    }
    Struct {
        fields: fields
            .into_iter()
            .map(|(name, text)| (name.to_owned(), Value { kind: Some(Kind::StringValue(text)) }))
            .collect(),
    }
}
