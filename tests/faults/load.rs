//! Requests that go on all the time, and the judgement of every single answer.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::callers::{ALL, Caller, May, NEW_GRAPH, WAITING};
use crate::support::envoy::RawConnection;
use crate::world::{DEADLINE, Lane, World};

/// How fast they ask.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    /// Each caller this long after its last answer.
    Pause(Duration),
    /// Each caller so often, whether or not it is answered. Who is late catches up, and its
    /// times count from when it was due.
    Every(Duration),
}

/// Slow enough that the suite's own work leaves most of a small machine to what is tested.
const USUAL: Pace = Pace::Pause(PAUSE);
pub(crate) const PAUSE: Duration = Duration::from_millis(30);
/// Answers in a row after which somebody is served.
const IN_A_ROW: usize = 3;

/// Whom a fault may cost what.
#[derive(Clone, Debug, Default)]
pub(crate) enum Window {
    /// Nobody anything.
    #[default]
    Nobody,
    /// Some callers, and by which reasons.
    Some(Vec<(&'static [Caller], &'static [&'static str])>),
    /// Everybody everything, but nobody gets in who may not.
    Everybody,
}

impl Window {
    pub(crate) fn some(rules: &[(&'static [Caller], &'static [&'static str])]) -> Self {
        Self::Some(rules.to_vec())
    }

    fn covers(&self, caller: Caller, outcome: &str) -> bool {
        match self {
            Self::Nobody => false,
            Self::Some(rules) => rules
                .iter()
                .any(|(callers, reasons)| callers.contains(&caller) && reasons.contains(&outcome)),
            Self::Everybody => true,
        }
    }

    /// What too little time may cost who never asked before.
    pub(crate) fn hurried() -> Self {
        Self::some(&[(WAITING, &["overloaded", "timeout"]), (NEW_GRAPH, &["groups_unavailable"])])
    }

    /// This, and that beside it.
    pub(crate) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Nobody, one) | (one, Self::Nobody) => one,
            (Self::Some(rules), Self::Some(more)) => Self::Some([rules, more].concat()),
            (Self::Everybody, _) | (_, Self::Everybody) => Self::Everybody,
        }
    }

    /// Whether the caller is to be served all the time.
    pub(crate) fn spares(&self, caller: Caller) -> bool {
        match self {
            Self::Nobody => true,
            Self::Some(rules) => !rules.iter().any(|(callers, _)| callers.contains(&caller)),
            Self::Everybody => false,
        }
    }
}

/// What holds at a time.
#[derive(Clone, Debug)]
struct Rules {
    window: Window,
    /// Whether nothing is wrong, so that everybody is told the right reason.
    calm: bool,
    may: HashMap<Caller, May>,
}

/// What went wrong.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wrongs {
    pub(crate) admitted: usize,
    pub(crate) refused: usize,
    /// Denied rightly, but by another reason than the right one.
    pub(crate) odd: usize,
    pub(crate) first: Vec<String>,
}

impl Wrongs {
    pub(crate) fn count(&self) -> usize {
        self.admitted + self.refused + self.odd
    }
}

/// All callers, asking.
pub(crate) struct Load {
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<()>>,
}

struct Shared {
    lane: Arc<Lane>,
    world: Arc<World>,
    rules: Mutex<Arc<Rules>>,
    /// Who was to be let in at some time, and by nature is not.
    let_in: Mutex<HashSet<Caller>>,
    wrongs: Mutex<Wrongs>,
    requests: AtomicU64,
    /// Seconds by which the time that tokens are made at is ahead of the true one.
    ahead: AtomicI64,
    /// Answers that Envoy made up while what holds says that there are some.
    made_up: AtomicUsize,
    answers: HashMap<Caller, Answers>,
    /// How long answers took, by what they were. Since [`Load::measure`].
    times: Mutex<Times>,
    /// Requests that began before it count for no row.
    since: Mutex<Instant>,
    /// What the service had seen of each caller before.
    before: HashMap<Caller, usize>,
}

/// Times of answers by caller and outcome.
pub(crate) type Times = BTreeMap<(Caller, String), Vec<Duration>>;

#[derive(Default)]
struct Answers {
    all: AtomicUsize,
    /// Rightly served, one after the other.
    row: AtomicUsize,
    last: Mutex<String>,
    /// When the last request began that was let in.
    let_in: Mutex<Option<Instant>>,
}

impl Load {
    /// Begins to ask, in whatever way everybody is answered.
    pub(crate) fn start(lane: &Arc<Lane>, world: &Arc<World>) -> Self {
        Self::start_at(USUAL, &ALL.map(|caller| (caller, 1)), lane, world)
    }

    /// Begins to ask at this pace, each caller so many times at once.
    pub(crate) fn start_at(
        pace: Pace,
        callers: &[(Caller, usize)],
        lane: &Arc<Lane>,
        world: &Arc<World>,
    ) -> Self {
        let rules = Rules {
            window: Window::Everybody,
            calm: false,
            may: ALL.iter().map(|caller| (*caller, caller.may())).collect(),
        };
        let count = |caller: &Caller| (*caller, lane.upstream.count_of(&caller.name()));
        let shared = Arc::new(Shared {
            lane: Arc::clone(lane),
            world: Arc::clone(world),
            rules: Mutex::new(Arc::new(rules)),
            let_in: Mutex::default(),
            wrongs: Mutex::default(),
            requests: AtomicU64::new(0),
            ahead: AtomicI64::new(0),
            made_up: AtomicUsize::new(0),
            times: Mutex::default(),
            answers: ALL.iter().map(|caller| (*caller, Answers::default())).collect(),
            since: Mutex::new(Instant::now()),
            before: ALL.iter().map(count).collect(),
        });
        let askers = callers.iter().flat_map(|(caller, count)| vec![*caller; *count]);
        let spawn = |(number, caller)| {
            let asker = Asker { caller, number, shared: Arc::clone(&shared) };
            tokio::spawn(asker.ask(pace))
        };
        Self { tasks: askers.enumerate().map(spawn).collect(), shared }
    }

    fn change(&self, change: impl FnOnce(&mut Rules)) {
        let mut rules = self.shared.rules.lock().unwrap();
        let mut changed = Rules::clone(&rules);
        change(&mut changed);
        *rules = Arc::new(changed);
    }

    /// From now on something is wrong, and this may be refused.
    pub(crate) fn announce(&self, window: &Window) {
        self.change(|rules| {
            rules.window = window.clone();
            rules.calm = false;
        });
    }

    /// From now on nothing is wrong.
    pub(crate) fn calm(&self) {
        self.change(|rules| {
            rules.window = Window::Nobody;
            rules.calm = true;
        });
    }

    /// From now on they may or may not.
    pub(crate) fn rule(&self, caller: Caller, may: May) {
        if may != May::No {
            self.shared.let_in.lock().unwrap().insert(caller);
        }
        self.change(|rules| {
            rules.may.insert(caller, may);
        });
    }

    /// Tokens are made at a time that is so many seconds ahead from now on. Who has one of before
    /// keeps it until it is said to be over.
    pub(crate) fn advance(&self, seconds: i64) {
        self.shared.ahead.store(seconds, Ordering::SeqCst);
    }

    /// Waits until these many more answers were given to everybody.
    pub(crate) async fn more(&self, count: usize) -> Result<()> {
        let answers = || ALL.map(|caller| self.shared.of(caller).all.load(Ordering::Relaxed));
        let before = answers();
        self.wait("more answers", || {
            answers().iter().zip(before).all(|(now, before)| *now >= before + count)
        })
        .await
    }

    /// Waits until everybody is served who may be and whom the window spares, by requests
    /// that begin from now on.
    pub(crate) async fn served(&self, window: &Window) -> Result<()> {
        *self.shared.since.lock().unwrap() = Instant::now();
        for answers in self.shared.answers.values() {
            answers.row.store(0, Ordering::SeqCst);
        }
        let rules = Arc::clone(&self.shared.rules.lock().unwrap());
        let waited_for =
            |caller: &Caller| rules.may.get(caller) == Some(&May::Yes) && window.spares(*caller);
        self.wait("those are served who may be", || {
            let mut waited = ALL.iter().filter(|caller| waited_for(caller));
            waited.all(|caller| self.shared.of(*caller).row.load(Ordering::SeqCst) >= IN_A_ROW)
        })
        .await
    }

    /// Waits until this caller was let in, by a request that begins from now on.
    pub(crate) async fn let_in(&self, caller: Caller) -> Result<()> {
        let now = Instant::now();
        let let_in = || self.shared.of(caller).let_in.lock().unwrap().is_some_and(|at| at >= now);
        self.wait("somebody is let in", let_in).await
    }

    /// Times of answers count from now on.
    pub(crate) fn measure(&self) {
        self.shared.times.lock().unwrap().clear();
    }

    /// The times of answers since then.
    pub(crate) fn times(&self) -> Times {
        self.shared.times.lock().unwrap().clone()
    }

    /// Requests so far.
    pub(crate) fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::Relaxed)
    }

    /// Answers that were Envoy's own while Stagedoor was to have one.
    pub(crate) fn made_up(&self) -> usize {
        self.shared.made_up.load(Ordering::Relaxed)
    }

    /// What this caller was answered last: `200`, a reason, or what Envoy said by itself.
    pub(crate) fn last(&self, caller: Caller) -> String {
        self.shared.of(caller).last.lock().unwrap().clone()
    }

    async fn wait(&self, what: &str, reached: impl Fn() -> bool) -> Result<()> {
        let deadline = Instant::now() + DEADLINE;
        while !reached() {
            let last = || ALL.map(|caller| (caller, self.last(caller)));
            ensure!(Instant::now() < deadline, "in vain: {what}; last answers: {:?}", last());
            sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    /// Ends, and tells how many requests there were and what went wrong. Whoever may never
    /// be let in must not have been seen by the service either.
    pub(crate) fn stop(&self) -> (u64, Wrongs) {
        for task in &self.tasks {
            task.abort();
        }
        let let_in = self.shared.let_in.lock().unwrap();
        let mut wrongs = self.shared.wrongs.lock().unwrap().clone();
        for caller in ALL {
            // Who might at some time was let in rightly then.
            if caller.may() == May::No && !let_in.contains(&caller) {
                let seen = self.shared.lane.upstream.count_of(&caller.name());
                let before = self.shared.before.get(&caller).copied().unwrap_or(0);
                if seen > before {
                    wrongs.admitted += seen - before;
                    wrongs.first.push(format!("{caller:?} reached the service"));
                }
            }
        }
        (self.shared.requests.load(Ordering::Relaxed), wrongs)
    }
}

impl Shared {
    fn of(&self, caller: Caller) -> &Answers {
        &self.answers[&caller]
    }

    fn took(&self, caller: Caller, outcome: &str, took: Duration) {
        let mut times = self.times.lock().unwrap();
        times.entry((caller, outcome.to_owned())).or_default().push(took);
    }

    /// Judges an answer by what held when it was asked for and when it came: in between,
    /// both are right.
    fn judge(&self, caller: Caller, outcome: &str, rules: [&Rules; 2]) {
        let may = rules.map(|rules| rules.may.get(&caller).copied().unwrap_or(May::No));
        let covered = rules.iter().any(|rules| rules.window.covers(caller, outcome));
        let let_in = outcome == "200";
        let everybody = |rules: &&Rules| matches!(rules.window, Window::Everybody);
        let envoys = outcome.starts_with("envoy_") || outcome == "no_answer";
        let made_up = envoys && !rules.iter().any(everybody);
        if made_up {
            self.made_up.fetch_add(1, Ordering::Relaxed);
        }
        let mut wrongs = self.wrongs.lock().unwrap();
        let count = if let_in {
            may.iter().all(|may| *may == May::No).then_some(&mut wrongs.admitted)
        } else if may.iter().all(|may| *may == May::Yes) {
            (!covered).then_some(&mut wrongs.refused)
        } else {
            // Who may not is told why, where nothing is wrong; and is told something by
            // Stagedoor itself, where not everything is.
            let calm = rules.iter().all(|rules| rules.calm);
            let right = caller.reasons().contains(&outcome);
            ((calm && !right) || made_up).then_some(&mut wrongs.odd)
        };
        if let Some(count) = count {
            *count += 1;
            if wrongs.first.len() < 5 {
                wrongs.first.push(format!("{caller:?} got {outcome}"));
            }
        }
    }
}

/// One who asks, over a connection of its own.
struct Asker {
    caller: Caller,
    /// Among all of them.
    number: usize,
    shared: Arc<Shared>,
}

impl Asker {
    async fn ask(self, pace: Pace) {
        let Self { caller, shared, .. } = &self;
        let (mut kept, mut connection) = (None, RawConnection::default());
        let answers = shared.of(*caller);
        // Not all at once.
        let mut due = Instant::now();
        if let Pace::Every(period) = pace {
            due += period * u32::try_from(self.number % 16).unwrap_or(0) / 16;
        }
        for count in 1.. {
            let begun = match pace {
                Pace::Pause(_) => Instant::now(),
                Pace::Every(period) => {
                    due += period;
                    tokio::time::sleep_until(due).await;
                    due
                }
            };
            let before = Arc::clone(&shared.rules.lock().unwrap());
            let world = &shared.world;
            // No two have a token together, whatever it is that makes it theirs.
            let name = ((self.number as u64) << 32) | count;
            let request = caller.request(
                &world.tenant,
                &world.old_key,
                &mut kept,
                name,
                shared.ahead.load(Ordering::SeqCst),
            );
            let outcome = match connection.exchange(shared.lane.address(), request).await {
                Ok(answer) => match (answer.status, answer.json()["reason"].as_str()) {
                    (200, _) => "200".to_owned(),
                    (_, Some(reason)) => reason.to_owned(),
                    (status, None) => format!("envoy_{status}"),
                },
                Err(_) => "no_answer".to_owned(),
            };
            let took = begun.elapsed();
            let after = Arc::clone(&shared.rules.lock().unwrap());
            shared.judge(*caller, &outcome, [&before, &after]);
            shared.requests.fetch_add(1, Ordering::Relaxed);
            answers.all.fetch_add(1, Ordering::Relaxed);
            if outcome == "token_expired" && !caller.reasons().contains(&"token_expired") {
                // As a client does, which gets another one then.
                kept = None;
            }
            if outcome != "200" {
                answers.row.store(0, Ordering::SeqCst);
            } else if begun >= *shared.since.lock().unwrap() {
                answers.row.fetch_add(1, Ordering::SeqCst);
                *answers.let_in.lock().unwrap() = Some(begun);
            }
            shared.took(*caller, &outcome, took);
            *answers.last.lock().unwrap() = outcome;
            if let Pace::Pause(pause) = pace {
                sleep(pause).await;
            }
        }
    }
}
