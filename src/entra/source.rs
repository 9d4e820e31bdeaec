//! Fetching an issuer's keys, now and again.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use openidconnect::core::CoreProviderMetadata;
use rand::{Rng, RngExt as _};
use tokio::sync::watch;
use tokio::time::Instant;
use url::Url;

use super::issuer::Issuer;
use super::key_set::{KeySet, KeySetError};
use super::rules::Version;
use super::settings::KeySettings;
use super::{skew, store};
use crate::clock::Now;
use crate::fetch::{Fetch, FetchError, Limits};

/// A key document is a few kilobytes.
const MAX_BYTES: usize = 1024 * 1024;
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(30);

/// Why keys could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The exchange failed.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The discovery document is none.
    #[error("`{url}` is no discovery document: {cause}")]
    Discovery {
        /// Where it came from.
        url: Url,
        /// What is wrong with it.
        cause: String,
    },
    /// The tenant says that it is another than configured.
    #[error("`{url}` names the issuer `{found}`, configured is `{expected}`")]
    Issuer {
        /// Where the document came from.
        url: Url,
        /// What it says.
        found: String,
        /// What the configuration says.
        expected: String,
    },
    /// The keys are elsewhere than the authority.
    #[error("`{url}` points to keys at another place, `{jwks}`")]
    Elsewhere {
        /// Where the document came from.
        url: Url,
        /// Where it points to.
        jwks: Url,
    },
    /// The key document is none.
    #[error("`{url}`: {cause}")]
    Keys {
        /// Where it came from.
        url: Url,
        /// What is wrong with it.
        cause: KeySetError,
    },
}

/// Keeps an issuer's keys current until told to stop. Another may go on from there: keys
/// that are there are fetched again when it is time, and not before.
pub(super) async fn keep<F: Fetch>(
    issuer: &Issuer,
    settings: &KeySettings,
    store: Option<&Path>,
    fetch: &F,
    mut stop: watch::Receiver<bool>,
    mut rng: impl Rng,
) {
    let mut retry = FIRST_RETRY;
    let mut known = None;
    let mut pause = match issuer.fetched(Now::read()) {
        Some(age) => {
            settings.refresh_every.mul_f64(rng.random_range(0.9..=1.0)).saturating_sub(age)
        }
        None => Duration::ZERO,
    };
    if let Some(folder) = store
        && !issuer.has_keys()
    {
        take_from(folder, issuer, settings);
    }
    loop {
        if !pause.is_zero() {
            issuer.due(Instant::now().checked_add(pause));
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = issuer.wanted.notified() => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
        }
        issuer.due(None);
        issuer.begin();
        let outcome = tokio::select! {
            outcome = renew(issuer, settings, fetch, &mut known) => outcome,
            _ = stop.wait_for(|stop| *stop) => {
                // Who waits for it may wait on: where another goes on from here, it fetches
                // at once.
                issuer.wanted.notify_one();
                return;
            }
        };
        pause = match outcome {
            Ok(body) => {
                retry = FIRST_RETRY;
                if let Some(folder) = store {
                    put_into(folder, issuer, body);
                }
                settings.refresh_every.mul_f64(rng.random_range(0.9..=1.0))
            }
            Err(error) => {
                tracing::warn!(issuer = issuer.name, %error, "keys could not be refreshed");
                issuer.failed(error.to_string());
                let pause = retry.mul_f64(rng.random_range(0.5..=1.0));
                retry = (retry * 2).min(LAST_RETRY);
                pause.min(settings.refresh_every)
            }
        };
        issuer.end();
    }
}

/// Where an issuer's keys are, and when that was learnt.
type Known = Option<(Url, Instant)>;

/// Fetches the keys from where they were found to be, or looks for them again: where they
/// are changes seldom, and a request may be waiting.
async fn renew<F: Fetch>(
    issuer: &Issuer,
    settings: &KeySettings,
    fetch: &F,
    known: &mut Known,
) -> Result<Bytes, SourceError> {
    let now = Instant::now();
    // A little less than the pause, so that each regular refresh looks for them anew.
    let lasts = settings.refresh_every.mul_f64(0.8);
    if let Some((jwks, at)) = known.take().filter(|(_, at)| now < *at + lasts) {
        let body = fetch_keys(issuer, settings, fetch, jwks.clone(), now).await?;
        *known = Some((jwks, at));
        return Ok(body);
    }
    let jwks = discover(issuer, settings, fetch).await?;
    let body = fetch_keys(issuer, settings, fetch, jwks.clone(), now).await?;
    *known = Some((jwks, now));
    Ok(body)
}

/// Has keys of an issuer that has none yet: fetched, or else those of the last run.
pub(super) async fn first<F: Fetch>(
    issuer: &Issuer,
    settings: &KeySettings,
    store: Option<&Path>,
    fetch: &F,
) -> Result<(), SourceError> {
    if issuer.has_keys() {
        return Ok(());
    }
    issuer.begin();
    let fetched = refresh(issuer, settings, fetch).await;
    if let Err(error) = &fetched {
        if let Some(folder) = store {
            take_from(folder, issuer, settings);
        }
        issuer.failed(error.to_string());
    }
    issuer.end();
    match fetched {
        Err(error) if !issuer.has_keys() => Err(error),
        _ => Ok(()),
    }
}

/// Fetches once, and publishes what came.
pub(super) async fn refresh<F: Fetch>(
    issuer: &Issuer,
    settings: &KeySettings,
    fetch: &F,
) -> Result<Bytes, SourceError> {
    // The age counts from before the question, not from after the answer.
    let at = Instant::now();
    let jwks = discover(issuer, settings, fetch).await?;
    fetch_keys(issuer, settings, fetch, jwks, at).await
}

/// Where the issuer's keys are, by its discovery document.
async fn discover<F: Fetch>(
    issuer: &Issuer,
    settings: &KeySettings,
    fetch: &F,
) -> Result<Url, SourceError> {
    let url = discovery_url(issuer);
    let document = fetch.get(&url, None, limits(settings)).await?;
    let metadata: CoreProviderMetadata = serde_json::from_slice(&document.body)
        .map_err(|e| SourceError::Discovery { url: url.clone(), cause: e.to_string() })?;
    if metadata.issuer().as_str() != issuer.name {
        return Err(SourceError::Issuer {
            url,
            found: metadata.issuer().as_str().chars().take(200).collect(),
            expected: issuer.name.clone(),
        });
    }
    let jwks = metadata.jwks_uri().url().clone();
    if jwks.origin() != issuer.authority.origin() {
        return Err(SourceError::Elsewhere { url, jwks });
    }
    Ok(jwks)
}

async fn fetch_keys<F: Fetch>(
    issuer: &Issuer,
    settings: &KeySettings,
    fetch: &F,
    jwks: Url,
    at: Instant,
) -> Result<Bytes, SourceError> {
    let document = fetch.get(&jwks, None, limits(settings)).await?;
    let skew = skew::of(&document.headers, Now::read().unix);
    issuer.clocks_differ_by(skew);
    if let Some(skew) = skew.filter(|skew| skew::is_much(*skew)) {
        tracing::warn!(
            issuer = issuer.name,
            seconds_ahead = skew,
            "the clock here is wrong, or the tenant's"
        );
    }
    let keys =
        KeySet::parse(&document.body).map_err(|cause| SourceError::Keys { url: jwks, cause })?;
    tracing::debug!(issuer = issuer.name, keys = keys.len(), ignored = keys.ignored(), "keys");
    issuer.publish(keys, at);
    Ok(document.body)
}

fn limits(settings: &KeySettings) -> Limits {
    Limits { timeout: settings.fetch_timeout, max_bytes: MAX_BYTES }
}

/// Takes the keys of the last run, until the first fetch succeeds.
fn take_from(folder: &Path, issuer: &Issuer, settings: &KeySettings) {
    match store::load(folder, &issuer.name, Now::read().unix) {
        Ok(Some((keys, age))) if age <= settings.max_age => {
            // Before this machine was started, where the clock can't tell, is too old.
            if let Some(at) = Instant::now().checked_sub(age) {
                tracing::info!(issuer = issuer.name, ?age, "keys of the last run are used");
                issuer.publish(keys, at);
            }
        }
        Ok(Some((_, age))) => {
            tracing::warn!(issuer = issuer.name, ?age, "the kept keys are too old to be used");
        }
        Ok(None) => {}
        Err(error) => {
            tracing::error!(issuer = issuer.name, %error, "the kept keys can't be used");
        }
    }
}

/// Keeps the keys for the next start. Nobody waits for the disk.
fn put_into(folder: &Path, issuer: &Issuer, body: Bytes) {
    let (folder, name, now) = (folder.to_owned(), issuer.name.clone(), Now::read().unix);
    tokio::task::spawn_blocking(move || {
        if let Err(error) = store::save(&folder, &name, now, &body) {
            tracing::warn!(issuer = name, %error, "the keys can't be kept for the next start");
        }
    });
}

fn discovery_url(issuer: &Issuer) -> Url {
    let mut url = issuer.authority.clone();
    let version = match issuer.version {
        Version::V1 => "",
        Version::V2 => "/v2.0",
    };
    url.set_path(&format!("/{}{version}/.well-known/openid-configuration", issuer.directory));
    url
}
