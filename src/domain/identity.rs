//! What a verified token proves, in little room.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

use super::group_table::GroupTable;
use super::{
    ClientAuth, ClientId, GroupId, GroupName, Holder, IdentityKind, ObjectId, OpaqueId, TenantId,
    TokenFacts,
};

/// What a verified token says about its bearer, reduced to what may decide.
///
/// In a server made only by the token verifier ([`crate::entra`]). One of each cached token
/// is kept, a hundred thousand of them, so what many tokens say alike is kept once: an
/// identity reads as if it had the fields of its [`Standing`].
#[derive(Clone)]
pub struct Identity {
    standing: Arc<Standing>,
    /// The principal in its tenant: `oid`. Of a delegated token the user, also where an
    /// agent acts for them.
    pub object: ObjectId,
    /// Seconds since 1970 at which the token was issued (`iat`).
    pub issued_at: i64,
    /// Seconds since 1970 at which the token ends (`exp`).
    pub expires_at: i64,
    groups: Groups,
    /// Entries of the `groups` claim that are names, where the API's registration
    /// emits names; sorted, each once.
    pub group_names: Box<[GroupName]>,
    /// The sign-in session (`sid`).
    pub session: Option<OpaqueId>,
    /// The token's own id (`uti`).
    pub token_id: Option<OpaqueId>,
}

/// What the tokens of many have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Standing {
    /// The directory that vouches: `tid`.
    pub tenant: TenantId,
    /// A person or an application.
    pub kind: IdentityKind,
    /// Whether an application acts for a signed-in user: the token carries scopes, or
    /// would if any had been granted.
    pub delegated: bool,
    /// The application that asked for the token: `azp` or `appid`.
    pub client: Option<ClientId>,
    /// The caller is in more groups than the token lists: it lists none, and points
    /// elsewhere. What the identity's groups are then says nothing.
    pub groups_elsewhere: bool,
    /// App roles (`roles`), sorted, each once.
    pub roles: Box<[Box<str>]>,
    /// Delegated scopes (`scp`), sorted, each once. Empty for a workload.
    pub scopes: Box<[Box<str>]>,
    /// What else a policy may look at.
    pub facts: StandingFacts,
    shelf: Place,
}

/// What a token says beyond who its bearer is; see [`TokenFacts`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StandingFacts {
    /// The user's home is another directory: `acct`, or an `idp` that is not the issuer.
    pub guest: bool,
    /// A guest's home directory, where the token names one.
    pub home_tenant: Option<TenantId>,
    /// Directory roles (`wids`), sorted, each once.
    pub directory_roles: Box<[Box<str>]>,
    /// Authentication contexts that the sign-in satisfied (`acrs`), sorted, each once.
    pub auth_contexts: Box<[Box<str>]>,
    /// How the client application proved itself (`azpacr`, `appidacr`).
    pub client_auth: Option<ClientAuth>,
    /// The application that an agent belongs to (`xms_par_app_azp`).
    pub agent_parent: Option<ClientId>,
    /// Whose keys verified it, and by which rules: the issuer's number.
    pub issuer: Option<usize>,
}

/// Where a standing is kept, which is no part of what it says.
#[derive(Clone, Default)]
struct Place {
    /// Whether it is on a shelf, where others find it.
    is_shared: bool,
    /// What the numbers stand for that its identities have for groups.
    groups: Option<Arc<GroupTable>>,
}

#[derive(Clone)]
enum Groups {
    Ids(Box<[GroupId]>),
    /// Numbers in the standing's table, in the order of the ids.
    Numbers(Box<[u32]>),
}

/// Keeps once what many identities have in common. Bounded: what finds no room is kept with
/// the one identity that has it.
#[derive(Debug)]
pub struct Shelf {
    groups: Arc<GroupTable>,
    standings: Mutex<Standings>,
}

#[derive(Debug)]
struct Standings {
    known: HashSet<Arc<Standing>>,
    bytes: usize,
    max_bytes: usize,
    /// Came since those were last thrown out that nobody holds any more.
    came: usize,
}

/// An `Arc`'s two counts.
const COUNTS: usize = 2 * size_of::<usize>();

impl Identity {
    /// The groups of the `groups` claim, sorted, each once. Not for a warm request: it makes
    /// a list of them.
    #[must_use]
    pub fn groups(&self) -> Cow<'_, [GroupId]> {
        match (&self.groups, &self.standing.shelf.groups) {
            (Groups::Ids(ids), _) => Cow::Borrowed(ids),
            (Groups::Numbers(numbers), Some(table)) => Cow::Owned(table.ids(numbers)),
            // Numbers are made with a table only.
            (Groups::Numbers(_), None) => Cow::Borrowed(&[]),
        }
    }

    /// How many they are.
    #[must_use]
    pub fn group_count(&self) -> usize {
        match &self.groups {
            Groups::Ids(ids) => ids.len(),
            Groups::Numbers(numbers) => numbers.len(),
        }
    }

    /// Its plain form.
    #[must_use]
    pub fn holder(&self) -> Holder {
        let Standing { facts, .. } = &*self.standing;
        let text = |id: &Option<OpaqueId>| id.as_ref().map(|id| id.text().into());
        Holder {
            tenant: self.tenant,
            object: self.object,
            kind: self.kind,
            delegated: self.delegated,
            client: self.client,
            groups: self.groups().into(),
            group_names: self.group_names.clone(),
            groups_elsewhere: self.groups_elsewhere,
            roles: self.roles.clone(),
            scopes: self.scopes.clone(),
            issued_at: self.issued_at,
            expires_at: self.expires_at,
            facts: TokenFacts {
                guest: facts.guest,
                home_tenant: facts.home_tenant,
                directory_roles: facts.directory_roles.clone(),
                auth_contexts: facts.auth_contexts.clone(),
                client_auth: facts.client_auth,
                agent_parent: facts.agent_parent,
                session: text(&self.session),
                token_id: text(&self.token_id),
                issuer: facts.issuer,
            },
        }
    }

    /// What it takes, all in, but for what it shares.
    pub(crate) fn bytes(&self) -> usize {
        let groups = match &self.groups {
            Groups::Ids(ids) => size_of_val(&**ids),
            Groups::Numbers(numbers) => size_of_val(&**numbers),
        };
        let ids = [&self.session, &self.token_id].into_iter().flatten();
        let standing = if self.standing.shelf.is_shared { 0 } else { self.standing.bytes() };
        COUNTS
            + size_of::<Self>()
            + groups
            + texts(&self.group_names)
            + ids.map(OpaqueId::heap_bytes).sum::<usize>()
            + standing
    }

    fn new(holder: Holder, keep: impl FnOnce(Standing) -> (Arc<Standing>, Groups)) -> Self {
        let Holder { facts, .. } = holder;
        let standing = Standing {
            tenant: holder.tenant,
            kind: holder.kind,
            delegated: holder.delegated,
            client: holder.client,
            groups_elsewhere: holder.groups_elsewhere,
            roles: holder.roles,
            scopes: holder.scopes,
            facts: StandingFacts {
                guest: facts.guest,
                home_tenant: facts.home_tenant,
                directory_roles: facts.directory_roles,
                auth_contexts: facts.auth_contexts,
                client_auth: facts.client_auth,
                agent_parent: facts.agent_parent,
                issuer: facts.issuer,
            },
            shelf: Place::default(),
        };
        let (standing, groups) = keep(standing);
        Self {
            standing,
            object: holder.object,
            issued_at: holder.issued_at,
            expires_at: holder.expires_at,
            groups,
            group_names: holder.group_names,
            session: facts.session.as_deref().map(OpaqueId::of),
            token_id: facts.token_id.as_deref().map(OpaqueId::of),
        }
    }
}

impl From<Holder> for Identity {
    fn from(mut holder: Holder) -> Self {
        let groups = Groups::Ids(std::mem::take(&mut holder.groups));
        Self::new(holder, |standing| (Arc::new(standing), groups))
    }
}

impl From<Holder> for Arc<Identity> {
    fn from(holder: Holder) -> Self {
        Self::new(holder.into())
    }
}

impl Deref for Identity {
    type Target = Standing;

    fn deref(&self) -> &Standing {
        &self.standing
    }
}

impl PartialEq for Identity {
    fn eq(&self, other: &Self) -> bool {
        self.standing == other.standing
            && self.object == other.object
            && (self.issued_at, self.expires_at) == (other.issued_at, other.expires_at)
            && self.groups() == other.groups()
            && self.group_names == other.group_names
            && (&self.session, &self.token_id) == (&other.session, &other.token_id)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.holder().fmt_as("Identity", f)
    }
}

impl Standing {
    fn bytes(&self) -> usize {
        let facts = &self.facts;
        COUNTS
            + size_of::<Self>()
            + [&self.roles, &self.scopes, &facts.directory_roles, &facts.auth_contexts]
                .map(|list| texts(list))
                .iter()
                .sum::<usize>()
    }
}

fn texts(list: &[Box<str>]) -> usize {
    list.iter().map(|text| size_of::<Box<str>>() + text.len()).sum()
}

impl Shelf {
    /// An empty one, with this much room.
    #[must_use]
    pub fn new(max_bytes: usize) -> Self {
        Self {
            groups: Arc::new(GroupTable::new(max_bytes / 2)),
            standings: Mutex::new(Standings {
                known: HashSet::new(),
                bytes: 0,
                max_bytes: max_bytes / 2,
                came: 0,
            }),
        }
    }

    /// An identity that shares what it can. Takes locks, so it is for a token that is seen
    /// for the first time.
    #[must_use]
    pub fn identity(&self, mut holder: Holder) -> Identity {
        let ids = std::mem::take(&mut holder.groups);
        let groups = self.groups.numbers(&ids).map_or(Groups::Ids(ids), Groups::Numbers);
        Identity::new(holder, |standing| (self.share(standing), groups))
    }

    /// What is on it, as far as it is counted.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.groups.bytes() + self.standings.lock().unwrap_or_else(PoisonError::into_inner).bytes
    }

    fn share(&self, mut standing: Standing) -> Arc<Standing> {
        standing.shelf.groups = Some(Arc::clone(&self.groups));
        let mut all = self.standings.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = all.known.get(&standing) {
            return Arc::clone(known);
        }
        // The set keeps a pointer and a byte, and up to as much free.
        let bytes = standing.bytes() + 4 * size_of::<usize>();
        if all.bytes + bytes > all.max_bytes {
            all.throw_out();
        }
        if all.bytes + bytes > all.max_bytes {
            return Arc::new(standing);
        }
        standing.shelf.is_shared = true;
        let standing = Arc::new(standing);
        all.known.insert(Arc::clone(&standing));
        all.bytes += bytes;
        all.came += 1;
        standing
    }
}

impl Standings {
    /// Throws out what no identity holds; not before half of what is there came anew, so
    /// that it costs each that comes little.
    fn throw_out(&mut self) {
        if self.came < self.known.len() / 2 {
            // One that comes and finds no room brings the next time nearer.
            self.came += 1;
            return;
        }
        self.known.retain(|standing| Arc::strong_count(standing) > 1);
        self.bytes =
            self.known.iter().map(|standing| standing.bytes() + 4 * size_of::<usize>()).sum();
        self.came = 0;
    }
}

impl PartialEq for Place {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Place {}

impl Hash for Place {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place").field("is_shared", &self.is_shared).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder(client: u32, groups: &[u32]) -> Holder {
        Holder {
            tenant: "11111111-2222-3333-4444-555555555555".parse().unwrap(),
            object: "bbbbbbbb-0000-0000-0000-000000000001".parse().unwrap(),
            kind: IdentityKind::User,
            delegated: true,
            client: Some(format!("cccccccc-0000-0000-0000-{client:012}").parse().unwrap()),
            groups: groups
                .iter()
                .map(|n| format!("aaaaaaaa-0000-0000-0000-{n:012}").parse().unwrap())
                .collect(),
            group_names: Box::new([]),
            groups_elsewhere: false,
            roles: ["Reader".into()].into(),
            scopes: ["access".into()].into(),
            issued_at: 1,
            expires_at: 2,
            facts: TokenFacts {
                session: Some("3f2c1d00-aaaa-bbbb-cccc-000000000001".into()),
                token_id: Some("m5RaaRnoFUyp2TbSCAAAAA".into()),
                issuer: Some(0),
                ..TokenFacts::default()
            },
        }
    }

    #[test]
    fn whether_it_shares_or_not_an_identity_says_the_same() {
        let shelf = Shelf::new(1 << 20);
        // Met in another order than sorted.
        let _ = shelf.identity(holder(1, &[9, 5]));
        let given = holder(1, &[1, 5, 9]);
        let (kept, plain) = (shelf.identity(given.clone()), Identity::from(given.clone()));
        assert_eq!(kept, plain);
        assert_eq!(format!("{kept:?}"), format!("{plain:?}"));
        // As its plain form does, but for the name.
        assert_eq!(format!("{plain:?}").replacen("Identity", "Holder", 1), format!("{given:?}"));
        assert_eq!(kept.holder(), given);
        assert_eq!(*kept.groups(), *given.groups);
        assert_eq!((kept.group_count(), &*kept.roles), (3, &["Reader".into()][..]));
        assert!(kept.bytes() + 3 * 12 < plain.bytes());
        for other in [
            holder(1, &[1, 5]),
            holder(2, &[1, 5, 9]),
            Holder { issued_at: 0, ..given.clone() },
            Holder { group_names: ["sales".into()].into(), ..given.clone() },
            Holder { facts: TokenFacts { session: None, ..given.facts.clone() }, ..given.clone() },
        ] {
            assert_ne!(shelf.identity(other), plain);
        }
    }

    #[test]
    fn a_shelf_keeps_its_bounds_and_makes_room() {
        let shelf = Shelf::new(16 << 10);
        let held: Vec<_> = (0..100).map(|n| shelf.identity(holder(n, &[n]))).collect();
        assert!(shelf.bytes() <= 16 << 10, "{}", shelf.bytes());
        let shared = |all: &[Identity]| all.iter().filter(|id| id.shelf.is_shared).count();
        assert!((10..90).contains(&shared(&held)), "{}", shared(&held));
        // Whether there was room or not.
        for (n, identity) in (0..).zip(&held) {
            assert_eq!(*identity, Identity::from(holder(n, &[n])));
        }
        drop(held);
        let later: Vec<_> = (100..200).map(|n| shelf.identity(holder(n, &[n]))).collect();
        assert!(shared(&later) > 10, "{}", shared(&later));
        assert!(shelf.bytes() <= 16 << 10, "{}", shelf.bytes());
    }
}
