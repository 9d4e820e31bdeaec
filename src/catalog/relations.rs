//! The relations of entities from YAML files, as Backstage would compute them.
//!
//! Backstage resolves `spec` into `relations` and serves those; for a folder nobody
//! did. A ref without a namespace is in the namespace of the entity that names it.

use std::borrow::Cow;
use std::collections::HashMap;

use super::entity::{RawEntity, Relation};
use super::lenient::{Items, Text};
use crate::domain::EntityRef;

/// The relations of each of the entities.
pub(super) fn of(entities: &[RawEntity<'_>]) -> Vec<Items<Relation<'static>>> {
    let mut inverse: HashMap<String, Vec<Relation<'static>>> = HashMap::new();
    let mut all: Vec<Vec<Relation<'static>>> =
        entities.iter().map(|entity| own(entity, &mut inverse)).collect();
    for (entity, relations) in entities.iter().zip(&mut all) {
        if let Some(own) = name(entity) {
            relations.extend(inverse.remove(own.as_str()).unwrap_or_default());
        }
    }
    all.into_iter().map(Items).collect()
}

fn namespace<'e>(entity: &'e RawEntity<'_>) -> &'e str {
    entity.metadata.namespace.as_deref().unwrap_or("default")
}

fn name(entity: &RawEntity<'_>) -> Option<EntityRef> {
    let (kind, name) = (entity.kind.as_deref()?, entity.metadata.name.as_deref()?);
    EntityRef::new(kind, namespace(entity), name).ok()
}

/// What an entity says itself; what it says of others goes to them.
fn own(
    entity: &RawEntity<'_>,
    inverse: &mut HashMap<String, Vec<Relation<'static>>>,
) -> Vec<Relation<'static>> {
    let Some(own) = name(entity) else { return Vec::new() };
    let namespace = namespace(entity);
    let resolve =
        |text: &Text<'_>, kind: &str| EntityRef::resolve(text.as_deref()?, kind, namespace).ok();
    let mut relations = Vec::new();
    let mut relate = |relation: &'static str, target: Option<EntityRef>| {
        relations.extend(target.map(|target| link(relation, &target)));
    };
    let spec = &entity.spec;
    match own.kind() {
        "group" => {
            relate("childOf", resolve(&spec.parent, "group"));
            for child in spec.children.0.iter().filter_map(|text| resolve(text, "group")) {
                inverse.entry(child.to_string()).or_default().push(link("childOf", &own));
            }
            for member in spec.members.0.iter().filter_map(|text| resolve(text, "user")) {
                inverse.entry(member.to_string()).or_default().push(link("memberOf", &own));
            }
        }
        "user" => {
            for group in &spec.member_of.0 {
                relate("memberOf", resolve(group, "group"));
            }
        }
        _ => {
            relate("ownedBy", resolve(&spec.owner, "group"));
            for (text, kind) in [
                (&spec.system, "system"),
                (&spec.domain, "domain"),
                (&spec.subdomain_of, "domain"),
                (&spec.subcomponent_of, "component"),
            ] {
                relate("partOf", resolve(text, kind));
            }
        }
    }
    relations
}

fn link(relation: &'static str, target: &EntityRef) -> Relation<'static> {
    Relation {
        relation: Text(Some(Cow::Borrowed(relation))),
        target_ref: Text(Some(Cow::Owned(target.to_string()))),
    }
}
