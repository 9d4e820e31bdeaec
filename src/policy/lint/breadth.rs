//! How much the scope of a policy takes in.

use cedar_policy::{EntityUid, Policy, PrincipalConstraint, ResourceConstraint};

use crate::domain::Action;

/// What a scope takes in.
#[derive(Debug)]
pub(super) struct Breadth {
    pub(super) principal: Extent,
    pub(super) resource: Extent,
    /// A bit for each action.
    actions: u8,
}

/// What a part of a scope takes in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    Any,
    Is(String),
    In(Named),
    IsIn(String, Named),
    Eq(Named),
}

/// An entity that a policy names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) kind: String,
    pub(super) id: String,
}

impl Breadth {
    pub(super) fn of(policy: &Policy) -> Self {
        let principal = match policy.principal_constraint() {
            PrincipalConstraint::Any => Extent::Any,
            PrincipalConstraint::Is(kind) => Extent::Is(kind.to_string()),
            PrincipalConstraint::In(uid) => Extent::In(named(&uid)),
            PrincipalConstraint::Eq(uid) => Extent::Eq(named(&uid)),
            PrincipalConstraint::IsIn(kind, uid) => Extent::IsIn(kind.to_string(), named(&uid)),
        };
        let resource = match policy.resource_constraint() {
            ResourceConstraint::Any => Extent::Any,
            ResourceConstraint::Is(kind) => Extent::Is(kind.to_string()),
            ResourceConstraint::In(uid) => Extent::In(named(&uid)),
            ResourceConstraint::Eq(uid) => Extent::Eq(named(&uid)),
            ResourceConstraint::IsIn(kind, uid) => Extent::IsIn(kind.to_string(), named(&uid)),
        };
        let constraint = policy.action_constraint();
        let included = Action::ALL
            .into_iter()
            .filter(|action| crate::policy::index::applies(&constraint, *action));
        let actions = included.fold(0, |bits, action| bits | 1 << action as u8);
        Self { principal, resource, actions }
    }

    /// Whether everything that the other takes in, this takes in.
    pub(super) fn covers(&self, other: &Self) -> bool {
        self.actions & other.actions == other.actions
            && self.principal.covers(&other.principal)
            && self.resource.covers(&other.resource)
    }

    /// The entities that are named.
    pub(super) fn named(&self) -> impl Iterator<Item = &Named> {
        [&self.principal, &self.resource].into_iter().filter_map(Extent::named)
    }
}

impl Extent {
    fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Any, _) => true,
            (Self::Is(kind), Self::Is(other) | Self::IsIn(other, _)) => kind == other,
            (Self::Is(kind), Self::Eq(other)) => *kind == other.kind,
            // Everything is in itself.
            (Self::In(whole), Self::In(other) | Self::IsIn(_, other) | Self::Eq(other)) => {
                whole == other
            }
            (Self::IsIn(kind, whole), Self::IsIn(other, part)) => kind == other && whole == part,
            (Self::IsIn(kind, whole), Self::Eq(other)) => *kind == other.kind && whole == other,
            (Self::Eq(one), Self::Eq(other)) => one == other,
            _ => false,
        }
    }

    fn named(&self) -> Option<&Named> {
        match self {
            Self::Any | Self::Is(_) => None,
            Self::In(named) | Self::Eq(named) | Self::IsIn(_, named) => Some(named),
        }
    }

    /// The one type that it takes in, where it says so.
    pub(super) fn kind(&self) -> Option<&str> {
        match self {
            Self::Is(kind) | Self::IsIn(kind, _) => Some(kind),
            Self::Eq(named) => Some(&named.kind),
            Self::Any | Self::In(_) => None,
        }
    }
}

fn named(uid: &EntityUid) -> Named {
    Named { kind: uid.type_name().to_string(), id: uid.id().unescaped().to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_covers_narrow_and_not_the_reverse() {
        let of =
            |scope: &str| Breadth::of(&Policy::parse(None, format!("permit ({scope});")).unwrap());
        let any = "principal, action, resource";
        let user = "principal is User, action, resource";
        let group = r#"principal in Group::"group:default/a", action, resource"#;
        let user_in = r#"principal is User in Group::"group:default/a", action, resource"#;
        let one = r#"principal == User::"t/o", action, resource"#;
        let read = r#"principal, action == Action::"read", resource"#;
        let write = r#"principal, action in Action::"write", resource"#;
        let only_write = r#"principal, action == Action::"write", resource"#;
        let listed = r#"principal, action in [Action::"read", Action::"write"], resource"#;
        let api = "principal, action, resource is API";
        let one_api = r#"principal, action, resource == API::"api:default/a""#;
        let part = r#"principal, action, resource in System::"system:default/s""#;
        let api_part = r#"principal, action, resource is API in System::"system:default/s""#;
        let other_part =
            r#"principal, action, resource is Component in System::"system:default/s""#;
        let system = r#"principal, action, resource == System::"system:default/s""#;
        let system_part = r#"principal, action, resource is System in System::"system:default/s""#;
        let other_system = r#"principal, action, resource == System::"system:default/t""#;
        for (wide, narrow, both) in [
            (any, any, true),
            (any, user, false),
            (any, group, false),
            (group, user_in, false),
            (user, user_in, false),
            (user, one, false),
            (any, read, false),
            (write, read, false),
            (write, only_write, false),
            (write, listed, true),
            (any, api, false),
            (api, one_api, false),
            (part, api_part, false),
            (api, api_part, false),
            (api_part, api_part, true),
            (system, system, true),
            // Everything is in itself.
            (part, system, false),
            (system_part, system, false),
        ] {
            assert!(of(wide).covers(&of(narrow)), "{wide} / {narrow}");
            assert_eq!(of(narrow).covers(&of(wide)), both, "{narrow} / {wide}");
        }
        for (one, other) in [
            (user, group),
            (read, only_write),
            (api, user),
            (group, one),
            (api_part, other_part),
            (api_part, one_api),
            (api_part, system),
            (system_part, other_system),
            (system, other_system),
        ] {
            for (one, other) in [(one, other), (other, one)] {
                assert!(!of(one).covers(&of(other)), "{one} / {other}");
            }
        }
    }
}
