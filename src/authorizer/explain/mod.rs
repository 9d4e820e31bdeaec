//! Why a decision came out as it did: each step by itself, and what would change it.
//!
//! For people who ask, never for those who are asked about: what the caller may not know
//! stands here too. Each step is taken again, and the conclusion is drawn from what the
//! steps show, not copied from the decision; a test holds the two together.

mod groups;
mod hints;
mod html;
mod model;
mod sections;

use std::sync::Arc;

use super::facts::{self, CatalogFacts};
use super::{Authorizer, Decide, demands};
use crate::catalog::{Entity, Snapshot};
use crate::clock::Now;
use crate::domain::{
    Decision, Denial, EntityRef, Gate, Identity, Reason, Request, RequestLine, Target,
};
use crate::policy::{PolicySet, Question};
use crate::routing::{RouteSettings, near_routes};

pub use model::{
    Conclusion, Explanation, GroupPart, NearPart, OwnershipPart, RequestPart, RoutePart, RulePart,
    TokenPart,
};
pub use sections::{Section, Tone};

/// Explains decisions, by the very parts that make them.
#[derive(Clone, Debug)]
pub struct Explainer {
    authorizer: Authorizer,
    /// As they are written, to see which nearly matched.
    routes: Arc<[RouteSettings]>,
    /// Whose members get explanations with their answers.
    groups: Arc<[EntityRef]>,
}

impl Explainer {
    /// An explainer of this authorizer's decisions. Members of `groups` may ask for
    /// explanations with their requests.
    #[must_use]
    pub fn new(authorizer: Authorizer, routes: Vec<RouteSettings>, groups: Vec<EntityRef>) -> Self {
        Self { authorizer, routes: routes.into(), groups: groups.into() }
    }

    /// Who decides what is explained.
    #[must_use]
    pub fn authorizer(&self) -> &Authorizer {
        &self.authorizer
    }

    /// The number of configured routes.
    #[must_use]
    pub fn route_count(&self) -> usize {
        self.routes.len()
    }

    /// Whether this caller gets explanations with their answers.
    #[must_use]
    pub fn is_for(&self, identity: &Identity, now: Now) -> bool {
        if self.groups.is_empty() {
            return false;
        }
        let Ok(snapshot) = self.authorizer.snapshot(now) else { return false };
        let theirs = snapshot.groups_of(identity, &identity.groups(), self.authorizer.membership);
        self.groups.iter().any(|group| theirs.contains(&group))
    }

    /// Takes each step by itself.
    pub async fn explain(&self, request: &Request<'_>, now: Now) -> Explanation {
        let policies = self.authorizer.policy.current();
        let mut explanation = Explanation::of(request, policies.version());
        let conclusion = match self.walk(request, now, &policies, &mut explanation).await {
            Ok(conclusion) => conclusion,
            Err(denial) => Conclusion::denied(&denial),
        };
        explanation.conclusion = conclusion;
        hints::add(&mut explanation);
        explanation
    }

    async fn walk(
        &self,
        request: &Request<'_>,
        now: Now,
        policies: &PolicySet,
        explanation: &mut Explanation,
    ) -> Result<Conclusion, Denial> {
        let line = RequestLine::of(request)?;
        explanation.request.normalised(request, &line);
        let routed = self.authorizer.route(request, &line, now);
        explanation.route = self.route(request, &line, routed.as_ref().map(|(target, _)| target));
        let (target, routed_by) = routed?;
        if target.gate == Gate::Public {
            return Ok(Conclusion::allowed("public_route", Vec::new()));
        }
        let inspection =
            self.authorizer.authenticator.inspect_credentials(&request.credentials, now);
        explanation.token = inspection.as_ref().map(TokenPart::of);
        // A key that the decision waited for is there by now.
        let authenticator = &self.authorizer.authenticator;
        let identity = authenticator.authenticate_offline(&request.credentials, now)?;
        explanation.keys_version =
            authenticator.keys_version(&identity).map(|version| version.to_string());
        if let Some(demanded) = &target.demands {
            demands::check(demanded, &identity, now)?;
        }
        if target.gate == Gate::Authenticated {
            return Ok(Conclusion::allowed("authenticated_route", Vec::new()));
        }
        let current = self.authorizer.snapshot(now)?;
        let snapshot = routed_by.unwrap_or(current);
        explanation.snapshot_version = Some(snapshot.version().to_string());
        let entity = super::entity(&target, &snapshot)?;
        let mut waits = Vec::new();
        let listed = self
            .authorizer
            .groups_elsewhere(&identity, &snapshot, policies, now, &mut waits)
            .await?;
        let facts = CatalogFacts {
            identity: &identity,
            listed: listed.as_ref(),
            membership: self.authorizer.membership,
            entity,
            snapshot: &snapshot,
        };
        explanation.groups = groups::origins(&facts);
        explanation.ownership = Some(ownership(&facts, &snapshot, entity));
        let asked = facts::request(request, &line, &target.route, &identity, now);
        let question = facts.question(target.action, asked);
        Ok(conclude(policies, &question, explanation))
    }

    fn route(
        &self,
        request: &Request<'_>,
        line: &RequestLine<'_>,
        routed: Result<&Target, &Denial>,
    ) -> RoutePart {
        match routed {
            Ok(target) => RoutePart {
                matched: Some(target.route.to_string()),
                gate: Some(target.gate.as_str()),
                action: Some(target.action.as_str()),
                entity: target.resource.as_ref().map(ToString::to_string),
                refused: None,
                near: Vec::new(),
            },
            Err(denial) => RoutePart {
                refused: denial.detail.clone().or(Some(denial.reason.sentence().to_owned())),
                near: near_routes(&self.routes, request, line)
                    .into_iter()
                    .take(MAX_NEAR)
                    .map(|near| NearPart {
                        route: near.name,
                        but_for: near.but_for,
                        wants: near.wants,
                    })
                    .collect(),
                ..RoutePart::default()
            },
        }
    }
}

impl Decide for Explainer {
    async fn decide(&self, request: &Request<'_>, now: Now) -> Decision {
        self.authorizer.decide(request, now).await
    }

    fn deny(&self, denial: Denial) -> Decision {
        self.authorizer.deny(denial)
    }

    async fn explain(
        &self,
        request: &Request<'_>,
        decision: &Decision,
        now: Now,
    ) -> Option<Explanation> {
        let identity = decision.principal.identity()?;
        if !request.debug || !self.is_for(identity, now) {
            return None;
        }
        Some(self.explain(request, now).await)
    }
}

/// Nobody reads more.
const MAX_NEAR: usize = 10;

fn conclude(
    policies: &PolicySet,
    question: &Question<'_>,
    explanation: &mut Explanation,
) -> Conclusion {
    let traces = policies.explain(question);
    let determining = traces.determining.clone();
    let conclusion = match traces.answer.as_str() {
        "permitted" => Conclusion::allowed("permitted", determining),
        "forbidden" => {
            // A new token could lift it where each of them says how.
            let lifted = question.identity.delegated
                && determining.iter().all(|id| {
                    policies.policies().any(|info| *info.id == **id && info.challenge.is_some())
                });
            let reason = if lifted { Reason::InsufficientClaims } else { Reason::Forbidden };
            Conclusion::denied_by(reason, determining)
        }
        "not_permitted" => Conclusion::denied_by(Reason::NotPermitted, determining),
        "policy_error" => Conclusion::denied_by(Reason::PolicyError, determining),
        _ => Conclusion::denied_by(Reason::RouteMisconfigured, determining),
    };
    explanation.policies = Some(traces);
    conclusion
}

fn ownership(facts: &CatalogFacts<'_>, snapshot: &Snapshot, entity: Entity<'_>) -> OwnershipPart {
    let owners = facts::owners(entity, snapshot);
    let direct = groups::direct(facts);
    let ways: Vec<_> =
        direct.iter().filter_map(|group| snapshot.way_from(group, &entity)).collect();
    let text = |way: &crate::catalog::Way<'_>| {
        way.groups.iter().map(ToString::to_string).collect::<Vec<_>>().join(" → ")
    };
    let miss = ways.is_empty().then(|| snapshot.nearest_miss(&direct, &entity)).flatten();
    OwnershipPart {
        entity: entity.entity().to_string(),
        owners: owners
            .iter()
            .map(|owner| (owner.entity.to_string(), owner.title.to_string()))
            .collect(),
        part_of: entity.wholes().map(ToString::to_string).collect(),
        ways: ways.iter().map(text).collect(),
        nearest_miss: miss.as_ref().map(text),
    }
}
