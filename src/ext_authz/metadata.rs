//! What Envoy's access log and later filters can read of a decision.

use super::wire::Back;
use crate::domain::Decision;

/// Writes the fields of a `google.protobuf.Struct`.
///
/// They land under `envoy.filters.http.ext_authz`, for denials too:
/// `%DYNAMIC_METADATA(envoy.filters.http.ext_authz:decision_id)%`.
pub(super) fn metadata(out: &mut Back, decision: &Decision, decision_id: &str) {
    let mut id = [0; 36];
    if let Some(snapshot) = &decision.versions.snapshot {
        field(out, "snapshot", snapshot);
    }
    match decision.policies() {
        [] => {}
        [policy] => field(out, "policies", policy),
        policies => field(out, "policies", &policies.join(",")),
    }
    if let Some(target) = &decision.target {
        if let Some(resource) = &target.resource {
            field(out, "entity", resource.as_str());
        }
        field(out, "action", target.action.as_str());
        field(out, "route", &target.route);
    }
    if let Some(identity) = decision.principal.identity() {
        field(out, "subject", identity.object.write(&mut id));
        field(out, "tenant", identity.tenant.write(&mut id));
    }
    field(out, "kind", decision.principal.kind());
    field(out, "reason", decision.code());
    field(out, "decision", if decision.is_allow() { "allow" } else { "deny" });
    field(out, "decision_id", decision_id);
}

/// An entry of `Struct.fields`: a name, and a `Value` that is a text.
fn field(out: &mut Back, name: &str, text: &str) {
    out.message(1, |out| {
        out.message(2, |out| out.text(3, text));
        out.text(1, name);
    });
}
