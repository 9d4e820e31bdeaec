//! Answers that were given, so that the same question need not be asked again.
//!
//! An answer depends on the caller's token, on the entity, the action, the members of the
//! context that the candidates read, on the policies and on the snapshot. A memory belongs
//! to one set of policies and goes with it; it keeps the answers for one snapshot, and
//! begins anew with the next. Whatever is found is compared with the question as a whole: a
//! hash alone never answers.

use std::hash::{BuildHasher, Hash, Hasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use cedar_policy::Entities;

use super::engine::{Outcome, Selection};
use super::question::{Question, RequestFacts};
use super::reads::Member;
use crate::bounded::{Bounded, Bounds, Weigh};
use crate::domain::{Action, EntityRef, GroupId, Identity};

/// What the memory did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryStats {
    /// Answers in it now.
    pub entries: usize,
    /// Their size, as far as it is counted.
    pub bytes: usize,
    /// Questions that were answered from it.
    pub hits: u64,
    /// Questions that were not.
    pub misses: u64,
}

#[derive(Debug)]
pub(super) struct Memory {
    bounds: Bounds,
    current: ArcSwap<Answers>,
    counters: Arc<Counters>,
    /// The bits of a hash that count: all of them, unless a test has everything collide.
    pub(super) mask: u64,
}

#[derive(Debug, Default)]
struct Counters {
    hits: AtomicU64,
    misses: AtomicU64,
}

/// The answers for one snapshot.
#[derive(Debug)]
pub(super) struct Answers {
    version: Arc<str>,
    hasher: RandomState,
    mask: u64,
    plans: Bounded<u64, Arc<Plan>>,
    outcomes: Bounded<u64, Kept>,
    counters: Arc<Counters>,
}

/// What is known of a question before the request itself is looked at.
#[derive(Debug)]
pub(super) struct Plan {
    /// The very identity: two tokens of one person are two.
    identity: Arc<Identity>,
    listed: Option<Arc<[GroupId]>>,
    entity: EntityRef,
    action: Action,
    pub(super) selection: Arc<Selection>,
    pub(super) settled: Settled,
}

/// Whether the answer depends on the request.
#[derive(Debug)]
pub(super) enum Settled {
    /// It doesn't.
    Always(Arc<Outcome>),
    /// It does; these are the entities to ask about.
    For(Box<Entities>),
}

/// An answer for one request's context.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    plan: Arc<Plan>,
    context: Box<[Read]>,
    outcome: Arc<Outcome>,
}

/// The value of a member of the context.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Read {
    Text(Box<str>),
    Number(i64),
    Absent,
}

/// The same, of a request at hand.
#[derive(Clone, Copy, Hash)]
enum Seen<'a> {
    Text(&'a str),
    Number(i64),
    Absent,
}

impl Memory {
    pub(super) fn new(bounds: Bounds) -> Self {
        let counters = Arc::new(Counters::default());
        let mask = u64::MAX;
        let nothing = Bounds { max_entries: 0, max_bytes: 0 };
        let none = Answers::new("".into(), nothing, &counters, mask);
        Self { bounds, current: ArcSwap::from_pointee(none), counters, mask }
    }

    /// The answers for this snapshot. While some still decide by the one before, the two
    /// take turns: a few answers are then asked for twice, and none is mixed up.
    pub(super) fn of(&self, version: &Arc<str>) -> Arc<Answers> {
        let current = self.current.load_full();
        if *current.version == **version {
            return current;
        }
        let anew = Answers::new(Arc::clone(version), self.bounds, &self.counters, self.mask);
        let anew = Arc::new(anew);
        self.current.store(Arc::clone(&anew));
        anew
    }

    pub(super) fn stats(&self) -> MemoryStats {
        let current = self.current.load();
        let (plans, outcomes) = (current.plans.size(), current.outcomes.size());
        MemoryStats {
            entries: plans.0 + outcomes.0,
            bytes: plans.1 + outcomes.1,
            hits: self.counters.hits.load(Ordering::Relaxed),
            misses: self.counters.misses.load(Ordering::Relaxed),
        }
    }
}

impl Answers {
    fn new(version: Arc<str>, bounds: Bounds, counters: &Arc<Counters>, mask: u64) -> Self {
        let half = Bounds { max_bytes: bounds.max_bytes / 2, ..bounds };
        Self {
            version,
            hasher: RandomState::new(),
            mask,
            plans: Bounded::new(half),
            outcomes: Bounded::new(half),
            counters: Arc::clone(counters),
        }
    }

    pub(super) fn plan(&self, question: &Question<'_>) -> Option<Arc<Plan>> {
        self.plans.find(&self.hash(question)).filter(|plan| plan.is_of(question))
    }

    pub(super) fn keep_plan(&self, question: &Question<'_>, plan: &Arc<Plan>) {
        self.plans.insert(self.hash(question), Arc::clone(plan));
    }

    pub(super) fn outcome(
        &self,
        plan: &Arc<Plan>,
        facts: &RequestFacts<'_>,
    ) -> Option<Arc<Outcome>> {
        let found = self.outcomes.find(&self.hash_in(plan, facts));
        found.filter(|kept| kept.is_of(plan, facts)).map(|kept| kept.outcome)
    }

    pub(super) fn keep_outcome(
        &self,
        plan: &Arc<Plan>,
        facts: &RequestFacts<'_>,
        outcome: &Arc<Outcome>,
    ) {
        let members = plan.selection.reads.context;
        let kept = Kept {
            plan: Arc::clone(plan),
            context: members.iter().map(|member| seen(member, facts).keep()).collect(),
            outcome: Arc::clone(outcome),
        };
        self.outcomes.insert(self.hash_in(plan, facts), kept);
    }

    fn hash(&self, question: &Question<'_>) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        Arc::as_ptr(question.identity).hash(&mut hasher);
        question.listed.map(|listed| &**listed).hash(&mut hasher);
        question.entity.hash(&mut hasher);
        question.action.hash(&mut hasher);
        hasher.finish() & self.mask
    }

    fn hash_in(&self, plan: &Arc<Plan>, facts: &RequestFacts<'_>) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        Arc::as_ptr(plan).hash(&mut hasher);
        for member in plan.selection.reads.context.iter() {
            seen(member, facts).hash(&mut hasher);
        }
        hasher.finish() & self.mask
    }

    /// Counts a question by whether it was answered from here.
    pub(super) fn count(&self, hit: bool) {
        let counter = if hit { &self.counters.hits } else { &self.counters.misses };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

impl Plan {
    pub(super) fn new(
        question: &Question<'_>,
        selection: Arc<Selection>,
        settled: Settled,
    ) -> Self {
        Self {
            identity: Arc::clone(question.identity),
            listed: question.listed.cloned(),
            entity: question.entity.clone(),
            action: question.action,
            selection,
            settled,
        }
    }

    fn is_of(&self, question: &Question<'_>) -> bool {
        Arc::ptr_eq(&self.identity, question.identity)
            && self.listed.as_deref() == question.listed.map(|listed| &**listed)
            && self.entity == *question.entity
            && self.action == question.action
    }
}

impl Kept {
    fn is_of(&self, plan: &Arc<Plan>, facts: &RequestFacts<'_>) -> bool {
        let members = plan.selection.reads.context;
        Arc::ptr_eq(&self.plan, plan)
            && self.context.len() == members.iter().count()
            && self.context.iter().zip(members.iter()).all(|(kept, m)| seen(m, facts).is(kept))
    }
}

impl Seen<'_> {
    fn keep(self) -> Read {
        match self {
            Self::Text(text) => Read::Text(text.into()),
            Self::Number(number) => Read::Number(number),
            Self::Absent => Read::Absent,
        }
    }

    fn is(self, kept: &Read) -> bool {
        match (self, kept) {
            (Self::Text(text), Read::Text(kept)) => *text == **kept,
            (Self::Number(number), Read::Number(kept)) => number == *kept,
            (Self::Absent, Read::Absent) => true,
            _ => false,
        }
    }
}

fn seen<'a>(member: Member, facts: &RequestFacts<'a>) -> Seen<'a> {
    let maybe = |text: Option<&'a str>| text.map_or(Seen::Absent, Seen::Text);
    match member {
        Member::Method => Seen::Text(facts.method),
        Member::Host => Seen::Text(facts.host),
        Member::Path => Seen::Text(facts.path),
        Member::Route => Seen::Text(facts.route),
        Member::Source => maybe(facts.source),
        Member::Destination => maybe(facts.destination),
        Member::TokenAge => Seen::Number(facts.token_age),
        Member::Time => Seen::Number(facts.unix_time),
        Member::Weekday => Seen::Number(facts.weekday()),
        Member::Justification => maybe(facts.justification),
    }
}

impl Weigh for Arc<Plan> {
    fn bytes(&self) -> usize {
        let identity = size_of::<Identity>() + self.identity.group_count() * 16;
        let listed = self.listed.as_ref().map_or(0, |listed| listed.len() * 16);
        let settled = match &self.settled {
            Settled::Always(_) => 256,
            // As measured: an entity with its attributes takes about two kilobytes.
            Settled::For(entities) => entities.iter().count() * 2048,
        };
        size_of::<Plan>() + identity + listed + settled
    }
}

impl Weigh for Kept {
    fn bytes(&self) -> usize {
        let texts: usize = self
            .context
            .iter()
            .map(|read| match read {
                Read::Text(text) => text.len(),
                Read::Number(_) | Read::Absent => 0,
            })
            .sum();
        size_of::<Self>() + self.context.len() * size_of::<Read>() + texts + 256
    }
}
