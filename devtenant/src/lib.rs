//! A development Entra tenant, a Backstage catalog and a small service, over real
//! HTTP: for tests, the demo and compose. Never part of the `stagedoor` binary.
//!
//! Everything is signed, served and refused as the real ones do it, as far as
//! Stagedoor can tell the difference; faults can be ordered.

pub mod applications;
pub mod authority;
pub mod backstage;
pub mod bucket;
pub mod certificate;
pub mod directory;
pub mod front;
pub mod generated;
pub mod graph;
pub mod keys;
pub mod people;
pub mod service;
pub mod tenant;
pub mod token;

mod assertion;
mod grants;
mod managed_identity;
mod organization;
mod refusal;
mod serve;
mod token_endpoint;
