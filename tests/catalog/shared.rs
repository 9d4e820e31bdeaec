//! Replicas that share snapshots in a folder: one crawls, the others follow.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::served::*;
use stagedoor::catalog::{CatalogSettings, CatalogState, SharedSettings};
use stagedoor::tls::Authorities;
use tokio::time::sleep;

const LEASE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_secs(10);

fn replica(folder: &Path, name: &str) -> Running {
    let served = Arc::new(Served::default());
    served.set(organisation());
    let shared = SharedSettings {
        url: format!("file://{}", folder.display()),
        name: name.to_owned(),
        lease: LEASE,
        poll_every: POLL,
        authorities: Authorities::default(),
    };
    Running::with(served, CatalogSettings { shared: Some(shared), ..settings() })
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
