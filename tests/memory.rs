//! Distinct valid tokens without end: the cache keeps its bounds, and the process with it.
//!
//! `STAGEDOOR_TOKENS=1000000 cargo test --release --test memory -- --nocapture` shows the
//! plateau with a million; by itself the test takes a few thousand.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test a panic is the result")]
#![allow(clippy::indexing_slicing, clippy::string_slice, clippy::panic, reason = "as above")]

use std::borrow::Cow;
use std::io::Write as _;

use devtenant::keys::SigningKey;
use devtenant::token::TokenBuilder;
use serde_json::json;
use stagedoor::bounded::Bounds;
use stagedoor::clock::Now;
use stagedoor::domain::Credentials;
use stagedoor::entra::{Authenticator, EntraSettings, TenantSettings, Tenants};

const TENANT: &str = "11111111-2222-3333-4444-555555555555";
const ISSUER: &str = "https://login.example.com/11111111-2222-3333-4444-555555555555/v2.0";
const NOW: i64 = 1_800_000_000;
const MAX_BYTES: usize = 1 << 20;

/// Memory of this process that is really there, in bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

#[test]
fn a_flood_of_valid_tokens_reaches_a_plateau() {
    let count = std::env::var("STAGEDOOR_TOKENS").map_or(4000, |text| text.parse().unwrap());
    let key = SigningKey::generate("k", 2048).unwrap();
    let authenticator = Authenticator::new(EntraSettings {
        cache: Bounds { max_entries: 1_000_000, max_bytes: MAX_BYTES },
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
    .unwrap();
    let keys = json!({ "keys": [key.jwk(None)] }).to_string();
    authenticator.load_keys(keys.as_bytes(), Now::at(NOW)).unwrap();
    // What a real token lists.
    let groups: Vec<String> = (0..40).map(|n| format!("aaaaaaaa-0000-0000-0000-{n:012}")).collect();
    let now = Now::at(NOW);
    let token = TokenBuilder::new(TENANT.parse().unwrap(), "unused", ISSUER, &key)
        .issued(NOW - 60)
        .claim("exp", json!(NOW + 3600))
        .claim("groups", json!(groups));
    // The plateau is reached once the cache was full; from there on nothing grows.
    let settled = count / 2;
    let mut at_settled = 0;
    for number in 0..count {
        let token = token.clone().claim("uti", json!(number.to_string())).sign();
        let credentials = Credentials::One(Cow::Owned(format!("Bearer {token}")));
        authenticator.authenticate_offline(&credentials, now).unwrap();
        let stats = authenticator.cache_stats();
        assert!(stats.bytes <= MAX_BYTES, "{stats:?}");
        if number == settled {
            at_settled = resident();
        }
        if number % (count / 10).max(1) == 0 {
            let kib = resident() / 1024;
            writeln!(
                std::io::stderr(),
                "{number} tokens: {} entries of {} KiB as counted, {kib} KiB resident",
                stats.entries,
                stats.bytes / 1024,
            )
            .unwrap();
        }
    }
    let stats = authenticator.cache_stats();
    assert!(stats.bytes > MAX_BYTES / 4, "the bound was reached: {stats:?}");
    assert!(stats.entries < count / 2, "most were forgotten: {stats:?}");
    let grown = resident().saturating_sub(at_settled);
    assert!(grown < 4 << 20, "{grown} bytes more in the second half");
}
