//! Where an entity comes from, and what happens when that changes.
//!
//! A name in the catalog is whoever's registered it first. When the entity that held it
//! goes, the name is free, and the next one to take it would inherit what the name may do.
//! So an entity that comes under a known name from elsewhere doesn't count at first: what
//! the name stood for before goes on, until the change has lasted for some crawls or an
//! operator has confirmed it.

use std::collections::HashMap;

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
    /// Begins a crawl.
    pub(super) fn begin(&mut self) {
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
        if origin != Origin::default() && self.gone.len() < MAX_GONE {
            self.gone.insert(entity.clone(), origin);
        }
    }

    /// Who held this name before it was free, if it was.
    pub(super) fn last_holder(&mut self, entity: &EntityRef) -> Option<Origin> {
        self.gone.remove(entity)
    }

    /// Ends a crawl: what did not come again is forgotten.
    pub(super) fn end(&mut self) {
        self.seen.retain(|_, seen| seen.current);
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
        let example = |(entity, _): &(&EntityRef, &Move)| format!("moved {entity}");
        Some(Held {
            crawls: waiting.iter().map(|(_, seen)| seen.crawls).max()?,
            id: short(id),
            excesses: vec![Excess {
                what: "entities came under known names from elsewhere",
                changed: waiting.len(),
                of: waiting.len(),
            }],
            examples: waiting.iter().take(MAX_EXAMPLES).map(example).collect(),
            adopt_after,
        })
    }

    /// Has all that are held count from the next crawl on.
    pub(super) fn confirm(&mut self) {
        for seen in self.seen.values_mut() {
            seen.confirmed = true;
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
            moves.begin();
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
