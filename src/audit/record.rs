//! What is remembered of a decision.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Serialize, Serializer};

use crate::domain::{
    ClientId, Decision, DecisionId, EntityRef, ObjectId, Principal, Request, TenantId, Verdict,
};

/// The record of one decision. The names of its members are public API: members
/// are added, and `version` grows when the meaning of one changes.
///
/// It holds no token, no header but the request id, and no query. What the client
/// sent is as it was sent, but cut to a length, with `…` at the end where it was.
#[derive(Clone, Debug, Serialize)]
pub struct AuditRecord {
    /// The version of this form: 1.
    pub version: u32,
    /// When the decision was made: RFC 3339 in UTC, to the millisecond.
    #[serde(serialize_with = "rfc3339")]
    pub time: SystemTime,
    /// Names the decision; the denied client was told it.
    #[serde(serialize_with = "text")]
    pub decision_id: DecisionId,
    /// `x-request-id`, as received.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<Box<str>>,
    /// The trace that the request belongs to, 32 hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<Box<str>>,
    /// Who called the proxied service, by the certificate of that connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Box<str>>,
    /// The method, as received.
    pub method: Box<str>,
    /// The host, as received, but with `*` for a user and a password.
    pub host: Box<str>,
    /// The path, as received, without query and fragment.
    pub path: Box<str>,
    /// The route that matched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<Arc<str>>,
    /// How far the route asks a caller to prove themself: `public`,
    /// `authenticated`, `policy`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gate: Option<&'static str>,
    /// The entity the request is for.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "optional_text")]
    pub entity: Option<EntityRef>,
    /// What is done to it: `read`, `write`, `admin`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<&'static str>,
    /// `allow` or `deny`.
    pub decision: &'static str,
    /// The code of a [`Reason`](crate::domain::Reason), or of what granted it.
    pub reason: &'static str,
    /// The HTTP status of a denial. An allowed request gets its status from the
    /// service behind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The policies that determined it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<Arc<str>>,
    /// What an operator needs to understand a denial.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<Box<str>>,
    /// Who asked. Absent where nobody was proven.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub principal: Option<AuditPrincipal>,
    /// Who owns the entity, where the catalog was asked.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "texts")]
    pub owners: Vec<EntityRef>,
    /// The policy set that decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy_version: Option<Arc<str>>,
    /// The catalog snapshot that decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot_version: Option<Arc<str>>,
    /// How long the decision took, in microseconds.
    pub latency_us: u64,
}

/// Who asked, by the only names that can't be given to somebody else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AuditPrincipal {
    /// `user` or `workload`.
    pub kind: &'static str,
    /// The Entra tenant.
    #[serde(serialize_with = "text")]
    pub tenant: TenantId,
    /// The object id in it.
    #[serde(serialize_with = "text")]
    pub object: ObjectId,
    /// The application that asked for the token.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "optional_text")]
    pub client: Option<ClientId>,
}

impl AuditRecord {
    /// The record of `decision`, made at `time` after `latency`, on `request`.
    #[must_use]
    pub fn of(
        decision: &Decision,
        request: &Request<'_>,
        time: SystemTime,
        latency: Duration,
    ) -> Self {
        let target = decision.target.as_ref();
        let denial = match &decision.verdict {
            Verdict::Allow(_) => None,
            Verdict::Deny(denial) => Some(denial),
        };
        Self {
            version: 1,
            time,
            decision_id: decision.id,
            request_id: request.request_id.as_deref().map(|id| bounded(id, 256)),
            trace_id: request.traceparent.as_deref().and_then(trace_id).map(Box::from),
            source: request.source_principal.map(|source| bounded(source, 512)),
            method: bounded(request.method, 64),
            host: bounded(&without_user(request.host), 512),
            path: bounded(without_query(request.path), 1024),
            route: target.map(|target| Arc::clone(&target.route)),
            gate: target.map(|target| target.gate.as_str()),
            entity: target.and_then(|target| target.resource.clone()),
            action: target.map(|target| target.action.as_str()),
            decision: if decision.is_allow() { "allow" } else { "deny" },
            reason: decision.code(),
            status: denial.map(|denial| denial.reason.status()),
            policies: decision.policies().to_vec(),
            detail: denial
                .and_then(|denial| denial.detail.as_deref())
                .map(|detail| bounded(detail, 1024)),
            principal: AuditPrincipal::of(&decision.principal),
            owners: decision.owners.iter().map(|owner| owner.entity.clone()).collect(),
            policy_version: decision.versions.policy.clone(),
            snapshot_version: decision.versions.snapshot.clone(),
            latency_us: u64::try_from(latency.as_micros()).unwrap_or(u64::MAX),
        }
    }
}

impl AuditPrincipal {
    fn of(principal: &Principal) -> Option<Self> {
        principal.identity().map(|identity| Self {
            kind: identity.kind.as_str(),
            tenant: identity.tenant,
            object: identity.object,
            client: identity.client,
        })
    }
}

/// At most `limit` bytes of `text`, with a mark where something is missing.
fn bounded(text: &str, limit: usize) -> Box<str> {
    const MARK: char = '…';
    if text.len() <= limit {
        return text.into();
    }
    let end = text.floor_char_boundary(limit.saturating_sub(MARK.len_utf8()));
    let mut cut = text.get(..end).unwrap_or_default().to_owned();
    cut.push(MARK);
    cut.into()
}

/// Queries hold what a log must not: codes, tokens, names. A fragment, which no
/// honest client sends, can hold the same.
fn without_query(path: &str) -> &str {
    path.split(['?', '#']).next().unwrap_or_default()
}

/// A host that came as `user:password@host` is refused, and recorded without them.
fn without_user(host: &str) -> Cow<'_, str> {
    match host.rsplit_once('@') {
        Some((_, host)) => Cow::Owned(format!("*@{host}")),
        None => Cow::Borrowed(host),
    }
}

/// The trace id of a `traceparent` (W3C Trace Context, section 3.2.2).
fn trace_id(traceparent: &str) -> Option<&str> {
    let (version, rest) = traceparent.split_once('-')?;
    let (id, _) = rest.split_once('-')?;
    let hex = |text: &str| text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let valid = version.len() == 2 && version != "ff" && hex(version) && id.len() == 32 && hex(id);
    (valid && id.bytes().any(|b| b != b'0')).then_some(id)
}

pub(super) fn rfc3339<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    let time = DateTime::<Utc>::from(*time);
    serializer.serialize_str(&time.to_rfc3339_opts(SecondsFormat::Millis, true))
}

fn text<T: fmt::Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

pub(super) fn optional_text<T: fmt::Display, S: Serializer>(
    value: &Option<T>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(value),
        None => serializer.serialize_none(),
    }
}

fn texts<S: Serializer>(values: &[EntityRef], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(values.iter().map(EntityRef::as_str))
}

#[cfg(test)]
mod tests;
