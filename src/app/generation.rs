//! What a configuration makes of the parts that decide, and a reload replaces as one.

use crate::authorizer::explain::Explainer;
use crate::authorizer::{Authorizer, OverageSource, Routes};
use crate::catalog::{Catalog, Membership};
use crate::config::OverageFrom;
use crate::domain::EntityRef;
use crate::entra::{Authenticator, EntraSettings, GroupResolver};
use crate::ext_authz::{Answer, AnswerSettings, CheckSettings, Denials};
use crate::policy::{Policies, PolicySettings};
use crate::routing::{Delegations, RouteSettings, RouteTable};

/// The settings that it is made of.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) entra: EntraSettings,
    pub(super) overage: OverageFrom,
    pub(super) membership: Membership,
    pub(super) routes: Vec<RouteSettings>,
    pub(super) route_table: RouteTable,
    pub(super) delegations: Delegations,
    pub(super) policy: PolicySettings,
    pub(super) debug_groups: Vec<EntityRef>,
    pub(super) answer: AnswerSettings,
    pub(super) denials: Denials,
    pub(super) check: CheckSettings,
}

/// The parts that decide, by one configuration. Cheap to clone but for `answer`.
#[derive(Clone, Debug)]
pub(super) struct Generation {
    pub(super) explainer: Explainer,
    pub(super) resolver: Option<GroupResolver>,
    pub(super) answer: Answer,
    pub(super) check: CheckSettings,
}

impl Generation {
    /// The first one.
    ///
    /// # Errors
    /// Every mistake, a line each.
    pub(super) fn first(plan: Plan, catalog: &Catalog) -> Result<Self, String> {
        let policies = Policies::load(plan.policy.clone()).map_err(|e| e.to_string())?;
        let authenticator = Authenticator::new(plan.entra.clone()).map_err(|e| e.to_string())?;
        let resolver = GroupResolver::new(&plan.entra);
        Ok(Self::of(plan, catalog, (authenticator, resolver, policies)))
    }

    /// One that follows, with all of this one that still holds. Nothing of this one changes.
    /// Reads files, and waits for those that are being written.
    ///
    /// # Errors
    /// Every mistake, a line each.
    pub(super) fn following(&self, plan: Plan, catalog: &Catalog) -> Result<Self, String> {
        let before = self.explainer.authorizer();
        // What policies are told depends on it, beside the snapshot and the caller.
        let anew = before.membership != plan.membership;
        let policies = before.policy.following(plan.policy.clone(), anew);
        let authenticator = before.authenticator.following(plan.entra.clone());
        let (policies, authenticator) = match (policies, authenticator) {
            (Ok(policies), Ok(authenticator)) => (policies, authenticator),
            (policies, authenticator) => {
                let policies = policies.err().map(|errors| errors.to_string());
                let authenticator = authenticator.err().map(|error| error.to_string());
                let errors: Vec<_> = policies.into_iter().chain(authenticator).collect();
                return Err(errors.join("\n"));
            }
        };
        let resolver = GroupResolver::following(self.resolver.as_ref(), &plan.entra);
        Ok(Self::of(plan, catalog, (authenticator, resolver, policies)))
    }

    fn of(
        plan: Plan,
        catalog: &Catalog,
        (authenticator, resolver, policy): (Authenticator, Option<GroupResolver>, Policies),
    ) -> Self {
        let answer = Answer::new(plan.answer, authenticator.authorization_uri().as_ref())
            .with_denials(plan.denials);
        let authorizer = Authorizer {
            authenticator,
            catalog: catalog.clone(),
            routes: Routes::new(plan.route_table, plan.delegations),
            policy,
            membership: plan.membership,
            overage: overage(plan.overage, resolver.as_ref()),
        };
        let explainer = Explainer::new(authorizer, plan.routes, plan.debug_groups);
        Self { explainer, resolver, answer, check: plan.check }
    }

    pub(super) fn authenticator(&self) -> &Authenticator {
        &self.explainer.authorizer().authenticator
    }

    pub(super) fn policies(&self) -> &Policies {
        &self.explainer.authorizer().policy
    }

    pub(super) fn routes(&self) -> &Routes {
        &self.explainer.authorizer().routes
    }
}

/// Where the groups come from that a token doesn't list.
pub(crate) fn overage(from: OverageFrom, resolver: Option<&GroupResolver>) -> OverageSource {
    match (from, resolver) {
        (OverageFrom::Catalog, _) => OverageSource::Catalog,
        (OverageFrom::Graph, Some(resolver)) => OverageSource::graph(resolver.clone()),
        (OverageFrom::Nowhere, _) | (OverageFrom::Graph, None) => OverageSource::Nowhere,
    }
}
