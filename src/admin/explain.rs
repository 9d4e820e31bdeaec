//! Why a request is answered as it is.

use std::borrow::Cow;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};

use super::Admin;
use super::access::Trusted;
use super::origin::not_by_a_page;
use crate::authorizer::explain::{Explanation, Section};
use crate::clock::Now;
use crate::domain::{Credentials, Request};

/// What is to be explained: a request, as Envoy would tell of it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    method: String,
    host: String,
    /// With the query, if there is one.
    path: String,
    /// What stands in `authorization`; nothing is no such header.
    #[serde(default)]
    authorization: Option<String>,
    #[serde(default)]
    source_principal: Option<String>,
    #[serde(default)]
    destination_principal: Option<String>,
    #[serde(default)]
    justification: Option<String>,
    #[serde(default)]
    context_extensions: std::collections::BTreeMap<String, String>,
}

/// An explanation, and the same in sections as text and page have it.
#[derive(Serialize)]
struct Explained<'a> {
    #[serde(flatten)]
    explanation: &'a Explanation,
    sections: Vec<Section>,
}

/// Explains a request that is described in JSON, as JSON, text or a page, by `accept`.
///
/// It tells who owns what and who is in which group, so not everybody may ask.
pub(super) async fn explain(
    _: Trusted,
    State(admin): State<Arc<Admin>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if let Err(answer) = not_by_a_page(&headers) {
        return answer.into_response();
    }
    let asked: Asked = match serde_json::from_slice(&body) {
        Ok(asked) => asked,
        Err(error) => {
            let text = format!(
                "expected `{{\"method\": …, \"host\": …, \"path\": …, \"authorization\": …}}`: {error}\n"
            );
            return (StatusCode::BAD_REQUEST, text).into_response();
        }
    };
    let request = Request {
        method: &asked.method,
        host: &asked.host,
        path: &asked.path,
        credentials: asked
            .authorization
            .as_deref()
            .map_or(Credentials::Absent, |value| Credentials::One(Cow::Borrowed(value))),
        source_principal: asked.source_principal.as_deref(),
        destination_principal: asked.destination_principal.as_deref(),
        justification: asked.justification.as_deref().map(Cow::Borrowed),
        context_extensions: asked
            .context_extensions
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .collect(),
        ..Request::default()
    };
    let explanation = admin.current.load().explain(&request, Now::read()).await;
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    let accept = accept.unwrap_or_default();
    let no_store = (header::CACHE_CONTROL, "no-store");
    if accept.contains("text/html") {
        let html = (header::CONTENT_TYPE, "text/html; charset=utf-8");
        let policy =
            (header::CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'");
        return ([html, no_store, policy], explanation.html()).into_response();
    }
    if accept.contains("text/plain") {
        let text = (header::CONTENT_TYPE, "text/plain; charset=utf-8");
        return ([text, no_store], explanation.text(false)).into_response();
    }
    let explained = Explained { sections: explanation.sections(), explanation: &explanation };
    match serde_json::to_string_pretty(&explained) {
        Ok(json) => {
            let kind = (header::CONTENT_TYPE, "application/json");
            ([kind, no_store], format!("{json}\n")).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
