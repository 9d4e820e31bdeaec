//! What gets published, what is refused, and what a reader makes of it.

use super::*;
use crate::catalog::shared::frame::Header;
use crate::catalog::shared::{Lost, Mark, Polled, Reader, Seen, SharedError, SharedLimits};

fn done(published: &Published) -> bool {
    matches!(published, Published::Done(_))
}

fn mark(epoch: u64, crawled_at: i64) -> Mark {
    Mark { epoch, crawled_at }
}

#[tokio::test]
async fn what_is_published_is_read() {
    let dir = TempDir::new().unwrap();
    for store in [memory(), folder(&dir)] {
        assert_eq!(store.poll(None).await.unwrap(), Polled::Absent);
        let mut a = elector(&store, "a");
        let lease = lead(&mut a).await;
        let large = "x".repeat(3_000_000);
        for (crawled_at, content) in [(CRAWLED, "first"), (CRAWLED + 1, &large), (CRAWLED + 2, "")]
        {
            let Published::Done(etag) = publish(&store, &lease, content, crawled_at).await else {
                panic!("not published");
            };
            let Polled::Snapshot(read) = store.poll(None).await.unwrap() else {
                panic!("not read");
            };
            assert_eq!(read.bytes, content.as_bytes());
            assert_eq!((read.mark, &read.etag), (mark(1, crawled_at), &etag));
            assert_eq!(store.poll(Some(&etag)).await.unwrap(), Polled::Unchanged);
        }
    }
}

#[tokio::test]
async fn the_same_content_published_twice_has_two_etags() {
    let dir = TempDir::new().unwrap();
    let store = folder(&dir);
    let lease = lead(&mut elector(&store, "a")).await;
    let first = publish(&store, &lease, "same", CRAWLED).await;
    let second = publish(&store, &lease, "same", CRAWLED).await;
    assert!(done(&first) && done(&second) && first != second, "{first:?} {second:?}");
}

#[tokio::test(start_paused = true)]
async fn a_publisher_that_slept_through_its_replacement_changes_nothing() {
    let store = memory();
    let (mut a, mut b) = (elector(&store, "a"), elector(&store, "b"));
    let old = lead(&mut a).await;
    assert!(done(&publish(&store, &old, "a's", CRAWLED).await));
    follow(&mut b).await;
    tokio::time::advance(VACANT).await;
    let new = lead(&mut b).await;

    // By its own clock.
    let lost = publish(&store, &old, "a's again", CRAWLED + 1).await;
    assert_eq!(lost, Published::Lost(Lost::Expired { epoch: 1 }));
    // Where its clock stood still with it, by what stands in the store.
    let frozen = old.clone().frozen();
    let lost = publish(&store, &frozen, "a's again", CRAWLED + 1).await;
    assert_eq!(lost, Published::Lost(Lost::Replaced { epoch: 1 }));
    // Where even the lease is gone from the store, by the epoch of the snapshot.
    assert!(done(&publish(&store, &new, "b's", CRAWLED + 1).await));
    let lease = crate::catalog::shared::lease::Document::new(a.holder(), 1, TTL, CRAWLED);
    put(&store, Object::Lease, lease.encode().unwrap()).await;
    let lost = publish(&store, &frozen, "a's again", CRAWLED + 2).await;
    assert_eq!(lost, Published::Lost(Lost::Overtaken { epoch: 1, present: 2 }));
    let Polled::Snapshot(read) = store.poll(None).await.unwrap() else { panic!("gone") };
    assert_eq!(read.bytes, "b's");
}

#[tokio::test]
async fn a_lease_given_back_publishes_nothing() {
    let store = memory();
    let mut a = elector(&store, "a");
    let lease = lead(&mut a).await;
    a.release().await.unwrap();
    let lost = publish(&store, &lease, "x", CRAWLED).await;
    assert_eq!(lost, Published::Lost(Lost::Replaced { epoch: 1 }));
    assert_eq!(store.poll(None).await.unwrap(), Polled::Absent);
}

#[tokio::test]
async fn an_earlier_crawl_never_replaces_a_later_one() {
    let store = memory();
    let (mut a, mut b) = (elector(&store, "a"), elector(&store, "b"));
    let lease = lead(&mut a).await;
    publish(&store, &lease, "later", CRAWLED).await;
    let outdated = publish(&store, &lease, "earlier", CRAWLED - 1).await;
    assert_eq!(outdated, Published::Outdated(mark(1, CRAWLED)));
    a.release().await.unwrap();
    let lease = lead(&mut b).await;
    let outdated = publish(&store, &lease, "earlier", CRAWLED - 1).await;
    assert_eq!(outdated, Published::Outdated(mark(1, CRAWLED)));
    assert!(done(&publish(&store, &lease, "as late", CRAWLED).await));
}

#[tokio::test]
async fn a_wrong_clock_does_not_silence_those_who_come_after() {
    let store = memory();
    let (mut a, mut b) = (elector(&store, "a"), elector(&store, "b"));
    let mut reader = Reader::new(store.clone(), None);
    let lease = lead(&mut a).await;
    publish(&store, &lease, "from tomorrow", CRAWLED + 86_400).await;
    let tomorrow = mark(1, CRAWLED + 86_400);
    assert_eq!(reader.poll(now()).await.unwrap(), Seen::Ahead(tomorrow));
    assert_eq!(reader.held(), None);
    // The same one, when its clock is right again.
    assert!(done(&publish(&store, &lease, "from today", CRAWLED - 1).await));
    let Seen::New(read) = reader.poll(now()).await.unwrap() else { panic!("not taken") };
    assert_eq!(read.mark, mark(1, CRAWLED - 1));
    publish(&store, &lease, "from tomorrow", CRAWLED + 86_400).await;
    assert_eq!(reader.poll(now()).await.unwrap(), Seen::Ahead(tomorrow));
    a.release().await.unwrap();
    let lease = lead(&mut b).await;
    assert!(done(&publish(&store, &lease, "from today", CRAWLED).await));
    // Also where the reader's own clock was wrong, and is right again.
    for mut reader in [reader, Reader::new(store.clone(), Some(tomorrow))] {
        let Seen::New(read) = reader.poll(now()).await.unwrap() else { panic!("not taken") };
        assert_eq!(read.mark, mark(2, CRAWLED));
    }
}

#[tokio::test]
async fn a_reader_never_goes_back() {
    let store = memory();
    let object = |content: &str, epoch, crawled_at| {
        let mut bytes = Header::of(content.as_bytes(), epoch, crawled_at).encode().to_vec();
        bytes.extend_from_slice(content.as_bytes());
        bytes
    };
    let mut reader = Reader::new(store.clone(), Some(mark(2, 100)));
    assert_eq!(reader.poll(now()).await.unwrap(), Seen::Absent);
    for (epoch, crawled_at, newer) in [
        (2, 99, false),
        (1, 99, false),
        (2, 100, true),
        (2, 101, true),
        (2, 100, false),
        (3, 1, false),
        (3, 500, true),
        // The place was emptied, and epochs begin anew.
        (1, 500, false),
        (1, 501, true),
        // What stood there before is put back.
        (3, 500, false),
        (9, 500, false),
        (2, 502, true),
    ] {
        put(&store, Object::Snapshot, object("x", epoch, crawled_at)).await;
        let held = reader.held();
        match reader.poll(now()).await.unwrap() {
            Seen::New(read) => {
                assert!(newer, "{epoch} {crawled_at}");
                assert_eq!(reader.held(), Some(read.mark));
            }
            Seen::Older { found, held: kept } => {
                assert!(!newer, "{epoch} {crawled_at}");
                assert_eq!(found, mark(epoch, crawled_at));
                assert_eq!((Some(kept), reader.held()), (held, held));
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(reader.poll(now()).await.unwrap(), Seen::Unchanged, "said once");
    }
    let held = reader.held();
    put(&store, Object::Snapshot, object("x", 9, 9)[..100].to_vec()).await;
    reader.poll(now()).await.unwrap_err();
    assert_eq!(reader.held(), held);
}

#[tokio::test]
async fn what_is_gone_is_not_what_never_was() {
    let dir = TempDir::new().unwrap();
    let (path, away) = (dir.path().join("shared"), dir.path().join("away"));
    std::fs::create_dir(&path).unwrap();
    let store = SharedStore::over(Arc::new(Folder::open(path.clone()).unwrap()));
    let mut newcomer = Reader::new(store.clone(), Some(mark(0, CRAWLED)));
    let mut follower = Reader::new(store.clone(), None);
    let mut publisher = Reader::new(store.clone(), None);
    for reader in [&mut newcomer, &mut follower, &mut publisher] {
        assert_eq!(reader.poll(now()).await.unwrap(), Seen::Absent);
    }
    let lease = lead(&mut elector(&store, "a")).await;
    let Published::Done(etag) = publish(&store, &lease, "x", CRAWLED).await else {
        panic!("not published");
    };
    publisher.holds(etag, mark(1, CRAWLED));
    assert!(matches!(follower.poll(now()).await.unwrap(), Seen::New(_)));

    // The folder itself.
    std::fs::rename(&path, &away).unwrap();
    for reader in [&mut newcomer, &mut follower, &mut publisher] {
        let said = reader.poll(now()).await.unwrap_err().to_string();
        assert!(said.contains("shared`: No such file"), "{said}");
    }
    // What is left where nothing is mounted.
    std::fs::create_dir(&path).unwrap();
    assert_eq!(newcomer.poll(now()).await.unwrap(), Seen::Absent);
    for reader in [&mut follower, &mut publisher] {
        for _ in 0..2 {
            assert_eq!(reader.poll(now()).await.unwrap(), Seen::Gone);
        }
    }
    // And it is there again.
    std::fs::remove_dir(&path).unwrap();
    std::fs::rename(&away, &path).unwrap();
    for reader in [&mut newcomer, &mut follower, &mut publisher] {
        assert!(matches!(reader.poll(now()).await.unwrap(), Seen::New(_)));
        assert_eq!(reader.held(), Some(mark(1, CRAWLED)));
    }
}

#[tokio::test]
async fn a_publisher_does_not_read_its_own() {
    let store = memory();
    let lease = lead(&mut elector(&store, "a")).await;
    let mut reader = Reader::new(store.clone(), None);
    let Published::Done(etag) = publish(&store, &lease, "x", CRAWLED).await else {
        panic!("not published");
    };
    reader.holds(etag, mark(1, CRAWLED));
    assert_eq!(reader.poll(now()).await.unwrap(), Seen::Unchanged);
    assert_eq!(reader.held(), Some(mark(1, CRAWLED)));
}

#[tokio::test]
async fn what_is_too_large_is_neither_published_nor_read() {
    let dir = TempDir::new().unwrap();
    for store in [memory(), folder(&dir)] {
        let small = store.clone().with_limits(SharedLimits { max_bytes: 1000, ..store.limits });
        let lease = lead(&mut elector(&store, "a")).await;
        let content = Bytes::from(vec![0; 1000]);
        let refused = small.publish(&lease, content.clone(), CRAWLED, now()).await.unwrap_err();
        assert!(matches!(refused, SharedError::TooLarge { size: 1122, limit: 1000, .. }));
        store.publish(&lease, content, CRAWLED, now()).await.unwrap();
        let refused = small.poll(None).await.unwrap_err();
        assert!(matches!(refused, SharedError::TooLarge { size: 1122, limit: 1000, .. }));
    }
}

/// Whatever stands there: who holds the lease puts a snapshot in its place.
#[tokio::test]
async fn what_cannot_be_read_is_replaced_by_who_leads() {
    let dir = TempDir::new().unwrap();
    let (_bucket, over_http) = over_s3().await;
    for store in [folder(&dir), over_http] {
        let (mut a, mut b) = (elector(&store, "a"), elector(&store, "b"));
        let lease = lead(&mut a).await;
        assert!(done(&publish(&store, &lease, "first", CRAWLED).await));
        let mut reader = Reader::new(store.clone(), None);
        assert!(matches!(reader.poll(now()).await.unwrap(), Seen::New(_)));
        let header = Header::of(b"", 9, CRAWLED).encode();
        let mut flipped = header.to_vec();
        flipped[40] ^= 1;
        let garbage: [Bytes; 4] =
            [Bytes::new(), "<html>Sign in</html>".into(), header.slice(..60), flipped.into()];
        for (crawled_at, garbage) in (CRAWLED + 1..).zip(garbage) {
            put(&store, Object::Snapshot, garbage.clone()).await;
            reader.poll(now()).await.unwrap_err();
            assert_eq!(reader.held(), Some(mark(1, crawled_at - 1)), "{garbage:?}");
            assert_eq!(lead(&mut a).await.epoch(), 1, "{garbage:?}");
            let lease = lead(&mut a).await;
            assert!(done(&publish(&store, &lease, "anew", crawled_at).await), "{garbage:?}");
            let Seen::New(read) = reader.poll(now()).await.unwrap() else { panic!("not read") };
            assert_eq!((&*read.bytes, read.mark), (&b"anew"[..], mark(1, crawled_at)));
        }

        // Another comes to lead over it, and not who led before.
        put(&store, Object::Snapshot, "garbage").await;
        let old = lease.frozen();
        a.release().await.unwrap();
        let lease = lead(&mut b).await;
        assert_eq!(lease.epoch(), 2);
        let lost = publish(&store, &old, "a's", CRAWLED + 10).await;
        assert_eq!(lost, Published::Lost(Lost::Replaced { epoch: 1 }));
        reader.poll(now()).await.unwrap_err();
        assert!(done(&publish(&store, &lease, "b's", CRAWLED + 11).await));
        let Seen::New(read) = reader.poll(now()).await.unwrap() else { panic!("not read") };
        assert_eq!((&*read.bytes, read.mark), (&b"b's"[..], mark(2, CRAWLED + 11)));
    }
}

#[tokio::test]
async fn what_is_of_a_version_to_come_is_replaced_by_nobody() {
    let dir = TempDir::new().unwrap();
    for store in [memory(), folder(&dir)] {
        let mut a = elector(&store, "a");
        let lease = lead(&mut a).await;
        let mut future = Header::of(b"", 1, CRAWLED).encode().to_vec();
        future[17] = 2;
        put(&store, Object::Snapshot, future).await;
        let renewed = a.acquire_or_renew(now()).await.unwrap_err();
        let published = store.publish(&lease, Bytes::new(), CRAWLED, now()).await.unwrap_err();
        for error in [renewed, published] {
            assert!(error.to_string().contains("has format version 2"), "{error}");
        }
    }
}
