//! Asking Cedar.

use std::sync::Arc;

use cedar_policy::{Authorizer, Decision as Cedar, PolicyId};

use super::model::ModelError;
use super::question::Question;
use super::set::{Demand, PolicySet};
use crate::domain::{Challenge, Denial, Permit, Reason};

impl PolicySet {
    /// Decides a question: default deny, a `forbid` beats every `permit`, and a
    /// policy that can't be evaluated denies.
    ///
    /// Cedar itself skips a policy that fails; a `forbid` that fails would then
    /// forbid nothing, so any failure is a denial here.
    ///
    /// # Errors
    /// The denial: [`Reason::NotPermitted`], [`Reason::Forbidden`],
    /// [`Reason::PolicyError`], or [`Reason::RouteMisconfigured`] where the target
    /// is of a kind that policies know nothing of.
    pub fn decide(&self, question: &Question<'_>) -> Result<Permit, Denial> {
        let (request, entities) = match self.model.build(question) {
            Ok(built) => built,
            Err(error @ ModelError::Kind(_)) => {
                return Err(Denial::with_detail(Reason::RouteMisconfigured, error));
            }
            Err(error @ ModelError::Entities(_)) => {
                return Err(Denial::with_detail(Reason::Internal, error));
            }
        };
        let response = Authorizer::new().is_authorized(&request, &self.cedar, &entities);
        let diagnostics = response.diagnostics();
        let failed: Vec<_> = diagnostics.errors().collect();
        if !failed.is_empty() {
            let detail = failed.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
            let policies = failed.iter().map(
                |cedar_policy::AuthorizationError::PolicyEvaluationError(error)| {
                    self.name(error.policy_id())
                },
            );
            return Err(Denial {
                policies: sorted(policies),
                ..Denial::with_detail(Reason::PolicyError, detail)
            });
        }
        let determining = sorted(diagnostics.reason().map(|id| self.name(id)));
        match response.decision() {
            Cedar::Allow => Permit::by_policies(determining)
                .ok_or_else(|| Denial::with_detail(Reason::Internal, "allowed by no policy")),
            Cedar::Deny if determining.is_empty() => Err(Reason::NotPermitted.into()),
            Cedar::Deny => {
                let advice = diagnostics
                    .reason()
                    .filter_map(|id| self.policies.get(id)?.reason.clone())
                    .collect();
                let challenge = self.challenge(question, diagnostics.reason()).map(Box::new);
                let reason = match challenge {
                    Some(_) => Reason::InsufficientClaims,
                    None => Reason::Forbidden,
                };
                Err(Denial { policies: determining, advice, challenge, ..reason.into() })
            }
        }
    }

    /// What a new token would have to say: only where it lifts every policy that forbids,
    /// and where somebody can sign in for it.
    fn challenge<'a>(
        &self,
        question: &Question<'_>,
        forbids: impl Iterator<Item = &'a PolicyId>,
    ) -> Option<Challenge> {
        let mut demands = Vec::new();
        for id in forbids {
            demands.push(self.policies.get(id)?.challenge.as_ref()?);
        }
        if !question.identity.delegated {
            return None;
        }
        // A context first: signing in for it is fresh as well.
        let context = demands.iter().find_map(|demand| match demand {
            Demand::AuthContext(name) => Some(Challenge::AuthContext(name.clone())),
            Demand::SignIn => None,
        });
        context
            .or_else(|| demands.first().map(|_| Challenge::IssuedSince(question.request.unix_time)))
    }

    fn name(&self, id: &PolicyId) -> Arc<str> {
        self.policies.get(id).map_or_else(
            || {
                let id: &str = id.as_ref();
                id.into()
            },
            |info| Arc::clone(&info.id),
        )
    }
}

fn sorted(ids: impl Iterator<Item = Arc<str>>) -> Vec<Arc<str>> {
    let mut ids: Vec<_> = ids.collect();
    ids.sort_unstable();
    ids
}
