//! What became different from one snapshot to the next.

use std::cmp::Ordering;
use std::fmt;

use super::names::{Number, place};
use super::snapshot::{RouteClaim, Snapshot};
use crate::domain::EntityRef;

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What happened.
    pub kind: ChangeKind,
    /// To what.
    pub entity: EntityRef,
    /// The owner, group, parent, Entra id or claim that it is about, if any.
    pub other: Option<String>,
}

/// What can happen. The codes are used alike in records, in JSON and in the docs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChangeKind {
    /// Something is new in the catalog.
    Added,
    /// Something is gone from it.
    Removed,
    /// An entity has a further owner.
    OwnerAdded,
    /// An entity has an owner less.
    OwnerRemoved,
    /// A group is under a further group.
    ParentAdded,
    /// A group is no longer under a group.
    ParentRemoved,
    /// A user is in a further group.
    MemberAdded,
    /// A user is no longer in a group.
    MemberRemoved,
    /// A group or user is bound to an object of the directory.
    BindingAdded,
    /// A group or user is no longer bound to one.
    BindingRemoved,
    /// An entity claims requests.
    RouteAdded,
    /// An entity no longer claims requests.
    RouteRemoved,
}

impl ChangeKind {
    /// Its stable code.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::OwnerAdded => "owner_added",
            Self::OwnerRemoved => "owner_removed",
            Self::ParentAdded => "parent_added",
            Self::ParentRemoved => "parent_removed",
            Self::MemberAdded => "member_added",
            Self::MemberRemoved => "member_removed",
            Self::BindingAdded => "binding_added",
            Self::BindingRemoved => "binding_removed",
            Self::RouteAdded => "route_added",
            Self::RouteRemoved => "route_removed",
        }
    }

    /// Whether it takes something away.
    #[must_use]
    pub fn is_loss(self) -> bool {
        matches!(
            self,
            Self::Removed
                | Self::OwnerRemoved
                | Self::ParentRemoved
                | Self::MemberRemoved
                | Self::BindingRemoved
                | Self::RouteRemoved
        )
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.code(), self.entity)?;
        self.other.as_ref().map_or(Ok(()), |other| write!(f, " {other}"))
    }
}

/// Tells every difference, in the order of the refs.
pub fn changes(before: &Snapshot, after: &Snapshot, mut tell: impl FnMut(Change)) {
    let (mut old, mut new) = (0, 0);
    loop {
        let (was, is) = (before.refs.get(old), after.refs.get(new));
        let order = match (was, is) {
            (None, None) => return,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(was), Some(is)) => was.cmp(is),
        };
        let (was, is) = (was.filter(|_| order.is_le()), is.filter(|_| order.is_ge()));
        let Some(entity) = was.or(is) else { return };
        let told = &mut |kind, other| tell(Change { kind, entity: entity.clone(), other });
        let one = Pair {
            before: was.map(|_| Side { snapshot: before, at: old }),
            after: is.map(|_| Side { snapshot: after, at: new }),
        };
        one.compare(told);
        old += usize::from(was.is_some());
        new += usize::from(is.is_some());
    }
}

/// A thing of a snapshot.
#[derive(Clone, Copy)]
struct Side<'s> {
    snapshot: &'s Snapshot,
    at: usize,
}

/// One thing before and after.
struct Pair<'s> {
    before: Option<Side<'s>>,
    after: Option<Side<'s>>,
}

impl Pair<'_> {
    fn compare(&self, tell: &mut impl FnMut(ChangeKind, Option<String>)) {
        match (self.before, self.after) {
            (None, Some(_)) => tell(ChangeKind::Added, None),
            (Some(_), None) => tell(ChangeKind::Removed, None),
            _ => {}
        }
        self.refs(Side::owners, ChangeKind::OwnerRemoved, ChangeKind::OwnerAdded, tell);
        self.refs(Side::parents, ChangeKind::ParentRemoved, ChangeKind::ParentAdded, tell);
        self.refs(Side::member_of, ChangeKind::MemberRemoved, ChangeKind::MemberAdded, tell);
        self.texts(Side::id, ChangeKind::BindingRemoved, ChangeKind::BindingAdded, tell);
        self.texts(Side::claim, ChangeKind::RouteRemoved, ChangeKind::RouteAdded, tell);
    }

    fn refs<'s>(
        &'s self,
        of: impl Fn(Side<'s>) -> &'s [Number],
        removed: ChangeKind,
        added: ChangeKind,
        tell: &mut impl FnMut(ChangeKind, Option<String>),
    ) {
        let refs = |side: Option<Side<'s>>| {
            let side = side.map(|side| side.snapshot.refs_of(of(side)));
            side.into_iter().flatten()
        };
        // Places are sorted as their refs are, so these are sorted lists.
        let (mut was, mut is) = (refs(self.before).peekable(), refs(self.after).peekable());
        loop {
            let order = match (was.peek(), is.peek()) {
                (None, None) => return,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(was), Some(is)) => was.cmp(is),
            };
            let gone = if order.is_le() { was.next() } else { None };
            let come = if order.is_ge() { is.next() } else { None };
            match (gone, come) {
                (Some(gone), None) => tell(removed, Some(gone.to_string())),
                (None, Some(come)) => tell(added, Some(come.to_string())),
                _ => {}
            }
        }
    }

    fn texts<'s>(
        &'s self,
        of: impl Fn(Side<'s>) -> Option<String>,
        removed: ChangeKind,
        added: ChangeKind,
        tell: &mut impl FnMut(ChangeKind, Option<String>),
    ) {
        let (was, is) = (self.before.and_then(&of), self.after.and_then(&of));
        if was == is {
            return;
        }
        if was.is_some() {
            tell(removed, was);
        }
        if is.is_some() {
            tell(added, is);
        }
    }
}

impl<'s> Side<'s> {
    fn owners(self) -> &'s [Number] {
        self.snapshot.owners.get(self.at)
    }

    fn parents(self) -> &'s [Number] {
        self.snapshot.parents_of(self.at)
    }

    fn member_of(self) -> &'s [Number] {
        let is_user = self.snapshot.users.contains(&self.at);
        if is_user { self.snapshot.member_of(self.at) } else { &[] }
    }

    fn id(self) -> Option<String> {
        let group = self.snapshot.group_at(self.at).and_then(|group| group.id());
        let user = || self.snapshot.user_at(self.at).and_then(|user| user.id());
        group.map(|id| id.to_string()).or_else(|| user().map(|id| id.to_string()))
    }

    fn claim(self) -> Option<String> {
        let claims = &self.snapshot.claims;
        let found = claims.binary_search_by_key(&self.at, |(at, _)| place(*at)).ok()?;
        let (_, RouteClaim { hosts, paths, workloads, .. }) = claims.get(found)?;
        Some(format!("hosts `{hosts}` paths `{paths}` workloads `{workloads}`"))
    }
}
