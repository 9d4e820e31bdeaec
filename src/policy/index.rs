//! Which policies can apply to a question, found by their scope.
//!
//! A policy whose scope doesn't match is neither satisfied nor can it fail: Cedar looks at
//! the scope first. So it can be left out, and a set of ten thousand costs what the few
//! cost that can match.

use std::collections::HashMap;

use cedar_policy::{ActionConstraint, EntityUid, Policy, PrincipalConstraint, ResourceConstraint};

use super::model::ResourceType;
use super::question::Question;
use super::reads::is_of_type;
use crate::domain::{Action, EntityRef, GroupId, Identity};

/// The place of a policy in its set.
pub(super) type Place = u32;

/// A set's policies by what their scope asks for.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// Those that name no entity, for each combination of types and action.
    general: Vec<Vec<Place>>,
    /// Those that name a resource, or what it is part of.
    resources: HashMap<Box<str>, Vec<Place>>,
    /// Those that name no resource, but a principal, or a group.
    principals: HashMap<Box<str>, Vec<Place>>,
    groups: HashMap<Box<str>, Vec<Place>>,
    entra_groups: HashMap<GroupId, Vec<Place>>,
    /// Which combinations of types and action each policy is for.
    combinations: Vec<u64>,
}

/// Of principal and resource types and actions.
const COMBINATIONS: usize = 2 * 6 * 3;

fn combination(delegated: bool, resource: ResourceType, action: Action) -> usize {
    (usize::from(delegated) * 6 + resource.place()) * 3 + action as usize
}

impl Index {
    /// Adds the next policy.
    pub(super) fn add(&mut self, policy: &Policy) {
        let place = Place::try_from(self.combinations.len()).unwrap_or(Place::MAX);
        if self.general.is_empty() {
            self.general = vec![Vec::new(); COMBINATIONS];
        }
        let scope = Scope::of(policy);
        self.combinations.push(scope.combinations);
        match (scope.resource, scope.principal) {
            (Named::Never, _) | (_, Named::Never) => {}
            (Named::By(entity), _) => self.resources.entry(entity).or_default().push(place),
            (Named::Any, Named::By(Caller::Principal(id))) => {
                self.principals.entry(id).or_default().push(place);
            }
            (Named::Any, Named::By(Caller::Group(group))) => {
                self.groups.entry(group).or_default().push(place);
            }
            (Named::Any, Named::By(Caller::EntraGroup(id))) => {
                self.entra_groups.entry(id).or_default().push(place);
            }
            (Named::Any, Named::Any) => {
                for (at, places) in self.general.iter_mut().enumerate() {
                    if scope.combinations & (1 << at) != 0 {
                        places.push(place);
                    }
                }
            }
        }
    }

    /// The policies whose scope can match, in their order. `part_of` is what the resource
    /// is part of.
    pub(super) fn candidates(
        &self,
        question: &Question<'_>,
        resource: ResourceType,
        part_of: &[&EntityRef],
    ) -> Vec<Place> {
        let at = combination(question.identity.delegated, resource, question.action);
        let mut found = self.general.get(at).cloned().unwrap_or_default();
        let mut add = |places: Option<&Vec<Place>>| {
            let fits = |place: &&Place| {
                let combinations =
                    usize::try_from(**place).ok().and_then(|p| self.combinations.get(p));
                combinations.is_some_and(|combinations| combinations & (1 << at) != 0)
            };
            found.extend(places.into_iter().flatten().filter(fits));
        };
        if !self.resources.is_empty() {
            add(self.resources.get(question.entity.as_str()));
            for whole in part_of {
                add(self.resources.get(whole.as_str()));
            }
        }
        if !self.principals.is_empty() {
            add(self.principals.get(&*principal(question.identity)));
        }
        if !self.groups.is_empty() {
            for group in question.facts.groups() {
                add(self.groups.get(group.as_str()));
            }
        }
        if !self.entra_groups.is_empty() {
            // One of the directory's groups is in Backstage's only, so nobody is in one over
            // another.
            for id in question.entra_groups().iter() {
                add(self.entra_groups.get(id));
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }
}

/// Whether a policy's scope can match, whoever asks: it is for this action, and for this
/// resource or what it is part of.
pub(super) fn is_about(
    policy: &Policy,
    question: &Question<'_>,
    resource: ResourceType,
    part_of: &[&EntityRef],
) -> bool {
    let scope = Scope::of(policy);
    let delegated = [true, false];
    let types = delegated.map(|delegated| combination(delegated, resource, question.action));
    let named = match &scope.resource {
        Named::Any => true,
        Named::Never => false,
        Named::By(entity) => {
            **entity == *question.entity.as_str()
                || part_of.iter().any(|whole| whole.as_str() == &**entity)
        }
    };
    named && types.iter().any(|at| scope.combinations & (1 << at) != 0)
}

fn principal(identity: &Identity) -> Box<str> {
    let kind = if identity.delegated { "User" } else { "Workload" };
    format!("{kind}::{}/{}", identity.tenant, identity.object).into()
}

/// What a scope asks for.
struct Scope {
    combinations: u64,
    resource: Named<Box<str>>,
    principal: Named<Caller>,
}

/// Whether a scope names an entity.
enum Named<T> {
    Any,
    By(T),
    /// One that nothing can be.
    Never,
}

enum Caller {
    Principal(Box<str>),
    Group(Box<str>),
    EntraGroup(GroupId),
}

impl Scope {
    fn of(policy: &Policy) -> Self {
        let (principal_type, principal) = match policy.principal_constraint() {
            PrincipalConstraint::Any => (None, Named::Any),
            PrincipalConstraint::Is(name) => (Some(name), Named::Any),
            PrincipalConstraint::In(uid) | PrincipalConstraint::Eq(uid) => (None, caller(&uid)),
            PrincipalConstraint::IsIn(name, uid) => (Some(name), caller(&uid)),
        };
        let (resource_type, resource) = match policy.resource_constraint() {
            ResourceConstraint::Any => (None, Named::Any),
            ResourceConstraint::Is(name) => (Some(name), Named::Any),
            ResourceConstraint::In(uid) | ResourceConstraint::Eq(uid) => (None, entity(&uid)),
            ResourceConstraint::IsIn(name, uid) => (Some(name), entity(&uid)),
        };
        let mut combinations = 0;
        for (delegated, name) in [(true, "User"), (false, "Workload")] {
            if principal_type.as_ref().is_some_and(|wanted| wanted.to_string() != name) {
                continue;
            }
            for resource in ResourceType::ALL {
                if resource_type.as_ref().is_some_and(|name| name.to_string() != resource.name()) {
                    continue;
                }
                for action in Action::ALL {
                    if applies(&policy.action_constraint(), action) {
                        combinations |= 1 << combination(delegated, resource, action);
                    }
                }
            }
        }
        Self { combinations, resource, principal }
    }
}

/// `read` is in `write`, and `write` in `admin`.
pub(super) fn applies(constraint: &ActionConstraint, action: Action) -> bool {
    let named = |uid: &EntityUid| uid.id().unescaped().parse::<Action>().ok();
    match constraint {
        ActionConstraint::Any => true,
        ActionConstraint::Eq(uid) => named(uid) == Some(action),
        ActionConstraint::In(uids) => uids.iter().filter_map(named).any(|wanted| wanted >= action),
    }
}

fn caller(uid: &EntityUid) -> Named<Caller> {
    let id = uid.id().unescaped();
    let name = uid.type_name().to_string();
    match name.as_str() {
        "User" | "Workload" => Named::By(Caller::Principal(format!("{name}::{id}").into())),
        "Group" => Named::By(Caller::Group(id.into())),
        "EntraGroup" => match id.parse::<GroupId>() {
            // Another spelling than the canonical one names nothing.
            Ok(group) if group.to_string() == id => Named::By(Caller::EntraGroup(group)),
            _ => Named::Never,
        },
        // Nobody is a component.
        _ => Named::Never,
    }
}

fn entity(uid: &EntityUid) -> Named<Box<str>> {
    let id = uid.id().unescaped();
    match EntityRef::of_canonical(id) {
        Ok(entity) if is_of_type(&entity, &uid.type_name().to_string()) => Named::By(id.into()),
        _ => Named::Never,
    }
}
