//! From entities to a snapshot.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::Hash;
use std::sync::Arc;

use aws_lc_rs::digest;

use super::entity::RawEntity;
use super::snapshot::{Entity, Finding, Group, GroupIndex, Snapshot, User};
use crate::domain::{EntityRef, GroupId, ObjectId};

const GROUP_ID: &str = "graph.microsoft.com/group-id";
const USER_ID: &str = "graph.microsoft.com/user-id";
const LOCATION: &str = "backstage.io/managed-by-location";

/// Whose word about Entra ids is believed.
#[derive(Clone, Debug)]
pub(super) enum Trust {
    /// All of them: the operator wrote the files.
    All,
    /// The Microsoft Graph provider's, and those of entities at locations that begin
    /// with one of these.
    Locations(Vec<String>),
}

/// Why entities make no snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// An answer with status 200 can be empty.
    #[error("the catalog holds no groups")]
    NoGroups,
    /// Nobody would own anything.
    #[error("the catalog holds no entity that is owned by an existing group or user")]
    NoOwnedEntities,
}

/// Entities, reduced as they arrive.
#[derive(Debug)]
pub(super) struct Draft {
    trust: Trust,
    reduced: BTreeMap<EntityRef, Option<Reduced>>,
    findings: Vec<Finding>,
    /// Entities that came more than once.
    pub(super) repeated: usize,
}

/// What of an entity goes into the snapshot.
#[derive(Clone, Debug, Default)]
struct Reduced {
    title: Option<String>,
    id: Option<String>,
    spec_type: Option<String>,
    lifecycle: Option<String>,
    tags: Vec<String>,
    /// Targets of `ownedBy`, `childOf`, `memberOf` and `partOf`, in this order.
    targets: [Vec<String>; 4],
}

const OWNED_BY: usize = 0;
const CHILD_OF: usize = 1;
const MEMBER_OF: usize = 2;
const PART_OF: usize = 3;

impl Draft {
    pub(super) fn new(trust: Trust) -> Self {
        Self { trust, reduced: BTreeMap::new(), findings: Vec::new(), repeated: 0 }
    }

    pub(super) fn find(&mut self, entity: impl Into<String>, message: impl Into<String>) {
        self.findings.push(Finding { entity: entity.into(), message: message.into() });
    }

    /// Takes an entity in. One that can't be read is left out, and found.
    pub(super) fn add(&mut self, raw: RawEntity) {
        let namespace = raw.metadata.namespace.as_deref().unwrap_or("default");
        if !is_dns_label(namespace) {
            let namespace: String = namespace.chars().take(100).collect();
            let message =
                format!("left out: the namespace `{namespace}` is no lower-case DNS label");
            return self.find(raw.metadata.name.chars().take(100).collect::<String>(), message);
        }
        let entity = match EntityRef::new(&raw.kind, namespace, &raw.metadata.name) {
            Ok(entity) => entity,
            Err(error) => {
                let name: String = raw.metadata.name.chars().take(100).collect();
                return self.find(name, format!("left out: {error}"));
            }
        };
        let reduced = self.reduce(&entity, raw);
        match self.reduced.get_mut(&entity) {
            None => {
                self.reduced.insert(entity, Some(reduced));
            }
            Some(first) => {
                // Which of the two is meant can't be known.
                *first = None;
                self.repeated += 1;
                self.find(entity.as_str(), "is there twice: both are left out");
            }
        }
    }

    fn reduce(&mut self, entity: &EntityRef, raw: RawEntity) -> Reduced {
        let id = self.id(entity, &raw);
        let display = raw.spec.profile.get("displayName").and_then(|name| name.as_str());
        let mut targets: [Vec<String>; 4] = Default::default();
        for relation in raw.relations {
            let at = match relation.relation.as_str() {
                "ownedBy" => OWNED_BY,
                "childOf" => CHILD_OF,
                "memberOf" => MEMBER_OF,
                "partOf" => PART_OF,
                _ => continue,
            };
            if let Some(list) = targets.get_mut(at) {
                list.push(relation.target_ref);
            }
        }
        for list in &mut targets {
            list.sort_unstable();
            list.dedup();
        }
        let mut tags = raw.metadata.tags;
        tags.sort_unstable();
        tags.dedup();
        Reduced {
            title: display.map(str::to_owned).or(raw.metadata.title).filter(|t| !t.is_empty()),
            id,
            spec_type: raw.spec.spec_type,
            lifecycle: raw.spec.lifecycle,
            tags,
            targets,
        }
    }

    /// The Entra id that an entity is bound to, if it can be believed.
    fn id(&mut self, entity: &EntityRef, raw: &RawEntity) -> Option<String> {
        let name = match entity.kind() {
            "group" => GROUP_ID,
            "user" => USER_ID,
            _ => return None,
        };
        let id = raw.metadata.annotations.get(name)?;
        let location = raw.metadata.annotations.get(LOCATION).map_or("", String::as_str);
        let trusted = match &self.trust {
            Trust::All => true,
            Trust::Locations(prefixes) => {
                let graph = location
                    .strip_prefix("msgraph:")
                    .and_then(|rest| rest.split_once('/'))
                    .is_some_and(|(provider, repeated)| {
                        !provider.is_empty() && repeated.eq_ignore_ascii_case(id)
                    });
                graph || prefixes.iter().any(|prefix| location.starts_with(prefix.as_str()))
            }
        };
        if trusted {
            return Some(id.clone());
        }
        self.find(entity.as_str(), format!("`{name}` is not believed from `{location}`"));
        None
    }

    /// Makes the snapshot.
    pub(super) fn compile(mut self) -> Result<Snapshot, CompileError> {
        let reduced: BTreeMap<EntityRef, Reduced> = std::mem::take(&mut self.reduced)
            .into_iter()
            .filter_map(|(entity, reduced)| Some((entity, reduced?)))
            .collect();
        // Sorted by ref, so that the order of arrival changes nothing.
        let group_refs: Vec<&EntityRef> =
            reduced.keys().filter(|entity| entity.kind() == "group").collect();
        if group_refs.is_empty() {
            return Err(CompileError::NoGroups);
        }
        let group_by_ref: HashMap<EntityRef, GroupIndex> = group_refs
            .iter()
            .enumerate()
            .filter_map(|(at, entity)| {
                Some(((*entity).clone(), GroupIndex(u32::try_from(at).ok()?)))
            })
            .collect();
        let parents: Vec<Vec<GroupIndex>> = group_refs
            .iter()
            .map(|entity| self.groups_named(entity, &reduced, CHILD_OF, &group_by_ref))
            .collect();
        let ids: Vec<Option<GroupId>> =
            group_refs.iter().map(|entity| self.parsed_id(entity, &reduced)).collect();
        let pairs = group_refs
            .iter()
            .zip(&ids)
            .filter_map(|(entity, id)| Some(((*entity).clone(), (*id)?)));
        let group_ids = self.unique(pairs.collect());
        let groups: Vec<Group> = group_refs
            .iter()
            .enumerate()
            .map(|(at, entity)| Group {
                entity: (*entity).clone(),
                title: title(entity, &reduced),
                id: ids.get(at).copied().flatten().filter(|id| group_ids.contains_key(id)),
                ancestors: ancestors(at, &parents),
            })
            .collect();
        let group_by_id = group_ids
            .into_iter()
            .filter_map(|(id, entity)| Some((id, *group_by_ref.get(&entity)?)))
            .collect();

        let user_refs: Vec<&EntityRef> =
            reduced.keys().filter(|entity| entity.kind() == "user").collect();
        let pairs: Vec<(EntityRef, ObjectId)> = user_refs
            .iter()
            .filter_map(|entity| Some(((*entity).clone(), self.parsed_id(entity, &reduced)?)))
            .collect();
        let user_by_id = self.unique(pairs);
        let users: HashMap<EntityRef, User> = user_refs
            .iter()
            .map(|entity| {
                let member_of = self.groups_named(entity, &reduced, MEMBER_OF, &group_by_ref);
                ((*entity).clone(), User { title: title(entity, &reduced), member_of })
            })
            .collect();

        let mut entities = HashMap::new();
        for (entity, reduced_entity) in &reduced {
            if matches!(entity.kind(), "group" | "user" | "location") {
                continue;
            }
            let owners = self.named(entity, reduced_entity, OWNED_BY, |owner| {
                group_by_ref.contains_key(owner) || users.contains_key(owner)
            });
            let part_of = self.named(entity, reduced_entity, PART_OF, |whole| {
                matches!(whole.kind(), "system" | "domain") && reduced.contains_key(whole)
            });
            entities.insert(
                entity.clone(),
                Entity {
                    entity: entity.clone(),
                    spec_type: reduced_entity.spec_type.clone(),
                    lifecycle: reduced_entity.lifecycle.clone(),
                    tags: reduced_entity.tags.clone(),
                    owners,
                    part_of,
                },
            );
        }
        if entities.values().all(|entity| entity.owners.is_empty()) {
            return Err(CompileError::NoOwnedEntities);
        }
        self.findings.sort();
        let mut snapshot = Snapshot {
            version: "".into(),
            entities,
            groups,
            group_by_ref,
            group_by_id,
            users,
            user_by_id,
            findings: self.findings,
        };
        snapshot.version = version(&snapshot);
        Ok(snapshot)
    }

    /// The targets of a relation that `exists` knows; the others are found.
    fn named(
        &mut self,
        entity: &EntityRef,
        reduced: &Reduced,
        relation: usize,
        exists: impl Fn(&EntityRef) -> bool,
    ) -> Vec<EntityRef> {
        let mut found = Vec::new();
        for target in reduced.targets.get(relation).into_iter().flatten() {
            match EntityRef::parse(target) {
                Ok(target) if exists(&target) => found.push(target),
                // Parts of components are no concern of ownership.
                _ if relation == PART_OF => {}
                _ => {
                    let target: String = target.chars().take(200).collect();
                    self.find(entity.as_str(), format!("`{target}` is no existing group or user"));
                }
            }
        }
        found.sort();
        found.dedup();
        found
    }

    fn groups_named(
        &mut self,
        entity: &EntityRef,
        reduced: &BTreeMap<EntityRef, Reduced>,
        relation: usize,
        groups: &HashMap<EntityRef, GroupIndex>,
    ) -> Vec<GroupIndex> {
        let Some(own) = reduced.get(entity) else { return Vec::new() };
        let named = self.named(entity, own, relation, |target| groups.contains_key(target));
        named.iter().filter_map(|target| groups.get(target).copied()).collect()
    }

    fn parsed_id<I: std::str::FromStr>(
        &mut self,
        entity: &EntityRef,
        reduced: &BTreeMap<EntityRef, Reduced>,
    ) -> Option<I> {
        let text = reduced.get(entity)?.id.as_deref()?;
        let id = text.parse().ok();
        if id.is_none() {
            let text: String = text.chars().take(100).collect();
            self.find(entity.as_str(), format!("`{text}` is no Entra id"));
        }
        id
    }

    /// Each id with its entity; one that two entities claim is nobody's.
    fn unique<I: Copy + Eq + Hash>(&mut self, pairs: Vec<(EntityRef, I)>) -> HashMap<I, EntityRef> {
        let mut owners: HashMap<I, Option<EntityRef>> = HashMap::new();
        for (entity, id) in &pairs {
            match owners.entry(*id) {
                Entry::Vacant(vacant) => {
                    vacant.insert(Some(entity.clone()));
                }
                Entry::Occupied(mut occupied) => *occupied.get_mut() = None,
            }
        }
        for (entity, id) in &pairs {
            if owners.get(id).is_some_and(Option::is_none) {
                self.find(entity.as_str(), "another entity claims its Entra id: neither has it");
            }
        }
        owners.into_iter().filter_map(|(id, entity)| Some((id, entity?))).collect()
    }
}

/// What Backstage accepts for a namespace.
fn is_dns_label(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

fn title(entity: &EntityRef, reduced: &BTreeMap<EntityRef, Reduced>) -> Arc<str> {
    let title = reduced.get(entity).and_then(|reduced| reduced.title.as_deref());
    title.unwrap_or_else(|| entity.name()).into()
}

/// Every group above, each visited once, so that cycles end.
fn ancestors(start: usize, parents: &[Vec<GroupIndex>]) -> Vec<GroupIndex> {
    let mut seen = HashSet::new();
    let mut open: Vec<GroupIndex> = parents.get(start).cloned().unwrap_or_default();
    while let Some(next) = open.pop() {
        if seen.insert(next) {
            let above = usize::try_from(next.0).ok().and_then(|at| parents.get(at));
            open.extend(above.into_iter().flatten());
        }
    }
    let mut all: Vec<_> = seen.into_iter().collect();
    all.sort_unstable();
    all
}

/// Hash of everything that decides.
fn version(snapshot: &Snapshot) -> Arc<str> {
    let mut lines: Vec<String> = Vec::new();
    for entity in snapshot.entities.values() {
        lines.push(format!("{entity:?}"));
    }
    for group in &snapshot.groups {
        lines.push(format!("{group:?}"));
    }
    for (entity, user) in &snapshot.users {
        lines.push(format!("{entity} {user:?}"));
    }
    for (id, user) in &snapshot.user_by_id {
        lines.push(format!("{id} {user}"));
    }
    lines.sort_unstable();
    let mut context = digest::Context::new(&digest::SHA256);
    for line in &lines {
        context.update(&(line.len() as u64).to_be_bytes());
        context.update(line.as_bytes());
    }
    let hash = context.finish();
    hash.as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect::<String>().into()
}
