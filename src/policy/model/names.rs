//! The names of the model as Cedar's values, parsed once.

use std::str::FromStr as _;

use cedar_policy::{Entity, EntityId, EntityTypeName, EntityUid, ParseErrors};

use crate::domain::{Action, EntityRef, GroupId, Identity};

/// The names of the schema.
#[derive(Debug)]
pub(in crate::policy) struct Names {
    pub(super) group: EntityTypeName,
    pub(super) entra_group: EntityTypeName,
    pub(super) user: EntityTypeName,
    pub(super) workload: EntityTypeName,
    resources: [EntityTypeName; 6],
    actions: [(Action, EntityUid); 3],
    /// The hierarchy of the actions, which every decision needs.
    pub(super) action_entities: [Entity; 3],
}

/// The type of an entity that can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::policy) enum ResourceType {
    Component,
    Api,
    Resource,
    Template,
    System,
    Domain,
}

impl ResourceType {
    pub(in crate::policy) const ALL: [Self; 6] =
        [Self::Component, Self::Api, Self::Resource, Self::Template, Self::System, Self::Domain];

    /// The type of entities of a Backstage kind.
    pub(in crate::policy) fn of(entity: &EntityRef) -> Option<Self> {
        Self::ALL.into_iter().find(|resource| resource.kind() == entity.kind())
    }

    /// The Backstage kind, in lower case.
    pub(in crate::policy) const fn kind(self) -> &'static str {
        match self {
            Self::Component => "component",
            Self::Api => "api",
            Self::Resource => "resource",
            Self::Template => "template",
            Self::System => "system",
            Self::Domain => "domain",
        }
    }

    /// The name in the schema.
    pub(in crate::policy) const fn name(self) -> &'static str {
        match self {
            Self::Component => "Component",
            Self::Api => "API",
            Self::Resource => "Resource",
            Self::Template => "Template",
            Self::System => "System",
            Self::Domain => "Domain",
        }
    }

    pub(in crate::policy) const fn place(self) -> usize {
        self as usize
    }
}

impl Names {
    pub(in crate::policy) fn new() -> Result<Self, Box<ParseErrors>> {
        let name = |name| EntityTypeName::from_str(name).map_err(Box::new);
        let action_type = name("Action")?;
        let action = |action: Action| (action, uid(&action_type, action.as_str()));
        // As in the schema: read in write in admin.
        let action_entity = |action: Action| {
            let above = Action::ALL.into_iter().filter(|other| *other > action);
            let parents = above.map(|other| self::uid(&action_type, other.as_str()));
            Entity::new_no_attrs(uid(&action_type, action.as_str()), parents.collect())
        };
        Ok(Self {
            group: name("Group")?,
            entra_group: name("EntraGroup")?,
            user: name("User")?,
            workload: name("Workload")?,
            resources: [
                name("Component")?,
                name("API")?,
                name("Resource")?,
                name("Template")?,
                name("System")?,
                name("Domain")?,
            ],
            actions: Action::ALL.map(action),
            action_entities: Action::ALL.map(action_entity),
        })
    }

    pub(in crate::policy) fn principal(&self, identity: &Identity) -> EntityUid {
        let kind = if identity.delegated { &self.user } else { &self.workload };
        uid(kind, &format!("{}/{}", identity.tenant, identity.object))
    }

    pub(in crate::policy) fn action(&self, action: Action) -> Option<EntityUid> {
        self.actions.iter().find(|(other, _)| *other == action).map(|(_, uid)| uid.clone())
    }

    /// Nothing where policies don't know the kind.
    pub(in crate::policy) fn resource(&self, entity: &EntityRef) -> Option<EntityUid> {
        let name = self.resources.get(ResourceType::of(entity)?.place())?;
        Some(uid(name, entity.as_str()))
    }

    pub(super) fn group(&self, group: &EntityRef) -> EntityUid {
        uid(&self.group, group.as_str())
    }

    pub(super) fn entra_group(&self, group: &GroupId) -> EntityUid {
        uid(&self.entra_group, &group.to_string())
    }
}

fn uid(type_name: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(type_name.clone(), EntityId::new(id))
}
