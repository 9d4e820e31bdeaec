//! The one view of a request that routing, tokens and policy share.

use std::borrow::Cow;

use super::{Denial, Host, Method, Path, Reason, TraceContext};

/// What a proxy says about a request, reduced to what may decide.
///
/// Borrowed from the received message. Nothing here is believed yet: the request
/// line is made canonical by [`RequestLine::of`], the credentials are judged by
/// the token verifier. Forwarding headers (`x-forwarded-*`, `x-original-*`,
/// method overrides) are not in it, so nothing can be decided by them: where a proxy asks over
/// HTTP, those of its dialect are the request line, and the others nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request<'a> {
    /// The method as received.
    pub method: &'a str,
    /// `:authority`, as received.
    pub host: &'a str,
    /// `:path`, as received: path and query.
    pub path: &'a str,
    /// What the `authorization` header holds.
    pub credentials: Credentials<'a>,
    /// `content-type`, to answer a gRPC client in its own form.
    pub content_type: Option<Cow<'a, str>>,
    /// `accept`, to answer a person with a page and a program with JSON.
    pub accept: Option<Cow<'a, str>>,
    /// `accept-language`, to answer a person in their language.
    pub accept_language: Option<Cow<'a, str>>,
    /// `traceparent` of the proxied request (W3C Trace Context).
    pub traceparent: Option<Cow<'a, str>>,
    /// `tracestate` of the proxied request.
    pub tracestate: Option<Cow<'a, str>>,
    /// What its `b3` headers say, if it has such.
    pub b3: Option<TraceContext<'a>>,
    /// `x-request-id`, for the audit record.
    pub request_id: Option<Cow<'a, str>>,
    /// What the caller gives as a reason, from the header that the configuration names.
    pub justification: Option<Cow<'a, str>>,
    /// Whether the explanation of the decision is asked for. Only who may see it gets it.
    pub debug: bool,
    /// The URI SAN of the client's certificate, where mutual TLS proved one.
    pub source_principal: Option<&'a str>,
    /// The URI SAN of the destination's certificate.
    pub destination_principal: Option<&'a str>,
    /// Key and value of the Envoy route's context extensions, in no order. Set by
    /// whoever configures Envoy, so trusted like configuration.
    pub context_extensions: Vec<(&'a str, &'a str)>,
}

impl Request<'_> {
    /// The trace that the request is a part of. Where W3C's headers name one, B3's are not
    /// looked at.
    #[must_use]
    pub fn trace(&self) -> Option<TraceContext<'_>> {
        self.traceparent.as_deref().and_then(TraceContext::of_traceparent).or(self.b3)
    }

    /// Whether the client speaks gRPC, by its content type, as Envoy tells it: then
    /// Envoy turns a denial into a gRPC status. It doesn't for gRPC-Web.
    #[must_use]
    pub fn is_grpc(&self) -> bool {
        let content_type = self.content_type.as_deref().unwrap_or_default();
        content_type
            .strip_prefix("application/grpc")
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('+'))
    }
}

/// What stands in the `authorization` header.
///
/// The value is a secret: `Debug` doesn't show it.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Credentials<'a> {
    /// No such header.
    #[default]
    Absent,
    /// Exactly one, as sent.
    One(Cow<'a, str>),
    /// More than one, or one value that holds a comma: Envoy joins repeated
    /// headers with commas, so the two can't be told apart and neither is chosen.
    Repeated,
    /// Bytes that are not UTF-8 (Envoy's header map shows them as `!`).
    NotText,
}

impl std::fmt::Debug for Credentials<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Absent => "Absent",
            Self::One(_) => "One([redacted])",
            Self::Repeated => "Repeated",
            Self::NotText => "NotText",
        })
    }
}

/// Method, host and path in the one spelling that anything is matched against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestLine<'a> {
    /// The real method.
    pub method: Method<'a>,
    /// The canonical host.
    pub host: Host<'a>,
    /// The canonical path, without query.
    pub path: Path<'a>,
    /// What follows the first `?`, if there is one. Never used for routing.
    pub query: Option<&'a str>,
}

impl<'a> RequestLine<'a> {
    /// Makes the request line canonical, or says why it can't be: what has more
    /// than one reading is refused, not repaired (rule R0 of the threat list).
    ///
    /// # Errors
    /// [`Reason::HostNotCanonical`] or [`Reason::PathNotCanonical`].
    pub fn of(request: &Request<'a>) -> Result<Self, Denial> {
        let host = Host::parse(request.host)
            .map_err(|error| Denial::with_detail(Reason::HostNotCanonical, error))?;
        let (path, query) = Path::split(request.path)
            .map_err(|error| Denial::with_detail(Reason::PathNotCanonical, error))?;
        Ok(Self { method: Method::new(request.method), host, path, query })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever holds a request may be printed; a credential never is.
    #[test]
    fn credentials_are_not_shown() {
        for (credentials, shown) in [
            (Credentials::Absent, "Absent"),
            (Credentials::One("Bearer the.secret.token".into()), "One([redacted])"),
            (Credentials::Repeated, "Repeated"),
            (Credentials::NotText, "NotText"),
        ] {
            assert_eq!(format!("{credentials:?}"), shown);
            let request = format!("{:?}", Request { credentials, ..Request::default() });
            assert!(request.contains(&format!("credentials: {shown},")), "{request}");
            assert!(!request.contains("secret"), "{request}");
        }
    }

    #[test]
    fn grpc_as_envoy_tells_it() {
        for (content_type, want) in [
            (Some("application/grpc"), true),
            (Some("application/grpc+proto"), true),
            (Some("application/grpc+json"), true),
            (Some("application/grpc-web"), false),
            (Some("application/grpc-web+proto"), false),
            (Some("application/grpc-web-text"), false),
            (Some("application/json"), false),
            (Some(""), false),
            (None, false),
        ] {
            let content_type = content_type.map(Cow::Borrowed);
            let request = Request { content_type, ..Request::default() };
            assert_eq!(request.is_grpc(), want, "{:?}", request.content_type);
        }
    }
}
