//! What a cached token takes, all in, as the allocator sees it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test a panic is the result")]

use std::alloc::System;
use std::borrow::Cow;
use std::io::Write as _;

use devtenant::keys::SigningKey;
use devtenant::token::TokenBuilder;
use serde_json::json;
use stagedoor::bounded::Bounds;
use stagedoor::clock::Now;
use stagedoor::domain::Credentials;
use stagedoor::entra::{Authenticator, EntraSettings, TenantSettings, Tenants};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const TENANT: &str = "11111111-2222-3333-4444-555555555555";
const ISSUER: &str = "https://login.example.com/11111111-2222-3333-4444-555555555555/v2.0";
const NOW: i64 = 1_800_000_000;
const CACHED: usize = 4000;
/// More than are kept, since those that left take some room too.
const TOKENS: usize = 2 * CACHED;

fn authenticator(cached: usize) -> Authenticator {
    Authenticator::new(EntraSettings {
        cache: Bounds { max_entries: cached, max_bytes: 64 << 20 },
        ..EntraSettings::new(vec![TenantSettings {
            issuer_v2: Some(ISSUER.to_owned()),
            ..TenantSettings::new(
                Tenants::One(TENANT.parse().unwrap()),
                "https://login.example.com".parse().unwrap(),
                "https://graph.example.com".parse().unwrap(),
                vec!["api://payments".to_owned()],
            )
        }])
    })
    .unwrap()
}

fn bytes() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

/// People of a company with a thousand groups, of which each is in twenty.
#[test]
fn a_cached_token_with_twenty_groups_takes_at_most_350_bytes() {
    let key = SigningKey::generate("k", 2048).unwrap();
    let keys = json!({ "keys": [key.jwk(None)] }).to_string();
    let now = Now::at(NOW);
    let tokens: Vec<Credentials<'_>> = (0..TOKENS)
        .map(|number| {
            let groups: Vec<String> = (0..20)
                .map(|n| format!("aaaaaaaa-0000-0000-0000-{:012}", (number * 7 + n * 50) % 1000))
                .collect();
            let token = TokenBuilder::new(TENANT.parse().unwrap(), "unused", ISSUER, &key)
                .issued(NOW - 60)
                .claim("exp", json!(NOW + 3600))
                .claim("oid", json!(format!("bbbbbbbb-0000-0000-0000-{number:012}")))
                .claim("sub", json!(format!("subject-{number}")))
                .claim("groups", json!(groups))
                .claim("sid", json!(format!("3f2c1d00-aaaa-bbbb-cccc-{number:012}")))
                .claim("uti", json!(format!("AAAAAAAAAAAAAAAAA{number:04}A")))
                .sign();
            Credentials::One(Cow::Owned(format!("Bearer {token}")))
        })
        .collect();
    // What is used only once is used up.
    let warm = authenticator(CACHED);
    warm.load_keys(keys.as_bytes(), now).unwrap();
    warm.authenticate_offline(&tokens[0], now).unwrap();

    let before = bytes();
    let authenticator = authenticator(CACHED);
    authenticator.load_keys(keys.as_bytes(), now).unwrap();
    for token in &tokens {
        authenticator.authenticate_offline(token, now).unwrap();
    }
    let after = bytes();
    let stats = authenticator.cache_stats();
    assert!(stats.entries * 100 > CACHED * 95, "{stats:?}");
    let each = (after - before) / stats.entries;
    let counted = stats.bytes / stats.entries;
    writeln!(std::io::stderr(), "{each} bytes a token, {counted} as counted").unwrap();
    assert!(each <= 350, "{each} bytes a token");
    // The bound is kept by what is counted.
    assert!(counted * 11 / 10 >= each, "{each} bytes a token, of which {counted} are counted");

    // One that is known costs nothing more.
    let known =
        tokens.iter().find(|token| authenticator.prove_offline(token, now).unwrap().remembered);
    let known = known.unwrap();
    let calls = ALLOCATOR.stats().allocations;
    for _ in 0..100 {
        let proven = authenticator.prove_offline(known, now).unwrap();
        assert!(proven.remembered);
        assert!(authenticator.keys_version(&proven.identity).is_some());
    }
    assert_eq!(ALLOCATOR.stats().allocations, calls, "a warm request allocates");
}
