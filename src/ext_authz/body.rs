//! What a denied person or program reads.

use serde::Serialize;

use crate::domain::{Decision, Denial, Owner, Reason, Verdict};

#[derive(Serialize)]
struct Body<'a> {
    reason: &'static str,
    message: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    advice: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    entity: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    owners: Vec<OwnerBody<'a>>,
    decision_id: String,
}

#[derive(Serialize)]
struct OwnerBody<'a> {
    entity: &'a str,
    title: &'a str,
}

/// The body for HTTP clients. Who owns what is told only to callers who proved
/// who they are.
pub(super) fn json(decision: &Decision, denial: &Denial) -> String {
    let known = decision.principal.identity().is_some();
    let owners: &[Owner] = if known { &decision.owners } else { &[] };
    let entity = decision.target.as_ref().and_then(|target| target.resource.as_ref());
    let body = Body {
        reason: denial.reason.code(),
        message: message(denial, owners),
        advice: denial.advice.iter().map(|text| &**text).collect(),
        entity: entity.filter(|_| known).map(|entity| entity.as_str()),
        owners: owners
            .iter()
            .map(|owner| OwnerBody { entity: owner.entity.as_str(), title: &owner.title })
            .collect(),
        decision_id: decision.id.to_string(),
    };
    serde_json::to_string(&body).unwrap_or_else(|_| minimal(denial.reason))
}

/// The body for gRPC clients: Envoy makes it the `grpc-message`, so it is one
/// short line of plain ASCII.
pub(super) fn plain(decision: &Decision, denial: &Denial) -> String {
    debug_assert!(matches!(decision.verdict, Verdict::Deny(_)));
    format!("{}: {} (decision {})", denial.reason.code(), denial.reason.sentence(), decision.id)
}

/// The body of a denial that no decision stands behind.
pub(super) fn minimal(reason: Reason) -> String {
    // Both texts are our own and hold nothing that JSON would escape; the tests of
    // the replies parse it.
    format!(r#"{{"reason":"{}","message":"{}"}}"#, reason.code(), reason.sentence())
}

fn message(denial: &Denial, owners: &[Owner]) -> String {
    let sentence = denial.reason.sentence();
    let asks_owners = matches!(denial.reason, Reason::NotPermitted | Reason::Forbidden);
    if !asks_owners || owners.is_empty() {
        return sentence.to_owned();
    }
    let titles: Vec<_> = owners.iter().map(|owner| &*owner.title).collect();
    format!("{sentence} It is owned by {}: ask there.", titles.join(", "))
}
