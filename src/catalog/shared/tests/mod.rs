//! The shared place, over an in-memory store, real folders, and a store that speaks S3.

mod addresses;
mod crash;
mod election;
mod emulators;
mod faults;
mod publishing;
mod races;
mod unfit;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use object_store::memory::InMemory;
use object_store::path::Path;
use tempfile::TempDir;
use tokio::time::Instant;

use super::bucket::Bucket;
use super::election::{Elector, Lease, Standing};
use super::folder::Folder;
use super::place::{Expect, Object, Place, Written};
use super::publish::Published;
use super::store::SharedStore;
use crate::clock::Now;

const TTL: Duration = Duration::from_secs(30);
/// Past the lease and the follower's margin.
const VACANT: Duration = Duration::from_secs(34);
const CRAWLED: i64 = 1_700_000_000;

fn memory_place() -> Arc<dyn Place> {
    Arc::new(Bucket::new(Arc::new(InMemory::new()), Path::from("some/prefix")))
}

fn memory() -> SharedStore {
    SharedStore::over(memory_place())
}

fn folder(dir: &TempDir) -> SharedStore {
    SharedStore::over(Arc::new(Folder::open(dir.path().to_owned()).unwrap()))
}

/// The real client of S3, and a store that speaks it.
async fn over_s3() -> (devtenant::bucket::Bucket, SharedStore) {
    let bucket = devtenant::bucket::Bucket::start().await.unwrap();
    let store = over_s3_at(bucket.address());
    (bucket, store)
}

fn over_s3_at(address: std::net::SocketAddr) -> SharedStore {
    let url = url::Url::parse("s3://snapshots/some/prefix").unwrap();
    let environment = object_store::aws::AmazonS3Builder::new()
        .with_endpoint(format!("http://{address}"))
        .with_region("test")
        .with_access_key_id("test")
        .with_secret_access_key("test");
    SharedStore::over(super::open::s3(&url, environment).unwrap())
}

fn elector(store: &SharedStore, name: &str) -> Elector {
    Elector::new(store.clone(), name, TTL).unwrap()
}

fn now() -> Now {
    Now { unix: CRAWLED + 60, instant: Instant::now() }
}

async fn lead(elector: &mut Elector) -> Lease {
    match elector.acquire_or_renew(now()).await.unwrap() {
        Standing::Leading(lease) => lease,
        Standing::Following { holder, .. } => panic!("`{holder}` leads"),
    }
}

async fn follow(elector: &mut Elector) -> Instant {
    match elector.acquire_or_renew(now()).await.unwrap() {
        Standing::Following { vacant_at, .. } => vacant_at,
        Standing::Leading(lease) => panic!("leads with epoch {}", lease.epoch()),
    }
}

async fn publish(store: &SharedStore, lease: &Lease, content: &str, crawled_at: i64) -> Published {
    let bytes = Bytes::copy_from_slice(content.as_bytes());
    store.publish(lease, bytes, crawled_at, now()).await.unwrap()
}

/// Puts something of its own in the place of an object.
async fn put(store: &SharedStore, object: Object, bytes: impl Into<Bytes>) {
    let written = store.write(object, vec![bytes.into()], Expect::Anything).await.unwrap();
    assert!(matches!(written, Written::As(_)), "{written:?}");
}
