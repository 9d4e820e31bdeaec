//! An object store, with as much of S3 as a few small objects need: reads, writes on a
//! condition, and faults. Who asks is not asked for.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use tokio::sync::watch;

use crate::serve::{Server, anywhere};

/// What it does instead of answering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Answers this status.
    Status(u16),
    /// Says nothing for as long as this is so.
    Hang,
    /// Answers rightly, but so much later.
    Slow(Duration),
    /// Answers a page for people, with 200.
    Html,
}

/// A running store; ends when dropped.
#[derive(Debug)]
pub struct Bucket {
    shared: Arc<Shared>,
    server: Server,
}

#[derive(Debug)]
struct Shared {
    /// By their paths.
    objects: Mutex<HashMap<String, Bytes>>,
    fault: watch::Sender<Option<Fault>>,
    requests: AtomicUsize,
}

impl Bucket {
    /// Starts an empty store on loopback. Every bucket is there.
    ///
    /// # Errors
    /// No address can be had.
    pub async fn start() -> Result<Self> {
        let shared = Arc::new(Shared {
            objects: Mutex::default(),
            fault: watch::Sender::new(None),
            requests: AtomicUsize::new(0),
        });
        let router = Router::new().fallback(object).with_state(Arc::clone(&shared));
        let server = Server::start(anywhere(), |_| router).await?;
        Ok(Self { shared, server })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.server.address
    }

    /// From now on it does that; nothing makes it work again.
    pub fn set_fault(&self, fault: Option<Fault>) {
        self.shared.fault.send_replace(fault);
    }

    /// How often it was asked for something.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.shared.requests.load(Ordering::SeqCst)
    }
}

async fn object(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    shared.requests.fetch_add(1, Ordering::SeqCst);
    let mut fault = shared.fault.subscribe();
    let now = *fault.borrow_and_update();
    match now {
        Some(Fault::Status(status)) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            return refusal(status, "ServiceUnavailable");
        }
        Some(Fault::Hang) => {
            // With the sender goes the store.
            let _ = fault.changed().await;
            return refusal(StatusCode::SERVICE_UNAVAILABLE, "SlowDown");
        }
        Some(Fault::Html) => {
            return ([(header::CONTENT_TYPE, "text/html")], "<html>Sign in</html>").into_response();
        }
        Some(Fault::Slow(late)) => tokio::time::sleep(late).await,
        None => {}
    }
    let mut objects = shared.objects.lock().unwrap_or_else(PoisonError::into_inner);
    let present = objects.get(uri.path()).cloned();
    match method {
        Method::GET => read(present, &headers),
        Method::PUT => {
            let tag = present.as_ref().map(|bytes| etag(bytes));
            let wants_none = said(&headers, header::IF_NONE_MATCH) == Some("*");
            let wanted = said(&headers, header::IF_MATCH);
            if (wants_none && tag.is_some()) || (wanted.is_some() && wanted != tag.as_deref()) {
                return refusal(StatusCode::PRECONDITION_FAILED, "PreconditionFailed");
            }
            let tag = etag(&body);
            objects.insert(uri.path().to_owned(), body);
            ([(header::ETAG, tag)], StatusCode::OK).into_response()
        }
        _ => refusal(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed"),
    }
}

/// The object, or as much of its beginning as is asked for.
fn read(present: Option<Bytes>, headers: &HeaderMap) -> Response {
    let Some(bytes) = present else { return refusal(StatusCode::NOT_FOUND, "NoSuchKey") };
    let tag = etag(&bytes);
    if said(headers, header::IF_NONE_MATCH) == Some(tag.as_str()) {
        return ([(header::ETAG, tag)], StatusCode::NOT_MODIFIED).into_response();
    }
    let last = said(headers, header::RANGE)
        .and_then(|range| range.strip_prefix("bytes=0-")?.parse::<usize>().ok());
    let Some(last) = last else { return ([(header::ETAG, tag)], bytes).into_response() };
    let size = bytes.len();
    let part = bytes.slice(..size.min(last.saturating_add(1)));
    if part.is_empty() {
        return refusal(StatusCode::RANGE_NOT_SATISFIABLE, "InvalidRange");
    }
    let range = format!("bytes 0-{}/{size}", part.len() - 1);
    (StatusCode::PARTIAL_CONTENT, [(header::ETAG, tag), (header::CONTENT_RANGE, range)], part)
        .into_response()
}

/// As S3 does it: from the content, and so no two writes of the same differ by it.
fn etag(bytes: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    format!("\"{:016x}\"", hasher.finish())
}

fn said(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn refusal(status: StatusCode, code: &str) -> Response {
    let body = format!("<?xml version=\"1.0\"?>\n<Error><Code>{code}</Code></Error>");
    (status, [(header::CONTENT_TYPE, "application/xml")], body).into_response()
}
