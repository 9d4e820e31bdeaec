//! Connections, those that come in and those that go out, and what is on them.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test a panic is the result")]
#![allow(clippy::indexing_slicing, clippy::string_slice, clippy::panic, reason = "as above")]

mod denials;
mod fetch;
mod fuzz_smoke;
mod http2_abuse;
mod http_dialects;
mod outgoing;
mod proto_conformance;
mod serve_loop;
mod tls;

#[path = "../support/fuzzed.rs"]
mod fuzzed;
#[path = "../support/fuzzed_catalog.rs"]
mod fuzzed_catalog;
#[path = "../support/fuzzed_check.rs"]
mod fuzzed_check;
#[path = "../support/message.rs"]
mod message;
#[path = "../support/mod.rs"]
mod support;
