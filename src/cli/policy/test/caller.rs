//! Who asks in a case.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::description::{Description, SOME_CLIENT};
use crate::cli::policy::fields::{Fields, Mistakes};
use crate::domain::{Denial, Reason, TenantId};
use crate::entra::claims_of;
use crate::yaml::{Node, NodeKind, Scalar};

/// Who asks.
#[derive(Debug)]
pub(super) enum Caller {
    /// No token.
    Nobody,
    /// Whoever these claims identify.
    Claims(Map<String, Value>),
    /// Whoever is described so.
    Described(Box<Description>),
}

impl Caller {
    pub(super) fn read(case: &Fields<'_>, folder: &Path, mistakes: &mut Mistakes) -> Option<Self> {
        let given: Vec<&str> = ["as", "claims", "token", "token_file"]
            .into_iter()
            .filter(|key| case.has(key))
            .collect();
        match given.as_slice() {
            [] => Some(Self::Nobody),
            ["as"] => described(case.node("as")?, mistakes),
            ["claims"] => claims(case.node("claims")?, mistakes),
            ["token"] => case.parsed("token", mistakes, |text| opened(text).map(Self::Claims)),
            ["token_file"] => case.parsed("token_file", mistakes, |name| {
                let path = folder.join(name);
                let text = std::fs::read_to_string(&path)
                    .map_err(|cause| format!("`{}`: {cause}", path.display()))?;
                opened(&text).map(Self::Claims)
            }),
            several => {
                let message = format!("expected one of `{}`", several.join("`, `"));
                mistakes.say(case.at, message);
                None
            }
        }
    }
}

fn opened(token: &str) -> Result<Map<String, Value>, String> {
    claims_of(token).map_err(|denial| denial.reason.sentence().to_owned())
}

fn claims(node: &Node, mistakes: &mut Mistakes) -> Option<Caller> {
    match node.to_json() {
        Value::Object(claims) => Some(Caller::Claims(claims)),
        _ => {
            mistakes.say(node.position, "`claims`: expected a mapping");
            None
        }
    }
}

/// What every token has, filled in where a case leaves it out. What says something about
/// the holder (`oid`, `scp`, `roles`) is not.
pub(super) fn filled(
    claims: &Map<String, Value>,
    tenant: Option<TenantId>,
    at: i64,
) -> Map<String, Value> {
    let mut claims = claims.clone();
    let mut fill = |name: &str, value: Value| {
        if !claims.contains_key(name) {
            claims.insert(name.to_owned(), value);
        }
    };
    if let Some(tenant) = tenant {
        fill("tid", json!(tenant.to_string()));
    }
    fill("ver", json!("2.0"));
    fill("iat", json!(at));
    fill("azp", json!(SOME_CLIENT));
    let issued = claims.get("iat").and_then(Value::as_i64).unwrap_or(at);
    claims.entry("exp").or_insert_with(|| json!(issued.saturating_add(3600)));
    claims
}

/// A caller in a few words, or in one.
fn described(node: &Node, mistakes: &mut Mistakes) -> Option<Caller> {
    if let NodeKind::Scalar(Scalar::String(word)) = &node.kind {
        if word == "nobody" {
            return Some(Caller::Nobody);
        }
        mistakes.say(node.position, "expected `nobody`, or a mapping");
        return None;
    }
    Description::read(node, mistakes).map(|who| Caller::Described(Box::new(who)))
}

/// What a request without a token is told.
pub(super) fn nobody() -> Denial {
    Reason::TokenMissing.into()
}
