//! What policies can see: the members of the context and the attributes that they read, and
//! the entities that they name.
//!
//! What no policy reads can't change an answer: it need not be built, and an answer is
//! remembered without it.

use std::collections::BTreeSet;

use cedar_policy::Policy;
use serde_json::Value;

use super::attributes::Attributes;
use crate::domain::{EntityRef, GroupId};

/// What some policies can see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Reads {
    pub(super) context: Members,
    pub(super) attributes: Attributes,
    /// The Backstage groups that are named.
    pub(super) groups: BTreeSet<EntityRef>,
    /// The directory's groups that are named.
    pub(super) entra_groups: BTreeSet<GroupId>,
    /// Everything else of the catalog that is named.
    pub(super) resources: BTreeSet<EntityRef>,
}

/// A member of the context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Member {
    Method,
    Host,
    Path,
    Route,
    Source,
    Destination,
    TokenAge,
    Time,
    Weekday,
    Justification,
}

/// A set of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Members(u16);

impl Member {
    pub(super) const ALL: [Self; 10] = [
        Self::Method,
        Self::Host,
        Self::Path,
        Self::Route,
        Self::Source,
        Self::Destination,
        Self::TokenAge,
        Self::Time,
        Self::Weekday,
        Self::Justification,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Method => "method",
            Self::Host => "host",
            Self::Path => "path",
            Self::Route => "route",
            Self::Source => "source",
            Self::Destination => "destination",
            Self::TokenAge => "token_age",
            Self::Time => "time",
            Self::Weekday => "weekday",
            Self::Justification => "justification",
        }
    }
}

impl Members {
    pub(super) const NONE: Self = Self(0);
    pub(super) const EVERY: Self = Self((1 << Member::ALL.len()) - 1);

    pub(super) fn is_empty(self) -> bool {
        self == Self::NONE
    }

    pub(super) fn contains(self, member: Member) -> bool {
        self.0 & (1 << member as u16) != 0
    }

    pub(super) fn insert(&mut self, member: Member) {
        self.0 |= 1 << member as u16;
    }

    pub(super) fn iter(self) -> impl Iterator<Item = Member> {
        Member::ALL.into_iter().filter(move |member| self.contains(*member))
    }
}

impl Reads {
    /// What a policy can see. Where that can't be told, everything.
    pub(super) fn of(policy: &Policy) -> Self {
        let mut reads = Self::default();
        for literal in policy.entity_literals() {
            let id = literal.id().unescaped();
            match literal.type_name().basename() {
                // Another spelling than the canonical one names nothing.
                "Group" => reads.groups.extend(EntityRef::of_canonical(id).ok()),
                "EntraGroup" => {
                    let group = id.parse().ok().filter(|group: &GroupId| group.to_string() == id);
                    reads.entra_groups.extend(group);
                }
                "User" | "Workload" | "Action" => {}
                name => {
                    let entity = EntityRef::of_canonical(id).ok();
                    reads.resources.extend(entity.filter(|entity| is_of_type(entity, name)));
                }
            }
        }
        match policy.to_json() {
            Ok(json) => {
                let conditions = json.get("conditions").unwrap_or(&Value::Null);
                members(conditions, &mut reads.context);
                reads.attributes = Attributes::of(conditions);
            }
            Err(_) => {
                reads.context = Members::EVERY;
                reads.attributes = Attributes::EVERY;
            }
        }
        reads
    }

    pub(super) fn extend(&mut self, other: &Self) {
        self.context.0 |= other.context.0;
        self.attributes.extend(other.attributes);
        self.groups.extend(other.groups.iter().cloned());
        self.entra_groups.extend(other.entra_groups.iter().copied());
        self.resources.extend(other.resources.iter().cloned());
    }
}

/// Whether an id is of the kind that its type stands for.
pub(super) fn is_of_type(entity: &EntityRef, type_name: &str) -> bool {
    super::model::ResourceType::of(entity).is_some_and(|resource| resource.name() == type_name)
}

/// Collects the members of `context` that an expression reads. Where the context is used
/// as a whole, or as something that is not known here, that is every member.
fn members(expression: &Value, found: &mut Members) {
    match expression {
        Value::Array(values) => values.iter().for_each(|value| members(value, found)),
        Value::Object(object) => {
            for (operator, operands) in object {
                match (operator.as_str(), operands) {
                    ("Var", Value::String(name)) if name == "context" => *found = Members::EVERY,
                    ("." | "has", Value::Object(access)) if is_context(access.get("left")) => {
                        match access.get("attr").and_then(Value::as_str).and_then(member) {
                            Some(member) => found.insert(member),
                            None => *found = Members::EVERY,
                        }
                    }
                    _ => members(operands, found),
                }
            }
        }
        _ => {}
    }
}

fn is_context(expression: Option<&Value>) -> bool {
    expression.and_then(|left| left.get("Var")).and_then(Value::as_str) == Some("context")
}

fn member(name: &str) -> Option<Member> {
    Member::ALL.into_iter().find(|member| member.name() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn context_members_are_found_wherever_they_are_read() {
        for (condition, want) in [
            ("true", &[][..]),
            (r#"context.path like "/v1/*""#, &["path"]),
            ("context has source", &["source"]),
            (r#"context has source && context.source == "spiffe://x""#, &["source"]),
            (
                r#"if context.token_age < 60 then context["method"] == "GET" else context.weekday > 5"#,
                &["method", "token_age", "weekday"],
            ),
            (r#"[context.host].contains("a") || {a: context.route}.a == "b""#, &["host", "route"]),
            (r#"context.time.toTime() < duration("8h")"#, &["time"]),
            // Whatever is done with the whole of it reads all of it.
            (
                "(if principal.agent then context else context).token_age > 1",
                &[
                    "method",
                    "host",
                    "path",
                    "route",
                    "source",
                    "destination",
                    "token_age",
                    "time",
                    "weekday",
                    "justification",
                ],
            ),
        ] {
            let text = format!("permit (principal, action, resource) when {{ {condition} }};");
            let reads = Reads::of(&Policy::parse(None, text).unwrap());
            let names: Vec<_> = reads.context.iter().map(Member::name).collect();
            assert_eq!(names, want, "{condition}");
        }
        // So does what is not known here.
        let text = "permit (principal, action, resource) when { context has unheard_of };";
        let reads = Reads::of(&Policy::parse(None, text).unwrap());
        assert!(reads.context == Members::EVERY);
    }

    #[test]
    fn every_member_of_the_model_is_known_here() {
        let model = super::super::model::vocabulary::CONTEXT;
        assert!(model.iter().map(|attribute| attribute.name).eq(Member::ALL.map(Member::name)));
        assert_eq!(Members::EVERY.iter().count(), model.len());
    }

    #[test]
    fn entities_are_found_in_scope_and_conditions() {
        let text = r#"permit (principal in Group::"group:default/a", action, resource in System::"system:default/s")
            when { principal in [EntraGroup::"aaaaaaaa-0000-0000-0000-000000000001", Group::"group:default/b"]
                && Component::"component:default/c".tags.contains("x")
                && principal != User::"t/o" && resource != Component::"System:default/odd" };"#;
        let reads = Reads::of(&Policy::parse(None, text).unwrap());
        let texts = |refs: &BTreeSet<EntityRef>| {
            refs.iter().map(|entity| entity.as_str().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(texts(&reads.groups), ["group:default/a", "group:default/b"]);
        assert_eq!(texts(&reads.resources), ["component:default/c", "system:default/s"]);
        assert_eq!(reads.entra_groups.len(), 1);
    }
}
