//! What is logged, and changing it while the process runs.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};

use super::Admin;
use super::access::Trusted;
use super::catalog::Answer;
use super::origin::not_by_a_page;
use crate::telemetry::LogFilter;

/// A filter is a line, not a document.
const MAX_FILTER: usize = 4096;

/// The filter in force.
pub(super) async fn show(
    _: Trusted,
    State(admin): State<Arc<Admin>>,
    headers: HeaderMap,
) -> Answer {
    match allowed(&admin, &headers) {
        Ok(log) => (StatusCode::OK, format!("{}\n", log.current())),
        Err(answer) => answer,
    }
}

/// Logs by another filter until the process ends, or is told again.
pub(super) async fn change(
    _: Trusted,
    State(admin): State<Arc<Admin>>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    let log = match allowed(&admin, &headers) {
        Ok(log) => log,
        Err(answer) => return answer,
    };
    let Some(filter) = std::str::from_utf8(&body).ok().filter(|text| text.len() <= MAX_FILTER)
    else {
        let text = "expected a filter such as `info,stagedoor::entra=debug` as the body\n";
        return (StatusCode::BAD_REQUEST, text.to_owned());
    };
    match log.set(filter.trim()) {
        Ok(()) => (StatusCode::OK, format!("{}\n", log.current())),
        Err(error) => (StatusCode::BAD_REQUEST, format!("{error}\n")),
    }
}

/// The log, for whoever may change what it says: more than enough of it hides things, and too
/// little does too.
fn allowed<'a>(admin: &'a Admin, headers: &HeaderMap) -> Result<&'a LogFilter, Answer> {
    not_by_a_page(headers)?;
    admin
        .log
        .as_ref()
        .ok_or_else(|| (StatusCode::NOT_FOUND, "this process has no log of its own\n".to_owned()))
}
