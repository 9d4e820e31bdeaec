//! Who the caller is: from a bearer token to an identity.
//!
//! A token is accepted only by the rules in `rules.rs`, under a key of its own
//! issuer. Key sets are refreshed in the background; a request waits for one only
//! when its token names a key that nobody has seen yet, and then for a bounded time.

mod bearer;
mod cache;
mod graph;
mod holder;
mod inspect;
mod issuer;
mod json;
mod judge;
mod jwt;
mod key_set;
mod revocation;
mod rules;
mod seats;
mod settings;
mod skew;
mod source;
mod store;
mod supposed;
mod turns;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::future::join_all;
use rand::rngs::SmallRng;
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::Instant;
use url::Url;

pub use cache::{CacheStats, NoRandomness};
pub use graph::{
    CredentialCertificate, CredentialSettings, DirectoryGroup, GraphSettings, GroupResolver,
    GroupStats, IdentityEndpoint, MACHINE_ENDPOINT, directory_groups,
};
pub use inspect::{Check, Inspection, Outcome, in_words};
pub use issuer::{IssuerStatus, KeyState};
pub use key_set::{KeySet, KeySetError};
pub use revocation::{RevocationError, distrust_key};
pub use rules::is_graph;
pub use settings::{
    AGENT_FACETS, EntraSettings, KeySettings, Overage, TenantSettings, Tenants,
    VerificationSettings,
};
pub use source::SourceError;
pub use supposed::{claims_of, suppose};
pub use turns::VerificationStats;

use cache::TokenCache;
use issuer::Awaited;
use revocation::RevocationList;
use seats::Seats;
use turns::Turns;

use crate::clock::Now;
use crate::domain::{Credentials, Denial, Identity, Wait, Waited};
use crate::fetch::Fetch;

/// Verifies tokens. Cheap to clone; every clone has the same keys and cache.
#[derive(Clone, Debug)]
pub struct Authenticator {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    settings: EntraSettings,
    seats: Seats,
    /// Kept where the settings change, as what follows.
    cache: Arc<TokenCache>,
    revocations: Arc<RevocationList>,
    turns: Arc<Turns>,
}

/// Why the settings can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// What was revoked can't be known.
    #[error("entra.revocations_file: {0}")]
    Revocations(#[from] RevocationError),
    /// Tokens can't be cached safely.
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
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
#[derive(Debug)]
struct Rejected {
    denial: Denial,
    /// The issuer that doesn't list the key, by its place in the configuration, and
    /// how many fetches had ended when it was looked up.
    unknown_key: Option<(usize, u64)>,
}

/// Who a token proves.
#[derive(Clone, Debug)]
pub struct Proven {
    /// The caller.
    pub identity: Arc<Identity>,
    /// Whether the token was verified for an earlier request.
    pub remembered: bool,
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
        Self::of(settings, None)
    }

    /// The authenticator of changed settings. What still holds is kept: the keys of issuers
    /// that stay, the tokens that were verified by the very rules that they are judged by
    /// now, and what was revoked. The same settings make for the very same authenticator.
    ///
    /// # Errors
    /// As [`Authenticator::new`]. Nothing changed here then.
    pub fn following(&self, settings: EntraSettings) -> Result<Self, SettingsError> {
        if settings == self.shared.settings {
            return Ok(self.clone());
        }
        Self::of(settings, Some(&self.shared))
    }

    fn of(settings: EntraSettings, before: Option<&Shared>) -> Result<Self, SettingsError> {
        let seats = Seats::of(&settings, before.map(|before| (&before.seats, &before.settings)))?;
        let cache = match before {
            Some(before) if before.settings.cache == settings.cache => Arc::clone(&before.cache),
            _ => Arc::new(TokenCache::new(settings.cache)?),
        };
        let (file, keys) = (settings.revocations.clone(), &settings.distrusted_keys);
        let revocations = match before {
            Some(before)
                if before.settings.revocations == file
                    && before.settings.distrusted_keys == *keys =>
            {
                Arc::clone(&before.revocations)
            }
            Some(before) => Arc::new(before.revocations.following(file, keys)?),
            None => Arc::new(RevocationList::new(file, keys)?),
        };
        let turns = before.map_or_else(Arc::default, |before| Arc::clone(&before.turns));
        Ok(Self { shared: Arc::new(Shared { settings, seats, cache, revocations, turns }) })
    }

    /// Whether both are one.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    /// How tokens fared that were not known.
    #[must_use]
    pub fn verification_stats(&self) -> VerificationStats {
        self.shared.turns.stats()
    }

    /// What they are held to.
    #[must_use]
    pub fn verification_settings(&self) -> VerificationSettings {
        self.shared.settings.verification
    }

    /// Who the credentials prove. Waits only for what is not at hand: a token that nobody has
    /// verified yet, a key that nobody has seen yet.
    ///
    /// # Errors
    /// The rule that the credentials break, or what is missing to judge them.
    pub async fn authenticate(
        &self,
        credentials: &Credentials<'_>,
        now: Now,
    ) -> Result<Arc<Identity>, Denial> {
        self.prove(credentials, now).await.map(|proven| proven.identity)
    }

    /// As [`Authenticator::authenticate`], and whether the token was known.
    ///
    /// # Errors
    /// As [`Authenticator::authenticate`].
    pub async fn prove(&self, credentials: &Credentials<'_>, now: Now) -> Result<Proven, Denial> {
        self.prove_noting(credentials, now, &mut Vec::new()).await
    }

    /// As [`Authenticator::prove`], and notes what was waited for.
    ///
    /// # Errors
    /// As [`Authenticator::authenticate`].
    pub async fn prove_noting(
        &self,
        credentials: &Credentials<'_>,
        now: Now,
        waits: &mut Vec<Wait>,
    ) -> Result<Proven, Denial> {
        let token = bearer::token(credentials)?;
        let deadline = Instant::now() + self.shared.settings.keys.unknown_key_wait;
        loop {
            let rejected = match self.shared.judge(token, now).await {
                Ok(proven) => return Ok(proven),
                Err(rejected) => rejected,
            };
            let Some((index, seen)) = rejected.unknown_key else { return Err(rejected.denial) };
            let Some(seat) = self.shared.seats.at(index) else { return Err(rejected.denial) };
            let (since, began) = (SystemTime::now(), Instant::now());
            let keys = &self.shared.settings.keys;
            // A fetch that began before the key was published may be followed by another.
            let Awaited { came, waited } = seat.issuer.await_fetch(seen, keys, deadline).await;
            if waited {
                let took = began.elapsed();
                waits.push(Wait { what: Waited::SigningKey, since, took, came });
            }
            if !came {
                return Err(rejected.denial);
            }
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
        self.prove_offline(credentials, now).map(|proven| proven.identity)
    }

    /// As [`Authenticator::authenticate_offline`], and whether the token was known.
    ///
    /// # Errors
    /// As [`Authenticator::authenticate`].
    pub fn prove_offline(&self, credentials: &Credentials<'_>, now: Now) -> Result<Proven, Denial> {
        let token = bearer::token(credentials)?;
        self.shared.judge_here(token, now).map_err(|rejected| rejected.denial)
    }

    /// Keeps all key sets current until `stop` becomes true.
    pub async fn run<F: Fetch>(&self, fetch: Arc<F>, stop: watch::Receiver<bool>) {
        let keys = self.shared.settings.keys;
        let tasks = self.shared.seats.issuers().map(|issuer| {
            let store = self.shared.settings.key_store.as_deref();
            let rng = rand::make_rng::<SmallRng>();
            source::keep(issuer, &keys, store, &*fetch, stop.clone(), rng)
        });
        tokio::join!(join_all(tasks), self.shared.revocations.watch(stop.clone()));
    }

    /// The machine was suspended for so long, which the clock that ages are measured by leaves
    /// out: key sets are that much older, and are fetched again.
    pub fn suspended(&self, by: Duration) {
        self.shared.seats.issuers().for_each(|issuer| issuer.suspended(by));
    }

    /// Fetches every key set once.
    ///
    /// Returns what failed.
    pub async fn fetch_once<F: Fetch>(&self, fetch: &F) -> Vec<SourceError> {
        let keys = self.shared.settings.keys;
        let fetches =
            self.shared.seats.issuers().map(|issuer| source::refresh(issuer, &keys, fetch));
        join_all(fetches).await.into_iter().filter_map(Result::err).collect()
    }

    /// Has keys of every issuer that is new: fetches them once, and else takes those of the
    /// last run. Those that were there before have their own ways.
    ///
    /// Returns which have none then, and why.
    pub async fn fetch_new<F: Fetch>(&self, fetch: &F) -> Vec<(String, SourceError)> {
        let (keys, store) = (self.shared.settings.keys, self.shared.settings.key_store.as_deref());
        let new = self.shared.seats.iter().filter(|seat| seat.is_new);
        let fetches = new.map(|seat| async move {
            let issuer = &*seat.issuer;
            let fetched = source::first(issuer, &keys, store, fetch).await;
            fetched.err().map(|error| (issuer.name.clone(), error))
        });
        join_all(fetches).await.into_iter().flatten().collect()
    }

    /// Takes keys from a document: a key set for every issuer, or
    /// `{"issuers": {"<issuer>": {"keys": […]}}}`.
    ///
    /// # Errors
    /// The document is neither.
    pub fn load_keys(&self, json: &[u8], now: Now) -> Result<(), LoadKeysError> {
        let document = json::object(json).ok_or(LoadKeysError::Form)?;
        if document.contains_key("keys") {
            for issuer in self.shared.seats.issuers() {
                issuer.publish(KeySet::parse(json)?, now.instant);
            }
            return Ok(());
        }
        let issuers =
            document.get("issuers").and_then(Value::as_object).ok_or(LoadKeysError::Form)?;
        for (name, keys) in issuers {
            let issuer = self.shared.seats.issuers().find(|issuer| issuer.name == *name);
            let issuer = issuer.ok_or_else(|| LoadKeysError::Issuer(name.clone()))?;
            let keys = keys.get("keys").and_then(Value::as_array).ok_or(LoadKeysError::Form)?;
            issuer.publish(KeySet::of(keys)?, now.instant);
        }
        Ok(())
    }

    /// The version of the key set that is in force for whoever vouched for this caller.
    #[must_use]
    pub fn keys_version(&self, identity: &Identity) -> Option<Arc<str>> {
        self.shared.seats.numbered(identity.facts.issuer?)?.issuer.keys_version()
    }

    /// How usable each issuer's keys are.
    #[must_use]
    pub fn status(&self, now: Now) -> Vec<IssuerStatus> {
        let keys = &self.shared.settings.keys;
        self.shared.seats.issuers().map(|issuer| issuer.status(keys, now)).collect()
    }

    /// Why what was revoked could not be read again, if so.
    #[must_use]
    pub fn revocations_error(&self) -> Option<String> {
        self.shared.revocations.last_error()
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
        url.set_path(&format!("/{}/oauth2/v2.0/authorize", tenant.tenants.directory()));
        Some(url)
    }
}
