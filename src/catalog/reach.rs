//! Who reaches what: questions that people ask of a snapshot. No request asks them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::names::{Number, number, place};
use super::snapshot::Snapshot;
use super::view::{Entity, Group, User};
use crate::domain::EntityRef;

/// A way from a group up to an owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way<'s> {
    /// From the group to the owner, both included.
    pub groups: Vec<&'s EntityRef>,
}

impl Snapshot {
    /// The groups whose members own an entity, each with a shortest way to the owner:
    /// groups that own it, and groups below those.
    #[must_use]
    pub fn owning_groups(&self, entity: &Entity<'_>) -> Vec<(Group<'_>, Way<'_>)> {
        let owners: Vec<Number> = entity
            .owners()
            .filter_map(|owner| self.find(owner))
            .filter(|at| self.groups.contains(at))
            .map(number)
            .collect();
        let owns = |group: usize| {
            owners.contains(&number(group))
                || self.ancestors_of(group).iter().any(|above| owners.contains(above))
        };
        let owning = self.groups.clone().filter(|group| owns(*group));
        owning
            .filter_map(|group| Some((self.group_at(group)?, self.way(group, &owners)?)))
            .collect()
    }

    /// The users that are in one of the groups as the catalog has it, or own the entity
    /// themselves.
    #[must_use]
    pub fn people_in(&self, groups: &[Group<'_>], entity: &Entity<'_>) -> Vec<User<'_>> {
        let groups: BTreeSet<Number> =
            groups.iter().filter_map(|group| self.find(group.entity())).map(number).collect();
        let owners: BTreeSet<&EntityRef> = entity.owners().collect();
        self.users
            .clone()
            .filter(|user| self.member_of(*user).iter().any(|group| groups.contains(group)))
            .chain(
                self.users
                    .clone()
                    .filter(|user| self.refs.get(*user).is_some_and(|user| owners.contains(user))),
            )
            .collect::<BTreeSet<_>>()
            .into_iter()
            .filter_map(|user| self.user_at(user))
            .collect()
    }

    /// A shortest way from a group to one of the owners.
    fn way(&self, from: usize, owners: &[Number]) -> Option<Way<'_>> {
        let mut came_from: BTreeMap<Number, Number> = BTreeMap::new();
        let mut open = VecDeque::from([number(from)]);
        let reached = self.ancestors_of(from);
        while let Some(next) = open.pop_front() {
            if owners.contains(&next) {
                let mut way = vec![next];
                while let Some(before) = way.last().and_then(|last| came_from.get(last)) {
                    way.push(*before);
                }
                way.reverse();
                let groups = way.iter().filter_map(|at| self.refs.get(place(*at))).collect();
                return Some(Way { groups });
            }
            for parent in self.parents_of(place(next)) {
                // Only over groups that count as above it.
                let counts = reached.contains(parent) && *parent != number(from);
                if counts && !came_from.contains_key(parent) {
                    came_from.insert(*parent, next);
                    open.push_back(*parent);
                }
            }
        }
        None
    }

    /// The way by which membership of one group makes somebody an owner, if it does.
    #[must_use]
    pub fn way_from(&self, group: &Group<'_>, entity: &Entity<'_>) -> Option<Way<'_>> {
        let owners: Vec<Number> =
            entity.owners().filter_map(|owner| self.find(owner)).map(number).collect();
        self.way(self.find(group.entity())?, &owners)
    }

    /// Of the groups that own an entity, the one that is nearest to somebody who is in none:
    /// with the fewest steps between one of their groups and it, up and down.
    #[must_use]
    pub fn nearest_miss(&self, theirs: &[Group<'_>], entity: &Entity<'_>) -> Option<Way<'_>> {
        let owners: Vec<Number> = entity
            .owners()
            .filter_map(|owner| self.find(owner))
            .filter(|at| self.groups.contains(at))
            .map(number)
            .collect();
        let mut children: BTreeMap<Number, Vec<Number>> = BTreeMap::new();
        for group in self.groups.clone() {
            for parent in self.parents_of(group) {
                children.entry(*parent).or_default().push(number(group));
            }
        }
        let mut came_from: BTreeMap<Number, Option<Number>> = BTreeMap::new();
        let mut open: VecDeque<Number> =
            theirs.iter().filter_map(|group| self.find(group.entity())).map(number).collect();
        came_from.extend(open.iter().map(|group| (*group, None)));
        while let Some(next) = open.pop_front() {
            if owners.contains(&next) {
                let mut way = vec![next];
                while let Some(Some(before)) = way.last().and_then(|last| came_from.get(last)) {
                    way.push(*before);
                }
                way.reverse();
                let groups = way.iter().filter_map(|at| self.refs.get(place(*at))).collect();
                return Some(Way { groups });
            }
            let below = children.get(&next).into_iter().flatten();
            for group in self.parents_of(place(next)).iter().chain(below) {
                if !came_from.contains_key(group) {
                    came_from.insert(*group, Some(next));
                    open.push_back(*group);
                }
            }
        }
        None
    }
}
