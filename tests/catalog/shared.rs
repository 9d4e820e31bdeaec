//! Replicas that share snapshots in a folder: one crawls, the others follow.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::served::*;
use stagedoor::catalog::{
    CatalogSettings, CatalogState, Elector, Lease, Published, SharedSettings, SharedStore,
    Standing, encode_snapshot,
};
use stagedoor::clock::Now;
use stagedoor::tls::Authorities;
use tokio::time::sleep;

const LEASE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_secs(10);

fn replica(folder: &Path, name: &str) -> Running {
    keeping(folder, name, None)
}

/// One that keeps its last snapshot.
fn keeping(folder: &Path, name: &str, store: Option<&Path>) -> Running {
    let served = Arc::new(Served::default());
    served.set(organisation());
    let shared = SharedSettings {
        url: url(folder),
        name: name.to_owned(),
        lease: LEASE,
        poll_every: POLL,
        authorities: Authorities::default(),
    };
    let store = store.map(Path::to_owned);
    Running::with(served, CatalogSettings { shared: Some(shared), store, ..settings() })
}

fn url(folder: &Path) -> String {
    format!("file://{}", folder.display())
}

fn role(replica: &Running) -> &'static str {
    replica.catalog.status(now()).role.expect("a role")
}

/// Lets time pass until it is so; it must be within this.
async fn until(what: &str, within: Duration, mut so: impl FnMut() -> bool) {
    let began = tokio::time::Instant::now();
    while !so() {
        assert!(began.elapsed() < within, "{what}");
        sleep(Duration::from_millis(500)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn one_crawls_and_the_other_follows() {
    let folder = tempfile::tempdir().unwrap();
    let first = replica(folder.path(), "first");
    until("the first publishes", REFRESH * 2, || first.catalog.snapshot().is_some()).await;
    until("as publisher", REFRESH * 2, || role(&first) == "publisher").await;
    let second = replica(folder.path(), "second");
    until("the second follows", POLL * 3, || second.catalog.snapshot().is_some()).await;
    assert_eq!(role(&second), "follower");
    assert!(second.served.asked().is_empty(), "only one asks Backstage");

    // What the first finds the second has soon, and as old as it is.
    first.served.set(reassigned(2));
    until("the change reaches both", (REFRESH + POLL) * 2, || {
        second.owners("component:default/c0") == ["group:default/g9"]
    })
    .await;
    for _ in 0..20 {
        sleep(Duration::from_secs(7)).await;
        assert!(matches!(second.catalog.current(now()), CatalogState::Fresh(_)));
        assert!(second.served.asked().is_empty());
    }
    // What is held back does not reach the other.
    first.served.set(without(|name| name.starts_with('g') && name != "g0"));
    until("held", REFRESH * 2, || first.held().is_some()).await;
    sleep(POLL * 2).await;
    assert_eq!(second.catalog.snapshot().unwrap().counts().1, 10);
    second.stop().await;
    first.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_crawler_that_ends_hands_over() {
    for clean in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let first = replica(folder.path(), "first");
        until("the first publishes", REFRESH * 2, || {
            first.catalog.snapshot().is_some() && role(&first) == "publisher"
        })
        .await;
        let second = replica(folder.path(), "second");
        until("the second follows", POLL * 3, || second.catalog.snapshot().is_some()).await;
        let version = Arc::clone(second.catalog.snapshot().unwrap().version());
        let within = if clean {
            first.stop().await;
            // It gives the lease back.
            LEASE
        } else {
            first.task.abort();
            LEASE * 2
        };
        until("it takes over", within, || role(&second) == "publisher").await;
        second.served.set(reassigned(2));
        until("and crawls", REFRESH * 2, || {
            second.owners("component:default/c0") == ["group:default/g9"]
        })
        .await;
        assert_ne!(second.catalog.snapshot().unwrap().version(), &version);
        second.stop().await;
    }
}

/// Publishes what a crawl at that time is to have found.
async fn publish(store: &SharedStore, lease: &Lease, bytes: &[u8], crawled_at: i64) {
    let bytes = bytes.to_vec().into();
    let published = store.publish(lease, bytes, crawled_at, Now::read()).await.unwrap();
    assert!(matches!(published, Published::Done(_)), "{published:?}");
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_starts_again_does_not_go_back() {
    let (folder, kept) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = keeping(folder.path(), "first", Some(kept.path()));
    let snapshot = folder.path().join("snapshot");
    until("it publishes", REFRESH * 2, || snapshot.exists()).await;
    let crawled_at = first.catalog.snapshot().unwrap().crawled_at();
    first.stop().await;
    let crawled = Running::start(reassigned(5), None);
    crawled.crawl().await;
    let other = encode_snapshot(&crawled.catalog.snapshot().unwrap());
    crawled.stop().await;

    // Of a publisher that came later, and of a crawl that came before.
    std::fs::remove_file(&snapshot).unwrap();
    let store = SharedStore::open(&url(folder.path()), &Authorities::default()).unwrap();
    let mut publisher = Elector::new(store.clone(), "publisher", LEASE).unwrap();
    let Standing::Leading(lease) = publisher.acquire_or_renew(Now::read()).await.unwrap() else {
        panic!("the lease was not given back");
    };
    publish(&store, &lease, &other, crawled_at - 100).await;
    let again = keeping(folder.path(), "again", Some(kept.path()));
    until("it has what it kept", POLL, || again.catalog.snapshot().is_some()).await;
    sleep(POLL + POLL / 5).await;
    assert_eq!(role(&again), "follower");
    assert_eq!(again.owners("component:default/c0"), ["group:default/g0"]);

    // What came later it takes.
    publish(&store, &lease, &other, crawled_at + 100).await;
    until("it has what is newer", POLL * 2, || {
        again.owners("component:default/c0") == ["group:default/g9"]
    })
    .await;
    again.stop().await;
}

/// A folder on which nothing is mounted any more is empty, or isn't there.
#[tokio::test(start_paused = true)]
async fn a_place_that_is_gone_is_a_failure() {
    for empty in [true, false] {
        let outer = tempfile::tempdir().unwrap();
        let folder = outer.path().join("shared");
        std::fs::create_dir(&folder).unwrap();
        let first = replica(&folder, "first");
        until("the first publishes", REFRESH * 2, || folder.join("snapshot").exists()).await;
        let second = replica(&folder, "second");
        until("the second follows", POLL * 3, || second.catalog.snapshot().is_some()).await;
        let failures = || second.catalog.status(now()).failures.get("shared").copied();
        assert_eq!(failures(), None);

        first.task.abort();
        std::fs::rename(&folder, outer.path().join("away")).unwrap();
        if empty {
            std::fs::create_dir(&folder).unwrap();
        }
        until("it is counted", POLL * 3, || failures().is_some()).await;
        if empty {
            // It can't know better than to lead there.
            until("it publishes", REFRESH * 2, || folder.join("snapshot").exists()).await;
        }
        assert!(second.catalog.snapshot().is_some());
        second.stop().await;
    }
}
