//! Compiles `proto/` without needing `protoc` on the machine.

use std::error::Error;
use std::path::PathBuf;

use prost::Message as _;

fn main() -> Result<(), Box<dyn Error>> {
    let root = "proto";
    println!("cargo:rerun-if-changed={root}");
    let descriptors = protox::compile(["envoy/service/auth/v3/external_auth.proto"], [root])?;
    // For gRPC reflection and for the JSON form of the messages.
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    std::fs::write(out.join("ext_authz.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .build_client(false)
        .bytes(".")
        .include_file("ext_authz.rs")
        .compile_fds(descriptors)?;
    Ok(())
}
