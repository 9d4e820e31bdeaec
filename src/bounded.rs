//! A map that forgets, bounded in entries and bytes.
//!
//! What is asked for again stays, and what is asked for once goes first: a flood of keys
//! that nobody asks for twice costs the others next to nothing. The map is `quick_cache`'s
//! (Clock-PRO, close to S3-FIFO): new keys wait in a small part of it, a second look moves
//! them to the large one, and those that left lately are remembered by their hash. Nothing
//! is ever done for all entries at once: whoever inserts pushes out what has no room beside,
//! within a small part of the map.
//!
//! `benches/cache.rs` compares. Two generations of a `DashMap`, which this was before, lose
//! a tenth to a third of the hits to a flood, and find less without one. `moka` (TinyLFU)
//! finds as much without, up to six points of a hundred less with a flood, and takes several
//! times as long for it. S3-FIFO over a `DashMap` is as good, and two points better at the
//! steepest load under the greatest flood; it would be ours to look after, with one lock for
//! all insertions.

use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use quick_cache::sync::Cache;
use quick_cache::{DefaultHashBuilder, Lifecycle, OptionsBuilder, Weighter};

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// At most this many entries; 0 keeps nothing.
    pub max_entries: usize,
    /// At most this many bytes, as far as they can be counted.
    pub max_bytes: usize,
}

/// What a value takes, all in, as far as it can be counted.
pub trait Weigh: Clone {
    /// The bytes; always the same of one value.
    fn bytes(&self) -> usize;
}

/// The map.
pub struct Bounded<K, V, S = DefaultHashBuilder> {
    bounds: Bounds,
    /// Nothing where nothing is to be kept.
    cache: Option<Cache<K, V, Weights, S, Leaving>>,
    bytes: Arc<AtomicUsize>,
}

/// As many parts, each with a lock and a share of the bounds. A part is what an insertion
/// may have to look through.
const PARTS: usize = 64;
/// A part with fewer entries would forget by accident.
const FEWEST: usize = 64;
/// Smaller parts would have no room for what is large.
const SMALLEST: usize = 256 << 10;
/// A guess at an entry, where bytes and not entries are the bound.
const USUAL: usize = 256;

impl<K: Copy + Eq + Hash, V: Weigh> Bounded<K, V> {
    /// An empty one.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        Self::with_hasher(bounds, DefaultHashBuilder::default())
    }
}

impl<K: Copy + Eq + Hash, V: Weigh, S: BuildHasher + Clone> Bounded<K, V, S> {
    /// An empty one whose keys are hashed so.
    #[must_use]
    pub fn with_hasher(bounds: Bounds, hasher: S) -> Self {
        let bytes = Arc::new(AtomicUsize::new(0));
        let cache = Self::cache(bounds, hasher, &bytes);
        Self { bounds, cache, bytes }
    }

    fn cache(
        bounds: Bounds,
        hasher: S,
        bytes: &Arc<AtomicUsize>,
    ) -> Option<Cache<K, V, Weights, S, Leaving>> {
        if bounds.max_entries == 0 || bounds.max_bytes == 0 {
            return None;
        }
        let expected = expected(bounds);
        let parts = PARTS.min(expected / FEWEST).min(bounds.max_bytes / SMALLEST).max(1);
        let parts = 1 << parts.ilog2();
        // Entries are bounded by weight as well: none weighs less than its share.
        let least = (bounds.max_bytes / bounds.max_entries).max(1) as u64;
        let options = OptionsBuilder::new()
            .shards(parts)
            .estimated_items_capacity(expected)
            // Every part rounds up what it gets.
            .weight_capacity((bounds.max_bytes / parts * parts) as u64)
            .build()
            .ok()?;
        let leaving = Leaving { bytes: Arc::clone(bytes) };
        Some(Cache::with_options(options, Weights { least }, hasher, leaving))
    }

    /// Takes the places of all entries now, instead of twice as many whenever they are used
    /// up. Memory that was never written to is not really there.
    #[must_use]
    pub fn reserved(self) -> Self {
        if let Some(cache) = &self.cache {
            // What goes in and what goes out stand side by side for a moment.
            cache.reserve(expected(self.bounds) + 4 * cache.num_shards());
        }
        self
    }

    /// The value, if it is there.
    pub fn find(&self, key: &K) -> Option<V> {
        self.cache.as_ref()?.get(key)
    }

    /// Keeps a value, unless it alone is more than a part of the bounds.
    pub fn insert(&self, key: K, value: V) {
        let Some(cache) = &self.cache else { return };
        // Before it goes in, so that it can't leave before it was counted.
        self.bytes.fetch_add(value.bytes(), Ordering::Relaxed);
        cache.insert(key, value);
    }

    /// Forgets the value.
    pub fn remove(&self, key: &K) {
        if let Some((_, value)) = self.cache.as_ref().and_then(|cache| cache.remove(key)) {
            self.bytes.fetch_sub(value.bytes(), Ordering::Relaxed);
        }
    }

    /// Forgets everything that is there.
    pub fn clear(&self) {
        let Some(cache) = &self.cache else { return };
        let keys: Vec<K> = cache.iter().map(|(key, _)| key).collect();
        keys.iter().for_each(|key| self.remove(key));
    }

    /// Entries, and their bytes as counted.
    pub fn size(&self) -> (usize, usize) {
        let entries = self.cache.as_ref().map_or(0, Cache::len);
        (entries, self.bytes.load(Ordering::Relaxed))
    }
}

/// How many entries there will be, as far as can be guessed.
fn expected(bounds: Bounds) -> usize {
    bounds.max_entries.min(bounds.max_bytes / USUAL).max(1)
}

impl<K, V, S> fmt::Debug for Bounded<K, V, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bounded").field("bounds", &self.bounds).finish_non_exhaustive()
    }
}

#[derive(Clone, Copy)]
struct Weights {
    least: u64,
}

impl<K, V: Weigh> Weighter<K, V> for Weights {
    fn weight(&self, _: &K, value: &V) -> u64 {
        (value.bytes() as u64).max(self.least)
    }
}

/// Counts what leaves, and has it dropped after the lock is given back.
#[derive(Clone)]
struct Leaving {
    bytes: Arc<AtomicUsize>,
}

impl<K, V: Weigh> Lifecycle<K, V> for Leaving {
    type RequestState = [Option<V>; 2];

    fn on_evict(&self, state: &mut Self::RequestState, _: K, value: V) {
        self.bytes.fetch_sub(value.bytes(), Ordering::Relaxed);
        // Seldom more than two; those are dropped at once.
        if let Some(place) = state.iter_mut().find(|place| place.is_none()) {
            *place = Some(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::hash::BuildHasherDefault;

    use rand::rngs::SmallRng;
    use rand::{RngExt as _, SeedableRng as _};

    use super::*;

    /// The same in every run.
    type Hasher = BuildHasherDefault<std::hash::DefaultHasher>;

    #[derive(Clone)]
    struct Value(usize);

    impl Weigh for Value {
        fn bytes(&self) -> usize {
            self.0
        }
    }

    fn map(max_entries: usize, max_bytes: usize) -> Bounded<u64, Value, Hasher> {
        Bounded::with_hasher(Bounds { max_entries, max_bytes }, Hasher::default())
    }

    #[test]
    fn nothing_is_left_of_what_is_cleared() {
        let map = map(1000, 100_000);
        (0..100).for_each(|key| map.insert(key, Value(7)));
        assert_eq!(map.size(), (100, 700));
        map.clear();
        assert_eq!(map.size(), (0, 0));
        assert!(map.find(&1).is_none());
        map.insert(1, Value(7));
        assert!(map.find(&1).is_some());
    }

    /// Of 100,000 regular keys' worth of questions by Zipf's law, how many are answered,
    /// where so many in a hundred of all keys come once.
    fn answered(once: u32) -> u32 {
        let map = map(1000, 100_000);
        let mut rng = SmallRng::seed_from_u64(7);
        let sums: Vec<f64> = (1..=10_000)
            .scan(0.0, |sum, rank| {
                *sum += 1.0 / f64::from(rank);
                Some(*sum)
            })
            .collect();
        let (mut asked, mut hits, mut flood) = (0, 0, 1 << 32);
        while asked < 200_000 {
            if rng.random_range(0..100) < once {
                flood += 1;
                assert!(map.find(&flood).is_none());
                map.insert(flood, Value(100));
                continue;
            }
            let at = rng.random::<f64>() * sums[sums.len() - 1];
            let key = sums.partition_point(|sum| *sum < at) as u64;
            let hit = map.find(&key).is_some();
            if !hit {
                map.insert(key, Value(100));
            }
            asked += 1;
            // The first half fills it.
            hits += u32::from(hit && asked > 100_000);
        }
        hits
    }

    /// Here 75,218 and 72,564; two generations, which this was before, had 62,497 and 50,770.
    #[test]
    fn a_flood_of_keys_that_come_once_costs_the_others_little() {
        let (calm, flooded) = (answered(0), answered(50));
        assert!(calm > 70_000, "{calm}");
        assert!(flooded + 4000 > calm, "{flooded} of {calm}");
    }

    #[test]
    fn both_bounds_hold_and_what_leaves_is_counted() {
        for (max_entries, max_bytes, value) in [
            (1000, 1 << 20, 10),
            (1000, 1 << 20, 5000),
            (1_000_000, 1 << 20, 100),
            (100, 1 << 30, 10),
            (3, 1000, 10),
            (1, 1000, 10),
        ] {
            let map = map(max_entries, max_bytes);
            for key in 0..20_000 {
                map.insert(key, Value(value));
                // Again, in another size; some go.
                map.insert(key, Value(value + 1));
                if key % 7 == 0 {
                    map.remove(&key);
                }
                let (entries, bytes) = map.size();
                assert!(entries <= max_entries && bytes <= max_bytes, "{entries} {bytes}");
                assert_eq!(bytes, entries * (value + 1));
            }
            let full = max_entries.min(max_bytes / (value + 1));
            // The last key went.
            assert!((map.size().0 + 1) * 10 >= full * 8, "{:?} of {full}", map.size());
        }
    }

    #[test]
    fn what_is_too_large_is_not_kept_and_without_bounds_nothing_is() {
        let large = map(1000, 10_000);
        large.insert(1, Value(10));
        large.insert(1, Value(100_000));
        assert_eq!(large.size(), (0, 0), "the value before would be out of date");
        for nothing in [map(0, 1000), map(1000, 0)] {
            nothing.insert(1, Value(1));
            assert!(nothing.find(&1).is_none());
            nothing.remove(&1);
            assert_eq!(nothing.size(), (0, 0));
        }
    }
}
