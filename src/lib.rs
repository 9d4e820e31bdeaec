//! Stagedoor: an Envoy external-authorization server.
//!
//! Microsoft Entra ID says who the caller is, Backstage says who owns what, and
//! Envoy asks about every request. `ARCHITECTURE.md` has the bird's-eye view; the
//! modules below are listed in reading order, and each imports only from those
//! above it.

// What integration tests share with unit tests names the crate as they see it.
#[cfg(test)]
extern crate self as stagedoor;

pub mod bounded;
pub mod clock;
pub mod domain;
pub(crate) mod nearest;
pub(crate) mod quiet;
pub mod seldom;
pub mod shutdown;
pub mod tls;
pub mod yaml;

mod collector;
pub mod fetch;

pub mod catalog;
pub mod entra;
pub mod policy;
pub mod routing;

pub mod authorizer;

pub mod audit;
pub mod serve;

pub mod admin;
pub mod ext_authz;
pub mod telemetry;

pub mod config;

pub mod app;
pub mod cli;
