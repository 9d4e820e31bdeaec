//! The relations of entities from YAML files, as Backstage would compute them.
//!
//! Backstage resolves `spec` into `relations` and serves those; for a folder nobody
//! did. A ref without a namespace is in the namespace of the entity that names it.

use std::collections::HashMap;

use super::entity::{RawEntity, Relation};
use crate::domain::EntityRef;

/// Fills in `relations` of entities that come from files.
pub(super) fn resolve(entities: &mut [RawEntity]) {
    let mut inverse: HashMap<String, Vec<Relation>> = HashMap::new();
    for entity in entities.iter_mut() {
        let namespace = entity.metadata.namespace.clone().unwrap_or_else(|| "default".to_owned());
        let Ok(own) = EntityRef::new(&entity.kind, &namespace, &entity.metadata.name) else {
            continue;
        };
        let resolve = |text: &str, kind: &str| EntityRef::resolve(text, kind, &namespace).ok();
        let mut relations = Vec::new();
        let mut relate = |relation: &str, target: Option<EntityRef>| {
            if let Some(target) = target {
                relations.push(link(relation, &target));
            }
        };
        let spec = &entity.spec;
        match own.kind() {
            "group" => {
                relate("childOf", spec.parent.as_deref().and_then(|text| resolve(text, "group")));
                for child in spec.children.iter().filter_map(|text| resolve(text, "group")) {
                    inverse.entry(child.to_string()).or_default().push(link("childOf", &own));
                }
                for member in spec.members.iter().filter_map(|text| resolve(text, "user")) {
                    inverse.entry(member.to_string()).or_default().push(link("memberOf", &own));
                }
            }
            "user" => {
                for group in &spec.member_of {
                    relate("memberOf", resolve(group, "group"));
                }
            }
            _ => {
                relate("ownedBy", spec.owner.as_deref().and_then(|text| resolve(text, "group")));
                for (text, kind) in [
                    (&spec.system, "system"),
                    (&spec.domain, "domain"),
                    (&spec.subdomain_of, "domain"),
                    (&spec.subcomponent_of, "component"),
                ] {
                    relate("partOf", text.as_deref().and_then(|text| resolve(text, kind)));
                }
            }
        }
        entity.relations = relations;
    }
    for entity in entities.iter_mut() {
        let namespace = entity.metadata.namespace.as_deref().unwrap_or("default");
        let Ok(own) = EntityRef::new(&entity.kind, namespace, &entity.metadata.name) else {
            continue;
        };
        entity.relations.extend(inverse.remove(own.as_str()).unwrap_or_default());
    }
}

fn link(relation: &str, target: &EntityRef) -> Relation {
    Relation { relation: relation.to_owned(), target_ref: target.to_string() }
}
