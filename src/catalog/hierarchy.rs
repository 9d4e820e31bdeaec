//! What stands above what: groups above groups, systems and domains above entities. Found
//! once a snapshot, within bounds, since anybody can write an entity.

use super::lists::Lists;
use super::names::{Number, number, place};

/// The most systems and domains that something can be part of, all in. Real ones are two
/// or three deep.
pub(super) const MAX_WHOLES: usize = 32;

/// A hundred thousand groups, fifty deep.
pub(super) const MAX_ANCESTORS: usize = 5_000_000;

/// A group is a root if it is above this share of the other groups, in percent,
const ROOT_PERCENT: usize = 90;
/// and above at least so many.
const ROOT_MIN_BELOW: usize = 5;

/// Every system and domain that an entity is part of, over others too, itself never among
/// them; nothing if there are too many.
/// `directly` gives those that an entity is part of itself.
pub(super) fn all_wholes(
    entity: Number,
    mut directly: impl FnMut(Number, &mut Vec<Number>),
) -> Option<Vec<Number>> {
    let (mut seen, mut open, mut found) = (Vec::new(), vec![entity], Vec::new());
    while let Some(next) = open.pop() {
        found.clear();
        directly(next, &mut found);
        for whole in &found {
            if *whole == entity || seen.contains(whole) {
                continue;
            }
            if seen.len() == MAX_WHOLES {
                return None;
            }
            seen.push(*whole);
            open.push(*whole);
        }
    }
    Some(seen)
}

/// Every group above each group, each once, so that cycles end; nothing if there are too
/// many. Nothing is above a root, and no way leads through one.
pub(super) fn ancestors(parents: &Lists, roots: &[bool]) -> Option<Lists> {
    let count = parents.len();
    let is_root = |group: Number| roots.get(place(group)).copied().unwrap_or(false);
    let mut all = Lists::with_capacity(count);
    // In which group's turn a group was last seen.
    let mut seen: Vec<usize> = vec![usize::MAX; count];
    let mut open: Vec<Number> = Vec::new();
    for start in 0..count {
        let mut above: Vec<Number> = Vec::new();
        if !is_root(number(start)) {
            open.extend(parents.get(start));
        }
        while let Some(next) = open.pop() {
            let Some(seen) = seen.get_mut(place(next)) else { continue };
            if *seen == start || is_root(next) {
                continue;
            }
            *seen = start;
            above.push(next);
            open.extend(parents.get(place(next)));
        }
        above.sort_unstable();
        if all.items() + above.len() > MAX_ANCESTORS {
            return None;
        }
        all.push(above);
    }
    Some(all)
}

/// The groups that nearly everything is under: the trusted ones that are above nearly all
/// other trusted groups. A group that somebody adds beside the tree doesn't make the tree's
/// root less of one.
pub(super) fn under_which_all_are(parents: &Lists, trusted: &[bool]) -> Option<Vec<bool>> {
    let above = ancestors(parents, &[])?;
    let is_trusted = |group: usize| trusted.get(group).copied().unwrap_or(false);
    let mut below: Vec<usize> = vec![0; parents.len()];
    for group in (0..parents.len()).filter(|group| is_trusted(*group)) {
        for above in above.get(group).iter().filter(|above| place(**above) != group) {
            if let Some(below) = below.get_mut(place(*above)) {
                *below += 1;
            }
        }
    }
    let others = trusted.iter().filter(|trusted| **trusted).count().saturating_sub(1);
    let is_root = |(group, below): (usize, &usize)| {
        is_trusted(group) && *below >= ROOT_MIN_BELOW && *below * 100 >= others * ROOT_PERCENT
    };
    Some(below.iter().enumerate().map(is_root).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The groups above each, where `parents` are given one after another.
    fn above(parents: &[&[Number]], roots: &[bool]) -> Vec<Vec<Number>> {
        let mut lists = Lists::default();
        parents.iter().for_each(|parents| lists.push(parents.iter().copied()));
        let all = ancestors(&lists, roots).expect("not too many");
        (0..parents.len()).map(|group| all.get(group).to_vec()).collect()
    }

    #[test]
    fn no_way_leads_through_a_root() {
        // 3 below 2 below 1 below 0; 4 below 2 and 0.
        let parents: &[&[Number]] = &[&[], &[0], &[1], &[2], &[0, 2]];
        let none: &[&[Number]] = &[&[], &[0], &[0, 1], &[0, 1, 2], &[0, 1, 2]];
        assert_eq!(above(parents, &[]), none);
        let zero: &[&[Number]] = &[&[], &[], &[1], &[1, 2], &[1, 2]];
        assert_eq!(above(parents, &[true, false, false, false, false]), zero);
        let one: &[&[Number]] = &[&[], &[], &[], &[2], &[0, 2]];
        assert_eq!(above(parents, &[false, true, false, false, false]), one);
    }

    #[test]
    fn what_nearly_everything_is_under() {
        let roots = |parents: &[&[Number]], trusted: &[bool]| {
            let mut lists = Lists::default();
            parents.iter().for_each(|parents| lists.push(parents.iter().copied()));
            let roots = under_which_all_are(&lists, trusted).expect("not too many");
            (0..parents.len()).filter(|group| roots[*group]).collect::<Vec<_>>()
        };
        let five: &[&[Number]] = &[&[], &[0], &[0], &[0], &[1], &[1]];
        assert_eq!(roots(five, &[true; 6]), [0]);
        assert_eq!(roots(&five[..5], &[true; 5]), [0; 0], "too few");
        // A stranger's group beside them changes nothing; the organisation's own does.
        let beside: &[&[Number]] = &[&[], &[0], &[0], &[0], &[1], &[1], &[]];
        assert_eq!(roots(beside, &[true, true, true, true, true, true, false]), [0]);
        assert_eq!(roots(beside, &[true; 7]), [0; 0]);
        assert_eq!(roots(five, &[false; 6]), [0; 0]);
        // Two on top of each other, and a circle on top.
        let under_one = |top: &[&'static [Number]]| {
            let mut parents = top.to_vec();
            parents.extend([&[1][..]; 10]);
            parents
        };
        assert_eq!(roots(&under_one(&[&[], &[0]]), &[true; 12]), [0, 1]);
        assert_eq!(roots(&under_one(&[&[1], &[0]]), &[true; 12]), [0, 1]);
    }
}
