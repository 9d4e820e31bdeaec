//! Killed at random points of writing to a folder, a hundred times or more.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::faults::{content, is_whole};
use super::*;
use crate::catalog::shared::{Mark, Polled};

const ROUNDS: u64 = 100;
const MOST_ROUNDS: u64 = 6 * ROUNDS;
/// How long it may write before it is killed, in microseconds. Where the disk is so slow, or the
/// machine so busy, that this is not enough, it gets more, up to so much.
const FIRST_TIME: u64 = 40_000;
const LAST_TIME: u64 = 5_000_000;
const FOLDER: &str = "STAGEDOOR_TEST_CRASH_FOLDER";
const CHILD: &str = "catalog::shared::tests::crash::publishes_until_it_is_killed";

/// The process that is killed; does nothing when run as a test.
#[tokio::test]
async fn publishes_until_it_is_killed() {
    let Some(path) = std::env::var_os(FOLDER) else {
        return;
    };
    let store = SharedStore::over(Arc::new(Folder::open(path.into()).unwrap()));
    let lease = lead(&mut elector(&store, "child")).await;
    println!("epoch {}", lease.epoch());
    let mut rng = StdRng::seed_from_u64(lease.epoch());
    // Later than all that were published by those killed before.
    for crawled_at in CRAWLED + i64::try_from(lease.epoch()).unwrap() * 100_000.. {
        let mark = Mark { epoch: lease.epoch(), crawled_at };
        let bytes = content(mark, rng.random_range(0..1_000_000));
        let published = store.publish(&lease, bytes, crawled_at, now()).await.unwrap();
        assert!(matches!(published, Published::Done(_)), "{published:?}");
    }
}

#[tokio::test]
async fn whole_snapshots_stay_whatever_is_killed() {
    let dir = TempDir::new().unwrap();
    let store = folder(&dir);
    let mut rng = StdRng::seed_from_u64(7);
    let mut last = None;
    let (mut changed, mut cut) = (0, 0);
    for round in 0..MOST_ROUNDS {
        if round >= ROUNDS && changed > 10 && cut > 10 {
            break;
        }
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", CHILD, "--nocapture", "--test-threads=1"])
            .env(FOLDER, dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // It leads and has begun to publish; from here on, any moment will do.
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let leads = lines.map_while(Result::ok).any(|line| line.contains("epoch "));
        assert!(leads, "the child gave up: {:?}", child.wait());
        let time = (FIRST_TIME << (2 * (round / ROUNDS))).min(LAST_TIME);
        tokio::time::sleep(Duration::from_micros(rng.random_range(0..time))).await;
        assert_eq!(child.try_wait().unwrap(), None, "the child gave up");
        child.kill().unwrap();
        child.wait().unwrap();

        cut += usize::from(dir.path().join(".snapshot.new").exists());
        match store.poll(None).await.unwrap() {
            Polled::Snapshot(read) => {
                assert!(is_whole(&read.bytes, read.mark));
                assert!(Some(read.mark) >= last, "{last:?} {:?}", read.mark);
                changed += usize::from(Some(read.mark) > last);
                last = Some(read.mark);
            }
            other => assert!(last.is_none() && other == Polled::Absent, "{other:?}"),
        }
        let (_, lease) = store.lease().await.unwrap().unwrap();
        assert!(Some(lease.epoch) >= last.map(|mark| mark.epoch));
        // The next child needn't wait for a dead one's lease.
        std::fs::remove_file(dir.path().join("lease")).unwrap();
    }
    eprintln!("killed: {changed} left a new snapshot, {cut} a half-written file aside");
    assert!(changed > 10, "{changed} snapshots were published");
    assert!(cut > 10, "{cut} kills hit a write");
    // Nothing is left behind but what the next write takes over.
    assert!(std::fs::read_dir(dir.path()).unwrap().count() <= 4);
}
