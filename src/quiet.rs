//! Connections on which nothing was asked yet, and which of them goes where there are too many.
//!
//! Whoever connects takes a place before anything is known of them. To say nothing costs the
//! other end next to nothing, so it is no reason to keep out somebody who has something to ask:
//! one that is quiet goes where its place is needed, and one that has asked something never does.

use std::collections::HashMap;
use std::future::{pending, poll_fn};
use std::net::IpAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::task::Poll;

use tokio::sync::Notify;
use tokio::task::yield_now;

/// Below this nobody is looked for who is not quiet any more.
const FEW: usize = 16;

/// Where a connection comes from, if that has an address.
type Origin = Option<IpAddr>;

/// All of them, from the oldest to the youngest, as those see them who need a place.
#[derive(Debug, Default)]
pub(crate) struct Quiet {
    list: Vec<(Origin, Weak<State>)>,
    /// So long it may get before those are taken out that are not quiet any more.
    forget_at: usize,
}

/// A connection, as it sees itself. It is over with the last clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asking(Arc<State>);

/// One that was told that its place is needed.
#[derive(Debug)]
pub(crate) struct Told(Arc<State>);

#[derive(Debug, Default)]
struct State {
    has_asked: AtomicBool,
    is_told: AtomicBool,
    /// Its place is needed.
    needed: Notify,
    /// Something was asked on it.
    stays: Notify,
}

impl Quiet {
    /// A connection that was just accepted.
    pub(crate) fn enter(&mut self, from: Origin) -> Asking {
        // Not at each, which would be much where there are many.
        if self.list.len() >= self.forget_at {
            self.forget();
            self.forget_at = FEW.max(2 * self.list.len());
        }
        let asking = Asking::default();
        self.list.push((from, Arc::downgrade(&asking.0)));
        asking
    }

    /// Whether there is any.
    pub(crate) fn is_any(&self) -> bool {
        self.list.iter().any(|(_, state)| is_quiet(state))
    }

    /// Tells one that its place is needed: the oldest of those who have the most. So somebody
    /// who connects from elsewhere has time to ask, whoever else connects on and on.
    pub(crate) fn tell_one(&mut self) -> Option<Told> {
        self.forget();
        let mut counts: HashMap<Origin, usize> = HashMap::new();
        for (from, _) in &self.list {
            *counts.entry(*from).or_default() += 1;
        }
        let most = counts.values().max()?;
        let at = self.list.iter().position(|(from, _)| counts.get(from) == Some(most))?;
        let (_, state) = self.list.remove(at);
        // One that ended just now has given its place back.
        let state = state.upgrade().unwrap_or_default();
        state.is_told.store(true, Ordering::Relaxed);
        state.needed.notify_one();
        Some(Told(state))
    }

    fn forget(&mut self) {
        self.list.retain(|(_, state)| is_quiet(state));
    }
}

/// Whether there still is such a connection, and nothing was asked on it.
fn is_quiet(state: &Weak<State>) -> bool {
    state.upgrade().is_some_and(|state| !state.has_asked.load(Ordering::Relaxed))
}

impl Asking {
    /// Something is asked. From the second time on it is no more than a look.
    pub(crate) fn asked(&self) {
        if !self.has_asked() {
            self.0.has_asked.store(true, Ordering::Relaxed);
            self.0.stays.notify_one();
        }
    }

    /// Whether anything was.
    pub(crate) fn has_asked(&self) -> bool {
        self.0.has_asked.load(Ordering::Relaxed)
    }

    /// Comes to an end when the place is needed and nothing was asked, and never once something
    /// was. To be looked at after the connection itself, in the same task: what has come by then
    /// counts.
    pub(crate) async fn needed(&self) {
        let mut needed = pin!(self.0.needed.notified());
        poll_fn(|context| {
            if self.has_asked() {
                return Poll::Pending;
            }
            if self.0.is_told.load(Ordering::Relaxed) {
                return Poll::Ready(());
            }
            needed.as_mut().poll(context)
        })
        .await;
        // The runtime hears of what has come when it asks the system, which it does now. One that
        // was accepted under a flood may have said all it has to say, and not been heard.
        yield_now().await;
        if self.has_asked() {
            pending::<()>().await;
        }
    }
}

impl Told {
    /// Comes to an end if something is asked after all: the place is not to be had.
    pub(crate) async fn stays(&self) {
        self.0.stays.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::future::poll_immediate;
    use tokio::time::timeout;

    use super::*;

    const HERE: Origin = Some(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));
    const THERE: Origin = Some(IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 7)));

    async fn is_needed(asking: &Asking) -> bool {
        timeout(Duration::from_secs(1), asking.needed()).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_goes_of_those_who_have_the_most() {
        let mut quiet = Quiet::default();
        assert!(!quiet.is_any() && quiet.tell_one().is_none());
        let from = [HERE, THERE, THERE, HERE, THERE, None];
        let all: Vec<_> = from.into_iter().map(|from| quiet.enter(from)).collect();
        // Each time it is seen which of those that are left it was.
        let mut left: Vec<usize> = (0..all.len()).collect();
        for gone in [1, 0, 2, 3, 4, 5] {
            quiet.tell_one().expect("there is one");
            for number in &left {
                assert_eq!(is_needed(&all[*number]).await, *number == gone, "{number}, {gone}");
            }
            left.retain(|number| *number != gone);
        }
        assert!(!quiet.is_any());
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_stays() {
        let mut quiet = Quiet::default();
        let (first, second) = (quiet.enter(None), quiet.enter(None));
        first.asked();
        assert!(quiet.is_any());
        // It asks while it is told to go.
        let told = quiet.tell_one().expect("there is one");
        assert!(timeout(Duration::from_secs(1), told.stays()).await.is_err());
        second.asked();
        told.stays().await;
        assert!(!is_needed(&first).await && !is_needed(&second).await);
        // Told, it asks before it has gone.
        let third = quiet.enter(None);
        let told = quiet.tell_one().expect("there is one");
        let mut needed = pin!(third.needed());
        assert!(poll_immediate(needed.as_mut()).await.is_none(), "what has come counts");
        third.asked();
        assert!(timeout(Duration::from_secs(1), needed).await.is_err());
        told.stays().await;
    }

    #[test]
    fn who_is_gone_is_forgotten() {
        let mut quiet = Quiet::default();
        let asking = quiet.enter(None);
        let clone = asking.clone();
        drop(asking);
        assert!(quiet.is_any());
        drop(clone);
        assert!(!quiet.is_any());
        for _ in 0..1000 {
            drop(quiet.enter(HERE));
        }
        assert!(quiet.list.len() <= FEW, "{}", quiet.list.len());
    }
}
