//! One page of the catalog API: how it is asked for, and how it is read.

use serde::Deserialize;
use serde_json::value::RawValue;
use url::Url;

use super::error::CrawlError;
use crate::catalog::draft::Draft;
use crate::catalog::entity::RawEntity;
use crate::catalog::finding::FindingKind;
use crate::catalog::settings::BackstageSettings;

/// Only these, on every page: the cursor does not remember them.
const FIELDS: &str = "kind,metadata.name,metadata.namespace,metadata.uid,metadata.title,\
    metadata.tags,metadata.links,metadata.annotations,spec.type,spec.lifecycle,spec.profile,relations";

/// The kinds that ownership is about.
const KINDS: [&str; 8] =
    ["component", "api", "resource", "system", "domain", "template", "group", "user"];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page<'a> {
    #[serde(borrow)]
    items: Vec<&'a RawValue>,
    total_items: usize,
    page_info: PageInfo,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PageInfo {
    #[serde(default)]
    next_cursor: Option<String>,
}

/// What a page says beside its entities.
#[derive(Clone, Debug)]
pub(super) struct Summary {
    /// Its entities.
    pub(super) items: usize,
    /// All entities, as counted with the first page.
    pub(super) total: usize,
    pub(super) next: Option<String>,
}

/// Reads a page into the draft; without one, only the summary.
pub(super) fn read(
    body: &[u8],
    page: usize,
    draft: Option<&mut Draft>,
) -> Result<Summary, CrawlError> {
    let read: Page<'_> = serde_json::from_slice(body).map_err(|error| {
        if error.is_eof() {
            CrawlError::CutOff { page, bytes: body.len() }
        } else {
            CrawlError::Form { page, cause: error.to_string() }
        }
    })?;
    if let Some(draft) = draft {
        draft.reserve(read.total_items.min(MAX_RESERVED));
        // Reduced at once: a page is larger than what is kept of it.
        for item in &read.items {
            match serde_json::from_str::<RawEntity<'_>>(item.get()) {
                Ok(raw) if is_asked_for(&raw) => draft.add(&raw),
                Ok(_) => {}
                Err(error) => {
                    let message = format!("left out: {error}");
                    draft.findings.add(FindingKind::Unreadable, "?", message);
                }
            }
        }
    }
    Ok(Summary {
        items: read.items.len(),
        total: read.total_items,
        next: read.page_info.next_cursor,
    })
}

/// Whether an entity is of a kind that was asked for. Others decide nothing.
fn is_asked_for(raw: &RawEntity<'_>) -> bool {
    let kind = raw.kind.as_deref().unwrap_or_default();
    KINDS.iter().any(|asked| kind.eq_ignore_ascii_case(asked))
}

/// Room is made beforehand for no more than this, whatever is announced.
const MAX_RESERVED: usize = 1_000_000;

/// The address of a page: the first one without a cursor.
pub(super) fn address(settings: &BackstageSettings, cursor: Option<&str>, limit: u32) -> Url {
    let mut url = settings.url.clone();
    let base = url.path().trim_end_matches('/').to_owned();
    url.set_path(&format!("{base}/api/catalog/entities/by-query"));
    {
        let mut query = url.query_pairs_mut();
        query.append_pair("limit", &limit.to_string()).append_pair("fields", FIELDS);
        match cursor {
            Some(cursor) => {
                query.append_pair("cursor", cursor);
            }
            None => {
                for kind in KINDS {
                    query.append_pair("filter", &format!("kind={kind}"));
                }
            }
        }
    }
    url
}
