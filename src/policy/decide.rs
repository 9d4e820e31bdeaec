//! From the policies' answers to a verdict.

use std::sync::Arc;

use super::engine::{Answered, Outcome};
use super::model::ModelError;
use super::question::Question;
use super::rule::Demand;
use super::set::PolicySet;
use crate::domain::{
    Challenge, Denial, Notes, Notice, Permit, Reason, Remembered, Shadow, ShadowSet,
};

/// What the policies say, with what they say beside it.
#[derive(Clone, Debug)]
pub struct Judgement {
    /// Whether the request may pass.
    pub verdict: Result<Permit, Denial>,
    /// Warnings, alerts, and what the shadow would have said.
    pub notes: Notes,
}

impl PolicySet {
    /// Decides a question: default deny, a `forbid` beats every `permit`, and a
    /// policy that can't be evaluated denies.
    ///
    /// # Errors
    /// The denial: [`Reason::NotPermitted`], [`Reason::Forbidden`],
    /// [`Reason::PolicyError`], or [`Reason::RouteMisconfigured`] where the target
    /// is of a kind that policies know nothing of.
    pub fn decide(&self, question: &Question<'_>) -> Result<Permit, Denial> {
        match self.enforced.answer(&self.names, question) {
            Ok(answered) => verdict(&answered.outcome, question),
            Err(error) => Err(unfit(&error)),
        }
    }

    /// Decides a question, and asks the policies that don't decide as well.
    #[must_use]
    pub fn judge(&self, question: &Question<'_>) -> Judgement {
        let Answered { outcome, remembered } = match self.enforced.answer(&self.names, question) {
            Ok(answered) => answered,
            Err(error) => {
                return Judgement { verdict: Err(unfit(&error)), notes: Notes::default() };
            }
        };
        self.count_errors(&outcome);
        let mut notes = Notes {
            remembered: Remembered { decision: remembered, token: false },
            ..Notes::default()
        };
        if let Outcome::Permitted { alerts, .. } | Outcome::Forbidden { alerts, .. } = &*outcome {
            notes.alerts.clone_from(alerts);
        }
        if outcome.is_permitted() {
            notes.warnings = self.warnings(question);
        }
        for (set, engine) in &self.shadows {
            // Whatever becomes of it, it decides nothing.
            if let Ok(shadow) = engine.answer(&self.names, question) {
                self.count_errors(&shadow.outcome);
                notes.shadow.extend(self.compare(*set, &outcome, &shadow.outcome, question));
            }
        }
        Judgement { verdict: verdict(&outcome, question), notes }
    }

    fn warnings(&self, question: &Question<'_>) -> Vec<Notice> {
        let Some(engine) = &self.warnings else { return Vec::new() };
        let Ok(answered) = engine.answer(&self.names, question) else { return Vec::new() };
        self.count_errors(&answered.outcome);
        let Outcome::Forbidden { policies, .. } = &*answered.outcome else { return Vec::new() };
        let texts = engine.rules().iter().filter(|rule| policies.contains(&rule.info.id));
        let notice = |text: &Arc<str>, id: &Arc<str>| Notice {
            policy: Arc::clone(id),
            text: Arc::clone(text),
        };
        texts.filter_map(|rule| Some(notice(rule.info.reason.as_ref()?, &rule.info.id))).collect()
    }

    /// Counts a difference, and gives it back where it is to be on record.
    fn compare(
        &self,
        set: ShadowSet,
        enforced: &Outcome,
        shadow: &Outcome,
        question: &Question<'_>,
    ) -> Option<Shadow> {
        let would_allow = shadow.is_permitted();
        if would_allow == enforced.is_permitted() {
            return None;
        }
        let policies = shadow.policies();
        if policies.is_empty() {
            self.stats.difference(set, None, question.entity, would_allow);
        }
        for policy in policies {
            self.stats.difference(set, Some(policy), question.entity, would_allow);
        }
        let sampled = rand::random_range(0..100) < self.shadow_sample;
        sampled.then(|| Shadow {
            set,
            allow: would_allow,
            reason: shadow.code(),
            policies: policies.to_vec(),
        })
    }

    fn count_errors(&self, outcome: &Outcome) {
        if let Outcome::Failed { policies, .. } = outcome {
            policies.iter().for_each(|policy| self.stats.error(policy));
        }
    }
}

impl Outcome {
    /// The code of the answer, as decisions have it.
    fn code(&self) -> &'static str {
        match self {
            Self::Permitted { .. } => "permitted",
            Self::NotPermitted => Reason::NotPermitted.code(),
            Self::Forbidden { .. } => Reason::Forbidden.code(),
            Self::Failed { .. } => Reason::PolicyError.code(),
        }
    }
}

fn verdict(outcome: &Outcome, question: &Question<'_>) -> Result<Permit, Denial> {
    match outcome {
        Outcome::Permitted { policies, .. } => Permit::by_policies(Arc::clone(policies))
            .ok_or_else(|| Denial::with_detail(Reason::Internal, "allowed by no policy")),
        Outcome::NotPermitted => Err(Reason::NotPermitted.into()),
        Outcome::Failed { policies, detail } => Err(Denial {
            policies: policies.clone(),
            ..Denial::with_detail(Reason::PolicyError, detail)
        }),
        Outcome::Forbidden { policies, advice, demand, .. } => {
            let challenge = challenge(demand.as_ref(), question).map(Box::new);
            let reason = match challenge {
                Some(_) => Reason::InsufficientClaims,
                None => Reason::Forbidden,
            };
            let (policies, advice) = (policies.clone(), advice.clone());
            Err(Denial { policies, advice, challenge, ..reason.into() })
        }
    }
}

/// What a new token would have to say: only where somebody can sign in for it.
fn challenge(demand: Option<&Demand>, question: &Question<'_>) -> Option<Challenge> {
    let demand = demand.filter(|_| question.identity.delegated)?;
    Some(match demand {
        Demand::AuthContext(name) => Challenge::AuthContext(name.clone()),
        Demand::SignIn => Challenge::IssuedSince(question.request.unix_time),
    })
}

fn unfit(error: &ModelError) -> Denial {
    let reason = match error {
        ModelError::Kind(_) => Reason::RouteMisconfigured,
        ModelError::Unknown(_) => Reason::EntityUnknown,
        ModelError::Entities(_) => Reason::Internal,
    };
    Denial::with_detail(reason, error)
}
