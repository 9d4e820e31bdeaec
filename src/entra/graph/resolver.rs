//! Groups that a token doesn't list, looked up once and kept.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use rand::RngExt as _;
use tokio::sync::{Mutex, Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use url::Url;

use super::client::{CHECKED_AT_ONCE, Graph, GraphError, Member};
use super::credential::{Audience, Credential};
use super::settings::GraphSettings;
use crate::clock::Now;
use crate::domain::{Denial, GroupId, Identity, Reason, TenantId};
use crate::entra::bounded::{Bounded, Weigh};
use crate::entra::settings::{EntraSettings, Tenants};
use crate::fetch::{Exchange, FetchError};

/// Lookups that wait for their turn; more are refused.
const QUEUE: usize = 10_000;
/// Checking costs a call for each twenty; listing costs one, but every group comes.
const WORTH_CHECKING: usize = 3 * CHECKED_AT_ONCE;
/// How often a lookup is tried while Graph is not well.
const ATTEMPTS: u32 = 4;
/// What is kept at all is kept until those have read it who waited for it.
const SHORTEST: Duration = Duration::from_millis(100);
const FIRST_RETRY: Duration = Duration::from_millis(100);

/// Looks groups up at Microsoft Graph. Cheap to clone; every clone shares what is kept.
#[derive(Clone, Debug)]
pub struct GroupResolver {
    shared: Arc<Shared>,
}

/// What looking groups up did, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupStats {
    /// Callers whose groups are kept.
    pub entries: usize,
    /// Their size, as far as it is counted.
    pub bytes: usize,
    /// Found at hand.
    pub hits: u64,
    /// Had to be waited for.
    pub misses: u64,
    /// Lookups that were begun.
    pub lookups: u64,
    /// Lookups that failed.
    pub failures: u64,
}

#[derive(Debug)]
struct Shared {
    settings: GraphSettings,
    places: Vec<Place>,
    credential: Credential,
    kept: Bounded<Key, Kept>,
    /// Lookups that are under way; who waits for one is woken when its sender goes.
    flights: DashMap<Key, watch::Receiver<()>>,
    orders: mpsc::Sender<Order>,
    /// Taken by whoever carries lookups out.
    received: Mutex<mpsc::Receiver<Order>>,
    turns: Arc<Semaphore>,
    /// Milliseconds after `born` until which Graph asked for silence.
    silent_until: AtomicU64,
    born: Instant,
    hits: AtomicU64,
    misses: AtomicU64,
    lookups: AtomicU64,
    failures: AtomicU64,
}

/// Where an entry of the configuration has its authority and its Graph.
#[derive(Debug)]
struct Place {
    tenants: Tenants,
    authority: Url,
    graph: Url,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    tenant: TenantId,
    member: Member,
}

/// The outcome of a lookup.
#[derive(Clone, Debug)]
struct Kept {
    groups: Result<Arc<[GroupId]>, Reason>,
    /// Which groups were asked for; nothing is all of them.
    among: Option<Arc<[GroupId]>>,
    refresh_at: Instant,
    ends_at: Instant,
}

impl Weigh for Kept {
    fn bytes(&self) -> usize {
        let groups = self.groups.as_ref().map_or(0, |groups| groups.len());
        (size_of::<(Key, Self)>() * 9 / 8) + groups * size_of::<GroupId>() + 16
    }
}

/// A lookup to be made.
#[derive(Debug)]
struct Order {
    key: Key,
    among: Option<Arc<[GroupId]>>,
    /// Its going says that the lookup has ended.
    ended: watch::Sender<()>,
}

impl GroupResolver {
    /// A resolver for these tenants, if Graph is to be asked.
    #[must_use]
    pub fn new(settings: &EntraSettings) -> Option<Self> {
        let graph = settings.graph.clone()?;
        let places = settings.tenants.iter().map(|tenant| Place {
            tenants: tenant.tenants.clone(),
            authority: tenant.authority.clone(),
            graph: tenant.graph.clone(),
        });
        let (orders, received) = mpsc::channel(QUEUE);
        Some(Self {
            shared: Arc::new(Shared {
                places: places.collect(),
                credential: Credential::new(graph.credential.clone()),
                kept: Bounded::new(graph.cache),
                flights: DashMap::new(),
                orders,
                received: Mutex::new(received),
                turns: Arc::new(Semaphore::new(graph.max_calls)),
                silent_until: AtomicU64::new(0),
                born: Instant::now(),
                hits: AtomicU64::new(0),
                misses: AtomicU64::new(0),
                lookups: AtomicU64::new(0),
                failures: AtomicU64::new(0),
                settings: graph,
            }),
        })
    }

    /// The groups of a caller: all of them, or those of `known` where so few are known
    /// that asking for just those is cheaper. Waits for a bounded time.
    ///
    /// # Errors
    /// [`Reason::GroupsUnavailable`] where they can't be known in time, and
    /// [`Reason::PrincipalGone`] where the directory has no such object.
    pub async fn groups(
        &self,
        identity: &Identity,
        known: &Arc<[GroupId]>,
        now: Now,
    ) -> Result<Arc<[GroupId]>, Denial> {
        let shared = &self.shared;
        let member = Member { object: identity.object, is_user: identity.delegated };
        let key = Key { tenant: identity.tenant, member };
        let cheaper = shared.settings.only_known_groups && known.len() <= WORTH_CHECKING;
        let among = cheaper.then(|| Arc::clone(known));
        if let Some(kept) = shared.find(&key, among.as_ref(), now.instant) {
            shared.hits.fetch_add(1, Ordering::Relaxed);
            if kept.refresh_at <= now.instant && kept.groups.is_ok() {
                // In good time, and without waiting.
                shared.order(key, among);
            }
            return kept.groups.map_err(Denial::from);
        }
        shared.misses.fetch_add(1, Ordering::Relaxed);
        let deadline = Instant::now() + shared.settings.wait;
        loop {
            let unavailable = |why: &str| Err(Denial::with_detail(Reason::GroupsUnavailable, why));
            let Some(mut flight) = shared.order(key, among.clone()) else {
                return unavailable("too many lookups wait already");
            };
            // An error is the end of the lookup.
            if timeout_at(deadline, flight.changed()).await.is_err() {
                return unavailable("the lookup takes longer than a request waits");
            }
            if let Some(kept) = shared.find(&key, among.as_ref(), Instant::now()) {
                return kept.groups.map_err(Denial::from);
            }
            // It was for other groups, or nobody carries lookups out.
            if shared.orders.is_closed() {
                return unavailable("no lookups are made here");
            }
            tokio::task::yield_now().await;
            if Instant::now() >= deadline {
                return unavailable("the lookup takes longer than a request waits");
            }
        }
    }

    /// Makes lookups until `stop` becomes true.
    pub async fn run<E: Exchange>(&self, exchange: Arc<E>, mut stop: watch::Receiver<bool>) {
        let mut received = self.shared.received.lock().await;
        let mut lookups = JoinSet::new();
        loop {
            let order = tokio::select! {
                order = received.recv() => order,
                Some(_) = lookups.join_next() => continue,
                _ = stop.wait_for(|stop| *stop) => return,
            };
            let Some(order) = order else { return };
            let (shared, exchange) = (Arc::clone(&self.shared), Arc::clone(&exchange));
            lookups.spawn(async move { shared.carry_out(order, &*exchange).await });
        }
    }

    /// What looking groups up did.
    #[must_use]
    pub fn stats(&self) -> GroupStats {
        let shared = &self.shared;
        let (entries, bytes) = shared.kept.size();
        GroupStats {
            entries,
            bytes,
            hits: shared.hits.load(Ordering::Relaxed),
            misses: shared.misses.load(Ordering::Relaxed),
            lookups: shared.lookups.load(Ordering::Relaxed),
            failures: shared.failures.load(Ordering::Relaxed),
        }
    }
}

impl Shared {
    /// What is kept and still says what is asked.
    fn find(&self, key: &Key, among: Option<&Arc<[GroupId]>>, now: Instant) -> Option<Kept> {
        let kept = self.kept.find(key)?;
        // All groups answer for some; a failure is one whatever was asked for.
        let fits = kept.among.is_none() || kept.among.as_ref() == among || kept.groups.is_err();
        (fits && now < kept.ends_at).then_some(kept)
    }

    /// Joins the lookup of this caller that is under way, or orders one.
    fn order(&self, key: Key, among: Option<Arc<[GroupId]>>) -> Option<watch::Receiver<()>> {
        match self.flights.entry(key) {
            Entry::Occupied(flight) => Some(flight.get().clone()),
            Entry::Vacant(vacant) => {
                let (ended, flight) = watch::channel(());
                self.orders.try_send(Order { key, among, ended }).ok()?;
                vacant.insert(flight.clone());
                Some(flight)
            }
        }
    }

    async fn carry_out<E: Exchange>(self: Arc<Self>, order: Order, exchange: &E) {
        let Order { key, among, ended } = order;
        // Whatever happens, also a panic, the flight ends.
        let _landing = Landing { flights: &self.flights, key };
        let turn = Arc::clone(&self.turns).acquire_owned().await;
        let began = Instant::now();
        let outcome = match self.silence(began) {
            Some(left) => Err(GraphError::Throttled { after: left }),
            None => {
                self.lookups.fetch_add(1, Ordering::Relaxed);
                let lookup = self.look_up(&key, among.as_deref(), exchange);
                timeout(self.settings.timeout, lookup).await.unwrap_or_else(|_| {
                    Err(GraphError::Answer("it took longer than a lookup may".to_owned()))
                })
            }
        };
        drop(turn);
        self.keep(key, among, outcome, began);
        drop(ended);
    }

    async fn look_up<E: Exchange>(
        &self,
        key: &Key,
        among: Option<&[GroupId]>,
        exchange: &E,
    ) -> Result<Vec<GroupId>, GraphError> {
        let place = self.places.iter().find(|place| place.tenants.accept(key.tenant));
        let place = place.ok_or_else(|| GraphError::Answer("no such tenant".to_owned()))?;
        let audience =
            Audience { tenant: key.tenant, authority: &place.authority, graph: &place.graph };
        let mut attempt = 0;
        loop {
            let token = self.credential.token(exchange, audience).await;
            let token = token.map_err(|error| GraphError::Answer(error.to_string()))?;
            let timeout = self.settings.timeout;
            let graph = Graph { exchange, url: &place.graph, token: &token, timeout };
            let outcome = match among {
                // Nothing is known, so nothing can be found.
                Some([]) => Ok(Vec::new()),
                Some(known) => graph.groups_among(key.member, known).await,
                None => graph.groups(key.member).await,
            };
            attempt += 1;
            match outcome {
                Err(GraphError::Unauthorized) if attempt == 1 => {
                    self.credential.forget(key.tenant, &token).await;
                }
                Err(GraphError::Unwell(_) | GraphError::Fetch(FetchError::Transport { .. }))
                    if attempt < ATTEMPTS =>
                {
                    let pause = FIRST_RETRY * 2_u32.pow(attempt);
                    sleep(about(pause)).await;
                }
                outcome => return outcome,
            }
        }
    }

    fn keep(
        &self,
        key: Key,
        among: Option<Arc<[GroupId]>>,
        outcome: Result<Vec<GroupId>, GraphError>,
        began: Instant,
    ) {
        let (groups, lasts) = match outcome {
            Ok(groups) => (Ok(groups.into()), about(self.settings.ttl)),
            Err(GraphError::Gone) => (Err(Reason::PrincipalGone), about(self.settings.ttl)),
            Err(error) => {
                self.failures.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(%error, "a caller's groups could not be looked up");
                let lasts = match error {
                    GraphError::Throttled { after } => {
                        let until = (began + after).saturating_duration_since(self.born);
                        let until = u64::try_from(until.as_millis()).unwrap_or(u64::MAX);
                        self.silent_until.fetch_max(until, Ordering::Relaxed);
                        after
                    }
                    _ => about(self.settings.failure_ttl),
                };
                // What was known stays known until its own end.
                if let Some(kept) = self.find(&key, among.as_ref(), began)
                    && kept.groups.is_ok()
                {
                    return;
                }
                (Err(Reason::GroupsUnavailable), lasts)
            }
        };
        // What is known was true before the question; a failure is one of now. Whoever
        // waits reads the outcome in any case.
        let now = Instant::now();
        let from = if groups.is_ok() { began } else { now };
        let ends_at = (from + lasts).max(now + SHORTEST);
        let refresh_at = from + lasts.mul_f64(0.75);
        self.kept.insert(key, Kept { groups, among, refresh_at, ends_at });
    }

    /// How much longer Graph asked for silence.
    fn silence(&self, now: Instant) -> Option<Duration> {
        let until = self.born + Duration::from_millis(self.silent_until.load(Ordering::Relaxed));
        Some(until.saturating_duration_since(now)).filter(|left| !left.is_zero())
    }
}

/// This long, less up to a tenth, so that what began together doesn't end together.
fn about(time: Duration) -> Duration {
    time.mul_f64(rand::rng().random_range(0.9..=1.0))
}

/// Ends a flight when it goes.
struct Landing<'a> {
    flights: &'a DashMap<Key, watch::Receiver<()>>,
    key: Key,
}

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        self.flights.remove(&self.key);
    }
}
