//! Every token that a validator must get right, one row each: what is accepted, and
//! for what is refused, its own reason.

use std::borrow::Cow;
use std::time::Duration;

use crate::support::tokens::{CONSUMERS, OTHER, TENANT, World, accepted, refused};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use devtenant::keys::SigningKey;
use devtenant::token::{CLIENT, TokenBuilder};
use proptest::prelude::*;
use serde_json::{Value, json};
use stagedoor::bounded::Bounds;
use stagedoor::clock::Now;
use stagedoor::domain::{Credentials, Identity, IdentityKind, Reason};
use stagedoor::entra::{Authenticator, EntraSettings, TenantSettings, Tenants};

/// When everything here happens.
const NOW: i64 = 1_800_000_000;

fn issuer_v1(tenant: &str) -> String {
    format!("https://sts.windows.net/{tenant}/")
}

fn issuer_v2(tenant: &str) -> String {
    format!("https://login.microsoftonline.com/{tenant}/v2.0")
}

fn tenant(id: &str) -> TenantSettings {
    let authority = "https://login.microsoftonline.com".parse().unwrap();
    let graph = "https://graph.microsoft.com".parse().unwrap();
    let audiences = vec!["api://payments".to_owned()];
    TenantSettings {
        issuer_v1: Some(issuer_v1(id)),
        issuer_v2: Some(issuer_v2(id)),
        clients: vec![CLIENT.parse().unwrap()],
        ..TenantSettings::new(Tenants::One(id.parse().unwrap()), authority, graph, audiences)
    }
}

fn settings(cache: usize) -> EntraSettings {
    EntraSettings {
        clock_skew: Duration::from_secs(60),
        cache: Bounds { max_entries: cache, max_bytes: 1024 * 1024 },
        distrusted_keys: vec!["distrusted".to_owned()],
        ..EntraSettings::new(vec![tenant(TENANT), tenant(OTHER)])
    }
}

/// The keys that each issuer publishes. Key 0 is the tenant's; key 1 has the same id
/// in the other tenant; key 2 says that it is the consumers'.
fn keys() -> Value {
    let named = |number: usize, kid: &str| SigningKey::test(number).named(kid);
    json!({ "issuers": {
        issuer_v1(TENANT): { "keys": [named(0, "k").jwk(None)] },
        issuer_v2(TENANT): { "keys": [
            named(0, "k").jwk(Some("https://login.microsoftonline.com/{tenantid}/v2.0")),
            named(2, "consumer").jwk(Some(&issuer_v2(CONSUMERS))),
        ] },
        issuer_v1(OTHER): { "keys": [named(1, "k").jwk(None)] },
        issuer_v2(OTHER): { "keys": [named(1, "k").jwk(Some(&issuer_v2(OTHER)))] },
    } })
}

fn authenticator(cache: usize) -> Authenticator {
    let authenticator = Authenticator::new(settings(cache)).unwrap();
    authenticator.load_keys(keys().to_string().as_bytes(), Now::at(NOW)).unwrap();
    authenticator
}

fn world() -> World {
    World { issuer_v1: Box::new(issuer_v1), issuer_v2: Box::new(issuer_v2), now: NOW, ahead: 61 }
}

fn good() -> TokenBuilder {
    world().good()
}

fn ask(authenticator: &Authenticator, credentials: &str, now: i64) -> Result<Identity, Reason> {
    let credentials = Credentials::One(Cow::Borrowed(credentials));
    authenticator
        .authenticate_offline(&credentials, Now::at(now))
        .map(|identity| (*identity).clone())
        .map_err(|denial| denial.reason)
}

fn judge(token: &str) -> Result<Identity, Reason> {
    ask(&authenticator(100), &format!("Bearer {token}"), NOW)
}

#[test]
fn who_is_accepted_as_whom() {
    for (name, token, kind) in accepted(&world()) {
        let identity = judge(&token).unwrap_or_else(|reason| panic!("{name}: {reason}"));
        assert_eq!(identity.kind, kind, "{name}");
        let delegated = kind == IdentityKind::User || name == "an agent, for a user";
        assert_eq!(identity.delegated, delegated, "{name}");
        assert_eq!(identity.facts.guest, name == "a guest", "{name}");
    }
}

/// Addresses and names can be changed and taken over: whoever has another's is still
/// themselves.
#[test]
fn names_and_addresses_say_nothing() {
    // One token and one session, so that nothing else differs.
    let good = || good().claim("sid", json!("s")).claim("uti", json!("t"));
    let plain = judge(&good().sign()).unwrap();
    for name in
        ["email", "upn", "unique_name", "preferred_username", "name", "verified_primary_email"]
    {
        let named = judge(&good().claim(name, json!("owner@contoso.example")).sign()).unwrap();
        assert_eq!(named, plain, "{name}");
    }
    // The object id is who it is.
    let other = good().oid("bbbbbbbb-0000-0000-0000-0000000000ff");
    assert_ne!(judge(&other.sign()).unwrap(), plain);
}

#[test]
fn what_is_accepted() {
    let user = |token: &str| {
        let identity = judge(token).unwrap();
        assert_eq!(identity.kind, IdentityKind::User);
        identity
    };
    let identity = user(
        &good()
            .groups(&[
                "aaaaaaaa-0000-0000-0000-00000000000b",
                "AAAAAAAA-0000-0000-0000-00000000000a",
            ])
            .sign(),
    );
    assert_eq!(identity.tenant, TENANT.parse().unwrap());
    assert_eq!(identity.object, "bbbbbbbb-0000-0000-0000-000000000001".parse().unwrap());
    assert_eq!(identity.client, Some(CLIENT.parse().unwrap()));
    assert_eq!(&*identity.scopes, ["Payments.Use".into()]);
    assert_eq!(
        identity.groups().iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["aaaaaaaa-0000-0000-0000-00000000000a", "aaaaaaaa-0000-0000-0000-00000000000b"]
    );
    // Groups by name are passed over only where the operator says so.
    let mut lenient = settings(0);
    lenient.tenants[0].groups_are_names = true;
    let lenient = Authenticator::new(lenient).unwrap();
    lenient.load_keys(keys().to_string().as_bytes(), Now::at(NOW)).unwrap();
    let token = good().groups(&["sales", "aaaaaaaa-0000-0000-0000-00000000000b"]).sign();
    let identity = ask(&lenient, &format!("Bearer {token}"), NOW).unwrap();
    // A name that looks like an id is a name: whoever may name a group could write one.
    assert_eq!(identity.group_names.len(), 2);
    assert!(identity.groups().is_empty());
    user(&good().v1("api://payments").sign());
    // A guest, and what else Entra sends that decides nothing.
    user(
        &good()
            .claim("idp", json!("https://sts.windows.net/other/"))
            .claim("acct", json!(1))
            .sign(),
    );
    user(&good().claim("tid", json!(TENANT.to_uppercase())).sign());
    user(&good().header("typ", json!("at+jwt")).sign());
    user(&good().without_header("typ").sign());
    user(&good().without("groups").sign());
    user(&good().without("nbf").sign());
    // Addresses in the header are not even looked at.
    user(
        &good()
            .header("jku", json!("https://evil.example.com/keys"))
            .header("x5c", json!(["x"]))
            .sign(),
    );
    // Within the skew.
    user(&good().claim("exp", json!(NOW - 59)).sign());
    user(&good().issued(NOW + 60).sign());
    let robot = judge(&good().app_only(&["Orders.Read.All"]).sign()).unwrap();
    assert_eq!(robot.kind, IdentityKind::Workload);
    assert_eq!(&*robot.roles, ["Orders.Read.All".into()]);
    // A managed identity; without `idtyp`, `oid` and `sub` tell.
    let managed =
        good().app_only(&["A"]).without("idtyp").claim("xms_mirid", json!("/subscriptions/x"));
    assert_eq!(judge(&managed.sign()).unwrap().kind, IdentityKind::ManagedIdentity);
    // The scheme in any letter case; several blanks after it.
    let token = good().sign();
    for credentials in
        [format!("bearer {token}"), format!("BEARER {token}"), format!("Bearer   {token}")]
    {
        ask(&authenticator(0), &credentials, NOW).unwrap();
    }
}

/// The other row that is refused needs a token of no usual size.
#[test]
fn what_is_refused() {
    let rows = refused(&world());
    assert!(rows.len() >= 120, "{}", rows.len());
    let mut reasons: Vec<&str> = Vec::new();
    for (name, token, want) in &rows {
        assert_eq!(judge(token).map(|_| ()), Err(*want), "{name}: {token}");
        reasons.push(want.code());
    }
    reasons.sort_unstable();
    reasons.dedup();
    assert!(reasons.len() >= 25, "{reasons:?}");
    let many: Vec<String> = (0..5000).map(|n| format!("g{n}")).collect();
    // Too many groups to be believed fit into no token of the usual size.
    let mut large = settings(0);
    large.max_token_bytes = 1024 * 1024;
    let large = Authenticator::new(large).unwrap();
    large.load_keys(keys().to_string().as_bytes(), Now::at(NOW)).unwrap();
    let token = good().claim("groups", json!(many)).sign();
    assert_eq!(
        ask(&large, &format!("Bearer {token}"), NOW).map(|_| ()),
        Err(Reason::TokenClaimInvalid)
    );
}

#[test]
fn credentials_that_are_no_token() {
    let token = good().sign();
    let authenticator = authenticator(0);
    for (credentials, want) in [
        ("", Reason::CredentialsMalformed),
        ("Bearer", Reason::CredentialsMalformed),
        ("Bearer ", Reason::CredentialsMalformed),
        ("Basic eDp5", Reason::CredentialsMalformed),
        (token.as_str(), Reason::CredentialsMalformed),
        (&format!("Bearer\t{token}"), Reason::CredentialsMalformed),
        (&format!("Bearer {token} x"), Reason::CredentialsMalformed),
        (&format!("Bearer {}", token.replacen('.', ". ", 1)), Reason::CredentialsMalformed),
        (&format!("Bearer {}", token.replacen('.', ".\r\n", 1)), Reason::CredentialsMalformed),
        (&format!("Bearer {token}\n"), Reason::CredentialsMalformed),
        (&format!("Bearers {token}"), Reason::CredentialsMalformed),
        (&format!("Bearer Bearer {token}"), Reason::CredentialsMalformed),
    ] {
        assert_eq!(ask(&authenticator, credentials, NOW).map(|_| ()), Err(want), "{credentials}");
    }
    for (credentials, want) in [
        (Credentials::Absent, Reason::TokenMissing),
        (Credentials::Repeated, Reason::CredentialsRepeated),
        (Credentials::NotText, Reason::CredentialsMalformed),
    ] {
        let got = authenticator.authenticate_offline(&credentials, Now::at(NOW));
        assert_eq!(got.map(|_| ()).map_err(|denial| denial.reason), Err(want));
    }
}

#[test]
fn keys_that_cannot_be_used() {
    let jwk = |key: usize| SigningKey::test(key).named("k").jwk(None);
    let changed = |name: &str, value: Value| {
        let mut jwk = jwk(0);
        jwk[name] = value;
        jwk
    };
    let load = |keys: Vec<Value>| {
        let authenticator = Authenticator::new(settings(0)).unwrap();
        let document = json!({ "keys": keys }).to_string();
        authenticator.load_keys(document.as_bytes(), Now::at(NOW)).map(|()| authenticator)
    };
    let token = format!("Bearer {}", good().sign());
    assert!(ask(&load(vec![jwk(0)]).unwrap(), &token, NOW).is_ok());
    // The same key twice is one.
    assert!(ask(&load(vec![jwk(0), jwk(0)]).unwrap(), &token, NOW).is_ok());
    for bad in [
        changed("kty", json!("oct")),
        changed("kty", json!("EC")),
        changed("use", json!("enc")),
        changed("use", json!(["sig"])),
        changed("alg", json!("RS512")),
        changed("kid", json!(1)),
        changed("kid", json!("")),
        changed("issuer", json!(1)),
        changed("n", json!(URL_SAFE_NO_PAD.encode([0xff; 128]))),
        changed("n", json!(URL_SAFE_NO_PAD.encode([0xff; 1024]))),
        changed("n", json!("!")),
        changed("e", json!("AQ")),
        changed("e", json!("BA")),
        changed("e", json!("")),
        json!("key"),
        json!({}),
    ] {
        assert!(load(vec![bad.clone()]).is_err(), "{bad}");
        // Beside a good one it is only left out.
        let mut other = jwk(1);
        other["kid"] = json!("other");
        let authenticator = load(vec![bad.clone(), other]).unwrap();
        assert!(ask(&authenticator, &token, NOW).is_err(), "{bad}");
    }
    // Two keys of one id: nobody can know which is meant.
    assert!(load(vec![jwk(0), jwk(1)]).is_err());
    assert!(load(vec![]).is_err());
    assert!(
        load(
            (0..101)
                .map(|n| {
                    let mut key = jwk(0);
                    key["kid"] = json!(format!("k{n}"));
                    key
                })
                .collect()
        )
        .is_err()
    );
    let authenticator = Authenticator::new(settings(0)).unwrap();
    for document in ["", "[]", "{}", "{\"keys\": {}}", "<html>", "{\"keys\": [], \"keys\": []}"] {
        assert!(authenticator.load_keys(document.as_bytes(), Now::at(NOW)).is_err(), "{document}");
    }
    assert_eq!(ask(&authenticator, &token, NOW).map(|_| ()), Err(Reason::KeysUnavailable));
}

/// Nothing that differs from a good token in one bit is a good token.
#[test]
fn every_flipped_bit_is_refused() {
    let authenticator = authenticator(10);
    let mut flips = 0;
    // Of a person, of an application, and one that is longer.
    for token in [good(), good().app_only(&["A"]), good().claim("rh", json!("x".repeat(900)))] {
        let token = token.sign();
        ask(&authenticator, &format!("Bearer {token}"), NOW).unwrap();
        for at in 0..token.len() {
            for bit in 0..8 {
                let mut bytes = token.clone().into_bytes();
                bytes[at] ^= 1 << bit;
                // What is no text doesn't get here.
                let Ok(flipped) = String::from_utf8(bytes) else { continue };
                let got = ask(&authenticator, &format!("Bearer {flipped}"), NOW);
                assert!(got.is_err(), "bit {bit} of byte {at}");
                flips += 1;
            }
        }
    }
    assert!(flips > 30_000, "{flips}");
}

#[test]
fn what_is_cached_is_asked_again() {
    let authenticator = authenticator(100);
    let token = format!("Bearer {}", good().sign());
    ask(&authenticator, &token, NOW).unwrap();
    ask(&authenticator, &token, NOW).unwrap();
    assert_eq!(authenticator.cache_stats().hits, 1);
    // Its time runs out while it is cached.
    assert_eq!(ask(&authenticator, &token, NOW + 3660).map(|_| ()), Err(Reason::TokenExpired));
    let token = format!("Bearer {}", good().claim("uti", json!("another")).sign());
    ask(&authenticator, &token, NOW).unwrap();
    // Its key goes, and comes back as another one of the same id.
    let publish = |key: usize| {
        let keys = json!({ "keys": [SigningKey::test(key).named("k").jwk(None)] });
        authenticator.load_keys(keys.to_string().as_bytes(), Now::at(NOW)).unwrap();
    };
    publish(1);
    assert_eq!(ask(&authenticator, &token, NOW).map(|_| ()), Err(Reason::TokenSignature));
    publish(0);
    ask(&authenticator, &token, NOW).unwrap();
    // The same key under another id, or for another issuer, is another key.
    let publish_as = |kid: &str, issuer: Option<&str>| {
        let keys = json!({ "keys": [SigningKey::test(0).named(kid).jwk(issuer)] });
        authenticator.load_keys(keys.to_string().as_bytes(), Now::at(NOW)).unwrap();
    };
    publish_as("other", None);
    assert_eq!(ask(&authenticator, &token, NOW).map(|_| ()), Err(Reason::TokenKeyUnknown));
    publish_as("k", Some(&issuer_v2(OTHER)));
    assert_eq!(ask(&authenticator, &token, NOW).map(|_| ()), Err(Reason::TokenKeyIssuer));
    publish(0);
    ask(&authenticator, &token, NOW).unwrap();
    // A key set that is too old vouches for nothing.
    let late = Now { unix: NOW, instant: Now::at(NOW).instant + Duration::from_secs(25 * 3600) };
    let credentials = Credentials::One(Cow::Borrowed(token.as_str()));
    let got = authenticator.authenticate_offline(&credentials, late);
    assert_eq!(got.map(|_| ()).map_err(|denial| denial.reason), Err(Reason::KeysExpired));
}

#[test]
fn what_ended_is_over_when_the_clock_is_set_back() {
    for entries in [0, 100] {
        let authenticator = authenticator(entries);
        let reason = |token: &str, now| ask(&authenticator, token, now).map(drop);
        let bearer = |id: &str| format!("Bearer {}", good().claim("uti", json!(id)).sign());
        let (known, unknown, other) = (bearer("known"), bearer("unknown"), bearer("other"));
        assert_eq!(reason(&known, NOW), Ok(()));
        for token in [&known, &unknown] {
            assert_eq!(reason(token, NOW + 3660), Err(Reason::TokenExpired));
            for now in [NOW + 3659, NOW, NOW + 3660, NOW + 10] {
                assert_eq!(reason(token, now), Err(Reason::TokenExpired), "{entries}");
            }
        }
        // Nobody saw this one end.
        assert_eq!(reason(&other, NOW), Ok(()));
        // Who changes the rules doesn't make anybody forget.
        let mut changed = settings(entries);
        changed.clock_skew = Duration::from_secs(30);
        let following = authenticator.following(changed).unwrap();
        for token in [&known, &unknown] {
            assert_eq!(ask(&following, token, NOW).map(drop), Err(Reason::TokenExpired));
        }
    }
}

#[test]
fn the_cache_keeps_its_bounds() {
    for (entries, bytes) in [(40, 1024 * 1024), (1_000_000, 16 * 1024), (0, 1024)] {
        let mut settings = settings(entries);
        settings.cache.max_bytes = bytes;
        let authenticator = Authenticator::new(settings).unwrap();
        authenticator.load_keys(keys().to_string().as_bytes(), Now::at(NOW)).unwrap();
        for number in 0..200 {
            let token = good().claim("uti", json!(number.to_string())).sign();
            ask(&authenticator, &format!("Bearer {token}"), NOW).unwrap();
            let stats = authenticator.cache_stats();
            assert!(stats.entries <= entries && stats.bytes <= bytes, "{stats:?}");
        }
        // Garbage never gets in.
        let before = authenticator.cache_stats().entries;
        ask(&authenticator, "Bearer a.b.c", NOW).unwrap_err();
        assert_eq!(authenticator.cache_stats().entries, before);
        assert_eq!(before == 0, entries == 0);
    }
}

/// Verifiers are printed by whoever prints what holds one.
#[test]
fn what_is_printed_of_a_verifier_says_nothing_of_callers() {
    let authenticator = authenticator(100);
    let token = good().groups(&["aaaaaaaa-0000-0000-0000-00000000000a"]).sign();
    let identity = ask(&authenticator, &format!("Bearer {token}"), NOW).unwrap();
    assert_eq!(authenticator.cache_stats().entries, 1);
    let printed = format!("{authenticator:?}");
    assert!(printed.contains("TokenCache") && printed.contains(TENANT), "{printed}");
    for secret in [
        "Payments.Use",
        &identity.object.to_string(),
        &identity.groups()[0].to_string(),
        token.rsplit_once('.').unwrap().1,
    ] {
        assert!(!printed.contains(secret), "{secret}: {printed}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// With the cache or without, the answer is the same, whatever happens to keys and
    /// time in between.
    #[test]
    fn the_cache_changes_no_answer(
        steps in proptest::collection::vec((0_usize..6, 0_i64..9000, 0_usize..8), 1..30),
        entries in 0_usize..8,
    ) {
        let (cached, plain) = (authenticator(entries), authenticator(0));
        let tokens: Vec<String> = [
            good(),
            good().claim("exp", json!(NOW + 600)),
            good().v1("api://payments"),
            good().app_only(&["A"]),
            good().audience("api://other"),
            good().issued(NOW + 300).claim("exp", json!(NOW + 7200)),
        ]
        .iter()
        .map(|token| format!("Bearer {}", token.sign()))
        .collect();
        for (which, after, keys) in steps {
            let own = issuer_v2(TENANT);
            let published = match keys {
                0 => Some(SigningKey::test(0).named("k").jwk(None)),
                1 => Some(SigningKey::test(1).named("k").jwk(None)),
                2 => Some(SigningKey::test(0).named("other").jwk(None)),
                3 => Some(SigningKey::test(0).named("k").jwk(Some(&own))),
                4 => Some(SigningKey::test(0).named("k").jwk(Some(&issuer_v2(OTHER)))),
                _ => None,
            };
            if let Some(key) = published {
                let keys = json!({ "keys": [key] });
                for authenticator in [&cached, &plain] {
                    authenticator.load_keys(keys.to_string().as_bytes(), Now::at(NOW)).unwrap();
                }
            }
            let (a, b) = (ask(&cached, &tokens[which], NOW + after), ask(&plain, &tokens[which], NOW + after));
            prop_assert_eq!(a, b);
        }
    }

    /// Nothing that anybody could send makes the verifier panic, or is accepted.
    #[test]
    fn garbage_is_refused(text in "[ -~]{0,200}", payload in "\\PC{0,100}") {
        let authenticator = authenticator(10);
        prop_assert!(ask(&authenticator, &text, NOW).is_err());
        prop_assert!(judge(&good().raw_payload(payload.as_bytes()).sign()).is_err());
    }
}
