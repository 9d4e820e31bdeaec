//! From facts to Cedar's entities: those that the policies at hand can see.
//!
//! Everything is built as a value, never as text that Cedar would parse: a name
//! with a quote in it is a name with a quote in it.
//!
//! Of callers and resources only those attributes are built that a policy reads.
//!
//! Of the caller's groups only those are handed over that a policy names or that own
//! something in the slice: no other can make a difference, since a policy has no way to
//! come by one.

use std::collections::{BTreeSet, HashMap, HashSet};

use cedar_policy::{Context, Entities, Entity, EntityUid, RestrictedExpression as Value};

use super::names::Names;
use crate::domain::{EntityRef, Identity, IdentityKind};
use crate::policy::question::{Question, RequestFacts, ResourceFacts};
use crate::policy::reads::{Member, Reads};

/// A question that Cedar can't be asked.
#[derive(Debug, thiserror::Error)]
pub(in crate::policy) enum ModelError {
    #[error("entities of kind `{0}` can't be the target of a policy")]
    Kind(String),
    #[error("`{0}` is not in the catalog")]
    Unknown(EntityRef),
    #[error("the entities could not be built: {0}")]
    Entities(String),
}

/// The entities that policies with these reads can see.
pub(in crate::policy) fn slice(
    names: &Names,
    question: &Question<'_>,
    reads: &Reads,
) -> Result<Entities, ModelError> {
    let facts = question.facts;
    let target = facts.target().ok_or_else(|| ModelError::Unknown(question.entity.clone()))?;
    let mut resources: Vec<ResourceFacts<'_>> = vec![target];
    let mut seen: HashSet<&EntityRef> = HashSet::from([question.entity]);
    let named = reads.resources.iter().filter_map(|entity| facts.resource(entity));
    for resource in named {
        if seen.insert(resource.entity) {
            resources.push(resource);
        }
    }
    // What these are part of; the lists hold everything above, so one round is enough.
    let wholes: BTreeSet<&EntityRef> =
        resources.iter().flat_map(|resource| resource.part_of.iter().copied()).collect();
    for whole in wholes {
        if !seen.contains(whole)
            && let Some(whole) = facts.resource(whole)
        {
            seen.insert(whole.entity);
            resources.push(whole);
        }
    }

    let mut matter: HashSet<&EntityRef> = reads.groups.iter().collect();
    matter.extend(resources.iter().flat_map(|resource| resource.owners.iter().copied()));
    let mut entities = Vec::with_capacity(resources.len() + 8);
    entities.extend(names.action_entities.iter().cloned());
    entities.push(principal(names, question, reads, &matter)?);
    for group in &reads.groups {
        // Groups in a circle are each above the other, which Cedar's hierarchy can't hold:
        // whoever is in one is in both, and neither is in the other.
        let circle = |other: &EntityRef| other == group || facts.above(other).contains(&group);
        let above = facts.above(group).into_iter();
        let above = above.filter(|other| matter.contains(other) && !circle(other));
        let parents = above.map(|group| names.group(group)).collect();
        entities.push(Entity::new_no_attrs(names.group(group), parents));
    }
    for id in &reads.entra_groups {
        let bound = facts.bound(id);
        let above = bound.map(|group| facts.above(group)).unwrap_or_default();
        let all = bound.into_iter().chain(above).filter(|group| matter.contains(group));
        let parents = all.map(|group| names.group(group)).collect();
        entities.push(Entity::new_no_attrs(names.entra_group(id), parents));
    }
    for facts in &resources {
        entities.push(resource(names, facts, reads)?);
    }
    Entities::from_entities(entities, None).map_err(|e| ModelError::Entities(e.to_string()))
}

fn principal(
    names: &Names,
    question: &Question<'_>,
    reads: &Reads,
    matter: &HashSet<&EntityRef>,
) -> Result<Entity, ModelError> {
    let identity: &Identity = question.identity;
    let listed: HashSet<_> = match reads.entra_groups.is_empty() {
        true => HashSet::new(),
        false => question.entra_groups().iter().copied().collect(),
    };
    let named = reads.entra_groups.iter().filter(|id| listed.contains(*id));
    let groups = question.facts.groups();
    let parents: HashSet<EntityUid> = named
        .map(|group| names.entra_group(group))
        .chain(groups.iter().filter(|group| matter.contains(*group)).map(|g| names.group(g)))
        .collect();
    let read = |name: &str| reads.attributes.contains(name);
    let facts = &identity.facts;
    let mut attributes = Attributes::new(&read);
    attributes.add("tenant", || text(identity.tenant.to_string()));
    attributes.add("object", || text(identity.object.to_string()));
    attributes.add("scopes", || set(identity.scopes.iter().map(|scope| &**scope)));
    attributes.add("roles", || set(identity.roles.iter().map(|role| &**role)));
    attributes.add("kind", || text(identity.kind.as_str().to_owned()));
    attributes.add("agent", || Value::new_bool(identity.kind == IdentityKind::Agent));
    attributes.add("guest", || Value::new_bool(facts.guest));
    attributes.add("directory_roles", || set(facts.directory_roles.iter().map(|role| &**role)));
    attributes.add("auth_contexts", || set(facts.auth_contexts.iter().map(|name| &**name)));
    attributes.add_some("client", || Some(text(identity.client?.to_string())));
    attributes.add_some("client_auth", || Some(text(facts.client_auth?.as_str().to_owned())));
    attributes.add_some("agent_parent", || Some(text(facts.agent_parent?.to_string())));
    attributes.add_some("home_tenant", || Some(text(facts.home_tenant?.to_string())));
    Entity::new(names.principal(identity), attributes.found, parents)
        .map_err(|e| ModelError::Entities(e.to_string()))
}

fn resource(names: &Names, facts: &ResourceFacts<'_>, reads: &Reads) -> Result<Entity, ModelError> {
    let uid_of = |entity: &EntityRef| {
        names.resource(entity).ok_or_else(|| ModelError::Kind(entity.kind().to_owned()))
    };
    let parents = facts.part_of.iter().map(|whole| uid_of(whole)).collect::<Result<_, _>>()?;
    let entity = facts.entity;
    let read = |name: &str| reads.attributes.contains(name);
    let mut attributes = Attributes::new(&read);
    attributes.add("owners", || {
        Value::new_set(facts.owners.iter().map(|owner| Value::new_entity_uid(names.group(owner))))
    });
    attributes.add("kind", || text(entity.kind().to_owned()));
    attributes.add("namespace", || text(entity.namespace().to_owned()));
    attributes.add("name", || text(entity.name().to_owned()));
    attributes.add("tags", || set(facts.tags.iter().copied()));
    attributes.add_some("type", || Some(text(facts.spec_type?.to_owned())));
    attributes.add_some("lifecycle", || Some(text(facts.lifecycle?.to_owned())));
    let is_part = !matches!(entity.kind(), "system" | "domain");
    for (name, whole) in [("system", facts.system.filter(|_| is_part)), ("domain", facts.domain)] {
        if let Some(whole) = whole {
            let whole = Value::new_entity_uid(uid_of(whole)?);
            attributes.add(name, || whole);
        }
    }
    Entity::new(uid_of(entity)?, attributes.found, parents)
        .map_err(|e| ModelError::Entities(e.to_string()))
}

/// The members of the context that are read.
pub(in crate::policy) fn context(
    facts: &RequestFacts<'_>,
    reads: &Reads,
) -> Result<Context, ModelError> {
    let mut pairs = Vec::new();
    for member in reads.context.iter() {
        let value = match member {
            Member::Method => text(facts.method.to_owned()),
            Member::Host => text(facts.host.to_owned()),
            Member::Path => text(facts.path.to_owned()),
            Member::Route => text(facts.route.to_owned()),
            Member::TokenAge => Value::new_long(facts.token_age),
            Member::Time => {
                let time = chrono::DateTime::from_timestamp(facts.unix_time, 0)
                    .ok_or_else(|| ModelError::Entities("the time is out of range".to_owned()))?;
                Value::new_datetime(time.format("%Y-%m-%dT%H:%M:%SZ").to_string())
            }
            Member::Weekday => Value::new_long(facts.weekday()),
            Member::Source => match facts.source {
                Some(source) => text(source.to_owned()),
                None => continue,
            },
            Member::Destination => match facts.destination {
                Some(destination) => text(destination.to_owned()),
                None => continue,
            },
            Member::Justification => match facts.justification {
                Some(justification) => text(justification.to_owned()),
                None => continue,
            },
        };
        pairs.push((member.name().to_owned(), value));
    }
    Context::from_pairs(pairs).map_err(|e| ModelError::Entities(e.to_string()))
}

/// The attributes of an entity that are read.
struct Attributes<'a> {
    read: &'a dyn Fn(&str) -> bool,
    found: HashMap<String, Value>,
}

impl<'a> Attributes<'a> {
    fn new(read: &'a dyn Fn(&str) -> bool) -> Self {
        Self { read, found: HashMap::new() }
    }

    fn add(&mut self, name: &str, value: impl FnOnce() -> Value) {
        self.add_some(name, || Some(value()));
    }

    /// Adds one that there may be.
    fn add_some(&mut self, name: &str, value: impl FnOnce() -> Option<Value>) {
        if (self.read)(name)
            && let Some(value) = value()
        {
            self.found.insert(name.to_owned(), value);
        }
    }
}

fn text(value: String) -> Value {
    Value::new_string(value)
}

fn set<'a>(values: impl Iterator<Item = &'a str>) -> Value {
    Value::new_set(values.map(|value| text(value.to_owned())))
}
