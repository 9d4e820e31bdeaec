//! Groups that a token doesn't list, looked up once and kept.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;
use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use rand::RngExt as _;
use tokio::sync::{Mutex, Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use url::Url;

use super::calls::GraphCalls;
use super::client::{CHECKED_AT_ONCE, Graph, GraphError, Member};
use super::credential::{Audience, Credential, CredentialCertificate};
use super::settings::GraphSettings;
use crate::bounded::{Bounded, Weigh};
use crate::clock::Now;
use crate::domain::{Denial, GroupId, Identity, Reason, TenantId, Wait, Waited};
use crate::entra::settings::{EntraSettings, Tenants};
use crate::fetch::{Exchange, FetchError};
use crate::seldom::Seldom;

/// Lookups under way or waiting for their turn; more are refused.
const QUEUE: usize = 10_000;
/// Checking costs a call for each twenty; listing costs one, but every group comes.
const WORTH_CHECKING: usize = 3 * CHECKED_AT_ONCE;
/// How often a lookup is tried while Graph is not well.
const ATTEMPTS: u32 = 4;
/// How soon somebody who waits orders again.
const AGAIN: Duration = Duration::from_millis(5);
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
    /// Lookups that are under way or wait for their turn.
    pub flights: usize,
}

#[derive(Debug)]
struct Shared {
    settings: GraphSettings,
    places: Vec<Place>,
    credential: Credential,
    kept: Bounded<Key, Kept>,
    /// Lookups that are under way; who waits for one is woken when its sender goes.
    flights: DashMap<Key, Flight>,
    orders: mpsc::Sender<Order>,
    /// Taken by whoever carries lookups out.
    received: Mutex<mpsc::Receiver<Order>>,
    turns: Arc<Semaphore>,
    /// Until when a tenant's Graph asked for silence.
    silent: DashMap<TenantId, Instant>,
    /// What goes wrong for one goes wrong for many.
    news: std::sync::Mutex<Seldom>,
    /// Counted on where the settings change.
    tally: Arc<Tally>,
    /// Why the last lookup failed; nothing once one goes well.
    last_error: ArcSwapOption<String>,
}

/// What looking groups up did since the start.
#[derive(Debug, Default)]
struct Tally {
    hits: AtomicU64,
    misses: AtomicU64,
    lookups: AtomicU64,
    failures: AtomicU64,
    calls: GraphCalls,
}

/// Where an entry of the configuration has its authority and its Graph.
#[derive(Debug, PartialEq, Eq)]
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

impl Kept {
    /// Whether it answers for these: all groups answer for some, and a failure is one
    /// whatever was asked for.
    fn says(&self, among: Option<&Arc<[GroupId]>>) -> bool {
        self.among.is_none() || self.among.as_ref() == among || self.groups.is_err()
    }
}

impl Weigh for Kept {
    fn bytes(&self) -> usize {
        let groups = self.groups.as_ref().map_or(0, |groups| groups.len());
        (size_of::<(Key, Self)>() * 9 / 8) + groups * size_of::<GroupId>() + 16
    }
}

/// A lookup under way: its outcome, once it has one.
type Flight = watch::Receiver<Option<Kept>>;

/// A lookup to be made.
#[derive(Debug)]
struct Order {
    key: Key,
    among: Option<Arc<[GroupId]>>,
    at: Instant,
    outcome: watch::Sender<Option<Kept>>,
}

impl GroupResolver {
    /// A resolver for these tenants, if Graph is to be asked.
    #[must_use]
    pub fn new(settings: &EntraSettings) -> Option<Self> {
        Self::counting_on(settings, Arc::default())
    }

    fn counting_on(settings: &EntraSettings, tally: Arc<Tally>) -> Option<Self> {
        let graph = settings.graph.clone()?;
        let places = Place::all(settings);
        let (orders, received) = mpsc::channel(QUEUE);
        Some(Self {
            shared: Arc::new(Shared {
                places,
                credential: Credential::new(graph.credential.clone()),
                kept: Bounded::new(graph.cache),
                flights: DashMap::new(),
                orders,
                received: Mutex::new(received),
                turns: Arc::new(Semaphore::new(graph.max_calls)),
                silent: DashMap::new(),
                news: std::sync::Mutex::new(Seldom::new(Duration::from_secs(1))),
                tally,
                last_error: ArcSwapOption::empty(),
                settings: graph,
            }),
        })
    }

    /// The resolver of changed settings: the very same, with all it keeps, where nothing of
    /// it changed.
    #[must_use]
    pub fn following(before: Option<&Self>, settings: &EntraSettings) -> Option<Self> {
        let stays = before.filter(|before| {
            settings.graph.as_ref() == Some(&before.shared.settings)
                && before.shared.places == Place::all(settings)
        });
        stays.cloned().or_else(|| {
            let tally = before.map(|before| Arc::clone(&before.shared.tally)).unwrap_or_default();
            Self::counting_on(settings, tally)
        })
    }

    /// Whether both are one.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    /// The groups of a caller: all of them, or those of `known` where so few are known
    /// that asking for just those is cheaper. Waits for a bounded time, and notes it where it
    /// did.
    ///
    /// # Errors
    /// [`Reason::GroupsUnavailable`] where they can't be known in time, and
    /// [`Reason::PrincipalGone`] where the directory has no such object.
    pub async fn groups(
        &self,
        identity: &Identity,
        known: &Arc<[GroupId]>,
        now: Now,
        waits: &mut Vec<Wait>,
    ) -> Result<Arc<[GroupId]>, Denial> {
        let shared = &self.shared;
        let member = Member { object: identity.object, is_user: identity.delegated };
        let key = Key { tenant: identity.tenant, member };
        let cheaper = shared.settings.only_known_groups && known.len() <= WORTH_CHECKING;
        let among = cheaper.then(|| Arc::clone(known));
        if let Some(kept) = shared.find(&key, among.as_ref(), now.instant) {
            shared.tally.hits.fetch_add(1, Ordering::Relaxed);
            if kept.refresh_at <= now.instant && kept.groups.is_ok() {
                // In good time, and without waiting.
                shared.order(key, among);
            }
            return kept.groups.map_err(Denial::from);
        }
        shared.tally.misses.fetch_add(1, Ordering::Relaxed);
        let (since, began) = (SystemTime::now(), Instant::now());
        let groups = self.await_groups(key, among, began + shared.settings.wait).await;
        let came = groups.is_ok();
        waits.push(Wait { what: Waited::Groups, since, took: began.elapsed(), came });
        groups
    }

    async fn await_groups(
        &self,
        key: Key,
        among: Option<Arc<[GroupId]>>,
        deadline: Instant,
    ) -> Result<Arc<[GroupId]>, Denial> {
        loop {
            let unavailable = |why: &str| Err(Denial::with_detail(Reason::GroupsUnavailable, why));
            let Some(mut flight) = self.shared.order(key, among.clone()) else {
                return unavailable("too many lookups wait already");
            };
            let kept = match timeout_at(deadline, flight.wait_for(Option::is_some)).await {
                Err(_) => return unavailable("the lookup takes longer than a request waits"),
                Ok(landed) => landed.ok().and_then(|kept| kept.clone()),
            };
            match kept {
                Some(kept) if kept.says(among.as_ref()) => {
                    return kept.groups.map_err(Denial::from);
                }
                // It was for other groups, or came to nothing: once more, within the time.
                _ => tokio::time::sleep(AGAIN).await,
            }
        }
    }

    /// The machine was suspended, for longer than groups may be kept beyond their time: all are
    /// looked up again.
    pub fn suspended(&self) {
        self.shared.kept.clear();
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

    /// Whether the Graph of a tenant asked for silence.
    #[must_use]
    pub fn is_throttled(&self, now: Now) -> bool {
        self.shared.silent.iter().any(|until| *until > now.instant)
    }

    /// Why the last lookup failed, if it did. It names no caller.
    #[must_use]
    pub fn last_error(&self) -> Option<String> {
        self.shared.last_error.load().as_deref().cloned()
    }

    /// What looking groups up did.
    #[must_use]
    pub fn stats(&self) -> GroupStats {
        let shared = &self.shared;
        let (entries, bytes) = shared.kept.size();
        GroupStats {
            entries,
            bytes,
            hits: shared.tally.hits.load(Ordering::Relaxed),
            misses: shared.tally.misses.load(Ordering::Relaxed),
            lookups: shared.tally.lookups.load(Ordering::Relaxed),
            failures: shared.tally.failures.load(Ordering::Relaxed),
            flights: shared.flights.len(),
        }
    }

    /// The certificate that Graph is asked with, if it is by one.
    #[must_use]
    pub fn certificate(&self) -> Option<CredentialCertificate> {
        self.shared.credential.certificate()
    }

    /// Calls of Microsoft Graph by what came of them, of which a lookup can take several.
    pub fn calls(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.shared.tally.calls.all()
    }
}

impl Place {
    /// The entry that names a tenant most closely comes first, as for its tokens.
    fn all(settings: &EntraSettings) -> Vec<Self> {
        let places = settings.tenants.iter().map(|tenant| Self {
            tenants: tenant.tenants.clone(),
            authority: tenant.authority.clone(),
            graph: tenant.graph.clone(),
        });
        let mut places: Vec<Self> = places.collect();
        places.sort_by_key(|place| match place.tenants {
            Tenants::One(_) => 0,
            Tenants::Listed(_) => 1,
            Tenants::Any => 2,
        });
        places
    }
}

impl Shared {
    /// What is kept and still says what is asked.
    fn find(&self, key: &Key, among: Option<&Arc<[GroupId]>>, now: Instant) -> Option<Kept> {
        self.kept.find(key).filter(|kept| kept.says(among) && now < kept.ends_at)
    }

    /// Joins the lookup of this caller that is under way, or orders one.
    fn order(&self, key: Key, among: Option<Arc<[GroupId]>>) -> Option<Flight> {
        // Those who wait for their turn count too.
        let crowded = self.flights.len() >= QUEUE;
        match self.flights.entry(key) {
            Entry::Occupied(flight) => Some(flight.get().clone()),
            Entry::Vacant(_) if crowded => None,
            Entry::Vacant(vacant) => {
                let (outcome, flight) = watch::channel(None);
                let at = Instant::now();
                self.orders.try_send(Order { key, among, at, outcome }).ok()?;
                vacant.insert(flight.clone());
                Some(flight)
            }
        }
    }

    async fn carry_out<E: Exchange>(self: Arc<Self>, order: Order, exchange: &E) {
        let Order { key, among, at, outcome: tell } = order;
        // Whatever happens, also a panic, the flight ends.
        let _landing = Landing { flights: &self.flights, key };
        let turn = Arc::clone(&self.turns).acquire_owned().await;
        let began = Instant::now();
        if began.saturating_duration_since(at) > self.settings.timeout {
            // Nobody waits for it any more, and those who come now have their own.
            return;
        }
        let outcome = match self.silence(key.tenant, began) {
            Some(left) => Err(GraphError::Throttled { after: left }),
            None => {
                self.tally.lookups.fetch_add(1, Ordering::Relaxed);
                let lookup = self.look_up(&key, among.as_deref(), exchange);
                timeout(self.settings.timeout, lookup).await.unwrap_or_else(|_| {
                    Err(GraphError::Answer("it took longer than a lookup may".to_owned()))
                })
            }
        };
        drop(turn);
        let kept = self.outcome(&key, among, outcome, began);
        self.kept.insert(key, kept.clone());
        tell.send_replace(Some(kept));
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
            let graph = Graph {
                exchange,
                url: &place.graph,
                token: &token,
                timeout,
                calls: &self.tally.calls,
            };
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

    /// What is to be kept of a lookup.
    fn outcome(
        &self,
        key: &Key,
        among: Option<Arc<[GroupId]>>,
        outcome: Result<Vec<GroupId>, GraphError>,
        began: Instant,
    ) -> Kept {
        let now = Instant::now();
        // What is known was true before the question; a failure is one of now. Whoever waits
        // reads the outcome in any case.
        let kept = |groups: Result<Arc<[GroupId]>, Reason>, lasts: Duration| {
            let from = if groups.is_ok() { began } else { now };
            let ends_at = (from + lasts).max(now + SHORTEST);
            let among = among.clone();
            Kept { groups, among, refresh_at: from + lasts.mul_f64(0.75), ends_at }
        };
        let error = match outcome {
            Ok(groups) => {
                self.last_error.store(None);
                return kept(Ok(groups.into()), about(self.settings.ttl));
            }
            Err(GraphError::Gone) => {
                self.last_error.store(None);
                return kept(Err(Reason::PrincipalGone), about(self.settings.ttl));
            }
            Err(error) => error,
        };
        self.tally.failures.fetch_add(1, Ordering::Relaxed);
        self.last_error.store(Some(Arc::new(error.anonymous())));
        let unsaid = self.news.lock().ok().and_then(|mut news| news.ask(now));
        if let Some(unsaid) = unsaid {
            tracing::warn!(%error, unsaid, "a caller's groups could not be looked up");
        }
        let lasts = match error {
            GraphError::Throttled { after } => {
                self.silent.insert(key.tenant, began + after);
                after
            }
            _ => about(self.settings.failure_ttl),
        };
        // What was known stays known until its own end, and Graph is left alone for a while.
        match self.find(key, among.as_ref(), now) {
            Some(known) if known.groups.is_ok() => Kept { refresh_at: now + lasts, ..known },
            _ => kept(Err(Reason::GroupsUnavailable), lasts),
        }
    }

    /// How much longer a tenant's Graph asked for silence.
    fn silence(&self, tenant: TenantId, now: Instant) -> Option<Duration> {
        let until = *self.silent.get(&tenant)?;
        let left = until.saturating_duration_since(now);
        if left.is_zero() {
            self.silent.remove_if(&tenant, |_, until| *until <= now);
            return None;
        }
        Some(left)
    }
}

/// This long, less up to a tenth, so that what began together doesn't end together.
fn about(time: Duration) -> Duration {
    time.mul_f64(rand::rng().random_range(0.9..=1.0))
}

/// Ends a flight when it goes.
struct Landing<'a> {
    flights: &'a DashMap<Key, Flight>,
    key: Key,
}

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        self.flights.remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entra::graph::CredentialSettings;
    use crate::entra::settings::TenantSettings;

    #[test]
    fn what_is_kept_is_kept_where_nothing_of_it_changed() {
        let address = |text: &str| -> Url { text.parse().expect("an address") };
        let settings = |ttl: u64, graph: &str, audience: &str| {
            let id = "11111111-2222-3333-4444-555555555555";
            let tenant = TenantSettings::new(
                Tenants::One(id.parse().expect("an id")),
                address("https://login.example.com"),
                address(graph),
                vec![audience.to_owned()],
            );
            let client = id.parse().expect("an id");
            let credential = CredentialSettings::Secret { client, file: "secret".into() };
            let graph =
                GraphSettings { ttl: Duration::from_secs(ttl), ..GraphSettings::new(credential) };
            EntraSettings { graph: Some(graph), ..EntraSettings::new(vec![tenant]) }
        };
        let graph = "https://graph.example.com";
        let first = GroupResolver::new(&settings(1, graph, "a")).expect("a resolver");
        let follows = |settings: &EntraSettings| {
            GroupResolver::following(Some(&first), settings).map(|next| next.is(&first))
        };
        assert_eq!(follows(&settings(1, graph, "b")), Some(true));
        assert_eq!(follows(&settings(2, graph, "a")), Some(false));
        assert_eq!(follows(&settings(1, "https://graph.example.net", "a")), Some(false));
        let without = EntraSettings { graph: None, ..settings(1, graph, "a") };
        assert_eq!(follows(&without), None);
    }
}
