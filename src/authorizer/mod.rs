//! The way of one request: route, token, ownership, policy.
//!
//! Reads immutable values that were prepared when keys, catalog, routes or policy
//! changed; takes no lock, and waits for nothing but a key that a token names and
//! no key set has yet, and for groups that a token doesn't list and that are not at hand.

mod claimed;
mod current;
mod demands;
pub mod explain;
mod facts;
mod groups;
mod recorded;
mod rehearsal;
mod supposition;

use std::mem;
use std::sync::Arc;

use crate::catalog::{Catalog, CatalogState, Entity, Membership, Snapshot};
use crate::clock::Now;
use crate::domain::{
    Decision, DecisionId, Denial, Gate, Identity, Notes, Owners, Permit, Principal, Reason,
    Request, RequestLine, Target, Verdict, Versions,
};
use crate::entra::{Authenticator, Proven};
use crate::policy::{Policies, PolicySet};

pub use claimed::{Claimed, Routes};
pub use current::Current;

pub use groups::{GraphSource, OverageSource};
pub use recorded::Recorded;
pub use rehearsal::Rehearsal;
pub use supposition::Supposition;

use explain::Explanation;
use facts::CatalogFacts;

/// Decides requests.
#[derive(Clone, Debug)]
pub struct Authorizer {
    /// Who the caller is.
    pub authenticator: Authenticator,
    /// Who owns what.
    pub catalog: Catalog,
    /// What a request is about.
    pub routes: Routes,
    /// Who may.
    pub policy: Policies,
    /// Which side says who is in a group.
    pub membership: Membership,
    /// Where the groups come from that a token doesn't list.
    pub overage: OverageSource,
}

/// A decision in the making: what is known so far, for the record.
struct Draft {
    /// The policies that it is made by, from its beginning to its end.
    policy: Arc<PolicySet>,
    principal: Principal,
    target: Option<Target>,
    owners: Owners,
    versions: Versions,
    notes: Notes,
}

/// A request that is routed, and waits for its caller's identity.
struct Case<'a> {
    line: RequestLine<'a>,
    target: Target,
    /// The snapshot that it is routed by, where the catalog has a say in that.
    snapshot: Option<Arc<Snapshot>>,
    draft: Draft,
}

/// What decides requests. A trait of its own so that a test can put a decider in
/// the service that fails in ways the real one must not.
pub trait Decide: Send + Sync + 'static {
    /// Decides a request.
    fn decide(&self, request: &Request<'_>, now: Now) -> impl Future<Output = Decision> + Send;

    /// A denial that was made before or around the decision: overload, a missed
    /// deadline, a request that can't be read.
    fn deny(&self, denial: Denial) -> Decision;

    /// Why a decision came out as it did, where the caller asks and may know.
    fn explain(
        &self,
        _request: &Request<'_>,
        _decision: &Decision,
        _now: Now,
    ) -> impl Future<Output = Option<Explanation>> + Send {
        std::future::ready(None)
    }
}

impl Decide for Authorizer {
    async fn decide(&self, request: &Request<'_>, now: Now) -> Decision {
        match self.open(request, now) {
            Ok(mut case) => {
                let waits = &mut case.draft.notes.waits;
                let caller =
                    self.authenticator.prove_noting(&request.credentials, now, waits).await;
                self.close(case, request, caller, now).await
            }
            Err(decision) => *decision,
        }
    }

    fn deny(&self, denial: Denial) -> Decision {
        self.draft().conclude(Err(denial))
    }
}

/// Decides without waiting: a key that is not there is unknown. For the offline
/// commands; everything else is the very same code.
#[derive(Clone, Debug)]
pub struct Offline(pub Authorizer);

impl Decide for Offline {
    async fn decide(&self, request: &Request<'_>, now: Now) -> Decision {
        match self.0.open(request, now) {
            Ok(case) => {
                let caller = self.0.authenticator.prove_offline(&request.credentials, now);
                self.0.close(case, request, caller, now).await
            }
            Err(decision) => *decision,
        }
    }

    fn deny(&self, denial: Denial) -> Decision {
        self.0.deny(denial)
    }
}

impl Authorizer {
    fn draft(&self) -> Draft {
        let policy = self.policy.current();
        Draft {
            versions: Versions {
                policy: Some(Arc::clone(policy.version())),
                snapshot: None,
                keys: None,
            },
            policy,
            principal: Principal::Anonymous,
            target: None,
            owners: Owners::new(),
            notes: Notes::default(),
        }
    }

    /// Routes the request. Ends here where there is no route, or where the gate is
    /// public: then the credentials are not even looked at.
    fn open<'a>(&self, request: &Request<'a>, now: Now) -> Result<Case<'a>, Box<Decision>> {
        let mut draft = self.draft();
        let routed = RequestLine::of(request).and_then(|line| {
            let (target, snapshot) = self.route(request, &line, now)?;
            Ok((line, target, snapshot))
        });
        match routed {
            Err(denial) => Err(Box::new(draft.conclude(Err(denial)))),
            Ok((line, target, snapshot)) => {
                draft.target = Some(target.clone());
                match Permit::by_public_gate(&target) {
                    Some(permit) => Err(Box::new(draft.conclude(Ok(permit)))),
                    None => Ok(Case { line, target, snapshot, draft }),
                }
            }
        }
    }

    fn route(
        &self,
        request: &Request<'_>,
        line: &RequestLine<'_>,
        now: Now,
    ) -> Result<(Target, Option<Arc<Snapshot>>), Denial> {
        if self.routes.depend_on_catalog() {
            self.routes.route(request, line, &self.catalog.current(now))
        } else {
            Ok((self.routes.table().route(request, line)?, None))
        }
    }

    async fn close(
        &self,
        case: Case<'_>,
        request: &Request<'_>,
        caller: Result<Proven, Denial>,
        now: Now,
    ) -> Decision {
        let Case { line, target, snapshot, mut draft } = case;
        let verdict = match caller {
            Ok(Proven { identity, remembered }) => {
                draft.notes.remembered.token = remembered;
                draft.principal = Principal::Verified(Arc::clone(&identity));
                draft.versions.keys = self.authenticator.keys_version(&identity);
                self.judge((request, &line), &target, snapshot, &identity, now, &mut draft).await
            }
            Err(denial) => Err(denial),
        };
        // Whoever is denied may be told whom to ask, also where it didn't come to that.
        if verdict.is_err() && draft.owners.is_empty() {
            draft.owners = self.owners(&target, now);
        }
        draft.conclude(verdict)
    }

    /// The caller is known; may they?
    async fn judge(
        &self,
        (request, line): (&Request<'_>, &RequestLine<'_>),
        target: &Target,
        routed_by: Option<Arc<Snapshot>>,
        identity: &Arc<Identity>,
        now: Now,
        draft: &mut Draft,
    ) -> Result<Permit, Denial> {
        if let Some(demands) = &target.demands {
            demands::check(demands, identity, now)?;
        }
        match target.gate {
            // A public gate ended before the token was looked at.
            Gate::Public | Gate::Authenticated => Permit::by_authenticated_gate(target, identity)
                .ok_or_else(|| Reason::Internal.into()),
            Gate::Policy => {
                let current = self.snapshot(now)?;
                // One picture from the route to the answer, also where another comes between.
                let snapshot = routed_by.unwrap_or(current);
                draft.versions.snapshot = Some(Arc::clone(snapshot.version()));
                let entity = entity(target, &snapshot)?;
                draft.owners = facts::owners(entity, &snapshot);
                let waits = &mut draft.notes.waits;
                let elsewhere =
                    self.groups_elsewhere(identity, &snapshot, &draft.policy, now, waits).await?;
                let facts = CatalogFacts {
                    identity,
                    listed: elsewhere.as_ref(),
                    membership: self.membership,
                    entity,
                    snapshot: &snapshot,
                };
                let asked = facts::request(request, line, &target.route, identity, now);
                let judgement = draft.policy.judge(&facts.question(target.action, asked));
                let before = mem::replace(&mut draft.notes, judgement.notes);
                draft.notes.remembered.token = before.remembered.token;
                draft.notes.waits = before.waits;
                draft.notes.justification = request.justification.as_deref().map(Into::into);
                judgement.verdict
            }
        }
    }

    /// Who owns what a request is for, as far as it is known.
    fn owners(&self, target: &Target, now: Now) -> Owners {
        let Some(resource) = &target.resource else { return Owners::new() };
        let Ok(snapshot) = self.snapshot(now) else { return Owners::new() };
        snapshot.entity(resource).map(|entity| facts::owners(entity, &snapshot)).unwrap_or_default()
    }

    fn snapshot(&self, now: Now) -> Result<Arc<Snapshot>, Denial> {
        match self.catalog.current(now) {
            CatalogState::Fresh(snapshot) | CatalogState::Stale(snapshot) => Ok(snapshot),
            CatalogState::Initializing => Err(Reason::CatalogUnavailable.into()),
            CatalogState::Expired => Err(Reason::CatalogExpired.into()),
        }
    }
}

fn entity<'a>(target: &Target, snapshot: &'a Snapshot) -> Result<Entity<'a>, Denial> {
    let Some(resource) = &target.resource else {
        return Err(Denial::with_detail(Reason::RouteMisconfigured, "the route names no entity"));
    };
    snapshot.entity(resource).ok_or_else(|| {
        Denial::with_detail(
            Reason::EntityUnknown,
            format_args!("`{resource}` is not in the catalog"),
        )
    })
}

impl Draft {
    fn conclude(self, verdict: Result<Permit, Denial>) -> Decision {
        Decision {
            id: DecisionId::new(),
            verdict: match verdict {
                Ok(permit) => Verdict::Allow(permit),
                Err(denial) => Verdict::Deny(denial),
            },
            principal: self.principal,
            target: self.target,
            owners: self.owners,
            versions: self.versions,
            notes: self.notes,
        }
    }
}
