//! What a snapshot says of one thing.

use std::sync::Arc;

use super::names::{Number, place};
use super::snapshot::{Node, Snapshot};
use crate::domain::{EntityRef, GroupId, ObjectId};

/// Something that can be asked for.
#[derive(Clone, Copy)]
pub struct Entity<'s> {
    snapshot: &'s Snapshot,
    at: usize,
    entity: &'s EntityRef,
    node: &'s Node,
}

impl<'s> Entity<'s> {
    pub(super) fn new(snapshot: &'s Snapshot, at: usize) -> Option<Self> {
        Some(Self { snapshot, at, entity: snapshot.refs.get(at)?, node: snapshot.node(at)? })
    }

    /// Its ref.
    #[must_use]
    pub fn entity(&self) -> &'s EntityRef {
        self.entity
    }

    /// `spec.type`.
    #[must_use]
    pub fn spec_type(&self) -> Option<&'s str> {
        self.snapshot.symbol(self.node.spec_type).map(|text| &**text)
    }

    /// `spec.lifecycle`.
    #[must_use]
    pub fn lifecycle(&self) -> Option<&'s str> {
        self.snapshot.symbol(self.node.lifecycle).map(|text| &**text)
    }

    /// `metadata.tags`, sorted.
    pub fn tags(&self) -> impl Iterator<Item = &'s str> + Clone + use<'s> {
        let snapshot = self.snapshot;
        snapshot.tags.get(self.at).iter().filter_map(|tag| Some(&**snapshot.symbol(*tag)?))
    }

    /// The groups and users that own it and exist, sorted.
    pub fn owners(&self) -> impl Iterator<Item = &'s EntityRef> + Clone + use<'s> {
        self.refs(self.snapshot.owners.get(self.at))
    }

    /// The systems and domains that it is directly part of and that exist.
    pub fn part_of(&self) -> impl Iterator<Item = &'s EntityRef> + Clone + use<'s> {
        self.refs(self.snapshot.part_of.get(self.at))
    }

    /// All systems and domains that it is part of, over others too.
    pub fn wholes(&self) -> impl Iterator<Item = &'s EntityRef> + Clone + use<'s> {
        self.refs(self.snapshot.wholes.get(self.at))
    }

    /// What it claims to be asked for by.
    #[must_use]
    pub fn claim(&self) -> Option<&'s super::RouteClaim> {
        let claims = &self.snapshot.claims;
        let found = claims.binary_search_by_key(&self.at, |(at, _)| place(*at)).ok()?;
        claims.get(found).map(|(_, claim)| claim)
    }

    fn refs(&self, places: &'s [Number]) -> impl Iterator<Item = &'s EntityRef> + Clone + use<'s> {
        self.snapshot.refs_of(places)
    }
}

/// A Backstage group.
#[derive(Clone, Copy)]
pub struct Group<'s> {
    snapshot: &'s Snapshot,
    at: usize,
    entity: &'s EntityRef,
}

impl<'s> Group<'s> {
    pub(super) fn new(snapshot: &'s Snapshot, at: usize) -> Option<Self> {
        Some(Self { snapshot, at, entity: snapshot.refs.get(at)? })
    }

    /// Its ref.
    #[must_use]
    pub fn entity(&self) -> &'s EntityRef {
        self.entity
    }

    /// The name that people know it by.
    #[must_use]
    pub fn title(&self) -> Arc<str> {
        self.snapshot.title_at(self.at)
    }

    /// The Entra group it is bound to.
    #[must_use]
    pub fn id(&self) -> Option<GroupId> {
        let at = self.at.checked_sub(self.snapshot.groups.start)?;
        self.snapshot.group_ids.get(at).copied().flatten()
    }

    /// The groups right above it.
    pub fn parents(&self) -> impl Iterator<Item = &'s EntityRef> + Clone + use<'s> {
        self.snapshot.refs_of(self.snapshot.parents_of(self.at))
    }

    /// All groups above it whose members its own members are, sorted; itself only where it
    /// is in a cycle.
    pub fn ancestors(&self) -> impl Iterator<Item = &'s EntityRef> + Clone + use<'s> {
        self.snapshot.refs_of(self.snapshot.ancestors_of(self.at))
    }
}

/// A Backstage user.
#[derive(Clone, Copy)]
pub struct User<'s> {
    snapshot: &'s Snapshot,
    at: usize,
    entity: &'s EntityRef,
}

impl<'s> User<'s> {
    pub(super) fn new(snapshot: &'s Snapshot, at: usize) -> Option<Self> {
        Some(Self { snapshot, at, entity: snapshot.refs.get(at)? })
    }

    /// Its ref.
    #[must_use]
    pub fn entity(&self) -> &'s EntityRef {
        self.entity
    }

    /// The name that people know them by.
    #[must_use]
    pub fn title(&self) -> Arc<str> {
        self.snapshot.title_at(self.at)
    }

    /// The object of the directory that they are.
    #[must_use]
    pub fn id(&self) -> Option<ObjectId> {
        let at = self.at.checked_sub(self.snapshot.users.start)?;
        self.snapshot.user_ids.get(at).copied().flatten()
    }

    /// The groups that they are directly in.
    pub fn member_of(&self) -> impl Iterator<Item = &'s EntityRef> + Clone + use<'s> {
        self.snapshot.refs_of(self.snapshot.member_of(self.at))
    }
}
