//! Decisions for callgrind to count: `scripts/count-instructions` runs this under it.
//!
//! An instruction is an instruction on a busy machine too, so a count can be held to a figure
//! where a time can't.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark that fails ends")]
#![allow(clippy::panic, clippy::indexing_slicing, clippy::string_slice, reason = "as above")]
#![allow(clippy::print_stdout, reason = "it says what it did")]

#[path = "../tests/support/message.rs"]
mod message;
#[path = "../tests/support/mod.rs"]
mod support;

use futures_util::FutureExt as _;
use message::{message, token};
use prost::Message as _;
use stagedoor::authorizer::explain::Explainer;
use stagedoor::ext_authz::CheckService;
use stagedoor::ext_authz::proto::envoy::service::auth::v3::CheckResponse;
use support::reply::legal;
use support::stack::{AUDIENCE, OTHERS, OWNERS, Options, Stagedoor};

/// Decisions that are counted.
const DECISIONS: u32 = 200;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let what = std::env::args().find(|argument| ["allow", "deny"].contains(&argument.as_str()));
    // `cargo test --benches` asks for nothing.
    let Some(what) = what else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    // Under callgrind everything takes fifty times as long.
    let more = "check: { deadline: 60s }\n".to_owned();
    let stagedoor = runtime.block_on(Stagedoor::start(Options { more, ..Options::default() }));
    let stagedoor = stagedoor.unwrap();
    let group = if what == "allow" { OWNERS } else { OTHERS };
    let message = message(
        &token(&stagedoor.tenant, AUDIENCE, group),
        "payments.example.com",
        "/v1/orders?x=1",
    );
    let _entered = runtime.enter();
    for _ in 0..20 {
        let answer = runtime.block_on(stagedoor.check.answer(&message)).unwrap();
        let answer = CheckResponse::decode(&answer[5..]).unwrap();
        assert_eq!(legal(&answer), Ok(what == "allow"));
    }
    counted_decisions(&stagedoor.check, &message);
    println!("{DECISIONS} decisions");
}

/// What callgrind looks at, by this name.
#[inline(never)]
fn counted_decisions(check: &CheckService<Explainer>, message: &[u8]) {
    for _ in 0..DECISIONS {
        std::hint::black_box(check.answer(message).now_or_never().unwrap().unwrap());
    }
}
