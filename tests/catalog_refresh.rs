//! What becomes of one crawl after another: what is adopted, what is held back, what is
//! kept for the next start.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test a panic is the result")]
#![allow(clippy::indexing_slicing, clippy::panic, reason = "as above")]

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::{Value, json};
use stagedoor::catalog::{
    Adopted, BackstageSettings, Catalog, CatalogSettings, CatalogState, ConfirmError, FindingKind,
    GuardSettings, Held, Observe, Snapshot, SourceSettings, changes, read_snapshot,
};
use stagedoor::clock::Now;
use stagedoor::domain::EntityRef;
use stagedoor::fetch::{Exchange, FetchError, Incoming, Limits, Outgoing};
use stagedoor::shutdown::{Shutdown, ShutdownHandle};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

const REFRESH: Duration = Duration::from_secs(60);
const MAX_AGE: Duration = Duration::from_secs(3600);
const ADOPT_AFTER: u32 = 3;

/// A catalog that answers with what it is given, in one page, as Backstage does: with an
/// ETag.
#[derive(Debug, Default)]
struct Served {
    entities: Mutex<Vec<Value>>,
    down: Mutex<bool>,
    asked: Mutex<Vec<&'static str>>,
}

impl Served {
    fn set(&self, entities: Vec<Value>) {
        *self.entities.lock().unwrap() = entities;
    }

    fn set_down(&self, down: bool) {
        *self.down.lock().unwrap() = down;
    }

    /// What was asked for since the last time.
    fn asked(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

impl Exchange for Served {
    async fn exchange(
        &self,
        request: Outgoing<'_>,
        _limits: Limits,
    ) -> Result<Incoming, FetchError> {
        if *self.down.lock().unwrap() {
            let (status, headers) = (StatusCode::SERVICE_UNAVAILABLE, HeaderMap::new());
            return Ok(Incoming { status, headers, body: Bytes::new() });
        }
        let entities = self.entities.lock().unwrap().clone();
        let counts = request.url.query_pairs().any(|(name, value)| name == "limit" && value == "0");
        let items = if counts { Vec::new() } else { entities.clone() };
        let page = json!({ "items": items, "totalItems": entities.len(), "pageInfo": {} });
        let body = page.to_string();
        let etag = HeaderValue::try_from(format!("W/\"{}-{}\"", body.len(), fold(&body))).unwrap();
        let known = request.headers.iter().find(|(name, _)| *name == header::IF_NONE_MATCH);
        if known.is_some_and(|(_, known)| *known == etag) {
            self.asked.lock().unwrap().push("unchanged");
            let (status, headers) = (StatusCode::NOT_MODIFIED, HeaderMap::new());
            return Ok(Incoming { status, headers, body: Bytes::new() });
        }
        self.asked.lock().unwrap().push(if counts { "count" } else { "page" });
        let json = HeaderValue::from_static("application/json");
        let headers = [(header::CONTENT_TYPE, json), (header::ETAG, etag)].into_iter().collect();
        Ok(Incoming { status: StatusCode::OK, headers, body: body.into() })
    }
}

fn fold(text: &str) -> u64 {
    text.bytes().fold(7, |hash, byte| hash.wrapping_mul(31).wrapping_add(u64::from(byte)))
}

/// What somebody was told, in order.
#[derive(Debug, Default)]
struct Told(Mutex<Vec<String>>);

impl Told {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Observe for Told {
    fn adopting(&self, adopted: &Adopted<'_>) {
        let mut told = self.0.lock().unwrap();
        match adopted.before {
            None => told.push("first".to_owned()),
            Some(before) => changes(before, adopted.after, |change| told.push(change.to_string())),
        }
    }

    fn holding(&self, held: &Held) {
        self.0.lock().unwrap().push(format!("held {held}"));
    }
}

struct Running {
    catalog: Catalog,
    served: Arc<Served>,
    told: Arc<Told>,
    stop: ShutdownHandle,
    task: JoinHandle<()>,
}

impl Running {
    fn start(entities: Vec<Value>, store: Option<&Path>) -> Self {
        let served = Arc::new(Served::default());
        served.set(entities);
        Self::on(served, store)
    }

    fn on(served: Arc<Served>, store: Option<&Path>) -> Self {
        Self::aging(served, store, MAX_AGE)
    }

    fn aging(served: Arc<Served>, store: Option<&Path>, max_age: Duration) -> Self {
        let catalog = Catalog::new(CatalogSettings {
            source: SourceSettings::Backstage(BackstageSettings {
                url: "https://backstage.example.com".parse().unwrap(),
                token_file: None,
                page_size: 500,
                crawl_timeout: Duration::from_secs(60),
                trusted_id_locations: Vec::new(),
                graph_providers: vec!["default".to_owned()],
            }),
            refresh_every: REFRESH,
            max_age,
            guard: GuardSettings {
                max_loss_percent: 20,
                max_reassigned_percent: 20,
                adopt_after: ADOPT_AFTER,
            },
            root_groups_grant: false,
            store: store.map(Path::to_owned),
        });
        let told = Arc::new(Told::default());
        catalog.observe(Arc::clone(&told) as Arc<dyn Observe>);
        let (stop, shutdown) = Shutdown::new();
        let task = tokio::spawn({
            let (catalog, served) = (catalog.clone(), Arc::clone(&served));
            async move { catalog.run(served, shutdown.receiver()).await }
        });
        Self { catalog, served, told, stop, task }
    }

    /// Lets one crawl happen.
    async fn crawl(&self) {
        sleep(REFRESH).await;
    }

    fn owners(&self, of: &str) -> Vec<String> {
        owners(&self.catalog.snapshot().expect("a snapshot"), of)
    }

    fn held(&self) -> Option<Held> {
        self.catalog.status(now()).held
    }

    async fn stop(self) {
        self.stop.drain();
        self.task.await.unwrap();
    }
}

fn now() -> Now {
    Now { unix: Now::read().unix, instant: Instant::now() }
}

fn owners(snapshot: &Snapshot, of: &str) -> Vec<String> {
    let entity = snapshot.entity(&EntityRef::parse(of).unwrap());
    entity.map_or_else(Vec::new, |entity| entity.owners().map(ToString::to_string).collect())
}

fn id(kind: char, number: usize) -> String {
    format!("{}-0000-0000-0000-{number:012}", kind.to_string().repeat(8))
}

fn entity(kind: &str, name: &str, uid: usize, location: &str, relations: &[(&str, &str)]) -> Value {
    let relations: Vec<Value> = relations
        .iter()
        .map(|(relation, target)| json!({ "type": relation, "targetRef": target }))
        .collect();
    json!({
        "kind": kind,
        "metadata": {
            "name": name,
            "uid": id('e', uid),
            "annotations": {
                "backstage.io/managed-by-location": location,
                "backstage.io/managed-by-origin-location": location,
            },
        },
        "relations": relations,
    })
}

fn group(number: usize, parent: Option<usize>) -> Value {
    let parent = parent.map(|parent| format!("group:default/g{parent}"));
    let relations: Vec<_> = parent.iter().map(|parent| ("childOf", parent.as_str())).collect();
    let location = format!("msgraph:default/{}", id('a', number + 1));
    let mut group = entity("Group", &format!("g{number}"), 100 + number, &location, &relations);
    group["metadata"]["annotations"]["graph.microsoft.com/group-id"] = json!(id('a', number + 1));
    group
}

fn user(number: usize, groups: &[usize]) -> Value {
    let groups: Vec<String> =
        groups.iter().map(|group| format!("group:default/g{group}")).collect();
    let relations: Vec<_> = groups.iter().map(|group| ("memberOf", group.as_str())).collect();
    let location = format!("msgraph:default/{}", id('b', number + 1));
    let mut user = entity("User", &format!("u{number}"), 200 + number, &location, &relations);
    user["metadata"]["annotations"]["graph.microsoft.com/user-id"] = json!(id('b', number + 1));
    user
}

fn component(number: usize, owner: &str) -> Value {
    let location = format!("url:https://github.com/contoso/c{number}/catalog-info.yaml");
    entity("Component", &format!("c{number}"), 300 + number, &location, &[("ownedBy", owner)])
}

/// Ten components, ten groups, ten users in one group each.
fn organisation() -> Vec<Value> {
    let groups = (0..10).map(|number| group(number, None));
    let users = (0..10).map(|number| user(number, &[number]));
    let components = (0..10).map(|number| component(number, &format!("group:default/g{number}")));
    groups.chain(users).chain(components).collect()
}

/// Everything but what a test takes away.
fn without(gone: impl Fn(&str) -> bool) -> Vec<Value> {
    let kept = |entity: &Value| !gone(entity["metadata"]["name"].as_str().unwrap());
    organisation().into_iter().filter(kept).collect()
}

/// With these components owned by another group.
fn reassigned(components: usize) -> Vec<Value> {
    let mut entities = organisation();
    for entity in
        entities.iter_mut().filter(|entity| entity["kind"] == "Component").take(components)
    {
        entity["relations"][0]["targetRef"] = json!("group:default/g9");
    }
    entities
}

#[tokio::test(start_paused = true)]
async fn what_loses_too_much_waits_until_it_persists() {
    for (name, candidate, want) in [
        (
            "entities",
            without(|name| ["c0", "c1", "c2"].contains(&name)),
            Some("3 of 10 entities with owners would go"),
        ),
        ("a few entities", without(|name| ["c0", "c1"].contains(&name)), None),
        (
            "groups",
            without(|name| ["g0", "g1", "g2"].contains(&name)),
            Some("3 of 10 groups would go"),
        ),
        (
            "bindings",
            without(|name| ["u0", "u1", "u2", "u3", "u4"].contains(&name)),
            Some("5 of 20 Entra ids would go, 5 of 10 memberships would go"),
        ),
        ("owners", reassigned(3), Some("3 of 10 entities would change owners")),
        ("a few owners", reassigned(2), None),
    ] {
        let running = Running::start(organisation(), None);
        running.crawl().await;
        let first = running.catalog.snapshot().unwrap();
        assert_eq!(running.told.take(), ["first"], "{name}");

        running.served.set(candidate.clone());
        for crawl in 1..ADOPT_AFTER {
            running.crawl().await;
            let Some(want) = want else { break };
            let held = running.held().unwrap_or_else(|| panic!("{name}: held"));
            assert!(held.to_string().contains(want), "{name}: {held}");
            assert_eq!(held.crawls, crawl, "{name}");
            assert!(!held.examples.is_empty());
            let current = running.catalog.snapshot().unwrap();
            assert_eq!(current.version(), first.version(), "{name}: the old one goes on");
            assert_eq!(running.told.take(), [format!("held {held}")], "{name}");
        }
        if want.is_some() {
            running.crawl().await;
        }
        assert_eq!(running.held(), None, "{name}: it was meant");
        assert_ne!(running.catalog.snapshot().unwrap().version(), first.version(), "{name}");
        assert!(!running.told.take().is_empty(), "{name}");
        running.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn other_losses_begin_from_the_beginning() {
    let running = Running::start(organisation(), None);
    running.crawl().await;
    let first = running.catalog.snapshot().unwrap();
    // As after a restart of Backstage: little, and each time more, and at last everything.
    for known in [1, 2, 3, 4, 5, 6] {
        let small = |name: &str| {
            name.trim_start_matches(char::is_alphabetic).parse::<usize>().unwrap() > known
        };
        running.served.set(without(small));
        running.crawl().await;
        assert_eq!(running.held().expect("held").crawls, 1, "{known}");
        assert_eq!(running.catalog.snapshot().unwrap().version(), first.version());
    }
    running.served.set(organisation());
    running.crawl().await;
    assert_eq!(running.held(), None);
    assert_eq!(running.catalog.snapshot().unwrap().version(), first.version());
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_held_ages_and_expires() {
    let running = Running::start(organisation(), None);
    running.crawl().await;
    for crawl in 0..70 {
        // Never twice the same.
        let gone = format!("u{}", crawl % 10);
        running.served.set(without(|name| name.starts_with('c') && name != "c0" || name == gone));
        running.crawl().await;
        let state = running.catalog.current(now());
        match crawl {
            0..=1 => assert!(matches!(state, CatalogState::Fresh(_)), "{crawl}: {state}"),
            4..=57 => assert!(matches!(state, CatalogState::Stale(_)), "{crawl}: {state}"),
            62.. => assert!(matches!(state, CatalogState::Expired), "{crawl}: {state}"),
            _ => {}
        }
    }
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_held_is_adopted_when_it_is_confirmed() {
    let running = Running::start(organisation(), None);
    assert_eq!(running.catalog.confirm("x"), Err(ConfirmError::Nothing));
    running.crawl().await;
    running.served.set(reassigned(5));
    running.crawl().await;
    let held = running.held().unwrap();
    assert_eq!(running.catalog.confirm("x"), Err(ConfirmError::Other));
    assert_eq!(running.owners("component:default/c0"), ["group:default/g0"]);
    // Something else by the time it is read: that was not what was confirmed.
    running.served.set(reassigned(6));
    running.catalog.confirm(&held.id).unwrap();
    sleep(Duration::from_secs(5)).await;
    let other = running.held().expect("held");
    assert_ne!(other.id, held.id);
    assert_eq!(running.owners("component:default/c0"), ["group:default/g0"]);
    running.catalog.confirm(&other.id).unwrap();
    sleep(Duration::from_secs(5)).await;
    assert_eq!(running.held(), None);
    assert_eq!(running.owners("component:default/c0"), ["group:default/g9"]);
    running.stop().await;
}

/// Somebody takes the name of an entity that is gone.
#[tokio::test(start_paused = true)]
async fn a_name_that_is_taken_over_waits() {
    let take_over = |change: &dyn Fn(&mut Value)| {
        let mut entities = organisation();
        entities.iter_mut().filter(|entity| entity["metadata"]["name"] == "c0").for_each(change);
        entities
    };
    let owned_by_nine = |entity: &mut Value| {
        entity["relations"][0]["targetRef"] = json!("group:default/g9");
    };
    let by_uid = take_over(&|entity| {
        entity["metadata"]["uid"] = json!(id('f', 1));
        owned_by_nine(entity);
    });
    let by_location = take_over(&|entity| {
        let evil = json!("url:https://github.com/evil/c0/catalog-info.yaml");
        entity["metadata"]["annotations"]["backstage.io/managed-by-origin-location"] = evil;
        owned_by_nine(entity);
    });
    for (name, entities) in [("another uid", by_uid), ("another origin", by_location)] {
        let running = Running::start(organisation(), None);
        running.crawl().await;
        running.told.take();
        running.served.set(entities.clone());
        for crawl in 1..ADOPT_AFTER {
            running.crawl().await;
            assert_eq!(running.owners("component:default/c0"), ["group:default/g0"], "{name}");
            let held = running.held().expect("held");
            assert_eq!(held.crawls, crawl, "{name}");
            assert_eq!(held.examples, ["moved component:default/c0"], "{name}");
            let findings = running.catalog.status(now()).findings;
            assert_eq!(findings.get(&FindingKind::Moved), Some(&1), "{name}");
        }
        running.crawl().await;
        assert_eq!(running.owners("component:default/c0"), ["group:default/g9"], "{name}");
        assert_eq!(running.held(), None, "{name}");
        running.stop().await;

        let running = Running::start(organisation(), None);
        running.crawl().await;
        running.served.set(entities);
        running.crawl().await;
        running.catalog.confirm(&running.held().unwrap().id).unwrap();
        sleep(Duration::from_secs(5)).await;
        assert_eq!(running.owners("component:default/c0"), ["group:default/g9"], "{name}");
        running.stop().await;
    }
    // The same author who names another owner does not wait.
    let running = Running::start(organisation(), None);
    running.crawl().await;
    running.served.set(take_over(&owned_by_nine));
    running.crawl().await;
    assert_eq!(running.owners("component:default/c0"), ["group:default/g9"]);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_unchanged_catalog_is_not_sent_again() {
    let running = Running::start(organisation(), None);
    running.crawl().await;
    let first = running.catalog.snapshot().unwrap();
    running.served.asked();
    running.crawl().await;
    running.crawl().await;
    assert_eq!(running.served.asked(), ["unchanged", "unchanged"]);
    let same = running.catalog.snapshot().unwrap();
    assert!(Arc::ptr_eq(&first, &same), "nothing that is remembered of it is lost");
    let age = running.catalog.status(now()).age.unwrap();
    assert!(age <= REFRESH, "it is as old as the last crawl: {age:?}");

    running.served.set(reassigned(1));
    running.crawl().await;
    assert_eq!(running.owners("component:default/c0"), ["group:default/g9"]);
    assert_eq!(running.served.asked(), ["page", "page", "count"]);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_next_start_needs_no_backstage() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(organisation(), Some(folder.path()));
    running.crawl().await;
    let version = Arc::clone(running.catalog.snapshot().unwrap().version());
    running.stop().await;
    assert_eq!(read_snapshot(&folder.path().join("snapshot")).unwrap().version(), &version);

    let served = Arc::new(Served::default());
    served.set_down(true);
    let running = Running::on(Arc::clone(&served), Some(folder.path()));
    sleep(Duration::from_millis(10)).await;
    let CatalogState::Fresh(snapshot) = running.catalog.current(now()) else { panic!("fresh") };
    assert_eq!(snapshot.version(), &version);
    assert!(running.catalog.status(now()).last_error.is_none());
    running.crawl().await;
    assert_eq!(running.catalog.status(now()).last_error.unwrap().code, "unavailable");
    // What it decides by is also what the next crawl is compared with.
    served.set(without(|name| name.starts_with('c') && name != "c0"));
    served.set_down(false);
    running.crawl().await;
    assert!(running.held().is_some());
    running.stop().await;

    // Its age is counted from its crawl, by the clock on the wall.
    std::thread::sleep(Duration::from_millis(2100));
    served.set_down(true);
    let running = Running::aging(served, Some(folder.path()), Duration::from_secs(1));
    sleep(Duration::from_millis(10)).await;
    assert!(matches!(running.catalog.current(now()), CatalogState::Initializing));
    let error = running.catalog.status(now()).last_error.unwrap();
    assert!(error.message.contains("`max_age` is 1 s"), "{}", error.message);
    running.stop().await;
}

/// None of these is started from, and each is named.
#[tokio::test(start_paused = true)]
async fn a_stored_snapshot_that_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("snapshot");
    let running = Running::start(organisation(), Some(folder.path()));
    running.crawl().await;
    running.stop().await;
    let good = std::fs::read(&file).unwrap();
    let changed = |at: usize, to: u8| {
        let mut bytes = good.clone();
        bytes[at] = to;
        bytes
    };
    let middle = good.len() / 2;
    for (name, bytes, want) in [
        ("empty", Vec::new(), "does not begin as one"),
        ("another file", b"{\"json\": true, \"and\": \"long enough\"}".to_vec(), "does not begin"),
        ("a later format", changed(8, 2), "format 2"),
        ("cut off", good[..middle].to_vec(), "cut off"),
        ("added to", [good.clone(), vec![0]].concat(), "cut off, or added to"),
        ("damaged", changed(middle, good[middle] ^ 1), "checksum"),
        ("older than it says", changed(20, good[20] ^ 1), "checksum"),
    ] {
        std::fs::write(&file, bytes).unwrap();
        let served = Arc::new(Served::default());
        served.set_down(true);
        let running = Running::on(served, Some(folder.path()));
        sleep(Duration::from_millis(10)).await;
        let status = running.catalog.status(now());
        assert!(matches!(status.state, CatalogState::Initializing), "{name}");
        let error = status.last_error.expect(name);
        assert_eq!(error.code, "store", "{name}");
        assert!(error.message.contains(want), "{name}: {}", error.message);
        assert!(error.message.contains("snapshot`"), "{name}: {}", error.message);
        running.stop().await;
    }
}
