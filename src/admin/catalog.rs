//! Acting on the catalog.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::Deserialize;

use super::Admin;
use super::access::Trusted;
use super::origin::not_by_a_page;
use crate::clock::Now;

pub(super) type Answer = (StatusCode, String);

#[derive(Deserialize)]
struct Confirmation {
    id: String,
}

/// Has the catalog read again now. Also for a webhook: however often it is called, crawls
/// begin no closer together than a second.
pub(super) async fn refresh(State(admin): State<Arc<Admin>>, headers: HeaderMap) -> Answer {
    if let Err(answer) = not_by_a_page(&headers) {
        return answer;
    }
    // A webhook that came to the wrong replica must not be told that all is well.
    if admin.catalog.status(Now::read()).role == Some("follower") {
        let text = "this replica follows another one, which reads the catalog: ask there\n";
        return (StatusCode::CONFLICT, text.to_owned());
    }
    admin.catalog.refresh_now();
    (StatusCode::ACCEPTED, "the catalog is read again\n".to_owned())
}

/// Has what is held back be adopted.
pub(super) async fn confirm(
    _: Trusted,
    State(admin): State<Arc<Admin>>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    if let Err(answer) = not_by_a_page(&headers) {
        return answer;
    }
    let Ok(Confirmation { id }) = serde_json::from_slice(&body) else {
        return (StatusCode::BAD_REQUEST, "expected `{\"id\": \"…\"}`\n".to_owned());
    };
    match admin.catalog.confirm(&id) {
        Ok(()) => (StatusCode::ACCEPTED, "confirmed: the next crawl is adopted\n".to_owned()),
        Err(error) => (StatusCode::CONFLICT, format!("{error}\n")),
    }
}
