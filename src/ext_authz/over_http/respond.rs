//! A reply, as HTTP.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::Full;
use prost::Message as _;

use super::Dialect;
use super::dialect::one;
use crate::domain::Reason;
use crate::ext_authz::denial::{PROBLEM, minimal};
use crate::ext_authz::proto::envoy::config::core::v3::{
    HeaderValueOption, header_value_option::HeaderAppendAction,
};
use crate::ext_authz::proto::envoy::service::auth::v3::{
    CheckResponse, DeniedHttpResponse, OkHttpResponse, check_response::HttpResponse,
};
use crate::ext_authz::proto::envoy::r#type::v3::HttpStatus;
use crate::ext_authz::reply::{EXPLANATION_HEADER, Reply};
use crate::ext_authz::settings::IdentityHeaders;

pub(in crate::ext_authz) type Answer = Response<Full<Bytes>>;

/// Carries a whole denial through nginx, which takes of the answer to `auth_request` no more
/// than its headers: a `DeniedHttpResponse` in base64.
pub(super) const DENIAL_HEADER: &str = "x-stagedoor-denial";
/// Envoy takes these headers away from what it lets through.
const REMOVE_HEADER: HeaderName = HeaderName::from_static("x-envoy-auth-headers-to-remove");
/// A longer one would not fit into the buffer that nginx is given for headers.
const MAX_CARRIED: usize = 20 * 1024;

/// What a proxy of this dialect gets for a reply.
pub(in crate::ext_authz) fn respond(
    reply: Reply,
    names: &IdentityHeaders,
    dialect: &Dialect,
) -> Answer {
    told(reply.into_message(), names, dialect)
}

fn told(message: CheckResponse, names: &IdentityHeaders, dialect: &Dialect) -> Answer {
    let code = message.status.map(|status| status.code);
    match message.http_response {
        Some(HttpResponse::OkResponse(ok)) if code == Some(0) => allow(ok, names, dialect),
        Some(HttpResponse::DeniedResponse(denied)) if code != Some(0) => deny(denied, dialect),
        _ => deny(unknown(), dialect),
    }
}

/// The only answer with 200.
fn allow(ok: OkHttpResponse, names: &IdentityHeaders, dialect: &Dialect) -> Answer {
    let mut answer = Answer::default();
    let headers = answer.headers_mut();
    put_all(headers, ok.headers);
    put_all(headers, ok.response_headers_to_add);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Dialect::Envoy { .. } = dialect {
        if let Ok(value) = HeaderValue::try_from(ok.headers_to_remove.join(",")) {
            headers.insert(REMOVE_HEADER, value);
        }
        return answer;
    }
    // What a client sent by one of these names is to be replaced, by nothing where there is
    // nothing.
    for name in [&names.subject, &names.tenant, &names.kind, &names.entity, &names.decision_id] {
        if let Ok(name) = HeaderName::try_from(name) {
            headers.entry(name).or_insert(HeaderValue::from_static(""));
        }
    }
    answer
}

fn deny(denied: DeniedHttpResponse, dialect: &Dialect) -> Answer {
    match dialect {
        Dialect::Nginx => carry(denied),
        Dialect::Traefik => tell(denied),
        Dialect::Envoy { .. } => {
            let mut answer = tell(denied);
            if answer.status().is_server_error() {
                // It says "later" without being one of the 500s, and to gRPC clients the same.
                *answer.status_mut() = StatusCode::TOO_MANY_REQUESTS;
            }
            answer
        }
    }
}

/// For nginx: 401, or 403 for everything else, and the denial itself in a header.
fn carry(mut denied: DeniedHttpResponse) -> Answer {
    let mut answer = Answer::default();
    let status = status(&denied);
    *answer.status_mut() = if status == StatusCode::UNAUTHORIZED {
        StatusCode::UNAUTHORIZED
    } else {
        StatusCode::FORBIDDEN
    };
    let headers = answer.headers_mut();
    let is_told = |option: &HeaderValueOption, name: &str| {
        option.header.as_ref().is_some_and(|header| header.key == name)
    };
    if status == StatusCode::UNAUTHORIZED {
        // nginx itself takes the challenge of a 401 over, and would take it twice.
        let challenge = denied.headers.extract_if(.., |it| is_told(it, WWW_AUTHENTICATE.as_str()));
        put_all(headers, challenge.collect());
    }
    if denied.encoded_len() > MAX_CARRIED {
        denied.headers.retain(|it| !is_told(it, EXPLANATION_HEADER));
    }
    if denied.encoded_len() > MAX_CARRIED {
        denied.body.clear();
    }
    if let Ok(value) = HeaderValue::try_from(STANDARD.encode(denied.encode_to_vec())) {
        headers.insert(DENIAL_HEADER, value);
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// The denial that nginx carries back, for its client; or why there is none.
pub(in crate::ext_authz) fn carried(headers: &HeaderMap) -> Result<Answer, String> {
    let text = one(headers, DENIAL_HEADER)?;
    let bytes = STANDARD.decode(text).map_err(|_| format!("`{DENIAL_HEADER}` is no base64"))?;
    let denied = DeniedHttpResponse::decode(bytes.as_slice())
        .map_err(|_| format!("`{DENIAL_HEADER}` is no denial"))?;
    Ok(tell(denied))
}

/// A denial as its client is to get it.
pub(super) fn tell(denied: DeniedHttpResponse) -> Answer {
    let status = status(&denied);
    let mut answer = Answer::new(Full::new(denied.body.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    put_all(headers, denied.headers);
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    // Over gRPC it is Envoy who knows what a gRPC client is told in.
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    headers.entry(CONTENT_TYPE).or_insert(plain);
    answer
}

/// The status of a denial, which is never another one than 400 to 599.
fn status(denied: &DeniedHttpResponse) -> StatusCode {
    let code = denied.status.as_ref().and_then(|status| u16::try_from(status.code).ok());
    let status = code.and_then(|code| StatusCode::from_u16(code).ok());
    let denies = |status: &StatusCode| status.is_client_error() || status.is_server_error();
    status.filter(denies).unwrap_or(StatusCode::SERVICE_UNAVAILABLE)
}

/// A denial for what is neither of the two shapes that replies have.
fn unknown() -> DeniedHttpResponse {
    DeniedHttpResponse {
        status: Some(HttpStatus { code: i32::from(Reason::Internal.status()) }),
        body: minimal(Reason::Internal),
        headers: Vec::new(),
    }
}

/// A denial without a decision.
pub(super) fn refuse(reason: Reason) -> Answer {
    let mut answer = Answer::new(Full::new(minimal(reason).into()));
    *answer.status_mut() = match StatusCode::from_u16(reason.status()) {
        Ok(status) if !status.is_success() => status,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM));
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

fn put_all(headers: &mut HeaderMap, options: Vec<HeaderValueOption>) {
    for option in options {
        let appends = option.append_action == i32::from(HeaderAppendAction::AppendIfExistsOrAdd);
        let Some(header) = option.header else { continue };
        let (Ok(name), Ok(value)) =
            (HeaderName::try_from(header.key), HeaderValue::try_from(header.value))
        else {
            continue;
        };
        if is_of_the_message(&name) {
            continue;
        }
        if appends {
            headers.append(name, value);
        } else {
            headers.insert(name, value);
        }
    }
}

/// Headers that say how a message is read or a connection goes on: those are the server's.
fn is_of_the_message(name: &HeaderName) -> bool {
    use http::header::{CONNECTION, CONTENT_LENGTH, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
    [CONNECTION, CONTENT_LENGTH, TE, TRAILER, TRANSFER_ENCODING, UPGRADE].contains(name)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use http_body_util::BodyExt as _;

    use super::*;
    use crate::ext_authz::proto::envoy::config::core::v3::HeaderValue as Header;

    fn header(name: &str, value: &str) -> HeaderValueOption {
        let header = Header { key: name.to_owned(), value: value.to_owned(), ..Header::default() };
        HeaderValueOption { header: Some(header), ..HeaderValueOption::default() }
    }

    fn denied(body: usize, headers: Vec<HeaderValueOption>) -> DeniedHttpResponse {
        let status = Some(HttpStatus { code: 403 });
        DeniedHttpResponse { status, body: "b".repeat(body), headers }
    }

    #[test]
    fn what_is_neither_of_the_two_shapes_is_a_denial() {
        let name = |name: &str| format!("x-{name}");
        let names = IdentityHeaders {
            subject: name("subject"),
            tenant: name("tenant"),
            kind: name("kind"),
            entity: name("entity"),
            decision_id: name("decision-id"),
        };
        let ok = || Some(HttpResponse::OkResponse(OkHttpResponse::default()));
        let denial = || Some(HttpResponse::DeniedResponse(denied(0, Vec::new())));
        let envoy = Dialect::Envoy { path_prefix: String::new() };
        for (dialect, unknown) in [(Dialect::Nginx, 403), (Dialect::Traefik, 503), (envoy, 429)] {
            let status = |code: Option<i32>, http_response: Option<HttpResponse>| {
                let mut message = CheckResponse { http_response, ..CheckResponse::default() };
                if let Some(code) = code {
                    message.status.get_or_insert_default().code = code;
                }
                told(message, &names, &dialect).status().as_u16()
            };
            assert_eq!(status(Some(0), ok()), 200);
            assert_eq!(status(Some(7), denial()), 403);
            for (code, response) in [
                (None, None),
                (Some(0), None),
                (Some(7), None),
                (None, ok()),
                (Some(7), ok()),
                (Some(0), denial()),
            ] {
                assert_eq!(status(code, response), unknown, "{dialect:?} {code:?}");
            }
        }
    }

    /// Better half of a denial than one that nginx has no room for: that would be an error of
    /// its own.
    #[test]
    fn what_is_carried_fits() {
        for (body, explanation, kept) in [
            (5000, 5000, (5000, true)),
            (12_000, 12_000, (12_000, false)),
            (25_000, 100, (0, false)),
        ] {
            let told = header(EXPLANATION_HEADER, &"e".repeat(explanation));
            let answer = carry(denied(body, vec![told, header("x-kept", "1")]));
            assert_eq!(answer.status(), StatusCode::FORBIDDEN);
            assert!(answer.headers()[DENIAL_HEADER].len() <= MAX_CARRIED.div_ceil(3) * 4);
            let carried = carried(answer.headers()).unwrap();
            assert_eq!(
                (carried.status().as_u16(), &carried.headers()["x-kept"]),
                (403, &HeaderValue::from_static("1"))
            );
            let explained = carried.headers().contains_key(EXPLANATION_HEADER);
            let body = carried.into_body().collect().now_or_never().unwrap().unwrap();
            assert_eq!((body.to_bytes().len(), explained), kept);
        }
    }

    #[test]
    fn no_header_says_how_a_message_is_read() {
        let mut headers: Vec<_> =
            ["Connection", "content-length", "te", "trailer", "transfer-encoding", "upgrade"]
                .map(|name| header(name, "1"))
                .into();
        headers.push(header("no name", "1"));
        headers.push(header("x-value", "a\nb"));
        headers.push(HeaderValueOption::default());
        headers.push(header("x-kept", "1"));
        let answer = tell(denied(1, headers));
        let mut names: Vec<_> = answer.headers().keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["cache-control", "content-type", "x-kept"]);
    }
}
