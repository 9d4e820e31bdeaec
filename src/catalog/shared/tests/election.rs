//! Taking, keeping, losing and giving back the lease.

use super::*;
use crate::catalog::shared::SharedError;
use crate::catalog::shared::lease::Document;

#[tokio::test(start_paused = true)]
async fn one_leads_and_a_dead_one_is_replaced() {
    let store = memory();
    let (mut a, mut b) = (elector(&store, "a"), elector(&store, "b"));
    let first = lead(&mut a).await;
    assert_eq!(first.epoch(), 1);
    let Standing::Following { holder, vacant_at } = b.acquire_or_renew(now()).await.unwrap() else {
        panic!("two lead");
    };
    assert_eq!(holder, a.holder());
    assert!(vacant_at > first.until(), "the holder gives up first");

    // One that renews is never replaced.
    for _ in 0..20 {
        tokio::time::advance(TTL / 3).await;
        assert_eq!(lead(&mut a).await.epoch(), 1);
        follow(&mut b).await;
    }
    // One that doesn't is, but not before its time.
    let vacant_at = follow(&mut b).await;
    tokio::time::advance(vacant_at - Instant::now() - Duration::from_millis(1)).await;
    follow(&mut b).await;
    tokio::time::advance(Duration::from_millis(1)).await;
    assert_eq!(lead(&mut b).await.epoch(), 2);
    follow(&mut a).await;
}

#[tokio::test(start_paused = true)]
async fn a_follower_counts_from_what_it_saw_itself_whatever_the_wall_clocks_say() {
    let store = memory();
    let (mut a, mut b) = (elector(&store, "a"), elector(&store, "b"));
    for holders_clock in [0, CRAWLED - 100_000, CRAWLED + 100_000, i64::MAX] {
        let at = Now { unix: holders_clock, instant: Instant::now() };
        assert!(matches!(a.acquire_or_renew(at).await.unwrap(), Standing::Leading(_)));
        tokio::time::advance(VACANT).await;
        // First seen now, however old it says it is.
        follow(&mut b).await;
        tokio::time::advance(VACANT).await;
        lead(&mut b).await;
        b.release().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_runs_from_before_the_write_was_sent() {
    let store = memory();
    let mut a = elector(&store, "a");
    let asked = now();
    tokio::time::advance(Duration::from_secs(20)).await;
    let Standing::Leading(lease) = a.acquire_or_renew(asked).await.unwrap() else {
        panic!("nobody else is there");
    };
    assert_eq!(lease.until(), asked.instant + Duration::from_secs(27));
}

#[tokio::test(start_paused = true)]
async fn given_back_it_is_free_at_once_and_for_everyone() {
    let store = memory();
    let (mut a, mut b) = (elector(&store, "a"), elector(&store, "b"));
    lead(&mut a).await;
    b.release().await.unwrap();
    follow(&mut b).await;
    a.release().await.unwrap();
    assert_eq!(lead(&mut b).await.epoch(), 2);
    b.release().await.unwrap();
    // Its own lease of before is not prolonged.
    assert_eq!(lead(&mut b).await.epoch(), 3);
}

#[tokio::test(start_paused = true)]
async fn the_same_name_started_again_is_another_holder() {
    let store = memory();
    let mut before = elector(&store, "pod-0");
    lead(&mut before).await;
    let mut after = elector(&store, "pod-0");
    follow(&mut after).await;
    tokio::time::advance(VACANT).await;
    assert_eq!(lead(&mut after).await.epoch(), 2);
}

#[tokio::test(start_paused = true)]
async fn epochs_stay_above_what_is_published_when_the_lease_is_deleted() {
    let dir = TempDir::new().unwrap();
    let store = folder(&dir);
    for epoch in 1..=3 {
        let mut a = elector(&store, "a");
        let lease = lead(&mut a).await;
        assert_eq!(lease.epoch(), epoch);
        assert!(matches!(publish(&store, &lease, "x", CRAWLED).await, Published::Done(_)));
        std::fs::remove_file(dir.path().join("lease")).unwrap();
    }
    // A deleted lease may also come to light after another was made below it.
    let mut low = elector(&store, "low");
    assert_eq!(lead(&mut low).await.epoch(), 4);
    let mut high = elector(&store, "high");
    let lease = Document::new(high.holder(), 9, TTL, CRAWLED).encode().unwrap();
    put(&store, Object::Lease, lease).await;
    let lease = lead(&mut high).await;
    publish(&store, &lease, "y", CRAWLED).await;
    let lease = Document::new(low.holder(), 4, TTL, CRAWLED).encode().unwrap();
    put(&store, Object::Lease, lease).await;
    assert_eq!(lead(&mut low).await.epoch(), 10);
}

#[tokio::test]
async fn epochs_stay_above_what_was_known_when_everything_is_deleted() {
    let dir = TempDir::new().unwrap();
    let store = folder(&dir);
    let empty = || {
        for object in ["lease", "snapshot"] {
            std::fs::remove_file(dir.path().join(object)).unwrap();
        }
    };
    let (mut a, mut b) = (elector(&store, "a"), elector(&store, "b"));
    let lease = lead(&mut a).await;
    publish(&store, &lease, "a's", CRAWLED).await;
    follow(&mut b).await;
    empty();
    let lease = lead(&mut b).await;
    assert_eq!(lease.epoch(), 2, "it has seen the first");
    publish(&store, &lease, "b's", CRAWLED).await;
    follow(&mut a).await;
    empty();
    assert_eq!(lead(&mut a).await.epoch(), 3);
    // Who has seen nothing can't know.
    std::fs::remove_file(dir.path().join("lease")).unwrap();
    assert_eq!(lead(&mut elector(&store, "c")).await.epoch(), 1);
}

#[tokio::test]
async fn nobody_leads_over_what_is_no_lease_of_this_version() {
    let good = Document::new("x", u64::MAX, TTL, CRAWLED).released().encode().unwrap();
    for (bytes, want) in [
        (Bytes::from("garbage"), "object `lease`: is no lease"),
        (Bytes::from("{\"format\":2}"), "object `lease`: has format version 2"),
        (Bytes::from(vec![b' '; 5000]), "object `lease` has 5000 bytes, more than 4096"),
        (good, "object `lease`: has the last epoch there is"),
    ] {
        let dir = TempDir::new().unwrap();
        for store in [memory(), folder(&dir)] {
            put(&store, Object::Lease, bytes.clone()).await;
            let mut a = elector(&store, "a");
            let said = a.acquire_or_renew(now()).await.unwrap_err().to_string();
            assert!(said.contains(want), "{said}");
        }
    }
}

#[tokio::test]
async fn nobody_leads_over_somebody_elses_object() {
    let store = memory();
    put(&store, Object::Snapshot, "somebody's holiday pictures").await;
    let said = elector(&store, "a").acquire_or_renew(now()).await.unwrap_err().to_string();
    assert_eq!(said, "object `snapshot`: was not written by stagedoor");
}

#[tokio::test]
async fn names_and_lengths_that_will_not_do() {
    for name in ["", "two\nlines", "a/b", "é", &"x".repeat(129)] {
        let error = Elector::new(memory(), name, TTL).unwrap_err();
        assert!(matches!(error, SharedError::Holder(_)), "{error}");
        assert!(!error.to_string().contains('\n'));
    }
    for millis in [0, 2_999, 600_001] {
        let ttl = Duration::from_millis(millis);
        let error = Elector::new(memory(), "a", ttl).unwrap_err();
        assert!(matches!(error, SharedError::Ttl { .. }), "{error}");
    }
}
