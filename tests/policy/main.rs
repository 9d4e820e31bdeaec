//! Policies and what is decided by them.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test a panic is the result")]
#![allow(clippy::indexing_slicing, clippy::string_slice, clippy::panic, reason = "as above")]

mod cases;
mod diff;
mod differential;
mod explain;
mod verdicts;
mod way;

#[path = "../support/mod.rs"]
mod support;
