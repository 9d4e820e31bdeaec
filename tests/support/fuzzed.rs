//! What fuzzing asserts. Nothing that anybody could send makes the verifier panic, and it
//! says "valid" only where a plain verifier, another one than ours, says so too.

#![allow(dead_code, reason = "each fuzz target uses its own part of this module")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test a panic is the result")]
#![allow(clippy::indexing_slicing, clippy::string_slice, clippy::panic, reason = "as above")]

use std::borrow::Cow;
use std::sync::OnceLock;

use devtenant::keys::SigningKey;
use devtenant::token::TokenBuilder;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Value, json};
use stagedoor::clock::Now;
use stagedoor::domain::Credentials;
use stagedoor::entra::{Authenticator, EntraSettings, KeySet, TenantSettings, Tenants};

const TENANT: &str = "11111111-2222-3333-4444-555555555555";
const ISSUER: &str = "https://login.example.com/11111111-2222-3333-4444-555555555555/v2.0";
const AUDIENCE: &str = "api://payments";
const NOW: i64 = 1_800_000_000;

fn key() -> &'static SigningKey {
    static KEY: OnceLock<SigningKey> = OnceLock::new();
    KEY.get_or_init(|| SigningKey::generate("k", 2048).unwrap())
}

fn authenticator() -> &'static Authenticator {
    static AUTHENTICATOR: OnceLock<Authenticator> = OnceLock::new();
    AUTHENTICATOR.get_or_init(|| {
        let settings = EntraSettings::new(vec![TenantSettings {
            issuer_v2: Some(ISSUER.to_owned()),
            ..TenantSettings::new(
                Tenants::One(TENANT.parse().unwrap()),
                "https://login.example.com".parse().unwrap(),
                "https://graph.example.com".parse().unwrap(),
                vec![AUDIENCE.to_owned()],
            )
        }]);
        let authenticator = Authenticator::new(settings).unwrap();
        let keys = json!({ "keys": [key().jwk(Some(ISSUER))] }).to_string();
        authenticator.load_keys(keys.as_bytes(), Now::at(NOW)).unwrap();
        authenticator
    })
}

fn good() -> TokenBuilder {
    TokenBuilder::new(TENANT.parse().unwrap(), "unused", ISSUER, key())
        .issued(NOW - 60)
        .claim("exp", json!(NOW + 3600))
}

/// The plain verifier: the `jsonwebtoken` crate as its manual has it, and the times by hand,
/// since it knows no other now than the machine's.
fn reference_accepts(token: &str) -> bool {
    let jwk = key().jwk(None);
    let text = |name: &str| jwk[name].as_str().unwrap().to_owned();
    let key = DecodingKey::from_rsa_components(&text("n"), &text("e")).unwrap();
    let mut validation = Validation::new(Algorithm::RS256);
    validation.set_audience(&[AUDIENCE]);
    validation.set_issuer(&[ISSUER]);
    validation.set_required_spec_claims(&["exp", "iss", "aud"]);
    validation.validate_exp = false;
    let Ok(data) = jsonwebtoken::decode::<Value>(token, &key, &validation) else { return false };
    let second = |name: &str| data.claims[name].as_i64();
    data.header.kid.as_deref() == Some("k")
        && second("exp").is_some_and(|exp| NOW < exp + 60)
        && second("nbf").is_none_or(|nbf| nbf <= NOW + 60)
        && data.claims["tid"].as_str().is_some_and(|tid| tid.eq_ignore_ascii_case(TENANT))
}

fn judge(token: &str) -> bool {
    let credentials = Credentials::One(Cow::Owned(format!("Bearer {token}")));
    let valid = authenticator().authenticate_offline(&credentials, Now::at(NOW)).is_ok();
    assert!(!valid || reference_accepts(token), "accepted, and the reference refuses: {token}");
    // Laying it open panics neither.
    let inspection = authenticator().inspect(token, Now::at(NOW));
    assert_eq!(inspection.verdict.is_ok(), valid);
    valid
}

/// A token made of the data in one of several ways; whether it is valid.
pub(crate) fn token(data: &[u8]) -> bool {
    let Some((how, rest)) = data.split_first() else { return false };
    match how % 5 {
        0 => judge(&String::from_utf8_lossy(rest)),
        // Signed as it is: what only the holder of the key could send.
        1 => judge(&good().raw_payload(rest).sign()),
        2 => judge(&good().raw_header(rest).sign()),
        3 => {
            // Claims on top of good ones.
            let mut token = good();
            if let Ok(Value::Object(claims)) = serde_json::from_slice(rest) {
                for (name, value) in claims {
                    token = if value.is_null() {
                        token.without(&name)
                    } else {
                        token.claim(&name, value)
                    };
                }
            }
            judge(&token.sign())
        }
        _ => {
            // A good token with bytes of it replaced.
            let mut bytes = good().sign().into_bytes();
            for edit in rest.chunks_exact(3) {
                let at = usize::from(u16::from_be_bytes([edit[0], edit[1]])) % bytes.len();
                bytes[at] = edit[2] & 0x7f;
            }
            judge(&String::from_utf8_lossy(&bytes))
        }
    }
}

/// A key document made of the data; whether it is a key set.
pub(crate) fn key_set(data: &[u8]) -> bool {
    let parsed = KeySet::parse(data);
    let Ok(keys) = parsed else { return false };
    // Whatever is a key set is one to a plain reader as well, with as many keys at least.
    let document: Value = serde_json::from_slice(data).expect("a key set is json");
    let listed = document["keys"].as_array().expect("a key set lists keys");
    assert!((1..=100).contains(&keys.len()) && keys.len() <= listed.len());
    let usable = listed.iter().filter(|key| key["kty"] == "RSA" && key["kid"].is_string()).count();
    assert!(keys.len() <= usable);
    true
}
