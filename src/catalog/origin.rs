//! Where an entity comes from, and what happens when that changes.
//!
//! A name in the catalog is whoever's registered it first. When the entity that held it
//! goes, the name is free, and the next one to take it would inherit what the name may do.
//! So an entity that comes under a known name from elsewhere doesn't count at first: what
//! the name stood for before goes on, until the change has lasted for some crawls or an
//! operator has confirmed it.

use std::collections::{HashMap, HashSet, VecDeque};

use aws_lc_rs::digest;

use super::guard::{Excess, Held, MAX_EXAMPLES, short};
use crate::domain::EntityRef;

/// Of more names that became free it is forgotten who held them.
const MAX_GONE: usize = 100_000;

/// Which entity it is: what its author can't choose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Origin {
    /// Backstage's `metadata.uid`; 0 where there is none.
    pub(super) uid: [u64; 2],
    /// Hash of `backstage.io/managed-by-origin-location`; 0 where there is none.
    pub(super) location: u64,
}

impl Origin {
    pub(super) fn new(uid: Option<&str>, location: Option<&str>) -> Self {
        Self {
            uid: uid
                .and_then(|uid| uuid::Uuid::try_parse(uid).ok())
                .map_or([0; 2], |uid| uid.as_u64_pair().into()),
            location: location.map_or(0, hash),
        }
    }

    /// Whether an entity of this origin is another one than that of the other.
    fn differs(self, other: Self) -> bool {
        let differ = |a: [u64; 2], b: [u64; 2]| a != [0; 2] && b != [0; 2] && a != b;
        differ(self.uid, other.uid) || differ([0, self.location], [0, other.location])
    }
}

fn hash(text: &str) -> u64 {
    let hash = digest::digest(&digest::SHA256, text.as_bytes());
    let first = hash.as_ref().first_chunk::<8>().copied().unwrap_or_default();
    // 0 is kept for nothing.
    u64::from_be_bytes(first).max(1)
}

/// What is to be done with an entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It is who it was, or is new, or has been here for long enough.
    Counts,
    /// It came from elsewhere; seen so in this many crawls in a row.
    Held(u32),
}

/// The entities that came from elsewhere.
#[derive(Debug, Default)]
pub(super) struct Moves {
    seen: HashMap<EntityRef, Move>,
    /// Who held the names that became free.
    gone: HashMap<EntityRef, Origin>,
    /// In which order they did; some of them may be held again.
    order: VecDeque<EntityRef>,
    overflowed: bool,
    /// Systems and domains that are gone, and that others are still part of.
    missed: HashMap<EntityRef, Missed>,
}

#[derive(Debug, Default)]
struct Missed {
    crawls: u32,
    confirmed: bool,
    current: bool,
}

#[derive(Debug)]
struct Move {
    to: Origin,
    crawls: u32,
    confirmed: bool,
    /// Whether it was seen in the crawl that is going on.
    current: bool,
}

impl Moves {
    /// Begins a crawl. Whoever is in the snapshot by now holds the name themself.
    pub(super) fn begin(&mut self, holds: impl Fn(&EntityRef) -> bool) {
        self.gone.retain(|entity, _| !holds(entity));
        if self.order.len() > self.gone.len().saturating_mul(2).max(1000) {
            let mut known = HashSet::new();
            let gone = &self.gone;
            self.order.retain(|entity| gone.contains_key(entity) && known.insert(entity.clone()));
        }
        for missed in self.missed.values_mut() {
            missed.current = false;
        }
        for seen in self.seen.values_mut() {
            seen.current = false;
        }
    }

    /// Judges an entity of which the snapshot before knows another origin.
    pub(super) fn judge(
        &mut self,
        entity: &EntityRef,
        before: Origin,
        now: Origin,
        adopt_after: u32,
    ) -> Standing {
        if !now.differs(before) {
            return Standing::Counts;
        }
        let anew = || Move { to: now, crawls: 0, confirmed: false, current: true };
        let seen = self.seen.entry(entity.clone()).or_insert_with(anew);
        if seen.to != now {
            *seen = anew();
        }
        seen.current = true;
        seen.crawls = seen.crawls.saturating_add(1);
        if seen.confirmed || seen.crawls >= adopt_after {
            Standing::Counts
        } else {
            Standing::Held(seen.crawls)
        }
    }

    /// Remembers who held a name that is free now: whoever takes it next is another.
    pub(super) fn leave(&mut self, entity: &EntityRef, origin: Origin) {
        if origin == Origin::default() {
            return;
        }
        // The oldest are forgotten first: whoever frees names by the thousand frees their
        // own.
        while self.gone.len() >= MAX_GONE {
            let Some(oldest) = self.order.pop_front() else { break };
            if self.gone.remove(&oldest).is_some() && !self.overflowed {
                self.overflowed = true;
                tracing::warn!(
                    MAX_GONE,
                    "so many names became free that the first of them are forgotten"
                );
            }
        }
        if self.gone.insert(entity.clone(), origin).is_none() {
            self.order.push_back(entity.clone());
        }
    }

    /// Who held this name before it was free, if it was.
    pub(super) fn last_holder(&self, entity: &EntityRef) -> Option<Origin> {
        self.gone.get(entity).copied()
    }

    /// Judges a system or domain that is gone, while others still say they are part of it:
    /// whether it goes on for now. What is forbidden in it would be allowed without it.
    pub(super) fn miss(&mut self, entity: &EntityRef, adopt_after: u32) -> Standing {
        let missed = self.missed.entry(entity.clone()).or_default();
        if !missed.current {
            missed.current = true;
            missed.crawls = missed.crawls.saturating_add(1);
        }
        if missed.confirmed || missed.crawls >= adopt_after {
            Standing::Counts
        } else {
            Standing::Held(missed.crawls)
        }
    }

    /// Ends a crawl: what did not come again is forgotten.
    pub(super) fn end(&mut self) {
        self.seen.retain(|_, seen| seen.current);
        self.missed.retain(|_, missed| missed.current);
    }

    /// What is held, if anything is.
    pub(super) fn waiting(&self, adopt_after: u32) -> Option<Held> {
        let mut waiting: Vec<(&EntityRef, &Move)> = self
            .seen
            .iter()
            .filter(|(_, seen)| !seen.confirmed && seen.crawls < adopt_after)
            .collect();
        waiting.sort_unstable_by_key(|(entity, _)| *entity);
        let mut id = digest::Context::new(&digest::SHA256);
        for (entity, seen) in &waiting {
            id.update(entity.as_str().as_bytes());
            let [high, low] = seen.to.uid;
            id.update(&high.to_be_bytes());
            id.update(&low.to_be_bytes());
            id.update(&seen.to.location.to_be_bytes());
        }
        let mut missed: Vec<(&EntityRef, &Missed)> = self
            .missed
            .iter()
            .filter(|(_, missed)| !missed.confirmed && missed.crawls < adopt_after)
            .collect();
        missed.sort_unstable_by_key(|(entity, _)| *entity);
        for (entity, _) in &missed {
            id.update(b"gone");
            id.update(entity.as_str().as_bytes());
        }
        let moves = waiting.iter().map(|(_, seen)| seen.crawls);
        let crawls = moves.chain(missed.iter().map(|(_, missed)| missed.crawls)).max()?;
        let excess = |what, changed| Excess { what, changed, of: changed };
        let excesses = [
            excess("entities came under known names from elsewhere", waiting.len()),
            excess("systems and domains are gone that others are part of", missed.len()),
        ];
        let moved = waiting.iter().map(|(entity, _)| format!("moved {entity}"));
        let gone = missed.iter().map(|(entity, _)| format!("gone {entity}"));
        Some(Held {
            crawls,
            id: short(id),
            excesses: excesses.into_iter().filter(|excess| excess.changed > 0).collect(),
            examples: moved.chain(gone).take(MAX_EXAMPLES).collect(),
            adopt_after,
        })
    }

    /// Has all that are held count from the next crawl on.
    pub(super) fn confirm(&mut self) {
        for seen in self.seen.values_mut() {
            seen.confirmed = true;
        }
        for missed in self.missed.values_mut() {
            missed.confirmed = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newcomer_waits() {
        let entity = EntityRef::parse("component:default/a").expect("a ref");
        let origin = |uid: u64, location: u64| Origin { uid: [0, uid], location };
        let old = origin(1, 1);
        let mut moves = Moves::default();
        let mut crawl = |now: Origin, confirm: bool| {
            if confirm {
                moves.confirm();
            }
            moves.begin(|_| false);
            let standing = moves.judge(&entity, old, now, 3);
            moves.end();
            standing
        };
        for (now, want) in [
            (origin(1, 1), Standing::Counts),
            // Of what isn't known nothing can have changed.
            (origin(0, 1), Standing::Counts),
            (origin(1, 0), Standing::Counts),
            (origin(2, 1), Standing::Held(1)),
            (origin(2, 1), Standing::Held(2)),
            // It was gone for a crawl: from the beginning.
            (origin(1, 1), Standing::Counts),
            (origin(2, 1), Standing::Held(1)),
            // Yet another one.
            (origin(1, 2), Standing::Held(1)),
            (origin(1, 2), Standing::Held(2)),
            (origin(1, 2), Standing::Counts),
        ] {
            assert_eq!(crawl(now, false), want, "{now:?}");
        }
        assert_eq!(crawl(origin(3, 3), false), Standing::Held(1));
        assert_eq!(crawl(origin(3, 3), true), Standing::Counts);
        assert_eq!(crawl(origin(4, 3), false), Standing::Held(1), "another was confirmed");
    }
}
