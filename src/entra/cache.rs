//! Tokens that were verified, so that the next request need not.
//!
//! Keyed by the SHA-256 of the whole token and filled only after every rule has
//! passed: nobody without a valid token can put anything in or find anything. A hit
//! is asked again for what can have changed since: time, and the signing key.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::digest;

use super::key_set::Key;
use super::rules::Lifetime;
use crate::bounded::{Bounded, Bounds, Weigh};
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
    pub(super) key: Arc<Key>,
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

#[derive(Debug)]
pub(super) struct TokenCache {
    entries: Bounded<TokenHash, Entry>,
    hits: AtomicU64,
    misses: AtomicU64,
}

impl TokenCache {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self { entries: Bounded::new(bounds), hits: AtomicU64::new(0), misses: AtomicU64::new(0) }
    }

    pub(super) fn find(&self, hash: &TokenHash) -> Option<Entry> {
        let found = self.entries.find(hash);
        let counter = if found.is_some() { &self.hits } else { &self.misses };
        counter.fetch_add(1, Ordering::Relaxed);
        found
    }

    pub(super) fn insert(&self, hash: TokenHash, entry: Entry) {
        self.entries.insert(hash, entry);
    }

    pub(super) fn remove(&self, hash: &TokenHash) {
        self.entries.remove(hash);
    }

    pub(super) fn stats(&self) -> CacheStats {
        let (entries, bytes) = self.entries.size();
        CacheStats {
            entries,
            bytes,
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
        }
    }
}

impl Weigh for Entry {
    fn bytes(&self) -> usize {
        let identity = &self.identity;
        let facts = &identity.facts;
        let texts = [&identity.roles, &identity.scopes, &identity.group_names]
            .into_iter()
            .chain([&facts.directory_roles, &facts.auth_contexts])
            .flatten()
            .chain(facts.session.iter().chain(&facts.token_id));
        let texts: usize = texts.map(|text| text.len() + size_of::<Box<str>>()).sum();
        // The map keeps about an eighth of its places free.
        (size_of::<(TokenHash, Entry)>() * 9 / 8)
            + size_of::<Identity>()
            + identity.groups.len() * 16
            + texts
    }
}
