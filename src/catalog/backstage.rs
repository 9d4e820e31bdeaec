//! The crawl of a Backstage catalog.

use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderValue, StatusCode};
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use super::compile::{Draft, Trust};
use super::entity::RawEntity;
use super::settings::BackstageSettings;
use crate::fetch::{Fetch, FetchError, Limits};

/// Only these, on every page: the cursor does not remember them.
const FIELDS: &str = "kind,metadata.name,metadata.namespace,metadata.title,\
    metadata.tags,metadata.annotations,spec.type,spec.lifecycle,spec.profile,relations";
const PAGE_TIMEOUT: Duration = Duration::from_secs(20);
const MAX_PAGE_BYTES: usize = 64 * 1024 * 1024;
/// A crawl that goes on beyond this goes in circles.
const MAX_PAGES: usize = 100_000;

/// Why a crawl gave no entities.
#[derive(Debug, thiserror::Error)]
pub enum CrawlError {
    /// The credential's file.
    #[error("the token file `{path}`: {cause}")]
    Token {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// 401.
    #[error(
        "Backstage does not accept the token (401): compare the token file with `backend.auth.externalAccess`"
    )]
    Unauthorized,
    /// 403.
    #[error(
        "Backstage restricts the token (403): it needs plugin `catalog` and permission `catalog.entity.read`"
    )]
    Forbidden,
    /// 404.
    #[error("there is no catalog at `{0}` (404): Backstage is starting, or the address is another")]
    NotFound(Url),
    /// 503.
    #[error("Backstage is starting or overloaded (503)")]
    Unavailable,
    /// Anything else that went wrong with the exchange.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The answer is not what the API gives, or was cut off.
    #[error("page {page} is no answer of the catalog API: {cause}")]
    Form {
        /// Which page, from 1.
        page: usize,
        /// What is wrong with it.
        cause: String,
    },
    /// The pages don't fit together; entities came or went during the crawl.
    #[error("{got} entities came, {announced} were announced")]
    Inconsistent {
        /// Entities that came.
        got: usize,
        /// `totalItems`.
        announced: usize,
    },
    /// Entities came twice, so others can have been missed.
    #[error("{0} entities came more than once")]
    Repeated(usize),
    /// The whole took too long.
    #[error("the crawl did not end within {0:?}")]
    Timeout(Duration),
    /// The pages never end.
    #[error("the crawl did not end after {0} pages")]
    Endless(usize),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    items: Vec<Value>,
    total_items: usize,
    page_info: PageInfo,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PageInfo {
    #[serde(default)]
    next_cursor: Option<String>,
}

/// Reads the whole catalog.
pub(super) async fn crawl<F: Fetch>(
    settings: &BackstageSettings,
    fetch: &F,
) -> Result<Draft, CrawlError> {
    tokio::time::timeout(settings.crawl_timeout, pages(settings, fetch))
        .await
        .unwrap_or(Err(CrawlError::Timeout(settings.crawl_timeout)))
}

async fn pages<F: Fetch>(settings: &BackstageSettings, fetch: &F) -> Result<Draft, CrawlError> {
    let bearer = bearer(settings)?;
    let mut draft = Draft::new(Trust::Locations(settings.trusted_id_locations.clone()));
    let mut cursor: Option<String> = None;
    let mut announced = None;
    let mut got = 0;
    for page in 1..=MAX_PAGES {
        let url = address(settings, cursor.as_deref());
        let limits = Limits { timeout: PAGE_TIMEOUT, max_bytes: MAX_PAGE_BYTES };
        let document =
            fetch.get(&url, bearer.as_ref(), limits).await.map_err(|e| told_apart(e, settings))?;
        let Page { items, total_items, page_info } = serde_json::from_slice(&document.body)
            .map_err(|e| CrawlError::Form { page, cause: e.to_string() })?;
        got += items.len();
        let announced = *announced.get_or_insert(total_items);
        if total_items != announced || got > announced {
            return Err(CrawlError::Inconsistent { got, announced: total_items });
        }
        // Reduced at once: a page is larger than what is kept of it.
        for item in items {
            draft.add_json(item);
        }
        match page_info.next_cursor {
            Some(next) => cursor = Some(next),
            // One entity twice means another one missed.
            None if got == announced && draft.repeated > 0 => {
                return Err(CrawlError::Repeated(draft.repeated));
            }
            None if got == announced => return Ok(draft),
            None => return Err(CrawlError::Inconsistent { got, announced }),
        }
    }
    Err(CrawlError::Endless(MAX_PAGES))
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

fn address(settings: &BackstageSettings, cursor: Option<&str>) -> Url {
    let mut url = settings.url.clone();
    let base = url.path().trim_end_matches('/').to_owned();
    url.set_path(&format!("{base}/api/catalog/entities/by-query"));
    {
        let mut query = url.query_pairs_mut();
        query.append_pair("limit", &settings.page_size.to_string()).append_pair("fields", FIELDS);
        match cursor {
            Some(cursor) => {
                query.append_pair("cursor", cursor);
            }
            None => {
                for kind in [
                    "component",
                    "api",
                    "resource",
                    "system",
                    "domain",
                    "template",
                    "group",
                    "user",
                ] {
                    query.append_pair("filter", &format!("kind={kind}"));
                }
            }
        }
    }
    url
}

fn told_apart(error: FetchError, settings: &BackstageSettings) -> CrawlError {
    match error {
        FetchError::Status { status: StatusCode::UNAUTHORIZED, .. } => CrawlError::Unauthorized,
        FetchError::Status { status: StatusCode::FORBIDDEN, .. } => CrawlError::Forbidden,
        FetchError::Status { status: StatusCode::NOT_FOUND, .. } => {
            CrawlError::NotFound(settings.url.clone())
        }
        FetchError::Status { status: StatusCode::SERVICE_UNAVAILABLE, .. } => {
            CrawlError::Unavailable
        }
        other => CrawlError::Fetch(other),
    }
}

impl Draft {
    /// Takes an entity in as JSON; one that is none is left out, and found.
    fn add_json(&mut self, item: Value) {
        match serde_json::from_value::<RawEntity>(item) {
            Ok(raw) => self.add(raw),
            Err(error) => self.find("?", format!("left out: {error}")),
        }
    }
}
