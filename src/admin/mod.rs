//! The admin port: liveness, readiness, metrics and status over HTTP.
//!
//! Nothing here tells a secret. Two calls change something: the catalog can be read again
//! now, and what is held back of it be confirmed. One explains decisions. Both of the latter
//! are only for this machine, or for those who showed who they are.

mod access;
mod catalog;
mod explain;
mod policies;
mod readiness;
mod serve;
pub(crate) mod token;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use prometheus_client::registry::Registry;
use serde_json::json;

pub use access::Access;
pub use readiness::Readiness;
pub use serve::serve;
pub use token::{AdminToken, AdminTokenError};

use crate::authorizer::explain::Explainer;
use crate::catalog::Catalog;
use crate::clock::Now;
use crate::policy::Policies;

/// What the admin port shows.
#[derive(Debug)]
pub struct Admin {
    /// Whether requests can be decided.
    pub readiness: Readiness,
    /// The metrics.
    pub registry: Registry,
    /// The catalog.
    pub catalog: Catalog,
    /// The policies.
    pub policies: Policies,
    /// Says why.
    pub explainer: Explainer,
    /// Who may ask.
    pub access: Access,
}

/// The admin port's pages.
pub fn router(admin: Admin) -> Router {
    let access = Arc::new(admin.access.clone());
    Router::new()
        .route("/live", get(|| async { "live\n" }))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .route("/status", get(status))
        .route("/catalog/refresh", post(catalog::refresh))
        .route("/catalog/confirm", post(catalog::confirm))
        .route("/v1/explain", post(explain::explain))
        .with_state(Arc::new(admin))
        .layer(from_fn_with_state(access, access::judge))
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
        status.insert("policies".to_owned(), policies::status(&admin.policies));
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
