//! Stores that must not be trusted, and ones that don't answer.

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::Notify;

use super::*;
use crate::catalog::shared::frame::{HEADER, Header};
use crate::catalog::shared::place::{Ask, Read};
use crate::catalog::shared::{Lost, Polled, SharedError, SharedLimits};

type Writing<'a> = BoxFuture<'a, Result<Written, SharedError>>;
type Reading<'a> = BoxFuture<'a, Result<Read, SharedError>>;

/// Ignores one of the conditions, as some stores do.
#[derive(Debug)]
struct Careless {
    inner: Arc<dyn Place>,
    absent: bool,
}

impl Place for Careless {
    fn read(&self, object: Object, ask: Ask) -> Reading<'_> {
        self.inner.read(object, ask)
    }

    fn write(&self, object: Object, parts: Vec<Bytes>, expect: Expect) -> Writing<'_> {
        let kept = match expect {
            Expect::Absent if self.absent => Expect::Anything,
            Expect::Is(_) if !self.absent => Expect::Anything,
            other => other,
        };
        self.inner.write(object, parts, kept)
    }

    fn is_proved(&self) -> bool {
        false
    }
}

#[tokio::test]
async fn nobody_leads_in_a_store_that_ignores_conditions() {
    for (absent, want) in [(true, "`if-none-match`"), (false, "`if-match`")] {
        let store = SharedStore::over(Arc::new(Careless { inner: memory_place(), absent }));
        let error = elector(&store, "a").acquire_or_renew(now()).await.unwrap_err();
        assert!(error.to_string().contains(want), "{error}");
        assert!(store.lease().await.unwrap().is_none(), "no lease was written");
    }
}

/// Never answers.
#[derive(Debug)]
struct Silent;

impl Place for Silent {
    fn read(&self, _: Object, _: Ask) -> Reading<'_> {
        std::future::pending().boxed()
    }

    fn write(&self, _: Object, _: Vec<Bytes>, _: Expect) -> Writing<'_> {
        std::future::pending().boxed()
    }

    fn is_proved(&self) -> bool {
        true
    }
}

#[tokio::test(start_paused = true)]
async fn every_call_ends() {
    let limits = SharedLimits::default();
    let store = SharedStore::over(Arc::new(Silent));
    let mut a = elector(&store, "a");
    let start = Instant::now();
    let timeout = |e| matches!(e, SharedError::Timeout { .. });
    assert!(timeout(a.acquire_or_renew(now()).await.unwrap_err()));
    assert!(timeout(a.release().await.unwrap_err()));
    assert_eq!(start.elapsed(), 2 * limits.small_timeout);
    // Who leads asks before it crawls, and must not wait for as long as a snapshot may take.
    assert!(timeout(store.poll(None).await.unwrap_err()));
    assert_eq!(start.elapsed(), 3 * limits.small_timeout);
    let write = store.write(Object::Snapshot, vec![Bytes::from("x")], Expect::Absent).await;
    assert!(timeout(write.unwrap_err()));
}

/// Answers one request with the beginning of an object, and the next with half of it.
async fn half(listener: tokio::net::TcpListener, object: Vec<u8>) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut silent = Vec::new();
    while let Ok((mut connection, _)) = listener.accept().await {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(connection.read_u8().await.unwrap());
        }
        let ranged = String::from_utf8_lossy(&request).to_lowercase().contains("\r\nrange:");
        let size = object.len();
        let (first, range, sent) = if ranged {
            (
                "206 Partial Content",
                format!("content-range: bytes 0-{}/{size}\r\n", HEADER - 1),
                HEADER,
            )
        } else {
            ("200 OK", String::new(), size / 2)
        };
        let length = if ranged { HEADER } else { size };
        let head = format!(
            "HTTP/1.1 {first}\r\netag: \"x\"\r\n{range}content-length: {length}\r\n\
             connection: close\r\n\r\n"
        );
        connection.write_all(head.as_bytes()).await.unwrap();
        connection.write_all(&object[..sent]).await.unwrap();
        if !ranged {
            silent.push(connection);
        }
    }
}

#[tokio::test]
async fn a_store_that_falls_silent_is_given_up_soon() {
    let limits = SharedLimits { small_timeout: Duration::from_secs(1), ..SharedLimits::default() };
    let start = Instant::now();
    // At once.
    let (bucket, store) = over_s3().await;
    bucket.set_fault(Some(devtenant::bucket::Fault::Hang));
    let error = store.with_limits(limits).poll(None).await.unwrap_err();
    assert!(matches!(error, SharedError::Timeout { .. }), "{error}");
    // In the middle.
    let content = vec![b'x'; 100_000];
    let mut object = Header::of(&content, 1, CRAWLED).encode().to_vec();
    object.extend_from_slice(&content);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let store = over_s3_at(listener.local_addr().unwrap()).with_limits(limits);
    let server = tokio::spawn(half(listener, object));
    let error = store.poll(None).await.unwrap_err();
    assert!(matches!(error, SharedError::Timeout { after, .. } if after == limits.small_timeout));
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    server.abort();
}

/// Holds up the first write of a snapshot until it is let go.
#[derive(Debug)]
struct Gate {
    inner: Arc<dyn Place>,
    arrived: Notify,
    go: Notify,
    used: std::sync::atomic::AtomicBool,
}

impl Place for Gate {
    fn read(&self, object: Object, ask: Ask) -> Reading<'_> {
        self.inner.read(object, ask)
    }

    fn write(&self, object: Object, parts: Vec<Bytes>, expect: Expect) -> Writing<'_> {
        async move {
            let first = object == Object::Snapshot
                && !self.used.swap(true, std::sync::atomic::Ordering::SeqCst);
            if first {
                self.arrived.notify_one();
                self.go.notified().await;
            }
            self.inner.write(object, parts, expect).await
        }
        .boxed()
    }

    fn is_proved(&self) -> bool {
        self.inner.is_proved()
    }
}

#[tokio::test(start_paused = true)]
async fn a_publisher_paused_in_the_middle_of_its_write_loses_to_the_one_who_came_after() {
    for published_meanwhile in [true, false] {
        let gate = Arc::new(Gate {
            inner: memory_place(),
            arrived: Notify::new(),
            go: Notify::new(),
            used: false.into(),
        });
        let store = SharedStore::over(gate.clone());
        let (mut a, mut b) = (elector(&store, "a"), elector(&store, "b"));
        let old = lead(&mut a).await;
        follow(&mut b).await;
        let slow = tokio::spawn({
            let store = store.clone();
            async move { publish(&store, &old, "a's", CRAWLED).await }
        });
        gate.arrived.notified().await;
        tokio::time::advance(VACANT).await;
        let new = lead(&mut b).await;
        if published_meanwhile {
            publish(&store, &new, "b's", CRAWLED + 1).await;
            gate.go.notify_one();
            assert_eq!(slow.await.unwrap(), Published::Lost(Lost::Expired { epoch: 1 }));
        } else {
            // Nothing is there yet that it could have missed: whole, and the last of
            // its epoch.
            gate.go.notify_one();
            assert!(matches!(slow.await.unwrap(), Published::Done(_)));
            publish(&store, &new, "b's", CRAWLED + 1).await;
        }
        let Polled::Snapshot(read) = store.poll(None).await.unwrap() else { panic!("gone") };
        assert_eq!((&*read.bytes, read.mark.epoch), (&b"b's"[..], 2));
    }
}

#[tokio::test]
async fn a_folder_locked_by_a_stopped_process_is_named() {
    let dir = TempDir::new().unwrap();
    let store = folder(&dir);
    let limits = SharedLimits { small_timeout: Duration::from_secs(60), ..store.limits };
    let store = store.with_limits(limits);
    let lock = std::fs::File::create(dir.path().join(".lease.lock")).unwrap();
    lock.lock().unwrap();
    let said = elector(&store, "a").acquire_or_renew(now()).await.unwrap_err().to_string();
    assert!(said.contains(".lease.lock`: locked by another process"), "{said}");
    drop(lock);
    lead(&mut elector(&store, "a")).await;
}

#[tokio::test]
async fn what_is_no_file_is_not_waited_for() {
    let dir = TempDir::new().unwrap();
    std::fs::create_dir(dir.path().join("snapshot")).unwrap();
    let said = folder(&dir).poll(None).await.unwrap_err().to_string();
    assert!(said.ends_with("snapshot`: is no regular file"), "{said}");
}

/// Reads slowly once told to, and has each write of a snapshot answered as if its
/// client had repeated it and met its own write.
#[derive(Debug)]
struct Slow {
    inner: Arc<dyn Place>,
    pause: std::sync::Mutex<Duration>,
    writes: std::sync::atomic::AtomicUsize,
}

impl Place for Slow {
    fn read(&self, object: Object, ask: Ask) -> Reading<'_> {
        async move {
            let pause = if object == Object::Snapshot {
                *self.pause.lock().unwrap()
            } else {
                Duration::ZERO
            };
            tokio::time::sleep(pause).await;
            self.inner.read(object, ask).await
        }
        .boxed()
    }

    fn write(&self, object: Object, parts: Vec<Bytes>, expect: Expect) -> Writing<'_> {
        async move {
            let written = self.inner.write(object, parts, expect).await;
            if object != Object::Snapshot {
                return written;
            }
            self.writes.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            Ok(Written::Conflict)
        }
        .boxed()
    }

    fn is_proved(&self) -> bool {
        true
    }
}

fn slow() -> Arc<Slow> {
    let pause = Duration::ZERO.into();
    Arc::new(Slow { inner: memory_place(), pause, writes: 0.into() })
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_runs_out_between_the_questions_publishes_nothing() {
    let slow = slow();
    let store = SharedStore::over(slow.clone());
    let lease = lead(&mut elector(&store, "a")).await;
    tokio::time::advance(Duration::from_secs(25)).await;
    *slow.pause.lock().unwrap() = Duration::from_secs(5);
    let lost = publish(&store, &lease, "x", CRAWLED).await;
    assert_eq!(lost, Published::Lost(Lost::Expired { epoch: 1 }));
    assert_eq!(store.poll(None).await.unwrap(), Polled::Absent);
}

#[tokio::test]
async fn a_publisher_knows_its_own_write_when_the_answer_was_lost() {
    let slow = slow();
    let store = SharedStore::over(slow.clone());
    let lease = lead(&mut elector(&store, "a")).await;
    let Published::Done(etag) = publish(&store, &lease, "x", CRAWLED).await else {
        panic!("not known");
    };
    assert_eq!(store.poll(Some(&etag)).await.unwrap(), Polled::Unchanged);
    assert_eq!(slow.writes.load(std::sync::atomic::Ordering::SeqCst), 1);
}
