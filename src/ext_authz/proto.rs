//! The messages of `proto/`, as generated. Nothing outside `ext_authz` and the
//! offline commands sees them.

#![allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic)] // generated

tonic::include_proto!("ext_authz");

/// The descriptors of everything above, for reflection and for the JSON form.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/ext_authz.bin"));
