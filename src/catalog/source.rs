//! The catalog as the rest of the program holds it: the current snapshot, and its state.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::guard::{Guard, Held};
use super::origin::Moves;
use super::settings::CatalogSettings;
use super::snapshot::Snapshot;
use super::state::{CatalogState, CatalogStatus, RefreshError};
use crate::clock::Now;

/// A snapshot that missed so many refreshes is stale.
const STALE_AFTER: u32 = 3;

/// How often it is looked whether a snapshot is still asked for.
const RETIRE_INTERVAL: Duration = Duration::from_millis(100);

/// The catalog. Cheap to clone; every clone sees the same snapshot.
#[derive(Clone, Debug)]
pub struct Catalog {
    pub(super) shared: Arc<Shared>,
}

#[derive(Debug)]
pub(super) struct Shared {
    settings: ArcSwap<CatalogSettings>,
    published: ArcSwapOption<Published>,
    pub(super) wanted: Notify,
    observer: OnceLock<Arc<dyn Observe>>,
    /// Touched by the refresh and by operators, never by a request.
    pub(super) judgement: Mutex<Judgement>,
    held: ArcSwapOption<Held>,
    role: ArcSwapOption<&'static str>,
    tally: ArcSwap<Tally>,
    /// When the next regular refresh begins; nothing while one is under way.
    due: ArcSwapOption<Instant>,
}

/// What is remembered from crawl to crawl.
#[derive(Debug, Default)]
pub(super) struct Judgement {
    pub(super) moves: Moves,
    pub(super) guard: Guard,
}

#[derive(Debug)]
struct Published {
    snapshot: Arc<Snapshot>,
    /// When the crawl began: what it says was true then. Nothing if that was longer ago
    /// than the clock can tell.
    at: Option<Instant>,
}

#[derive(Clone, Debug, Default)]
struct Tally {
    refreshes: u64,
    failures: BTreeMap<&'static str, u64>,
    last_error: Option<RefreshError>,
}

/// A snapshot that takes another's place.
#[derive(Debug)]
pub struct Adopted<'a> {
    /// The one before, if there was one.
    pub before: Option<&'a Arc<Snapshot>>,
    /// The one from now on.
    pub after: &'a Arc<Snapshot>,
}

/// Is told of what becomes of the catalog, off the request's path and before requests see
/// it. What follows from a snapshot is made there.
pub trait Observe: fmt::Debug + Send + Sync {
    /// Another snapshot is adopted.
    fn adopting(&self, adopted: &Adopted<'_>);

    /// A snapshot is held back.
    fn holding(&self, held: &Held);
}

/// Why nothing was confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfirmError {
    /// Nothing is held back.
    #[error("nothing is held back")]
    Nothing,
    /// Something else is held back by now.
    #[error("something else is held back by now: look at the status again")]
    Other,
}

impl Catalog {
    /// A catalog without a snapshot.
    #[must_use]
    pub fn new(settings: CatalogSettings) -> Self {
        Self {
            shared: Arc::new(Shared {
                settings: ArcSwap::from_pointee(settings),
                published: ArcSwapOption::empty(),
                wanted: Notify::new(),
                observer: OnceLock::new(),
                judgement: Mutex::default(),
                held: ArcSwapOption::empty(),
                role: ArcSwapOption::empty(),
                tally: ArcSwap::default(),
                due: ArcSwapOption::empty(),
            }),
        }
    }

    /// Has somebody be told of what becomes of the catalog. There is one such; a second is
    /// not taken.
    pub fn observe(&self, observer: Arc<dyn Observe>) {
        let _ = self.shared.observer.set(observer);
    }

    /// What can be decided by now.
    #[must_use]
    pub fn current(&self, now: Now) -> CatalogState {
        let published = self.shared.published.load();
        let Some(published) = published.as_ref() else { return CatalogState::Initializing };
        let settings = self.shared.settings.load();
        match published.age(now) {
            Some(age) if age <= settings.max_age => {
                if age > settings.refresh_every * STALE_AFTER {
                    CatalogState::Stale(Arc::clone(&published.snapshot))
                } else {
                    CatalogState::Fresh(Arc::clone(&published.snapshot))
                }
            }
            _ => CatalogState::Expired,
        }
    }

    /// Takes a snapshot that was made at `now`.
    pub fn publish(&self, snapshot: impl Into<Arc<Snapshot>>, now: Now) {
        self.shared.publish_at(snapshot.into(), Some(now.instant));
    }

    /// What it is configured with now.
    #[must_use]
    pub fn settings(&self) -> Arc<CatalogSettings> {
        self.shared.settings()
    }

    /// Goes on by other settings, and reads the catalog again by them: whose word is believed
    /// makes a difference to a snapshot. Where entities come from, where snapshots are kept
    /// and where they are shared can't be changed in place: that stays as it is.
    pub fn configure(&self, settings: CatalogSettings) {
        let before = self.shared.settings();
        let settings = before.changed_in_place(settings);
        if settings != *before {
            self.shared.settings.store(Arc::new(settings));
            self.refresh_now();
        }
    }

    /// Has the catalog read again now.
    pub fn refresh_now(&self) {
        self.shared.wanted.notify_one();
    }

    /// The machine was suspended for so long, which the clock that ages are measured by leaves
    /// out: the snapshot is that much older, and the catalog is read again.
    pub fn suspended(&self, by: Duration) {
        self.shared.published.rcu(|published| {
            published.as_ref().map(|published| {
                let at = published.at.and_then(|at| at.checked_sub(by));
                Arc::new(Published { snapshot: Arc::clone(&published.snapshot), at })
            })
        });
        self.refresh_now();
    }

    /// Has what is held back be adopted, and the catalog be read again for it. The id says
    /// what an operator has seen.
    ///
    /// # Errors
    /// It is not this that is held back.
    pub fn confirm(&self, id: &str) -> Result<(), ConfirmError> {
        let held = self.shared.held.load();
        let Some(held) = held.as_ref() else { return Err(ConfirmError::Nothing) };
        if held.id != id {
            return Err(ConfirmError::Other);
        }
        {
            let mut judgement = self.shared.judgement();
            let adopt_after = self.shared.settings().guard.adopt_after;
            let waiting = judgement.moves.waiting(adopt_after);
            // What came meanwhile is not what was seen, and stays where it is.
            if waiting.is_some_and(|waiting| waiting.id == id) {
                judgement.moves.confirm();
            } else {
                judgement.guard.confirm(id);
            }
        }
        tracing::warn!(id, "what was held back is confirmed");
        self.refresh_now();
        Ok(())
    }

    /// What an operator sees.
    #[must_use]
    pub fn status(&self, now: Now) -> CatalogStatus {
        let published = self.shared.published.load();
        let snapshot = published.as_ref().map(|published| &published.snapshot);
        let (entities, groups, users) = snapshot.map_or((0, 0, 0), |snapshot| snapshot.counts());
        let tally = self.shared.tally.load();
        CatalogStatus {
            state: self.current(now),
            version: snapshot.map(|snapshot| Arc::clone(snapshot.version())),
            age: published.as_ref().and_then(|published| published.age(now)),
            entities,
            groups,
            users,
            findings: snapshot
                .map_or_else(BTreeMap::new, |snapshot| snapshot.all_findings().counts().clone()),
            held: self.shared.held.load().as_deref().cloned(),
            last_error: tally.last_error.clone(),
            refreshes: tally.refreshes,
            failures: tally.failures.clone(),
            role: self.shared.role.load().as_deref().copied(),
            next_refresh: self
                .shared
                .due
                .load()
                .as_deref()
                .map(|due| due.saturating_duration_since(now.instant)),
        }
    }

    /// The snapshot, however old it is. For those who look at it; nobody decides by it.
    #[must_use]
    pub fn snapshot(&self) -> Option<Arc<Snapshot>> {
        self.shared.snapshot()
    }
}

impl Published {
    fn age(&self, now: Now) -> Option<Duration> {
        Some(now.instant.saturating_duration_since(self.at?))
    }
}

impl Shared {
    pub(super) fn judgement(&self) -> std::sync::MutexGuard<'_, Judgement> {
        self.judgement.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn settings(&self) -> Arc<CatalogSettings> {
        self.settings.load_full()
    }

    pub(super) fn snapshot(&self) -> Option<Arc<Snapshot>> {
        self.published.load().as_ref().map(|published| Arc::clone(&published.snapshot))
    }

    /// The snapshot, if a crawl that began at that time or later found it.
    pub(super) fn current_since(&self, began: Now) -> Option<Arc<Snapshot>> {
        let published = self.published.load();
        let published = published.as_ref()?;
        let current = published.at.is_some_and(|at| at >= began.instant);
        current.then(|| Arc::clone(&published.snapshot))
    }

    /// Publishes a snapshot, as old as it says. One that says it is from the future is
    /// taken to be from now.
    pub(super) fn publish(&self, snapshot: Arc<Snapshot>, now: Now) {
        let age = u64::try_from(now.unix.saturating_sub(snapshot.crawled_at())).unwrap_or(0);
        self.publish_at(snapshot, now.instant.checked_sub(Duration::from_secs(age)));
    }

    fn publish_at(&self, snapshot: Arc<Snapshot>, at: Option<Instant>) {
        let before = self.published.load_full();
        let known = before.as_ref().map(|before| &before.snapshot);
        if known.is_none_or(|known| known.version() != snapshot.version()) {
            let (entities, groups, users) = snapshot.counts();
            tracing::info!(
                version = %snapshot.version(),
                entities,
                groups,
                users,
                findings = snapshot.all_findings().total(),
                "the catalog has changed"
            );
            if let Some(observer) = self.observer.get() {
                observer.adopting(&Adopted { before: known, after: &snapshot });
            }
        }
        self.held.store(None);
        self.published.store(Some(Arc::new(Published { snapshot, at })));
        self.tally.rcu(|tally| Tally { last_error: None, ..(**tally).clone() });
        if let Some(before) = before {
            retire(before);
        }
    }

    /// The last snapshot still holds.
    pub(super) fn confirm_current(&self, now: Now) {
        if let Some(published) = self.published.load_full() {
            let snapshot = Arc::clone(&published.snapshot);
            self.held.store(None);
            self.published.store(Some(Arc::new(Published { snapshot, at: Some(now.instant) })));
            self.tally.rcu(|tally| Tally { last_error: None, ..(**tally).clone() });
        }
    }

    /// A snapshot is held back.
    pub(super) fn hold(&self, held: Held) {
        tracing::warn!(
            id = held.id,
            what = %held,
            examples = held.examples.join("; "),
            "a snapshot is held back: the last one goes on; `stagedoor snapshot confirm` adopts it"
        );
        if let Some(observer) = self.observer.get() {
            observer.holding(&held);
        }
        self.held.store(Some(Arc::new(held)));
    }

    /// Some entities of the snapshot wait to count.
    pub(super) fn wait(&self, waiting: Option<Held>) {
        let before = self.held.swap(waiting.clone().map(Arc::new));
        let Some(waiting) = waiting else { return };
        if before.is_none_or(|before| before.id != waiting.id) {
            tracing::warn!(
                id = waiting.id,
                what = %waiting,
                examples = waiting.examples.join("; "),
                "entities came from elsewhere: what they were before goes on"
            );
            if let Some(observer) = self.observer.get() {
                observer.holding(&waiting);
            }
        }
    }

    /// What the replica does where snapshots are shared.
    pub(super) fn play(&self, role: &'static str) {
        let before = self.role.swap(Some(Arc::new(role)));
        if before.as_deref() != Some(&role) {
            tracing::info!(role, "sharing snapshots");
        }
    }

    /// Says when the next regular refresh begins.
    pub(super) fn due(&self, at: Option<Instant>) {
        self.due.store(at.map(Arc::new));
    }

    pub(super) fn attempted(&self) {
        let one_more = |tally: &Arc<Tally>| Tally {
            refreshes: tally.refreshes.saturating_add(1),
            ..(**tally).clone()
        };
        self.tally.rcu(one_more);
    }

    pub(super) fn failed(&self, error: RefreshError) {
        tracing::warn!(
            code = error.code,
            error = error.message,
            "the catalog could not be refreshed"
        );
        self.tally.rcu(|tally| {
            let mut tally = (**tally).clone();
            *tally.failures.entry(error.code).or_default() += 1;
            tally.last_error = Some(error.clone());
            tally
        });
    }
}

/// Frees a snapshot that nobody asks for any more. Half a million entities take their time,
/// which no request that held it last is to spend.
fn retire(before: Arc<Published>) {
    // Without a runtime there are no requests.
    let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
    runtime.spawn(async move {
        while Arc::strong_count(&before) > 1 || Arc::strong_count(&before.snapshot) > 1 {
            tokio::time::sleep(RETIRE_INTERVAL).await;
        }
        tokio::task::spawn_blocking(move || drop(before));
    });
}
