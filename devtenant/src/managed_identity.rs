//! Where an Azure resource gets tokens without a credential: the instance metadata
//! service of virtual machines, and the token endpoint of App Service.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::get;
use serde_json::json;
use time::OffsetDateTime;

use crate::refusal::Refusal;
use crate::tenant::{Endpoint, Reply, Shared};

type Parameters = Query<HashMap<String, String>>;

/// The client of a token where the request names none: the system-assigned identity.
const SYSTEM_ASSIGNED: &str = "dddddddd-0000-0000-0000-000000000001";

pub(crate) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/metadata/identity/oauth2/token", get(virtual_machine))
        .route("/msi/token", get(app_service))
}

async fn virtual_machine(
    State(shared): State<Arc<Shared>>,
    Query(query): Parameters,
    headers: HeaderMap,
) -> Response {
    let reply = || {
        // What a server was tricked into asking has no such header.
        if !header(&headers, "metadata").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return refused(StatusCode::BAD_REQUEST, "Required metadata header not specified");
        }
        issue(&shared, &query, "2018-02-01").unwrap_or_else(|reply| reply)
    };
    shared.answer(Endpoint::ManagedIdentity, reply).await
}

async fn app_service(
    State(shared): State<Arc<Shared>>,
    Query(query): Parameters,
    headers: HeaderMap,
) -> Response {
    let reply = || {
        if header(&headers, "x-identity-header") != Some(&shared.identity_header) {
            return refused(StatusCode::UNAUTHORIZED, "The identity header is wrong");
        }
        issue(&shared, &query, "2019-08-01").unwrap_or_else(|reply| reply)
    };
    shared.answer(Endpoint::ManagedIdentity, reply).await
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// A token with all numbers as strings.
fn issue(shared: &Shared, query: &HashMap<String, String>, version: &str) -> Result<Reply, Reply> {
    if query.get("api-version").map(String::as_str) != Some(version) {
        let message = "The api-version is missing or not supported";
        return Err(refused(StatusCode::BAD_REQUEST, message));
    }
    let resource = query.get("resource").map(String::as_str).unwrap_or_default();
    if resource.is_empty() {
        return Err(refused(StatusCode::BAD_REQUEST, "The resource is missing"));
    }
    if !shared.is_graph(resource) {
        return Err(Refusal::resource(resource).reply());
    }
    let grant = shared.grants.issue();
    let now = OffsetDateTime::now_utc().unix_timestamp();
    let ends = now.saturating_add(i64::try_from(grant.seconds).unwrap_or(i64::MAX));
    let mut document = json!({
        "access_token": grant.token,
        "client_id": query.get("client_id").map_or(SYSTEM_ASSIGNED, String::as_str),
        "expires_on": ends.to_string(),
        "resource": resource,
        "token_type": "Bearer",
    });
    // App Service says when it ends, and no more.
    if let ("2018-02-01", Some(members)) = (version, document.as_object_mut()) {
        members.insert("expires_in".to_owned(), grant.seconds.to_string().into());
        members.insert("ext_expires_in".to_owned(), grant.seconds.to_string().into());
        members.insert("not_before".to_owned(), now.to_string().into());
    }
    Ok(Reply::ok(document))
}

fn refused(status: StatusCode, message: &str) -> Reply {
    Reply::new(status, json!({ "error": "invalid_request", "error_description": message }))
}
