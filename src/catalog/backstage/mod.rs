//! The crawl of a Backstage catalog.
//!
//! Backstage has no snapshot of its own: each page is a query of its own, and an answer
//! with status 200 can be empty or partial. So a crawl counts only if what came is what
//! was announced, is what is counted afterwards, and holds nothing twice.

mod client;
mod error;
mod page;

use std::borrow::Cow;

use bytes::Bytes;
use http::HeaderValue;
use url::Url;

pub use error::CrawlError;

use super::draft::Draft;
use super::settings::BackstageSettings;
use super::trust::Trust;
use crate::fetch::Exchange;
use client::{ATTEMPTS, Answer, Client, pause};
use page::{Summary, address};

/// A crawl that goes on beyond this goes in circles.
const MAX_PAGES: usize = 100_000;
/// A crawl during which the catalog changed is repeated so often.
const CRAWLS: usize = 3;
/// At last, a crawl counts although the catalog went on changing, if at most one in so many
/// entities came or went: the next crawl has them.
const DRIFT: usize = 1000;
/// After how many crawls at most unchanged pages are asked for again.
const LONGEST_PATIENCE: u32 = 32;

/// How far a crawl is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Entities that came.
    pub got: usize,
    /// Entities that were announced.
    pub announced: usize,
}

/// What a crawl found.
pub(super) enum Crawled {
    /// Entities.
    Draft(Box<Draft>),
    /// What the last one found.
    Unchanged,
}

/// The pages of the last crawl, by which the next one can tell that nothing changed. A page
/// that did not change is not sent again; but since nothing of it is kept, that helps only
/// if none of them did.
#[derive(Debug, Default)]
pub(super) struct Memory {
    pages: Vec<Seen>,
    /// Crawls to go before that is tried again, and how many they were last time.
    patience: u32,
    last_patience: u32,
}

#[derive(Debug)]
struct Seen {
    etag: HeaderValue,
    next: Option<String>,
}

impl Memory {
    /// Has the next crawl read everything.
    pub(super) fn forget(&mut self) {
        self.pages.clear();
    }

    /// Whether to ask for changes only.
    fn worth_asking(&mut self) -> bool {
        if self.pages.is_empty() {
            return false;
        }
        if self.patience > 0 {
            self.patience -= 1;
            return false;
        }
        true
    }

    /// A catalog that changes all the time isn't asked twice each time.
    fn asked(&mut self, unchanged: bool) {
        let next = self.last_patience.saturating_mul(2).clamp(1, LONGEST_PATIENCE);
        self.last_patience = if unchanged { 0 } else { next };
        self.patience = self.last_patience;
    }
}

/// Reads the whole catalog.
pub(super) async fn crawl<F: Exchange>(
    settings: &BackstageSettings,
    exchange: &F,
    memory: &mut Memory,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Crawled, CrawlError> {
    let fitting = async {
        let mut settings = Cow::Borrowed(settings);
        loop {
            match attempts(&settings, exchange, memory, progress).await {
                // Anybody may register large entities; together they must not end the crawl.
                Err(error) if error.is_too_large() && settings.page_size > 1 => {
                    let settings = settings.to_mut();
                    settings.page_size /= 2;
                    tracing::info!(%error, page_size = settings.page_size, "smaller pages");
                    memory.forget();
                }
                other => return other,
            }
        }
    };
    tokio::time::timeout(settings.crawl_timeout, fitting)
        .await
        .unwrap_or(Err(CrawlError::Timeout(settings.crawl_timeout)))
}

async fn attempts<F: Exchange>(
    settings: &BackstageSettings,
    exchange: &F,
    memory: &mut Memory,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Crawled, CrawlError> {
    let client = Client::new(settings, exchange)?;
    if memory.worth_asking() {
        let unchanged = unchanged(&client, memory).await?;
        memory.asked(unchanged);
        if unchanged {
            return Ok(Crawled::Unchanged);
        }
    }
    memory.forget();
    for attempt in 1..CRAWLS {
        match pages(&client, memory, progress, 0).await {
            Err(error) if error.is_drift() => {
                tracing::info!(%error, attempt, "the catalog changed during the crawl: once more");
                memory.forget();
            }
            other => return other,
        }
    }
    pages(&client, memory, progress, DRIFT).await
}

/// Whether every page is as it was.
async fn unchanged<F: Exchange>(
    client: &Client<'_, F>,
    memory: &Memory,
) -> Result<bool, CrawlError> {
    let mut cursor = None;
    for seen in &memory.pages {
        let url = address(client.settings, cursor, client.settings.page_size);
        let answer = client.page(&url, Some(&seen.etag)).await?;
        if !matches!(answer, Answer::Unchanged) {
            return Ok(false);
        }
        cursor = seen.next.as_deref();
    }
    Ok(true)
}

/// Reads all pages, once. With `drift`, one in so many may have come or gone meanwhile.
async fn pages<F: Exchange>(
    client: &Client<'_, F>,
    memory: &mut Memory,
    progress: &(dyn Fn(Progress) + Sync),
    drift: usize,
) -> Result<Crawled, CrawlError> {
    let settings = client.settings;
    let mut draft = Draft::new(Trust::Locations {
        trusted: settings.trusted_id_locations.clone(),
        providers: settings.graph_providers.clone(),
    });
    let mut cursor: Option<String> = None;
    let (mut announced, mut got) = (None, 0);
    let mut with_etags = true;
    for page in 1..=MAX_PAGES {
        let url = address(settings, cursor.as_deref(), settings.page_size);
        let Read { summary, etag, draft: read } = one(client, &url, page, draft).await?;
        draft = read;
        let Summary { items, total, next } = summary;
        got += items;
        let announced = *announced.get_or_insert(total);
        if announced == 0 && items == 0 {
            return Err(CrawlError::Empty);
        }
        let off =
            |one: usize, other: usize| one.abs_diff(other) > other.checked_div(drift).unwrap_or(0);
        let is_end = next.is_none() || got > announced;
        if off(total, announced) || (is_end && off(got, announced)) {
            return Err(CrawlError::Inconsistent { got, announced: total });
        }
        progress(Progress { got, announced });
        match etag {
            Some(etag) => memory.pages.push(Seen { etag, next: next.clone() }),
            None => with_etags = false,
        }
        if next.is_some() {
            cursor = next;
            continue;
        }
        // One entity twice means another one missed.
        if draft.repeated > 0 {
            return Err(CrawlError::Repeated(draft.repeated));
        }
        let counted = count(client).await?;
        if off(counted, got) {
            return Err(CrawlError::Inconsistent { got, announced: counted });
        }
        if !with_etags {
            memory.forget();
        }
        return Ok(Crawled::Draft(Box::new(draft)));
    }
    Err(CrawlError::Endless(MAX_PAGES))
}

/// A page that was read.
struct Read {
    summary: Summary,
    etag: Option<HeaderValue>,
    draft: Draft,
}

/// Reads one page into the draft. What is cut off is asked for again: nothing of it was
/// taken.
async fn one<F: Exchange>(
    client: &Client<'_, F>,
    url: &Url,
    page: usize,
    mut draft: Draft,
) -> Result<Read, CrawlError> {
    let mut attempt = 1;
    loop {
        let (body, etag) = body(client.page(url, None).await?, page)?;
        // Off the runtime's threads, which answer requests.
        let read = tokio::task::spawn_blocking(move || {
            let summary = page::read(&body, page, Some(&mut draft));
            (draft, summary)
        });
        let (read, summary) = read.await?;
        draft = read;
        match summary {
            Ok(summary) => return Ok(Read { summary, etag, draft }),
            Err(error) if error.is_passing() && attempt < ATTEMPTS => {
                tracing::debug!(%error, attempt, "asking Backstage again");
                pause(attempt, None).await;
                attempt += 1;
            }
            Err(error) => return Err(error),
        }
    }
}

fn body(answer: Answer, page: usize) -> Result<(Bytes, Option<HeaderValue>), CrawlError> {
    match answer {
        Answer::Page(body, etag) => Ok((body, etag)),
        Answer::Unchanged => {
            Err(CrawlError::Form { page, cause: "304, and nothing was known".to_owned() })
        }
    }
}

/// How many entities there are now.
async fn count<F: Exchange>(client: &Client<'_, F>) -> Result<usize, CrawlError> {
    let url = address(client.settings, None, 0);
    let (body, _) = body(client.page(&url, None).await?, 0)?;
    Ok(page::read(&body, 0, None)?.total)
}
