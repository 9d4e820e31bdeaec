//! From entities to a snapshot.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use super::draft::{Draft, Edge, Kind, Row, Span};
use super::encode;
use super::finding::FindingKind;
use super::hierarchy::{MAX_ANCESTORS, MAX_WHOLES, all_wholes, ancestors, under_which_all_are};
use super::lists::Lists;
use super::names::{NONE, Number, number, place};
use super::origin::{Moves, Standing};
use super::snapshot::{Node, Snapshot};
use crate::domain::{EntityRef, GroupId, ObjectId};

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

/// How entities become a snapshot.
#[derive(Debug)]
pub(super) struct Terms<'a> {
    /// When the crawl began.
    pub(super) crawled_at: i64,
    /// The snapshot that is decided by until then.
    pub(super) before: Option<&'a Snapshot>,
    /// What came from elsewhere since.
    pub(super) moves: &'a mut Moves,
    /// After how many crawls it counts.
    pub(super) adopt_after: u32,
    /// Whether what a root owns is everybody's below it.
    pub(super) roots_grant: bool,
}

/// Makes the snapshot.
pub(super) fn compile(mut draft: Draft, terms: Terms<'_>) -> Result<Snapshot, CompileError> {
    hold(&mut draft, terms.before, terms.moves, terms.adopt_after);
    let wholes = wholes(&mut draft);
    let order = Order::new(&draft, &wholes);
    let mut build = Build { draft, order, snapshot: Snapshot::empty() };
    build.groups(terms.roots_grant)?;
    build.users();
    build.entities(&wholes)?;
    (build.draft.edges, build.draft.row_of, build.order.places) = Default::default();
    drop(wholes);
    build.nodes();
    let Build { draft, order, mut snapshot } = build;
    let refs = order
        .rows
        .iter()
        .filter_map(|row| draft.names.get(draft.rows.get(place(*row))?.name).cloned());
    snapshot.refs = refs.collect();
    snapshot.crawled_at = terms.crawled_at;
    snapshot.findings = draft.findings;
    // What is left of the entities goes before what follows from them is made.
    drop((draft.names, draft.symbols, draft.rows, order));
    snapshot.findings.sort();
    snapshot.finish();
    snapshot.version = encode::version(&snapshot);
    Ok(snapshot)
}

/// Puts what was known before in the place of entities that came from elsewhere.
fn hold(draft: &mut Draft, before: Option<&Snapshot>, moves: &mut Moves, adopt_after: u32) {
    let Some(before) = before else { return };
    moves.begin();
    for at in 0..draft.rows.len() {
        let Some(row) = draft.rows.get(at).copied() else { continue };
        let Some(name) = draft.names.get(row.name).cloned() else { continue };
        let known = before.find(&name);
        let origin = match known {
            Some(known) => before.origins.get(known).copied(),
            None => moves.last_holder(&name),
        };
        let Some(origin) = origin else { continue };
        if let Standing::Held(crawls) = moves.judge(&name, origin, row.origin, adopt_after) {
            let message = format!(
                "came under a known name from elsewhere: what it was before goes on ({crawls} of {adopt_after} crawls)"
            );
            draft.find(FindingKind::Moved, row.name, message);
            let former = match known {
                Some(known) => former(draft, before, known, row),
                // The name was free: nothing goes on.
                None => Row { name: row.name, origin, left_out: row.left_out, ..Row::BARE },
            };
            if let Some(row) = draft.rows.get_mut(at) {
                *row = former;
            }
        }
    }
    for (entity, origin) in before.refs.iter().zip(&before.origins) {
        if draft.names.find(entity).and_then(|name| draft.row(name)).is_none() {
            moves.leave(entity, *origin);
        }
    }
    moves.end();
}

/// An entity as an earlier snapshot has it.
fn former(draft: &mut Draft, before: &Snapshot, at: usize, row: Row) -> Row {
    let Some(node) = before.node(at) else { return row };
    let mut symbol = |known: Number| {
        let text = before.symbol(known).map(Arc::clone);
        draft.symbol(text.as_deref())
    };
    let (title, spec_type, lifecycle) =
        (symbol(node.title), symbol(node.spec_type), symbol(node.lifecycle));
    let tags: Vec<Number> = before.tags.get(at).iter().map(|tag| symbol(*tag)).collect();
    let start = draft.tags.len();
    draft.tags.extend(tags);
    let tags = Span::since(start, &draft.tags);
    let start = draft.edges.len();
    for (relation, targets) in [
        (Kind::OwnedBy, before.owners.get(at)),
        (Kind::ChildOf, before.parents_of(at)),
        (Kind::MemberOf, before.member_of(at)),
        (Kind::PartOf, before.part_of.get(at)),
    ] {
        for target in before.refs_of(targets) {
            let target = draft.name_of(target);
            draft.edges.push(Edge { relation, target });
        }
    }
    let edges = Span::since(start, &draft.edges);
    let claim = before.entity_at(at).and_then(|entity| entity.claim()).map_or(NONE, |claim| {
        draft.claims.push(claim.clone());
        number(draft.claims.len() - 1)
    });
    let contact = before.contact_at(at).map_or(NONE, |contact| draft.keep_contact(contact));
    let id = before.group_at(at).and_then(|group| group.id()).map(|id| *id.as_bytes());
    let id = id.or_else(|| Some(*before.user_at(at)?.id()?.as_bytes()));
    let id = draft.keep_id(id);
    let origin = before.origins.get(at).copied().unwrap_or(row.origin);
    Row {
        title,
        spec_type,
        lifecycle,
        edges,
        tags,
        claim,
        contact,
        id,
        origin,
        trusted: node.trusted,
        ..row
    }
}

/// Every system and domain that each row is part of, as names. A row that is part of too
/// many is left out: without some of them a policy that forbids could miss it.
fn wholes(draft: &mut Draft) -> Lists {
    let mut all = Lists::with_capacity(draft.rows.len());
    let mut nested = Vec::new();
    for (at, row) in draft.rows.iter().enumerate() {
        let found = all_wholes(row.name, |name, found| {
            let row = draft.row(name);
            let edges = row.map(|row| row.edges.of(&draft.edges)).unwrap_or_default();
            let parts = edges.iter().filter(|edge| edge.relation == Kind::PartOf);
            found.extend(parts.map(|edge| edge.target).filter(|whole| is_whole(draft, *whole)));
        });
        if found.is_none() {
            nested.push(at);
        }
        all.push(found.unwrap_or_default());
    }
    for at in nested {
        let Some(row) = draft.rows.get_mut(at) else { continue };
        let name = row.name;
        row.left_out = true;
        let message = format!("left out: it is part of more than {MAX_WHOLES} others");
        draft.find(FindingKind::TooNested, name, message);
    }
    all
}

/// Whether a name is that of a system or domain that is there.
fn is_whole(draft: &Draft, name: Number) -> bool {
    let kind = draft.names.get(name).map(EntityRef::kind);
    matches!(kind, Some("system" | "domain")) && draft.row(name).is_some()
}

/// The rows in the order of their refs.
struct Order {
    rows: Vec<Number>,
    /// The place of each name in that order.
    places: Vec<Number>,
}

impl Order {
    fn new(draft: &Draft, wholes: &Lists) -> Self {
        debug_assert_eq!(wholes.len(), draft.rows.len());
        let name = |row: &Number| draft.rows.get(place(*row)).map(|row| row.name);
        let text = |row: &Number| name(row).and_then(|name| draft.names.get(name));
        let kept = |(at, row): (usize, &Row)| {
            let kind = draft.names.get(row.name).map(EntityRef::kind);
            (!row.left_out && kind != Some("location")).then(|| number(at))
        };
        let mut rows: Vec<Number> = draft.rows.iter().enumerate().filter_map(kept).collect();
        // So the order of arrival changes nothing.
        rows.sort_unstable_by(|a, b| text(a).cmp(&text(b)));
        let mut places = vec![NONE; draft.names.len()];
        for (at, row) in rows.iter().enumerate() {
            if let Some(place) = name(row).and_then(|name| places.get_mut(place(name))) {
                *place = number(at);
            }
        }
        Self { rows, places }
    }

    fn of(&self, name: Number) -> Option<usize> {
        self.places.get(place(name)).filter(|at| **at != NONE).map(|at| place(*at))
    }
}

/// A snapshot in the making.
struct Build {
    draft: Draft,
    order: Order,
    snapshot: Snapshot,
}

impl Build {
    fn row(&self, at: usize) -> Option<Row> {
        self.draft.rows.get(place(*self.order.rows.get(at)?)).copied()
    }

    fn kind(&self, name: Number) -> Option<&str> {
        self.draft.names.get(name).map(EntityRef::kind)
    }

    /// The places of a kind.
    fn places_of(&self, kind: &str) -> std::ops::Range<usize> {
        let is = |at: &usize| {
            self.row(*at).and_then(|row| self.kind(row.name)).is_some_and(|other| other == kind)
        };
        let start = (0..self.order.rows.len()).find(is).unwrap_or(0);
        let count = (start..self.order.rows.len()).take_while(is).count();
        start..start + count
    }

    fn groups(&mut self, roots_grant: bool) -> Result<(), CompileError> {
        let groups = self.places_of("group");
        if groups.is_empty() {
            return Err(CompileError::NoGroups);
        }
        self.snapshot.groups = groups.clone();
        // By their place among the groups, as long as only groups matter.
        let mut parents = Lists::with_capacity(groups.len());
        for at in groups.clone() {
            let found = self.groups_named(at, Kind::ChildOf);
            parents.push(found.iter().map(|parent| parent.saturating_sub(number(groups.start))));
        }
        let rows: Vec<Row> = groups.clone().filter_map(|at| self.row(at)).collect();
        let trusted: Vec<bool> = rows.iter().map(|row| row.trusted).collect();
        let mut roots = under_which_all_are(&parents, &trusted).ok_or(CompileError::TooNested)?;
        for (root, row) in roots.iter_mut().zip(&rows) {
            let spec_type = self.draft.symbols.get(row.spec_type);
            *root |= row.tenant || matches!(spec_type.map(|t| &**t), Some("root" | "organization"));
            *root &= !roots_grant;
        }
        let above = ancestors(&parents, &roots).ok_or(CompileError::TooNested)?;
        let placed = |lists: &Lists| {
            let mut placed = Lists::with_capacity(lists.len());
            for at in 0..lists.len() {
                placed.push(lists.get(at).iter().map(|group| group + number(groups.start)));
            }
            placed.shrink();
            placed
        };
        self.snapshot.parents = placed(&parents);
        self.snapshot.ancestors = placed(&above);
        let pairs: Vec<_> = groups
            .clone()
            .zip(&rows)
            .filter_map(|(at, row)| Some((at, GroupId::from_bytes(self.draft.id_of(row)?)?)))
            .collect();
        self.snapshot.group_ids = self.unique(&pairs, groups);
        self.root_owners(&roots);
        Ok(())
    }

    /// Says which roots own something, which those below them may have counted on.
    fn root_owners(&mut self, roots: &[bool]) {
        let start = self.snapshot.groups.start;
        let mut owning: Vec<Number> = Vec::new();
        for edge in self.draft.edges.iter().filter(|edge| edge.relation == Kind::OwnedBy) {
            let group = self.order.of(edge.target).and_then(|at| at.checked_sub(start));
            if group.and_then(|at| roots.get(at)).copied().unwrap_or(false) {
                owning.push(edge.target);
            }
        }
        owning.sort_unstable();
        owning.dedup();
        for name in owning {
            let message = "owns something, and everything is under it: \
                           that is not granted to the groups below it";
            self.draft.find(FindingKind::Root, name, message);
        }
    }

    fn users(&mut self) {
        let users = self.places_of("user");
        self.snapshot.users = users.clone();
        let mut member_of = Lists::with_capacity(users.len());
        for at in users.clone() {
            let groups = self.groups_named(at, Kind::MemberOf);
            member_of.push(groups);
        }
        member_of.shrink();
        self.snapshot.member_of = member_of;
        let pairs: Vec<_> = users
            .clone()
            .filter_map(|at| Some((at, ObjectId::from_bytes(self.draft.id_of(&self.row(at)?)?)?)))
            .collect();
        self.snapshot.user_ids = self.unique(&pairs, users);
    }

    fn entities(&mut self, wholes: &Lists) -> Result<(), CompileError> {
        let count = self.order.rows.len();
        let mut owners = Lists::with_capacity(count);
        let mut part_of = Lists::with_capacity(count);
        let mut all = Lists::with_capacity(count);
        let (groups, users) = (self.snapshot.groups.clone(), self.snapshot.users.clone());
        for at in 0..count {
            if groups.contains(&at) || users.contains(&at) {
                owners.push([]);
                part_of.push([]);
                all.push([]);
                continue;
            }
            let who =
                self.named(at, Kind::OwnedBy, |at| groups.contains(&at) || users.contains(&at));
            owners.push(who);
            let parts = self.edges(at, Kind::PartOf);
            let parts = parts.into_iter().filter(|name| is_whole(&self.draft, *name));
            part_of.push(self.placed(parts));
            let row = self.order.rows.get(at).map_or(usize::MAX, |row| place(*row));
            all.push(self.placed(wholes.get(row).iter().copied()));
        }
        if owners.items() == 0 {
            return Err(CompileError::NoOwnedEntities);
        }
        for lists in [&mut owners, &mut part_of, &mut all] {
            lists.shrink();
        }
        (self.snapshot.owners, self.snapshot.part_of, self.snapshot.wholes) =
            (owners, part_of, all);
        Ok(())
    }

    /// What is said of every entity by itself.
    fn nodes(&mut self) {
        let count = self.order.rows.len();
        let mut symbols: Vec<Arc<str>> = Vec::new();
        // In the order of first use, so that the order of arrival changes nothing.
        let mut known: HashMap<Number, Number> = HashMap::new();
        let mut nodes = Vec::with_capacity(count);
        let mut origins = Vec::with_capacity(count);
        let mut tags = Lists::with_capacity(count);
        let mut claims = Vec::new();
        let mut contacts = Vec::new();
        let people = [self.snapshot.groups.clone(), self.snapshot.users.clone()];
        for at in 0..count {
            let Some(row) = self.row(at) else { continue };
            let mut title = NONE;
            if people.iter().any(|places| places.contains(&at)) {
                title = row.title;
                if title == NONE {
                    let name = self.draft.names.get(row.name).map(|name| name.name().to_owned());
                    title = self.draft.symbol(name.as_deref());
                }
            }
            let draft = &self.draft;
            let mut symbol = |from: Number| match (draft.symbols.get(from), known.entry(from)) {
                (None, _) => NONE,
                (_, Entry::Occupied(known)) => *known.get(),
                (Some(text), Entry::Vacant(new)) => {
                    symbols.push(Arc::clone(text));
                    *new.insert(number(symbols.len() - 1))
                }
            };
            nodes.push(Node {
                title: symbol(title),
                spec_type: symbol(row.spec_type),
                lifecycle: symbol(row.lifecycle),
                trusted: row.trusted,
            });
            tags.push(row.tags.of(&draft.tags).iter().map(|tag| symbol(*tag)));
            origins.push(row.origin);
            if let Some(claim) = draft.claims.get(place(row.claim)) {
                claims.push((number(at), claim.clone()));
            }
            if let Some(contact) = draft.contacts.get(place(row.contact)) {
                contacts.push((number(at), Arc::clone(contact)));
            }
        }
        tags.shrink();
        symbols.shrink_to_fit();
        let snapshot = &mut self.snapshot;
        (snapshot.nodes, snapshot.symbols, snapshot.tags) = (nodes, symbols, tags);
        (snapshot.origins, snapshot.claims, snapshot.contacts) = (origins, claims, contacts);
    }

    /// The names that a row is related to, each once.
    fn edges(&self, at: usize, relation: Kind) -> Vec<Number> {
        let Some(row) = self.row(at) else { return Vec::new() };
        let edges = row.edges.of(&self.draft.edges).iter();
        let mut targets: Vec<Number> =
            edges.filter(|edge| edge.relation == relation).map(|edge| edge.target).collect();
        targets.sort_unstable();
        targets.dedup();
        targets
    }

    fn placed(&self, names: impl Iterator<Item = Number>) -> Vec<Number> {
        let mut places: Vec<Number> =
            names.filter_map(|name| self.order.of(name)).map(number).collect();
        places.sort_unstable();
        places
    }

    /// The places that a row is related to and that `fits`; the others are found.
    fn named(&mut self, at: usize, relation: Kind, fits: impl Fn(usize) -> bool) -> Vec<Number> {
        let Some(row) = self.row(at) else { return Vec::new() };
        let mut places = Vec::new();
        for target in self.edges(at, relation) {
            match self.order.of(target).filter(|at| fits(*at)) {
                Some(at) => places.push(number(at)),
                None => {
                    let target = self.draft.names.get(target).map_or("?", EntityRef::as_str);
                    let message = format!("`{target}` is no existing group or user");
                    self.draft.find(FindingKind::Dangling, row.name, message);
                }
            }
        }
        places.sort_unstable();
        places
    }

    /// The places of the groups that a row says it is in.
    ///
    /// An edge is as good as both of its ends: either could have written it. So a group
    /// that somebody put between two others connects nothing.
    fn groups_named(&mut self, at: usize, relation: Kind) -> Vec<Number> {
        let groups = self.snapshot.groups.clone();
        let Some(row) = self.row(at) else { return Vec::new() };
        let named = self.named(at, relation, |at| groups.contains(&at));
        let mut members = Vec::new();
        for target in named {
            let Some(other) = self.row(place(target)) else { continue };
            if row.trusted && other.trusted {
                members.push(target);
            } else {
                let target = self.draft.names.get(other.name).map_or("?", EntityRef::as_str);
                let message = format!("being in `{target}` is not believed: who wrote it?");
                self.draft.find(FindingKind::Untrusted, row.name, message);
            }
        }
        members
    }

    /// The id of each place; one that two entities claim is nobody's.
    fn unique<I: Copy + Eq + std::hash::Hash>(
        &mut self,
        pairs: &[(usize, I)],
        places: std::ops::Range<usize>,
    ) -> Vec<Option<I>> {
        let mut claimed: HashMap<I, u32> = HashMap::with_capacity(pairs.len());
        for (_, id) in pairs {
            *claimed.entry(*id).or_default() += 1;
        }
        let mut ids = vec![None; places.len()];
        for (at, id) in pairs {
            if claimed.get(id) == Some(&1) {
                let slot = at.checked_sub(places.start).and_then(|at| ids.get_mut(at));
                if let Some(slot) = slot {
                    *slot = Some(*id);
                }
            } else if let Some(row) = self.row(*at) {
                let message = "another entity claims its Entra id: neither has it";
                self.draft.find(FindingKind::Ambiguous, row.name, message);
            }
        }
        ids
    }
}
