//! From facts to Cedar's entities.
//!
//! Everything is built as a value, never as text that Cedar would parse: a name
//! with a quote in it is a name with a quote in it.

use std::collections::{HashMap, HashSet};
use std::str::FromStr as _;

use cedar_policy::{
    Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, ParseErrors, Request,
    RestrictedExpression as Value,
};

use super::question::{Question, RequestFacts, ResourceFacts};
use crate::domain::{Action, EntityRef, Identity, IdentityKind};

/// The names of the schema, parsed once.
#[derive(Debug)]
pub(super) struct Model {
    group: EntityTypeName,
    entra_group: EntityTypeName,
    user: EntityTypeName,
    workload: EntityTypeName,
    resources: [(&'static str, EntityTypeName); 6],
    actions: [(Action, EntityUid); 3],
    /// The hierarchy of the actions, which every decision needs.
    action_entities: [Entity; 3],
}

/// A question that Cedar can't be asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum ModelError {
    #[error("entities of kind `{0}` can't be the target of a policy")]
    Kind(String),
    #[error("the entities could not be built: {0}")]
    Entities(String),
}

impl Model {
    pub(super) fn new() -> Result<Self, Box<ParseErrors>> {
        let name = |name| EntityTypeName::from_str(name).map_err(Box::new);
        let action_type = name("Action")?;
        let action = |action: Action| (action, uid(&action_type, action.as_str().to_owned()));
        // As in the schema: read in write in admin.
        let action_entity = |action: Action| {
            let above = Action::ALL.into_iter().filter(|other| *other > action);
            let parents = above.map(|other| self::uid(&action_type, other.as_str().to_owned()));
            let uid = uid(&action_type, action.as_str().to_owned());
            Entity::new_no_attrs(uid, parents.collect())
        };
        Ok(Self {
            group: name("Group")?,
            entra_group: name("EntraGroup")?,
            user: name("User")?,
            workload: name("Workload")?,
            resources: [
                ("component", name("Component")?),
                ("api", name("API")?),
                ("resource", name("Resource")?),
                ("template", name("Template")?),
                ("system", name("System")?),
                ("domain", name("Domain")?),
            ],
            actions: Action::ALL.map(action),
            action_entities: Action::ALL.map(action_entity),
        })
    }

    /// The request and the slice of entities that it is decided by.
    pub(super) fn build(&self, question: &Question<'_>) -> Result<(Request, Entities), ModelError> {
        let failed = |cause: &dyn std::fmt::Display| ModelError::Entities(cause.to_string());
        let mut entities = Vec::with_capacity(8);
        entities.extend(self.action_entities.iter().cloned());
        let principal = self.principal(question.identity, question.groups)?;
        let principal_uid = principal.uid();
        entities.push(principal);
        let resource_uid = self.resource(&question.resource, &mut entities)?;
        let entities = Entities::from_entities(entities, None).map_err(|e| failed(&e))?;
        let action = self
            .actions
            .iter()
            .find(|(action, _)| *action == question.action)
            .map(|(_, uid)| uid.clone())
            .ok_or_else(|| failed(&"no such action"))?;
        let context = context(&question.request)?;
        let request = Request::new(principal_uid, action, resource_uid, context, None)
            .map_err(|e| failed(&e))?;
        Ok((request, entities))
    }

    fn principal(&self, identity: &Identity, groups: &[&EntityRef]) -> Result<Entity, ModelError> {
        let kind = match identity.kind {
            IdentityKind::User => &self.user,
            IdentityKind::Workload => &self.workload,
        };
        let uid = uid(kind, format!("{}/{}", identity.tenant, identity.object));
        let parents: HashSet<_> = identity
            .groups
            .iter()
            .map(|group| self::uid(&self.entra_group, group.to_string()))
            .chain(groups.iter().map(|group| self.group(group)))
            .collect();
        let mut attributes = HashMap::from([
            ("tenant".to_owned(), text(identity.tenant.to_string())),
            ("object".to_owned(), text(identity.object.to_string())),
            ("scopes".to_owned(), set(identity.scopes.iter().map(|scope| &**scope))),
            ("roles".to_owned(), set(identity.roles.iter().map(|role| &**role))),
        ]);
        if let Some(client) = identity.client {
            attributes.insert("client".to_owned(), text(client.to_string()));
        }
        Entity::new(uid, attributes, parents).map_err(|e| ModelError::Entities(e.to_string()))
    }

    /// Adds the entity and what it is part of; returns its uid.
    fn resource(
        &self,
        facts: &ResourceFacts<'_>,
        entities: &mut Vec<Entity>,
    ) -> Result<EntityUid, ModelError> {
        let kind = facts.entity.kind();
        let (_, type_name) = self
            .resources
            .iter()
            .find(|(name, _)| *name == kind)
            .ok_or_else(|| ModelError::Kind(kind.to_owned()))?;
        let uid = uid(type_name, facts.entity.as_str().to_owned());
        let mut parents = HashSet::new();
        let mut system = None;
        for whole in &facts.part_of {
            let whole_uid = self.resource(whole, entities)?;
            if whole.entity.kind() == "system" {
                system = Some(whole_uid.clone());
            }
            parents.insert(whole_uid);
        }
        let owners = facts.owners.iter().map(|owner| Value::new_entity_uid(self.group(owner)));
        let mut attributes = HashMap::from([
            ("owners".to_owned(), Value::new_set(owners)),
            ("namespace".to_owned(), text(facts.entity.namespace().to_owned())),
            ("tags".to_owned(), set(facts.tags.iter().copied())),
        ]);
        if let Some(spec_type) = facts.spec_type {
            attributes.insert("type".to_owned(), text(spec_type.to_owned()));
        }
        if let Some(lifecycle) = facts.lifecycle {
            attributes.insert("lifecycle".to_owned(), text(lifecycle.to_owned()));
        }
        if let Some(system) = system {
            attributes.insert("system".to_owned(), Value::new_entity_uid(system));
        }
        // A domain can be reached over a system and directly.
        if !entities.iter().any(|entity| entity.uid() == uid) {
            let entity = Entity::new(uid.clone(), attributes, parents)
                .map_err(|e| ModelError::Entities(e.to_string()))?;
            entities.push(entity);
        }
        Ok(uid)
    }

    fn group(&self, group: &EntityRef) -> EntityUid {
        uid(&self.group, group.as_str().to_owned())
    }
}

fn context(facts: &RequestFacts<'_>) -> Result<Context, ModelError> {
    let time = chrono::DateTime::from_timestamp(facts.unix_time, 0)
        .ok_or_else(|| ModelError::Entities("the time is out of range".to_owned()))?;
    let mut pairs = vec![
        ("method".to_owned(), text(facts.method.to_owned())),
        ("host".to_owned(), text(facts.host.to_owned())),
        ("path".to_owned(), text(facts.path.to_owned())),
        ("route".to_owned(), text(facts.route.to_owned())),
        ("time".to_owned(), Value::new_datetime(time.format("%Y-%m-%dT%H:%M:%SZ").to_string())),
    ];
    if let Some(source) = facts.source {
        pairs.push(("source".to_owned(), text(source.to_owned())));
    }
    Context::from_pairs(pairs).map_err(|e| ModelError::Entities(e.to_string()))
}

fn uid(type_name: &EntityTypeName, id: String) -> EntityUid {
    EntityUid::from_type_name_and_id(type_name.clone(), EntityId::new(id))
}

fn text(value: String) -> Value {
    Value::new_string(value)
}

fn set<'a>(values: impl Iterator<Item = &'a str>) -> Value {
    Value::new_set(values.map(|value| text(value.to_owned())))
}
