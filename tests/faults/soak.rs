//! A busy installation for a while: many requests at a fixed rate while keys, policies, the
//! configuration and the catalog change all the time, and every answer judged.
//!
//! `make soak MINUTES=15` runs it. `STAGEDOOR_SOAK_RATE` says how many requests a second.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use devtenant::backstage::component;
use devtenant::front::Authority;
use devtenant::keys::SigningKey;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::callers::{ALL, Caller, May, WAITING};
use crate::figures::{millis, of, within};
use crate::load::{Load, Pace, Times, Window};
use crate::process::Usage;
use crate::support::stack::POLICY;
use crate::world::{Lane, Setting, World, until};

/// Small memories, so that they are full soon, and what grows on is a leak.
const SMALL: Setting = Setting {
    entra: "  token_cache: { max_entries: 2000 }\n",
    graph: ", max_entries: 1000",
    policy: ", cache: { max_entries: 2000 }",
    ..Setting::USUAL
};
/// Of those who are known there are more, as in life: so many ask at a time.
const KNOWN: usize = 8;
/// Between two changes of one kind.
const PAUSE: Duration = Duration::from_secs(2);
/// What memory may grow by from the middle third to the last: a tenth and this, in bytes.
const MAY_GROW: u64 = 8 << 20;
/// And descriptors by so many.
const MORE_DESCRIPTORS: usize = 10;

const STRANGERS: [Caller; 3] = [Caller::Stranger, Caller::NewStranger, Caller::ListedStranger];

/// What changes meanwhile.
#[derive(Clone)]
struct Stage {
    world: Arc<World>,
    load: Arc<Load>,
}

impl Stage {
    /// From now on it changes whether they may.
    fn changing(&self, callers: &[Caller], to: May) {
        for caller in callers {
            self.load.rule(*caller, to);
        }
    }

    async fn answered(&self, callers: &[Caller], outcome: &str) -> Result<()> {
        for caller in callers {
            let so = || async { self.load.last(*caller) == outcome };
            until(&format!("{caller:?} gets {outcome}"), so).await?;
        }
        // What was asked before the change and comes after it may say either.
        self.load.more(2).await
    }

    /// A key comes, another one goes, and back.
    async fn keys(&self, round: u32) -> Result<()> {
        let (comes, goes) = match round.is_multiple_of(2) {
            true => (Caller::NextKey, Caller::OldKey),
            false => (Caller::OldKey, Caller::NextKey),
        };
        let key = |caller| match caller {
            Caller::OldKey => self.world.old_key.clone(),
            _ => SigningKey::test(1),
        };
        self.changing(&[comes, goes], May::Either);
        self.world.tenant.publish_key(&key(comes));
        self.world.tenant.withdraw_key(key(goes).kid());
        self.answered(&[comes], "200").await?;
        self.answered(&[goes], "token_key_unknown").await?;
        self.changing(&[comes], May::Yes);
        self.changing(&[goes], May::No);
        Ok(())
    }

    /// Another team is let in, and no more.
    async fn policies(&self, round: u32) -> Result<()> {
        let open = "@id(\"others\") permit (principal in Group::\"group:default/orders-team\", \
                    action, resource);\n";
        let opens = round.is_multiple_of(2);
        self.changing(&STRANGERS, May::Either);
        let text = if opens { format!("{POLICY}{open}") } else { POLICY.to_owned() };
        self.world.write("policy.cedar", text)?;
        self.answered(&STRANGERS, if opens { "200" } else { "not_permitted" }).await?;
        self.changing(&STRANGERS, if opens { May::Yes } else { May::No });
        Ok(())
    }

    async fn configuration(&self, round: u32) -> Result<()> {
        let counter = "stagedoor_config_reloads_total";
        let before = self.world.metric(counter).await;
        let text = std::fs::read_to_string(self.world.path("stagedoor.yaml"))?;
        let (from, to) = match round.is_multiple_of(2) {
            true => ("queue_timeout: 1s", "queue_timeout: 1100ms"),
            false => ("queue_timeout: 1100ms", "queue_timeout: 1s"),
        };
        ensure!(text.contains(from), "no `{from}` in the configuration");
        self.world.write("stagedoor.yaml", text.replace(from, to))?;
        self.world.process.signal("HUP");
        until("the configuration is read", || async { self.world.metric(counter).await > before })
            .await
    }

    /// Another snapshot, by which the same may.
    async fn catalog(&self, round: u32) -> Result<()> {
        let before = self.version().await?;
        let mut entities = self.world.entities.clone();
        entities.push(component(&format!("news-{round}"), "orders-team"));
        self.world.backstage.set_entities(entities);
        until("there is another snapshot", || async {
            self.version().await.is_ok_and(|version| version != before)
        })
        .await
    }

    async fn version(&self) -> Result<String> {
        let status: serde_json::Value = serde_json::from_str(&self.world.admin("/status").await?)?;
        let version = status["catalog"]["version"].as_str();
        Ok(version.context("no version of the catalog")?.to_owned())
    }

    /// Goes on with changes of one kind, and says where one came to no end.
    fn go_on<F>(
        &self,
        done: &Arc<AtomicUsize>,
        change: impl Fn(Self, u32) -> F + Send + 'static,
    ) -> JoinHandle<anyhow::Error>
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let (stage, done) = (self.clone(), Arc::clone(done));
        tokio::spawn(async move {
            for round in 0.. {
                if let Err(error) = change(stage.clone(), round).await {
                    return error;
                }
                done.fetch_add(1, Ordering::Relaxed);
                sleep(PAUSE).await;
            }
            anyhow::anyhow!("there are no more numbers")
        })
    }
}

/// What a third of the time took of the machine, in bytes and descriptors: the most.
fn most(samples: &[Usage]) -> (u64, usize) {
    let memory = samples.iter().map(|usage| usage.memory).max();
    let descriptors = samples.iter().map(|usage| usage.descriptors).max();
    (memory.unwrap_or_default(), descriptors.unwrap_or_default())
}

fn latencies(times: &Times) -> String {
    let mut text = String::from(
        "| who | answers | p50 in ms | p99 | p99.9 | longest |\n| --- | ---: | ---: | ---: | ---: | ---: |\n",
    );
    let waits = |caller: Caller| {
        WAITING.contains(&caller) || !matches!(caller.may(), May::Yes) || caller == Caller::Listed
    };
    type Wanted<'a> = &'a dyn Fn(Caller) -> bool;
    let groups: [(&str, Wanted<'_>); 3] = [
        ("known and let in", &|caller| !waits(caller)),
        ("new and let in", &|caller| WAITING.contains(&caller)),
        ("all", &|_| true),
    ];
    for (who, wanted) in groups {
        let times =
            of(times, |caller, outcome| wanted(caller) && (outcome == "200" || who == "all"));
        let at = |part| within(part, times.clone()).map_or(0.0, millis);
        // Writing to a text never fails.
        let _ = writeln!(
            text,
            "| {who} | {} | {:.1} | {:.1} | {:.1} | {:.1} |",
            times.len(),
            at(0.5),
            at(0.99),
            at(0.999),
            at(1.0),
        );
    }
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "as long as one wants it to be: make soak"]
async fn soak() {
    let setting = |name: &str, usual: f64| {
        std::env::var(name).map_or(usual, |value| value.parse().expect("a number"))
    };
    let length = Duration::from_secs_f64(60.0 * setting("STAGEDOOR_SOAK_MINUTES", 15.0));
    let rate = setting("STAGEDOOR_SOAK_RATE", 250.0);

    let authority = Authority::generate().unwrap();
    let lane = Arc::new(Lane::start().await.unwrap());
    let world = Arc::new(World::new(&lane, &authority, SMALL).await.unwrap());
    let callers = ALL.map(|caller| {
        let is_known = !caller.is_new() || matches!(caller, Caller::Public | Caller::Nobody);
        (caller, if is_known { KNOWN } else { 1 })
    });
    let askers: usize = callers.iter().map(|(_, askers)| askers).sum();
    #[allow(clippy::cast_precision_loss, reason = "a few dozens")]
    let pace = Pace::Every(Duration::from_secs_f64(askers as f64 / rate));
    let load = Arc::new(Load::start_at(pace, &callers, &lane, &world));
    world.process.start();
    load.served(&Window::Nobody).await.unwrap();
    load.calm();
    load.measure();
    let (begun, asked) = (Instant::now(), load.requests());

    let stage = Stage { world: Arc::clone(&world), load: Arc::clone(&load) };
    let counts: [Arc<AtomicUsize>; 4] = std::array::from_fn(|_| Arc::default());
    let mut changes = [
        stage.go_on(&counts[0], |stage, round| async move { stage.keys(round).await }),
        stage.go_on(&counts[1], |stage, round| async move { stage.policies(round).await }),
        stage.go_on(&counts[2], |stage, round| async move { stage.configuration(round).await }),
        stage.go_on(&counts[3], |stage, round| async move { stage.catalog(round).await }),
    ];
    let mut samples = Vec::new();
    while begun.elapsed() < length {
        samples.push(world.process.usage().expect("it runs"));
        for change in &mut changes {
            if change.is_finished() {
                panic!("{:#}\n{}", change.await.unwrap(), world.process.log());
            }
        }
        sleep(Duration::from_secs(1)).await;
    }
    for change in &changes {
        change.abort();
    }
    let times = load.times();
    let asked = load.requests() - asked;
    let took = begun.elapsed();
    // Who asks at this very moment is not answered any more.
    load.announce(&Window::Everybody);
    let (ends, leaks) = (world.process.ends(), world.process.leaks());
    world.process.take_down().await;
    let (_, wrongs) = load.stop();

    let third = samples.len().div_ceil(3);
    let thirds: Vec<_> = samples.chunks(third).map(most).collect();
    #[allow(clippy::cast_precision_loss, reason = "figures for people")]
    let a_second = asked as f64 / took.as_secs_f64();
    let [keys, policies, configurations, snapshots] =
        counts.map(|count| count.load(Ordering::Relaxed));
    let mut text = format!(
        "{asked} requests in {took:.0?}, {a_second:.0} a second: {} let in wrongly, {} refused \
         wrongly, {} told a wrong reason. Meanwhile {keys} changes of keys, {policies} of policies, \
         {configurations} of the configuration, {snapshots} of the catalog.\n\n{}\n",
        wrongs.admitted,
        wrongs.refused,
        wrongs.odd,
        latencies(&times)
    );
    text.push_str(
        "| a third of the time | at most MiB | at most descriptors |\n| --- | ---: | ---: |\n",
    );
    for (name, (memory, descriptors)) in ["first", "second", "last"].iter().zip(&thirds) {
        // Writing to a text never fails.
        let _ = writeln!(text, "| {name} | {} | {descriptors} |", memory >> 20);
    }
    eprintln!("{text}{:?}", wrongs.first);
    if let Ok(page) = std::env::var("STAGEDOOR_SOAK_TO") {
        crate::write_between(&page, "soak", "end of soak", &text);
    }
    assert_eq!((ends, leaks), (0, Vec::new()), "it neither ended nor wrote a token");
    assert_eq!(wrongs.count(), 0, "wrong answers");
    assert!([keys, policies, configurations, snapshots].iter().all(|count| *count > 2));
    let [_, (middle, some), (last, now)] = thirds[..] else { panic!("too short") };
    let bound = middle + middle / 10 + MAY_GROW;
    assert!(last <= bound, "memory grew from {middle} to {last} bytes, more than {bound}");
    assert!(now <= some + MORE_DESCRIPTORS, "descriptors grew from {some} to {now}");
}
