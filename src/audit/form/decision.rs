//! The record of a decision.

use std::borrow::Cow;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::value::Instant;

/// One decision. Members without a value are left out; so are masked ones, and these are
/// named in `masked`. It holds no token, no header but the request id, and no query.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename = "DecisionRecord")]
// What the schema says of a decision must not also hold of an event.
#[schemars(extend("not" = { "required": ["event"] }))]
pub struct DecisionForm<'a> {
    /// The version of this form: 1.
    #[schemars(extend("const" = 1))]
    pub version: u32,
    /// When the decision was made.
    pub time: Instant,
    /// Names the decision; the denied client was told it.
    pub decision_id: Cow<'a, str>,
    /// `x-request-id`, as received.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<Cow<'a, str>>,
    /// The trace that the request belongs to, 32 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<Cow<'a, str>>,
    /// Who called the proxied service, by the certificate of that connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Cow<'a, str>>,
    /// The proxied service, by its own certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<Cow<'a, str>>,
    /// The method, as received. Only a masked one is missing, as are host and path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<Cow<'a, str>>,
    /// The host, as received, but with `*` for a user and a password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<Cow<'a, str>>,
    /// The path, as received, without query and fragment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<Cow<'a, str>>,
    /// The route that matched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<Cow<'a, str>>,
    /// How far the route asks a caller to prove themself: `public`, `authenticated`,
    /// `policy`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<Cow<'a, str>>,
    /// The entity the request is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entity: Option<Cow<'a, str>>,
    /// What is done to it: `read`, `write`, `admin`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<Cow<'a, str>>,
    /// The answer.
    pub decision: Outcome,
    /// The code of the reason of a denial, or of what granted it.
    pub reason: Cow<'a, str>,
    /// The HTTP status of a denial. An allowed request gets its status from the service
    /// behind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The policies that determined it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<Cow<'a, str>>,
    /// What an operator needs to understand a denial.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<Cow<'a, str>>,
    /// Who asked. Absent where nobody was proven.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<PrincipalForm<'a>>,
    /// What else the token said of them: what a decision is made again by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facts: Option<FactsForm<'a>>,
    /// Who owns the entity, where the catalog was asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub owners: Vec<Cow<'a, str>>,
    /// What the caller gave as their reason, in their words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub justification: Option<Cow<'a, str>>,
    /// What the caller was told although they may.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<AlertForm<'a>>,
    /// What somebody should look at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alerts: Vec<AlertForm<'a>>,
    /// What policies that are not enforced would have answered, where that differs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shadow: Vec<ShadowForm<'a>>,
    /// What was remembered from an earlier request; absent where nothing was.
    #[serde(default, skip_serializing_if = "CacheForm::is_empty")]
    pub cache: CacheForm,
    /// The policy set that decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_version: Option<Cow<'a, str>>,
    /// The catalog snapshot that decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot_version: Option<Cow<'a, str>>,
    /// The key set that was in force for the issuer of the caller's token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys_version: Option<Cow<'a, str>>,
    /// How long the decision took, in microseconds.
    pub latency_us: u64,
    /// Members that were left out on purpose, although there was something to say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub masked: Vec<Cow<'a, str>>,
}

/// Allow or deny.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Let through.
    Allow,
    /// Not let through.
    Deny,
}

impl Outcome {
    /// `allow` or `deny`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who asked, by the only names that can't be given to somebody else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename = "Principal")]
pub struct PrincipalForm<'a> {
    /// `user`, `workload`, `managed_identity` or `agent`.
    pub kind: Cow<'a, str>,
    /// The Entra tenant.
    pub tenant: Cow<'a, str>,
    /// The object id in it, or its pseudonym: `p1_` and 32 hexadecimal digits.
    pub object: Cow<'a, str>,
    /// The application that asked for the token, or its pseudonym.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<Cow<'a, str>>,
}

/// What a token says beyond who its bearer is. What is not in it was not in the token.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename = "Facts")]
pub struct FactsForm<'a> {
    /// When the token was issued, in seconds since 1970.
    pub token_issued_at: i64,
    /// Whether an application acts for a signed-in user.
    pub delegated: bool,
    /// Whether the user's home is another directory.
    #[serde(default, skip_serializing_if = "is_false")]
    pub guest: bool,
    /// A guest's home directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub home_tenant: Option<Cow<'a, str>>,
    /// How the client application proved itself: `public`, `secret`, `certificate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_auth: Option<Cow<'a, str>>,
    /// The application that an agent belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_parent: Option<Cow<'a, str>>,
    /// App roles.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<Cow<'a, str>>,
    /// Delegated scopes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<Cow<'a, str>>,
    /// Object ids of the Entra groups that the token lists.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<Cow<'a, str>>,
    /// The token lists no groups and points elsewhere: those that were decided by are not
    /// in this record.
    #[serde(default, skip_serializing_if = "is_false")]
    pub groups_elsewhere: bool,
    /// Directory roles.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub directory_roles: Vec<Cow<'a, str>>,
    /// Authentication contexts that the sign-in satisfied.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub auth_contexts: Vec<Cow<'a, str>>,
}

/// What a policy has to say beside its effect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename = "Notice")]
pub struct AlertForm<'a> {
    /// The policy.
    pub policy: Cow<'a, str>,
    /// What it says, in its author's words.
    pub text: Cow<'a, str>,
}

/// What a set of policies that is not enforced would have answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename = "Shadow")]
pub struct ShadowForm<'a> {
    /// Which set: `mode`, the enforced policies with those in shadow mode; `files`, the
    /// policies of the files that are in the shadow.
    pub set: Cow<'a, str>,
    /// Whether it would have let the request pass.
    pub allow: bool,
    /// The code of its answer.
    pub reason: Cow<'a, str>,
    /// The policies that would have determined it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<Cow<'a, str>>,
}

/// What a decision found ready.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename = "Cache")]
pub struct CacheForm {
    /// The token was verified before.
    #[serde(default)]
    pub token: bool,
    /// The policies were asked before.
    #[serde(default)]
    pub decision: bool,
}

impl CacheForm {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
fn is_false(value: &bool) -> bool {
    !value
}
