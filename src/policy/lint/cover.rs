//! Policies without which everything would be decided alike.

use std::collections::BTreeSet;

use super::{Findings, Kind, Severity, Subject};
use crate::policy::rule::Mode;

pub(super) fn look(subjects: &[Subject<'_>], found: &mut Findings) {
    let keys: Vec<BTreeSet<&str>> = subjects
        .iter()
        .map(|subject| subject.conjuncts.iter().map(|conjunct| &*conjunct.key).collect())
        .collect();
    let never = found.of(Kind::NeverApplies);
    let applies = |subject: &Subject<'_>| !never.contains(&subject.rule.info.id);
    let pairs = || subjects.iter().zip(&keys).enumerate();
    for (at, (covered, narrow)) in pairs() {
        // What is loud, or asks for a new token, does more than decide.
        if covered.rule.info.alert.is_some() || !applies(covered) {
            continue;
        }
        let other = pairs().find(|(by, (covering, wide))| {
            *by != at
                && covers(covering, covered)
                && wide.is_subset(narrow)
                && applies(covering)
                // Of two that say the same, the first one stays.
                && (*by < at || !(covers(covered, covering) && narrow.is_subset(wide)))
        });
        if let Some((_, (covering, _))) = other {
            let id = &covering.rule.info.id;
            let message = if covering.permits() == covered.permits() {
                format!("`{id}` says as much already")
            } else {
                format!("whatever it permits, `{id}` forbids")
            };
            found.add(covered, Severity::Warning, Kind::Covered, message);
        }
    }
}

/// Whether one policy's scope takes in the other's, and its effect leaves nothing of the
/// other's.
fn covers(covering: &Subject<'_>, covered: &Subject<'_>) -> bool {
    let modes = (covering.mode(), covered.mode());
    let alike = covering.permits() == covered.permits()
        && modes.0 == modes.1
        && covering.rule.info.challenge == covered.rule.info.challenge;
    let beaten =
        !covering.permits() && covered.permits() && modes == (Mode::Enforce, Mode::Enforce);
    (alike || beaten) && covering.breadth.covers(&covered.breadth)
}
