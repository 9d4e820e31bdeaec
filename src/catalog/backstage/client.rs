//! Asking for one page: the credential, retries, and what was answered.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use rand::RngExt as _;
use url::Url;

use super::error::CrawlError;
use crate::catalog::settings::BackstageSettings;
use crate::fetch::{Exchange, FetchError, Limits, Outgoing, check_json, is_secure};

const PAGE_TIMEOUT: Duration = Duration::from_secs(20);
const MAX_PAGE_BYTES: usize = 64 * 1024 * 1024;
/// A page is asked for so often before the crawl is given up.
pub(super) const ATTEMPTS: u32 = 4;
const FIRST_PAUSE: Duration = Duration::from_millis(125);
/// However long Backstage asks to wait.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// What was answered.
pub(super) enum Answer {
    /// The page, with its ETag.
    Page(Bytes, Option<HeaderValue>),
    /// The same as before.
    Unchanged,
}

/// Asks one Backstage, for one crawl.
pub(super) struct Client<'a, F> {
    pub(super) settings: &'a BackstageSettings,
    pub(super) exchange: &'a F,
    pub(super) bearer: Option<HeaderValue>,
}

impl<'a, F: Exchange> Client<'a, F> {
    pub(super) fn new(
        settings: &'a BackstageSettings,
        exchange: &'a F,
    ) -> Result<Self, CrawlError> {
        Ok(Self { settings, exchange, bearer: bearer(settings)? })
    }

    /// Asks for a page, a few times if it has to be.
    pub(super) async fn page(
        &self,
        url: &Url,
        known: Option<&HeaderValue>,
    ) -> Result<Answer, CrawlError> {
        let mut attempt = 1;
        loop {
            match self.once(url, known).await {
                Err((error, asked)) if error.is_passing() && attempt < ATTEMPTS => {
                    tracing::debug!(%error, attempt, "asking Backstage again");
                    pause(attempt, asked).await;
                    attempt += 1;
                }
                other => return other.map_err(|(error, _)| error),
            }
        }
    }

    /// One exchange; with an error, how long Backstage asks to wait.
    async fn once(
        &self,
        url: &Url,
        known: Option<&HeaderValue>,
    ) -> Result<Answer, (CrawlError, Option<Duration>)> {
        if !is_secure(url) {
            return Err((FetchError::Insecure(url.clone()).into(), None));
        }
        let bearer = self.bearer.iter().map(|bearer| (header::AUTHORIZATION, bearer.clone()));
        let known = known.map(|etag| (header::IF_NONE_MATCH, etag.clone()));
        let request = Outgoing { url, headers: bearer.chain(known).collect(), body: None };
        let limits = Limits { timeout: PAGE_TIMEOUT, max_bytes: MAX_PAGE_BYTES };
        let answer = self.exchange.exchange(request, limits).await;
        let answer = answer.map_err(|error| (error.into(), None))?;
        match answer.status {
            StatusCode::OK => {
                check_json(url, &answer.headers).map_err(|error| (error.into(), None))?;
                let etag = answer.headers.get(header::ETAG).cloned();
                Ok(Answer::Page(answer.body, etag))
            }
            StatusCode::NOT_MODIFIED => Ok(Answer::Unchanged),
            status => {
                let seconds = answer.headers.get(header::RETRY_AFTER);
                let seconds = seconds.and_then(|value| value.to_str().ok()?.trim().parse().ok());
                let error = CrawlError::of_status(status, url, &self.settings.url);
                Err((error, seconds.map(Duration::from_secs)))
            }
        }
    }
}

/// Waits before the next attempt: as long as Backstage asks, or longer each time.
pub(super) async fn pause(attempt: u32, asked: Option<Duration>) {
    let growing = FIRST_PAUSE.saturating_mul(1 << attempt.min(8));
    let jittered = growing.mul_f64(rand::rng().random_range(0.5..=1.0));
    tokio::time::sleep(asked.unwrap_or(jittered).min(LONGEST_PAUSE)).await;
}

fn bearer(settings: &BackstageSettings) -> Result<Option<HeaderValue>, CrawlError> {
    let Some(path) = &settings.token_file else { return Ok(None) };
    let failed = |cause: String| CrawlError::Token { path: path.clone(), cause };
    // Read anew each time, so that a rotated token needs no restart.
    let token = std::fs::read_to_string(path).map_err(|e| failed(e.to_string()))?;
    let token = token.trim();
    if token.is_empty() {
        return Err(failed("it is empty".to_owned()));
    }
    let mut value = HeaderValue::try_from(format!("Bearer {token}"))
        .map_err(|_| failed("it holds characters that no header can".to_owned()))?;
    value.set_sensitive(true);
    Ok(Some(value))
}
