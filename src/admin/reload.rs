//! Having the configuration read again, and how that went.

use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use serde_json::json;
use tokio::sync::{mpsc, oneshot};

use super::access::Trusted;
use super::origin::not_by_a_page;
use super::{Admin, json_response};

/// Whoever waits is answered by the same reload; more than this are turned away.
const MAX_ASKING: usize = 64;

/// Asks for reloads of the configuration, and says how the last one went. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Reloads {
    asking: mpsc::Sender<Option<oneshot::Sender<ReloadOutcome>>>,
    status: Arc<ArcSwap<ConfigStatus>>,
}

/// Where what was asked for arrives; with whom to answer, if somebody waits.
pub type ReloadAsked = mpsc::Receiver<Option<oneshot::Sender<ReloadOutcome>>>;

/// What came of a reload.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ReloadOutcome {
    /// Whether what the file says is in force now.
    pub applied: bool,
    /// The version of the configuration that is in force now.
    pub version: Option<Arc<str>>,
    /// Every mistake, with its place.
    pub errors: Vec<String>,
    /// The settings that were changed and take effect at a start only, as they are written.
    pub needs_restart: Vec<String>,
}

/// The state of the configuration.
#[derive(Clone, Debug)]
pub struct ConfigStatus {
    /// The file, if it was read from one.
    pub file: Option<String>,
    /// The version in force: a hash of the file's text.
    pub version: Option<Arc<str>>,
    /// Since when.
    pub since: SystemTime,
    /// Reloads that were applied, since the start.
    pub reloads: u64,
    /// Reloads that were refused.
    pub refused: u64,
    /// Whether the last reload was applied, or none was refused yet.
    pub current: bool,
    /// Why the last reload was refused.
    pub errors: Vec<String>,
    /// The settings that it was refused for.
    pub needs_restart: Vec<String>,
}

impl Reloads {
    /// The one who asks, and the other end.
    #[must_use]
    pub fn new(file: Option<String>, version: Option<Arc<str>>) -> (Self, ReloadAsked) {
        let (asking, asked) = mpsc::channel(MAX_ASKING);
        let status = ConfigStatus {
            file,
            version,
            since: SystemTime::now(),
            reloads: 0,
            refused: 0,
            current: true,
            errors: Vec::new(),
            needs_restart: Vec::new(),
        };
        (Self { asking, status: Arc::new(ArcSwap::from_pointee(status)) }, asked)
    }

    /// Has the configuration read again, and waits for what comes of it: nothing where
    /// nobody reads it any more, or too many ask.
    pub async fn ask(&self) -> Option<ReloadOutcome> {
        let (answer, answered) = oneshot::channel();
        self.asking.try_send(Some(answer)).ok()?;
        answered.await.ok()
    }

    /// Has the configuration read again.
    pub fn order(&self) {
        // Where the queue is full a reload is about to begin.
        let _ = self.asking.try_send(None);
    }

    /// How the last reload went.
    #[must_use]
    pub fn status(&self) -> Arc<ConfigStatus> {
        self.status.load_full()
    }

    /// Takes down how a reload went. One that was tried again and refused as before, so that
    /// it `is_news` no more, doesn't count.
    pub fn went(&self, outcome: &ReloadOutcome, is_news: bool) {
        let before = self.status();
        let applied = outcome.applied;
        let changed = applied && before.version != outcome.version;
        self.status.store(Arc::new(ConfigStatus {
            file: before.file.clone(),
            version: outcome.version.clone(),
            since: if changed { SystemTime::now() } else { before.since },
            reloads: before.reloads + u64::from(applied),
            refused: before.refused + u64::from(!applied && is_news),
            current: applied,
            errors: outcome.errors.clone(),
            needs_restart: outcome.needs_restart.clone(),
        }));
    }
}

/// Reads the whole configuration again. 200 where it is in force, 409 where it was refused.
pub(super) async fn reload(
    _: Trusted,
    State(admin): State<Arc<Admin>>,
    headers: HeaderMap,
) -> Response {
    if let Err(answer) = not_by_a_page(&headers) {
        return answer.into_response();
    }
    match admin.reloads.ask().await {
        Some(outcome) => {
            let status = if outcome.applied { StatusCode::OK } else { StatusCode::CONFLICT };
            json_response(status, &json!(outcome))
        }
        None => (StatusCode::SERVICE_UNAVAILABLE, "nobody reloads now\n").into_response(),
    }
}
