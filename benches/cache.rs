//! Which cache keeps what is asked for again, and what finding it costs.
//!
//! `cargo bench --bench cache` prints figures side by side; nothing is asserted about
//! times. The caller's share of the load asks for 100,000 keys by Zipf's law, some of it is
//! a flood of keys that are asked for once. Everything holds at most 10,000 entries there.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark that fails ends")]
#![allow(clippy::print_stdout, reason = "it prints what it found")]
#![allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "figures")]
#![allow(clippy::cast_sign_loss, clippy::indexing_slicing, reason = "figures")]

use std::collections::VecDeque;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant};

use dashmap::DashMap;
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use stagedoor::bounded::{Bounded, Bounds, Weigh};

const KEYS: usize = 100_000;
const CAPACITY: usize = 10_000;
const ASKED: usize = 2_000_000;
/// How long each time is measured, several times.
const SPAN: Duration = Duration::from_millis(200);
const PASSES: usize = 5;

type Key = (u64, u64);

/// As large as what is kept of a token, and an `Arc` like it.
#[derive(Clone)]
struct Value(Arc<[u64; 30]>);

impl Weigh for Value {
    fn bytes(&self) -> usize {
        256
    }
}

trait Kept: Send + Sync {
    fn find(&self, key: &Key) -> Option<Value>;
    fn insert(&self, key: Key, value: Value);
}

type Maker = fn(usize) -> Box<dyn Kept>;

const ALL: [(&str, Maker); 4] = [
    ("quick_cache (chosen)", |capacity| {
        Box::new(Bounded::new(Bounds { max_entries: capacity, max_bytes: capacity * 256 }))
    }),
    ("moka", |capacity| Box::new(moka::sync::Cache::<Key, Value>::new(capacity as u64))),
    ("DashMap, S3-FIFO", |capacity| Box::new(Fifos::new(capacity))),
    ("DashMap, generations", |capacity| Box::new(Generations::new(capacity))),
];

fn main() {
    println!("regular keys found, of 100 (2,000,000 asked for, 100,000 keys, 10,000 entries)\n");
    print!("{:<22}", "");
    for skew in [0.7, 0.9, 1.0, 1.1] {
        for once in [0, 30, 50] {
            print!("{:>11}", format!("{skew}, {once} %"));
        }
    }
    println!();
    for (name, make) in ALL {
        print!("{name:<22}");
        for skew in [0.7, 0.9, 1.0, 1.1] {
            for once in [0.0, 0.3, 0.5] {
                print!("{:>11.1}", found(&*make(CAPACITY), skew, once));
            }
        }
        println!();
    }
    println!("\n(Zipf's exponent, share of keys that are asked for once)\n");

    println!("nanoseconds a hit (median of {PASSES} passes; spread in percent)\n");
    println!(
        "{:<22} {:>18} {:>18} {:>18} {:>18} {:>18}",
        "", "1,000; 1 thread", "1,000; 2 threads", "100,000; 1", "100,000; 2", "one key; 2"
    );
    for (name, make) in ALL {
        print!("{name:<22}");
        for (entries, threads) in [(1000, 1), (1000, 2), (100_000, 1), (100_000, 2), (1, 2)] {
            print!(" {:>18}", hits(&*make(2 * entries.max(1000)), entries, threads));
        }
        println!();
    }
}

/// What is spread evenly, as a hash is.
fn key(number: u64) -> Key {
    let mix = |mut x: u64| {
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    };
    (mix(number), mix(number ^ 0x5555_5555_5555_5555))
}

fn value() -> Value {
    Value(Arc::new([0; 30]))
}

/// How many of a hundred regular keys are found, once the cache has settled.
fn found(cache: &dyn Kept, skew: f64, once: f64) -> f64 {
    let mut sum = 0.0;
    let sums: Vec<f64> = (1..=KEYS)
        .map(|rank| {
            sum += (rank as f64).powf(-skew);
            sum
        })
        .collect();
    let mut rng = SmallRng::seed_from_u64(1);
    let mut next_once = 1 << 32;
    let (mut regular, mut hits) = (0_u32, 0_u32);
    for asked in 0..ASKED {
        let number = if rng.random::<f64>() < once {
            next_once += 1;
            next_once
        } else {
            let at = rng.random::<f64>() * sum;
            sums.partition_point(|sum| *sum < at) as u64
        };
        let key = key(number);
        let hit = cache.find(&key).is_some();
        if !hit {
            cache.insert(key, value());
        }
        if asked >= ASKED / 2 && number < 1 << 32 {
            regular += 1;
            hits += u32::from(hit);
        }
    }
    f64::from(hits) / f64::from(regular) * 100.0
}

fn hits(cache: &dyn Kept, entries: usize, threads: usize) -> String {
    let keys: Vec<Key> = (0..entries as u64).map(key).collect();
    for key in &keys {
        cache.insert(*key, value());
    }
    let mut times: Vec<f64> = (0..PASSES).map(|_| pass(cache, &keys, threads)).collect();
    times.sort_by(f64::total_cmp);
    let median = times[PASSES / 2];
    format!("{median:.1} ±{:.0}%", (times[PASSES - 1] - times[0]) / median * 100.0)
}

/// Nanoseconds of a thread for each hit.
fn pass(cache: &dyn Kept, keys: &[Key], threads: usize) -> f64 {
    let (stop, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    let began = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (stop, asked) = (&stop, &asked);
            scope.spawn(move || {
                let mut rng = SmallRng::seed_from_u64(thread as u64);
                let mut mine = 0;
                while !stop.load(Ordering::Relaxed) {
                    for _ in 0..64 {
                        let key = &keys[rng.random_range(0..keys.len())];
                        black_box(cache.find(key).map(|value| value.0[0]));
                    }
                    mine += 64;
                }
                asked.fetch_add(mine, Ordering::Relaxed);
            });
        }
        std::thread::sleep(SPAN);
        stop.store(true, Ordering::Relaxed);
    });
    began.elapsed().as_nanos() as f64 * threads as f64 / asked.load(Ordering::Relaxed) as f64
}

impl Kept for Bounded<Key, Value> {
    fn find(&self, key: &Key) -> Option<Value> {
        self.find(key)
    }

    fn insert(&self, key: Key, value: Value) {
        self.insert(key, value);
    }
}

impl Kept for moka::sync::Cache<Key, Value> {
    fn find(&self, key: &Key) -> Option<Value> {
        self.get(key)
    }

    fn insert(&self, key: Key, value: Value) {
        self.insert(key, value);
    }
}

/// Two maps that take turns: what is asked for again moves to the young one, and when that
/// is full the old one goes.
struct Generations {
    half: usize,
    both: RwLock<[Arc<DashMap<Key, Value>>; 2]>,
}

impl Generations {
    fn new(capacity: usize) -> Self {
        Self { half: capacity / 2, both: RwLock::default() }
    }
}

impl Kept for Generations {
    fn find(&self, key: &Key) -> Option<Value> {
        let [young, old] = &*self.both.read().unwrap();
        if let Some(value) = young.get(key) {
            return Some(value.clone());
        }
        let (_, value) = old.remove(key)?;
        young.insert(*key, value.clone());
        Some(value)
    }

    fn insert(&self, key: Key, value: Value) {
        if self.both.read().unwrap()[0].len() >= self.half {
            let mut both = self.both.write().unwrap();
            both[1] = std::mem::take(&mut both[0]);
        }
        self.both.read().unwrap()[0].insert(key, value);
    }
}

/// A `DashMap`, with queues beside it that say who goes (S3-FIFO: a tenth of the room for
/// what is new, the rest for what was asked for again, and the keys that went lately).
struct Fifos {
    capacity: usize,
    entries: DashMap<Key, (Value, AtomicU8)>,
    queues: Mutex<Queues>,
}

#[derive(Default)]
struct Queues {
    new: VecDeque<Key>,
    main: VecDeque<Key>,
    gone: VecDeque<Key>,
    is_gone: std::collections::HashSet<Key>,
}

impl Fifos {
    fn new(capacity: usize) -> Self {
        Self { capacity, entries: DashMap::new(), queues: Mutex::default() }
    }

    fn make_room(&self, queues: &mut Queues) {
        loop {
            let asked = |key: &Key| {
                self.entries.get(key).map_or(0, |entry| {
                    let asked = entry.1.load(Ordering::Relaxed);
                    entry.1.store(asked.saturating_sub(1), Ordering::Relaxed);
                    asked
                })
            };
            if queues.new.len() > self.capacity / 10 || queues.main.is_empty() {
                let Some(key) = queues.new.pop_front() else { return };
                if asked(&key) > 0 {
                    queues.main.push_back(key);
                    continue;
                }
                self.entries.remove(&key);
                queues.gone.push_back(key);
                queues.is_gone.insert(key);
                if queues.gone.len() > self.capacity * 9 / 10 {
                    let oldest = queues.gone.pop_front().unwrap();
                    queues.is_gone.remove(&oldest);
                }
                return;
            }
            let key = queues.main.pop_front().unwrap();
            if asked(&key) > 0 {
                queues.main.push_back(key);
                continue;
            }
            self.entries.remove(&key);
            return;
        }
    }
}

impl Kept for Fifos {
    fn find(&self, key: &Key) -> Option<Value> {
        let entry = self.entries.get(key)?;
        let asked = entry.1.load(Ordering::Relaxed);
        if asked < 3 {
            entry.1.store(asked + 1, Ordering::Relaxed);
        }
        Some(entry.0.clone())
    }

    fn insert(&self, key: Key, value: Value) {
        let mut queues = self.queues.lock().unwrap();
        if queues.new.len() + queues.main.len() >= self.capacity {
            self.make_room(&mut queues);
        }
        if queues.is_gone.remove(&key) {
            queues.main.push_back(key);
        } else {
            queues.new.push_back(key);
        }
        self.entries.insert(key, (value, AtomicU8::new(0)));
    }
}
