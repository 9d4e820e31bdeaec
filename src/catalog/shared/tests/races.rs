//! Replicas that race over a moody store, in many interleavings. Time is paused, so
//! each seed is one interleaving, and the same one each time.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::faults::{Moody, content, is_whole};
use super::*;
use crate::catalog::shared::{Mark, Reader, Seen};

const SEEDS: u64 = 400;
const REPLICAS: u64 = 3;
const TURNS: u32 = 25;
/// When those read whom no clock is to help.
const LATER: i64 = i64::MAX / 2;

/// What everyone who leads believes, to be compared.
#[derive(Default)]
struct Beliefs {
    leases: RefCell<BTreeMap<u64, Lease>>,
}

impl Beliefs {
    fn leads(&self, replica: u64, lease: &Lease) {
        let mut leases = self.leases.borrow_mut();
        leases.insert(replica, lease.clone());
        let now = Instant::now();
        let live = leases.values().filter(|lease| lease.is_live(now)).count();
        assert!(live <= 1, "two lead at once: {leases:?}");
    }

    fn stops(&self, replica: u64) {
        self.leases.borrow_mut().remove(&replica);
    }
}

struct Replica {
    id: u64,
    store: SharedStore,
    rng: StdRng,
    /// How far its wall clock is off, in seconds.
    skew: i64,
    start: Instant,
    published: u32,
}

impl Replica {
    fn now(&self) -> Now {
        let elapsed = i64::try_from(self.start.elapsed().as_secs()).unwrap();
        Now { unix: CRAWLED + elapsed + self.skew, instant: Instant::now() }
    }

    async fn pause(&mut self, up_to: Duration) {
        tokio::time::sleep(up_to.mul_f64(self.rng.random_range(0.0..1.0))).await;
    }

    async fn live(&mut self, beliefs: &Beliefs) {
        let mut elector = elector(&self.store, "replica");
        for _ in 0..TURNS {
            if let Ok(Standing::Leading(lease)) = elector.acquire_or_renew(self.now()).await {
                beliefs.leads(self.id, &lease);
                self.publish(&lease).await;
            }
            match self.rng.random_range(0..20) {
                // Paused past its lease, or killed and started again.
                0 => self.pause(TTL * 3).await,
                1 => elector = super::elector(&self.store, "replica"),
                2 => {
                    beliefs.stops(self.id);
                    let _ = elector.release().await;
                }
                _ => self.pause(TTL / 3).await,
            }
        }
        beliefs.stops(self.id);
    }

    async fn publish(&mut self, lease: &Lease) {
        let crawled_at = self.now().unix;
        // A crawl takes its time; sometimes longer than the lease.
        let crawl = if self.rng.random_range(0..10) == 0 { TTL * 2 } else { TTL / 4 };
        self.pause(crawl).await;
        let mark = Mark { epoch: lease.epoch(), crawled_at };
        let bytes = content(mark, self.rng.random_range(0..200));
        let published = self.store.publish(lease, bytes, crawled_at, self.now()).await;
        if matches!(published, Ok(Published::Done(_))) {
            self.published += 1;
        }
    }
}

/// Reads until told to stop; every snapshot is whole, and no older than the last.
async fn read_on(store: SharedStore, seed: u64, done: Rc<RefCell<bool>>) -> usize {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut reader = Reader::new(store, None);
    let mut seen: Vec<Mark> = Vec::new();
    while !*done.borrow() {
        match reader.poll(Now { unix: LATER, instant: Instant::now() }).await {
            Ok(Seen::New(snapshot)) => {
                assert!(is_whole(&snapshot.bytes, snapshot.mark), "{snapshot:?}");
                seen.push(snapshot.mark);
            }
            Ok(Seen::Older { found, held }) => panic!("went back from {held:?} to {found:?}"),
            Ok(Seen::Ahead(mark)) => panic!("{mark:?} is ahead"),
            Ok(Seen::Gone) => panic!("it is gone"),
            Ok(Seen::Unchanged | Seen::Absent) | Err(_) => {}
        }
        tokio::time::sleep(Duration::from_millis(rng.random_range(0..9_000))).await;
    }
    assert!(seen.is_sorted(), "{seen:?}");
    seen.len()
}

/// Runs one interleaving; gives how many were published, read and leading.
async fn race(inner: Arc<dyn Place>, seed: u64) -> (usize, usize, usize) {
    let moody = Moody::new(inner, seed);
    let store = SharedStore::over(Arc::new(moody.clone()));
    let start = Instant::now();
    let done = Rc::new(RefCell::new(false));
    let beliefs = Rc::new(Beliefs::default());
    let readers: Vec<_> = (0..2)
        .map(|id| {
            let reading = read_on(store.clone(), seed * 31 + id, done.clone());
            tokio::task::spawn_local(reading)
        })
        .collect();
    let replicas: Vec<_> = (0..REPLICAS)
        .map(|id| {
            let (store, beliefs) = (store.clone(), beliefs.clone());
            tokio::task::spawn_local(async move {
                let rng = StdRng::seed_from_u64(seed * 97 + id);
                let skew = [0, 4, -4][usize::try_from(id).unwrap()];
                let mut replica = Replica { id, store, rng, skew, start, published: 0 };
                replica.live(&beliefs).await;
                replica.published
            })
        })
        .collect();
    let mut known = 0;
    for replica in replicas {
        known += replica.await.unwrap() as usize;
    }

    // The history: epochs and crawls only grow; whoever was told "done" is in it.
    let record = moody.record();
    assert!(record.marks.is_sorted(), "{:?}", record.marks);
    assert!(record.marks.is_sorted_by_key(|mark| mark.epoch), "{:?}", record.marks);
    assert!(known <= record.marks.len(), "{known} of {}", record.marks.len());

    // And once the store is well again, a newcomer leads, publishes and is read.
    moody.calm();
    let mut newcomer = elector(&store, "newcomer");
    let at = || Now { unix: LATER, instant: Instant::now() };
    let lease = loop {
        match newcomer.acquire_or_renew(at()).await.unwrap() {
            Standing::Leading(lease) => break lease,
            Standing::Following { vacant_at, .. } => tokio::time::sleep_until(vacant_at).await,
        }
    };
    let mark = Mark { epoch: lease.epoch(), crawled_at: LATER };
    let published = store.publish(&lease, content(mark, 50), mark.crawled_at, at()).await.unwrap();
    assert!(matches!(published, Published::Done(_)), "{published:?}");
    let mut late = Reader::new(store.clone(), record.marks.last().copied());
    let Seen::New(snapshot) = late.poll(at()).await.unwrap() else { panic!("not read") };
    assert_eq!(snapshot.mark, mark);

    *done.borrow_mut() = true;
    let mut read = 0;
    for reader in readers {
        read += reader.await.unwrap();
    }
    (moody.record().marks.len(), read, moody.record().holders.len())
}

fn run(seed: u64, inner: Arc<dyn Place>) -> (usize, usize, usize) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, race(inner, seed))
}

#[test]
fn however_they_interleave_readers_see_whole_snapshots_in_order() {
    let (mut published, mut read, mut led) = (0, 0, 0);
    for seed in 0..SEEDS {
        let outcome = std::panic::catch_unwind(|| run(seed, memory_place()));
        let (p, r, l) = outcome.unwrap_or_else(|_| panic!("with seed {seed}"));
        published += p;
        read += r;
        led += l;
    }
    eprintln!("{SEEDS} interleavings: {published} published, {read} read, {led} epochs");
    // Or the moods have eaten everything, and nothing was shown.
    let seeds = usize::try_from(SEEDS).unwrap();
    assert!(published > 10 * seeds && read > 10 * seeds && led > 3 * seeds);
}

#[test]
fn the_same_over_a_real_folder() {
    for seed in 0..10 {
        let dir = TempDir::new().unwrap();
        run(seed, Arc::new(Folder::open(dir.path().to_owned()).unwrap()));
    }
}

/// Real threads on a real folder, without moods: each conditional write has one winner.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_who_write_over_the_same_file_one_wins() {
    let dir = TempDir::new().unwrap();
    let place: Arc<dyn Place> = Arc::new(Folder::open(dir.path().to_owned()).unwrap());
    let write = |place: Arc<dyn Place>, expect: Expect, stamp: String| async move {
        place.write(Object::Lease, vec![stamp.into()], expect).await.unwrap()
    };
    let mut expect = Expect::Absent;
    for round in 0..100 {
        let tries = (0..8)
            .map(|id| tokio::spawn(write(place.clone(), expect.clone(), format!("{round} {id}"))));
        let mut won = Vec::new();
        for tried in futures_util::future::join_all(tries).await {
            if let Written::As(etag) = tried.unwrap() {
                won.push(etag);
            }
        }
        assert_eq!(won.len(), 1, "round {round}");
        expect = Expect::Is(won.remove(0));
    }
}
