//! Entities, reduced as they arrive to what goes into a snapshot.

use std::sync::Arc;

use super::entity::RawEntity;
use super::finding::{FindingKind, Findings, shown};
use super::names::{NONE, Names, Number, Symbols, number, place};
use super::origin::Origin;
use super::snapshot::RouteClaim;
use super::trust::{Trust, location};
use crate::domain::{Contact, Email, EntityRef, GroupId, Link, ObjectId, plain};

/// Nobody reads more of a title.
const MAX_TITLE: usize = 100;
/// What a longer claim of requests says isn't looked at.
const MAX_CLAIM: usize = 4096;

/// Entities on their way into a snapshot.
#[derive(Debug)]
pub(super) struct Draft {
    trust: Trust,
    pub(super) names: Names,
    pub(super) symbols: Symbols,
    pub(super) rows: Vec<Row>,
    /// The row of each name, if it has one.
    pub(super) row_of: Vec<Number>,
    pub(super) edges: Vec<Edge>,
    pub(super) tags: Vec<Number>,
    pub(super) claims: Vec<RouteClaim>,
    /// How to reach groups.
    pub(super) contacts: Vec<Arc<Contact>>,
    /// The Entra ids of groups and users.
    pub(super) ids: Vec<[u8; 16]>,
    pub(super) findings: Findings,
    /// Entities that came more than once.
    pub(super) repeated: usize,
}

/// What is known of an entity.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) name: Number,
    pub(super) title: Number,
    pub(super) spec_type: Number,
    pub(super) lifecycle: Number,
    pub(super) edges: Span,
    pub(super) tags: Span,
    pub(super) claim: Number,
    pub(super) contact: Number,
    /// Which of the draft's Entra ids, where one is believed.
    pub(super) id: Number,
    pub(super) origin: Origin,
    /// Whether whoever wrote it is believed about members and the hierarchy.
    pub(super) trusted: bool,
    /// Whether it stands for the whole directory.
    pub(super) tenant: bool,
    /// Another entity came under the same ref.
    pub(super) left_out: bool,
}

impl Row {
    /// Of which nothing is known.
    pub(super) const BARE: Self = Self {
        name: NONE,
        title: NONE,
        spec_type: NONE,
        lifecycle: NONE,
        edges: Span { start: 0, len: 0 },
        tags: Span { start: 0, len: 0 },
        claim: NONE,
        contact: NONE,
        id: NONE,
        origin: Origin { uid: [0; 2], location: 0 },
        trusted: false,
        tenant: false,
        left_out: false,
    };
}

/// A piece of a list that all rows share.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Span {
    pub(super) start: Number,
    pub(super) len: Number,
}

impl Span {
    pub(super) fn of<T>(self, all: &[T]) -> &[T] {
        let start = place(self.start);
        all.get(start..start.saturating_add(place(self.len))).unwrap_or_default()
    }

    pub(super) fn since<T>(start: usize, all: &[T]) -> Self {
        Self { start: number(start), len: number(all.len().saturating_sub(start)) }
    }
}

/// A relation from one entity to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Edge {
    pub(super) relation: Kind,
    /// The other's name.
    pub(super) target: Number,
}

/// The relations that count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    OwnedBy,
    ChildOf,
    MemberOf,
    PartOf,
}

impl Draft {
    pub(super) fn new(trust: Trust) -> Self {
        Self {
            trust,
            names: Names::default(),
            symbols: Symbols::default(),
            rows: Vec::new(),
            row_of: Vec::new(),
            edges: Vec::new(),
            tags: Vec::new(),
            claims: Vec::new(),
            contacts: Vec::new(),
            ids: Vec::new(),
            findings: Findings::default(),
            repeated: 0,
        }
    }

    /// Room for so many entities, so that none has to be moved.
    pub(super) fn reserve(&mut self, entities: usize) {
        if entities <= self.rows.capacity() {
            return;
        }
        // Memory that isn't written to isn't taken; a list that is moved leaves holes.
        self.rows.reserve_exact(entities.saturating_sub(self.rows.len()));
        self.row_of.reserve_exact(entities);
        self.names.reserve(entities);
        self.edges.reserve_exact(entities.saturating_mul(3));
        self.tags.reserve_exact(entities.saturating_mul(2));
    }

    /// Takes an entity in. One that can't be read is left out, and found.
    pub(super) fn add(&mut self, raw: &RawEntity<'_>) {
        let name = match self.name(raw) {
            Ok(name) => name,
            Err(message) => {
                let name = shown(raw.metadata.name.as_deref().unwrap_or("?"));
                return self.findings.add(FindingKind::Unreadable, name, message);
            }
        };
        if let Some(first) = self.row_of.get(place(name)).filter(|row| **row != NONE) {
            if let Some(first) = self.rows.get_mut(place(*first)) {
                first.left_out = true;
            }
            self.repeated += 1;
            let message = "is there twice: both are left out";
            return self.find(FindingKind::Repeated, name, message);
        }
        let row = self.reduce(name, raw);
        self.row_of.resize(self.names.len().max(place(name) + 1), NONE);
        if let Some(at) = self.row_of.get_mut(place(name)) {
            *at = number(self.rows.len());
        }
        self.rows.push(row);
    }

    /// Says something about an entity.
    pub(super) fn find(&mut self, kind: FindingKind, name: Number, message: impl Into<String>) {
        let entity = self.names.get(name).map_or("?", EntityRef::as_str).to_owned();
        self.findings.add(kind, entity, message);
    }

    fn name(&mut self, raw: &RawEntity<'_>) -> Result<Number, String> {
        let namespace = raw.metadata.namespace.as_deref().unwrap_or("default");
        if !is_dns_label(namespace) {
            let namespace = shown(namespace);
            return Err(format!(
                "left out: the namespace `{namespace}` is no lower-case DNS label"
            ));
        }
        let kind = raw.kind.as_deref().unwrap_or_default();
        let name = raw.metadata.name.as_deref().unwrap_or_default();
        self.names.intern_parts(kind, namespace, name).map_err(|error| format!("left out: {error}"))
    }

    fn reduce(&mut self, name: Number, raw: &RawEntity<'_>) -> Row {
        let trusted = self.trust.believes(raw);
        let id = self.id(name, raw);
        let id = self.keep_id(id);
        let (edges, tags) = (self.edges(name, raw), self.tags(raw));
        let title = raw.spec.profile.display_name.as_deref().or(raw.metadata.title.as_deref());
        let title = title.map(|title| plain(title, MAX_TITLE));
        let title = title.as_deref().filter(|title| !title.trim().is_empty());
        let (spec_type, lifecycle) = (raw.spec.spec_type.as_deref(), raw.spec.lifecycle.as_deref());
        let annotations = &raw.metadata.annotations;
        Row {
            name,
            title: self.symbol(title),
            spec_type: self.symbol(spec_type),
            lifecycle: self.symbol(lifecycle),
            edges,
            tags,
            claim: self.claim(name, raw),
            contact: self.contact(name, raw),
            id,
            origin: match self.trust {
                // The operator wrote it, and may write it elsewhere.
                Trust::All => Origin::default(),
                Trust::Locations { .. } => {
                    let origin = annotations.origin.as_deref();
                    Origin::new(raw.metadata.uid.as_deref(), origin)
                }
            },
            trusted,
            tenant: annotations.tenant_id.0.is_some() && annotations.group_id.0.is_none(),
            left_out: false,
        }
    }

    pub(super) fn symbol(&mut self, text: Option<&str>) -> Number {
        text.map_or(NONE, |text| self.symbols.intern(text))
    }

    fn tags(&mut self, raw: &RawEntity<'_>) -> Span {
        let start = self.tags.len();
        let mut tags: Vec<&str> = raw.metadata.tags.0.iter().filter_map(|t| t.as_deref()).collect();
        tags.sort_unstable();
        tags.dedup();
        for tag in tags {
            let tag = self.symbols.intern(tag);
            self.tags.push(tag);
        }
        Span::since(start, &self.tags)
    }

    fn edges(&mut self, name: Number, raw: &RawEntity<'_>) -> Span {
        let start = self.edges.len();
        for relation in &raw.relations.0 {
            let kind = match relation.relation.as_deref() {
                Some("ownedBy") => Kind::OwnedBy,
                Some("childOf") => Kind::ChildOf,
                Some("memberOf") => Kind::MemberOf,
                Some("partOf") => Kind::PartOf,
                _ => continue,
            };
            let target = relation.target_ref.as_deref().unwrap_or_default();
            match self.names.intern(target) {
                Ok(target) => self.edges.push(Edge { relation: kind, target }),
                // Parts of components are no concern of ownership.
                Err(_) if kind == Kind::PartOf => {}
                Err(_) => {
                    let message = format!("`{}` is no existing group or user", shown(target));
                    self.find(FindingKind::Dangling, name, message);
                }
            }
        }
        Span::since(start, &self.edges)
    }

    /// The Entra id that an entity is bound to, if it can be believed.
    fn id(&mut self, name: Number, raw: &RawEntity<'_>) -> Option<[u8; 16]> {
        let annotations = &raw.metadata.annotations;
        let kind = self.names.get(name).map(EntityRef::kind);
        let (annotation, text) = match kind {
            Some("group") => ("graph.microsoft.com/group-id", &annotations.group_id),
            Some("user") => ("graph.microsoft.com/user-id", &annotations.user_id),
            _ => return None,
        };
        let text = text.as_deref()?;
        if !self.trust.believes_id(raw, text) {
            let message = format!("`{annotation}` is not believed from `{}`", shown(location(raw)));
            self.find(FindingKind::Untrusted, name, message);
            return None;
        }
        let id = match kind {
            Some("group") => text.parse::<GroupId>().ok().map(|id| *id.as_bytes()),
            _ => text.parse::<ObjectId>().ok().map(|id| *id.as_bytes()),
        };
        if id.is_none() {
            let message = format!("`{}` is no Entra id", shown(text));
            self.find(FindingKind::InvalidId, name, message);
        }
        id
    }

    pub(super) fn keep_id(&mut self, id: Option<[u8; 16]>) -> Number {
        let Some(id) = id else { return NONE };
        self.ids.push(id);
        number(self.ids.len() - 1)
    }

    /// The Entra id of a row.
    pub(super) fn id_of(&self, row: &Row) -> Option<[u8; 16]> {
        self.ids.get(place(row.id)).copied()
    }

    /// What an entity claims to be asked for by.
    fn claim(&mut self, name: Number, raw: &RawEntity<'_>) -> Number {
        let annotations = &raw.metadata.annotations;
        let texts = [&annotations.hosts, &annotations.paths, &annotations.workloads];
        let texts = texts.map(|text| text.as_deref().unwrap_or_default());
        if texts.iter().all(|text| text.trim().is_empty()) {
            return NONE;
        }
        if texts.iter().any(|text| text.len() > MAX_CLAIM) {
            let message = format!("its claim of requests is longer than {MAX_CLAIM} bytes");
            self.find(FindingKind::Route, name, message);
            return NONE;
        }
        let [hosts, paths, workloads] = texts.map(Box::from);
        // Of a longer one nothing is known.
        let location = Some(location(raw)).filter(|text| text.len() <= MAX_CLAIM);
        let location = location.unwrap_or_default().into();
        self.claims.push(RouteClaim { hosts, paths, workloads, location });
        number(self.claims.len() - 1)
    }

    /// How to reach a group. What is no address and no link of the web is left out without
    /// a word: it decides nothing, and nobody is sent there.
    fn contact(&mut self, name: Number, raw: &RawEntity<'_>) -> Number {
        if self.names.get(name).map(EntityRef::kind) != Some("group") {
            return NONE;
        }
        let email = raw.spec.profile.email.as_deref().and_then(Email::parse);
        let links = raw.metadata.links.0.iter();
        let links =
            links.filter_map(|link| Link::parse(link.title.as_deref(), link.url.as_deref()?));
        let links = links.take(Contact::MAX_LINKS).collect();
        self.keep_contact(Arc::new(Contact { email, links }))
    }

    pub(super) fn keep_contact(&mut self, contact: Arc<Contact>) -> Number {
        if contact.is_empty() {
            return NONE;
        }
        self.contacts.push(contact);
        number(self.contacts.len() - 1)
    }

    /// The name of an interned ref, written anew for the entity of an earlier snapshot.
    pub(super) fn name_of(&mut self, entity: &EntityRef) -> Number {
        let name = self.names.intern_ref(entity).unwrap_or(NONE);
        if self.row_of.len() < self.names.len() {
            self.row_of.resize(self.names.len(), NONE);
        }
        name
    }

    /// The row of a name.
    pub(super) fn row(&self, name: Number) -> Option<&Row> {
        self.rows.get(place(*self.row_of.get(place(name))?)).filter(|row| !row.left_out)
    }
}

/// What Backstage accepts for a namespace.
fn is_dns_label(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}
