//! What would be decided if somebody asked: for the commands that answer people's
//! questions. No request is decided here.

use std::sync::Arc;

use super::facts::{self, CatalogFacts};
use crate::catalog::{Entity, Membership, Snapshot};
use crate::clock::Now;
use crate::domain::{
    Action, GroupId, Holder, Identity, IdentityKind, ObjectId, Request, RequestLine, TenantId,
    TokenFacts,
};
use crate::policy::PolicySet;

/// A user of the catalog who asks with a fresh token, from their own client, for nothing in
/// particular.
#[derive(Clone, Copy, Debug)]
pub struct Supposition<'a> {
    /// Who owns what.
    pub snapshot: &'a Snapshot,
    /// Who may.
    pub policy: &'a PolicySet,
    /// Which side says who is in a group.
    pub membership: Membership,
    /// The user's directory.
    pub tenant: TenantId,
    /// The user in it.
    pub object: ObjectId,
    /// When.
    pub now: Now,
}

impl Supposition<'_> {
    /// Whether they may. Anything that can't be told is a no.
    #[must_use]
    pub fn may(&self, action: Action, entity: Entity<'_>) -> bool {
        let groups = self.snapshot.directory_groups_of(&self.object).unwrap_or_default();
        let identity = self.identity(groups);
        let method = match action {
            Action::Read => "GET",
            Action::Write | Action::Admin => "POST",
        };
        let request = Request { method, host: "example.com", path: "/", ..Request::default() };
        let Ok(line) = RequestLine::of(&request) else { return false };
        let facts = CatalogFacts {
            identity: &identity,
            listed: None,
            membership: self.membership,
            entity,
            snapshot: self.snapshot,
        };
        let request = facts::request(&request, &line, "supposed", &identity, self.now);
        self.policy.decide(&facts.question(action, request)).is_ok()
    }

    fn identity(&self, mut groups: Vec<GroupId>) -> Arc<Identity> {
        groups.sort_unstable();
        Holder {
            tenant: self.tenant,
            object: self.object,
            kind: IdentityKind::User,
            delegated: true,
            client: None,
            groups: groups.into(),
            group_names: Box::new([]),
            groups_elsewhere: false,
            roles: Box::new([]),
            scopes: Box::new([]),
            issued_at: self.now.unix,
            expires_at: self.now.unix.saturating_add(3600),
            facts: TokenFacts::default(),
        }
        .into()
    }
}
