//! The steps of a decision, each by itself, and the whole of it.
//!
//! `cargo bench --bench micro` measures; `docs/performance.md` says what it found. The
//! SHA-256 of the token is the yardstick: it is the same work on any machine.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark that fails ends")]
#![allow(clippy::panic, clippy::indexing_slicing, clippy::string_slice, reason = "as above")]
#![allow(clippy::print_stdout, reason = "a benchmark says what it measures")]

#[path = "../tests/support/message.rs"]
mod message;
#[path = "../tests/support/mod.rs"]
mod support;

use std::hint::black_box;
use std::pin::pin;

use aws_lc_rs::{digest, rsa, signature};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput};
use devtenant::tenant::Tenant;
use futures_util::FutureExt as _;
use message::{message, token};
use prost::Message as _;
use stagedoor::authorizer::{Decide as _, Offline};
use stagedoor::clock::Now;
use stagedoor::config::Config;
use stagedoor::domain::{Credentials, Request, RequestLine};
use stagedoor::entra::Authenticator;
use stagedoor::ext_authz::proto::envoy::service::auth::v3::CheckRequest;
use stagedoor::ext_authz::{Answer, Reply, read};
use support::deciding::Deciding;
use support::stack::{AUDIENCE, OTHERS, OWNERS, Options, Stagedoor, write_config};

const HOST: &str = "payments.example.com";
const PATH: &str = "/v1/orders?x=1";
/// A cache without room.
const FORGETFUL: &str = "token_cache: { max_entries: 0 }";
const REASON: &str = "x-stagedoor-justification";

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let _entered = runtime.enter();
    let options = Options { audit: ", queue: 1000000".to_owned(), ..Options::default() };
    let stagedoor = runtime.block_on(Stagedoor::start(options)).unwrap();
    let tenant = &stagedoor.tenant;
    let mut criterion = Criterion::default().configure_from_args();
    steps(&mut criterion, tenant);
    wholes(&mut criterion, &stagedoor);
    // No token is remembered; and then no decision either.
    let options = |policy_settings: &str| Options {
        entra: format!("  {FORGETFUL}\n"),
        audit: ", queue: 1000000".to_owned(),
        policy_settings: policy_settings.to_owned(),
        ..Options::default()
    };
    let deciding = runtime.block_on(Stagedoor::start(options(""))).unwrap();
    let forgetful = options(", cache: { max_entries: 0 }");
    let forgetful = runtime.block_on(Stagedoor::start(forgetful)).unwrap();
    verification(&mut criterion, &deciding, &forgetful);
    criterion.final_summary();
}

fn steps(criterion: &mut Criterion, tenant: &Tenant) {
    let token = token(tenant, AUDIENCE, OWNERS);
    let message = message(&token, HOST, PATH);
    println!("token: {} bytes, message: {} bytes", token.len(), message.len());
    let mut group = criterion.benchmark_group("step");
    group.bench_function("sha256 of the token", |bench| {
        bench.iter(|| digest::digest(&digest::SHA256, black_box(token.as_bytes())));
    });
    group.bench_function("decode", |bench| {
        bench.iter(|| read(black_box(&message), REASON).unwrap().unwrap().method.len());
    });
    group.bench_function("decode by the generated types", |bench| {
        bench.iter(|| CheckRequest::decode(black_box(message.as_slice())).unwrap());
    });
    let request = read(&message, REASON).unwrap().unwrap();
    group.bench_function("normalise", |bench| {
        bench.iter(|| RequestLine::of(black_box(&request)).unwrap());
    });
    let folder = tempfile::tempdir().unwrap();
    let file = write_config(&folder, tenant, &Options::default()).unwrap();
    let config = Config::load(&file).unwrap();
    let line = RequestLine::of(&request).unwrap();
    group.bench_function("route", |bench| {
        bench.iter(|| config.route_table.route(black_box(&request), black_box(&line)).unwrap());
    });
    let (authenticator, now) = authenticator(tenant, "");
    let credentials = Credentials::One(format!("Bearer {token}").into());
    authenticator.authenticate_offline(&credentials, now).unwrap();
    group.bench_function("token that is known", |bench| {
        bench.iter(|| authenticator.prove(black_box(&credentials), now).now_or_never().unwrap());
    });
    decisions(&mut group, tenant, &request, now);
    group.finish();
}

/// Who it is being known: the decision with its answer remembered and made anew, and the
/// reply's bytes.
fn decisions(
    group: &mut BenchmarkGroup<'_, WallTime>,
    tenant: &Tenant,
    request: &Request<'_>,
    now: Now,
) {
    for (name, cache) in [("decide, warm", ""), ("decide, cold", ", cache: { max_entries: 0 }")] {
        let options = Options { policy_settings: cache.to_owned(), ..Options::default() };
        let Deciding { authorizer, answer, .. } = Deciding::new(tenant, now, &options, "");
        let decider = Offline(authorizer);
        let decide = || decider.decide(black_box(request), now).now_or_never().unwrap();
        assert!(decide().is_allow());
        group.bench_function(name, |bench| bench.iter(decide));
        if cache.is_empty() {
            let (decision, answer) = (decide(), Answer::new(answer, None));
            group.bench_function("encode", |bench| {
                bench.iter(|| Reply::of(black_box(&decision), &answer, Some(request)));
            });
        }
    }
}

/// From the bytes of the message to the bytes of the answer, record and metric included.
fn wholes(criterion: &mut Criterion, stagedoor: &Stagedoor) {
    let mut group = criterion.benchmark_group("whole");
    for (name, group_id) in [("allow, warm", OWNERS), ("denial, warm", OTHERS)] {
        let message = message(&token(&stagedoor.tenant, AUDIENCE, group_id), HOST, PATH);
        let check = &stagedoor.check;
        let runtime = tokio::runtime::Handle::current();
        runtime.block_on(check.answer(&message)).unwrap();
        group.throughput(Throughput::Elements(1));
        group.bench_function(name, |bench| {
            bench.iter(|| check.answer(black_box(&message)).now_or_never().unwrap().unwrap());
        });
    }
    group.finish();
}

/// Tokens that were never seen: the signature alone, and everything, with the decision made
/// before for the same person and anew.
fn verification(criterion: &mut Criterion, deciding: &Stagedoor, forgetful: &Stagedoor) {
    let tenant = &deciding.tenant;
    let (authenticator, now) = authenticator(tenant, FORGETFUL);
    let mut group = criterion.benchmark_group("new token");
    let many =
        |tenant| -> Vec<String> { (0..500).map(|_| token(tenant, AUDIENCE, OWNERS)).collect() };
    let tokens = many(tenant);
    let key = tenant.signing_key();
    let jwk = key.jwk(None);
    let part = |name: &str| {
        use base64::Engine as _;
        let text = jwk[name].as_str().unwrap();
        base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).unwrap()
    };
    let (n, e) = (part("n"), part("e"));
    let public = rsa::PublicKeyComponents { n: n.as_slice(), e: e.as_slice() };
    let parsed = public.to_parsed_public_key(&signature::RSA_PKCS1_2048_8192_SHA256).unwrap();
    let (signed, sent) = tokens[0].rsplit_once('.').unwrap();
    let sent = {
        use base64::Engine as _;
        base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(sent).unwrap()
    };
    group.bench_function("signature alone", |bench| {
        bench.iter(|| parsed.verify_sig(black_box(signed.as_bytes()), &sent).unwrap());
    });
    let decoding = jsonwebtoken::DecodingKey::from_rsa_raw_components(&n, &e);
    let (signed, sent) = tokens[0].rsplit_once('.').unwrap();
    group.bench_function("signature by jsonwebtoken", |bench| {
        bench.iter(|| {
            let signed = black_box(signed.as_bytes());
            let algorithm = jsonwebtoken::Algorithm::RS256;
            assert!(jsonwebtoken::crypto::verify(sent, signed, &decoding, algorithm).unwrap());
        });
    });
    let credentials: Vec<_> =
        tokens.iter().map(|token| Credentials::One(format!("Bearer {token}").into())).collect();
    let mut next = (0..credentials.len()).cycle();
    group.bench_function("verified", |bench| {
        bench.iter(|| {
            let credentials = &credentials[next.next().unwrap()];
            authenticator.authenticate_offline(credentials, now).unwrap()
        });
    });
    for (name, stagedoor) in [("whole, decision known", deciding), ("whole", forgetful)] {
        let tokens = many(&stagedoor.tenant);
        let messages: Vec<_> = tokens.iter().map(|token| message(token, HOST, PATH)).collect();
        let mut next = (0..messages.len()).cycle();
        group.bench_function(name, |bench| {
            bench.iter(|| {
                let message = &messages[next.next().unwrap()];
                let mut answer = pin!(stagedoor.check.answer(message));
                // It lets others go first, of whom there are none: a thread that sleeps until it
                // is woken would cost more than all else.
                loop {
                    if let Some(answer) = answer.as_mut().now_or_never() {
                        break answer.unwrap();
                    }
                }
            });
        });
    }
    group.finish();
}

fn authenticator(tenant: &Tenant, entra: &str) -> (Authenticator, Now) {
    let folder = tempfile::tempdir().unwrap();
    let file = write_config(
        &folder,
        tenant,
        &Options { entra: format!("  {entra}\n"), ..Options::default() },
    )
    .unwrap();
    let config = Config::load(&file).unwrap();
    let authenticator = Authenticator::new(config.entra).unwrap();
    let now = Now::read();
    let keys = serde_json::json!({ "keys": [tenant.signing_key().jwk(None)] }).to_string();
    authenticator.load_keys(keys.as_bytes(), now).unwrap();
    (authenticator, now)
}
