//! What a replica makes of a shared place that others have a part in, and of one that fails.

use std::path::Path;

use serde_json::json;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::*;
use crate::catalog::load_entities;
use crate::tls::Authorities;

const LEASE: Duration = Duration::from_secs(30);

fn settings(folder: &TempDir, name: &str) -> SharedSettings {
    SharedSettings {
        url: format!("file://{}", folder.path().display()),
        name: name.to_owned(),
        lease: LEASE,
        poll_every: Duration::from_secs(10),
        authorities: Authorities::default(),
    }
}

fn snapshot() -> Arc<Snapshot> {
    let team = json!({
        "kind": "Group", "metadata": { "name": "team" }, "spec": { "type": "team", "children": [] },
    });
    let service = json!({
        "kind": "Component", "metadata": { "name": "ledger" },
        "spec": { "type": "service", "lifecycle": "production", "owner": "team" },
    });
    Arc::new(load_entities(Path::new("test"), vec![(1, team), (2, service)]).expect("a snapshot"))
}

/// One that leads.
async fn leading(folder: &TempDir, name: &str) -> Sharing {
    let sharing = Sharing::start(&settings(folder, name), None).expect("started");
    let begun = Instant::now();
    while sharing.lease().is_none() {
        assert!(begun.elapsed() < LEASE, "it never leads");
        sleep(Duration::from_millis(10)).await;
    }
    sharing
}

/// Another that leads, without a part in anything else.
async fn elected(folder: &TempDir) -> (SharedStore, Lease) {
    let settings = settings(folder, "other");
    let store = SharedStore::open(&settings.url, &settings.authorities).expect("a place");
    let mut elector = Elector::new(store.clone(), "other", LEASE).expect("a candidate");
    match elector.acquire_or_renew(Now::read()).await.expect("asked") {
        Standing::Leading(lease) => (store, lease),
        Standing::Following { holder, .. } => panic!("`{holder}` leads"),
    }
}

#[tokio::test]
async fn a_snapshot_from_the_future_is_not_taken() {
    let folder = tempfile::tempdir().expect("a folder");
    let (store, lease) = elected(&folder).await;
    let mut follower = Sharing::start(&settings(&folder, "follower"), None).expect("started");
    assert_eq!(follower.poll().await.map(|found| found.is_some()), Ok(false));
    // As far as clocks may differ, and then further.
    for (ahead, taken) in [(240, true), (360, false)] {
        let now = Now::read();
        let dated = now.unix + ahead;
        let published = store.publish(&lease, encode(&snapshot()).into(), dated, now).await;
        assert!(matches!(published, Ok(Published::Done(_))), "{published:?}");
        let polled = follower.poll().await.map(|found| found.map(|found| found.crawled_at()));
        if taken {
            assert_eq!(polled, Ok(Some(dated)));
            continue;
        }
        let error = polled.expect_err("from the future");
        assert_eq!(error.code, "shared");
        assert!(error.message.starts_with("the shared snapshot is dated 3"), "{error:?}");
        assert!(error.message.ends_with(" s in the future"), "{error:?}");
    }
}

#[tokio::test]
async fn a_later_crawl_is_not_replaced_by_an_earlier_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut leader = leading(&folder, "leader").await;
    let later = Now::read().unix;
    assert_eq!(leader.publish(&snapshot(), later).await, Ok(()));
    assert_eq!(leader.publish(&snapshot(), later - 100).await, Ok(()));
    let mut follower = Sharing::start(&settings(&folder, "follower"), None).expect("started");
    let found = follower.poll().await.expect("polled").expect("a snapshot");
    assert_eq!(found.crawled_at(), later);
    // What it published itself is no news.
    assert_eq!(leader.poll().await.map(|found| found.is_some()), Ok(false));
    leader.stop().await;
}

/// By a mistake of a person, say: whoever stands in the lease publishes, and nobody else.
#[tokio::test(start_paused = true)]
async fn a_lease_that_another_took_is_given_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut first = leading(&folder, "first").await;
    std::fs::remove_file(folder.path().join("lease")).expect("removed");
    let _other = elected(&folder).await;
    assert_eq!(first.publish(&snapshot(), Now::read().unix).await, Ok(()));
    assert!(!folder.path().join("snapshot").exists(), "it published without a right to");
    sleep(LEASE / 3 + Duration::from_secs(1)).await;
    assert!(first.lease().is_none());
    first.stop().await;
}

#[tokio::test(start_paused = true)]
async fn in_a_place_that_fails_a_lease_runs_out_by_itself() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut leader = leading(&folder, "leader").await;
    std::fs::remove_file(folder.path().join("lease")).expect("removed");
    for name in ["lease", "snapshot"] {
        std::fs::create_dir(folder.path().join(name)).expect("made");
    }
    let error = leader.poll().await.map(drop).expect_err("no file");
    assert_eq!(error.code, "shared");
    assert!(error.message.contains("is no regular file"), "{error:?}");
    let error = leader.publish(&snapshot(), Now::read().unix).await.expect_err("no file");
    assert_eq!(error.code, "shared");
    sleep(LEASE / 3 + Duration::from_secs(1)).await;
    assert!(leader.lease().is_some(), "nobody else can have it");
    sleep(LEASE).await;
    assert!(leader.lease().is_none());
    // It can't be given back either, and nobody waits for that.
    let begun = Instant::now();
    leader.stop().await;
    assert!(begun.elapsed() <= RELEASE_TIMEOUT);
}
