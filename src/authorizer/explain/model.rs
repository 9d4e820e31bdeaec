//! What an explanation says.

use serde::Serialize;

use crate::domain::{Denial, Reason, Request, RequestLine};
use crate::entra::{Inspection, Outcome};
use crate::policy::PolicyTraces;

/// Why a decision came out as it did.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    /// The version of this form: 1.
    pub version: u32,
    /// What the steps come to.
    pub conclusion: Conclusion,
    /// What was asked, and how it was read.
    pub request: RequestPart,
    /// Which route it took.
    pub route: RoutePart,
    /// What the token says, rule by rule; nothing where the request had none that can be
    /// read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<TokenPart>,
    /// The caller's groups, and where each comes from.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<GroupPart>,
    /// Who owns the entity, and how the caller is or isn't one of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ownership: Option<OwnershipPart>,
    /// The policies, one by one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policies: Option<PolicyTraces>,
    /// What would have to change for an allow.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub to_allow: Vec<String>,
    /// The policies that were asked.
    pub policy_version: String,
    /// The snapshot that was looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot_version: Option<String>,
    /// The keys that the token was judged by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keys_version: Option<String>,
}

/// What the steps come to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Conclusion {
    /// `allow` or `deny`.
    pub decision: &'static str,
    /// The code of a [`Reason`], or of what granted it.
    pub reason: &'static str,
    /// The policies behind it, sorted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<String>,
    /// What it means, in a sentence.
    pub sentence: String,
    /// What an operator needs to understand it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// What was asked.
#[derive(Clone, Debug, Serialize)]
pub struct RequestPart {
    /// The method.
    pub method: String,
    /// The host, as it is compared.
    pub host: String,
    /// The path, as it is compared, without query.
    pub path: String,
    /// What was made of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub normalised: Vec<String>,
}

/// Which route it took.
#[derive(Clone, Debug, Default, Serialize)]
pub struct RoutePart {
    /// The route's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matched: Option<String>,
    /// Its gate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gate: Option<&'static str>,
    /// What the request does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<&'static str>,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entity: Option<String>,
    /// Why there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// Routes that would match but for one thing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub near: Vec<NearPart>,
}

/// A route that would match but for one thing.
#[derive(Clone, Debug, Serialize)]
pub struct NearPart {
    /// Its name.
    pub route: String,
    /// What doesn't fit: `method`, `path` or `host`.
    pub but_for: &'static str,
    /// What it asks for.
    pub wants: Vec<String>,
}

/// What the token says.
#[derive(Clone, Debug, Serialize)]
pub struct TokenPart {
    /// Who it says asks: kind, tenant and object id. Proven only where no rule is broken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caller: Option<(String, String, String)>,
    /// Whether it is accepted.
    pub accepted: bool,
    /// The rules, in their order.
    pub rules: Vec<RulePart>,
}

/// A rule, asked of the token.
#[derive(Clone, Debug, Serialize)]
pub struct RulePart {
    /// What is asked.
    pub rule: &'static str,
    /// `passed`, `unasked`, or the code of the reason that it is broken.
    pub outcome: &'static str,
    /// By how much, or against what.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// The setting that decides.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub setting: String,
}

/// One of the caller's groups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GroupPart {
    /// Its ref.
    pub group: String,
    /// The name that people know.
    pub title: String,
    /// Where it comes from.
    pub from: Vec<String>,
}

/// Who owns the entity.
#[derive(Clone, Debug, Serialize)]
pub struct OwnershipPart {
    /// The entity.
    pub entity: String,
    /// Refs and titles of its owners.
    pub owners: Vec<(String, String)>,
    /// What it is part of.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub part_of: Vec<String>,
    /// How the caller comes to be an owner: from their group up to the owning one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ways: Vec<String>,
    /// Where there is none, how far they are from it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nearest_miss: Option<String>,
}

impl Explanation {
    pub(super) fn of(request: &Request<'_>, policy_version: &str) -> Self {
        Self {
            version: 1,
            conclusion: Conclusion::denied_by(Reason::Internal, Vec::new()),
            request: RequestPart {
                method: request.method.to_owned(),
                host: request.host.to_owned(),
                path: request.path.split(['?', '#']).next().unwrap_or_default().to_owned(),
                normalised: Vec::new(),
            },
            route: RoutePart::default(),
            token: None,
            groups: Vec::new(),
            ownership: None,
            policies: None,
            to_allow: Vec::new(),
            policy_version: policy_version.to_owned(),
            snapshot_version: None,
            keys_version: None,
        }
    }

    /// Whether the request passes.
    #[must_use]
    pub fn is_allow(&self) -> bool {
        self.conclusion.decision == "allow"
    }
}

impl Conclusion {
    pub(super) fn allowed(reason: &'static str, policies: Vec<String>) -> Self {
        let sentence = match reason {
            "public_route" => "The route is open to everybody.",
            "authenticated_route" => "The route is open to everybody with a valid token.",
            _ => "Policies permit it, and none forbids it.",
        };
        Self { decision: "allow", reason, policies, sentence: sentence.to_owned(), detail: None }
    }

    pub(super) fn denied(denial: &Denial) -> Self {
        let policies = denial.policies.iter().map(ToString::to_string).collect();
        Self { detail: denial.detail.clone(), ..Self::denied_by(denial.reason, policies) }
    }

    pub(super) fn denied_by(reason: Reason, policies: Vec<String>) -> Self {
        Self {
            decision: "deny",
            reason: reason.code(),
            policies,
            sentence: reason.sentence().to_owned(),
            detail: None,
        }
    }
}

impl RequestPart {
    /// Says how the request line was read.
    pub(super) fn normalised(&mut self, request: &Request<'_>, line: &RequestLine<'_>) {
        let mut say = |what: &str, from: &str, to: &str| {
            if from != to {
                self.normalised.push(format!("the {what} `{from}` is read as `{to}`"));
            }
        };
        say("host", request.host, line.host.as_str());
        let path = request.path.split('?').next().unwrap_or_default();
        say("path", path, line.path.as_str());
        if line.query.is_some() {
            self.normalised.push("the query decides nothing".to_owned());
        }
        self.host = line.host.as_str().to_owned();
        self.path = line.path.as_str().to_owned();
    }
}

impl TokenPart {
    pub(super) fn of(inspection: &Inspection) -> Self {
        let rule = |check: &crate::entra::Check| RulePart {
            rule: check.rule,
            outcome: match check.outcome {
                Outcome::Passed => "passed",
                Outcome::Unasked => "unasked",
                Outcome::Failed(reason) => reason.code(),
            },
            detail: check.detail.clone(),
            setting: check.setting.clone(),
        };
        let caller = inspection.identity.as_ref().map(|identity| {
            let (tenant, object) = (identity.tenant.to_string(), identity.object.to_string());
            (identity.kind.as_str().to_owned(), tenant, object)
        });
        Self {
            caller,
            accepted: inspection.verdict.is_ok(),
            rules: inspection.checks.iter().map(rule).collect(),
        }
    }
}
