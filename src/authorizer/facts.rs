//! What the policy engine is told of the catalog.

use std::sync::Arc;

use crate::catalog::{Entity, Snapshot};
use crate::clock::Now;
use crate::domain::{EntityRef, Identity, Owner, Request, RequestLine, Target};
use crate::policy::{Question, RequestFacts, ResourceFacts};

/// Who owns an entity, by the names that people know.
pub(super) fn owners(entity: &Entity, snapshot: &Snapshot) -> Vec<Owner> {
    let owner = |owner: &EntityRef| Owner {
        entity: owner.clone(),
        title: snapshot.title(owner).map_or_else(|| owner.name().into(), Arc::clone),
    };
    entity.owners.iter().map(owner).collect()
}

/// The question that a policy gate asks.
pub(super) struct Facts<'a> {
    pub(super) identity: &'a Identity,
    pub(super) groups: &'a [&'a EntityRef],
    pub(super) entity: &'a Entity,
    pub(super) snapshot: &'a Snapshot,
    pub(super) target: &'a Target,
    pub(super) request: &'a Request<'a>,
    pub(super) line: &'a RequestLine<'a>,
    pub(super) now: Now,
}

impl<'a> Facts<'a> {
    pub(super) fn question(&'a self) -> Question<'a> {
        Question {
            identity: self.identity,
            groups: self.groups,
            action: self.target.action,
            resource: resource(self.entity, self.snapshot, &mut Vec::new()),
            request: RequestFacts {
                method: self.line.method.as_str(),
                host: self.line.host.as_str(),
                path: self.line.path.as_str(),
                route: &self.target.route,
                source: self.request.source_principal,
                unix_time: self.now.unix,
            },
        }
    }
}

/// `way` holds the entities between the target and this one: what is part of itself,
/// as domains can be, ends there.
fn resource<'a>(
    entity: &'a Entity,
    snapshot: &'a Snapshot,
    way: &mut Vec<&'a EntityRef>,
) -> ResourceFacts<'a> {
    way.push(&entity.entity);
    let mut part_of = Vec::new();
    for whole in &entity.part_of {
        if let Some(whole) = snapshot.entity(whole).filter(|whole| !way.contains(&&whole.entity)) {
            part_of.push(resource(whole, snapshot, way));
        }
    }
    way.pop();
    ResourceFacts {
        entity: &entity.entity,
        owners: entity.owners.iter().collect(),
        spec_type: entity.spec_type.as_deref(),
        lifecycle: entity.lifecycle.as_deref(),
        tags: entity.tags.iter().map(String::as_str).collect(),
        part_of,
    }
}
