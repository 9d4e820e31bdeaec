//! Snapshots of the catalog: how they are fetched, judged, kept and shared.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test a panic is the result")]
#![allow(clippy::indexing_slicing, clippy::string_slice, clippy::panic, reason = "as above")]

mod captures;
mod refresh;
mod shared;
mod snapshots;
mod store;

#[path = "../support/served.rs"]
mod served;
