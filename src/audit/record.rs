//! What is remembered of a decision.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use crate::domain::{Decision, Denial, Request, Verdict};

/// What the client can make long is cut here.
const MAX_TEXT: usize = 1024;

/// What is kept of one decision until it is written: made on the request's path, so it
/// copies what is borrowed and shares the rest. `Presenter` makes the
/// written form of it, on the writer's thread.
///
/// It holds no token, no header but the request id, and no query. What the client
/// sent is as it was sent, but cut to a length, with `…` at the end where it was.
#[derive(Clone, Debug)]
pub struct AuditRecord {
    pub(super) time: SystemTime,
    pub(super) latency: Duration,
    pub(super) request: RequestTexts,
    pub(super) decision: Decision,
}

/// What the client and Envoy said, as far as it is recorded.
#[derive(Clone, Debug)]
pub(super) struct RequestTexts {
    pub(super) request_id: Option<Box<str>>,
    pub(super) trace_id: Option<Box<str>>,
    pub(super) source: Option<Box<str>>,
    pub(super) destination: Option<Box<str>>,
    pub(super) method: Box<str>,
    pub(super) host: Box<str>,
    pub(super) path: Box<str>,
}

impl AuditRecord {
    /// The record of `decision`, made at `time` after `latency`, on `request`.
    #[must_use]
    pub fn of(
        decision: &Decision,
        request: &Request<'_>,
        time: SystemTime,
        latency: Duration,
    ) -> Self {
        let mut decision = decision.clone();
        // Both can hold what the client sent, and many records may wait.
        if let Verdict::Deny(Denial { detail: Some(detail), .. }) = &mut decision.verdict
            && detail.len() > MAX_TEXT
        {
            *detail = bounded(detail, MAX_TEXT).into();
        }
        if let Some(text) = &mut decision.notes.justification
            && text.len() > MAX_TEXT
        {
            *text = bounded(text, MAX_TEXT);
        }
        Self { time, latency, request: RequestTexts::of(request), decision }
    }
}

impl RequestTexts {
    fn of(request: &Request<'_>) -> Self {
        let workload = |name: Option<&str>| name.map(|name| bounded(name, 512));
        Self {
            request_id: request.request_id.as_deref().map(|id| bounded(id, 256)),
            trace_id: request.traceparent.as_deref().and_then(trace_id).map(Box::from),
            source: workload(request.source_principal),
            destination: workload(request.destination_principal),
            method: bounded(request.method, 64),
            host: bounded(&without_user(request.host), 512),
            path: bounded(without_query(request.path), MAX_TEXT),
        }
    }
}

/// At most `limit` bytes of `text`, with a mark where something is missing.
fn bounded(text: &str, limit: usize) -> Box<str> {
    const MARK: char = '…';
    if text.len() <= limit {
        return text.into();
    }
    let end = text.floor_char_boundary(limit.saturating_sub(MARK.len_utf8()));
    let mut cut = text.get(..end).unwrap_or_default().to_owned();
    cut.push(MARK);
    cut.into()
}

/// Queries hold what a log must not: codes, tokens, names. A fragment, which no
/// honest client sends, can hold the same.
fn without_query(path: &str) -> &str {
    path.split(['?', '#']).next().unwrap_or_default()
}

/// A host that came as `user:password@host` is refused, and recorded without them.
fn without_user(host: &str) -> Cow<'_, str> {
    match host.rsplit_once('@') {
        Some((_, host)) => Cow::Owned(format!("*@{host}")),
        None => Cow::Borrowed(host),
    }
}

/// The trace id of a `traceparent` (W3C Trace Context, section 3.2.2).
fn trace_id(traceparent: &str) -> Option<&str> {
    let (version, rest) = traceparent.split_once('-')?;
    let (id, _) = rest.split_once('-')?;
    let hex = |text: &str| text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let valid = version.len() == 2 && version != "ff" && hex(version) && id.len() == 32 && hex(id);
    (valid && id.bytes().any(|b| b != b'0')).then_some(id)
}

#[cfg(test)]
mod tests;
