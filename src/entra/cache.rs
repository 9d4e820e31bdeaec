//! Tokens that were verified, so that the next request need not.
//!
//! Keyed by the SHA-256 of the whole token and filled only after every rule has
//! passed: nobody without a valid token can put anything in or find anything. A hit
//! is asked again for what can have changed since: time, and the signing key.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use aws_lc_rs::digest;
use dashmap::DashMap;

use super::rules::Lifetime;
use super::settings::TokenCacheSettings;
use crate::domain::Identity;

pub(super) type TokenHash = [u8; 32];

/// The hash that a token is kept under. No hash is no place: never one that two
/// tokens could share.
pub(super) fn hash(token: &str) -> Option<TokenHash> {
    digest::digest(&digest::SHA256, token.as_bytes()).as_ref().try_into().ok()
}

/// A verified token, without the token.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) identity: Arc<Identity>,
    pub(super) lifetime: Lifetime,
    /// Which issuer, by its place in the configuration.
    pub(super) issuer: usize,
    /// The very key that signed it.
    pub(super) key: [u8; 32],
}

/// What the cache did, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheStats {
    /// Tokens in it now.
    pub entries: usize,
    /// Their size, as far as it is counted.
    pub bytes: usize,
    /// Tokens found.
    pub hits: u64,
    /// Tokens not found.
    pub misses: u64,
}

/// Two generations: what is asked for again moves from the old one to the young one,
/// and when the young one is full the old one is dropped as a whole. So the bounds
/// hold without an order to keep, and nothing waits for an eviction.
#[derive(Debug)]
pub(super) struct TokenCache {
    settings: TokenCacheSettings,
    generations: ArcSwap<Generations>,
    hits: AtomicU64,
    misses: AtomicU64,
}

#[derive(Debug)]
struct Generations {
    young: Arc<Generation>,
    old: Arc<Generation>,
}

#[derive(Debug, Default)]
struct Generation {
    entries: DashMap<TokenHash, Entry>,
    count: AtomicUsize,
    bytes: AtomicUsize,
}

impl TokenCache {
    pub(super) fn new(settings: TokenCacheSettings) -> Self {
        let generations = Generations { young: Arc::default(), old: Arc::default() };
        Self {
            settings,
            generations: ArcSwap::from_pointee(generations),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
        }
    }

    pub(super) fn find(&self, hash: &TokenHash) -> Option<Entry> {
        let generations = self.generations.load();
        let young = generations.young.entries.get(hash).map(|entry| entry.clone());
        let found = young.or_else(|| {
            let (_, entry) = generations.old.entries.remove(hash)?;
            self.insert(*hash, entry.clone());
            Some(entry)
        });
        let counter = if found.is_some() { &self.hits } else { &self.misses };
        counter.fetch_add(1, Ordering::Relaxed);
        found
    }

    pub(super) fn insert(&self, hash: TokenHash, entry: Entry) {
        let size = size(&entry);
        let (max_entries, max_bytes) = (self.settings.max_entries / 2, self.settings.max_bytes / 2);
        if max_entries == 0 || size > max_bytes {
            return;
        }
        let mut generations = self.generations.load_full();
        // Room is taken before the entry goes in, so the bounds hold whoever races.
        while !generations.young.reserve(size, max_entries, max_bytes) {
            let next = Generations { young: Arc::default(), old: Arc::clone(&generations.young) };
            self.generations.compare_and_swap(&generations, Arc::new(next));
            generations = self.generations.load_full();
        }
        if let Some(before) = generations.young.entries.insert(hash, entry) {
            generations.young.release(self::size(&before));
        }
    }

    pub(super) fn remove(&self, hash: &TokenHash) {
        let generations = self.generations.load();
        if let Some((_, entry)) = generations.young.entries.remove(hash) {
            generations.young.release(size(&entry));
        }
        generations.old.entries.remove(hash);
    }

    pub(super) fn stats(&self) -> CacheStats {
        let generations = self.generations.load();
        let both = [&generations.young, &generations.old];
        CacheStats {
            entries: both.iter().map(|one| one.entries.len()).sum(),
            bytes: both.iter().map(|one| one.bytes.load(Ordering::Relaxed)).sum(),
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
        }
    }
}

impl Generation {
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

/// What an entry takes, all in, as far as it can be counted.
fn size(entry: &Entry) -> usize {
    let identity = &entry.identity;
    let texts = identity.roles.iter().chain(&identity.scopes).chain(&identity.group_names);
    let texts: usize = texts.map(|text| text.len() + size_of::<Box<str>>()).sum();
    // The map keeps about an eighth of its places free.
    (size_of::<(TokenHash, Entry)>() * 9 / 8)
        + size_of::<Identity>()
        + identity.groups.len() * 16
        + texts
}
