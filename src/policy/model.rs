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
use crate::domain::{Action, ClientAuth, EntityRef, Identity, IdentityKind};

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
        let principal = self.principal(question)?;
        let principal_uid = principal.uid();
        entities.push(principal);
        let resource = self.resource(&question.resource)?;
        let resource_uid = resource.uid();
        entities.push(resource);
        for whole in &question.wholes {
            entities.push(self.resource(whole)?);
        }
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

    fn principal(&self, question: &Question<'_>) -> Result<Entity, ModelError> {
        let identity: &Identity = question.identity;
        let kind = if identity.delegated { &self.user } else { &self.workload };
        let uid = uid(kind, format!("{}/{}", identity.tenant, identity.object));
        let parents: HashSet<_> = question
            .entra_groups
            .iter()
            .map(|group| self::uid(&self.entra_group, group.to_string()))
            .chain(question.groups.iter().map(|group| self.group(group)))
            .collect();
        let mut attributes = HashMap::from([
            ("tenant".to_owned(), text(identity.tenant.to_string())),
            ("object".to_owned(), text(identity.object.to_string())),
            ("scopes".to_owned(), set(identity.scopes.iter().map(|scope| &**scope))),
            ("roles".to_owned(), set(identity.roles.iter().map(|role| &**role))),
        ]);
        let facts = &identity.facts;
        attributes.extend([
            ("kind".to_owned(), text(identity.kind.as_str().to_owned())),
            ("agent".to_owned(), Value::new_bool(identity.kind == IdentityKind::Agent)),
            ("guest".to_owned(), Value::new_bool(facts.guest)),
            ("directory_roles".to_owned(), set(facts.directory_roles.iter().map(|role| &**role))),
            ("auth_contexts".to_owned(), set(facts.auth_contexts.iter().map(|name| &**name))),
        ]);
        for (name, value) in [
            ("client", identity.client.map(|client| client.to_string())),
            ("client_auth", facts.client_auth.map(ClientAuth::as_str).map(str::to_owned)),
            ("agent_parent", facts.agent_parent.map(|parent| parent.to_string())),
            ("home_tenant", facts.home_tenant.map(|tenant| tenant.to_string())),
        ] {
            if let Some(value) = value {
                attributes.insert(name.to_owned(), text(value));
            }
        }
        Entity::new(uid, attributes, parents).map_err(|e| ModelError::Entities(e.to_string()))
    }

    fn resource_uid(&self, entity: &EntityRef) -> Result<EntityUid, ModelError> {
        let (_, type_name) = self
            .resources
            .iter()
            .find(|(name, _)| *name == entity.kind())
            .ok_or_else(|| ModelError::Kind(entity.kind().to_owned()))?;
        Ok(uid(type_name, entity.as_str().to_owned()))
    }

    fn resource(&self, facts: &ResourceFacts<'_>) -> Result<Entity, ModelError> {
        let uid = self.resource_uid(facts.entity)?;
        let system = facts.system.map(|system| self.resource_uid(system)).transpose()?;
        let parents: HashSet<_> =
            facts.part_of.iter().map(|whole| self.resource_uid(whole)).collect::<Result<_, _>>()?;
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
        Entity::new(uid, attributes, parents).map_err(|e| ModelError::Entities(e.to_string()))
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
        ("token_age".to_owned(), Value::new_long(facts.token_age)),
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
