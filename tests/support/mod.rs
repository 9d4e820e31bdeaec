//! What the tests through a real Envoy share.

#![allow(dead_code, reason = "each test binary uses its own part of this module")]

pub(crate) mod abuse;
pub(crate) mod deciding;
pub(crate) mod envoy;
pub(crate) mod files;
pub(crate) mod port;
pub(crate) mod process;
pub(crate) mod reply;
pub(crate) mod stack;
pub(crate) mod tls;
pub(crate) mod tokens;
