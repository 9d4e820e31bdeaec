//! What Envoy's access log and later filters can read of a decision.

use super::wire::Back;
use crate::domain::Decision;

/// A field of the metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum MetadataField {
    /// The decision's id.
    DecisionId = 1,
    /// `allow` or `deny`.
    Decision = 1 << 1,
    /// The reason's code.
    Reason = 1 << 2,
    /// The caller's kind.
    Kind = 1 << 3,
    /// The caller's tenant: `tid`.
    Tenant = 1 << 4,
    /// The caller: `oid`.
    Subject = 1 << 5,
    /// The route.
    Route = 1 << 6,
    /// The action.
    Action = 1 << 7,
    /// The entity that the request was for.
    Entity = 1 << 8,
    /// The policies that determined it.
    Policies = 1 << 9,
    /// The version of the snapshot that it was decided by.
    Snapshot = 1 << 10,
}

/// Fields of the metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetadataFields(u16);

impl MetadataFields {
    /// All of them.
    pub const ALL: Self = Self((1 << 11) - 1);

    fn has(self, field: MetadataField) -> bool {
        self.0 & field as u16 != 0
    }

    fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl FromIterator<MetadataField> for MetadataFields {
    fn from_iter<T: IntoIterator<Item = MetadataField>>(fields: T) -> Self {
        Self(fields.into_iter().fold(0, |all, field| all | field as u16))
    }
}

/// Writes the field `at` of the answer: a `google.protobuf.Struct` with these fields.
///
/// They land under `envoy.filters.http.ext_authz`, for denials too:
/// `%DYNAMIC_METADATA(envoy.filters.http.ext_authz:decision_id)%`.
pub(super) fn metadata(
    out: &mut Back,
    at: u32,
    fields: MetadataFields,
    decision: &Decision,
    decision_id: &str,
) {
    if fields.is_empty() {
        return;
    }
    out.message(at, |out| write(out, fields, decision, decision_id));
}

fn write(out: &mut Back, fields: MetadataFields, decision: &Decision, decision_id: &str) {
    use MetadataField as Field;
    let mut id = [0; 36];
    if fields.has(Field::Snapshot)
        && let Some(snapshot) = &decision.versions.snapshot
    {
        field(out, "snapshot", snapshot);
    }
    if fields.has(Field::Policies) {
        match decision.policies() {
            [] => {}
            [policy] => field(out, "policies", policy),
            policies => field(out, "policies", &policies.join(",")),
        }
    }
    if let Some(target) = &decision.target {
        if fields.has(Field::Entity)
            && let Some(resource) = &target.resource
        {
            field(out, "entity", resource.as_str());
        }
        if fields.has(Field::Action) {
            field(out, "action", target.action.as_str());
        }
        if fields.has(Field::Route) {
            field(out, "route", &target.route);
        }
    }
    if let Some(identity) = decision.principal.identity() {
        if fields.has(Field::Subject) {
            field(out, "subject", identity.object.write(&mut id));
        }
        if fields.has(Field::Tenant) {
            field(out, "tenant", identity.tenant.write(&mut id));
        }
    }
    if fields.has(Field::Kind) {
        field(out, "kind", decision.principal.kind());
    }
    if fields.has(Field::Reason) {
        field(out, "reason", decision.code());
    }
    if fields.has(Field::Decision) {
        field(out, "decision", if decision.is_allow() { "allow" } else { "deny" });
    }
    if fields.has(Field::DecisionId) {
        field(out, "decision_id", decision_id);
    }
}

/// An entry of `Struct.fields`: a name, and a `Value` that is a text.
fn field(out: &mut Back, name: &str, text: &str) {
    out.message(1, |out| {
        out.message(2, |out| out.text(3, text));
        out.text(1, name);
    });
}
