//! How many calls may wait, and for what.
//!
//! A decision about a known caller waits for nothing: it is made where its message is read,
//! and nothing counts it. What could pile up are calls that wait: for the rest of their
//! message, for groups or a key that is not at hand, for a new token's turn to be verified.
//! Those are counted over all connections, each with an atomic or two, and what comes beyond
//! is denied at once.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Sleep, sleep, timeout};

/// The bounds of all calls, and what became of those that waited.
#[derive(Debug)]
pub struct Pressure {
    turns: Semaphore,
    max_turns: usize,
    queue_timeout: Duration,
    queued: Places,
    receiving: Places,
    /// Counted on where the bounds change.
    turned_away: Arc<TurnedAway>,
}

/// What was turned away since the start.
#[derive(Debug, Default)]
struct TurnedAway {
    shed: AtomicU64,
    unreceived: AtomicU64,
}

/// How calls fared that had to wait, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PressureStats {
    /// Calls that wait now, for whatever it is.
    pub waiting: usize,
    /// Decisions that were turned away because as many as may were waiting.
    pub shed: u64,
    /// Messages that were turned away because as many as may were on their way.
    pub unreceived: u64,
}

/// What waits now, and how much of it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PressureLoad {
    /// Decisions that have their turn and wait for something else.
    pub in_turn: usize,
    /// Decisions that wait for their turn.
    pub queued: usize,
    /// Messages that are on their way.
    pub receiving: usize,
    /// So many of each may.
    pub most: usize,
    /// How long a decision waits for its turn.
    pub queue_timeout: Duration,
}

impl PressureLoad {
    /// All that waits.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.in_turn + self.queued + self.receiving
    }
}

/// Why something did not come to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missed {
    /// There was no turn for it.
    Turn,
    /// It took longer than it may.
    Deadline,
}

/// So many places.
#[derive(Debug)]
struct Places {
    most: usize,
    taken: AtomicUsize,
}

/// A place, until it is dropped.
#[derive(Debug)]
pub(super) struct Place<'a>(&'a AtomicUsize);

impl Places {
    fn new(most: usize) -> Self {
        Self { most, taken: AtomicUsize::new(0) }
    }

    fn take(&self) -> Option<Place<'_>> {
        let place = Place(&self.taken);
        // Counted first, so that two never take the last one; dropped, it is free again.
        (self.taken.fetch_add(1, Ordering::Relaxed) < self.most).then_some(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Pressure {
    /// So many decisions may wait at a time, and as many for their turn, each for so long; as
    /// many messages may be on their way.
    pub(super) fn new(most: usize, queue_timeout: Duration) -> Self {
        Self::counting_on(most, queue_timeout, Arc::default())
    }

    /// The bounds of changed settings: the very same where nothing of them changed. Else what
    /// waits already goes on by the ones before, beside what is counted by these, until its
    /// deadline at the latest.
    pub(super) fn following(self: &Arc<Self>, most: usize, queue_timeout: Duration) -> Arc<Self> {
        if (self.max_turns, self.queue_timeout) == (most, queue_timeout) {
            return Arc::clone(self);
        }
        Arc::new(Self::counting_on(most, queue_timeout, Arc::clone(&self.turned_away)))
    }

    fn counting_on(most: usize, queue_timeout: Duration, turned_away: Arc<TurnedAway>) -> Self {
        Self {
            turns: Semaphore::new(most),
            max_turns: most,
            queue_timeout,
            queued: Places::new(most),
            receiving: Places::new(most),
            turned_away,
        }
    }

    /// The rest of a message of which not everything is there; nothing where as many as may
    /// are on their way, and this one does not come in a moment.
    pub(super) async fn receive<F: Future>(&self, rest: F) -> Option<F::Output> {
        if let Some(_place) = self.receiving.take() {
            return Some(rest.await);
        }
        // Whoever stalls takes places, and must not take this one's turn along.
        let rest = timeout(self.queue_timeout, rest).await.ok();
        if rest.is_none() {
            self.turned_away.unreceived.fetch_add(1, Ordering::Relaxed);
        }
        rest
    }

    /// Gives `future` this long from its beginning, and a turn if it has to wait.
    pub(super) fn in_turn<F: Future>(&self, limit: Duration, future: F) -> InTurn<'_, F> {
        InTurn { future, pressure: self, limit, waiting: None }
    }

    /// What waits, and what was turned away.
    #[must_use]
    pub fn stats(&self) -> PressureStats {
        PressureStats {
            waiting: self.load().waiting(),
            shed: self.turned_away.shed.load(Ordering::Relaxed),
            unreceived: self.turned_away.unreceived.load(Ordering::Relaxed),
        }
    }

    /// What waits, by what it waits for, and the bounds.
    #[must_use]
    pub fn load(&self) -> PressureLoad {
        let taken = |places: &Places| places.taken.load(Ordering::Relaxed);
        PressureLoad {
            in_turn: self.max_turns.saturating_sub(self.turns.available_permits()),
            queued: taken(&self.queued),
            receiving: taken(&self.receiving),
            most: self.max_turns,
            queue_timeout: self.queue_timeout,
        }
    }
}

pin_project! {
    /// A future in its turn. Most have their output at once, and need neither turn nor timer.
    pub(super) struct InTurn<'a, F> {
        #[pin]
        future: F,
        pressure: &'a Pressure,
        limit: Duration,
        waiting: Option<Waiting<'a>>,
    }
}

/// What one that has to wait has.
struct Waiting<'a> {
    turn: Turn<'a>,
    deadline: Pin<Box<Sleep>>,
}

enum Turn<'a> {
    Mine { _permit: SemaphorePermit<'a> },
    Queued(Pin<Box<dyn Future<Output = Option<SemaphorePermit<'a>>> + Send + 'a>>),
}

impl<'a> Waiting<'a> {
    /// Takes a turn, or a place in the queue for one.
    fn new(pressure: &'a Pressure, limit: Duration) -> Option<Self> {
        let turn = match pressure.turns.try_acquire() {
            Ok(permit) => Turn::Mine { _permit: permit },
            Err(_) => {
                let Some(place) = pressure.queued.take() else {
                    pressure.turned_away.shed.fetch_add(1, Ordering::Relaxed);
                    return None;
                };
                Turn::Queued(Box::pin(async move {
                    let _place = place;
                    let turn = timeout(pressure.queue_timeout, pressure.turns.acquire()).await;
                    let turn = turn.ok().and_then(Result::ok);
                    if turn.is_none() {
                        pressure.turned_away.shed.fetch_add(1, Ordering::Relaxed);
                    }
                    turn
                }))
            }
        };
        Some(Self { turn, deadline: Box::pin(sleep(limit)) })
    }
}

impl<F: Future> Future for InTurn<'_, F> {
    type Output = Result<F::Output, Missed>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let waiting = match this.waiting {
            Some(waiting) => waiting,
            None => {
                if let Poll::Ready(output) = this.future.as_mut().poll(context) {
                    return Poll::Ready(Ok(output));
                }
                let Some(waiting) = Waiting::new(this.pressure, *this.limit) else {
                    return Poll::Ready(Err(Missed::Turn));
                };
                let waiting = this.waiting.insert(waiting);
                if matches!(waiting.turn, Turn::Mine { .. }) {
                    // It was asked already, and is asked again when it is woken: one that
                    // lets others go first means it.
                    return waiting.deadline.as_mut().poll(context).map(|()| Err(Missed::Deadline));
                }
                waiting
            }
        };
        if let Turn::Queued(turn) = &mut waiting.turn {
            match ready!(turn.as_mut().poll(context)) {
                Some(permit) => waiting.turn = Turn::Mine { _permit: permit },
                None => return Poll::Ready(Err(Missed::Turn)),
            }
        }
        if let Poll::Ready(output) = this.future.poll(context) {
            return Poll::Ready(Ok(output));
        }
        waiting.deadline.as_mut().poll(context).map(|()| Err(Missed::Deadline))
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use futures_util::FutureExt as _;
    use tokio::task::yield_now;
    use tokio::time::Instant;

    use super::*;

    const LIMIT: Duration = Duration::from_millis(150);

    #[tokio::test(start_paused = true)]
    async fn who_has_to_wait_needs_a_turn_and_others_need_none() {
        let pressure = Pressure::new(1, Duration::from_millis(10));
        let begun = Instant::now();
        let mut first = Box::pin(pressure.in_turn(LIMIT, pending::<()>()));
        assert_eq!(first.as_mut().now_or_never(), None);
        assert_eq!(pressure.stats().waiting, 1);
        // The only turn is taken: who waits for nothing doesn't see it.
        assert_eq!(pressure.in_turn(LIMIT, ready(7)).now_or_never(), Some(Ok(7)));
        // One queues, and waits for so long; one more is turned away at once.
        let mut second = Box::pin(pressure.in_turn(LIMIT, pending::<()>()));
        assert_eq!(second.as_mut().now_or_never(), None);
        let queue_timeout = Duration::from_millis(10);
        let load = PressureLoad { in_turn: 1, queued: 1, receiving: 0, most: 1, queue_timeout };
        assert_eq!(pressure.load(), load);
        let third = pressure.in_turn(LIMIT, pending::<()>());
        assert_eq!(third.now_or_never(), Some(Err(Missed::Turn)));
        assert_eq!(second.await, Err(Missed::Turn));
        assert_eq!(begun.elapsed(), Duration::from_millis(10));
        assert_eq!(first.await, Err(Missed::Deadline));
        assert_eq!(begun.elapsed(), LIMIT);
        assert_eq!(pressure.stats(), PressureStats { waiting: 0, shed: 2, unreceived: 0 });
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_that_becomes_free_is_taken() {
        let pressure = Pressure::new(1, Duration::from_millis(10));
        let first = pressure.in_turn(LIMIT, sleep(Duration::from_millis(5)));
        let second = pressure.in_turn(LIMIT, async {
            yield_now().await;
            7
        });
        assert_eq!(tokio::join!(first, second), (Ok(()), Ok(7)));
        assert_eq!(pressure.stats(), PressureStats::default());
    }

    /// Who lets others go first is not asked again before they went.
    #[tokio::test]
    async fn a_turn_does_not_skip_the_others() {
        let pressure = Pressure::new(1, LIMIT);
        let mut yielding = Box::pin(pressure.in_turn(LIMIT, yield_now()));
        assert_eq!(yielding.as_mut().now_or_never(), None);
        assert_eq!(yielding.await, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn messages_take_places_and_come_in_a_moment_without() {
        let pressure = Pressure::new(1, Duration::from_millis(10));
        let mut stalled = Box::pin(pressure.receive(pending::<()>()));
        assert_eq!(stalled.as_mut().now_or_never(), None);
        let soon = async {
            sleep(Duration::from_millis(5)).await;
            7
        };
        assert_eq!(pressure.receive(soon).await, Some(7));
        assert_eq!(pressure.receive(pending::<()>()).await, None);
        let stats = PressureStats { waiting: 1, shed: 0, unreceived: 1 };
        assert_eq!(pressure.stats(), stats);
        let load = pressure.load();
        assert_eq!((load.in_turn, load.queued, load.receiving), (0, 0, 1));
        drop(stalled);
        assert_eq!(pressure.stats(), PressureStats { waiting: 0, ..stats });
    }

    #[tokio::test(start_paused = true)]
    async fn other_bounds_are_another_queue_and_one_count() {
        let queue_timeout = Duration::from_millis(10);
        let before = Arc::new(Pressure::new(1, queue_timeout));
        assert!(Arc::ptr_eq(&before, &before.following(1, queue_timeout)));
        let mut first = Box::pin(before.in_turn(LIMIT, pending::<()>()));
        assert_eq!(first.as_mut().now_or_never(), None);
        assert_eq!(before.in_turn(LIMIT, pending::<()>()).await, Err(Missed::Turn));
        let after = before.following(2, queue_timeout);
        assert_eq!(after.stats(), PressureStats { waiting: 0, shed: 1, unreceived: 0 });
        // Whoever waits by the bounds before keeps its turn, and nobody else's.
        let mut two = [(); 2].map(|()| Box::pin(after.in_turn(LIMIT, pending::<()>())));
        for one in &mut two {
            assert_eq!(one.as_mut().now_or_never(), None);
        }
        assert_eq!(after.in_turn(LIMIT, pending::<()>()).await, Err(Missed::Turn));
        assert_eq!(before.stats(), PressureStats { waiting: 1, shed: 2, unreceived: 0 });
        assert_eq!(after.stats(), PressureStats { waiting: 2, shed: 2, unreceived: 0 });
    }
}
