//! What an operator starts, watches, reads and changes.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test a panic is the result")]
#![allow(clippy::indexing_slicing, clippy::string_slice, clippy::panic, reason = "as above")]

mod admin_access;
mod audit_cli;
mod audit_file;
mod cli;
mod core_dumps;
mod doctor;
mod guarded;
mod observability;
mod reload;
mod status;
mod status_parts;
mod telemetry;
mod threads;
mod threats;

#[path = "../support/collector.rs"]
mod collector;
#[path = "../support/message.rs"]
mod message;
#[path = "../support/mod.rs"]
mod support;
