//! A map that forgets, bounded in entries and bytes.
//!
//! Two generations: what is asked for again moves from the old one to the young one,
//! and when the young one is full the old one is dropped as a whole. So the bounds
//! hold without an order to keep, and nothing waits for an eviction.

use std::fmt;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use dashmap::DashMap;

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// At most this many entries; 0 keeps nothing.
    pub max_entries: usize,
    /// At most this many bytes, as far as they can be counted.
    pub max_bytes: usize,
}

/// What a value takes, all in, as far as it can be counted.
pub(crate) trait Weigh: Clone {
    fn bytes(&self) -> usize;
}

pub(crate) struct Bounded<K, V> {
    bounds: Bounds,
    generations: ArcSwap<Generations<K, V>>,
}

struct Generations<K, V> {
    young: Arc<Generation<K, V>>,
    old: Arc<Generation<K, V>>,
}

struct Generation<K, V> {
    entries: DashMap<K, V>,
    count: AtomicUsize,
    bytes: AtomicUsize,
}

impl<K: Copy + Eq + Hash, V: Weigh> Bounded<K, V> {
    pub(crate) fn new(bounds: Bounds) -> Self {
        let generations = Generations { young: Generation::new(), old: Generation::new() };
        Self { bounds, generations: ArcSwap::from_pointee(generations) }
    }

    pub(crate) fn find(&self, key: &K) -> Option<V> {
        let generations = self.generations.load();
        if let Some(value) = generations.young.entries.get(key) {
            return Some(value.clone());
        }
        let (_, value) = generations.old.entries.remove(key)?;
        self.insert(*key, value.clone());
        Some(value)
    }

    pub(crate) fn insert(&self, key: K, value: V) {
        let size = value.bytes();
        let (max_entries, max_bytes) = (self.bounds.max_entries / 2, self.bounds.max_bytes / 2);
        if max_entries == 0 || size > max_bytes {
            return;
        }
        let mut generations = self.generations.load_full();
        // Room is taken before the value goes in, so the bounds hold whoever races.
        while !generations.young.reserve(size, max_entries, max_bytes) {
            let next =
                Generations { young: Generation::new(), old: Arc::clone(&generations.young) };
            self.generations.compare_and_swap(&generations, Arc::new(next));
            generations = self.generations.load_full();
        }
        if let Some(before) = generations.young.entries.insert(key, value) {
            generations.young.release(before.bytes());
        }
    }

    pub(crate) fn remove(&self, key: &K) {
        let generations = self.generations.load();
        if let Some((_, value)) = generations.young.entries.remove(key) {
            generations.young.release(value.bytes());
        }
        generations.old.entries.remove(key);
    }

    /// Entries, and their bytes as counted.
    pub(crate) fn size(&self) -> (usize, usize) {
        let generations = self.generations.load();
        let both = [&generations.young, &generations.old];
        (
            both.iter().map(|one| one.entries.len()).sum(),
            both.iter().map(|one| one.bytes.load(Ordering::Relaxed)).sum(),
        )
    }
}

impl<K, V> fmt::Debug for Bounded<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bounded").field("bounds", &self.bounds).finish_non_exhaustive()
    }
}

impl<K: Eq + Hash, V> Generation<K, V> {
    fn new() -> Arc<Self> {
        let (count, bytes) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Arc::new(Self { entries: DashMap::new(), count, bytes })
    }

    fn reserve(&self, size: usize, max_entries: usize, max_bytes: usize) -> bool {
        let count = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        let bytes = self.bytes.fetch_add(size, Ordering::Relaxed) + size;
        if count <= max_entries && bytes <= max_bytes {
            return true;
        }
        self.release(size);
        false
    }

    fn release(&self, size: usize) {
        self.count.fetch_sub(1, Ordering::Relaxed);
        self.bytes.fetch_sub(size, Ordering::Relaxed);
    }
}
