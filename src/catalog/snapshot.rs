//! One immutable picture of ownership.
//!
//! Everything in it is named by its place in the sorted list of refs; what is said of it
//! stands at that place in other lists. So half a million entities take some tens of
//! megabytes, and are written down and read back nearly as they stand.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use super::finding::{Finding, Findings};
use super::lists::Lists;
use super::names::{Index, Number, number, place};
use super::origin::Origin;
use super::settings::Membership;
use super::view::{Entity, Group, User};
use crate::domain::{Contact, EntityRef, GroupId, Identity, ObjectId, Owner};

/// Who owns what, and who is in which group. Equal contents have equal versions.
pub struct Snapshot {
    pub(super) version: Arc<str>,
    /// When its crawl began, in seconds since 1970.
    pub(super) crawled_at: i64,
    /// Of everything, sorted.
    pub(super) refs: Vec<EntityRef>,
    pub(super) index: Index,
    /// The places of the groups, and of the users; refs begin with the kind.
    pub(super) groups: Range<usize>,
    pub(super) users: Range<usize>,
    pub(super) symbols: Vec<Arc<str>>,
    pub(super) nodes: Vec<Node>,
    pub(super) owners: Lists,
    pub(super) part_of: Lists,
    pub(super) wholes: Lists,
    pub(super) tags: Lists,
    /// Of groups, by their place among the groups.
    pub(super) parents: Lists,
    pub(super) ancestors: Lists,
    pub(super) group_ids: Vec<Option<GroupId>>,
    /// Of users, by their place among the users.
    pub(super) member_of: Lists,
    pub(super) user_ids: Vec<Option<ObjectId>>,
    pub(super) group_by_id: HashMap<GroupId, Number>,
    pub(super) user_by_id: HashMap<ObjectId, Number>,
    pub(super) bound_groups: Box<[GroupId]>,
    /// What entities claim to be asked for by, with their places, sorted.
    pub(super) claims: Vec<(Number, RouteClaim)>,
    /// How to reach groups, with their places, sorted: few of many have it.
    pub(super) contacts: Vec<(Number, Arc<Contact>)>,
    pub(super) origins: Vec<Origin>,
    pub(super) findings: Findings,
}

/// What is said of every entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Node {
    /// Places in the list of symbols.
    pub(super) title: Number,
    pub(super) spec_type: Number,
    pub(super) lifecycle: Number,
    /// Whether whoever wrote it was believed. Decides about edges of the next crawl only.
    pub(super) trusted: bool,
}

/// The annotations by which an entity says which requests are for it, as written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteClaim {
    /// `stagedoor.dev/hosts`.
    pub hosts: Box<str>,
    /// `stagedoor.dev/paths`.
    pub paths: Box<str>,
    /// `stagedoor.dev/workloads`.
    pub workloads: Box<str>,
    /// `backstage.io/managed-by-location`, as Backstage wrote it.
    pub location: Box<str>,
}

impl Snapshot {
    /// Hash of the content.
    #[must_use]
    pub fn version(&self) -> &Arc<str> {
        &self.version
    }

    /// When its crawl began, in seconds since 1970: what it says was true then.
    #[must_use]
    pub fn crawled_at(&self) -> i64 {
        self.crawled_at
    }

    /// The entity of this ref: something that can be asked for, so no group and no user.
    #[must_use]
    pub fn entity(&self, entity: &EntityRef) -> Option<Entity<'_>> {
        self.entity_at(self.find(entity)?)
    }

    /// Everything that can be asked for, sorted.
    pub fn entities(&self) -> impl Iterator<Item = Entity<'_>> {
        (0..self.refs.len()).filter_map(|at| self.entity_at(at))
    }

    /// The group of this ref.
    #[must_use]
    pub fn group(&self, group: &EntityRef) -> Option<Group<'_>> {
        self.group_at(self.find(group)?)
    }

    /// All groups, sorted.
    pub fn groups(&self) -> impl Iterator<Item = Group<'_>> {
        self.groups.clone().filter_map(|at| self.group_at(at))
    }

    /// The user of this ref.
    #[must_use]
    pub fn user(&self, user: &EntityRef) -> Option<User<'_>> {
        self.user_at(self.find(user)?)
    }

    /// All users, sorted.
    pub fn users(&self) -> impl Iterator<Item = User<'_>> {
        self.users.clone().filter_map(|at| self.user_at(at))
    }

    /// The user that an object of the directory is bound to.
    #[must_use]
    pub fn user_bound_to(&self, id: &ObjectId) -> Option<User<'_>> {
        self.user_at(place(*self.user_by_id.get(id)?))
    }

    /// The name that people know an owner by.
    #[must_use]
    pub fn title(&self, owner: &EntityRef) -> Option<Arc<str>> {
        let at = self.find(owner)?;
        let known = self.groups.contains(&at) || self.users.contains(&at);
        known.then(|| self.title_at(at))
    }

    /// An owner as people know it: its name, and how to reach it.
    #[must_use]
    pub fn owner(&self, owner: &EntityRef) -> Owner {
        let at = self.find(owner);
        let known = at.filter(|at| self.groups.contains(at) || self.users.contains(at));
        Owner {
            entity: owner.clone(),
            title: known.map_or_else(|| owner.name().into(), |at| self.title_at(at)),
            contact: known.and_then(|at| self.contact_at(at)),
        }
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
            let direct = user.map(|user| self.member_of(place(*user))).unwrap_or_default();
            self.closure(direct.iter().copied())
        };
        let groups: BTreeSet<Number> = match membership {
            Membership::Token => token(),
            Membership::Catalog => catalog(),
            Membership::Either => token().union(&catalog()).copied().collect(),
            Membership::Both => token().intersection(&catalog()).copied().collect(),
        };
        let groups = groups.into_iter().filter_map(|at| self.refs.get(place(at)));
        groups.chain(user.and_then(|user| self.refs.get(place(*user)))).collect()
    }

    /// The directory's groups of a user as the catalog knows them: those of their own
    /// User entity, and their ancestors, as far as they are bound. Nothing where the
    /// catalog has no such user.
    #[must_use]
    pub fn directory_groups_of(&self, user: &ObjectId) -> Option<Vec<GroupId>> {
        let direct = self.member_of(place(*self.user_by_id.get(user)?));
        let groups = self.closure(direct.iter().copied());
        Some(groups.into_iter().filter_map(|at| self.group_at(place(at))?.id()).collect())
    }

    /// The group that one of the directory's groups is bound to.
    #[must_use]
    pub fn group_bound_to(&self, id: &GroupId) -> Option<Group<'_>> {
        self.group_at(place(*self.group_by_id.get(id)?))
    }

    /// The directory's groups that a group of the catalog is bound to, sorted.
    #[must_use]
    pub fn bound_groups(&self) -> &[GroupId] {
        &self.bound_groups
    }

    /// The entities that claim requests, with what they claim.
    pub fn claims(&self) -> impl Iterator<Item = (Entity<'_>, &RouteClaim)> {
        self.claims.iter().filter_map(|(at, claim)| Some((self.entity_at(place(*at))?, claim)))
    }

    /// What was not believed.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        self.findings.kept()
    }

    /// What was not believed, with how often.
    #[must_use]
    pub fn all_findings(&self) -> &Findings {
        &self.findings
    }

    /// Entities, groups and users.
    #[must_use]
    pub fn counts(&self) -> (usize, usize, usize) {
        let (groups, users) = (self.groups.len(), self.users.len());
        (self.refs.len().saturating_sub(groups + users), groups, users)
    }

    /// Whether another snapshot says the same, what doesn't decide included.
    pub(super) fn says_the_same(&self, other: &Self) -> bool {
        self.version == other.version
            && self.nodes == other.nodes
            && self.origins == other.origins
            && self.findings == other.findings
    }

    pub(super) fn find(&self, entity: &EntityRef) -> Option<usize> {
        let text = |at: usize| self.refs.get(at).map(EntityRef::as_str);
        self.index.find(entity.as_str(), text).map(place)
    }

    pub(super) fn entity_at(&self, at: usize) -> Option<Entity<'_>> {
        let other = self.groups.contains(&at) || self.users.contains(&at);
        Entity::new(self, (!other).then_some(at)?)
    }

    pub(super) fn group_at(&self, at: usize) -> Option<Group<'_>> {
        Group::new(self, self.groups.contains(&at).then_some(at)?)
    }

    pub(super) fn user_at(&self, at: usize) -> Option<User<'_>> {
        User::new(self, self.users.contains(&at).then_some(at)?)
    }

    pub(super) fn node(&self, at: usize) -> Option<&Node> {
        self.nodes.get(at)
    }

    pub(super) fn symbol(&self, at: Number) -> Option<&Arc<str>> {
        self.symbols.get(place(at))
    }

    pub(super) fn title_at(&self, at: usize) -> Arc<str> {
        let title = self.node(at).and_then(|node| self.symbol(node.title)).cloned();
        title.unwrap_or_else(|| self.refs.get(at).map_or("", EntityRef::name).into())
    }

    pub(super) fn contact_at(&self, at: usize) -> Option<Arc<Contact>> {
        let found = self.contacts.binary_search_by_key(&at, |(at, _)| place(*at)).ok()?;
        self.contacts.get(found).map(|(_, contact)| Arc::clone(contact))
    }

    pub(super) fn refs_of(&self, places: &[Number]) -> impl Iterator<Item = &EntityRef> + Clone {
        places.iter().filter_map(|at| self.refs.get(place(*at)))
    }

    /// The direct groups of a user, by its place.
    pub(super) fn member_of(&self, user: usize) -> &[Number] {
        user.checked_sub(self.users.start).map_or(&[], |at| self.member_of.get(at))
    }

    /// The direct parents of a group, by its place.
    pub(super) fn parents_of(&self, group: usize) -> &[Number] {
        group.checked_sub(self.groups.start).map_or(&[], |at| self.parents.get(at))
    }

    /// The groups above a group, by its place.
    pub(super) fn ancestors_of(&self, group: usize) -> &[Number] {
        group.checked_sub(self.groups.start).map_or(&[], |at| self.ancestors.get(at))
    }

    fn closure(&self, direct: impl Iterator<Item = Number>) -> BTreeSet<Number> {
        let mut all = BTreeSet::new();
        for group in direct {
            all.insert(group);
            all.extend(self.ancestors_of(place(group)));
        }
        all
    }

    /// Fills in what follows from the rest.
    pub(super) fn finish(&mut self) {
        let before = |text: &str| self.refs.partition_point(|entity| entity.as_str() < text);
        // `;` is the character after `:`.
        self.groups = before("group:")..before("group;");
        self.users = before("user:")..before("user;");
        self.index =
            Index::of(self.refs.len(), |at| self.refs.get(at).map_or("", EntityRef::as_str));
        let by_place = |ids: Range<usize>| ids.map(number);
        let groups = self.group_ids.iter().zip(by_place(self.groups.clone()));
        self.group_by_id = groups.filter_map(|(id, at)| Some(((*id)?, at))).collect();
        let users = self.user_ids.iter().zip(by_place(self.users.clone()));
        self.user_by_id = users.filter_map(|(id, at)| Some(((*id)?, at))).collect();
        let mut bound: Vec<_> = self.group_by_id.keys().copied().collect();
        bound.sort_unstable();
        self.bound_groups = bound.into();
    }

    /// One without anything, to be filled.
    pub(super) fn empty() -> Self {
        Self {
            version: "".into(),
            crawled_at: 0,
            refs: Vec::new(),
            index: Index::default(),
            groups: 0..0,
            users: 0..0,
            symbols: Vec::new(),
            nodes: Vec::new(),
            owners: Lists::default(),
            part_of: Lists::default(),
            wholes: Lists::default(),
            tags: Lists::default(),
            parents: Lists::default(),
            ancestors: Lists::default(),
            group_ids: Vec::new(),
            member_of: Lists::default(),
            user_ids: Vec::new(),
            group_by_id: HashMap::new(),
            user_by_id: HashMap::new(),
            bound_groups: Box::new([]),
            claims: Vec::new(),
            contacts: Vec::new(),
            origins: Vec::new(),
            findings: Findings::default(),
        }
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot").field("version", &self.version).finish_non_exhaustive()
    }
}
