//! What the policy engine is told of the catalog.

use crate::catalog::{Entity, Snapshot};
use crate::clock::Now;
use crate::domain::{EntityRef, GroupId, Identity, Owner, Request, RequestLine, Target};
use crate::policy::{Question, RequestFacts, ResourceFacts};

/// Who owns an entity, by the names that people know.
pub(super) fn owners(entity: Entity<'_>, snapshot: &Snapshot) -> Vec<Owner> {
    entity.owners().map(|owner| snapshot.owner(owner)).collect()
}

/// The question that a policy gate asks.
pub(super) struct Facts<'a> {
    pub(super) identity: &'a Identity,
    pub(super) entra_groups: &'a [GroupId],
    pub(super) groups: &'a [&'a EntityRef],
    pub(super) entity: Entity<'a>,
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
            entra_groups: self.entra_groups,
            groups: self.groups,
            action: self.target.action,
            resource: resource(self.entity, self.entity.wholes().collect()),
            wholes: self.wholes(),
            request: RequestFacts {
                method: self.line.method.as_str(),
                host: self.line.host.as_str(),
                path: self.line.path.as_str(),
                route: &self.target.route,
                source: self.request.source_principal,
                unix_time: self.now.unix,
                token_age: self.now.unix.saturating_sub(self.identity.issued_at).max(0),
            },
        }
    }

    /// What the entity is part of. Where two are part of each other, as a catalog can say
    /// of domains, neither is: the entity itself is part of both all the same.
    fn wholes(&self) -> Vec<ResourceFacts<'a>> {
        let wholes: Vec<Entity<'a>> =
            self.entity.wholes().filter_map(|whole| self.snapshot.entity(whole)).collect();
        let above = |one: &Entity<'_>, other: &EntityRef| {
            let circle = wholes.iter().chain([&self.entity]).any(|entity| {
                entity.entity() == other && entity.wholes().any(|whole| whole == one.entity())
            });
            !circle
        };
        wholes
            .iter()
            .map(|whole| {
                let part_of = whole.wholes().filter(|other| above(whole, other)).collect();
                resource(*whole, part_of)
            })
            .collect()
    }
}

fn resource<'a>(entity: Entity<'a>, part_of: Vec<&'a EntityRef>) -> ResourceFacts<'a> {
    ResourceFacts {
        entity: entity.entity(),
        owners: entity.owners().collect(),
        spec_type: entity.spec_type(),
        lifecycle: entity.lifecycle(),
        tags: entity.tags().collect(),
        system: entity.part_of().find(|whole| whole.kind() == "system"),
        part_of,
    }
}
