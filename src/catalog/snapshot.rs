//! One immutable picture of ownership.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use super::settings::Membership;
use crate::domain::{EntityRef, GroupId, Identity, ObjectId};

/// A group, by its place in the snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupIndex(pub(super) u32);

/// Who owns what, and who is in which group. Equal contents have equal versions.
pub struct Snapshot {
    pub(super) version: Arc<str>,
    pub(super) entities: HashMap<EntityRef, Entity>,
    pub(super) groups: Vec<Group>,
    pub(super) group_by_ref: HashMap<EntityRef, GroupIndex>,
    pub(super) group_by_id: HashMap<GroupId, GroupIndex>,
    pub(super) bound_groups: Box<[GroupId]>,
    pub(super) users: HashMap<EntityRef, User>,
    pub(super) user_by_id: HashMap<ObjectId, EntityRef>,
    pub(super) findings: Vec<Finding>,
}

/// Something that can be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entity {
    /// Its ref.
    pub entity: EntityRef,
    /// `spec.type`.
    pub spec_type: Option<String>,
    /// `spec.lifecycle`.
    pub lifecycle: Option<String>,
    /// `metadata.tags`.
    pub tags: Vec<String>,
    /// The groups and users that own it and exist.
    pub owners: Vec<EntityRef>,
    /// The systems and domains that it is directly part of and that exist.
    pub part_of: Vec<EntityRef>,
    /// All systems and domains that it is part of, over others too.
    pub wholes: Vec<EntityRef>,
}

/// A Backstage group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its ref.
    pub entity: EntityRef,
    /// The name that people know it by.
    pub title: Arc<str>,
    /// The Entra group it is bound to.
    pub id: Option<GroupId>,
    /// All groups above it, sorted; itself only where it is in a cycle.
    pub(super) ancestors: Vec<GroupIndex>,
}

/// A Backstage user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The name that people know them by.
    pub title: Arc<str>,
    pub(super) member_of: Vec<GroupIndex>,
}

/// Something in the catalog that was not believed, and grants nothing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The entity, as far as it could be read.
    pub entity: String,
    /// What about it.
    pub message: String,
}

impl Snapshot {
    /// Hash of the content.
    #[must_use]
    pub fn version(&self) -> &Arc<str> {
        &self.version
    }

    /// The entity of this ref.
    #[must_use]
    pub fn entity(&self, entity: &EntityRef) -> Option<&Entity> {
        self.entities.get(entity)
    }

    /// The name that people know an owner by.
    #[must_use]
    pub fn title(&self, owner: &EntityRef) -> Option<&Arc<str>> {
        match self.group_by_ref.get(owner) {
            Some(group) => self.group(*group).map(|group| &group.title),
            None => self.users.get(owner).map(|user| &user.title),
        }
    }

    /// A group of this snapshot.
    #[must_use]
    pub fn group(&self, index: GroupIndex) -> Option<&Group> {
        self.groups.get(usize::try_from(index.0).ok()?)
    }

    /// The group of this ref.
    #[must_use]
    pub fn group_index(&self, entity: &EntityRef) -> Option<GroupIndex> {
        self.group_by_ref.get(entity).copied()
    }

    /// Every group that a caller is in, their ancestors among them, and the ref of
    /// their own User entity, which owns what its user owns. `listed` are the directory's
    /// groups of the caller, from the token or from where it points to.
    #[must_use]
    pub fn groups_of(
        &self,
        identity: &Identity,
        listed: &[GroupId],
        membership: Membership,
    ) -> Vec<&EntityRef> {
        let token = || {
            let direct = listed.iter().filter_map(|id| self.group_by_id.get(id));
            self.closure(direct.copied())
        };
        // Of an agent that acts for a user, the user.
        let user = identity.delegated.then(|| self.user_by_id.get(&identity.object)).flatten();
        let catalog = || {
            let direct = user.and_then(|user| self.users.get(user)).map(|user| &user.member_of);
            self.closure(direct.into_iter().flatten().copied())
        };
        let groups: BTreeSet<GroupIndex> = match membership {
            Membership::Token => token(),
            Membership::Catalog => catalog(),
            Membership::Either => token().union(&catalog()).copied().collect(),
            Membership::Both => token().intersection(&catalog()).copied().collect(),
        };
        let groups = groups.into_iter().filter_map(|index| self.group(index));
        groups.map(|group| &group.entity).chain(user).collect()
    }

    /// The directory's groups of a user as the catalog knows them: those of their own
    /// User entity, and their ancestors, as far as they are bound. Nothing where the
    /// catalog has no such user.
    #[must_use]
    pub fn directory_groups_of(&self, user: &ObjectId) -> Option<Vec<GroupId>> {
        let user = self.users.get(self.user_by_id.get(user)?)?;
        let groups = self.closure(user.member_of.iter().copied());
        Some(groups.into_iter().filter_map(|index| self.group(index)?.id).collect())
    }

    /// The group that one of the directory's groups is bound to.
    #[must_use]
    pub fn group_bound_to(&self, id: &GroupId) -> Option<&Group> {
        self.group(*self.group_by_id.get(id)?)
    }

    /// The directory's groups that a group of the catalog is bound to, sorted.
    #[must_use]
    pub fn bound_groups(&self) -> &[GroupId] {
        &self.bound_groups
    }

    fn closure(&self, direct: impl Iterator<Item = GroupIndex>) -> BTreeSet<GroupIndex> {
        let mut all = BTreeSet::new();
        for index in direct {
            all.insert(index);
            if let Some(group) = self.group(index) {
                all.extend(&group.ancestors);
            }
        }
        all
    }

    /// What was not believed.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Entities, groups and users.
    #[must_use]
    pub fn counts(&self) -> (usize, usize, usize) {
        (self.entities.len(), self.groups.len(), self.users.len())
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot").field("version", &self.version).finish_non_exhaustive()
    }
}
