//! Tokens that were verified, so that the next request need not.
//!
//! Filled only after every rule has passed: nobody without a valid token can put anything
//! in, but for the hashes of tokens that say that they are over, which have a place apart. A
//! hit is asked again for what can have changed since: time, the signing key, and what was
//! revoked.
//!
//! A token is found by a hash of the whole of it, so nobody may be able to make a token that
//! has the hash of somebody else's. The hash is GMAC (AES-GCM over no text, with the token as
//! what is authenticated besides) under a key that this process drew at its start and keeps
//! to itself. That takes a fifth of what SHA-256 does. GMAC is a polynomial in a secret
//! number, plus a mask: any two tokens, chosen without the key, share a hash for at most one
//! key in 2^128 a block, the length being a block too. For tokens of 16 KiB that is 2^-117 a
//! try with one cached token, 2^-100 with a hundred thousand, and no computing helps: whoever
//! tries learns no hash, only that the token was refused. GMAC would ask for a nonce of its
//! own for each use because two tags under one tell about the key; no tag ever leaves here.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::rand;

use super::rules::Lifetime;
use crate::bounded::{Bounded, Bounds, Weigh};
use crate::domain::{Holder, Identity, Shelf};

/// What a token is found by.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct TokenHash(u64, u64);

/// A verified token, without the token. As small as can be: there is one of each.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) identity: Arc<Identity>,
    /// The very key that signed it, by its number with the issuer.
    pub(super) key: u32,
    /// Seconds from its issue until it is valid.
    delay: u32,
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

/// How many tokens of a kind are remembered as over: 16,384, for which a megabyte is enough.
const ENDED: Bounds = Bounds { max_entries: 1 << 14, max_bytes: 1 << 20 };

/// That a token is over.
#[derive(Clone, Copy, Debug)]
struct Ended;

impl Weigh for Ended {
    fn bytes(&self) -> usize {
        const { ENDED.max_bytes / ENDED.max_entries }
    }
}

pub(super) struct TokenCache {
    secret: LessSafeKey,
    entries: Bounded<TokenHash, Entry>,
    /// Tokens that were found to be over: those that were verified while they were not, and
    /// those of which nothing is proven.
    proven_ended: Bounded<TokenHash, Ended>,
    ended: Bounded<TokenHash, Ended>,
    /// What the entries have in common.
    shelf: Shelf,
    hits: AtomicU64,
    misses: AtomicU64,
}

/// No randomness, no secret, no cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the system gave no random numbers")]
pub struct NoRandomness;

impl TokenCache {
    pub(super) fn new(bounds: Bounds) -> Result<Self, NoRandomness> {
        let mut secret = [0; 16];
        rand::fill(&mut secret).map_err(|_| NoRandomness)?;
        let secret = UnboundKey::new(&AES_128_GCM, &secret).map_err(|_| NoRandomness)?;
        // A quarter for what is shared, the group ids above all.
        let shared = bounds.max_bytes / 4;
        let own = Bounds { max_bytes: bounds.max_bytes - shared, ..bounds };
        Ok(Self {
            secret: LessSafeKey::new(secret),
            entries: Bounded::new(own).reserved(),
            proven_ended: Bounded::new(ENDED),
            ended: Bounded::new(ENDED),
            shelf: Shelf::new(shared),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
        })
    }

    /// What a token is found by. No hash is no place: never one that two tokens share.
    pub(super) fn hash(&self, token: &str) -> Option<TokenHash> {
        let nonce = Nonce::assume_unique_for_key([0; NONCE_LEN]);
        let aad = Aad::from(token.as_bytes());
        let tag = self.secret.seal_in_place_separate_tag(nonce, aad, &mut []).ok()?;
        let (first, rest) = tag.as_ref().split_first_chunk()?;
        let (second, []) = rest.split_first_chunk()? else { return None };
        Some(TokenHash(u64::from_le_bytes(*first), u64::from_le_bytes(*second)))
    }

    pub(super) fn find(&self, hash: &TokenHash) -> Option<Entry> {
        let found = self.entries.find(hash);
        let counter = if found.is_some() { &self.hits } else { &self.misses };
        counter.fetch_add(1, Ordering::Relaxed);
        found
    }

    /// As [`TokenCache::find`], for who looks a second time: it doesn't count.
    pub(super) fn peek(&self, hash: &TokenHash) -> Option<Entry> {
        self.entries.find(hash)
    }

    /// What is kept of a token that was verified by this key of its issuer.
    pub(super) fn entry(&self, holder: Holder, lifetime: &Lifetime, key: u32) -> Entry {
        let delay = lifetime.begins().saturating_sub(lifetime.issued_at);
        Entry {
            identity: Arc::new(self.shelf.identity(holder)),
            key,
            delay: u32::try_from(delay).unwrap_or(u32::MAX),
        }
    }

    pub(super) fn insert(&self, hash: TokenHash, entry: Entry) {
        self.entries.insert(hash, entry);
    }

    pub(super) fn remove(&self, hash: &TokenHash) {
        self.entries.remove(hash);
    }

    /// A token that was verified is over, and stays so: it isn't valid again when the clock is
    /// set back.
    pub(super) fn end(&self, hash: &TokenHash) {
        self.entries.remove(hash);
        self.proven_ended.insert(*hash, Ended);
    }

    /// The same of a token of which nothing is proven: whoever sends many of them makes others
    /// of them forgotten, and no others.
    pub(super) fn end_unproven(&self, hash: &TokenHash) {
        self.ended.insert(*hash, Ended);
    }

    /// Whether the token was found to be over.
    pub(super) fn has_ended(&self, hash: &TokenHash) -> bool {
        self.proven_ended.find(hash).is_some() || self.ended.find(hash).is_some()
    }

    pub(super) fn stats(&self) -> CacheStats {
        let (entries, bytes) = self.entries.size();
        CacheStats {
            entries,
            bytes: bytes + self.shelf.bytes(),
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
        }
    }
}

impl Entry {
    pub(super) fn lifetime(&self) -> Lifetime {
        let (issued_at, expires_at) = (self.identity.issued_at, self.identity.expires_at);
        let not_before = issued_at.saturating_add(i64::from(self.delay));
        Lifetime { issued_at, not_before: Some(not_before), expires_at }
    }
}

impl Weigh for Entry {
    fn bytes(&self) -> usize {
        // The map has half as many places again for tokens that left lately, links from one
        // place to the next, and a table with up to as much free as there is.
        let place = size_of::<(TokenHash, Self)>() + 16;
        place + place / 2 + 16 + self.identity.bytes()
    }
}

impl Hash for TokenHash {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0);
    }
}

impl fmt::Debug for TokenCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenCache").field("entries", &self.entries).finish_non_exhaustive()
    }
}
