//! What is looked for, each with the reason and with what to write instead.
//! `docs/envoy.md` says the same at length; a test compares the ids.

use super::super::report::Severity::{self, Error, Warning};

/// A rule; its code is public and does not change.
#[derive(Debug)]
pub(in super::super) struct Rule {
    pub(in super::super) code: &'static str,
    pub(in super::super) severity: Severity,
    /// What happens otherwise.
    pub(in super::super) why: &'static str,
    /// What to write.
    pub(in super::super) remedy: &'static str,
}

macro_rules! rules {
    ($($name:ident: $severity:ident, $code:literal, $why:literal, $remedy:literal;)*) => {
        $(pub(super) static $name: Rule =
            Rule { code: $code, severity: $severity, why: $why, remedy: $remedy };)*
        /// All of them.
        #[cfg(test)]
        pub(super) static ALL: &[&Rule] = &[$(&$name),*];
    };
}

rules! {
    FAILURE_MODE_ALLOW: Error, "failure_mode_allow",
        "every outage of Stagedoor, and every way to cause one, lets all requests through",
        "`failure_mode_allow: false` (`failOpen: false`), or leave it out";
    FILTER_MISSING: Error, "filter_missing",
        "requests of this connection manager reach a service and nobody is asked about them",
        "put `envoy.filters.http.ext_authz` first in its `http_filters`, and in the `filters` of \
         an upgrade that has its own";
    FILTER_DISABLED: Error, "filter_disabled",
        "the filter is there and asks about nothing",
        "leave `disabled` out; for what everybody may see, write a route with the gate `public` \
         in Stagedoor";
    FILTER_DISABLED_ON_ROUTE: Error, "filter_disabled_on_route",
        "what matches is not asked about, and identity headers that a client made up reach the \
         service",
        "write a route with the gate `public` in Stagedoor instead";
    FILTER_FRACTION: Error, "filter_fraction",
        "the rest of the requests pass unasked",
        "leave `filter_enabled` out, or set 100 percent";
    FILTER_CONDITIONAL: Warning, "filter_conditional",
        "requests that don't meet the condition pass unasked, and what a filter before it writes \
         can be the client's choice",
        "ask about every request, and let a route of Stagedoor with the gate `public` say what is \
         open";
    SHADOW_MODE: Error, "shadow_mode",
        "denials are written down and not enforced",
        "leave `shadow_mode` out; Stagedoor tries policies by `@mode(\"shadow\")`";
    FILTER_BEFORE: Warning, "filter_before",
        "it acts on requests that nobody has decided about: it can answer them, or change what \
         Stagedoor is asked about",
        "put it behind ext_authz, unless it only refuses";
    FILTER_AFTER: Warning, "filter_after",
        "it can change path, host, route or headers after the decision, so that the service gets \
         another request than the one decided about",
        "put it before ext_authz, or make sure that it leaves all of these and the identity \
         headers alone";
    CLEAR_ROUTE_CACHE: Error, "clear_route_cache",
        "the route is chosen again after the decision, so a request can go elsewhere than what \
         was decided about",
        "leave `clear_route_cache` (`clearRouteCache`, `recomputeRoute`) out";
    NORMALIZE_PATH: Warning, "normalize_path",
        "routes are chosen by a spelling such as `/a/../admin`; Stagedoor denies what is \
         ambiguous, a filter or service beside it may not",
        "`normalize_path: true`; in Istio `pathNormalization: {normalization: \
         DECODE_AND_MERGE_SLASHES}`";
    MERGE_SLASHES: Warning, "merge_slashes",
        "`//admin` misses the route for `/admin` and is served as `/admin` by many services",
        "`merge_slashes: true`; in Istio `pathNormalization: {normalization: \
         DECODE_AND_MERGE_SLASHES}`; in Envoy Gateway leave `disableMergeSlashes` out";
    ESCAPED_SLASHES: Warning, "escaped_slashes",
        "`%2F` and `%5C` are a slash to one reader and none to the next",
        "`path_with_escaped_slashes_action: REJECT_REQUEST` (Istio: in an `EnvoyFilter`; Envoy \
         Gateway: `escapedSlashesAction: RejectRequest`)";
    UNDERSCORES: Warning, "headers_with_underscores",
        "many services read `x_user` and `x-user` as one header, so a client can bring one that \
         the service trusts",
        "`common_http_protocol_options: {headers_with_underscores_action: REJECT_REQUEST}` \
         (Istio: in an `EnvoyFilter`; Envoy Gateway: `withUnderscoresAction: RejectRequest`)";
    USE_REMOTE_ADDRESS: Warning, "use_remote_address",
        "what the client says in `x-forwarded-for`, `x-request-id` and `x-envoy-*` is believed",
        "`use_remote_address: true`, and `xff_num_trusted_hops` behind another proxy";
    HEADERS_NOT_COVERED: Error, "identity_headers_not_covered",
        "the client's own copies of these headers reach the service as if Stagedoor had set them",
        "allow all identity headers of `answer.headers`, or ask over gRPC, where Stagedoor sets \
         or removes each";
    HEADERS_ADDED: Error, "identity_header_added",
        "it replaces or doubles what Stagedoor says about the caller, after the decision",
        "use another name for it";
    REQUEST_TRAILERS: Warning, "request_trailers",
        "a service that speaks HTTP/2 gets the trailers of an HTTP/2 request as the client made \
         them up; one that reads them like headers takes them for what Stagedoor says",
        "a `header_mutation` filter before the router with `request_trailers_mutations: \
         [{remove_on_match: {key_matcher: {safe_regex: {regex: \".*\"}}}}]`, from Envoy 1.36 on \
         (Istio: by an `EnvoyFilter`)";
    AUTHORIZATION_NOT_SENT: Error, "authorization_not_sent",
        "Stagedoor never sees a token, and denies everybody with `token_missing`",
        "add `authorization` to the headers that are sent";
    TIMEOUT: Warning, "timeout_too_short",
        "Envoy gives up before Stagedoor has answered: the client gets `status_on_error`, without \
         a reason or a record",
        "a timeout above `check.deadline`: 200 ms for the default of 150 ms";
    STATUS_ON_ERROR: Warning, "status_on_error",
        "while Stagedoor can't be asked clients are told that they may not (403) rather than to \
         try again",
        "`status_on_error: {code: ServiceUnavailable}` (Istio: `statusOnError: \"503\"`)";
    VALIDATE_MUTATIONS: Warning, "validate_mutations",
        "an answer with a header that could split the request would be passed on",
        "`validate_mutations: true` (Istio: in an `EnvoyFilter` that merges it into \
         `envoy.filters.http.ext_authz`)";
    RAW_HEADERS: Warning, "encode_raw_headers",
        "bytes that are not UTF-8 are replaced, so the decision is about other headers than the \
         service gets",
        "`encode_raw_headers: true` (Istio: in an `EnvoyFilter` that merges it into \
         `envoy.filters.http.ext_authz`)";
    REQUEST_BODY: Warning, "with_request_body",
        "every request is held back until its body is there, which ends streams and takes \
         memory; Stagedoor reads no body",
        "leave `with_request_body` (`includeRequestBodyInCheck`, `bodyToExtAuth`) out";
    PLAINTEXT: Error, "plaintext",
        "whoever is on the way reads tokens, and can answer in Stagedoor's place",
        "a Unix socket, loopback, or a `transport_socket` with TLS and a client certificate";
    TLS_UNVERIFIED: Error, "tls_unverified",
        "Envoy accepts any certificate, so whoever is on the way can answer in Stagedoor's place",
        "`validation_context` with `trusted_ca` and `match_typed_subject_alt_names`";
    NOT_ASKED: Error, "not_asked",
        "Stagedoor is set up and never asked",
        "an `AuthorizationPolicy` with `action: CUSTOM` (Istio), or a `SecurityPolicy` with \
         `extAuth` (Envoy Gateway)";
    PROVIDER_UNKNOWN: Error, "provider_unknown",
        "Istio can't ask anybody for this policy: it then denies everything, or ignores it, \
         depending on its version",
        "the `name` of an `extensionProviders` entry with `envoyExtAuthzGrpc`";
    POLICY_PARTIAL: Warning, "policy_partial",
        "requests that no rule matches are not asked about",
        "`rules: [{}]`; what is open is said by a route of Stagedoor with the gate `public`";
    NOT_SEEN: Error, "not_seen",
        "what comes from elsewhere can't be judged here",
        "look at the running Envoy: `stagedoor doctor --envoy http://127.0.0.1:9901`, or add the \
         document that is missing";
}
