//! From Envoy's words to ours.

use std::borrow::Cow;

use http::HeaderMap;

use super::over_http::Line;
use super::proto::envoy::config::core::v3::HeaderValue;
use super::proto::envoy::service::auth::v3::{
    CheckRequest,
    attribute_context::{HttpRequest, Peer},
};
use crate::domain::{B3, Credentials, Request, TraceContext};

/// What of a `CheckRequest` may decide, borrowed from it. `justification` names the header
/// in which a caller gives a reason.
///
/// Returns nothing where the request has no HTTP attributes: there is nothing to
/// decide about then, and nothing is not allowed.
#[must_use]
pub fn request<'a>(check: &'a CheckRequest, justification: &str) -> Option<Request<'a>> {
    let attributes = check.attributes.as_ref()?;
    let http = attributes.request.as_ref()?.http.as_ref()?;
    let line = Line { method: &http.method, host: &http.host, path: &http.path };
    Some(Request {
        source_principal: principal(attributes.source.as_ref()),
        destination_principal: principal(attributes.destination.as_ref()),
        context_extensions: attributes
            .context_extensions
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .collect(),
        ..with_headers(line, &Headers::of(http), justification)
    })
}

/// The same of a request that a proxy asks about over HTTP: with the line that it says, and with
/// the headers of its question, which it passes on as it got them.
pub(super) fn over_http<'a>(
    line: Line<'a>,
    headers: &'a HeaderMap,
    justification: &str,
) -> Request<'a> {
    with_headers(line, &Headers::Http(headers), justification)
}

fn with_headers<'a>(line: Line<'a>, headers: &Headers<'a>, justification: &str) -> Request<'a> {
    Request {
        method: line.method,
        host: line.host,
        path: line.path,
        credentials: headers.find("authorization").credentials(),
        content_type: headers.find("content-type").single(),
        accept: headers.list("accept"),
        accept_language: headers.list("accept-language"),
        traceparent: headers.find("traceparent").single(),
        tracestate: headers.list("tracestate"),
        b3: TraceContext::of_b3(&B3 {
            single: headers.find("b3").text(),
            trace_id: headers.find("x-b3-traceid").text(),
            span_id: headers.find("x-b3-spanid").text(),
            sampled: headers.find("x-b3-sampled").text(),
            flags: headers.find("x-b3-flags").text(),
        }),
        request_id: headers.find("x-request-id").single(),
        justification: headers.words(justification),
        debug: headers.find(DEBUG_HEADER).single().is_some_and(|value| value == "1"),
        source_principal: None,
        destination_principal: None,
        context_extensions: Vec::new(),
    }
}

/// Puts the request where the call of `Check` itself is in the trace, if its headers say so.
/// An Envoy that traces makes a span of the call, in the request's trace or in one that it
/// begins; what the request's own headers name is then that span's parent.
pub(super) fn join_call<'a>(request: &mut Request<'a>, call: &'a HeaderMap) {
    let (mut traceparent, mut tracestate, mut b3) = (None, None, B3::default());
    // Few headers, so they are looked through once.
    for (name, value) in call {
        let slot = match name.as_str() {
            "traceparent" => &mut traceparent,
            "tracestate" => &mut tracestate,
            "b3" => &mut b3.single,
            "x-b3-traceid" => &mut b3.trace_id,
            "x-b3-spanid" => &mut b3.span_id,
            "x-b3-sampled" => &mut b3.sampled,
            "x-b3-flags" => &mut b3.flags,
            _ => continue,
        };
        // One that is repeated is none.
        let text = value.to_str().ok().filter(|_| slot.is_none());
        *slot = Some(text.unwrap_or_default());
    }
    let traceparent = traceparent.filter(|text| TraceContext::of_traceparent(text).is_some());
    let b3 = TraceContext::of_b3(&b3).filter(|context| context.ids.is_some());
    if traceparent.is_some() || b3.is_some() {
        request.traceparent = traceparent.map(Cow::Borrowed);
        request.tracestate = tracestate.map(Cow::Borrowed).filter(|_| traceparent.is_some());
        request.b3 = b3;
    }
}

/// Asks for the explanation of the decision.
pub(super) const DEBUG_HEADER: &str = "x-stagedoor-debug";
/// A reason is a sentence, not a document.
const MAX_JUSTIFICATION: usize = 256;

fn principal(peer: Option<&Peer>) -> Option<&str> {
    peer.map(|peer| peer.principal.as_str()).filter(|principal| !principal.is_empty())
}

/// The request's headers in either of the two forms that Envoy sends. Both must
/// give the same verdict; where one form loses something (the map joins repeated
/// headers and replaces bytes), the other is read as if it had lost it too.
enum Headers<'a> {
    /// Names in lower case, repeated headers joined by commas.
    Map(&'a std::collections::HashMap<String, String>),
    /// Each header apart, as `encode_raw_headers` gives them.
    Raw(&'a [HeaderValue]),
    /// Those of a question over HTTP: each apart as well.
    Http(&'a HeaderMap),
}

/// What a header of one name holds.
pub(super) enum Found<'a> {
    Nothing,
    /// One value; what is not UTF-8 in it stands as `!`, as in Envoy's map.
    One(Cow<'a, str>),
    /// More than one header of the name.
    Several,
}

impl<'a> Found<'a> {
    pub(super) fn of_text(text: &'a str) -> Self {
        Self::One(Cow::Borrowed(text))
    }

    pub(super) fn credentials(self) -> Credentials<'a> {
        match self {
            Self::Nothing => Credentials::Absent,
            Self::Several => Credentials::Repeated,
            Self::One(value) if !holds_either(&value, b',', b'!') => Credentials::One(value),
            // The map joins repeated headers with a comma, and no credential that
            // is accepted holds one.
            Self::One(value) if value.contains(',') => Credentials::Repeated,
            // No credential that is accepted holds the replacement either.
            Self::One(_) => Credentials::NotText,
        }
    }

    /// What a person wrote, without the blanks around it; nothing where that is nothing, or
    /// too much.
    pub(super) fn words(self) -> Option<Cow<'a, str>> {
        let words = match self.one()? {
            Cow::Borrowed(text) => Cow::Borrowed(text.trim()),
            Cow::Owned(text) => Cow::Owned(text.trim().to_owned()),
        };
        (1..=MAX_JUSTIFICATION).contains(&words.len()).then_some(words)
    }

    /// A header that nothing is decided by: unusable is the same as absent.
    pub(super) fn single(self) -> Option<Cow<'a, str>> {
        self.one().filter(|value| !value.contains(','))
    }

    /// The one value as it came; what was not UTF-8 in it is nothing.
    pub(super) fn text(self) -> Option<&'a str> {
        match self {
            Self::One(Cow::Borrowed(text)) => Some(text),
            _ => None,
        }
    }

    /// The one value, which may be a list.
    pub(super) fn one(self) -> Option<Cow<'a, str>> {
        match self {
            Self::One(value) => Some(value),
            Self::Nothing | Self::Several => None,
        }
    }
}

impl<'a> Headers<'a> {
    fn of(http: &'a HttpRequest) -> Self {
        match &http.header_map {
            // With both forms there, the one that says more decides.
            Some(map) if !map.headers.is_empty() => Self::Raw(&map.headers),
            _ => Self::Map(&http.headers),
        }
    }

    fn find(&self, name: &str) -> Found<'a> {
        match self {
            Self::Map(map) => {
                // Envoy's names are lower case. Should another spelling stand beside
                // it, it is a second header of the same name.
                let mut found = map.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
                match (found.next(), found.next()) {
                    (None, _) => Found::Nothing,
                    (Some((_, value)), None) => Found::of_text(value),
                    (Some(_), Some(_)) => Found::Several,
                }
            }
            Self::Raw(headers) => {
                let mut found =
                    headers.iter().filter(|header| header.key.eq_ignore_ascii_case(name));
                match (found.next(), found.next()) {
                    (None, _) => Found::Nothing,
                    (Some(header), None) => value(header),
                    (Some(_), Some(_)) => Found::Several,
                }
            }
            Self::Http(headers) => {
                let mut found = headers.get_all(name).iter();
                match (found.next(), found.next()) {
                    (None, _) => Found::Nothing,
                    (Some(value), None) => Found::One(sanitized(value.as_bytes())),
                    (Some(_), Some(_)) => Found::Several,
                }
            }
        }
    }

    /// Each header of a name by itself, where they are apart.
    fn each(&self, name: &str) -> Vec<Found<'a>> {
        match self {
            Self::Map(_) => Vec::new(),
            Self::Raw(headers) => {
                let same = headers.iter().filter(|header| header.key.eq_ignore_ascii_case(name));
                same.map(value).collect()
            }
            Self::Http(headers) => {
                let values = headers.get_all(name).iter();
                values.map(|value| Found::One(sanitized(value.as_bytes()))).collect()
            }
        }
    }

    /// As [`Found::words`]. Repeated headers read as Envoy joins them.
    fn words(&self, name: &str) -> Option<Cow<'a, str>> {
        let found = match (self.find(name), self) {
            // No map can say which of two spellings came first.
            (Found::Several, Self::Map(_)) => return None,
            (Found::Several, _) => {
                let values: Option<Vec<_>> = self.each(name).into_iter().map(Found::one).collect();
                Found::One(Cow::Owned(values?.join(",")))
            }
            (found, _) => found,
        };
        found.words()
    }

    /// A header that is a list, and by which nothing is decided: repeated, it is one list.
    fn list(&self, name: &str) -> Option<Cow<'a, str>> {
        match (self.find(name), self) {
            (Found::Several, Self::Raw(_) | Self::Http(_)) => {
                let values = self.each(name).into_iter().filter_map(Found::one);
                Some(Cow::Owned(values.collect::<Vec<_>>().join(",")))
            }
            (found, _) => found.one(),
        }
    }
}

/// Whether one of two characters is there. A credential is kilobytes long: written like
/// this, the compiler looks at many bytes at a time.
fn holds_either(text: &str, one: u8, other: u8) -> bool {
    let found = |bytes: &[u8]| {
        bytes.iter().fold(0, |any, b| any | u8::from(*b == one) | u8::from(*b == other)) != 0
    };
    let (chunks, rest) = text.as_bytes().as_chunks::<64>();
    chunks.iter().any(|chunk| found(chunk)) || found(rest)
}

fn value(header: &HeaderValue) -> Found<'_> {
    raw_value(&header.value, &header.raw_value)
}

/// The value of a header that has room for a text and for bytes.
pub(super) fn raw_value<'a>(text: &'a str, raw: &'a [u8]) -> Found<'a> {
    match (text.is_empty(), raw.is_empty()) {
        (_, true) => Found::of_text(text),
        (true, false) => Found::One(sanitized(raw)),
        // The two are one field in two forms; both set is nothing Envoy does.
        (false, false) => Found::Several,
    }
}

/// Text with each byte that is not UTF-8 replaced by `!`, as Envoy does for its map.
fn sanitized(bytes: &[u8]) -> Cow<'_, str> {
    std::str::from_utf8(bytes).map_or_else(
        |_| {
            let mut text = String::with_capacity(bytes.len());
            for chunk in bytes.utf8_chunks() {
                text.push_str(chunk.valid());
                text.extend(chunk.invalid().iter().map(|_| '!'));
            }
            Cow::Owned(text)
        },
        Cow::Borrowed,
    )
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::super::proto::envoy::config::core::v3::HeaderMap;
    use super::super::proto::envoy::service::auth::v3::{
        AttributeContext, attribute_context::Request as WireRequest,
    };
    use super::*;

    const REASON: &str = "x-reason";

    fn check(http: HttpRequest) -> CheckRequest {
        CheckRequest {
            attributes: Some(AttributeContext {
                request: Some(WireRequest { http: Some(http), ..Default::default() }),
                ..Default::default()
            }),
        }
    }

    /// The raw form of `headers`.
    fn raw(headers: &[(&str, &[u8])]) -> CheckRequest {
        let headers = headers
            .iter()
            .map(|(key, value)| HeaderValue {
                key: (*key).to_owned(),
                value: String::new(),
                raw_value: value.to_vec().into(),
            })
            .collect();
        check(HttpRequest { header_map: Some(HeaderMap { headers }), ..Default::default() })
    }

    /// The map form of `headers`, made as Envoy makes it.
    fn map(headers: &[(&str, &[u8])]) -> CheckRequest {
        let mut joined: HashMap<String, Vec<u8>> = HashMap::new();
        for (key, value) in headers {
            joined
                .entry(key.to_ascii_lowercase())
                .and_modify(|all| {
                    all.push(b',');
                    all.extend_from_slice(value);
                })
                .or_insert_with(|| value.to_vec());
        }
        let headers = joined
            .into_iter()
            .map(|(key, value)| {
                let text = value.utf8_chunks().fold(String::new(), |mut text, chunk| {
                    text.push_str(chunk.valid());
                    text.extend(chunk.invalid().iter().map(|_| '!'));
                    text
                });
                (key, text)
            })
            .collect();
        check(HttpRequest { headers, ..Default::default() })
    }

    #[test]
    fn credentials_in_both_forms() {
        let one = |text: &'static str| Credentials::One(Cow::Borrowed(text));
        for (headers, want) in [
            (&[][..], Credentials::Absent),
            (&[("authorization", &b"Bearer a.b.c"[..])], one("Bearer a.b.c")),
            (&[("Authorization", b"Bearer a.b.c")], one("Bearer a.b.c")),
            (
                &[("authorization", b"Bearer a"), ("authorization", b"Bearer b")],
                Credentials::Repeated,
            ),
            (
                &[("authorization", b"Bearer a"), ("Authorization", b"Bearer a")],
                Credentials::Repeated,
            ),
            (&[("authorization", b"Bearer a,Bearer b")], Credentials::Repeated),
            (&[("authorization", b"")], one("")),
            (&[("authorization", b"Bearer \xff")], Credentials::NotText),
            (&[("authorization", b"Bearer !")], Credentials::NotText),
            (
                &[("x-authorization", b"Bearer a"), ("authorization_", b"Bearer a")],
                Credentials::Absent,
            ),
        ] {
            assert_eq!(
                request(&raw(headers), REASON).unwrap().credentials,
                want,
                "raw {headers:?}"
            );
            assert_eq!(
                request(&map(headers), REASON).unwrap().credentials,
                want,
                "map {headers:?}"
            );
        }
    }

    /// Nothing that Envoy sends, so nothing that is chosen from.
    #[test]
    fn what_stands_there_in_two_ways_is_repeated() {
        let read = |http: HttpRequest| {
            let check = check(http);
            let request = request(&check, REASON).unwrap();
            (request.credentials == Credentials::Repeated, request.justification.is_some())
        };
        let spelled = |names: &[&str]| {
            let headers = names.iter().map(|name| ((*name).to_owned(), "a".to_owned())).collect();
            read(HttpRequest { headers, ..Default::default() })
        };
        assert_eq!(spelled(&["authorization", "x-reason"]), (false, true));
        assert_eq!(spelled(&["authorization", "Authorization"]), (true, false));
        assert_eq!(spelled(&["x-reason", "X-Reason"]), (false, false));
        let both = |value: &str, raw: &[u8]| {
            let headers = ["authorization", "x-reason"].map(|key| HeaderValue {
                key: key.to_owned(),
                value: value.to_owned(),
                raw_value: raw.to_vec().into(),
            });
            let header_map = Some(HeaderMap { headers: headers.into() });
            read(HttpRequest { header_map, ..Default::default() })
        };
        assert_eq!(both("a", b""), (false, true));
        assert_eq!(both("", b"a"), (false, true));
        assert_eq!(both("a", b"a"), (true, false));
    }

    #[test]
    fn without_http_there_is_no_request() {
        assert!(request(&CheckRequest::default(), REASON).is_none());
        assert!(
            request(&CheckRequest { attributes: Some(AttributeContext::default()) }, REASON)
                .is_none()
        );
    }

    proptest! {
        /// The two forms of one request say the same.
        #[test]
        fn map_and_raw_agree(
            headers in proptest::collection::vec(
                (
                    prop_oneof![
                        Just("authorization"), Just("Authorization"), Just("content-type"),
                        Just("accept"), Just("traceparent"), Just("tracestate"), Just("x-request-id"),
                        Just("x-other"), Just("x-reason"),
                    ],
                    prop_oneof![
                        Just(b"Bearer a.b.c".to_vec()),
                        Just(b"application/grpc".to_vec()),
                        proptest::collection::vec(any::<u8>(), 0..8),
                        "[ -~]{0,12}".prop_map(String::into_bytes),
                    ],
                ),
                0..5,
            )
        ) {
            let headers: Vec<_> = headers.iter().map(|(key, value)| (*key, value.as_slice())).collect();
            let (raw, map) = (raw(&headers), map(&headers));
            let (raw, map) = (request(&raw, REASON).unwrap(), request(&map, REASON).unwrap());
            prop_assert_eq!(raw.credentials.clone(), map.credentials.clone());
            prop_assert_eq!(raw.is_grpc(), map.is_grpc());
            prop_assert_eq!(raw.justification, map.justification);
            prop_assert_eq!(raw.accept, map.accept);
        }
    }
}
