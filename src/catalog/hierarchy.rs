//! What stands above what: groups above groups, systems and domains above entities. Found
//! once a snapshot, within bounds, since anybody can write an entity.

use std::collections::HashSet;

use super::snapshot::GroupIndex;
use crate::domain::EntityRef;

/// The most systems and domains that something can be part of, all in. Real ones are two
/// or three deep.
pub(super) const MAX_WHOLES: usize = 32;

/// Every system and domain that an entity is part of, over others too, itself never among
/// them; nothing if there are too many.
/// `directly` gives those that an entity is part of itself.
pub(super) fn all_wholes(
    entity: &EntityRef,
    directly: impl Fn(&EntityRef) -> Vec<EntityRef>,
) -> Option<Vec<EntityRef>> {
    let mut seen: Vec<EntityRef> = Vec::new();
    let mut open = vec![entity.clone()];
    while let Some(next) = open.pop() {
        for whole in directly(&next) {
            if whole == *entity || seen.contains(&whole) {
                continue;
            }
            if seen.len() == MAX_WHOLES {
                return None;
            }
            seen.push(whole.clone());
            open.push(whole);
        }
    }
    seen.sort();
    Some(seen)
}

/// Every group above, each visited once, so that cycles end.
pub(super) fn ancestors(start: usize, parents: &[Vec<GroupIndex>]) -> Vec<GroupIndex> {
    let mut seen = HashSet::new();
    let mut open: Vec<GroupIndex> = parents.get(start).cloned().unwrap_or_default();
    while let Some(next) = open.pop() {
        if seen.insert(next) {
            let above = usize::try_from(next.0).ok().and_then(|at| parents.get(at));
            open.extend(above.into_iter().flatten());
        }
    }
    let mut all: Vec<_> = seen.into_iter().collect();
    all.sort_unstable();
    all
}
