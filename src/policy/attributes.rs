//! Which attributes of callers and resources policies read.
//!
//! By name alone, whatever they are read of: Cedar comes by an attribute only where a policy
//! spells its name. What no policy reads need not be built, and building is most of what a new
//! decision costs.

use serde_json::Value;

use super::model::vocabulary::{Attribute, PART, PRINCIPAL, RESOURCE};

/// A set of attributes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Attributes(u32);

impl Attributes {
    pub(super) const EVERY: Self = Self(u32::MAX);

    /// What conditions read, as Cedar's JSON has them. Where that can't be told, everything.
    pub(super) fn of(conditions: &Value) -> Self {
        let mut found = Self::default();
        found.collect(conditions);
        found
    }

    pub(super) fn contains(self, name: &str) -> bool {
        bit(name).is_some_and(|bit| self.0 & bit != 0)
    }

    pub(super) fn extend(&mut self, other: Self) {
        self.0 |= other.0;
    }

    fn add(&mut self, name: Option<&str>) {
        match name {
            // One that the model doesn't have is never there.
            Some(name) => self.0 |= bit(name).unwrap_or_default(),
            None => *self = Self::EVERY,
        }
    }

    fn collect(&mut self, expression: &Value) {
        match expression {
            Value::Array(values) => values.iter().for_each(|value| self.collect(value)),
            Value::Object(object) => {
                for (operator, operands) in object {
                    match (operator.as_str(), operands.get("attr")) {
                        ("." | "has", Some(Value::String(name))) => self.add(Some(name)),
                        // `has a.b`: one after the other.
                        ("has", Some(Value::Array(names))) => {
                            names.iter().for_each(|name| self.add(name.as_str()));
                        }
                        ("." | "has", _) => *self = Self::EVERY,
                        _ => {}
                    }
                    self.collect(operands);
                }
            }
            _ => {}
        }
    }
}

fn all() -> impl Iterator<Item = &'static Attribute> {
    PRINCIPAL.iter().chain(RESOURCE).chain(PART)
}

fn bit(name: &str) -> Option<u32> {
    let place = all().position(|attribute| attribute.name == name)?;
    1_u32.checked_shl(u32::try_from(place).ok()?)
}

#[cfg(test)]
mod tests {
    use cedar_policy::Policy;

    use super::*;

    fn read(condition: &str) -> Vec<&'static str> {
        let text = format!("permit (principal, action, resource) when {{ {condition} }};");
        let json = Policy::parse(None, text).unwrap().to_json().unwrap();
        let found = Attributes::of(&json["conditions"]);
        all().map(|attribute| attribute.name).filter(|name| found.contains(name)).collect()
    }

    #[test]
    fn attributes_are_found_wherever_they_are_read() {
        for (condition, want) in [
            ("true", &[][..]),
            ("principal in resource.owners", &["owners"]),
            (r#"resource["owners"].contains(Group::"group:default/a")"#, &["owners"]),
            ("principal has client && principal.client != \"x\"", &["client"]),
            ("resource has domain.owners", &["owners", "domain"]),
            (
                "if principal.agent then {a: resource.tags}.a.isEmpty() else false",
                &["agent", "tags"],
            ),
            ("[principal.scopes, principal.roles].isEmpty()", &["scopes", "roles"]),
            ("(if true then principal else resource).kind == \"user\"", &["kind"]),
            (r#"context.path == "/" && "guest" == "guest""#, &[]),
        ] {
            let mut want = want.to_vec();
            // A name that both have is one attribute here.
            want.sort_by_key(|name| all().position(|attribute| attribute.name == *name));
            let mut got = read(condition);
            got.dedup();
            assert_eq!(got, want, "{condition}");
        }
    }

    #[test]
    fn what_cannot_be_told_is_everything() {
        let odd = serde_json::json!([{ "body": { ".": { "left": {}, "attr": 7 } } }]);
        assert_eq!(Attributes::of(&odd), Attributes::EVERY);
        let odd = serde_json::json!([{ "body": { "has": { "left": {}, "attr": ["tags", 7] } } }]);
        assert_eq!(Attributes::of(&odd), Attributes::EVERY);
    }

    #[test]
    fn every_attribute_of_the_model_has_a_place() {
        assert!(all().count() <= 32);
        assert!(all().all(|attribute| Attributes::EVERY.contains(attribute.name)));
        assert!(!Attributes::EVERY.contains("unheard_of"));
    }
}
