//! A denial for programs: problem details (RFC 9457).

use std::borrow::Cow;
use std::fmt;

use serde::{Serialize, Serializer};

use super::told::{Asked, Told, ToldLink, ToldOwner};
use super::{Denials, MAX_BYTES, fitting};
use crate::domain::Reason;

/// Room for most problems.
const USUAL_BYTES: usize = 1024;

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
    kind: Joined<'a>,
    title: &'a str,
    status: u16,
    #[serde(serialize_with = "as_text")]
    detail: Detail<'a>,
    instance: Joined<'a>,
    reason: &'static str,
    decision_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<&'a Asked<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    entity: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    entity_url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty", serialize_with = "owners")]
    owners: &'a [ToldOwner<'a>],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    advice: &'a [Cow<'a, str>],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    policies: &'a [Cow<'a, str>],
    #[serde(skip_serializing_if = "Option::is_none")]
    caller: Option<Caller<'a>>,
}

#[derive(Serialize)]
struct Owner<'a> {
    entity: &'a str,
    title: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    entity_url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    links: &'a [ToldLink<'a>],
}

#[derive(Serialize)]
struct Caller<'a> {
    kind: &'static str,
    object_id: &'a str,
    tenant_id: &'a str,
}

/// Two texts as one.
struct Joined<'a>(&'a str, &'a str);

/// What happened, and whom to ask.
struct Detail<'a> {
    told: &'a Told<'a>,
    ask_owners: &'a str,
}

impl Serialize for Joined<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}{}", self.0, self.1))
    }
}

impl fmt::Display for Detail<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.told.sentence)?;
        if !self.told.asks_owners() {
            return Ok(());
        }
        f.write_str(" ")?;
        let mut rest = self.ask_owners;
        while let Some((before, after)) = rest.split_once("{owners}") {
            f.write_str(before)?;
            for (at, owner) in self.told.owners.iter().enumerate() {
                f.write_str(if at == 0 { "" } else { ", " })?;
                f.write_str(&owner.title)?;
            }
            rest = after;
        }
        f.write_str(rest)
    }
}

fn as_text<S: Serializer>(text: &Detail<'_>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(text)
}

fn owners<S: Serializer>(owners: &[ToldOwner<'_>], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(owners.iter().map(|owner| Owner {
        entity: &owner.entity,
        title: &owner.title,
        entity_url: owner.entity_url.as_deref(),
        email: owner.email.as_deref(),
        links: &owner.links,
    }))
}

/// A denial that no decision stands behind.
pub(in crate::ext_authz) fn minimal(reason: Reason) -> String {
    let status = http::StatusCode::from_u16(reason.status()).ok();
    let title = status.and_then(|status| status.canonical_reason()).unwrap_or("Denied");
    let (status, detail, reason) = (reason.status(), reason.sentence(), reason.code());
    serde_json::to_string(&Minimal { title, status, detail, reason }).unwrap_or_default()
}

/// What a program reads.
pub(super) fn render(denials: &Denials, told: &Told<'_>, ask_owners: &str) -> Option<String> {
    fitting(told, |told| {
        let mut text = Vec::with_capacity(USUAL_BYTES);
        serde_json::to_writer(&mut text, &Problem::new(denials, told, ask_owners)).ok()?;
        String::from_utf8(text).ok().filter(|text| text.len() <= MAX_BYTES)
    })
}

impl<'a> Problem<'a> {
    fn new(denials: &'a Denials, told: &'a Told<'a>, ask_owners: &'a str) -> Self {
        Self {
            kind: Joined(&denials.problem_type_base, told.reason),
            title: told.title,
            status: told.status,
            detail: Detail { told, ask_owners },
            instance: Joined("urn:uuid:", told.decision_id),
            reason: told.reason,
            decision_id: told.decision_id,
            request: told.request.as_ref(),
            entity: told.entity.as_deref(),
            entity_url: told.entity_url.as_deref(),
            action: told.action,
            owners: &told.owners,
            advice: &told.advice,
            policies: &told.policies,
            caller: told.caller.as_ref().map(|caller| Caller {
                kind: caller.kind,
                object_id: &caller.object_id,
                tenant_id: &caller.tenant_id,
            }),
        }
    }
}
