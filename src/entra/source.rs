//! Fetching an issuer's keys, now and again.

use std::time::Duration;

use openidconnect::core::CoreProviderMetadata;
use rand::{Rng, RngExt as _};
use tokio::sync::watch;
use tokio::time::Instant;
use url::Url;

use super::issuer::Issuer;
use super::key_set::{KeySet, KeySetError};
use super::rules::Version;
use super::settings::KeySettings;
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

/// Keeps an issuer's keys current until told to stop.
pub(super) async fn keep<F: Fetch>(
    issuer: &Issuer,
    settings: &KeySettings,
    fetch: &F,
    mut stop: watch::Receiver<bool>,
    mut rng: impl Rng,
) {
    let mut retry = FIRST_RETRY;
    loop {
        issuer.begin();
        let outcome = tokio::select! {
            outcome = refresh(issuer, settings, fetch) => outcome,
            _ = stop.wait_for(|stop| *stop) => {
                issuer.end();
                return;
            }
        };
        let pause = match outcome {
            Ok(()) => {
                retry = FIRST_RETRY;
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
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = issuer.wanted.notified() => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

/// Fetches once, and publishes what came.
pub(super) async fn refresh<F: Fetch>(
    issuer: &Issuer,
    settings: &KeySettings,
    fetch: &F,
) -> Result<(), SourceError> {
    // The age counts from before the question, not from after the answer.
    let at = Instant::now();
    let limits = Limits { timeout: settings.fetch_timeout, max_bytes: MAX_BYTES };
    let url = discovery_url(issuer);
    let document = fetch.get(&url, None, limits).await?;
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
    let document = fetch.get(&jwks, None, limits).await?;
    let keys =
        KeySet::parse(&document.body).map_err(|cause| SourceError::Keys { url: jwks, cause })?;
    tracing::debug!(issuer = issuer.name, keys = keys.len(), ignored = keys.ignored(), "keys");
    issuer.publish(keys, at);
    Ok(())
}

fn discovery_url(issuer: &Issuer) -> Url {
    let mut url = issuer.authority.clone();
    let version = match issuer.version {
        Version::V1 => "",
        Version::V2 => "/v2.0",
    };
    url.set_path(&format!("/{}{version}/.well-known/openid-configuration", issuer.tenant));
    url
}
