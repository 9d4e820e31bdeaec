//! Asking Microsoft Graph for the groups that somebody is in.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use super::calls::GraphCalls;
use crate::domain::{GroupId, ObjectId};
use crate::fetch::{Body, Exchange, FetchError, Incoming, Limits, Outgoing};

/// A page of 11,000 ids, more than which Graph doesn't list.
const MAX_BYTES: usize = 2 * 1024 * 1024;
const MAX_PAGES: usize = 100;
const MAX_GROUPS: usize = 50_000;
/// What Graph takes at a time.
pub(super) const CHECKED_AT_ONCE: usize = 20;
/// A longer wish is not believed.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// Where Graph is throttled and doesn't say for how long.
const USUAL_PAUSE: Duration = Duration::from_secs(10);

/// Why there are no groups.
#[derive(Debug, thiserror::Error)]
pub(super) enum GraphError {
    /// The principal does not exist any more.
    #[error("the directory has no such object")]
    Gone,
    /// Too many requests of this application.
    #[error("throttled for {after:?}")]
    Throttled { after: Duration },
    /// The token for Graph is not accepted (any more).
    #[error("the token for graph was refused")]
    Unauthorized,
    /// Graph is not well, and may be soon.
    #[error("it answered {0}")]
    Unwell(StatusCode),
    /// Any other status, with Graph's own code.
    #[error("it answered {status} ({code})")]
    Status { status: StatusCode, code: String },
    /// What came can't be what was asked for.
    #[error("{0}")]
    Answer(String),
    #[error(transparent)]
    Fetch(#[from] FetchError),
}

impl GraphError {
    /// Its text, without the address that was asked, which names the caller.
    pub(super) fn anonymous(&self) -> String {
        match self {
            Self::Fetch(_) => "it could not be reached".to_owned(),
            other => other.to_string(),
        }
    }
}

/// Whose groups are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Member {
    pub(super) object: ObjectId,
    /// A user; otherwise a service principal.
    pub(super) is_user: bool,
}

#[derive(Deserialize)]
struct Page {
    value: Vec<String>,
    #[serde(default, rename = "@odata.nextLink")]
    next: Option<String>,
}

/// One directory's Graph.
#[derive(Clone, Copy)]
pub(super) struct Graph<'a, E> {
    pub(super) exchange: &'a E,
    pub(super) url: &'a Url,
    pub(super) token: &'a HeaderValue,
    pub(super) timeout: Duration,
    pub(super) calls: &'a GraphCalls,
}

impl<E: Exchange> Graph<'_, E> {
    /// Every group that the member is in, nested ones too; sorted.
    pub(super) async fn groups(&self, member: Member) -> Result<Vec<GroupId>, GraphError> {
        let body = json!({ "securityEnabledOnly": false });
        let mut page = self.page(&self.address(member, "getMemberObjects"), Some(body)).await?;
        let mut groups = Vec::new();
        for _ in 0..MAX_PAGES {
            add(&mut groups, &page.value)?;
            let Some(next) = page.next else {
                groups.sort_unstable();
                groups.dedup();
                return Ok(groups);
            };
            page = self.page(&self.next(&next)?, None).await?;
        }
        Err(GraphError::Answer(format!("more than {MAX_PAGES} pages")))
    }

    /// Those of `known` that the member is in; sorted.
    pub(super) async fn groups_among(
        &self,
        member: Member,
        known: &[GroupId],
    ) -> Result<Vec<GroupId>, GraphError> {
        let mut groups = Vec::new();
        for some in known.chunks(CHECKED_AT_ONCE) {
            let ids: Vec<_> = some.iter().map(ToString::to_string).collect();
            let body = json!({ "groupIds": ids });
            let page = self.page(&self.address(member, "checkMemberGroups"), Some(body)).await?;
            add(&mut groups, &page.value)?;
        }
        groups.retain(|group| known.contains(group));
        groups.sort_unstable();
        groups.dedup();
        Ok(groups)
    }

    fn address(&self, member: Member, action: &str) -> Url {
        let kind = if member.is_user { "users" } else { "servicePrincipals" };
        let mut url = self.url.clone();
        let base = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{base}/v1.0/{kind}/{}/{action}", member.object));
        url
    }

    /// A next page is only ever where Graph is: the token goes there.
    fn next(&self, text: &str) -> Result<Url, GraphError> {
        let url: Url = text
            .parse()
            .map_err(|_| GraphError::Answer("the next page is at no address".to_owned()))?;
        if url.origin() != self.url.origin() {
            return Err(GraphError::Answer("the next page is at another place".to_owned()));
        }
        Ok(url)
    }

    async fn page(&self, url: &Url, body: Option<Value>) -> Result<Page, GraphError> {
        let page = self.call(url, body).await;
        self.calls.count(&page);
        page
    }

    async fn call(&self, url: &Url, body: Option<Value>) -> Result<Page, GraphError> {
        let headers = vec![(header::AUTHORIZATION, self.token.clone())];
        let request = Outgoing { url, headers, body: body.map(Body::Json) };
        let limits = Limits { timeout: self.timeout, max_bytes: MAX_BYTES };
        let answer = self.exchange.exchange(request, limits).await?;
        if answer.status == StatusCode::OK {
            return serde_json::from_slice(&answer.body)
                .map_err(|error| GraphError::Answer(format!("not a page: {error}")));
        }
        Err(failure(&answer))
    }
}

fn add(groups: &mut Vec<GroupId>, ids: &[String]) -> Result<(), GraphError> {
    for id in ids {
        // One that can't be read could be the one that a policy forbids.
        let id = id.parse().map_err(|_| GraphError::Answer("an id is no guid".to_owned()))?;
        groups.push(id);
    }
    if groups.len() > MAX_GROUPS {
        return Err(GraphError::Answer(format!("more than {MAX_GROUPS} groups")));
    }
    Ok(())
}

fn failure(answer: &Incoming) -> GraphError {
    let json: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let code = json.pointer("/error/code").and_then(Value::as_str).unwrap_or_default();
    let code: String = code.chars().take(100).collect();
    match (answer.status.as_u16(), code.as_str()) {
        (404, "Request_ResourceNotFound") => GraphError::Gone,
        (401, _) => GraphError::Unauthorized,
        (429, _) => GraphError::Throttled { after: pause(&answer.headers).unwrap_or(USUAL_PAUSE) },
        (503 | 504, _) if let Some(after) = pause(&answer.headers) => {
            GraphError::Throttled { after }
        }
        (500..=599, _) => GraphError::Unwell(answer.status),
        _ => GraphError::Status { status: answer.status, code },
    }
}

/// `Retry-After`, in seconds.
fn pause(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    Some(Duration::from_secs(text.trim().parse().ok()?).min(LONGEST_PAUSE))
}
