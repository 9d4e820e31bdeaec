//! Why the policies say what they say: each by itself, and what it lacks.
//!
//! For people. What decides is [`PolicySet::judge`]; here every policy is asked alone, about
//! everything it could see, and one that doesn't apply is taken apart.

use cedar_policy::{
    Authorizer, Context, Decision as Cedar, Effect, Entities, EntityUid, Policy, PolicyId, Request,
};
use serde::Serialize;
use serde_json::{Value, json};

use super::attributes::Attributes;
use super::index::is_about;
use super::model::{ModelError, ResourceType, context, slice};
use super::question::Question;
use super::reads::{Members, Reads};
use super::rule::{Mode, PolicyInfo, Rule};
use super::set::PolicySet;

/// One policy, asked about one request.
#[derive(Clone, Debug, Serialize)]
pub struct PolicyTrace {
    /// Its id.
    pub id: String,
    /// Where it stands: `file:line`.
    pub place: String,
    /// `permit` or `forbid`.
    pub effect: &'static str,
    /// `enforce`, `shadow` or `warn`.
    pub mode: &'static str,
    /// Whether it applies.
    pub applies: Applies,
    /// What it lacks; nothing where it applies.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lacks: Vec<Lack>,
}

/// Whether a policy applies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Applies {
    /// It does.
    Yes,
    /// It doesn't.
    No,
    /// It can't be evaluated.
    Fails(String),
}

/// A part of a policy that doesn't hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Lack {
    /// `principal`, `action`, `resource` or `condition`.
    pub part: &'static str,
    /// The part, in Cedar.
    pub text: String,
    /// What would make it hold, where that can be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<Hint>,
}

/// What a caller could do for a part of a policy to hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Hint {
    /// Be a member of one of these groups of Backstage.
    MemberOf(Vec<String>),
    /// Be a member of one of these groups of the directory.
    MemberOfEntra(Vec<String>),
    /// Be this caller.
    Be(String),
    /// Hold this app role.
    Role(String),
    /// Have a token with this scope.
    Scope(String),
    /// Satisfy this authentication context.
    AuthContext(String),
    /// Give a reason.
    Justify,
}

/// What the policies say, one by one and together.
#[derive(Clone, Debug, Serialize)]
pub struct PolicyTraces {
    /// Those that can matter: that apply, or lack one thing.
    pub policies: Vec<PolicyTrace>,
    /// How many others there are.
    pub others: usize,
    /// What the enforced ones come to: `permitted`, `forbidden`, `not_permitted`,
    /// `policy_error`, or why nothing could be asked.
    pub answer: String,
    /// The policies behind that.
    pub determining: Vec<String>,
}

impl PolicySet {
    /// Asks every policy by itself.
    #[must_use]
    pub fn explain(&self, question: &Question<'_>) -> PolicyTraces {
        match Asked::new(self, question) {
            Ok(asked) => asked.all(&self.rules),
            Err(error) => PolicyTraces {
                policies: Vec::new(),
                others: self.rules.len(),
                answer: error.to_string(),
                determining: Vec::new(),
            },
        }
    }
}

/// A question with everything that any policy could see.
struct Asked<'a> {
    question: &'a Question<'a>,
    request: Request,
    entities: Entities,
}

impl<'a> Asked<'a> {
    fn new(set: &PolicySet, question: &'a Question<'a>) -> Result<Self, ModelError> {
        let failed = |cause: &dyn std::fmt::Display| ModelError::Entities(cause.to_string());
        let (context_members, attributes) = (Members::EVERY, Attributes::EVERY);
        let mut reads = Reads { context: context_members, attributes, ..Reads::default() };
        for rule in &set.rules {
            reads.extend(&rule.reads);
        }
        let kind = || ModelError::Kind(question.entity.kind().to_owned());
        let resource = set.names.resource(question.entity).ok_or_else(kind)?;
        let action = set.names.action(question.action).ok_or_else(|| failed(&"no such action"))?;
        let principal = set.names.principal(question.identity);
        let context: Context = context(&question.request, &reads)?;
        let request =
            Request::new(principal, action, resource, context, None).map_err(|e| failed(&e))?;
        let entities = slice(&set.names, question, &reads)?;
        Ok(Self { question, request, entities })
    }

    fn all(&self, rules: &[std::sync::Arc<Rule>]) -> PolicyTraces {
        let (mut permits, mut forbids, mut failed) = (Vec::new(), Vec::new(), Vec::new());
        let (mut policies, mut others) = (Vec::new(), 0);
        let target = self.question.facts.target();
        let part_of = target.map(|target| target.part_of).unwrap_or_default();
        for rule in rules {
            // Of ten thousand policies, nearly all are about something else.
            let about = ResourceType::of(self.question.entity)
                .is_some_and(|kind| is_about(&rule.cedar, self.question, kind, &part_of));
            if !about {
                others += 1;
                continue;
            }
            let (info, applies) = (&rule.info, self.ask(&rule.cedar));
            if info.mode == Mode::Enforce {
                let list = match (&applies, info.effect) {
                    (Applies::No, _) => None,
                    (Applies::Fails(_), _) => Some(&mut failed),
                    (Applies::Yes, Effect::Permit) => Some(&mut permits),
                    (Applies::Yes, Effect::Forbid) => Some(&mut forbids),
                };
                if let Some(list) = list {
                    list.push(info.id.to_string());
                }
            }
            let lacks = match applies {
                // A `forbid` that doesn't apply is nothing to look for.
                Applies::No if info.effect == Effect::Permit => self.lacks(&rule.cedar),
                Applies::No => {
                    others += 1;
                    continue;
                }
                Applies::Yes | Applies::Fails(_) => Vec::new(),
            };
            // One that is for something else altogether, or lacks more, is no near miss.
            let elsewhere =
                lacks.iter().any(|lack| lack.part == "resource" || lack.part == "action");
            if applies == Applies::No && (elsewhere || lacks.len() != 1) {
                others += 1;
                continue;
            }
            policies.push(trace(info, applies, lacks));
        }
        let (answer, mut determining) = if !failed.is_empty() {
            ("policy_error", failed)
        } else if !forbids.is_empty() {
            ("forbidden", forbids)
        } else if !permits.is_empty() {
            ("permitted", permits)
        } else {
            ("not_permitted", Vec::new())
        };
        determining.sort_unstable();
        PolicyTraces { policies, others, answer: answer.to_owned(), determining }
    }

    /// Whether a policy by itself applies.
    fn ask(&self, policy: &Policy) -> Applies {
        let set = match cedar_policy::PolicySet::from_policies([policy.clone()]) {
            Ok(set) => set,
            Err(error) => return Applies::Fails(error.to_string()),
        };
        let response = Authorizer::new().is_authorized(&self.request, &set, &self.entities);
        if let Some(error) = response.diagnostics().errors().next() {
            return Applies::Fails(error.to_string());
        }
        let applies = match policy.effect() {
            Effect::Permit => response.decision() == Cedar::Allow,
            Effect::Forbid => response.diagnostics().reason().next().is_some(),
        };
        if applies { Applies::Yes } else { Applies::No }
    }

    /// The parts of a policy that don't hold, each asked by itself.
    fn lacks(&self, policy: &Policy) -> Vec<Lack> {
        let Ok(json) = policy.to_json() else { return Vec::new() };
        let mut lacks = Vec::new();
        for part in ["principal", "action", "resource"] {
            let Some(constraint) = json.get(part) else { continue };
            if constraint.get("op").and_then(Value::as_str) == Some("All") {
                continue;
            }
            let mut alone = open_policy();
            alone.insert(part.to_owned(), constraint.clone());
            if let Some(text) = self.does_not_hold(alone) {
                let text = scope_text(&text, part);
                let hint = (part == "principal").then(|| scope_hint(constraint)).flatten();
                lacks.push(Lack { part, text, hint });
            }
        }
        for condition in json.get("conditions").and_then(Value::as_array).into_iter().flatten() {
            let Some(body) = condition.get("body") else { continue };
            let unless = condition.get("kind").and_then(Value::as_str) == Some("unless");
            let mut parts = Vec::new();
            split(body, if unless { "||" } else { "&&" }, &mut parts);
            for body in parts {
                let kind = if unless { "unless" } else { "when" };
                let mut alone = open_policy();
                alone.insert("conditions".to_owned(), json!([{ "kind": kind, "body": body }]));
                if let Some(text) = self.does_not_hold(alone) {
                    let text = condition_text(&text, kind);
                    let hint = if unless { None } else { self.hint(body) };
                    lacks.push(Lack { part: "condition", text, hint });
                    // What comes after it may ask for what it makes sure of.
                    break;
                }
            }
        }
        lacks
    }

    /// The policy's text, where it doesn't apply.
    fn does_not_hold(&self, json: serde_json::Map<String, Value>) -> Option<String> {
        let policy = Policy::from_json(Some(PolicyId::new("part")), Value::Object(json)).ok()?;
        (self.ask(&policy) != Applies::Yes).then(|| policy.to_string())
    }

    /// What would make a condition hold.
    fn hint(&self, body: &Value) -> Option<Hint> {
        if let Some(operands) = body.get("in")
            && is_var(operands.get("left"), "principal")
        {
            let right = operands.get("right")?;
            if let Some(owners) = self.owners(right) {
                return Some(Hint::MemberOf(owners));
            }
            let literals: Vec<EntityUid> = match right.get("Set").and_then(Value::as_array) {
                Some(values) => values.iter().filter_map(literal).collect(),
                None => literal(right).into_iter().collect(),
            };
            return member(&literals);
        }
        if let Some(operands) = body.get("contains") {
            let value = operands.get("right")?.get("Value")?.as_str()?.to_owned();
            let access = operands.get("left")?.get(".")?;
            if !is_var(access.get("left"), "principal") {
                return None;
            }
            return match access.get("attr")?.as_str()? {
                "roles" => Some(Hint::Role(value)),
                "scopes" => Some(Hint::Scope(value)),
                "auth_contexts" => Some(Hint::AuthContext(value)),
                _ => None,
            };
        }
        let has = body.get("has")?;
        let justification = has.get("attr").and_then(Value::as_str) == Some("justification");
        (justification && is_var(has.get("left"), "context")).then_some(Hint::Justify)
    }

    /// The groups behind `resource.owners`, `resource.system.owners` and the like.
    fn owners(&self, expression: &Value) -> Option<Vec<String>> {
        let access = expression.get(".")?;
        if access.get("attr")?.as_str()? != "owners" {
            return None;
        }
        let left = access.get("left")?;
        let facts = self.question.facts;
        let target = facts.target()?;
        let of = |owners: &[&crate::domain::EntityRef]| {
            owners.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        if is_var(Some(left), "resource") {
            return Some(of(&target.owners));
        }
        let over = left.get(".")?;
        if !is_var(over.get("left"), "resource") {
            return None;
        }
        let whole = match over.get("attr")?.as_str()? {
            "system" => target.system?,
            "domain" => target.domain?,
            _ => return None,
        };
        Some(of(&facts.resource(whole)?.owners))
    }
}

fn trace(info: &PolicyInfo, applies: Applies, lacks: Vec<Lack>) -> PolicyTrace {
    let file = info.file.display();
    PolicyTrace {
        id: info.id.to_string(),
        place: info.place.map_or_else(|| file.to_string(), |(line, _)| format!("{file}:{line}")),
        effect: match info.effect {
            Effect::Permit => "permit",
            Effect::Forbid => "forbid",
        },
        mode: info.mode.as_str(),
        applies,
        lacks,
    }
}

/// A policy that applies to everything.
fn open_policy() -> serde_json::Map<String, Value> {
    let all = json!({ "op": "All" });
    serde_json::Map::from_iter([
        ("effect".to_owned(), json!("permit")),
        ("principal".to_owned(), all.clone()),
        ("action".to_owned(), all.clone()),
        ("resource".to_owned(), all),
        ("conditions".to_owned(), json!([])),
    ])
}

/// The operands of a chain of one operator, from the left.
fn split<'v>(body: &'v Value, operator: &str, parts: &mut Vec<&'v Value>) {
    match body.get(operator).map(|operands| (operands.get("left"), operands.get("right"))) {
        Some((Some(left), Some(right))) => {
            split(left, operator, parts);
            split(right, operator, parts);
        }
        _ => parts.push(body),
    }
}

fn is_var(expression: Option<&Value>, name: &str) -> bool {
    expression.and_then(|e| e.get("Var")).and_then(Value::as_str) == Some(name)
}

fn literal(expression: &Value) -> Option<EntityUid> {
    EntityUid::from_json(expression.get("Value")?.clone()).ok()
}

fn scope_hint(constraint: &Value) -> Option<Hint> {
    let entity = constraint.get("entity").or_else(|| constraint.get("in")?.get("entity"))?;
    let uid = EntityUid::from_json(json!({ "__entity": entity })).ok()?;
    member(&[uid])
}

/// What it takes to be in one of these, where they are of one type.
fn member(uids: &[EntityUid]) -> Option<Hint> {
    let of = |name: &str| {
        uids.iter()
            .all(|uid| uid.type_name().to_string() == name)
            .then(|| uids.iter().map(|uid| uid.id().unescaped().to_owned()).collect::<Vec<_>>())
    };
    let first = uids.first()?;
    of("Group")
        .map(Hint::MemberOf)
        .or_else(|| of("EntraGroup").map(Hint::MemberOfEntra))
        .or_else(|| (uids.len() == 1).then(|| Hint::Be(first.to_string())))
}

/// `principal in Group::"…"`, of a policy that says nothing else.
fn scope_text(policy: &str, part: &str) -> String {
    let scope = policy.split_once('(').map_or(policy, |(_, rest)| rest);
    let scope = scope.rsplit_once(')').map_or(scope, |(scope, _)| scope);
    let scope = plain(scope);
    // The scope's other parts are bare words.
    let rest =
        scope.strip_prefix("principal, action, ").or_else(|| scope.strip_prefix("principal, "));
    let scope = if part == "principal" { scope.as_str() } else { rest.unwrap_or(&scope) };
    let scope = scope.strip_suffix(", action, resource").unwrap_or(scope);
    scope.strip_suffix(", resource").unwrap_or(scope).to_owned()
}

fn condition_text(policy: &str, kind: &str) -> String {
    let body = policy.split_once('{').map_or(policy, |(_, rest)| rest);
    let body = plain(body.rsplit_once('}').map_or(body, |(body, _)| body));
    if kind == "unless" { format!("not {body}") } else { body }
}

/// On one line.
fn plain(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
