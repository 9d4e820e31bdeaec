//! The signing keys of an issuer, as its key document lists them.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest;
use aws_lc_rs::signature::{ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::json;
use super::jwt::is_key_id;

/// More keys than this is no key set.
const MAX_KEYS: usize = 100;

/// An immutable set of usable keys.
#[derive(Debug)]
pub struct KeySet {
    keys: HashMap<Box<str>, Arc<Key>>,
    ignored: usize,
}

/// One usable key.
pub(super) struct Key {
    /// `kid`.
    pub(super) id: Box<str>,
    /// Names the very key as it was published: a hash of its id, of the issuer that it
    /// is for, of modulus and exponent.
    pub(super) fingerprint: [u8; 32],
    /// The issuer that the document says it is for; a template or an issuer.
    pub(super) issuer: Option<Box<str>>,
    /// For RS256, and taken apart once: that is a fifth of what a verification costs.
    public: ParsedPublicKey,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

/// Why a document is no key set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    /// Not JSON with one reading, or without `keys`.
    #[error("not a key set: expected a JSON object with an array `keys`")]
    Form,
    /// Too many.
    #[error("more than {MAX_KEYS} keys")]
    TooMany,
    /// None that can verify a token.
    #[error("no usable key among {0}")]
    NoneUsable(usize),
}

impl KeySet {
    /// Reads a JSON web key set (RFC 7517).
    ///
    /// # Errors
    /// The document as a whole is refused; single keys that can't be used are left
    /// out and counted.
    pub fn parse(body: &[u8]) -> Result<Self, KeySetError> {
        let document = json::object(body).ok_or(KeySetError::Form)?;
        let listed = document.get("keys").and_then(Value::as_array).ok_or(KeySetError::Form)?;
        Self::of(listed)
    }

    pub(super) fn of(listed: &[Value]) -> Result<Self, KeySetError> {
        if listed.len() > MAX_KEYS {
            return Err(KeySetError::TooMany);
        }
        let mut found: HashMap<Box<str>, Option<Arc<Key>>> = HashMap::new();
        for value in listed {
            let Some((id, key)) = value.as_object().and_then(usable) else { continue };
            found
                .entry(id)
                // Two keys of one id: which is meant can't be known. The same key
                // twice is one.
                .and_modify(|first| {
                    if first.as_ref().is_some_and(|first| first.fingerprint != key.fingerprint) {
                        *first = None;
                    }
                })
                .or_insert_with(|| Some(Arc::new(key)));
        }
        let keys: HashMap<_, _> =
            found.into_iter().filter_map(|(id, key)| Some((id, key?))).collect();
        if keys.is_empty() {
            return Err(KeySetError::NoneUsable(listed.len()));
        }
        let ignored = listed.len().saturating_sub(keys.len());
        Ok(Self { keys, ignored })
    }

    pub(super) fn key(&self, id: &str) -> Option<&Arc<Key>> {
        self.keys.get(id)
    }

    /// The very key, as it is listed here.
    pub(super) fn same_as(&self, key: &Key) -> Option<&Arc<Key>> {
        self.keys.get(&key.id).filter(|listed| listed.fingerprint == key.fingerprint)
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &Arc<Key>> {
        self.keys.values()
    }

    /// Whether both list the very same keys.
    pub(super) fn same(&self, other: &Self) -> bool {
        self.keys.len() == other.keys.len()
            && self.keys.values().all(|key| other.same_as(key).is_some())
    }

    /// Names the set, as `issuer`'s: the same keys have the same name in every process, in
    /// whatever order they are listed. A fingerprint covers the key's id.
    pub(super) fn version(&self, issuer: &str) -> Arc<str> {
        let mut keys: Vec<&Key> = self.keys.values().map(AsRef::as_ref).collect();
        keys.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(&(issuer.len() as u64).to_be_bytes());
        context.update(issuer.as_bytes());
        for key in keys {
            context.update(&key.fingerprint);
        }
        let hash = context.finish();
        hash.as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect::<String>().into()
    }

    /// The number of usable keys.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Never: a set without usable keys is refused.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Keys of the document that can't be used.
    #[must_use]
    pub fn ignored(&self) -> usize {
        self.ignored
    }
}

impl Key {
    /// Whether the signature over the text is this key's.
    pub(super) fn verifies(&self, signed: &str, signature: &[u8]) -> bool {
        self.public.verify_sig(signed.as_bytes(), signature).is_ok()
    }
}

fn usable(jwk: &Map<String, Value>) -> Option<(Box<str>, Key)> {
    let text = |name: &str| jwk.get(name).and_then(Value::as_str);
    let absent_or = |name: &str, only: &str| match jwk.get(name) {
        None => true,
        Some(value) => value.as_str() == Some(only),
    };
    if text("kty") != Some("RSA") || !absent_or("use", "sig") || !absent_or("alg", "RS256") {
        return None;
    }
    let id = text("kid").filter(|id| is_key_id(id))?;
    let issuer: Option<Box<str>> = match jwk.get("issuer") {
        None => None,
        Some(value) => Some(value.as_str()?.into()),
    };
    let modulus = URL_SAFE_NO_PAD.decode(text("n")?).ok()?;
    let exponent = URL_SAFE_NO_PAD.decode(text("e")?).ok()?;
    let modulus = strip(&modulus);
    let exponent = strip(&exponent);
    let bits = modulus.len() * 8 - modulus.first().map_or(0, |byte| byte.leading_zeros() as usize);
    let odd = exponent.last().is_some_and(|byte| byte & 1 == 1);
    if !(2048..=4096).contains(&bits) || !odd || exponent == [1] || exponent.len() > 4 {
        return None;
    }
    let mut context = digest::Context::new(&digest::SHA256);
    // No issuer is another thing than an empty one.
    let marked = issuer.as_deref().map(|issuer| format!("for {issuer}")).unwrap_or_default();
    for part in [id.as_bytes(), marked.as_bytes(), modulus, exponent] {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let fingerprint = context.finish().as_ref().try_into().ok()?;
    let public = RsaPublicKeyComponents { n: modulus, e: exponent };
    let public = public.to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256).ok()?;
    Some((id.into(), Key { id: id.into(), fingerprint, issuer, public }))
}

/// Without leading zeros, which don't change a number.
fn strip(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes.get(zeros..).unwrap_or_default()
}
