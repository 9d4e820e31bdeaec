//! One fault from before it to after it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, Result};
use devtenant::front::Authority;
use futures_util::future::BoxFuture;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::callers::{Caller, KNOWN, WAITING};
use crate::figures::{Figure, millis, of, since, within};
use crate::load::{Load, Times, Window, Wrongs};
use crate::world::{Lane, Setting, World, ships_deadlines, until};

/// Answers to everybody while the fault is there, where nothing else is said, and after it.
const DURING: usize = 12;
const AFTER: usize = 8;

/// What Stagedoor does when the fault comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// It is not running, and is started into it: for the first time, or where the fault
    /// is about what it keeps, again.
    Cold,
    /// It has been serving, and its caches are full.
    Warm,
    /// As `Warm`, and policies, catalog and the rest are read anew all the time.
    Reloading,
}

impl State {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Cold => "cold",
            Self::Warm => "warm",
            Self::Reloading => "reloading",
        }
    }
}

/// What a fault acts on.
#[derive(Clone)]
pub(crate) struct Scene {
    pub(crate) lane: Arc<Lane>,
    pub(crate) world: Arc<World>,
    pub(crate) load: Arc<Load>,
    pub(crate) state: State,
    figures: Arc<Mutex<Vec<(Figure, f64)>>>,
}

impl Scene {
    /// Keeps what was measured.
    pub(crate) fn note(&self, figure: Figure, value: f64) {
        self.figures.lock().unwrap().push((figure, value));
    }
}

type Act = Box<dyn Fn(Scene) -> BoxFuture<'static, Result<()>> + Send + Sync>;

/// A fault, in all the states that it can come in.
pub(crate) struct Fault {
    pub(crate) family: &'static str,
    pub(crate) name: &'static str,
    pub(crate) states: &'static [State],
    setting: Setting,
    /// Whether a cold start is one after a good run.
    ran_before: bool,
    /// What the first answer after such a start is a figure of.
    first_answer: Option<Figure>,
    /// Whether it takes so much of the machine that no other may go on beside it.
    pub(crate) alone: bool,
    /// Answers to everybody while it is there.
    during: usize,
    /// Whether its setting gives so little time that a machine that is busy is too slow for
    /// new callers even where nothing is wrong.
    hurried: bool,
    /// What its recovery is a figure of.
    recovery: Option<Figure>,
    inject: Act,
    met: Act,
    lift: Act,
    window: Box<dyn Fn(State) -> Window + Send + Sync>,
}

fn nothing() -> Act {
    Box::new(|_| Box::pin(async { Ok(()) }))
}

/// A fault that does nothing yet.
pub(crate) fn fault(family: &'static str, name: &'static str) -> Fault {
    Fault {
        family,
        name,
        states: &[State::Cold, State::Warm, State::Reloading],
        setting: Setting::USUAL,
        ran_before: false,
        first_answer: None,
        alone: false,
        during: DURING,
        hurried: false,
        recovery: None,
        inject: nothing(),
        met: nothing(),
        lift: nothing(),
        window: Box::new(|_| Window::Nobody),
    }
}

impl Fault {
    pub(crate) fn only(mut self, states: &'static [State]) -> Self {
        self.states = states;
        self
    }

    pub(crate) fn with(mut self, setting: Setting) -> Self {
        self.setting = setting;
        self
    }

    pub(crate) fn after_a_run(mut self) -> Self {
        self.ran_before = true;
        self
    }

    /// The same where nothing else can be had by then: how soon it answers is a figure.
    pub(crate) fn after_a_good_run(mut self) -> Self {
        self.first_answer = Some(Figure::Restart);
        self.after_a_run()
    }

    pub(crate) fn alone(mut self) -> Self {
        self.alone = true;
        self
    }

    pub(crate) fn hurried(mut self) -> Self {
        self.hurried = true;
        self
    }

    /// How long everybody has to wait after it is worth to be known.
    pub(crate) fn recovery_is(mut self, figure: Figure) -> Self {
        self.recovery = Some(figure);
        self
    }

    /// For who is answered seldom while it is there.
    pub(crate) fn briefly(mut self) -> Self {
        self.during = 1;
        self
    }

    /// For who waits for seconds for each answer.
    pub(crate) fn slowly(mut self) -> Self {
        self.during = 4;
        self
    }

    /// Brings it about.
    pub(crate) fn inject<F>(mut self, act: impl Fn(Scene) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        self.inject = Box::new(move |scene| Box::pin(act(scene)));
        self
    }

    /// Waits until Stagedoor has really met it.
    pub(crate) fn met<F>(mut self, act: impl Fn(Scene) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        self.met = Box::new(move |scene| Box::pin(act(scene)));
        self
    }

    /// Takes it away.
    pub(crate) fn lift<F>(mut self, act: impl Fn(Scene) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        self.lift = Box::new(move |scene| Box::pin(act(scene)));
        self
    }

    /// What it may cost, and whom.
    pub(crate) fn costs(mut self, of: impl Fn(State) -> Window + Send + Sync + 'static) -> Self {
        self.window = Box::new(of);
        self
    }
}

/// What came of a fault in one state.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) family: &'static str,
    pub(crate) name: &'static str,
    pub(crate) state: State,
    pub(crate) requests: u64,
    pub(crate) wrongs: Wrongs,
    pub(crate) recovered: Option<Duration>,
    /// How long the whole of it took.
    pub(crate) took: Duration,
    pub(crate) figures: Vec<(Figure, f64)>,
    /// Within which 99 % of answers came while the fault was there: to who waits for nothing,
    /// and to those with a new token.
    pub(crate) times: [Option<Duration>; 2],
    /// Why it did not come to its end.
    pub(crate) error: Option<String>,
}

impl Row {
    pub(crate) fn is_good(&self) -> bool {
        self.error.is_none() && self.wrongs.count() == 0
    }
}

/// Runs a fault in a world of its own.
pub(crate) async fn play(
    lane: &Arc<Lane>,
    authority: &Authority,
    fault: &Fault,
    state: State,
) -> Row {
    let begun = Instant::now();
    let mut row = Row {
        family: fault.family,
        name: fault.name,
        state,
        requests: 0,
        wrongs: Wrongs::default(),
        recovered: None,
        took: Duration::ZERO,
        figures: Vec::new(),
        times: [None; 2],
        error: None,
    };
    let world = match World::new(lane, authority, fault.setting).await {
        Ok(world) => Arc::new(world),
        Err(error) => {
            row.error = Some(format!("{error:#}"));
            return row;
        }
    };
    let load = Arc::new(Load::start(lane, &world));
    let scene = Scene {
        lane: Arc::clone(lane),
        world,
        load: Arc::clone(&load),
        state,
        figures: Arc::default(),
    };
    match acts(&scene, fault).await {
        Ok((recovered, times)) => {
            row.recovered = Some(recovered);
            row.times = [KNOWN, WAITING]
                .map(|callers| within(0.99, of(&times, |caller, _| callers.contains(&caller))));
        }
        Err(error) => {
            let log = scene.world.process.log();
            row.error = Some(format!("{error:#}\nthe end of its log:\n{log}"));
        }
    }
    scene.world.calm();
    if let Some(usage) = scene.world.process.usage() {
        #[allow(clippy::cast_precision_loss, reason = "some megabytes")]
        scene.note(Figure::Memory, usage.peak as f64 / f64::from(1 << 20));
    }
    for leak in scene.world.process.leaks() {
        row.error = Some(format!("there is a token in what it writes: {leak}"));
    }
    // Who asks at this very moment is not answered any more.
    load.announce(&Window::Everybody);
    scene.world.process.take_down().await;
    (row.requests, row.wrongs) = load.stop();
    #[allow(clippy::cast_precision_loss, reason = "none, if all is well")]
    scene.note(Figure::MadeUp, load.made_up() as f64);
    row.figures = scene.figures.lock().unwrap().clone();
    row.took = begun.elapsed();
    row
}

/// How long it took until all was well again, and the times of answers before that.
async fn acts(scene: &Scene, fault: &Fault) -> Result<(Duration, Times)> {
    let Scene { world, load, state, .. } = scene;
    let mut window = (fault.window)(*state);
    if ships_deadlines() {
        window = window.and(Window::hurried());
    }
    // It ends when it is dropped.
    let mut reloading = JoinSet::new();
    if *state != State::Cold || fault.ran_before {
        world.process.start();
        load.served(&Window::Nobody).await.context("before the fault")?;
        calm(load, fault);
        load.more(AFTER).await?;
    }
    match state {
        State::Cold => {
            load.announce(&Window::Everybody);
            world.process.take_down().await;
            (fault.inject)(scene.clone()).await.context("injecting")?;
            world.process.start();
            if !matches!(window, Window::Everybody) {
                let begun = Instant::now();
                let first = async {
                    load.let_in(Caller::Owner).await?;
                    anyhow::Ok(begun.elapsed())
                };
                let served = load.served(&window);
                if let Some(figure) = fault.first_answer.filter(|_| window.spares(Caller::Owner)) {
                    let (first, served) = tokio::join!(first, served);
                    served.context("started into the fault")?;
                    scene.note(figure, millis(first?));
                } else {
                    served.await.context("started into the fault")?;
                }
            }
            load.announce(&window);
        }
        State::Warm | State::Reloading => {
            if *state == State::Reloading {
                let world = Arc::clone(world);
                reloading.spawn(async move {
                    for number in 0_u32.. {
                        reload(&world, number);
                        sleep(Duration::from_millis(150)).await;
                    }
                });
            }
            load.announce(&window);
            (fault.inject)(scene.clone()).await.context("injecting")?;
        }
    }
    let before = load.times();
    (fault.met)(scene.clone()).await.context("meeting it")?;
    load.more(fault.during).await.context("during the fault")?;

    let times = since(&before, &load.times());
    (fault.lift)(scene.clone()).await.context("lifting it")?;
    let lifted = Instant::now();
    load.served(&Window::Nobody).await.context("after the fault")?;
    let recovered = lifted.elapsed();
    if let Some(figure) = fault.recovery {
        scene.note(figure, millis(recovered));
    }
    calm(load, fault);
    load.more(AFTER).await?;
    Ok((recovered, times))
}

/// Nothing is wrong.
fn calm(load: &Load, fault: &Fault) {
    if fault.hurried || ships_deadlines() {
        load.announce(&Window::hurried());
    } else {
        load.calm();
    }
}

/// Has everything read anew. What is read says the same; policies and configuration are
/// other files with the same meaning.
fn reload(world: &World, number: u32) {
    // Files that never stay as they are for a moment are not taken over.
    let files: &[&str] =
        if number.is_multiple_of(4) { &["policy.cedar", "stagedoor.yaml"] } else { &[] };
    for file in files {
        let comment = if *file == "policy.cedar" { "//" } else { "#" };
        let path = world.path(file);
        let _lock = world.files.lock().unwrap();
        // A fault may have taken the file away, or be about what it says.
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        let text: Vec<&str> = text.lines().filter(|line| !line.starts_with(comment)).collect();
        let new = world.path(&format!("{file}.new"));
        std::fs::write(&new, format!("{}\n{comment} {number}\n", text.join("\n"))).unwrap();
        std::fs::rename(&new, &path).unwrap();
    }
    if world.process.running().admin.is_some() {
        world.process.signal("HUP");
    }
}

/// Waits until so many more of something have come.
pub(crate) async fn more(what: &str, count: usize, now: impl Fn() -> usize) -> Result<()> {
    let before = now();
    until(what, || async { now() >= before + count }).await
}
