//! Asking Cedar, about as few policies as can make a difference, and as seldom as can be.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

use cedar_policy::{
    AuthorizationError, Authorizer, Context, Decision as Cedar, Entities, PolicyId, Request,
};

use super::index::{Index, Place};
use super::memory::{Memory, MemoryStats, Plan, Settled};
use super::model::{ModelError, Names, ResourceType, context, slice};
use super::question::Question;
use super::reads::Reads;
use super::rule::{Demand, PolicyInfo, Rule};
use crate::bounded::{Bounded, Bounds, Weigh};
use crate::domain::Notice;

/// Policies that are evaluated together.
#[derive(Debug)]
pub(super) struct Engine {
    rules: Vec<Arc<Rule>>,
    index: Index,
    by_id: HashMap<PolicyId, Place>,
    /// The sets of candidates that came up, by a hash of their places.
    selections: Bounded<u64, Arc<Selection>>,
    hasher: RandomState,
    pub(super) memory: Memory,
}

/// Policies that can apply to some question.
#[derive(Debug)]
pub(super) struct Selection {
    places: Box<[Place]>,
    set: cedar_policy::PolicySet,
    pub(super) reads: Reads,
}

/// What the policies say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// These permit it, and none forbids it.
    Permitted { policies: Arc<[Arc<str>]>, alerts: Vec<Notice> },
    /// None permits it.
    NotPermitted,
    /// These forbid it.
    Forbidden {
        policies: Vec<Arc<str>>,
        advice: Vec<Arc<str>>,
        /// What would lift all of them.
        demand: Option<Demand>,
        alerts: Vec<Notice>,
    },
    /// These could not be evaluated.
    Failed { policies: Vec<Arc<str>>, detail: Box<str> },
}

/// An answer, and whether it was there already.
pub(super) struct Answered {
    pub(super) outcome: Arc<Outcome>,
    pub(super) remembered: bool,
}

impl Engine {
    /// An engine for these policies, which all have different ids.
    pub(super) fn new(rules: Vec<Arc<Rule>>, bounds: Bounds) -> Self {
        let mut index = Index::default();
        let mut by_id = HashMap::new();
        for (rule, place) in rules.iter().zip(0..) {
            index.add(&rule.cedar);
            by_id.insert(rule.cedar.id().clone(), place);
        }
        let selections = Bounded::new(Bounds {
            max_entries: bounds.max_entries,
            max_bytes: bounds.max_bytes / 2,
        });
        let memory = Memory::new(Bounds { max_bytes: bounds.max_bytes / 2, ..bounds });
        Self { rules, index, by_id, selections, hasher: RandomState::new(), memory }
    }

    pub(super) fn rules(&self) -> &[Arc<Rule>] {
        &self.rules
    }

    pub(super) fn stats(&self) -> MemoryStats {
        self.memory.stats()
    }

    /// Answers from memory, or else asks Cedar.
    pub(super) fn answer(
        &self,
        names: &Names,
        question: &Question<'_>,
    ) -> Result<Answered, ModelError> {
        let memory = self.memory.of(question.version);
        let known = memory.plan(question);
        let planned = known.is_some();
        let plan = match known {
            Some(plan) => plan,
            None => {
                let plan = Arc::new(self.plan(names, question)?);
                memory.keep_plan(question, &plan);
                plan
            }
        };
        let (outcome, remembered) = match &plan.settled {
            Settled::Always(outcome) => (Arc::clone(outcome), planned),
            Settled::For(entities) => match memory.outcome(&plan, &question.request) {
                Some(outcome) => (outcome, true),
                None => {
                    let context = context(&question.request, &plan.selection.reads)?;
                    let outcome =
                        self.evaluate(names, question, &plan.selection, entities, context)?;
                    let outcome = Arc::new(outcome);
                    memory.keep_outcome(&plan, &question.request, &outcome);
                    (outcome, false)
                }
            },
        };
        memory.count(remembered);
        Ok(Answered { outcome, remembered })
    }

    /// Everything that can be done before the request itself is looked at.
    fn plan(&self, names: &Names, question: &Question<'_>) -> Result<Plan, ModelError> {
        let selection = self.select(question)?;
        let entities = slice(names, question, &selection.reads)?;
        let settled = if selection.reads.context.is_empty() {
            let context = Context::empty();
            let outcome = self.evaluate(names, question, &selection, &entities, context)?;
            Settled::Always(Arc::new(outcome))
        } else {
            Settled::For(Box::new(entities))
        };
        Ok(Plan::new(question, selection, settled))
    }

    /// The policies whose scope can match.
    fn select(&self, question: &Question<'_>) -> Result<Arc<Selection>, ModelError> {
        let resource = ResourceType::of(question.entity)
            .ok_or_else(|| ModelError::Kind(question.entity.kind().to_owned()))?;
        let target =
            question.facts.target().ok_or_else(|| ModelError::Unknown(question.entity.clone()))?;
        let places = self.index.candidates(question, resource, &target.part_of);
        let hash = self.hasher.hash_one(&places);
        if let Some(selection) = self.selections.find(&hash)
            && *selection.places == *places
        {
            return Ok(selection);
        }
        let selection = Arc::new(self.selection(places)?);
        self.selections.insert(hash, Arc::clone(&selection));
        Ok(selection)
    }

    fn selection(&self, places: Vec<Place>) -> Result<Selection, ModelError> {
        let mut reads = Reads::default();
        let mut policies = Vec::with_capacity(places.len());
        for rule in places.iter().filter_map(|place| self.rule(*place)) {
            reads.extend(&rule.reads);
            policies.push(rule.cedar.clone());
        }
        // One left out could be a `forbid`.
        if policies.len() != places.len() {
            return Err(ModelError::Entities("a policy is missing".to_owned()));
        }
        let set = cedar_policy::PolicySet::from_policies(policies)
            .map_err(|e| ModelError::Entities(e.to_string()))?;
        Ok(Selection { places: places.into(), set, reads })
    }

    fn rule(&self, place: Place) -> Option<&Rule> {
        self.rules.get(usize::try_from(place).ok()?).map(|rule| &**rule)
    }

    /// Default deny, a `forbid` beats every `permit`, and a policy that can't be evaluated
    /// denies.
    ///
    /// Cedar itself skips a policy that fails; a `forbid` that fails would then forbid
    /// nothing, so any failure is a denial here.
    fn evaluate(
        &self,
        names: &Names,
        question: &Question<'_>,
        selection: &Selection,
        entities: &Entities,
        context: Context,
    ) -> Result<Outcome, ModelError> {
        let failed = |cause: &dyn std::fmt::Display| ModelError::Entities(cause.to_string());
        let principal = names.principal(question.identity);
        let action = names.action(question.action).ok_or_else(|| failed(&"no such action"))?;
        let resource = names
            .resource(question.entity)
            .ok_or_else(|| ModelError::Kind(question.entity.kind().to_owned()))?;
        let request =
            Request::new(principal, action, resource, context, None).map_err(|e| failed(&e))?;
        let response = Authorizer::new().is_authorized(&request, &selection.set, entities);
        let diagnostics = response.diagnostics();
        let errors: Vec<_> = diagnostics.errors().collect();
        if !errors.is_empty() {
            let detail = errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
            let policies = errors.iter().map(|AuthorizationError::PolicyEvaluationError(error)| {
                self.name(error.policy_id())
            });
            return Ok(Outcome::Failed { policies: sorted(policies), detail: detail.into() });
        }
        let policies = sorted(diagnostics.reason().map(|id| self.name(id)));
        let infos = || diagnostics.reason().filter_map(|id| self.info(id));
        let mut alerts: Vec<Notice> = infos().filter_map(notice).collect();
        alerts.sort_unstable_by(|a, b| a.policy.cmp(&b.policy));
        Ok(match response.decision() {
            Cedar::Allow if policies.is_empty() => {
                return Err(failed(&"allowed by no policy"));
            }
            Cedar::Allow => Outcome::Permitted { policies: policies.into(), alerts },
            Cedar::Deny if policies.is_empty() => Outcome::NotPermitted,
            Cedar::Deny => {
                let mut forbids: Vec<&PolicyInfo> = infos().collect();
                forbids.sort_unstable_by(|a, b| a.id.cmp(&b.id));
                let advice = forbids.iter().filter_map(|info| info.reason.clone()).collect();
                // Only what lifts every policy that forbids is worth asking for.
                let demand = if forbids.len() == policies.len() { demand(&forbids) } else { None };
                Outcome::Forbidden { policies, advice, demand, alerts }
            }
        })
    }

    fn info(&self, id: &PolicyId) -> Option<&PolicyInfo> {
        self.by_id.get(id).and_then(|place| self.rule(*place)).map(|rule| &rule.info)
    }

    fn name(&self, id: &PolicyId) -> Arc<str> {
        self.info(id).map_or_else(|| Arc::from(id.as_ref() as &str), |info| Arc::clone(&info.id))
    }
}

impl Outcome {
    /// Whether a request would pass.
    pub(super) fn is_permitted(&self) -> bool {
        matches!(self, Self::Permitted { .. })
    }

    /// The policies behind it.
    pub(super) fn policies(&self) -> &[Arc<str>] {
        match self {
            Self::Permitted { policies, .. } => policies,
            Self::Forbidden { policies, .. } | Self::Failed { policies, .. } => policies,
            Self::NotPermitted => &[],
        }
    }
}

/// A context first: signing in for it is fresh as well.
fn demand(forbids: &[&PolicyInfo]) -> Option<Demand> {
    let demands: Vec<&Demand> =
        forbids.iter().map(|info| info.challenge.as_ref()).collect::<Option<_>>()?;
    let context = demands.iter().find(|demand| matches!(demand, Demand::AuthContext(_)));
    context.or_else(|| demands.first()).map(|demand| (*demand).clone())
}

fn notice(info: &PolicyInfo) -> Option<Notice> {
    let text = info.alert.clone()?;
    Some(Notice { policy: Arc::clone(&info.id), text })
}

fn sorted(ids: impl Iterator<Item = Arc<str>>) -> Vec<Arc<str>> {
    let mut ids: Vec<_> = ids.collect();
    ids.sort_unstable();
    ids
}

impl Weigh for Arc<Selection> {
    fn bytes(&self) -> usize {
        // Parsed policies are shared; a set keeps a few words and links of each.
        512 + self.places.len() * 512
    }
}
