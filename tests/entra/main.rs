//! Tokens, their keys, and the groups of who shows them.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test a panic is the result")]
#![allow(clippy::indexing_slicing, clippy::string_slice, clippy::panic, reason = "as above")]

mod callers;
mod changes;
mod graph_groups;
mod inspection;
mod keys;
mod tokens;
mod verification;

#[path = "../support/mod.rs"]
mod support;
