//! What the conditions of a policy come to.

use std::collections::BTreeSet;

use cedar_policy::Policy;
use serde_json::Value;

use super::comparison::{self, never, path};
use super::{Findings, Kind, Severity, Subject};

/// One of the conditions that all have to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Conjunct {
    /// As Cedar writes it in JSON.
    pub(super) expression: Value,
    /// It has to be false.
    pub(super) negated: bool,
    /// Expression and sign as a text, to be compared.
    pub(super) key: String,
}

/// The conditions of a policy, taken apart as far as all of them have to hold.
pub(super) fn conjuncts(policy: &Policy) -> Vec<Conjunct> {
    let mut found = Vec::new();
    let json = policy.to_json().unwrap_or_default();
    let conditions = json.get("conditions").and_then(Value::as_array);
    for condition in conditions.into_iter().flatten() {
        let negated = condition.get("kind").and_then(Value::as_str) == Some("unless");
        if let Some(body) = condition.get("body") {
            flatten(body, negated, &mut found);
        }
    }
    found
}

fn flatten(expression: &Value, negated: bool, found: &mut Vec<Conjunct>) {
    let sides = |operator: &str| {
        let sides = expression.get(operator)?;
        Some((sides.get("left")?, sides.get("right")?))
    };
    let together = if negated { "||" } else { "&&" };
    if let Some((left, right)) = sides(together) {
        flatten(left, negated, found);
        flatten(right, negated, found);
    } else if let Some(inner) = expression.get("!").and_then(|not| not.get("arg")) {
        flatten(inner, !negated, found);
    } else {
        // `a != b` and `!(a == b)` are one condition.
        let (expression, negated) = match sides("!=") {
            Some((left, right)) => {
                (serde_json::json!({ "==": { "left": left, "right": right } }), !negated)
            }
            None => (expression.clone(), negated),
        };
        let key = format!("{negated} {expression}");
        found.push(Conjunct { expression, negated, key });
    }
}

/// Conditions that can't hold, or can't hold together; and comparisons that never are equal.
pub(super) fn look(subject: &Subject<'_>, found: &mut Findings) {
    let alone = subject.conjuncts.iter().find_map(|conjunct| {
        let (value, why) = settled(&conjunct.expression)?;
        (value == conjunct.negated).then_some(why)
    });
    let never_applies =
        alone.or_else(|| contradiction(subject)).or_else(|| of_another_type(subject));
    if let Some(why) = &never_applies {
        let message = format!("its conditions never hold: {why}");
        found.add(subject, Severity::Error, Kind::NeverApplies, message);
    }
    let mut said = BTreeSet::new();
    for conjunct in &subject.conjuncts {
        impossible(&conjunct.expression, &mut said);
    }
    for message in said {
        if never_applies.as_ref() != Some(&message) {
            found.add(subject, Severity::Error, Kind::NamesNothing, message);
        }
    }
}

/// What an expression always is, and why.
fn settled(expression: &Value) -> Option<(bool, String)> {
    if let Some(value) = expression.get("Value").and_then(Value::as_bool) {
        return Some((value, format!("`{value}` stands there")));
    }
    if let Some(inner) = expression.get("!").and_then(|not| not.get("arg")) {
        return settled(inner).map(|(value, why)| (!value, why));
    }
    let sides = |operator: &str| {
        let sides = expression.get(operator)?;
        Some((sides.get("left")?, sides.get("right")?))
    };
    // The value by which one side decides.
    for (operator, deciding) in [("&&", false), ("||", true)] {
        if let Some((left, right)) = sides(operator) {
            let (left, right) = (settled(left), settled(right));
            let decides = |side: &(bool, String)| side.0 == deciding;
            return match (left.clone().filter(decides), right.clone().filter(decides)) {
                (Some(side), _) | (None, Some(side)) => Some(side),
                (None, None) => left.and(right),
            };
        }
    }
    if let Some((path, texts)) = comparison::texts(expression) {
        let why: Option<Vec<String>> = texts.iter().map(|text| never(&path, text)).collect();
        return why.map(|why| match why.first() {
            Some(first) => (false, first.clone()),
            None => (false, "a set without anything contains nothing".to_owned()),
        });
    }
    for operator in ["==", "!="] {
        if let Some((left, right)) = sides(operator)
            && let (Some(one), Some(other)) = (left.get("Value"), right.get("Value"))
        {
            let value = (one == other) == (operator == "==");
            return Some((value, format!("{one} {operator} {other} is the same for everybody")));
        }
    }
    for operator in ["<", "<=", ">", ">="] {
        if let Some((left, right)) = sides(operator)
            && let Some(range) = Range::of(left)
            && let Some(number) = right.get("Value").and_then(Value::as_i64)
            && let Some(value) = range.compared(operator, number)
        {
            let Range { name, least, most } = range;
            return Some((value, format!("`context.{name}` is from {least} to {most}")));
        }
    }
    None
}

/// What a number of the context can be.
struct Range {
    name: &'static str,
    least: i64,
    most: i64,
}

impl Range {
    fn of(expression: &Value) -> Option<Self> {
        match path(expression)?.as_str() {
            "context.weekday" => Some(Self { name: "weekday", least: 1, most: 7 }),
            _ => None,
        }
    }

    /// What comparing gives, where it gives the same for the whole range.
    fn compared(&self, operator: &str, number: i64) -> Option<bool> {
        let holds = |value: i64| match operator {
            "<" => value < number,
            "<=" => value <= number,
            ">" => value > number,
            _ => value >= number,
        };
        let (first, last) = (holds(self.least), holds(self.most));
        (first == last).then_some(first)
    }
}

/// Two conditions that can't hold together.
fn contradiction(subject: &Subject<'_>) -> Option<String> {
    let conjuncts = &subject.conjuncts;
    for (at, one) in conjuncts.iter().enumerate() {
        for other in conjuncts.iter().skip(at + 1) {
            if one.expression == other.expression && one.negated != other.negated {
                return Some("one of them is the opposite of another".to_owned());
            }
            if one.negated || other.negated {
                continue;
            }
            let texts =
                comparison::texts(&one.expression).zip(comparison::texts(&other.expression));
            if let Some(((path, texts), (same, others))) = texts
                && path == same
                && !texts.iter().any(|text| others.contains(text))
            {
                let (one, other) = (texts.join("`, `"), others.join("`, `"));
                return Some(format!("`{path}` is `{one}` and `{other}` at once"));
            }
        }
    }
    None
}

/// A kind of caller that the type in the scope never is.
fn of_another_type(subject: &Subject<'_>) -> Option<String> {
    let scope = subject.breadth.principal.kind()?;
    let kinds: &[&str] = match scope {
        "User" => &["user", "agent"],
        "Workload" => &["workload", "managed_identity", "agent"],
        _ => return None,
    };
    let wanted = subject.conjuncts.iter().filter(|conjunct| !conjunct.negated);
    let (_, texts) = wanted.filter_map(|conjunct| comparison::texts(&conjunct.expression)).find(
        |(path, texts)| path == "principal.kind" && !texts.iter().any(|text| kinds.contains(text)),
    )?;
    Some(format!("no `{scope}` is of kind `{}`", texts.join("`, `")))
}

/// Comparisons anywhere in an expression that never are equal.
fn impossible(expression: &Value, found: &mut BTreeSet<String>) {
    if let Some((path, texts)) = comparison::texts(expression) {
        found.extend(texts.iter().filter_map(|text| never(&path, text)));
    }
    if let Some(sides) = expression.get("!=") {
        impossible(&serde_json::json!({ "==": sides }), found);
    }
    match expression {
        Value::Array(items) => items.iter().for_each(|item| impossible(item, found)),
        Value::Object(members) => members.values().for_each(|member| impossible(member, found)),
        _ => {}
    }
}

/// Whether an expression looks at something of the caller: `principal` itself, one of its
/// attributes, or the workload that calls.
pub(super) fn looks_at_caller(expression: &Value) -> bool {
    let itself = expression.get("Var").and_then(Value::as_str) == Some("principal");
    itself
        || path(expression).as_deref() == Some("context.source")
        || parts(expression, looks_at_caller)
}

/// Whether an expression reads one of these paths.
pub(super) fn reads(expression: &Value, paths: &[&str]) -> bool {
    path(expression).is_some_and(|path| paths.contains(&&*path))
        || parts(expression, |part| reads(part, paths))
}

fn parts(expression: &Value, look: impl Fn(&Value) -> bool) -> bool {
    match expression {
        Value::Array(items) => items.iter().any(look),
        Value::Object(members) => members.values().any(look),
        _ => false,
    }
}
