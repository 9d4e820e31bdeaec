//! New tokens wait for their turn to be verified, as many as there is room for, and those who
//! are known are answered whatever waits.

use std::time::Duration;

use devtenant::keys::SigningKey;
use devtenant::token::TokenBuilder;
use futures_util::FutureExt as _;
use futures_util::future::join_all;
use serde_json::json;
use stagedoor::clock::Now;
use stagedoor::domain::{Credentials, Reason};
use stagedoor::entra::{Authenticator, EntraSettings, VerificationSettings};

use crate::keys::{TENANT, issuer, tenant};

const NOW: i64 = 1_800_000_000;

fn authenticator(key: &SigningKey, verification: VerificationSettings) -> Authenticator {
    let settings = EntraSettings { verification, ..EntraSettings::new(vec![tenant()]) };
    let authenticator = Authenticator::new(settings).unwrap();
    let keys = json!({ "keys": [key.jwk(Some(&issuer()))] }).to_string();
    authenticator.load_keys(keys.as_bytes(), Now::at(NOW)).unwrap();
    authenticator
}

fn token(key: &SigningKey, number: usize) -> String {
    TokenBuilder::new(TENANT.parse().unwrap(), "unused", &issuer(), key)
        .issued(NOW - 60)
        .claim("exp", json!(NOW + 3600))
        .claim("oid", json!(format!("bbbbbbbb-0000-0000-0001-{number:012}")))
        .claim("sub", json!(format!("subject-{number}")))
        .sign()
}

fn signing(id: &str) -> SigningKey {
    SigningKey::generate(id, 2048).unwrap()
}

/// A good token with a signature that nobody made.
fn forged(token: &str, number: usize) -> String {
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let mark = format!("{number:016}");
    format!("{signed}.{mark}{}", &signature[mark.len()..])
}

fn bearer(token: &str) -> Credentials<'static> {
    Credentials::One(format!("Bearer {token}").into())
}

const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn the_verdicts_are_the_same_as_on_the_spot() {
    let (key, other) = (signing("k1"), signing("k1"));
    let settings = VerificationSettings { queue: 100, max_wait: LONG };
    let authenticator = authenticator(&key, settings);
    let now = Now::at(NOW);
    let good = token(&key, 1);
    let proven = authenticator.prove(&bearer(&good), now).await.unwrap();
    assert!(!proven.remembered);
    let again = authenticator.prove(&bearer(&good), now).now_or_never();
    assert!(again.expect("without waiting").unwrap().remembered);
    for (token, reason) in [
        (forged(&good, 1), Reason::TokenSignature),
        (token(&other, 2), Reason::TokenSignature),
        (token(&signing("k9"), 3), Reason::TokenKeyUnknown),
        ("a.b.c".to_owned(), Reason::TokenMalformed),
        ("x".repeat(20_000), Reason::TokenTooLarge),
    ] {
        let there = authenticator.prove(&bearer(&token), now).await.unwrap_err();
        let here = authenticator.prove_offline(&bearer(&token), now).unwrap_err();
        assert_eq!((there.reason, here.reason), (reason, reason));
    }
    let late = Now::at(NOW + 86_400 * 2);
    let expired = authenticator.prove(&bearer(&token(&key, 4)), late).await.unwrap_err();
    assert_eq!(expired.reason, Reason::TokenExpired);
}

#[tokio::test]
async fn a_flood_is_turned_away_and_who_is_known_is_not() {
    let key = signing("k1");
    let settings = VerificationSettings { queue: 4, max_wait: LONG };
    let authenticator = authenticator(&key, settings);
    let now = Now::at(NOW);
    let known = bearer(&token(&key, 1));
    authenticator.prove(&known, now).await.unwrap();
    let before = authenticator.verification_stats();
    assert_eq!((before.verified, before.full, before.late), (1, 0, 0));

    let good = token(&key, 2);
    let flood: Vec<_> = (0..2000).map(|number| bearer(&forged(&good, number))).collect();
    let asked = flood.iter().map(|credentials| authenticator.prove(credentials, now));
    let mut asked = Box::pin(join_all(asked));
    assert!((&mut asked).now_or_never().is_none(), "the first of them are being verified");
    // While they wait.
    let answer = authenticator.prove(&known, now).now_or_never().expect("without waiting");
    assert!(answer.unwrap().remembered);

    let (mut refused, mut turned_away) = (0, 0);
    for verdict in asked.await {
        match verdict.unwrap_err().reason {
            Reason::TokenSignature => refused += 1,
            Reason::Overloaded => turned_away += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(refused >= 4, "{refused} were verified");
    assert!(turned_away > 0, "{refused} were verified");
    let stats = authenticator.verification_stats();
    assert_eq!((stats.verified - 1, stats.full, stats.late), (refused, turned_away, 0));
    assert_eq!(stats.waiting, 0);
    // And then there is room again.
    authenticator.prove(&bearer(&good), now).await.unwrap();
}

#[tokio::test]
async fn who_waits_too_long_is_turned_away() {
    let key = signing("k1");
    let millisecond = Duration::from_millis(1);
    let settings = VerificationSettings { queue: 5000, max_wait: millisecond };
    let authenticator = authenticator(&key, settings);
    let good = token(&key, 1);
    // No machine verifies as many in that time.
    let many: Vec<_> = (0..5000).map(|number| bearer(&forged(&good, number))).collect();
    let asked = many.iter().map(|credentials| authenticator.prove(credentials, Now::at(NOW)));
    let mut late = 0;
    for verdict in join_all(asked).await {
        let denial = verdict.unwrap_err();
        match denial.reason {
            Reason::TokenSignature => {}
            Reason::Overloaded => late += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(late > 0);
    assert_eq!(Reason::Overloaded.status(), 503);
    let stats = authenticator.verification_stats();
    assert_eq!((stats.late, stats.full), (late, 0));
}

#[tokio::test]
async fn a_token_that_many_ask_about_is_verified_once() {
    let key = signing("k1");
    let settings = VerificationSettings { queue: 1000, max_wait: LONG };
    let authenticator = authenticator(&key, settings);
    let credentials = bearer(&token(&key, 1));
    let asked = (0..200).map(|_| authenticator.prove(&credentials, Now::at(NOW)));
    for proven in join_all(asked).await {
        proven.unwrap();
    }
    assert_eq!(authenticator.verification_stats().verified, 1);
}

/// What is remembered of a token is asked again like everything that is remembered.
#[tokio::test]
async fn a_token_that_was_verified_a_moment_ago_can_have_ended() {
    let key = signing("k1");
    let settings = VerificationSettings { queue: 1000, max_wait: LONG };
    let authenticator = authenticator(&key, settings);
    let credentials = bearer(&token(&key, 1));
    let asked = (0..50).map(|number| {
        let now = if number % 2 == 0 { Now::at(NOW) } else { Now::at(NOW + 86_400 * 2) };
        authenticator.prove(&credentials, now)
    });
    let verdicts = join_all(asked).await;
    assert!(verdicts[0].is_ok(), "it was verified");
    for (number, verdict) in verdicts.into_iter().enumerate() {
        match verdict {
            Ok(_) => assert_eq!(number % 2, 0),
            // Also by the earlier time, once it was found to be over by the later one.
            Err(denial) => assert_eq!(denial.reason, Reason::TokenExpired, "{number}"),
        }
    }
    let again = authenticator.prove(&credentials, Now::at(NOW)).await;
    assert_eq!(again.map(drop).map_err(|denial| denial.reason), Err(Reason::TokenExpired));
}
