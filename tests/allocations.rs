//! What a warm decision allocates, from the bytes of the message to the bytes of the answer,
//! its metric and its audit record included.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test a panic is the result")]
#![allow(clippy::indexing_slicing, clippy::string_slice, clippy::panic, reason = "as above")]

#[path = "support/message.rs"]
mod message;
mod support;

use futures_util::FutureExt as _;
use message::{message, token};
use prost::Message as _;
use stagedoor::authorizer::explain::Explainer;
use stagedoor::ext_authz::CheckService;
use stagedoor::ext_authz::proto::envoy::service::auth::v3::CheckResponse;
use support::reply::legal;
use support::stack::{AUDIENCE, OTHERS, OWNERS, Options, Stagedoor};

const DECISIONS: u64 = 1000;
/// The answer, the record, and the texts of the request in it.
const EACH: u64 = 3;
/// Of a denial: the same, and what its problem details are put together from.
const EACH_DENIAL: u64 = 16;
/// The queue of records grows by blocks of 32.
const SHARED: u64 = DECISIONS / 32 + 1;

/// The first time it waits for the token to be verified.
fn ask_once(check: &CheckService<Explainer>, message: &[u8]) {
    let answer = tokio::runtime::Handle::current().block_on(check.answer(message)).unwrap();
    assert_eq!(legal(&CheckResponse::decode(&answer[5..]).unwrap()), Ok(true));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_warm_decision_allocates_three_times() {
    let stagedoor = Stagedoor::start(Options::default()).await.unwrap();
    let token = token(&stagedoor.tenant, AUDIENCE, OWNERS);
    for path in ["/v1/orders?x=1", "/whoami"] {
        let message = message(&token, "payments.example.com", path);
        let check = stagedoor.check.clone();
        // On a thread alone, where it is counted.
        let counted = tokio::task::spawn_blocking(move || {
            ask_once(&check, &message);
            // A warm decision waits for nothing: its first poll is its last.
            let answer = || check.answer(&message).now_or_never().unwrap().unwrap();
            let ask = || {
                let answer = CheckResponse::decode(&answer()[5..]).unwrap();
                assert_eq!(legal(&answer), Ok(true));
            };
            (0..100).for_each(|_| ask());
            let decoding = allocation_counter::measure(|| {
                std::hint::black_box(CheckResponse::decode(&answer()[5..]).unwrap());
            });
            assert!(decoding.count_total > EACH, "what is counted is counted: {decoding:?}");
            allocation_counter::measure(|| {
                for _ in 0..DECISIONS {
                    std::hint::black_box(answer());
                }
            })
        })
        .await
        .unwrap();
        assert!(counted.count_total <= DECISIONS * EACH + SHARED, "{path}: {counted:?}");
        // Nothing that grows with the requests stays, but what is queued.
        assert!(counted.bytes_total < DECISIONS * 4096, "{path}: {counted:?}");
    }
}

/// What decisions of both kinds allocate, for `make bench PARTS=steps` to report.
#[tokio::test(flavor = "multi_thread")]
#[allow(clippy::print_stdout, reason = "the suite of figures reads it")]
async fn what_decisions_allocate() {
    let stagedoor = Stagedoor::start(Options::default()).await.unwrap();
    for (name, group, most) in [("allow", OWNERS, EACH), ("denial", OTHERS, EACH_DENIAL)] {
        let token = token(&stagedoor.tenant, AUDIENCE, group);
        let message = message(&token, "payments.example.com", "/v1/orders?x=1");
        let check = stagedoor.check.clone();
        let counted = tokio::task::spawn_blocking(move || {
            tokio::runtime::Handle::current().block_on(check.answer(&message)).unwrap();
            let answer = || check.answer(&message).now_or_never().unwrap().unwrap();
            (0..100).for_each(|_| drop(answer()));
            allocation_counter::measure(|| {
                (0..DECISIONS).for_each(|_| drop(std::hint::black_box(answer())));
            })
        });
        let counted = counted.await.unwrap();
        let (each, bytes) = (counted.count_total / DECISIONS, counted.bytes_total / DECISIONS);
        println!("allocations of a warm {name}: {each} of {bytes} bytes");
        assert!(counted.count_total <= DECISIONS * most + SHARED, "{name}: {counted:?}");
    }
}

/// What is counted, and nothing else: callgrind is told to by this name.
#[inline(never)]
fn counted_decisions(check: &CheckService<Explainer>, message: &[u8]) {
    for _ in 0..100 {
        std::hint::black_box(check.answer(message).now_or_never().unwrap().unwrap());
    }
}

/// Decisions that are allowed, or denied, for `scripts/count-instructions`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "run under callgrind by scripts/count-instructions"]
async fn decisions_to_count() {
    let kind = std::env::var("STAGEDOOR_DECISION").unwrap();
    let (group, allowed) = match kind.as_str() {
        "allow" => (OWNERS, true),
        "denial" => (OTHERS, false),
        other => panic!("a decision is `allow` or `denial`, not `{other}`"),
    };
    let stagedoor = Stagedoor::start(Options::default()).await.unwrap();
    let token = token(&stagedoor.tenant, AUDIENCE, group);
    let message = message(&token, "payments.example.com", "/v1/orders?x=1");
    let check = stagedoor.check.clone();
    let asked = tokio::task::spawn_blocking(move || {
        let answer = tokio::runtime::Handle::current().block_on(check.answer(&message)).unwrap();
        let answer = CheckResponse::decode(&answer[5..]).unwrap();
        assert_eq!(legal(&answer), Ok(allowed));
        counted_decisions(&check, &message);
    });
    asked.await.unwrap();
}
