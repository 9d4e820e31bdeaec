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

/// What the client and Envoy said, as far as it is recorded: one text after another, in one
/// piece of memory.
#[derive(Clone, Debug)]
pub(super) struct RequestTexts {
    text: Box<str>,
    /// Where each ends, unless it is not there.
    ends: [Option<u16>; TEXTS],
}

/// The places of the texts.
#[derive(Clone, Copy, Debug)]
pub(super) enum Text {
    RequestId,
    TraceId,
    Source,
    Destination,
    Method,
    Host,
    Path,
}

const TEXTS: usize = 7;

impl AuditRecord {
    /// The record of `decision`, made at `time` after `latency`, on `request`.
    #[must_use]
    pub fn of(
        mut decision: Decision,
        request: &Request<'_>,
        time: SystemTime,
        latency: Duration,
    ) -> Self {
        // Both can hold what the client sent, and many records may wait.
        if let Verdict::Deny(Denial { detail: Some(detail), .. }) = &mut decision.verdict
            && detail.len() > MAX_TEXT
        {
            *detail = bounded(detail, MAX_TEXT).into_owned();
        }
        if let Some(text) = &mut decision.notes.justification
            && text.len() > MAX_TEXT
        {
            *text = bounded(text, MAX_TEXT).into();
        }
        Self { time, latency, request: RequestTexts::of(request), decision }
    }
}

impl RequestTexts {
    fn of(request: &Request<'_>) -> Self {
        let host = without_user(request.host);
        let texts: [Option<Cow<'_, str>>; TEXTS] = [
            request.request_id.as_deref().map(|id| bounded(id, 256)),
            trace_id(request),
            request.source_principal.map(|name| bounded(name, MAX_WORKLOAD)),
            request.destination_principal.map(|name| bounded(name, MAX_WORKLOAD)),
            Some(bounded(request.method, 64)),
            Some(bounded(&host, 512)),
            Some(bounded(without_query(request.path), MAX_TEXT)),
        ];
        let length = texts.iter().flatten().map(|text| text.len()).sum();
        let mut text = String::with_capacity(length);
        let ends = texts.each_ref().map(|one| {
            text.push_str(one.as_deref()?);
            // They are all bounded, to some kilobytes together.
            u16::try_from(text.len()).ok()
        });
        Self { text: text.into(), ends }
    }

    /// One of the texts, if it is there.
    pub(super) fn text(&self, text: Text) -> Option<&str> {
        let (before, this) = self.ends.split_at_checked(text as usize)?;
        let end = (*this.first()?)?;
        let start = before.iter().rev().find_map(|end| *end).unwrap_or(0);
        self.text.get(usize::from(start)..usize::from(end))
    }
}

/// A SPIFFE id has at most 2048 bytes; honest ones have some dozens.
const MAX_WORKLOAD: usize = 512;

/// At most `limit` bytes of `text`, with a mark where something is missing.
fn bounded(text: &str, limit: usize) -> Cow<'_, str> {
    const MARK: char = '…';
    if text.len() <= limit {
        return Cow::Borrowed(text);
    }
    let end = text.floor_char_boundary(limit.saturating_sub(MARK.len_utf8()));
    let mut cut = text.get(..end).unwrap_or_default().to_owned();
    cut.push(MARK);
    Cow::Owned(cut)
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

/// The 32 digits of the request's trace, if it is a part of one.
fn trace_id<'a>(request: &'a Request<'_>) -> Option<Cow<'a, str>> {
    let id = request.trace()?.ids?.trace;
    // B3 may leave the left half away.
    Some(if id.len() == 32 { Cow::Borrowed(id) } else { Cow::Owned(format!("{id:0>32}")) })
}

#[cfg(test)]
mod tests;
