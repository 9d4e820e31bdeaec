//! Who the caller is: from a bearer token to an identity.
//!
//! A token is accepted only by the rules in `rules.rs`, under a key of its own
//! issuer. Key sets are refreshed in the background; a request waits for one only
//! when its token names a key that nobody has seen yet, and then for a bounded time.

mod bearer;
mod cache;
mod issuer;
mod json;
mod jwt;
mod key_set;
mod rules;
mod settings;
mod source;

use std::sync::Arc;

use futures_util::future::join_all;
use rand::rngs::SmallRng;
use serde_json::Value;
use tokio::sync::watch;
use url::Url;

pub use cache::CacheStats;
pub use issuer::{IssuerStatus, KeyState};
pub use key_set::{KeySet, KeySetError};
pub use rules::is_graph;
pub use settings::{EntraSettings, KeySettings, TenantSettings, TokenCacheSettings};
pub use source::SourceError;

use cache::{Entry, TokenCache};
use issuer::Issuer;
use jwt::Jwt;
use rules::{Lifetime, Version};

use crate::clock::Now;
use crate::domain::{Credentials, Denial, Identity, Reason};
use crate::fetch::Fetch;

/// Verifies tokens. Cheap to clone; every clone has the same keys and cache.
#[derive(Clone, Debug)]
pub struct Authenticator {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    settings: EntraSettings,
    issuers: Vec<Issuer>,
    cache: TokenCache,
}

/// Why the settings can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// No tenant accepts any version.
    #[error("no tenant is configured")]
    NoTenant,
    /// Two tenants, or two versions, have one issuer.
    #[error("the issuer `{0}` is configured twice")]
    IssuerTwice(String),
}

/// Why a file holds no keys.
#[derive(Debug, thiserror::Error)]
pub enum LoadKeysError {
    /// Neither of the two forms.
    #[error(
        "expected `{{\"keys\": […]}}` or `{{\"issuers\": {{\"<issuer>\": {{\"keys\": […]}}}}}}`"
    )]
    Form,
    /// An issuer that is not configured.
    #[error("the issuer `{0}` is not configured")]
    Issuer(String),
    /// A key set that is none.
    #[error(transparent)]
    Keys(#[from] KeySetError),
}

/// Why a token was not accepted, and whether a key that is fetched now could help.
struct Rejected {
    denial: Denial,
    /// The issuer that doesn't list the key, by its place in the configuration, and
    /// how many fetches had ended when it was looked up.
    unknown_key: Option<(usize, u64)>,
}

impl From<Denial> for Rejected {
    fn from(denial: Denial) -> Self {
        Self { denial, unknown_key: None }
    }
}

impl Authenticator {
    /// An authenticator without keys.
    ///
    /// # Errors
    /// The settings name no issuer, or one twice.
    pub fn new(settings: EntraSettings) -> Result<Self, SettingsError> {
        let mut issuers: Vec<Issuer> = Vec::new();
        for (index, tenant) in settings.tenants.iter().enumerate() {
            for (version, name) in
                [(Version::V1, &tenant.issuer_v1), (Version::V2, &tenant.issuer_v2)]
            {
                let Some(name) = name else { continue };
                if issuers.iter().any(|other| other.name == *name) {
                    return Err(SettingsError::IssuerTwice(name.clone()));
                }
                issuers.push(Issuer::new(
                    name.clone(),
                    version,
                    (index, tenant.id),
                    tenant.authority.clone(),
                    settings.keys,
                ));
            }
        }
        if issuers.is_empty() {
            return Err(SettingsError::NoTenant);
        }
        let cache = TokenCache::new(settings.cache);
        Ok(Self { shared: Arc::new(Shared { settings, issuers, cache }) })
    }

    /// Who the credentials prove. Waits only for a key that nobody has seen yet.
    ///
    /// # Errors
    /// The rule that the credentials break, or what is missing to judge them.
    pub async fn authenticate(
        &self,
        credentials: &Credentials<'_>,
        now: Now,
    ) -> Result<Arc<Identity>, Denial> {
        let token = bearer::token(credentials)?;
        let rejected = match self.shared.judge(token, now) {
            Ok(identity) => return Ok(identity),
            Err(rejected) => rejected,
        };
        let Some((index, seen)) = rejected.unknown_key else { return Err(rejected.denial) };
        match self.shared.issuers.get(index) {
            Some(issuer) if issuer.await_fetch(seen).await => {
                self.shared.judge(token, now).map_err(|rejected| rejected.denial)
            }
            _ => Err(rejected.denial),
        }
    }

    /// Who the credentials prove, by the keys that are there.
    ///
    /// # Errors
    /// As [`Authenticator::authenticate`].
    pub fn authenticate_offline(
        &self,
        credentials: &Credentials<'_>,
        now: Now,
    ) -> Result<Arc<Identity>, Denial> {
        let token = bearer::token(credentials)?;
        self.shared.judge(token, now).map_err(|rejected| rejected.denial)
    }

    /// Keeps all key sets current until `stop` becomes true.
    pub async fn run<F: Fetch>(&self, fetch: Arc<F>, stop: watch::Receiver<bool>) {
        let keys = self.shared.settings.keys;
        let tasks = self.shared.issuers.iter().map(|issuer| {
            source::keep(issuer, &keys, &*fetch, stop.clone(), rand::make_rng::<SmallRng>())
        });
        join_all(tasks).await;
    }

    /// Fetches every key set once.
    ///
    /// Returns what failed.
    pub async fn fetch_once<F: Fetch>(&self, fetch: &F) -> Vec<SourceError> {
        let keys = self.shared.settings.keys;
        let fetches =
            self.shared.issuers.iter().map(|issuer| source::refresh(issuer, &keys, fetch));
        join_all(fetches).await.into_iter().filter_map(Result::err).collect()
    }

    /// Takes keys from a document: a key set for every issuer, or
    /// `{"issuers": {"<issuer>": {"keys": […]}}}`.
    ///
    /// # Errors
    /// The document is neither.
    pub fn load_keys(&self, json: &[u8], now: Now) -> Result<(), LoadKeysError> {
        let document = json::object(json).ok_or(LoadKeysError::Form)?;
        if document.contains_key("keys") {
            for issuer in &self.shared.issuers {
                issuer.publish(KeySet::parse(json)?, now.instant);
            }
            return Ok(());
        }
        let issuers =
            document.get("issuers").and_then(Value::as_object).ok_or(LoadKeysError::Form)?;
        for (name, keys) in issuers {
            let issuer = self.shared.issuers.iter().find(|issuer| issuer.name == *name);
            let issuer = issuer.ok_or_else(|| LoadKeysError::Issuer(name.clone()))?;
            let keys = keys.get("keys").and_then(Value::as_array).ok_or(LoadKeysError::Form)?;
            issuer.publish(KeySet::of(keys)?, now.instant);
        }
        Ok(())
    }

    /// How usable each issuer's keys are.
    #[must_use]
    pub fn status(&self, now: Now) -> Vec<IssuerStatus> {
        self.shared.issuers.iter().map(|issuer| issuer.status(now)).collect()
    }

    /// What the verified-token cache did.
    #[must_use]
    pub fn cache_stats(&self) -> CacheStats {
        self.shared.cache.stats()
    }

    /// Where clients of the first tenant sign in.
    #[must_use]
    pub fn authorization_uri(&self) -> Option<Url> {
        let tenant = self.shared.settings.tenants.first()?;
        let mut url = tenant.authority.clone();
        url.set_path(&format!("/{}/oauth2/v2.0/authorize", tenant.id));
        Some(url)
    }
}

impl Shared {
    fn judge(&self, token: &str, now: Now) -> Result<Arc<Identity>, Rejected> {
        // Size first: not even a hash of what is too large.
        if token.len() > self.settings.max_token_bytes {
            return Err(Denial::from(Reason::TokenTooLarge).into());
        }
        let hash = cache::hash(token).ok_or_else(|| Denial::from(Reason::Internal))?;
        if let Some(entry) = self.cache.find(&hash) {
            let vouched = self
                .issuers
                .get(entry.issuer)
                .is_some_and(|issuer| issuer.vouches(&entry.key, now));
            if vouched {
                entry.lifetime.covers(now.unix, self.settings.clock_skew)?;
                return Ok(entry.identity);
            }
            // Judged anew, which says why.
            self.cache.remove(&hash);
        }
        let entry = self.verify(token, now)?;
        let identity = Arc::clone(&entry.identity);
        self.cache.insert(hash, entry);
        Ok(identity)
    }

    fn verify(&self, token: &str, now: Now) -> Result<Entry, Rejected> {
        let jwt = Jwt::parse(token)?;
        // What needs no key comes first: it is cheap, and a token for Microsoft Graph,
        // whose signature nobody else can verify, is told what it is.
        rules::not_for_graph(&jwt.claims)?;
        let named = rules::issuer(&jwt.claims)?;
        let (index, issuer) = self
            .issuers
            .iter()
            .enumerate()
            .find(|(_, issuer)| issuer.name == named)
            .ok_or_else(|| Denial::from(Reason::TokenIssuer))?;
        let tenant = self
            .settings
            .tenants
            .get(issuer.tenant_index)
            .ok_or_else(|| Denial::from(Reason::Internal))?;
        rules::origin(&jwt.claims, issuer.version, tenant.id)?;
        rules::audience(&jwt.claims, tenant)?;
        let lifetime = Lifetime::of(&jwt.claims, self.settings.max_token_lifetime)?;
        lifetime.covers(now.unix, self.settings.clock_skew)?;
        // Counted before the key is looked up: a fetch that ends in between is seen.
        let attempts = issuer.attempts();
        let key = issuer.key(&jwt.key_id, now).map_err(|denial| Rejected {
            unknown_key: (denial.reason == Reason::TokenKeyUnknown).then_some((index, attempts)),
            denial,
        })?;
        rules::key_issuer(key.issuer.as_deref(), &issuer.name, tenant.id)?;
        if !key.verifies(jwt.signed, jwt.signature) {
            return Err(Denial::from(Reason::TokenSignature).into());
        }
        // Proven from here on: only now is anybody somebody.
        let identity = rules::identity(&jwt.claims, issuer.version, lifetime, tenant)?;
        Ok(Entry { identity: Arc::new(identity), lifetime, issuer: index, key: key.fingerprint })
    }
}
