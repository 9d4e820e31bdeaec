//! From entities to a snapshot.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::Arc;

use aws_lc_rs::digest;

use super::entity::RawEntity;
use super::hierarchy::{MAX_WHOLES, all_wholes, ancestors};
use super::snapshot::{Entity, Finding, Group, GroupIndex, Snapshot, User};
use crate::domain::{EntityRef, GroupId, ObjectId};

const GROUP_ID: &str = "graph.microsoft.com/group-id";
const USER_ID: &str = "graph.microsoft.com/user-id";
const LOCATION: &str = "backstage.io/managed-by-location";
/// A hundred thousand groups, fifty deep.
const MAX_ANCESTORS: usize = 5_000_000;

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
    /// Every group is kept with all groups above it.
    #[error(
        "the groups are nested too deeply: more than {MAX_ANCESTORS} pairs of one above another"
    )]
    TooNested,
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
    /// Whether whoever wrote it is believed about ids, members and the hierarchy.
    trusted: bool,
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
        let trusted = self.trusts(&raw);
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
            trusted,
            title: display.map(plain).or(raw.metadata.title.as_deref().map(plain)),
            id,
            spec_type: raw.spec.spec_type,
            lifecycle: raw.spec.lifecycle,
            tags,
            targets,
        }
    }

    /// Whether whoever wrote an entity is believed: the operator, Backstage's Microsoft
    /// Graph provider, or a location that the operator listed. Backstage itself sets the
    /// location; anybody who may register a file writes the rest.
    fn trusts(&self, raw: &RawEntity) -> bool {
        match &self.trust {
            Trust::All => true,
            Trust::Locations(prefixes) => {
                let location = location(raw);
                graph_object(location).is_some()
                    || prefixes.iter().any(|prefix| location.starts_with(prefix.as_str()))
            }
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
        let location = location(raw);
        let trusted = match &self.trust {
            Trust::All => true,
            // The provider repeats the id: what it wrote about one object can't come to
            // stand for another.
            Trust::Locations(_) => match graph_object(location) {
                Some(repeated) => repeated.eq_ignore_ascii_case(id),
                None => self.trusts(raw),
            },
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
        let mut groups: Vec<Group> = Vec::with_capacity(group_refs.len());
        let mut pairs = 0;
        for (at, entity) in group_refs.iter().enumerate() {
            let ancestors = ancestors(at, &parents);
            pairs += ancestors.len();
            if pairs > MAX_ANCESTORS {
                return Err(CompileError::TooNested);
            }
            groups.push(Group {
                entity: (*entity).clone(),
                title: title(entity, &reduced),
                id: ids.get(at).copied().flatten().filter(|id| group_ids.contains_key(id)),
                ancestors,
            });
        }
        let mut bound_groups: Vec<GroupId> = group_ids.keys().copied().collect();
        bound_groups.sort_unstable();
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
            let part_of = self.wholes(entity, reduced_entity, &reduced);
            let Some(wholes) = all_wholes(entity, |entity| direct_wholes(entity, &reduced)) else {
                // Without some of them a policy that forbids could miss it.
                let message = format!("left out: it is part of more than {MAX_WHOLES} others");
                self.find(entity.as_str(), message);
                continue;
            };
            entities.insert(
                entity.clone(),
                Entity {
                    entity: entity.clone(),
                    spec_type: reduced_entity.spec_type.clone(),
                    lifecycle: reduced_entity.lifecycle.clone(),
                    tags: reduced_entity.tags.clone(),
                    owners,
                    part_of,
                    wholes,
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
            bound_groups: bound_groups.into(),
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

    /// The systems and domains that an entity is directly part of.
    fn wholes(
        &mut self,
        entity: &EntityRef,
        own: &Reduced,
        reduced: &BTreeMap<EntityRef, Reduced>,
    ) -> Vec<EntityRef> {
        self.named(entity, own, PART_OF, |whole| is_whole(whole, reduced))
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
        // An edge is as good as both of its ends: either could have written it. So a group
        // that somebody put between two others connects nothing.
        let believed = |target: &EntityRef| {
            own.trusted && reduced.get(target).is_some_and(|target| target.trusted)
        };
        let mut members = Vec::new();
        for target in &named {
            if believed(target) {
                members.extend(groups.get(target).copied());
            } else {
                let message = format!("being in `{target}` is not believed: who wrote it?");
                self.find(entity.as_str(), message);
            }
        }
        members
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

fn location(raw: &RawEntity) -> &str {
    raw.metadata.annotations.get(LOCATION).map_or("", String::as_str)
}

/// The object that a location of the Microsoft Graph provider names:
/// `msgraph:<provider>/<object id>`.
fn graph_object(location: &str) -> Option<&str> {
    let (provider, object) = location.strip_prefix("msgraph:")?.split_once('/')?;
    (!provider.is_empty()).then_some(object)
}

/// A text for people, as much of it as they read, and nothing that moves what stands
/// around it: control characters and marks that turn the direction of writing.
fn plain(text: &str) -> String {
    const LONGEST: usize = 100;
    let turns = |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().filter(|c| !c.is_control() && !turns(*c)).take(LONGEST).collect()
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
    title.filter(|title| !title.trim().is_empty()).unwrap_or_else(|| entity.name()).into()
}

/// The systems and domains that an entity says it is part of, as far as they exist.
fn direct_wholes(entity: &EntityRef, reduced: &BTreeMap<EntityRef, Reduced>) -> Vec<EntityRef> {
    let targets = reduced.get(entity).and_then(|own| own.targets.get(PART_OF));
    let parsed = targets.into_iter().flatten().filter_map(|target| EntityRef::parse(target).ok());
    parsed.filter(|whole| is_whole(whole, reduced)).collect()
}

fn is_whole(whole: &EntityRef, reduced: &BTreeMap<EntityRef, Reduced>) -> bool {
    matches!(whole.kind(), "system" | "domain") && reduced.contains_key(whole)
}

/// Hash of everything that decides, fed in the order of the refs.
fn version(snapshot: &Snapshot) -> Arc<str> {
    let mut context = digest::Context::new(&digest::SHA256);
    let mut feed = |text: &str| {
        context.update(&(text.len() as u64).to_be_bytes());
        context.update(text.as_bytes());
    };
    let mut entities: Vec<_> = snapshot.entities.values().collect();
    entities.sort_unstable_by(|a, b| a.entity.cmp(&b.entity));
    for entity in entities {
        feed(&format!("{entity:?}"));
    }
    // Already in the order of their refs, as are the indices that they hold.
    for group in &snapshot.groups {
        feed(&format!("{} {:?} {:?}", group.entity, group.title, group.id));
        for above in &group.ancestors {
            feed(&above.0.to_string());
        }
    }
    let mut users: Vec<_> = snapshot.users.iter().collect();
    users.sort_unstable_by(|a, b| a.0.cmp(b.0));
    for (entity, user) in users {
        feed(&format!("{entity} {user:?}"));
    }
    let mut ids: Vec<_> = snapshot.user_by_id.iter().collect();
    ids.sort_unstable();
    for (id, user) in ids {
        feed(&format!("{id} {user}"));
    }
    let hash = context.finish();
    hash.as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect::<String>().into()
}
