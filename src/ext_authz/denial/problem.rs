//! A denial for programs: problem details (RFC 9457).

use serde::Serialize;

use super::told::{Asked, Caller, Told};
use super::{Denials, MAX_BYTES, fitting};
use crate::domain::Reason;

/// The media type.
pub(in crate::ext_authz) const MEDIA_TYPE: &str = "application/problem+json";

/// Without a member of its own, a problem's type is `about:blank`, and its title the
/// status's own phrase.
#[derive(Serialize)]
struct Minimal {
    title: &'static str,
    status: u16,
    detail: &'static str,
    reason: &'static str,
}

#[derive(Serialize)]
struct Problem<'a> {
    #[serde(rename = "type")]
    kind: String,
    title: &'a str,
    status: u16,
    detail: String,
    instance: String,
    reason: &'static str,
    decision_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<&'a Asked>,
    #[serde(skip_serializing_if = "Option::is_none")]
    entity: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    entity_url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    owners: Vec<Owner<'a>>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    advice: &'a [String],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    policies: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    caller: Option<Caller>,
}

#[derive(Serialize)]
struct Owner<'a> {
    entity: &'a str,
    title: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    entity_url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    links: Vec<Link<'a>>,
}

#[derive(Serialize)]
struct Link<'a> {
    title: &'a str,
    url: &'a str,
}

/// A denial that no decision stands behind.
pub(in crate::ext_authz) fn minimal(reason: Reason) -> String {
    let status = http::StatusCode::from_u16(reason.status()).ok();
    let title = status.and_then(|status| status.canonical_reason()).unwrap_or("Denied");
    let (status, detail, reason) = (reason.status(), reason.sentence(), reason.code());
    serde_json::to_string(&Minimal { title, status, detail, reason }).unwrap_or_default()
}

/// What a program reads.
pub(super) fn render(denials: &Denials, told: &Told, ask_owners: &str) -> Option<String> {
    fitting(told, |told| {
        let problem = Problem::new(denials, told, ask_owners);
        serde_json::to_string(&problem).ok().filter(|text| text.len() <= MAX_BYTES)
    })
}

impl<'a> Problem<'a> {
    fn new(denials: &Denials, told: &'a Told, ask_owners: &str) -> Self {
        let mut detail = told.sentence.clone();
        if told.asks_owners() {
            let titles: Vec<_> = told.owners.iter().map(|owner| owner.title.as_str()).collect();
            detail.push(' ');
            detail.push_str(&ask_owners.replace("{owners}", &titles.join(", ")));
        }
        let owner = |owner: &'a super::told::ToldOwner| Owner {
            entity: &owner.entity,
            title: &owner.title,
            entity_url: owner.entity_url.as_deref(),
            email: owner.email.as_deref(),
            links: owner
                .links
                .iter()
                .map(|link| Link { title: &link.title, url: &link.url })
                .collect(),
        };
        Self {
            kind: format!("{}{}", denials.problem_type_base, told.reason),
            title: &told.title,
            status: told.status,
            detail,
            instance: format!("urn:uuid:{}", told.decision_id),
            reason: told.reason,
            decision_id: &told.decision_id,
            request: told.request.as_ref(),
            entity: told.entity.as_deref(),
            entity_url: told.entity_url.as_deref(),
            action: told.action.as_deref(),
            owners: told.owners.iter().map(owner).collect(),
            advice: &told.advice,
            policies: &told.policies,
            caller: told.caller.clone().map(|caller| Caller { kind_text: None, ..caller }),
        }
    }
}
