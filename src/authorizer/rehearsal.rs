//! Requests that nobody made: decided as if this caller had, for tests of policies.
//!
//! Only the proof of who asks is left out. Routing, the demands of routes, facts and
//! policies are those of every request.

use std::sync::Arc;

use super::Authorizer;
use super::facts::{self, CatalogFacts};
use crate::catalog::{Membership, Snapshot};
use crate::clock::Now;
use crate::domain::{
    Action, Decision, Denial, EntityRef, Identity, Notes, Reason, Request, RequestLine,
};
use crate::entra::Proven;
use crate::policy::{Judgement, PolicySet};

/// What policies are tried out on, without a configuration.
#[derive(Clone, Copy, Debug)]
pub struct Rehearsal<'a> {
    /// Who owns what.
    pub snapshot: &'a Snapshot,
    /// Who may.
    pub policy: &'a PolicySet,
    /// Which side says who is in a group.
    pub membership: Membership,
}

impl Rehearsal<'_> {
    /// What the policies say of this caller, this action and this entity.
    #[must_use]
    pub fn judge(
        &self,
        identity: &Arc<Identity>,
        action: Action,
        entity: &EntityRef,
        request: &Request<'_>,
        route: &str,
        now: Now,
    ) -> Judgement {
        let denied = |denial: Denial| Judgement { verdict: Err(denial), notes: Notes::default() };
        if identity.groups_elsewhere {
            return denied(Reason::GroupsOverage.into());
        }
        let line = match RequestLine::of(request) {
            Ok(line) => line,
            Err(denial) => return denied(denial),
        };
        let Some(found) = self.snapshot.entity(entity) else {
            let detail = format!("`{entity}` is not in the catalog");
            return denied(Denial::with_detail(Reason::EntityUnknown, detail));
        };
        let facts = CatalogFacts {
            identity,
            listed: None,
            membership: self.membership,
            entity: found,
            snapshot: self.snapshot,
        };
        let asked = facts::request(request, &line, route, identity, now);
        self.policy.judge(&facts.question(action, asked))
    }
}

impl Authorizer {
    /// Decides a request as if this caller had proven to be who they are.
    pub(crate) async fn decide_as(
        &self,
        request: &Request<'_>,
        caller: Result<Arc<Identity>, Denial>,
        now: Now,
    ) -> Decision {
        match self.open(request, now) {
            Ok(case) => {
                let proven = |identity| Proven { identity, remembered: false };
                self.close(case, request, caller.map(proven), now).await
            }
            Err(decision) => *decision,
        }
    }
}
