//! A recorded request, decided again by other policies.

use std::sync::Arc;

use super::facts::CatalogFacts;
use crate::catalog::{Membership, Snapshot};
use crate::domain::{Action, Denial, EntityRef, GroupId, Identity, Permit, Reason};
use crate::policy::{PolicySet, RequestFacts};

/// What is known of a request from its record.
#[derive(Clone, Debug)]
pub struct Recorded<'a> {
    /// Who owns what, now.
    pub snapshot: &'a Snapshot,
    /// Which side says who is in a group.
    pub membership: Membership,
    /// Who asked, as the record tells.
    pub identity: Arc<Identity>,
    /// Their groups, where the token didn't list them.
    pub listed: Option<Arc<[GroupId]>>,
    /// What it was for.
    pub entity: EntityRef,
    /// What it did.
    pub action: Action,
    /// The rest of the request.
    pub request: RequestFacts<'a>,
}

impl Recorded<'_> {
    /// What these policies say of it.
    ///
    /// # Errors
    /// The denial.
    pub fn decide(&self, policy: &PolicySet) -> Result<Permit, Denial> {
        let entity = self.snapshot.entity(&self.entity).ok_or(Reason::EntityUnknown)?;
        let facts = CatalogFacts {
            identity: &self.identity,
            listed: self.listed.as_ref(),
            membership: self.membership,
            entity,
            snapshot: self.snapshot,
        };
        policy.decide(&facts.question(self.action, self.request))
    }
}
