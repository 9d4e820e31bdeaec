//! A Backstage catalog API, as far as a crawl can tell the difference.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use axum::Router;
use axum::extract::{Query, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::generated::Generated;
use crate::serve::{Server, anywhere};

/// What a catalog begins with.
#[derive(Clone, Debug, Default)]
pub struct BackstageOptions {
    /// The token it asks for; nothing asks for none.
    pub token: Option<String>,
    /// Its entities.
    pub entities: Vec<Value>,
    /// Or so many made-up ones.
    pub generated: Option<Generated>,
}

/// What it does instead of answering.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Answers this status, as Backstage words it.
    Status(u16),
    /// Never answers.
    Hang,
    /// Answers 200 with nothing, as for a token that may read nothing.
    Empty,
    /// Ends in the middle.
    Truncated,
    /// Answers a page for people.
    Html,
    /// Fails on this page, counted from 1.
    Page(usize),
    /// Knows none of the cursors that it gave.
    Cursors,
    /// Lists each entity twice.
    Twice,
    /// Announces another number of entities with each page.
    Changing,
    /// Names every entity of its page in a form that none has.
    Malformed,
    /// Answers rightly, but so much later.
    Slow(Duration),
}

/// A running catalog; ends when dropped.
#[derive(Debug)]
pub struct Backstage {
    shared: Arc<Shared>,
    server: Server,
}

#[derive(Debug)]
struct Shared {
    token: Option<String>,
    generated: Option<Generated>,
    state: Mutex<Served>,
}

#[derive(Debug, Default)]
struct Served {
    entities: Vec<Value>,
    fault: Option<Fault>,
    requests: usize,
}

impl Backstage {
    /// Starts a catalog on loopback.
    ///
    /// # Errors
    /// No address can be had.
    pub async fn start(options: BackstageOptions) -> Result<Self> {
        let shared = Arc::new(Shared {
            token: options.token,
            generated: options.generated,
            state: Mutex::new(Served { entities: sorted(options.entities), ..Served::default() }),
        });
        let router = Router::new()
            .route("/api/catalog/entities/by-query", get(by_query))
            .with_state(Arc::clone(&shared));
        let server = Server::start(anywhere(), |_| router).await?;
        Ok(Self { shared, server })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.server.address
    }

    /// Its base address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.server.address)
    }

    /// Serves these entities from now on.
    pub fn set_entities(&self, entities: Vec<Value>) {
        self.shared.state().entities = sorted(entities);
    }

    /// From now on it does that; nothing makes it work again.
    pub fn set_fault(&self, fault: Option<Fault>) {
        self.shared.state().fault = fault;
    }

    /// How many pages were asked for.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.shared.state().requests
    }
}

impl Shared {
    fn state(&self) -> std::sync::MutexGuard<'_, Served> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// In the order of their uids, as Backstage pages them.
fn sorted(mut entities: Vec<Value>) -> Vec<Value> {
    entities.sort_by_key(uid);
    entities
}

fn uid(entity: &Value) -> String {
    entity.pointer("/metadata/uid").and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn error(status: StatusCode, name: &str, message: &str) -> Response {
    let body = json!({
        "error": { "name": name, "message": message },
        "request": { "method": "GET", "url": "/entities/by-query" },
        "response": { "statusCode": status.as_u16() },
    });
    (status, [(header::CONTENT_TYPE, "application/json; charset=utf-8")], body.to_string())
        .into_response()
}

fn ok(text: String) -> Response {
    ([(header::CONTENT_TYPE, "application/json; charset=utf-8")], text).into_response()
}

async fn by_query(
    State(shared): State<Arc<Shared>>,
    Query(query): Query<HashMap<String, String>>,
    RawQuery(raw): RawQuery,
    headers: HeaderMap,
) -> Response {
    let fault = {
        let mut state = shared.state();
        state.requests += 1;
        state.fault.clone()
    };
    match fault {
        Some(Fault::Hang) => return std::future::pending().await,
        // Before its routes are there, Backstage answers 404 without a body.
        Some(Fault::Status(404)) => return StatusCode::NOT_FOUND.into_response(),
        Some(Fault::Status(status)) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            return error(status, "ServiceUnavailableError", "Service has not started up yet");
        }
        Some(Fault::Empty) => {
            return ok(json!({ "items": [], "totalItems": 0, "pageInfo": {} }).to_string());
        }
        Some(Fault::Html) => {
            return ([(header::CONTENT_TYPE, "text/html")], "<html></html>").into_response();
        }
        Some(Fault::Slow(late)) => tokio::time::sleep(late).await,
        Some(
            Fault::Truncated
            | Fault::Page(_)
            | Fault::Cursors
            | Fault::Twice
            | Fault::Changing
            | Fault::Malformed,
        )
        | None => {}
    }
    if let Some(token) = &shared.token {
        let sent = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        match sent {
            None => {
                return error(
                    StatusCode::UNAUTHORIZED,
                    "AuthenticationError",
                    "Missing credentials",
                );
            }
            Some(sent) if *sent == format!("Bearer {token}") => {}
            Some(_) => {
                return error(StatusCode::UNAUTHORIZED, "AuthenticationError", "Illegal token");
            }
        }
    }
    let text = match &shared.generated {
        Some(generated) => generated.page(&query),
        None => match page(&shared, &query, raw.as_deref().unwrap_or_default(), fault.as_ref()) {
            Ok(text) => text,
            Err(refusal) => return *refusal,
        },
    };
    with_etag(text, &headers)
}

/// As Express does where fields were asked for: a weak ETag of the content.
fn with_etag(text: String, headers: &HeaderMap) -> Response {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    let etag = format!("W/\"{:x}-{:016x}\"", text.len(), hasher.finish());
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    if known == Some(etag.as_str()) {
        return StatusCode::NOT_MODIFIED.into_response();
    }
    ([(header::ETAG, etag)], ok(text)).into_response()
}

fn page(
    shared: &Shared,
    query: &HashMap<String, String>,
    raw: &str,
    fault: Option<&Fault>,
) -> Result<String, Box<Response>> {
    let cursor: Option<Value> = match query.get("cursor") {
        None => None,
        Some(text) => {
            let decoded = STANDARD.decode(text).ok();
            match decoded.and_then(|bytes| serde_json::from_slice(&bytes).ok()) {
                Some(cursor) => Some(cursor),
                None => {
                    let message = "Malformed cursor, could not be parsed";
                    return Err(error(StatusCode::BAD_REQUEST, "InputError", message).into());
                }
            }
        }
    };
    let number = cursor.as_ref().and_then(|cursor| cursor["page"].as_u64()).unwrap_or(1);
    if fault == Some(&Fault::Page(usize::try_from(number).unwrap_or(0))) {
        let message = "the database went away";
        return Err(error(StatusCode::INTERNAL_SERVER_ERROR, "Error", message).into());
    }
    if fault == Some(&Fault::Cursors) && cursor.is_some() {
        let message = "Malformed cursor, could not be parsed";
        return Err(error(StatusCode::BAD_REQUEST, "InputError", message).into());
    }
    // The filter is in the cursor from the second page on.
    let kinds: Vec<String> = match &cursor {
        Some(cursor) => serde_json::from_value(cursor["kinds"].clone()).unwrap_or_default(),
        None => raw
            .split('&')
            .filter_map(|pair| pair.strip_prefix("filter=kind%3D"))
            .map(str::to_lowercase)
            .collect(),
    };
    let entities = shared.state().entities.clone();
    let matching: Vec<&Value> = entities
        .iter()
        .filter(|entity| {
            let kind = entity["kind"].as_str().unwrap_or_default().to_lowercase();
            kinds.is_empty() || kinds.contains(&kind)
        })
        .collect();
    let after = cursor.as_ref().and_then(|cursor| cursor["after"].as_str().map(str::to_owned));
    // Frozen on the first page.
    let total = cursor
        .as_ref()
        .and_then(|cursor| cursor["totalItems"].as_u64())
        .unwrap_or(matching.len() as u64);
    let limit = query.get("limit").and_then(|limit| limit.parse().ok()).unwrap_or(200_usize);
    let rest: Vec<_> = matching
        .into_iter()
        .filter(|entity| after.as_ref().is_none_or(|after| uid(entity) > *after))
        .collect();
    let mut items: Vec<Value> =
        rest.iter().take(limit).map(|entity| project(entity, query.get("fields"))).collect();
    match fault {
        Some(Fault::Twice) => items.extend(items.clone()),
        Some(Fault::Malformed) => {
            for item in &mut items {
                item["metadata"] = json!({ "name": ["not", "a", "name"] });
            }
        }
        _ => {}
    }
    let announced = if fault == Some(&Fault::Changing) { total + number } else { total };
    let mut info = json!({});
    if rest.len() > limit && limit > 0 {
        let last = rest.get(limit - 1).map(|entity| uid(entity)).unwrap_or_default();
        let next =
            json!({ "after": last, "kinds": kinds, "totalItems": total, "page": number + 1 });
        info = json!({ "nextCursor": STANDARD.encode(next.to_string()) });
    }
    let text = json!({ "items": items, "totalItems": announced, "pageInfo": info }).to_string();
    if fault == Some(&Fault::Truncated) {
        return Ok(text.chars().take(text.len() / 2).collect());
    }
    Ok(text)
}

/// Only the asked-for fields; all without any.
fn project(entity: &Value, fields: Option<&String>) -> Value {
    let Some(fields) = fields else { return entity.clone() };
    let mut projected = json!({});
    for field in fields.split(',') {
        let pointer = format!("/{}", field.replace('.', "/"));
        if let Some(value) = entity.pointer(&pointer) {
            insert(&mut projected, field, value.clone());
        }
    }
    projected
}

fn insert(into: &mut Value, path: &str, value: Value) {
    match path.split_once('.') {
        None => into[path] = value,
        Some((first, rest)) => {
            if into.get(first).is_none() {
                into[first] = json!({});
            }
            if let Some(below) = into.get_mut(first) {
                insert(below, rest, value);
            }
        }
    }
}

/// A group as Backstage's Microsoft Graph provider makes it, bound to this Entra
/// group; from a file without one.
#[must_use]
pub fn group(name: &str, entra_id: Option<&str>, parent: Option<&str>) -> Value {
    let relations: Vec<_> = parent
        .map(|parent| json!({ "type": "childOf", "targetRef": format!("group:default/{parent}") }))
        .into_iter()
        .collect();
    let annotations = match entra_id {
        Some(id) => json!({
            "backstage.io/managed-by-location": format!("msgraph:default/{id}"),
            "graph.microsoft.com/group-id": id,
        }),
        None => from_file(),
    };
    entity("Group", name, annotations, json!({ "type": "team", "children": [] }), relations)
}

/// A component of this owner.
#[must_use]
pub fn component(name: &str, owner: &str) -> Value {
    let owned_by = json!({ "type": "ownedBy", "targetRef": format!("group:default/{owner}") });
    let spec = json!({ "type": "service", "lifecycle": "production", "owner": owner });
    entity("Component", name, from_file(), spec, vec![owned_by])
}

/// A user as Backstage's Microsoft Graph provider makes it.
#[must_use]
pub fn user(name: &str, oid: &str, member_of: &[&str]) -> Value {
    let relations = member_of
        .iter()
        .map(|group| json!({ "type": "memberOf", "targetRef": format!("group:default/{group}") }))
        .collect();
    let annotations = json!({
        "backstage.io/managed-by-location": format!("msgraph:default/{oid}"),
        "graph.microsoft.com/user-id": oid,
    });
    entity("User", name, annotations, json!({ "memberOf": member_of }), relations)
}

fn from_file() -> Value {
    json!({ "backstage.io/managed-by-location": "file:/srv/catalog.yaml" })
}

fn entity(kind: &str, name: &str, annotations: Value, spec: Value, relations: Vec<Value>) -> Value {
    json!({
        "apiVersion": "backstage.io/v1alpha1",
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": "default",
            "uid": Uuid::new_v4().to_string(),
            "annotations": annotations,
        },
        "spec": spec,
        "relations": relations,
    })
}
