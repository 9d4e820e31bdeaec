//! What a case expects, and whether that came.

use std::sync::Arc;

use super::came::Came;
use crate::cli::policy::fields::{Fields, Mistakes, Placed, unknown};
use crate::domain::Reason;

/// What a case expects. What it doesn't name may be any.
#[derive(Debug)]
pub(super) struct Expectation {
    pub(super) allow: bool,
    pub(super) reason: Option<String>,
    pub(super) policies: Option<Vec<Id>>,
    pub(super) warnings: Option<Vec<Id>>,
    pub(super) alerts: Option<Vec<Id>>,
    pub(super) challenge: Option<String>,
}

/// The id of a policy, and where it is named.
pub(super) type Id = Placed<Box<str>>;

/// Codes of answers that are no denials.
const GRANTS: [&str; 3] = ["permitted", "public_route", "authenticated_route"];

impl Expectation {
    pub(super) fn read(case: &Fields<'_>, mistakes: &mut Mistakes) -> Option<Self> {
        let allow = case.parsed("expect", mistakes, |text| match text {
            "allow" => Ok(true),
            "deny" => Ok(false),
            _ => Err(unknown("answer", text, &["allow", "deny"])),
        });
        if !case.has("expect") {
            mistakes.say(case.at, "expected `expect: allow` or `expect: deny`");
        }
        let reason = case.parsed("reason", mistakes, |text| reason(text, allow));
        let mut ids = |key| {
            let texts = case.texts(key, mistakes)?;
            let mut ids: Vec<Id> = texts
                .into_iter()
                .map(|text| Placed { value: text.value.into(), at: text.at })
                .collect();
            ids.sort_by(|a, b| a.value.cmp(&b.value));
            Some(ids)
        };
        let [policies, warnings, alerts] = ["policies", "warnings", "alerts"].map(&mut ids);
        let challenge = case.text("challenge", mistakes).map(|text| text.value.to_owned());
        if challenge.is_some() && allow == Some(true) {
            mistakes.say(case.place("challenge"), "only who is denied is challenged");
        }
        Some(Self { allow: allow?, reason, policies, warnings, alerts, challenge })
    }

    /// Policies that are named and that the set does not have are mistakes: a case that
    /// expects one not to decide would pass by a slip.
    pub(super) fn check(&self, known: &[&str], mistakes: &mut Mistakes) {
        for ids in [&self.policies, &self.warnings, &self.alerts].into_iter().flatten() {
            for id in ids.iter().filter(|id| !known.contains(&&*id.value)) {
                mistakes.say(id.at, unknown("policy", &id.value, known));
            }
        }
    }

    /// How what came differs from it, a line each; nothing where it does not.
    pub(super) fn differences(&self, came: &Came) -> Vec<String> {
        let mut found = Vec::new();
        let word = |allow| if allow { "allow" } else { "deny" };
        if self.allow != came.allow {
            found.push(format!("expected {}, came {}", word(self.allow), word(came.allow)));
        }
        if let Some(reason) = &self.reason
            && reason != came.code
        {
            found.push(format!("expected the reason {reason}, came {}", came.code));
        }
        for (name, expected, came) in [
            ("policies", &self.policies, &came.policies),
            ("warnings", &self.warnings, &came.warnings),
            ("alerts", &self.alerts, &came.alerts),
        ] {
            let Some(expected) = expected else { continue };
            if !expected.iter().map(|id| &*id.value).eq(came.iter().map(|id| &**id)) {
                let expected: Vec<&str> = expected.iter().map(|id| &*id.value).collect();
                found.push(format!("expected the {name} {}, came {}", list(&expected), ids(came)));
            }
        }
        if let Some(challenge) = &self.challenge
            && came.challenge.as_ref() != Some(challenge)
        {
            let came = came.challenge.as_deref().unwrap_or("none");
            found.push(format!("expected the challenge {challenge}, came {came}"));
        }
        found
    }
}

fn reason(text: &str, allow: Option<bool>) -> Result<String, String> {
    let denials: Vec<&str> = Reason::ALL.iter().map(|reason| reason.code()).collect();
    let known = match allow {
        Some(true) => GRANTS.to_vec(),
        Some(false) => denials,
        None => [GRANTS.as_slice(), &denials].concat(),
    };
    if known.contains(&text) { Ok(text.to_owned()) } else { Err(unknown("reason", text, &known)) }
}

/// Ids as people read them.
pub(super) fn ids(ids: &[Arc<str>]) -> String {
    list(&ids.iter().map(|id| &**id).collect::<Vec<_>>())
}

fn list(words: &[&str]) -> String {
    if words.is_empty() { "none".to_owned() } else { words.join(", ") }
}
