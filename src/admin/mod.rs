//! The admin port: liveness, readiness, metrics and status over HTTP.
//!
//! Nothing here tells a secret. Three calls change something: catalog and configuration can
//! be read again now, and what is held back of the catalog be confirmed. One explains
//! decisions, to this machine only.

mod catalog;
mod explain;
mod policies;
mod readiness;
mod reload;
mod serve;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use prometheus_client::registry::Registry;
use serde_json::json;

pub use readiness::Readiness;
pub use reload::{ConfigStatus, ReloadAsked, ReloadOutcome, Reloads};
pub use serve::serve;

use crate::authorizer::Current;
use crate::catalog::Catalog;
use crate::clock::Now;

/// What the admin port shows.
#[derive(Debug)]
pub struct Admin {
    /// Whether requests can be decided.
    pub readiness: Readiness,
    /// The metrics.
    pub registry: Registry,
    /// The catalog.
    pub catalog: Catalog,
    /// Who decides, and says why.
    pub current: Current,
    /// Has the configuration read again.
    pub reloads: Reloads,
    /// Whether only this machine reaches the port.
    pub is_loopback: bool,
}

/// The admin port's pages.
pub fn router(admin: Admin) -> Router {
    Router::new()
        .route("/live", get(|| async { "live\n" }))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .route("/status", get(status))
        .route("/catalog/refresh", post(catalog::refresh))
        .route("/catalog/confirm", post(catalog::confirm))
        .route("/v1/explain", post(explain::explain))
        .route("/reload", post(reload::reload))
        .with_state(Arc::new(admin))
}

/// 200 when requests can be decided, 503 with what is missing otherwise.
async fn ready(State(admin): State<Arc<Admin>>) -> Response {
    let pending = admin.readiness.pending(Now::read());
    let status = if pending.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    json_response(status, &json!({ "ready": pending.is_empty(), "pending": pending }))
}

async fn status(State(admin): State<Arc<Admin>>) -> Response {
    let mut status = admin.readiness.status(Now::read());
    if let Some(status) = status.as_object_mut() {
        let current = admin.current.load();
        status.insert("policies".to_owned(), policies::status(&current.authorizer().policy));
        status.insert("configuration".to_owned(), json!(admin.reloads.status()));
    }
    json_response(StatusCode::OK, &status)
}

async fn metrics(State(admin): State<Arc<Admin>>) -> Response {
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, &admin.registry) {
        Ok(()) => {
            let openmetrics = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, openmetrics)], text).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

fn json_response(status: StatusCode, body: &serde_json::Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], format!("{body}\n")).into_response()
}
