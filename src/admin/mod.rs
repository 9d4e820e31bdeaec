//! The admin port: liveness, readiness, metrics and status over HTTP.
//!
//! Nothing here tells a secret. Some calls change something: the catalog can be read again
//! now, what is held back of it be confirmed, the configuration be read again, and what is
//! logged be set. Two tell of callers: one explains decisions, one lists the latest denials.
//! All but the first of these are only for this machine, or for those who showed who they are.

mod access;
mod catalog;
mod denials;
mod explain;
mod liveness;
mod log_level;
mod origin;
mod page;
mod readiness;
mod reload;
mod serve;
pub mod status;
pub(crate) mod token;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use prometheus_client::registry::Registry;
use serde_json::json;

pub use access::Access;
pub use liveness::Liveness;
pub use readiness::{Readiness, Ready};
pub use reload::{ConfigStatus, ReloadAsked, ReloadOutcome, Reloads};
pub use serve::serve;
pub use status::Watched;
pub use token::{AdminToken, AdminTokenError};

use crate::authorizer::Current;
use crate::catalog::Catalog;
use crate::clock::Now;
use crate::telemetry::LogFilter;

/// What the admin port shows.
#[derive(Debug)]
pub struct Admin {
    /// Whether requests can be decided.
    pub readiness: Readiness,
    /// Whether the process can go on.
    pub liveness: Liveness,
    /// The metrics.
    pub registry: Arc<Registry>,
    /// The catalog.
    pub catalog: Catalog,
    /// What the status is about.
    pub watched: Watched,
    /// Who decides, and says why.
    pub current: Current,
    /// Has the configuration read again.
    pub reloads: Reloads,
    /// What is logged, where that can be changed.
    pub log: Option<LogFilter>,
    /// Who may ask.
    pub access: Access,
}

/// The admin port's pages.
pub fn router(admin: Admin) -> Router {
    let access = Arc::new(admin.access.clone());
    let admin = Arc::new(admin);
    // What probes and scrapers ask is asked under any name.
    let probes = Router::new()
        .route("/live", get(live))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics));
    Router::new()
        .route("/", get(|| async { Redirect::to("/status") }))
        .route("/status", get(status))
        .route("/catalog/refresh", post(catalog::refresh))
        .route("/catalog/confirm", post(catalog::confirm))
        .route("/v1/explain", post(explain::explain))
        .route("/reload", post(reload::reload))
        .route("/v1/denials", get(denials::denials))
        .route("/log-level", get(log_level::show).put(log_level::change))
        .route_layer(from_fn_with_state(Arc::clone(&admin), origin::no_other_name))
        .merge(probes)
        .with_state(admin)
        .layer(from_fn_with_state(access, access::judge))
}

/// 200 while the process can go on, 503 and why not where it is to be started anew.
async fn live(State(admin): State<Arc<Admin>>) -> Response {
    match admin.liveness.why_not(Now::read().instant) {
        None => "live\n".into_response(),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
    }
}

/// 200 when requests are to be sent here, 503 otherwise, with what is missing.
async fn ready(State(admin): State<Arc<Admin>>) -> Response {
    let Ready { is_ready, pending } = admin.readiness.ready(Now::read());
    let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    json_response(status, &json!({ "ready": is_ready, "pending": pending }))
}

/// The status as JSON, or the page that shows it, where a browser asks.
async fn status(State(admin): State<Arc<Admin>>, headers: HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    if accept.is_some_and(|accept| accept.contains("text/html")) {
        return page::page();
    }
    let status = admin.watched.status(&admin.readiness, Now::read());
    match serde_json::to_value(&status) {
        Ok(status) => {
            let headers = [(header::VARY, "accept"), (header::CACHE_CONTROL, "no-store")];
            (headers, json_response(StatusCode::OK, &status)).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
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
    let headers =
        [(header::CONTENT_TYPE, "application/json"), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")];
    (status, headers, format!("{body}\n")).into_response()
}
