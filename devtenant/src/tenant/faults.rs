//! What an endpoint does instead of answering, or to its answer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::Shared;
use crate::graph;

/// What a tenant answers at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// The discovery documents.
    Discovery,
    /// The key documents.
    Keys,
    /// The OAuth token endpoint.
    Token,
    /// Microsoft Graph.
    Graph,
    /// The token endpoints of managed identities.
    ManagedIdentity,
}

/// What an endpoint does instead of answering.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Answers this status; Graph with an error in its own form.
    Status(u16),
    /// Never answers.
    Hang,
    /// Answers bytes that are no JSON, as JSON.
    Garbage,
    /// Answers a page for people.
    Html,
    /// Answers an empty key set.
    EmptyKeys,
    /// Ends in the middle.
    Truncated,
    /// Answers more than anybody should read.
    Huge,
    /// Sends the client elsewhere.
    Redirect(String),
    /// Names another issuer.
    WrongIssuer,
    /// Answers 429, and when to come back.
    Throttle {
        /// Seconds, as in `Retry-After`.
        retry_after: u64,
    },
    /// Answers rightly, but so much later. Judged when it arrived.
    Slow(Duration),
}

/// The faults of a tenant. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Faults(Arc<Mutex<HashMap<Endpoint, Fault>>>);

impl Faults {
    /// From now on this endpoint does that.
    pub fn set(&self, endpoint: Endpoint, fault: Fault) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(endpoint, fault);
    }

    /// From now on everything works.
    pub fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn of(&self, endpoint: Endpoint) -> Option<Fault> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&endpoint).cloned()
    }
}

/// What is answered where nothing goes wrong.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: Vec<(HeaderName, String)>,
    pub(crate) document: Value,
}

impl Reply {
    pub(crate) fn new(status: StatusCode, document: Value) -> Self {
        Self { status, headers: Vec::new(), document }
    }

    pub(crate) fn ok(document: Value) -> Self {
        Self::new(StatusCode::OK, document)
    }

    fn send(self) -> Response {
        let text = self.document.to_string();
        self.with_text(text)
    }

    fn with_text(self, text: String) -> Response {
        let mut response =
            (self.status, [(header::CONTENT_TYPE, "application/json")], text).into_response();
        for (name, value) in self.headers {
            if let Ok(value) = value.parse() {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}

impl Shared {
    /// Counts the request, and answers it or does what is ordered instead. Nothing is
    /// judged, issued or used up where an answer isn't made.
    pub(crate) async fn answer(
        &self,
        endpoint: Endpoint,
        reply: impl FnOnce() -> Reply,
    ) -> Response {
        *self.state().requests.entry(endpoint).or_insert(0) += 1;
        let json =
            |text: String| ([(header::CONTENT_TYPE, "application/json")], text).into_response();
        match self.faults.of(endpoint) {
            None => reply().send(),
            Some(Fault::Status(status)) => {
                let status =
                    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                match endpoint {
                    Endpoint::Graph => graph::failure(status).send(),
                    _ => status.into_response(),
                }
            }
            Some(Fault::Hang) => std::future::pending().await,
            Some(Fault::Garbage) => json("}{".to_owned()),
            Some(Fault::Html) => {
                ([(header::CONTENT_TYPE, "text/html")], "<html>Sign in</html>").into_response()
            }
            Some(Fault::EmptyKeys) => json(json!({ "keys": [] }).to_string()),
            Some(Fault::Truncated) => {
                let reply = reply();
                let text = reply.document.to_string();
                let half: String = text.chars().take(text.len() / 2).collect();
                reply.with_text(half)
            }
            Some(Fault::Huge) => Response::builder()
                .header(header::CONTENT_TYPE, "application/json")
                .body(Body::from(vec![b' '; 8 * 1024 * 1024]))
                .unwrap_or_default(),
            Some(Fault::Redirect(to)) => {
                (StatusCode::FOUND, [(header::LOCATION, to)]).into_response()
            }
            Some(Fault::WrongIssuer) => {
                let mut reply = reply();
                if let Some(issuer) = reply.document.get_mut("issuer") {
                    *issuer = "https://other.example.com/".into();
                }
                reply.send()
            }
            Some(Fault::Throttle { retry_after }) => {
                let mut reply = graph::failure(StatusCode::TOO_MANY_REQUESTS);
                reply.headers.push((header::RETRY_AFTER, retry_after.to_string()));
                reply.send()
            }
            Some(Fault::Slow(late)) => {
                let reply = reply();
                tokio::time::sleep(late).await;
                reply.send()
            }
        }
    }
}
