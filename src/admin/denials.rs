//! The latest denials.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use serde_json::value::RawValue;

use super::Admin;
use super::access::Trusted;
use super::origin::not_by_a_page;
use crate::audit::LATEST_DENIALS;

/// The latest denials, the latest first.
#[derive(Serialize)]
struct Denials {
    /// Whether decisions are recorded at all.
    recorded: bool,
    /// How many are kept.
    kept: usize,
    denials: Vec<Box<RawValue>>,
}

/// The latest denials as JSON. They say who was denied what, so not everybody may ask.
pub(super) async fn denials(
    _: Trusted,
    State(admin): State<Arc<Admin>>,
    headers: HeaderMap,
) -> Response {
    if let Err(answer) = not_by_a_page(&headers) {
        return answer.into_response();
    }
    let audit = &admin.watched.audit;
    let denials = Denials {
        recorded: audit.is_on(),
        kept: LATEST_DENIALS,
        denials: audit.latest_denials().all(),
    };
    match serde_json::to_string(&denials) {
        Ok(json) => {
            let kind = (header::CONTENT_TYPE, "application/json");
            let no_store = (header::CACHE_CONTROL, "no-store");
            ([kind, no_store], format!("{json}\n")).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
