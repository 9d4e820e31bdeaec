//! Keeping the snapshot current.

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::SmallRng;
use tokio::sync::watch;
use tokio::time::Instant;

use super::backstage::Memory;
use super::compile::{Terms, compile};
use super::draft::Draft;
use super::guard::Held;
use super::load::{CatalogError, draft};
use super::settings::CatalogSettings;
use super::sharing::Sharing;
use super::snapshot::Snapshot;
use super::source::{Catalog, Judgement, Shared};
use super::state::RefreshError;
use super::store::{Store, StoreError};
use crate::clock::Now;
use crate::fetch::Exchange;

const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(30);
/// However often somebody asks for it, crawls begin no closer together.
const CLOSEST: Duration = Duration::from_secs(1);

impl Catalog {
    /// Keeps the snapshot current until `stop` becomes true.
    pub async fn run<F: Exchange>(&self, exchange: Arc<F>, mut stop: watch::Receiver<bool>) {
        let mut rng = rand::make_rng::<SmallRng>();
        let settings = self.shared.settings();
        let mut refresh = Refresh {
            shared: Arc::clone(&self.shared),
            store: settings.store.as_deref().map(Store::new),
            memory: Memory::default(),
            settings: Arc::clone(&settings),
        };
        refresh.start_from_disk().await;
        let kept = self.shared.snapshot().map(|snapshot| snapshot.crawled_at());
        let sharing = settings.shared.as_ref().map(|shared| Sharing::start(shared, kept));
        let mut sharing = match sharing.transpose() {
            Ok(sharing) => sharing,
            Err(error) => {
                // The configuration was checked with it. Crawling alone would be safe, but
                // not what was asked for.
                self.shared.failed(error);
                _ = stop.wait_for(|stop| *stop).await;
                return;
            }
        };
        let mut retry = FIRST_RETRY;
        loop {
            self.shared.due(None);
            let began = Instant::now();
            let refresh_every = refresh.settings().refresh_every;
            let turn = async {
                match &mut sharing {
                    None => refresh.turn(&*exchange).await.map(|()| refresh_every),
                    Some(sharing) => refresh.shared_turn(sharing, &*exchange).await,
                }
            };
            let outcome = tokio::select! {
                outcome = turn => outcome,
                _ = stop.wait_for(|stop| *stop) => break,
            };
            let pause = match outcome {
                Ok(pause) => {
                    retry = FIRST_RETRY;
                    pause.mul_f64(rng.random_range(0.9..=1.0))
                }
                Err(error) => {
                    self.shared.failed(error);
                    let pause = retry.mul_f64(rng.random_range(0.5..=1.0)).min(refresh_every);
                    retry = (retry * 2).min(LAST_RETRY);
                    pause
                }
            };
            self.shared.due(Instant::now().checked_add(pause));
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = async {
                    self.shared.wanted.notified().await;
                    tokio::time::sleep_until(began + CLOSEST).await;
                } => {}
                () = elected(&mut sharing) => {}
                _ = stop.wait_for(|stop| *stop) => break,
            }
        }
        if let Some(sharing) = sharing {
            sharing.stop().await;
        }
    }
}

/// Completes when this replica is the one to crawl and was not.
async fn elected(sharing: &mut Option<Sharing>) {
    match sharing {
        Some(sharing) => sharing.elected().await,
        None => std::future::pending().await,
    }
}

/// What the refresh holds from turn to turn.
struct Refresh {
    shared: Arc<Shared>,
    store: Option<Store>,
    memory: Memory,
    /// By which the last turn was taken.
    settings: Arc<CatalogSettings>,
}

impl Refresh {
    /// The settings as they are now. Under others than those of the last turn the very same
    /// pages make for another snapshot.
    fn settings(&mut self) -> Arc<CatalogSettings> {
        let now = self.shared.settings();
        if !Arc::ptr_eq(&now, &self.settings) {
            self.memory.forget();
            self.settings = Arc::clone(&now);
        }
        now
    }

    /// Decides by the last run's snapshot, if it is young enough, until there is a new one.
    async fn start_from_disk(&mut self) {
        let Some(store) = self.store.clone() else { return };
        let loaded = tokio::task::spawn_blocking(move || store.load()).await;
        let now = Now::read();
        let max_age = self.settings().max_age;
        match loaded {
            Ok(Ok(Some(snapshot))) => {
                let age = now.unix.saturating_sub(snapshot.crawled_at());
                let young = u64::try_from(age).is_ok_and(|age| age <= max_age.as_secs());
                if young {
                    tracing::info!(version = %snapshot.version(), age, "starting from the store");
                    self.publish(Arc::new(snapshot), now).await;
                } else {
                    let message = format!(
                        "the stored snapshot is {age} s old, and `max_age` is {} s",
                        max_age.as_secs()
                    );
                    self.shared.failed(RefreshError { code: "store", message });
                }
            }
            Ok(Ok(None)) => {}
            Ok(Err(error)) => self.store_failed(&error),
            Err(error) => {
                let message = error.to_string();
                self.shared.failed(RefreshError { code: "internal", message });
            }
        }
    }

    /// One refresh.
    async fn turn<F: Exchange>(&mut self, exchange: &F) -> Result<(), RefreshError> {
        self.shared.attempted();
        let now = Now::read();
        let settings = self.settings();
        let draft = draft(&settings, exchange, &mut self.memory, &|_| {}).await;
        let Some(draft) = draft.inspect_err(|_| self.memory.forget())? else {
            self.shared.confirm_current(now);
            self.touch(now).await;
            return Ok(());
        };
        let shared = Arc::clone(&self.shared);
        let judged = tokio::task::spawn_blocking(move || judge(&shared, &settings, draft, now));
        let judged = judged.await.map_err(CatalogError::from).and_then(|judged| judged);
        let judged = judged.inspect_err(|_| self.memory.forget())?;
        self.adopt(judged, now).await;
        Ok(())
    }

    /// One refresh where snapshots are shared: the one that leads crawls and publishes, the
    /// others read. Says how long to pause.
    async fn shared_turn<F: Exchange>(
        &mut self,
        sharing: &mut Sharing,
        exchange: &F,
    ) -> Result<Duration, RefreshError> {
        let (refresh_every, poll_every) = (self.settings().refresh_every, sharing.poll_every());
        let leading = sharing.lease().is_some();
        self.shared.play(if leading { "publisher" } else { "follower" });
        // Also before the first crawl of one that leads: what the last one published is
        // what the crawl is judged by.
        let polled = match sharing.poll().await {
            // What is damaged there, whoever leads makes anew; not what is of a version to come.
            Err(error) if leading => {
                self.shared.failed(error);
                None
            }
            polled => polled?,
        };
        if let Some(snapshot) = polled {
            let now = Now::read();
            let snapshot = Arc::new(snapshot);
            // What this replica crawled last is not what is decided by any more.
            self.memory.forget();
            self.publish(Arc::clone(&snapshot), now).await;
            self.save(snapshot).await;
        }
        if !leading {
            self.memory.forget();
            return Ok(poll_every);
        }
        let began = Now::read();
        self.turn(exchange).await?;
        // What is held back is not published either: it is not current.
        if let Some(snapshot) = self.shared.current_since(began) {
            sharing.publish(&snapshot, began.unix).await?;
        }
        Ok(refresh_every)
    }

    async fn adopt(&mut self, judged: Judged, now: Now) {
        match judged {
            Judged::Held(held) => {
                // What is held is judged anew each time.
                self.memory.forget();
                self.shared.hold(held);
            }
            Judged::Same(waiting) => {
                self.shared.confirm_current(now);
                self.wait(waiting);
                self.touch(now).await;
            }
            Judged::Another(snapshot, waiting) => {
                self.publish(Arc::clone(&snapshot), now).await;
                self.wait(waiting);
                self.save(snapshot).await;
            }
        }
    }

    /// Off the runtime's threads, which answer requests: what follows from a snapshot is
    /// made before they see it.
    async fn publish(&mut self, snapshot: Arc<Snapshot>, now: Now) {
        let shared = Arc::clone(&self.shared);
        let published = tokio::task::spawn_blocking(move || shared.publish(snapshot, now)).await;
        if let Err(error) = published {
            // It was not taken: what a page is the same as must not be said to be current.
            self.memory.forget();
            let message = error.to_string();
            self.shared.failed(RefreshError { code: "internal", message });
        }
    }

    fn wait(&mut self, waiting: Option<Held>) {
        if waiting.is_some() {
            self.memory.forget();
        }
        self.shared.wait(waiting);
    }

    async fn save(&self, snapshot: Arc<Snapshot>) {
        self.write(move |store| store.save(&snapshot)).await;
    }

    async fn touch(&self, now: Now) {
        let Some(snapshot) = self.shared.snapshot() else { return };
        self.write(move |store| store.touch(snapshot.version(), now.unix)).await;
    }

    async fn write(&self, write: impl FnOnce(&Store) -> Result<(), StoreError> + Send + 'static) {
        let Some(store) = self.store.clone() else { return };
        if let Ok(Err(error)) = tokio::task::spawn_blocking(move || write(&store)).await {
            self.store_failed(&error);
        }
    }

    /// Only the next start suffers from it.
    fn store_failed(&self, error: &StoreError) {
        self.shared.failed(RefreshError { code: "store", message: error.to_string() });
    }
}

/// What becomes of a crawl.
enum Judged {
    /// It loses too much.
    Held(Held),
    /// It is what is known, but for what waits.
    Same(Option<Held>),
    /// It takes the last one's place; some of it may still wait.
    Another(Arc<Snapshot>, Option<Held>),
}

fn judge(
    shared: &Shared,
    settings: &CatalogSettings,
    draft: Draft,
    now: Now,
) -> Result<Judged, CatalogError> {
    let before = shared.snapshot();
    let guard = &settings.guard;
    let mut judgement = shared.judgement();
    let Judgement { moves, guard: judge } = &mut *judgement;
    let terms = Terms {
        crawled_at: now.unix,
        before: before.as_deref(),
        moves,
        adopt_after: guard.adopt_after,
        roots_grant: settings.root_groups_grant,
    };
    let after = compile(draft, terms)?;
    let waiting = moves.waiting(guard.adopt_after);
    let Some(before) = before else { return Ok(Judged::Another(Arc::new(after), waiting)) };
    if let Some(held) = judge.judge(&before, &after, guard) {
        return Ok(Judged::Held(held));
    }
    if before.says_the_same(&after) {
        return Ok(Judged::Same(waiting));
    }
    Ok(Judged::Another(Arc::new(after), waiting))
}

impl From<CatalogError> for RefreshError {
    fn from(error: CatalogError) -> Self {
        Self { code: error.code(), message: error.to_string() }
    }
}
