//! What happened to policies, counted over all sets that were in force.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dashmap::DashMap;

use crate::domain::{EntityRef, ShadowSet};

/// Counters that outlive the sets. Bounded: beyond the bound, what is new is counted
/// together.
#[derive(Debug, Default)]
pub struct PolicyStats {
    errors: DashMap<Arc<str>, u64>,
    other_errors: AtomicU64,
    differences: DashMap<Difference, u64>,
    other_differences: AtomicU64,
}

/// A kind of case in which a set in the shadow answers otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Difference {
    /// `mode` or `files`.
    pub set: &'static str,
    /// The policy that makes the difference; nothing where none permits any more.
    pub policy: Option<Arc<str>>,
    /// The entity that was asked for.
    pub entity: EntityRef,
    /// Whether the shadow would let the request pass that is denied, or the reverse.
    pub would_allow: bool,
}

/// Policies that are counted one by one.
const MAX_POLICIES: usize = 10_000;
/// Differences that are.
const MAX_DIFFERENCES: usize = 10_000;

impl PolicyStats {
    pub(super) fn error(&self, policy: &Arc<str>) {
        count(&self.errors, Arc::clone(policy), MAX_POLICIES, &self.other_errors);
    }

    pub(super) fn difference(
        &self,
        set: ShadowSet,
        policy: Option<&Arc<str>>,
        entity: &EntityRef,
        would_allow: bool,
    ) {
        let difference = Difference {
            set: set.as_str(),
            policy: policy.cloned(),
            entity: entity.clone(),
            would_allow,
        };
        count(&self.differences, difference, MAX_DIFFERENCES, &self.other_differences);
    }

    /// How often each policy could not be evaluated, sorted by id; `None` are those beyond
    /// the bound.
    #[must_use]
    pub fn errors(&self) -> Vec<(Option<Arc<str>>, u64)> {
        let mut all: Vec<_> = self
            .errors
            .iter()
            .map(|entry| (Some(Arc::clone(entry.key())), *entry.value()))
            .collect();
        all.sort_unstable();
        let other = self.other_errors.load(Ordering::Relaxed);
        all.extend((other > 0).then_some((None, other)));
        all
    }

    /// How often the shadow differed, most often first; and how often beyond the bound.
    #[must_use]
    pub fn differences(&self) -> (Vec<(Difference, u64)>, u64) {
        let mut all: Vec<_> =
            self.differences.iter().map(|entry| (entry.key().clone(), *entry.value())).collect();
        all.sort_unstable_by(|(a, x), (b, y)| y.cmp(x).then_with(|| a.cmp(b)));
        (all, self.other_differences.load(Ordering::Relaxed))
    }
}

fn count<K: Eq + std::hash::Hash>(counts: &DashMap<K, u64>, key: K, max: usize, other: &AtomicU64) {
    if let Some(mut count) = counts.get_mut(&key) {
        *count += 1;
    } else if counts.len() < max {
        *counts.entry(key).or_insert(0) += 1;
    } else {
        other.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_place_of_its_own_is_counted_together() {
        let (counts, other) = (DashMap::new(), AtomicU64::new(0));
        for key in ["a", "b", "c", "a", "c", "d", "b", "a"] {
            count(&counts, key, 2, &other);
        }
        let of = |key: &str| counts.get(key).map(|count| *count);
        assert_eq!((of("a"), of("b"), of("c")), (Some(3), Some(2), None));
        assert_eq!(other.load(Ordering::Relaxed), 3);
    }
}
