//! Microsoft Graph, as far as it tells groups and lists the organization.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::Response;
use axum::routing::any;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::organization;
use crate::people::Kind;
use crate::tenant::{Endpoint, Reply, Shared};

/// At most so many groups are checked at once.
const CHECKED_AT_ONCE: usize = 20;

/// A request that arrived at Graph.
#[derive(Clone, Debug, PartialEq)]
pub struct GraphCall {
    /// Its method.
    pub method: String,
    /// What follows the address of Graph, with the query if there is one:
    /// `/v1.0/users/…`.
    pub path: String,
    /// Its body; null where that is no JSON.
    pub body: Value,
}

pub(crate) fn routes() -> Router<Arc<Shared>> {
    Router::new().route("/graph", any(graph)).route("/graph/{*path}", any(graph))
}

async fn graph(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let whole = uri.path_and_query().map_or(uri.path(), |path| path.as_str());
    let call = GraphCall {
        method: method.to_string(),
        path: whole.strip_prefix("/graph").unwrap_or(whole).to_owned(),
        body: serde_json::from_slice(&body).unwrap_or_default(),
    };
    shared.state().graph_calls.push(call.clone());
    let reply = || {
        let token = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.strip_prefix("Bearer "));
        match token {
            None => unauthorized("Access token is empty."),
            Some(token) if !shared.grants.valid(token) => {
                unauthorized("Lifetime validation failed, the token is expired.")
            }
            Some(_) => judge(&shared, &call, &uri).unwrap_or_else(|reply| reply),
        }
    };
    shared.answer(Endpoint::Graph, reply).await
}

/// The answer to a caller with a token, or why there is none.
fn judge(shared: &Shared, call: &GraphCall, uri: &Uri) -> Result<Reply, Reply> {
    let path = uri.path().strip_prefix("/graph/v1.0/").unwrap_or_default();
    let parts: Vec<&str> = path.trim_end_matches('/').split('/').collect();
    if call.method == "GET"
        && let Some(reply) = organization::reply(shared, &parts, uri)
    {
        return reply;
    }
    let [collection, oid, action] = parts.as_slice() else {
        return Err(bad_request("Resource not found for the segment."));
    };
    let kind = match *collection {
        "users" => Kind::User,
        "servicePrincipals" => Kind::Workload,
        other => {
            return Err(bad_request(&format!("Resource not found for the segment '{other}'.")));
        }
    };
    let groups = || {
        let missing = format!("Resource '{oid}' does not exist.");
        let groups = shared.directory.groups(kind, oid);
        groups.ok_or_else(|| error(StatusCode::NOT_FOUND, "Request_ResourceNotFound", &missing))
    };
    match (call.method.as_str(), *action) {
        ("POST", "getMemberObjects" | "getMemberGroups") => {
            if !call.body.get("securityEnabledOnly").is_some_and(Value::is_boolean) {
                return Err(bad_request("The parameter 'securityEnabledOnly' is required."));
            }
            Ok(page(shared, &groups()?, path, 0))
        }
        ("GET", "getMemberObjects" | "getMemberGroups") => {
            let offset = skipped(shared, uri)?;
            Ok(page(shared, &groups()?, path, offset))
        }
        ("POST", "checkMemberGroups") => {
            let asked = asked(&call.body)?;
            let groups = groups()?;
            let mut applying = asked;
            applying.retain(|asked| groups.iter().any(|group| group.eq_ignore_ascii_case(asked)));
            Ok(collection_of(shared, &applying, None))
        }
        (_, other) => Err(bad_request(&format!("Resource not found for the segment '{other}'."))),
    }
}

/// The groups from this one on, as many as are given at once.
fn page(shared: &Shared, groups: &[String], path: &str, offset: usize) -> Reply {
    let size = shared.directory.groups_at_once();
    let value: Vec<_> = groups.iter().skip(offset).take(size).cloned().collect();
    let after = offset.saturating_add(size);
    let own = (after < groups.len())
        .then(|| format!("{}/v1.0/{path}?$skiptoken={after}", shared.graph_url()));
    collection_of(shared, &value, shared.directory.forged_next_link().or(own))
}

/// Where the page begins that a link leads to.
fn skipped(shared: &Shared, uri: &Uri) -> Result<usize, Reply> {
    let query = Query::<HashMap<String, String>>::try_from_uri(uri).map(|query| query.0);
    let token = query.ok().and_then(|query| query.get("$skiptoken")?.parse().ok());
    match token {
        Some(offset) => Ok(offset),
        // A forged link may lead in circles.
        None if shared.directory.forged_next_link().is_some() => Ok(0),
        None => Err(bad_request("The skip token is missing or malformed.")),
    }
}

/// The groups to be checked.
fn asked(body: &Value) -> Result<Vec<String>, Reply> {
    let ids = body.get("groupIds").and_then(Value::as_array);
    let ids = ids.ok_or_else(|| bad_request("The parameter 'groupIds' is required."))?;
    if ids.is_empty() || ids.len() > CHECKED_AT_ONCE {
        return Err(bad_request("The number of values in 'groupIds' must be 1 to 20."));
    }
    let ids: Option<Vec<_>> = ids.iter().map(|id| id.as_str().map(str::to_owned)).collect();
    ids.ok_or_else(|| bad_request("The values in 'groupIds' must be strings."))
}

fn collection_of(shared: &Shared, value: &[String], next: Option<String>) -> Reply {
    let context = format!("{}/v1.0/$metadata#Collection(Edm.String)", shared.graph_url());
    let mut document = json!({ "@odata.context": context, "value": value });
    if let (Some(next), Some(members)) = (next, document.as_object_mut()) {
        members.insert("@odata.nextLink".to_owned(), next.into());
    }
    Reply::ok(document)
}

fn unauthorized(message: &str) -> Reply {
    let mut reply = error(StatusCode::UNAUTHORIZED, "InvalidAuthenticationToken", message);
    let challenge = r#"Bearer realm="", error="invalid_token""#;
    reply.headers.push((header::WWW_AUTHENTICATE, challenge.to_owned()));
    reply
}

pub(crate) fn bad_request(message: &str) -> Reply {
    error(StatusCode::BAD_REQUEST, "Request_BadRequest", message)
}

/// What Graph says where it fails with this status.
pub(crate) fn failure(status: StatusCode) -> Reply {
    let (code, message) = match status.as_u16() {
        400 => ("Request_BadRequest", "The request is malformed."),
        401 => ("InvalidAuthenticationToken", "Access token validation failure."),
        403 => {
            ("Authorization_RequestDenied", "Insufficient privileges to complete the operation.")
        }
        404 => ("Request_ResourceNotFound", "The resource does not exist."),
        429 => ("TooManyRequests", "Too many requests."),
        503 => ("ServiceUnavailable", "The service is temporarily unavailable."),
        504 => ("GatewayTimeout", "The service did not answer in time."),
        _ => ("InternalServerError", "An error occurred."),
    };
    error(status, code, message)
}

pub(crate) fn error(status: StatusCode, code: &str, message: &str) -> Reply {
    let inner = json!({
        "date": crate::refusal::timestamp(),
        "request-id": Uuid::new_v4().to_string(),
        "client-request-id": Uuid::new_v4().to_string(),
    });
    let error = json!({ "code": code, "message": message, "innerError": inner });
    Reply::new(status, json!({ "error": error }))
}
