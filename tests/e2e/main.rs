//! Decisions of the whole, through a real Envoy.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test a panic is the result")]
#![allow(clippy::indexing_slicing, clippy::string_slice, clippy::panic, reason = "as above")]

mod catalog;
mod denials;
mod doctor_envoy;
mod entra;
mod envoy_config;
mod faults;
mod http_service;
mod many_envoys;
mod policy;
mod reload;
mod requests;
mod rolling;
mod shared;
mod starter;
mod streams;
mod tls;
mod trailers;

#[path = "../support/mod.rs"]
mod support;
