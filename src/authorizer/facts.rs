//! What the policy engine is told of the catalog.

use std::sync::Arc;

use crate::catalog::{Entity, Membership, Snapshot};
use crate::clock::Now;
use crate::domain::{Action, EntityRef, GroupId, Identity, Owners, Request, RequestLine};
use crate::policy::{Facts, Question, RequestFacts, ResourceFacts};

/// Who owns an entity, by the names that people know.
pub(super) fn owners(entity: Entity<'_>, snapshot: &Snapshot) -> Owners {
    entity.owners().map(|owner| snapshot.owner(owner)).collect()
}

/// What the catalog says about a caller and an entity.
pub(super) struct CatalogFacts<'a> {
    pub(super) identity: &'a Arc<Identity>,
    /// The directory's groups of a caller whose token doesn't list them.
    pub(super) listed: Option<&'a Arc<[GroupId]>>,
    pub(super) membership: Membership,
    pub(super) entity: Entity<'a>,
    pub(super) snapshot: &'a Snapshot,
}

impl<'a> CatalogFacts<'a> {
    pub(super) fn question(&'a self, action: Action, request: RequestFacts<'a>) -> Question<'a> {
        Question {
            identity: self.identity,
            listed: self.listed,
            action,
            entity: self.entity.entity(),
            request,
            facts: self,
            version: self.snapshot.version(),
        }
    }
}

/// What a policy may look at in a request.
pub(super) fn request<'a>(
    request: &'a Request<'_>,
    line: &'a RequestLine<'_>,
    route: &'a str,
    identity: &Identity,
    now: Now,
) -> RequestFacts<'a> {
    RequestFacts {
        method: line.method.as_str(),
        host: line.host.as_str(),
        path: line.path.as_str(),
        route,
        source: request.source_principal,
        destination: request.destination_principal,
        justification: request.justification.as_deref(),
        unix_time: now.unix,
        token_age: now.unix.saturating_sub(identity.issued_at).max(0),
    }
}

impl Facts for CatalogFacts<'_> {
    fn groups(&self) -> Vec<&EntityRef> {
        let own;
        let listed: &[GroupId] = match self.listed {
            Some(listed) => listed,
            None => {
                own = self.identity.groups();
                &own
            }
        };
        self.snapshot.groups_of(self.identity, listed, self.membership)
    }

    fn target(&self) -> Option<ResourceFacts<'_>> {
        let itself = self.entity.entity();
        let part_of = self.entity.wholes().filter(|whole| *whole != itself).collect();
        Some(self.resource_in(self.entity, part_of))
    }

    fn resource(&self, entity: &EntityRef) -> Option<ResourceFacts<'_>> {
        let entity = self.snapshot.entity(entity)?;
        // Where two are part of each other, as a catalog can say of domains, neither is: of
        // what is asked for, only that it is part of both.
        let circle = |whole: &EntityRef| {
            let whole = self.snapshot.entity(whole);
            whole.is_some_and(|whole| whole.wholes().any(|above| above == entity.entity()))
        };
        let part_of = entity.wholes().filter(|whole| !circle(whole)).collect();
        Some(self.resource_in(entity, part_of))
    }

    fn above(&self, group: &EntityRef) -> Vec<&EntityRef> {
        let group = self.snapshot.group(group);
        group.map(|group| group.ancestors().collect()).unwrap_or_default()
    }

    fn bound(&self, id: &GroupId) -> Option<&EntityRef> {
        self.snapshot.group_bound_to(id).map(|group| group.entity())
    }
}

impl CatalogFacts<'_> {
    fn resource_in<'s>(
        &'s self,
        entity: Entity<'s>,
        part_of: Vec<&'s EntityRef>,
    ) -> ResourceFacts<'s> {
        let system = entity.part_of().find(|whole| whole.kind() == "system");
        let domain_of = |entity: Entity<'s>| {
            entity.part_of().find(|whole| whole.kind() == "domain" && *whole != entity.entity())
        };
        let over = || self.snapshot.entity(system?).and_then(domain_of);
        ResourceFacts {
            entity: entity.entity(),
            owners: entity.owners().collect(),
            spec_type: entity.spec_type(),
            lifecycle: entity.lifecycle(),
            tags: entity.tags().collect(),
            system,
            domain: domain_of(entity).or_else(over),
            part_of,
        }
    }
}
