//! The same protocol over HTTP, where an emulator of Azure Blob Storage or S3 runs.

use super::*;
use crate::catalog::shared::{Lost, Polled, Reader, Seen};
use crate::tls::Authorities;

/// An address as the configuration takes it; the rest of the environment too.
const ADDRESS: &str = "STAGEDOOR_TEST_SHARED_URL";

fn open(url: &str) -> SharedStore {
    SharedStore::open(url, &Authorities::default()).unwrap()
}

#[tokio::test]
async fn elects_publishes_and_reads_over_http() {
    let Ok(url) = std::env::var(ADDRESS) else {
        eprintln!("NOT RUN: {ADDRESS} names no store (scripts/shared-emulators has two)");
        return;
    };
    let url = format!("{url}/{}", uuid::Uuid::now_v7());
    let store = open(&url);
    let mut reader = Reader::new(store.clone(), None);
    assert_eq!(reader.poll(now()).await.unwrap(), Seen::Absent);
    let (mut a, mut b) = (elector(&store, "a"), elector(&store, "b"));
    let old = lead(&mut a).await;
    follow(&mut b).await;
    assert_eq!(lead(&mut a).await.epoch(), 1);

    let large = "x".repeat(9_000_000);
    for (crawled_at, content) in [(CRAWLED, "first"), (CRAWLED + 1, &large)] {
        let published = publish(&store, &old, content, crawled_at).await;
        let Published::Done(etag) = published else { panic!("{published:?}") };
        let Seen::New(read) = reader.poll(now()).await.unwrap() else { panic!("not read") };
        assert_eq!(read.bytes, content.as_bytes());
        assert_eq!(read.etag, etag);
        assert_eq!(reader.poll(now()).await.unwrap(), Seen::Unchanged);
    }
    a.release().await.unwrap();
    let new = lead(&mut b).await;
    assert_eq!(new.epoch(), 2);
    let lost = publish(&store, &old, "a's", CRAWLED + 2).await;
    assert_eq!(lost, Published::Lost(Lost::Replaced { epoch: 1 }));
    assert!(matches!(publish(&store, &new, "b's", CRAWLED + 2).await, Published::Done(_)));

    // Of many at once, one is first.
    let race = open(&format!("{url}/race"));
    let tries = (0..12).map(|id| {
        let store = race.clone();
        async move {
            let mut elector = elector(&store, &format!("r{id}"));
            matches!(elector.acquire_or_renew(now()).await.unwrap(), Standing::Leading(_))
        }
    });
    let led = futures_util::future::join_all(tries).await;
    assert_eq!(led.iter().filter(|leads| **leads).count(), 1);
    assert_eq!(race.poll(None).await.unwrap(), Polled::Absent);

    // A bucket that isn't there is a mistake and no empty one.
    let mut missing = url::Url::parse(&url).unwrap();
    missing.set_host(Some("no-such-container")).unwrap();
    let said = open(missing.as_str()).poll(None).await.unwrap_err();
    eprintln!("RAN against {url}; a missing bucket says: {said}");
}
