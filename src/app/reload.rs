//! Taking over a changed configuration while requests go on.
//!
//! A file is read and judged as a whole, then everything that follows from it is made beside
//! what is in force, and only then one pointer is turned. So a mistake, a setting that takes
//! effect at a start only, or an issuer whose keys can't be had leaves everything as it is.
//! One reload goes after another; whoever asks meanwhile is answered by the next.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{OwnedMutexGuard, oneshot, watch};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use super::LAST_CHANCE;
use super::generation::{Generation, Plan};
use super::ownership::Ownership;
use super::recorder::Recorder;
use super::refusals::{News, Refusals};
use super::systemd::Systemd;
use super::task::{Ended, Running, first_ended};
use crate::admin::{ReloadAsked, ReloadOutcome, Reloads};
use crate::audit::form::ConfigWhat;
use crate::audit::{AuditSender, ConfigRecord};
use crate::authorizer::Current;
use crate::authorizer::explain::Explainer;
use crate::catalog::Catalog;
use crate::config::{Config, Fixed, Origin};
use crate::ext_authz::{CallLimits, CheckService, Endpoint};
use crate::fetch::HttpClient;
use crate::policy::PolicySet;

/// How long a file has to stay as it is.
const SETTLED_FOR: Duration = Duration::from_millis(100);
/// What was refused for something that may come or be over by itself is tried again after this.
const AGAIN: Duration = Duration::from_secs(30);
/// How often it is looked whether anything is still decided by what was replaced.
const RETIRE_INTERVAL: Duration = Duration::from_millis(100);
/// Longer lists are for the log of whoever wrote the file.
const MAX_RECORDED: usize = 10;

/// What a reload acts upon.
#[derive(Clone)]
pub(super) struct Reach {
    pub(super) check: CheckService<Explainer>,
    pub(super) endpoint: Endpoint<Explainer, Recorder>,
    pub(super) max_message_bytes: usize,
    pub(super) current: Current,
    pub(super) ownership: Arc<Ownership>,
    pub(super) catalog: Catalog,
    pub(super) http: Arc<HttpClient>,
    pub(super) audit: AuditSender,
}

/// Carries reloads out, and holds the tasks of what is in force.
pub(super) struct Reloader {
    reach: Reach,
    generation: Arc<Generation>,
    fixed: Fixed,
    watch: Option<Duration>,
    origin: Option<Origin>,
    asked: ReloadAsked,
    reloads: Reloads,
    systemd: Systemd,
    /// What the file said when it was last looked at.
    seen: Option<Result<Arc<str>, String>>,
    /// When that is tried again although it didn't change, where it was refused for something
    /// that may come or be over by itself: what the file names is often mounted apart from it.
    again: Option<Instant>,
    refusals: Refusals,
    tasks: Tasks,
}

/// The tasks of what is in force.
#[derive(Debug, Default)]
struct Tasks {
    keys: Option<Running>,
    groups: Option<Running>,
    policies: Option<Running>,
}

/// How a reload came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attempt {
    /// Somebody asked, or the file changed.
    First,
    /// What was refused is tried again by itself.
    Again,
}

/// Why a configuration was not taken over.
#[derive(Debug)]
enum Refused {
    /// It, or what it names, has these mistakes, a line each.
    Wrong(String),
    /// It changes these settings.
    NeedsRestart(Vec<String>),
    /// It could be taken over later.
    NotNow(String),
    /// We can't. That doesn't go away, and is not to happen time and again.
    Defect(String),
}

/// What became of a reload that was carried out.
#[derive(Debug)]
struct Applied {
    origin: Origin,
    before: Option<Arc<str>>,
}

impl Reloader {
    pub(super) fn new(
        reach: Reach,
        generation: Generation,
        (fixed, watch, origin): (Fixed, Option<Duration>, Option<Origin>),
        (asked, reloads): (ReloadAsked, Reloads),
    ) -> Self {
        let seen = origin.as_ref().map(|origin| Ok(Arc::clone(&origin.version)));
        Self {
            reach,
            generation: Arc::new(generation),
            fixed,
            watch,
            origin,
            asked,
            reloads,
            systemd: Systemd::default(),
            seen,
            again: None,
            refusals: Refusals::default(),
            tasks: Tasks::default(),
        }
    }

    pub(super) fn tell(&mut self, systemd: Systemd) {
        self.systemd = systemd;
    }

    /// Runs the tasks of what is in force, and carries reloads out, until `stop` becomes
    /// true. Returns early only with a task that ended by itself.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) -> Result<(), Ended> {
        self.start();
        loop {
            let watch = self.watch.filter(|_| self.origin.is_some());
            let time = async move {
                match watch {
                    Some(every) => sleep(every).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = ordered(&mut stop) => break,
                ended = first_ended(self.tasks.all()) => return Err(ended),
                asked = self.asked.recv() => {
                    let Some(asked) = asked else { break };
                    self.answer(asked).await;
                }
                () = time => {
                    if let Some(attempt) = self.due().await {
                        self.reload(attempt).await;
                    }
                }
            }
        }
        let Tasks { keys, groups, policies } = self.tasks;
        for task in [keys, groups, policies].into_iter().flatten() {
            task.end().await;
        }
        Ok(())
    }

    /// Reloads for whoever has asked by now.
    async fn answer(&mut self, first: Option<oneshot::Sender<ReloadOutcome>>) {
        let mut waiting: Vec<_> = first.into_iter().collect();
        while let Ok(another) = self.asked.try_recv() {
            waiting.extend(another);
        }
        let outcome = self.reload(Attempt::First).await;
        for one in waiting {
            // Whoever went away doesn't mind.
            let _ = one.send(outcome.clone());
        }
    }

    /// Whether it is time for a reload: the file says something else than when it was last
    /// looked at, and nobody seems to be writing it any more; or what it says is to be tried
    /// again.
    async fn due(&self) -> Option<Attempt> {
        let origin = self.origin.as_ref()?;
        let version = version_of(origin.file.clone()).await;
        if version == self.seen {
            return self.again.is_some_and(|at| Instant::now() >= at).then_some(Attempt::Again);
        }
        sleep(SETTLED_FOR).await;
        (version_of(origin.file.clone()).await == version).then_some(Attempt::First)
    }

    /// One reload, from the file to what is said of it.
    async fn reload(&mut self, attempt: Attempt) -> ReloadOutcome {
        if attempt == Attempt::First {
            self.refusals.forget();
            self.systemd.reloading();
        }
        let applied = self.apply().await;
        let may_come = matches!(applied, Err(Refused::Wrong(_) | Refused::NotNow(_)));
        self.again = may_come.then(|| Instant::now() + AGAIN);
        let is_applied = applied.is_ok();
        let (version, record) = match &applied {
            Ok(applied) => {
                let version = Arc::clone(&applied.origin.version);
                let before = applied.before.as_deref().unwrap_or_default();
                tracing::info!(%version, before, "the configuration is in force");
                let record = ConfigRecord::of(ConfigWhat::ConfigApplied, SystemTime::now());
                (Some(version), ConfigRecord { before: applied.before.clone(), ..record })
            }
            Err(_) => (
                self.origin.as_ref().map(|origin| Arc::clone(&origin.version)),
                ConfigRecord::of(ConfigWhat::ConfigRefused, SystemTime::now()),
            ),
        };
        let (errors, needs_restart) = match applied {
            Ok(_) => (Vec::new(), Vec::new()),
            Err(Refused::Wrong(text) | Refused::NotNow(text) | Refused::Defect(text)) => {
                (text.lines().map(str::to_owned).collect(), Vec::new())
            }
            Err(Refused::NeedsRestart(settings)) => (Vec::new(), settings),
        };
        let version_in_force = version.clone();
        let outcome =
            ReloadOutcome { applied: is_applied, version: version_in_force, errors, needs_restart };
        let news = self.refusals.weigh(&outcome, Instant::now());
        if !is_applied {
            say_refused(&outcome, news);
        }
        if news == News::New {
            let record = ConfigRecord { version, detail: detail(&outcome), ..record };
            self.reach.audit.send_config(record);
        }
        self.reloads.went(&outcome, news == News::New);
        if attempt == Attempt::First {
            self.systemd.ready();
        }
        outcome
    }

    async fn apply(&mut self) -> Result<Applied, Refused> {
        let Some(origin) = self.origin.clone() else {
            self.generation.policies().reload_now();
            return Err(Refused::Wrong("the configuration is not from a file".to_owned()));
        };
        // A file that changes between here and there is looked at again.
        self.seen = version_of(origin.file.clone()).await;
        let file = origin.file;
        let config = blocking(move || load(&file)).await??;
        let needs_restart = self.fixed.differences(&config.fixed);
        if !needs_restart.is_empty() {
            return Err(Refused::NeedsRestart(needs_restart));
        }
        let (watch, catalog) = (config.reload.watch, config.catalog.clone());
        let origin = config
            .origin
            .clone()
            .unwrap_or(Origin { file: PathBuf::new(), version: Arc::default() });
        let held = self.generation.policies().hold().await;
        let next = self.prepare(plan(config)).await?;
        self.warn_of_losses(&next);
        self.put_in_force(next, held).await?;
        self.reach.catalog.configure(catalog);
        self.watch = watch;
        let before = self.origin.replace(origin.clone()).map(|origin| origin.version);
        Ok(Applied { origin, before })
    }

    /// Makes everything that is to be in force, and changes nothing.
    async fn prepare(&mut self, plan: Plan) -> Result<Generation, Refused> {
        // Policies can be thousands, and their files be written just now.
        let next = {
            let before = Arc::clone(&self.generation);
            let catalog = self.reach.catalog.clone();
            blocking(move || before.following(plan, &catalog)).await?.map_err(Refused::Wrong)?
        };
        // The callers of a new issuer are not to be the ones who wait for its keys.
        let missing = next.authenticator().fetch_new(&*self.reach.http).await;
        if missing.is_empty() {
            return Ok(next);
        }
        let lines = missing.iter().map(|(issuer, error)| {
            format!("entra.tenants: there are no keys of the new issuer `{issuer}`: {error}")
        });
        Err(Refused::NotNow(lines.collect::<Vec<_>>().join("\n")))
    }

    /// Once it can be taken over: what is tried again and again says nothing each time.
    fn warn_of_losses(&self, next: &Generation) {
        next.policies().say_changes(self.generation.policies());
        let [before, after] =
            [&*self.generation, next].map(|generation| generation.explainer.route_count());
        if after < before.div_ceil(2) {
            tracing::warn!(before, after, "more than half of the routes are gone");
        }
    }

    /// Turns the pointer. From the next request on nothing is decided by what was before.
    /// `held` keeps the policies as they were read for it until then.
    async fn put_in_force(
        &mut self,
        next: Generation,
        held: OwnedMutexGuard<()>,
    ) -> Result<(), Refused> {
        let next = Arc::new(next);
        let replaced = {
            let (next, reach) = (Arc::clone(&next), self.reach.clone());
            // What the catalog claims is worked out for other routes: that can be much.
            blocking(move || {
                let deadline = next.check.deadline + LAST_CHANCE;
                let limits = CallLimits { deadline, max_message_bytes: reach.max_message_bytes };
                reach.ownership.reroute(next.routes().clone(), || {
                    reach.endpoint.limit(limits);
                    let (explainer, answer) = (next.explainer.clone(), next.answer.clone());
                    let replaced = reach.check.replace(explainer, answer, next.check.clone());
                    reach.current.store(next.explainer.clone());
                    replaced
                })
            })
            .await?
        };
        drop(held);
        let before = std::mem::replace(&mut self.generation, next);
        self.change_tasks(&before).await;
        // Very many routes take their time to be freed, which no request that held them last
        // is to spend.
        tokio::spawn(async move {
            while replaced.is_in_use() {
                sleep(RETIRE_INTERVAL).await;
            }
            spawn_blocking(move || drop((replaced, before)));
        });
        Ok(())
    }

    fn start(&mut self) {
        let tasks = &mut self.tasks;
        let http = &self.reach.http;
        if tasks.keys.is_none() {
            let (authenticator, http) = (self.generation.authenticator().clone(), Arc::clone(http));
            let run = |stop| async move { authenticator.run(http, stop).await };
            tasks.keys = Some(Running::start("keys", run));
        }
        if tasks.groups.is_none()
            && let Some(resolver) = self.generation.resolver.clone()
        {
            let http = Arc::clone(http);
            let run = |stop| async move { resolver.run(http, stop).await };
            tasks.groups = Some(Running::start("groups", run));
        }
        if tasks.policies.is_none() {
            let policies = self.generation.policies().clone();
            let run = |stop| async move { policies.run(stop).await };
            tasks.policies = Some(Running::start("policies", run));
        }
    }

    /// Ends the tasks of what is not in force any more, and starts those of what is. The ones
    /// go before the others come: two would fetch the same keys.
    async fn change_tasks(&mut self, before: &Generation) {
        let now = &self.generation;
        let stays = now.authenticator().is(before.authenticator());
        end(&mut self.tasks.keys, stays).await;
        let stays = match (&now.resolver, &before.resolver) {
            (Some(now), Some(before)) => now.is(before),
            (None, None) => true,
            _ => false,
        };
        end(&mut self.tasks.groups, stays).await;
        end(&mut self.tasks.policies, now.policies().is(before.policies())).await;
        self.start();
    }
}

impl Tasks {
    fn all(&mut self) -> impl Iterator<Item = &mut Running> {
        [&mut self.keys, &mut self.groups, &mut self.policies].into_iter().flatten()
    }
}

async fn ordered(stop: &mut watch::Receiver<bool>) {
    // Where nobody can order it any more, it is over as well.
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn end(task: &mut Option<Running>, stays: bool) {
    if !stays && let Some(task) = task.take() {
        task.end().await;
    }
}

/// Reads and checks the file, and the policies that it names.
fn load(file: &std::path::Path) -> Result<Config, Refused> {
    Config::load(file).map_err(|problems| {
        let mut text = problems.to_string();
        if let Err(errors) = PolicySet::load(problems.policy()) {
            text.push_str(&format!("\n{errors}"));
        }
        Refused::Wrong(text)
    })
}

pub(super) fn plan(config: Config) -> Plan {
    Plan {
        entra: config.entra,
        overage: config.overage,
        membership: config.membership,
        routes: config.routes,
        route_table: config.route_table,
        delegations: config.delegations,
        policy: config.policy,
        debug_groups: config.debug_groups,
        answer: config.answer,
        denials: config.denials,
        check: config.check,
    }
}

async fn version_of(file: PathBuf) -> Option<Result<Arc<str>, String>> {
    let version = spawn_blocking(move || Origin::version_of(&file)).await;
    Some(version.unwrap_or_else(|error| Err(error.to_string())))
}

/// Off the threads of the runtime. A panic changes nothing either.
async fn blocking<R: Send + 'static>(
    run: impl FnOnce() -> R + Send + 'static,
) -> Result<R, Refused> {
    spawn_blocking(run).await.map_err(|error| {
        Refused::Defect(format!("the configuration could not be taken over: a defect: {error}"))
    })
}

/// What the log says of a refusal.
fn say_refused(outcome: &ReloadOutcome, news: News) {
    let (errors, needs_restart) = (outcome.errors.join("\n"), outcome.needs_restart.join(", "));
    let in_force = outcome.version.as_deref().unwrap_or_default();
    match news {
        News::New => tracing::error!(
            errors,
            needs_restart,
            in_force,
            "the configuration is not taken over: the one before stays as it is"
        ),
        News::Still(unsaid) => tracing::error!(
            errors,
            needs_restart,
            in_force,
            unsaid,
            "the configuration is still not taken over"
        ),
        News::Known => {}
    }
}

/// What is on record of a refusal.
fn detail(outcome: &ReloadOutcome) -> Option<Box<str>> {
    let restart =
        outcome.needs_restart.iter().map(|setting| format!("`{setting}` needs a restart"));
    let all: Vec<_> = outcome.errors.iter().cloned().chain(restart).collect();
    let shown: Vec<_> = all.iter().take(MAX_RECORDED).map(String::as_str).collect();
    let more = match all.len().checked_sub(MAX_RECORDED) {
        Some(more) if more > 0 => format!("; and {more} more"),
        _ => String::new(),
    };
    (!all.is_empty()).then(|| format!("{}{more}", shown.join("; ")).into())
}
