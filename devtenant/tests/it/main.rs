//! What a development tenant answers, over real HTTP.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "in tests a panic is the result, in their helpers as well"
)]

mod client;
mod credentials;
mod documents;
mod faults;
mod graph;
mod managed_identity;
mod organization;
mod token;
