//! A service that says what it received, to stand behind Envoy.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::serve::{Server, anywhere};

/// A running service; ends when dropped.
#[derive(Debug)]
pub struct Echo {
    seen: Arc<Seen>,
    server: Server,
}

#[derive(Debug, Default)]
struct Seen {
    count: AtomicUsize,
    callers: Mutex<HashMap<String, usize>>,
    last: Mutex<Option<Value>>,
}

impl Echo {
    /// Starts a service on loopback.
    ///
    /// # Errors
    /// No address can be had.
    pub async fn start() -> Result<Self> {
        Self::start_on(anywhere()).await
    }

    /// Starts a service on this address.
    ///
    /// # Errors
    /// The address can't be had.
    pub async fn start_on(address: SocketAddr) -> Result<Self> {
        let seen = Arc::new(Seen::default());
        let router = Router::new().fallback(echo).with_state(Arc::clone(&seen));
        let server = Server::start(address, |_| router).await?;
        Ok(Self { seen, server })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.server.address
    }

    /// How many requests it has received.
    #[must_use]
    pub fn count(&self) -> usize {
        self.seen.count.load(Ordering::SeqCst)
    }

    /// How many requests it has received that call themselves so, in `x-caller`.
    #[must_use]
    pub fn count_of(&self, caller: &str) -> usize {
        let callers = self.seen.callers.lock().unwrap_or_else(PoisonError::into_inner);
        callers.get(caller).copied().unwrap_or(0)
    }

    /// What it answered last.
    #[must_use]
    pub fn last(&self) -> Option<Value> {
        self.seen.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn echo(State(seen): State<Arc<Seen>>, request: Request) -> Response {
    seen.count.fetch_add(1, Ordering::SeqCst);
    if let Some(caller) = request.headers().get("x-caller").and_then(|name| name.to_str().ok()) {
        let mut callers = seen.callers.lock().unwrap_or_else(PoisonError::into_inner);
        *callers.entry(caller.to_owned()).or_default() += 1;
    }
    let headers: Vec<_> = request
        .headers()
        .iter()
        .map(|(name, value)| json!([name.as_str(), String::from_utf8_lossy(value.as_bytes())]))
        .collect();
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let uri = request.uri();
    let answer = json!({
        "method": request.method().as_str(),
        "host": host.or_else(|| uri.authority().map(|authority| authority.as_str())),
        "path": uri.path_and_query().map_or(uri.path(), |path| path.as_str()),
        "headers": headers,
    });
    *seen.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer.clone());
    let grpc = request
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"));
    if grpc {
        // An answer of headers alone, as gRPC allows it.
        return (
            [
                (header::CONTENT_TYPE, "application/grpc"),
                (header::HeaderName::from_static("grpc-status"), "0"),
            ],
            "",
        )
            .into_response();
    }
    ([(header::CONTENT_TYPE, "application/json")], format!("{answer}\n")).into_response()
}
