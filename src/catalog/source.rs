//! The current snapshot, and how it stays current.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use rand::RngExt as _;
use rand::rngs::SmallRng;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::backstage::{self, CrawlError};
use super::compile::CompileError;
use super::folder::{self, FolderError};
use super::settings::{CatalogSettings, SourceSettings};
use super::snapshot::Snapshot;
use crate::clock::Now;
use crate::fetch::Fetch;

const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(30);

/// The catalog. Cheap to clone; every clone sees the same snapshot.
#[derive(Clone, Debug)]
pub struct Catalog {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    settings: CatalogSettings,
    published: ArcSwapOption<Published>,
    last_error: ArcSwap<Option<String>>,
    wanted: Notify,
}

#[derive(Debug)]
struct Published {
    snapshot: Arc<Snapshot>,
    /// When the crawl began: what it says was true then.
    at: Instant,
}

/// What can be decided by.
#[derive(Clone, Debug)]
pub enum CatalogState {
    /// No snapshot was ever made.
    Initializing,
    /// Refreshed in time.
    Fresh(Arc<Snapshot>),
    /// The last refreshes failed; it is used on.
    Stale(Arc<Snapshot>),
    /// Too old to decide by.
    Expired,
}

impl CatalogState {
    /// Whether ownership can be decided by it.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        matches!(self, Self::Fresh(_) | Self::Stale(_))
    }
}

impl fmt::Display for CatalogState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Initializing => "initializing",
            Self::Fresh(_) => "fresh",
            Self::Stale(_) => "stale",
            Self::Expired => "expired",
        })
    }
}

/// What an operator sees of the catalog.
#[derive(Clone, Debug)]
pub struct CatalogStatus {
    /// How usable it is.
    pub state: CatalogState,
    /// The snapshot's version.
    pub version: Option<Arc<str>>,
    /// Since its crawl began.
    pub age: Option<Duration>,
    /// Entities that can be asked for.
    pub entities: usize,
    /// Groups.
    pub groups: usize,
    /// Users.
    pub users: usize,
    /// What was not believed.
    pub findings: usize,
    /// Why the last refresh failed, if it did.
    pub last_error: Option<String>,
}

/// Why there is no new snapshot.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// The crawl.
    #[error(transparent)]
    Crawl(#[from] CrawlError),
    /// The folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// What came can't be decided by.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// Reading the folder panicked.
    #[error("the folder could not be read: {0}")]
    Join(#[from] tokio::task::JoinError),
}

/// Makes a snapshot of a folder.
///
/// # Errors
/// A file that can't be read, or a folder that makes no snapshot.
pub fn load_folder(folder: &Path) -> Result<Snapshot, CatalogError> {
    Ok(folder::read(folder)?.compile()?)
}

/// Makes a snapshot of whatever is configured.
///
/// # Errors
/// The crawl or the folder, or what came can't be decided by.
pub async fn load_once<F: Fetch>(
    settings: &CatalogSettings,
    fetch: &F,
) -> Result<Snapshot, CatalogError> {
    match &settings.source {
        SourceSettings::Folder(folder) => {
            let folder = folder.clone();
            tokio::task::spawn_blocking(move || load_folder(&folder)).await?
        }
        SourceSettings::Backstage(backstage) => {
            // Entities that came or went in between: once more.
            let draft = match backstage::crawl(backstage, fetch).await {
                Err(CrawlError::Inconsistent { .. } | CrawlError::Repeated(_)) => {
                    backstage::crawl(backstage, fetch).await?
                }
                other => other?,
            };
            Ok(tokio::task::spawn_blocking(move || draft.compile()).await??)
        }
    }
}

impl Catalog {
    /// A catalog without a snapshot.
    #[must_use]
    pub fn new(settings: CatalogSettings) -> Self {
        Self {
            shared: Arc::new(Shared {
                settings,
                published: ArcSwapOption::empty(),
                last_error: ArcSwap::from_pointee(None),
                wanted: Notify::new(),
            }),
        }
    }

    /// What can be decided by now.
    #[must_use]
    pub fn current(&self, now: Now) -> CatalogState {
        match self.shared.published.load().as_ref() {
            None => CatalogState::Initializing,
            Some(published) => {
                let age = now.instant.saturating_duration_since(published.at);
                if age > self.shared.settings.max_age {
                    CatalogState::Expired
                } else if age > self.shared.settings.refresh_every * 3 {
                    CatalogState::Stale(Arc::clone(&published.snapshot))
                } else {
                    CatalogState::Fresh(Arc::clone(&published.snapshot))
                }
            }
        }
    }

    /// Takes a snapshot that was made at `now`.
    pub fn publish(&self, snapshot: Snapshot, now: Now) {
        self.shared.publish(snapshot, now.instant);
    }

    /// Has the catalog read again now.
    pub fn refresh_now(&self) {
        self.shared.wanted.notify_one();
    }

    /// Keeps the snapshot current until `stop` becomes true.
    pub async fn run<F: Fetch>(&self, fetch: Arc<F>, mut stop: watch::Receiver<bool>) {
        let mut rng = rand::make_rng::<SmallRng>();
        let mut retry = FIRST_RETRY;
        loop {
            let at = Instant::now();
            let outcome = tokio::select! {
                outcome = load_once(&self.shared.settings, &*fetch) => outcome,
                _ = stop.wait_for(|stop| *stop) => return,
            };
            let refresh_every = self.shared.settings.refresh_every;
            let pause = match outcome {
                Ok(snapshot) => {
                    self.shared.publish(snapshot, at);
                    retry = FIRST_RETRY;
                    refresh_every.mul_f64(rng.random_range(0.9..=1.0))
                }
                Err(error) => {
                    tracing::warn!(%error, "the catalog could not be refreshed");
                    self.shared.last_error.store(Arc::new(Some(error.to_string())));
                    let pause = retry.mul_f64(rng.random_range(0.5..=1.0)).min(refresh_every);
                    retry = (retry * 2).min(LAST_RETRY);
                    pause
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.shared.wanted.notified() => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
        }
    }

    /// What an operator sees.
    #[must_use]
    pub fn status(&self, now: Now) -> CatalogStatus {
        let published = self.shared.published.load();
        let snapshot = published.as_ref().map(|published| &published.snapshot);
        let (entities, groups, users) = snapshot.map_or((0, 0, 0), |snapshot| snapshot.counts());
        CatalogStatus {
            state: self.current(now),
            version: snapshot.map(|snapshot| Arc::clone(snapshot.version())),
            age: published
                .as_ref()
                .map(|published| now.instant.saturating_duration_since(published.at)),
            entities,
            groups,
            users,
            findings: snapshot.map_or(0, |snapshot| snapshot.findings().len()),
            last_error: (**self.shared.last_error.load()).clone(),
        }
    }
}

impl Shared {
    fn publish(&self, snapshot: Snapshot, at: Instant) {
        let before = self.published.load_full();
        let changed = before.is_none_or(|before| before.snapshot.version() != snapshot.version());
        if changed {
            let (entities, groups, users) = snapshot.counts();
            tracing::info!(
                version = %snapshot.version(),
                entities,
                groups,
                users,
                findings = snapshot.findings().len(),
                "the catalog has changed"
            );
        }
        self.published.store(Some(Arc::new(Published { snapshot: Arc::new(snapshot), at })));
        self.last_error.store(Arc::new(None));
    }
}
