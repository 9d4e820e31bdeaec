//! Who asks the admin port, and what they may.

use std::sync::Arc;

use axum::extract::{Extension, FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::AdminToken;

/// Answered to everybody: a probe has no token and no certificate.
const OPEN: [&str; 2] = ["/live", "/ready"];

/// What the admin port asks of those who ask it.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// Whether only this machine reaches the port.
    pub is_loopback: bool,
    /// The token that will do.
    pub token: Option<AdminToken>,
    /// Whether a client's certificate will do.
    pub certificates: bool,
}

impl Access {
    /// Whether anybody has to show who they are.
    fn is_asked(&self) -> bool {
        self.token.is_some() || self.certificates
    }
}

/// The other end of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer {
    /// Whether it showed a certificate of somebody who is let in.
    pub(super) has_certificate: bool,
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Caller {
    /// Somebody on this machine, or who showed who they are.
    Trusted,
    /// Anybody who reaches the port.
    Anybody,
}

/// Finds out who asks, and turns those away who had to show it and didn't.
pub(super) async fn judge(
    State(access): State<Arc<Access>>,
    peer: Option<Extension<Peer>>,
    mut request: Request,
    next: Next,
) -> Response {
    let certified = access.certificates && peer.is_some_and(|Extension(peer)| peer.has_certificate);
    let proven =
        certified || access.token.as_ref().is_some_and(|token| token.is_in(request.headers()));
    let is_open = OPEN.contains(&request.uri().path()) || is_page(&request);
    if access.is_asked() && !proven && !is_open {
        return unauthorized(&request);
    }
    let trusted = proven || (access.is_loopback && !access.is_asked());
    request.extensions_mut().insert(if trusted { Caller::Trusted } else { Caller::Anybody });
    next.run(request).await
}

/// The page to watch holds nothing itself, and a browser that opens it has no token yet: its
/// script asks for one.
fn is_page(request: &Request) -> bool {
    let accept = request.headers().get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    let is_browser = accept.is_some_and(|accept| accept.contains("text/html"));
    request.method() == Method::GET
        && (request.uri().path() == "/" || (request.uri().path() == "/status" && is_browser))
}

fn unauthorized(request: &Request) -> Response {
    let challenge = if request.headers().contains_key(header::AUTHORIZATION) {
        "Bearer realm=\"stagedoor admin\", error=\"invalid_token\""
    } else {
        "Bearer realm=\"stagedoor admin\""
    };
    let challenge: (HeaderName, HeaderValue) =
        (header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    let text = "the admin port asks for its token, or for a client certificate\n";
    (StatusCode::UNAUTHORIZED, [challenge], text).into_response()
}

/// For what changes something or tells who owns what: only somebody on this machine gets
/// it, or who showed who they are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trusted;

impl<S: Sync> FromRequestParts<S> for Trusted {
    type Rejection = (StatusCode, &'static str);

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        if parts.extensions.get() == Some(&Caller::Trusted) {
            return Ok(Self);
        }
        let text = "anybody reaches this port: this is only answered on loopback, or where \
                    `listen.admin_token_file` or `listen.admin_tls.client_ca_file` is set\n";
        Err((StatusCode::FORBIDDEN, text))
    }
}
