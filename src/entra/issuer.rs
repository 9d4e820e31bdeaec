//! The signing keys of one issuer, and how they stay current.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::sync::Notify;
use tokio::time::Instant;
use url::Url;

use super::key_set::{Key, KeySet};
use super::rules::Version;
use super::settings::KeySettings;
use crate::clock::Now;
use crate::domain::{Denial, Reason, TenantId};

/// What stands for the tenant in a templated issuer.
pub(super) const TENANT_PLACEHOLDER: &str = "{tenantid}";

/// One issuer: the tokens of a tenant, or of several, of one version.
#[derive(Debug)]
pub(super) struct Issuer {
    /// `iss`, byte by byte; of several tenants a template, with `{tenantid}`.
    pub(super) name: String,
    pub(super) version: Version,
    /// What stands for its tenant or tenants in the authority's addresses.
    pub(super) directory: String,
    pub(super) authority: Url,
    published: ArcSwapOption<Published>,
    /// Seconds for which the machine was suspended, which the clock of ages leaves out.
    suspended: AtomicU64,
    /// The number of the next key.
    next_number: AtomicU32,
    last_error: ArcSwap<Option<String>>,
    /// Seconds by which the clock here was ahead when it was last asked.
    skew: ArcSwapOption<i64>,
    /// When the next regular fetch begins; nothing while one is under way.
    due: ArcSwapOption<Instant>,
    /// Orders a fetch now.
    pub(super) wanted: Notify,
    /// Attempts that have ended.
    attempts: AtomicU64,
    /// Attempts that came to nothing.
    failures: AtomicU64,
    /// Wakes who waits for one to end.
    attempted: Notify,
    in_flight: AtomicBool,
    /// Milliseconds after `born` from which the next extra fetch is allowed.
    allowed_from: AtomicU64,
    born: Instant,
    /// Fetches that a change allowed, since the last that the interval did.
    extra: AtomicU64,
    /// Requests that wait for a fetch.
    waiting: AtomicUsize,
}

/// At most this many requests wait for one issuer's keys. Whoever waits holds a turn of
/// the service, and anybody can make up a key id.
const MAX_WAITING: usize = 256;

/// At most this many fetches an interval because the last one brought a change.
const MAX_EXTRA: u64 = 3;

/// What came of waiting for a fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Awaited {
    /// One has ended.
    pub(super) came: bool,
    /// Not at once.
    pub(super) waited: bool,
}

/// A place among those who wait, given back when it goes.
struct WaitingRoom<'a>(&'a AtomicUsize);

impl<'a> WaitingRoom<'a> {
    fn enter(waiting: &'a AtomicUsize) -> Option<Self> {
        let place = Self(waiting);
        (waiting.fetch_add(1, Ordering::AcqRel) < MAX_WAITING).then_some(place)
    }
}

impl Drop for WaitingRoom<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[derive(Debug)]
struct Published {
    keys: KeySet,
    /// The keys by their numbers: a key has one for as long as it is listed.
    numbered: Box<[(u32, Arc<Key>)]>,
    /// Names the set: kept as long as the keys are the same.
    version: Arc<str>,
    at: Instant,
    /// What the issuer's `suspended` was then.
    suspended: u64,
}

impl Published {
    fn number(&self, key: &Arc<Key>) -> Option<(u32, Arc<Key>)> {
        self.numbered.iter().find(|(_, listed)| Arc::ptr_eq(listed, key)).cloned()
    }
}

/// How usable an issuer's keys are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// None were ever had.
    Initializing,
    /// Refreshed in time.
    Fresh,
    /// The last refreshes failed; the keys are used on.
    Stale,
    /// Too old to be used.
    Expired,
}

impl KeyState {
    /// Whether tokens can be verified.
    #[must_use]
    pub fn is_usable(self) -> bool {
        matches!(self, Self::Fresh | Self::Stale)
    }
}

impl fmt::Display for KeyState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Initializing => "initializing",
            Self::Fresh => "fresh",
            Self::Stale => "stale",
            Self::Expired => "expired",
        })
    }
}

/// What an operator sees of an issuer.
#[derive(Clone, Debug)]
pub struct IssuerStatus {
    /// `iss`, or its template.
    pub issuer: String,
    /// How usable its keys are.
    pub state: KeyState,
    /// Usable keys.
    pub keys: usize,
    /// Names the key set: a hash of the issuer and of its keys.
    pub version: Option<Arc<str>>,
    /// Since the last successful fetch.
    pub age: Option<Duration>,
    /// Why the last fetch failed, if it did.
    pub last_error: Option<String>,
    /// Seconds by which the clock here is ahead of the issuer's; nothing where its answers
    /// don't say.
    pub clock_skew: Option<i64>,
    /// Until the next regular fetch; nothing while one is under way.
    pub next_refresh: Option<Duration>,
    /// Fetches that have ended.
    pub fetches: u64,
    /// Those of them that failed.
    pub failures: u64,
}

impl Issuer {
    pub(super) fn new(name: String, version: Version, directory: String, authority: Url) -> Self {
        Self {
            name,
            version,
            directory,
            authority,
            published: ArcSwapOption::empty(),
            suspended: AtomicU64::new(0),
            next_number: AtomicU32::new(0),
            last_error: ArcSwap::from_pointee(None),
            skew: ArcSwapOption::empty(),
            due: ArcSwapOption::empty(),
            wanted: Notify::new(),
            attempts: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            attempted: Notify::new(),
            in_flight: AtomicBool::new(false),
            allowed_from: AtomicU64::new(0),
            born: Instant::now(),
            extra: AtomicU64::new(0),
            waiting: AtomicUsize::new(0),
        }
    }

    /// The tenant that a token's `iss` names, if it is this issuer's. `one` is the
    /// tenant of an issuer that is no template.
    pub(super) fn tenant_of(&self, named: &str, one: Option<TenantId>) -> Option<TenantId> {
        let Some((before, after)) = self.name.split_once(TENANT_PLACEHOLDER) else {
            return one.filter(|_| self.name == named);
        };
        let text = named.strip_prefix(before)?.strip_suffix(after)?;
        // One spelling, as everywhere: Entra writes it in lower case.
        text.parse::<TenantId>().ok().filter(|tenant| tenant.to_string() == text)
    }

    /// The key of this id, and its number.
    pub(super) fn key(
        &self,
        id: &str,
        max_age: Duration,
        now: Now,
    ) -> Result<(u32, Arc<Key>), Denial> {
        let published = self.published.load();
        let published = published.as_ref().ok_or_else(|| Denial::from(Reason::KeysUnavailable))?;
        if self.age(published, now) > max_age {
            return Err(Reason::KeysExpired.into());
        }
        published.keys.key(id).and_then(|key| published.number(key)).ok_or_else(|| {
            Denial::with_detail(Reason::TokenKeyUnknown, "no key of this id is published")
        })
    }

    /// What `ask` says of the very key of this number, if that can still be used.
    pub(super) fn vouches<R>(
        &self,
        key: u32,
        max_age: Duration,
        now: Now,
        ask: impl FnOnce(&Key) -> R,
    ) -> Option<R> {
        let published = self.published.load();
        let published = published.as_ref()?;
        if self.age(published, now) > max_age {
            return None;
        }
        let (_, key) = published.numbered.iter().find(|(number, _)| *number == key)?;
        Some(ask(key))
    }

    /// Names the key set that is in force.
    pub(super) fn keys_version(&self) -> Option<Arc<str>> {
        self.published.load().as_ref().map(|published| Arc::clone(&published.version))
    }

    fn age(&self, published: &Published, now: Now) -> Duration {
        let suspended = self.suspended.load(Ordering::Acquire).saturating_sub(published.suspended);
        let awake = now.instant.saturating_duration_since(published.at);
        awake.saturating_add(Duration::from_secs(suspended))
    }

    /// The machine was suspended for so long: the keys are that much older than their clock can
    /// tell, and are fetched again.
    pub(super) fn suspended(&self, by: Duration) {
        self.suspended.fetch_add(by.as_secs(), Ordering::AcqRel);
        self.wanted.notify_one();
    }

    /// Takes a new key set; what it doesn't list is gone at once. Where it brings a change
    /// the next unknown key may make for a fetch at once: changes come in numbers, and
    /// nobody but the issuer can cause one. Only so often an interval, though: front ends
    /// that don't agree change back and forth.
    pub(super) fn publish(&self, keys: KeySet, at: Instant) {
        let before = self.published.load();
        let changed = before.as_ref().is_some_and(|before| !before.keys.same(&keys));
        if changed && self.extra.fetch_add(1, Ordering::AcqRel) < MAX_EXTRA {
            self.allowed_from.store(0, Ordering::Release);
        }
        let version = match before.as_ref() {
            Some(before) if !changed => Arc::clone(&before.version),
            _ => keys.version(&self.name),
        };
        let kept = |key: &Key| {
            let before = before.as_ref()?;
            let (number, _) = before.number(before.keys.same_as(key)?)?;
            Some(number)
        };
        let numbered = keys
            .keys()
            .map(|key| {
                let number =
                    kept(key).unwrap_or_else(|| self.next_number.fetch_add(1, Ordering::Relaxed));
                (number, Arc::clone(key))
            })
            .collect();
        let suspended = self.suspended.load(Ordering::Acquire);
        let published = Published { keys, numbered, version, at, suspended };
        self.published.store(Some(Arc::new(published)));
        self.last_error.store(Arc::new(None));
    }

    pub(super) fn failed(&self, error: String) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        self.last_error.store(Arc::new(Some(error)));
    }

    /// Says when the next regular fetch begins.
    pub(super) fn due(&self, at: Option<Instant>) {
        self.due.store(at.map(Arc::new));
    }

    /// An attempt begins.
    pub(super) fn begin(&self) {
        self.in_flight.store(true, Ordering::Release);
    }

    /// An attempt has ended, well or not.
    pub(super) fn end(&self) {
        self.in_flight.store(false, Ordering::Release);
        self.attempts.fetch_add(1, Ordering::AcqRel);
        self.attempted.notify_waiters();
    }

    /// Attempts to fetch the keys that have ended, well or not.
    pub(super) fn attempts(&self) -> u64 {
        self.attempts.load(Ordering::Acquire)
    }

    /// Waits, until `deadline` at the latest, for a fetch that is under way or may begin
    /// now. Says whether one has ended since there were `seen`; at once where one has
    /// already, or where none may begin, or where so many wait that more would keep those
    /// from being decided whose keys are known.
    pub(super) async fn await_fetch(
        &self,
        seen: u64,
        settings: &KeySettings,
        deadline: Instant,
    ) -> Awaited {
        let at_once = |came| Awaited { came, waited: false };
        let ended = self.attempted.notified();
        if self.attempts() != seen {
            return at_once(true);
        }
        if !self.order(settings.min_refresh_interval) {
            // One that ended in between is as good.
            return at_once(self.attempts() != seen);
        }
        let Some(_place) = WaitingRoom::enter(&self.waiting) else { return at_once(false) };
        // One that ended at the last moment is as good.
        let came =
            tokio::time::timeout_at(deadline, ended).await.is_ok() || self.attempts() != seen;
        Awaited { came, waited: true }
    }

    /// Orders a fetch, unless one is under way or it is too early for another.
    fn order(&self, min_interval: Duration) -> bool {
        if self.in_flight.load(Ordering::Acquire) {
            return true;
        }
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let now = millis(self.born.elapsed());
        let allowed_from = self.allowed_from.load(Ordering::Acquire);
        let next = now.saturating_add(millis(min_interval));
        let mine = now >= allowed_from
            && self
                .allowed_from
                .compare_exchange(allowed_from, next, Ordering::AcqRel, Ordering::Acquire)
                .is_ok();
        if mine {
            // Not by a change, so the interval is over.
            if allowed_from > 0 {
                self.extra.store(0, Ordering::Release);
            }
            self.begin();
            self.wanted.notify_one();
        }
        // Who lost the exchange waits with the winner.
        mine || self.in_flight.load(Ordering::Acquire)
    }

    /// An answer of the issuer said so of the clocks.
    pub(super) fn clocks_differ_by(&self, skew: Option<i64>) {
        self.skew.store(skew.map(Arc::new));
    }

    /// How old the keys are, where the last fetch went well.
    pub(super) fn fetched(&self, now: Now) -> Option<Duration> {
        let published = self.published.load();
        let published = published.as_ref().filter(|_| self.last_error.load().is_none())?;
        Some(self.age(published, now))
    }

    /// Whether there are keys, of whatever age.
    pub(super) fn has_keys(&self) -> bool {
        self.published.load().is_some()
    }

    pub(super) fn status(&self, settings: &KeySettings, now: Now) -> IssuerStatus {
        let published = self.published.load();
        let age = published.as_ref().map(|published| self.age(published, now));
        let state = match age {
            None => KeyState::Initializing,
            Some(age) if age > settings.max_age => KeyState::Expired,
            Some(age) if age > settings.refresh_every * 2 => KeyState::Stale,
            Some(_) => KeyState::Fresh,
        };
        IssuerStatus {
            issuer: self.name.clone(),
            state,
            keys: published.as_ref().map_or(0, |published| published.keys.len()),
            version: published.as_ref().map(|published| Arc::clone(&published.version)),
            age,
            last_error: (**self.last_error.load()).clone(),
            clock_skew: self.skew.load().as_deref().copied(),
            next_refresh: self
                .due
                .load()
                .as_deref()
                .map(|due| due.saturating_duration_since(now.instant)),
            fetches: self.attempts(),
            failures: self.failures.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entra::EntraSettings;

    #[tokio::test(start_paused = true)]
    async fn what_ended_since_somebody_looked_is_not_waited_for() {
        let authority = Url::parse("https://login.example.com").unwrap();
        let issuer = Issuer::new("issuer".to_owned(), Version::V2, "tenant".to_owned(), authority);
        let settings = EntraSettings::new(Vec::new()).keys;
        let deadline = Instant::now() + Duration::from_secs(10);
        let seen = issuer.attempts();
        issuer.begin();
        issuer.end();
        let awaited = issuer.await_fetch(seen, &settings, deadline).await;
        assert_eq!(awaited, Awaited { came: true, waited: false });
        // Nor was another ordered.
        assert!(!issuer.in_flight.load(Ordering::Acquire));
        let awaited = issuer.await_fetch(seen + 1, &settings, deadline).await;
        assert_eq!(awaited, Awaited { came: false, waited: true });
        assert!(Instant::now() >= deadline);
    }
}
