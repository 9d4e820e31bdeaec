//! A catalog that answers with what it is given, and what becomes of it crawl by crawl.

#![allow(dead_code, reason = "each test binary uses its own part of this module")]

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::{Value, json};
use stagedoor::catalog::{
    Adopted, BackstageSettings, Catalog, CatalogSettings, GuardSettings, Held, Observe, Snapshot,
    SourceSettings, changes,
};
use stagedoor::clock::Now;
use stagedoor::domain::EntityRef;
use stagedoor::fetch::{Exchange, FetchError, Incoming, Limits, Outgoing};
use stagedoor::shutdown::{Shutdown, ShutdownHandle};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

pub(crate) const REFRESH: Duration = Duration::from_secs(60);
pub(crate) const MAX_AGE: Duration = Duration::from_secs(3600);
pub(crate) const ADOPT_AFTER: u32 = 3;

/// A catalog that answers with what it is given, in one page, as Backstage does: with an
/// ETag.
#[derive(Debug, Default)]
pub(crate) struct Served {
    entities: Mutex<Vec<Value>>,
    down: Mutex<bool>,
    asked: Mutex<Vec<&'static str>>,
}

impl Served {
    pub(crate) fn set(&self, entities: Vec<Value>) {
        *self.entities.lock().unwrap() = entities;
    }

    pub(crate) fn set_down(&self, down: bool) {
        *self.down.lock().unwrap() = down;
    }

    /// What was asked for since the last time.
    pub(crate) fn asked(&self) -> Vec<&'static str> {
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

pub(crate) fn fold(text: &str) -> u64 {
    text.bytes().fold(7, |hash, byte| hash.wrapping_mul(31).wrapping_add(u64::from(byte)))
}

/// What somebody was told, in order.
#[derive(Debug, Default)]
pub(crate) struct Told(Mutex<Vec<String>>);

impl Told {
    pub(crate) fn take(&self) -> Vec<String> {
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

pub(crate) struct Running {
    pub(crate) catalog: Catalog,
    pub(crate) served: Arc<Served>,
    pub(crate) told: Arc<Told>,
    pub(crate) stop: ShutdownHandle,
    pub(crate) task: JoinHandle<()>,
}

impl Running {
    pub(crate) fn start(entities: Vec<Value>, store: Option<&Path>) -> Self {
        let served = Arc::new(Served::default());
        served.set(entities);
        Self::on(served, store)
    }

    pub(crate) fn on(served: Arc<Served>, store: Option<&Path>) -> Self {
        Self::aging(served, store, MAX_AGE)
    }

    pub(crate) fn aging(served: Arc<Served>, store: Option<&Path>, max_age: Duration) -> Self {
        let store = store.map(Path::to_owned);
        Self::with(served, CatalogSettings { max_age, store, ..settings() })
    }

    pub(crate) fn with(served: Arc<Served>, settings: CatalogSettings) -> Self {
        let catalog = Catalog::new(settings);
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
    pub(crate) async fn crawl(&self) {
        // It may be due at the very end of that.
        sleep(REFRESH + Duration::from_millis(1)).await;
    }

    pub(crate) fn owners(&self, of: &str) -> Vec<String> {
        owners(&self.catalog.snapshot().expect("a snapshot"), of)
    }

    pub(crate) fn held(&self) -> Option<Held> {
        self.catalog.status(now()).held
    }

    pub(crate) async fn stop(self) {
        self.stop.drain();
        self.task.await.unwrap();
    }
}

pub(crate) fn now() -> Now {
    Now { unix: Now::read().unix, instant: Instant::now() }
}

pub(crate) fn owners(snapshot: &Snapshot, of: &str) -> Vec<String> {
    let entity = snapshot.entity(&EntityRef::parse(of).unwrap());
    entity.map_or_else(Vec::new, |entity| entity.owners().map(ToString::to_string).collect())
}

pub(crate) fn id(kind: char, number: usize) -> String {
    format!("{}-0000-0000-0000-{number:012}", kind.to_string().repeat(8))
}

pub(crate) fn entity(
    kind: &str,
    name: &str,
    uid: usize,
    location: &str,
    relations: &[(&str, &str)],
) -> Value {
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

pub(crate) fn group(number: usize, parent: Option<usize>) -> Value {
    let parent = parent.map(|parent| format!("group:default/g{parent}"));
    let relations: Vec<_> = parent.iter().map(|parent| ("childOf", parent.as_str())).collect();
    let location = format!("msgraph:default/{}", id('a', number + 1));
    let mut group = entity("Group", &format!("g{number}"), 100 + number, &location, &relations);
    group["metadata"]["annotations"]["graph.microsoft.com/group-id"] = json!(id('a', number + 1));
    group
}

pub(crate) fn user(number: usize, groups: &[usize]) -> Value {
    let groups: Vec<String> =
        groups.iter().map(|group| format!("group:default/g{group}")).collect();
    let relations: Vec<_> = groups.iter().map(|group| ("memberOf", group.as_str())).collect();
    let location = format!("msgraph:default/{}", id('b', number + 1));
    let mut user = entity("User", &format!("u{number}"), 200 + number, &location, &relations);
    user["metadata"]["annotations"]["graph.microsoft.com/user-id"] = json!(id('b', number + 1));
    user
}

pub(crate) fn component(number: usize, owner: &str) -> Value {
    let location = format!("url:https://github.com/contoso/c{number}/catalog-info.yaml");
    entity("Component", &format!("c{number}"), 300 + number, &location, &[("ownedBy", owner)])
}

/// Ten components, ten groups, ten users in one group each.
pub(crate) fn organisation() -> Vec<Value> {
    let groups = (0..10).map(|number| group(number, None));
    let users = (0..10).map(|number| user(number, &[number]));
    let components = (0..10).map(|number| component(number, &format!("group:default/g{number}")));
    groups.chain(users).chain(components).collect()
}

/// Everything but what a test takes away.
pub(crate) fn without(gone: impl Fn(&str) -> bool) -> Vec<Value> {
    let kept = |entity: &Value| !gone(entity["metadata"]["name"].as_str().unwrap());
    organisation().into_iter().filter(kept).collect()
}

/// With these components owned by another group.
pub(crate) fn reassigned(components: usize) -> Vec<Value> {
    let mut entities = organisation();
    for entity in
        entities.iter_mut().filter(|entity| entity["kind"] == "Component").take(components)
    {
        entity["relations"][0]["targetRef"] = json!("group:default/g9");
    }
    entities
}

/// Sixty seconds between crawls, an hour of age, a fifth of loss, three crawls.
pub(crate) fn settings() -> CatalogSettings {
    CatalogSettings {
        source: SourceSettings::Backstage(BackstageSettings {
            url: "https://backstage.example.com".parse().unwrap(),
            token_file: None,
            page_size: 500,
            crawl_timeout: Duration::from_secs(60),
            trusted_id_locations: Vec::new(),
            graph_providers: vec!["default".to_owned()],
        }),
        refresh_every: REFRESH,
        max_age: MAX_AGE,
        guard: GuardSettings {
            max_loss_percent: 20,
            max_reassigned_percent: 20,
            adopt_after: ADOPT_AFTER,
        },
        root_groups_grant: false,
        store: None,
        shared: None,
    }
}
