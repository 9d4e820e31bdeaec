//! Every token that a validator must get right, one row each: what is accepted, and
//! for what is refused, its own reason.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test a panic is the result")]
#![allow(clippy::indexing_slicing, clippy::string_slice, clippy::panic, reason = "as above")]

use std::borrow::Cow;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use devtenant::keys::SigningKey;
use devtenant::token::{CLIENT, TokenBuilder, tamper_payload};
use proptest::prelude::*;
use serde_json::{Value, json};
use stagedoor::clock::Now;
use stagedoor::domain::{Credentials, Identity, IdentityKind, Reason};
use stagedoor::entra::{Authenticator, EntraSettings, TenantSettings, Tenants, TokenCacheSettings};

const TENANT: &str = "11111111-2222-3333-4444-555555555555";
const OTHER: &str = "99999999-2222-3333-4444-555555555555";
const CONSUMERS: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";
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
        cache: TokenCacheSettings { max_entries: cache, max_bytes: 1024 * 1024 },
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

/// A good delegated v2.0 token of the tenant.
fn good() -> TokenBuilder {
    let key = SigningKey::test(0).named("k");
    TokenBuilder::new(TENANT.parse().unwrap(), &issuer_v1(TENANT), &issuer_v2(TENANT), &key)
        .issued(NOW - 60)
        .claim("exp", json!(NOW + 3600))
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
        identity.groups.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["aaaaaaaa-0000-0000-0000-00000000000a", "aaaaaaaa-0000-0000-0000-00000000000b"]
    );
    // Groups by name are passed over only where the operator says so.
    let mut lenient = settings(0);
    lenient.tenants[0].ignore_group_names = true;
    let lenient = Authenticator::new(lenient).unwrap();
    lenient.load_keys(keys().to_string().as_bytes(), Now::at(NOW)).unwrap();
    let token = good().groups(&["sales", "aaaaaaaa-0000-0000-0000-00000000000b"]).sign();
    let identity = ask(&lenient, &format!("Bearer {token}"), NOW).unwrap();
    assert_eq!(&*identity.group_names, ["sales".into()]);
    assert_eq!(identity.groups.len(), 1);
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

fn b64(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

#[test]
fn what_is_refused() {
    use Reason as R;
    let header = r#"{"typ":"JWT","alg":"RS256","kid":"k"}"#;
    let claims = Value::Object(good().claims().clone()).to_string();
    let raw = |payload: &str| good().raw_payload(payload.as_bytes()).sign();
    let raw_header = |header: &str| good().raw_header(header.as_bytes()).sign();
    let token = good().sign();
    let parts: Vec<&str> = token.split('.').collect();
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let sign_bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let other = |key: usize| {
        let key = SigningKey::test(key).named("k");
        TokenBuilder::new(OTHER.parse().unwrap(), &issuer_v1(OTHER), &issuer_v2(OTHER), &key)
            .issued(NOW - 60)
            .claim("exp", json!(NOW + 3600))
    };

    assert!(judge(&other(1).sign()).is_ok(), "the other tenant's own tokens are good");
    let deep = format!("{}{}", "[".repeat(64), "]".repeat(64));
    let many: Vec<String> = (0..5000).map(|n| format!("g{n}")).collect();
    let pem = SigningKey::test(0).public_key_pem();
    let der = SigningKey::test(0).public_key_der();
    let flipped = {
        let mut bytes = sign_bytes.clone();
        bytes[7] ^= 1;
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(bytes))
    };
    let twice = |name: &str| {
        let value = good().claims()[name].clone();
        raw(&claims.replacen('{', &format!("{{\"{name}\":{value},"), 1))
    };

    let rows: Vec<(&str, String, Reason)> = vec![
        // Times.
        (
            "expired by a second beyond the skew",
            good().claim("exp", json!(NOW - 60)).sign(),
            R::TokenExpired,
        ),
        ("not yet valid", good().claim("nbf", json!(NOW + 61)).sign(), R::TokenNotYetValid),
        (
            "issued in the future",
            good().without("nbf").claim("iat", json!(NOW + 61)).sign(),
            R::TokenNotYetValid,
        ),
        (
            "issued in the future, valid before",
            good().claim("iat", json!(NOW + 61)).sign(),
            R::TokenNotYetValid,
        ),
        ("no exp", good().without("exp").sign(), R::TokenTimesInvalid),
        ("no iat", good().without("iat").sign(), R::TokenTimesInvalid),
        ("exp as text", good().claim("exp", json!("1800003600")).sign(), R::TokenTimesInvalid),
        ("negative exp", good().claim("exp", json!(-1)).sign(), R::TokenTimesInvalid),
        (
            "fractional exp",
            good().claim("exp", json!(1_800_003_600.5)).sign(),
            R::TokenTimesInvalid,
        ),
        ("exp of 2^63", good().claim("exp", json!(1_u64 << 63)).sign(), R::TokenTimesInvalid),
        (
            "exp beyond the year 9999",
            good().claim("exp", json!(253_402_300_800_i64)).sign(),
            R::TokenTimesInvalid,
        ),
        ("exp as a list", good().claim("exp", json!([NOW + 60])).sign(), R::TokenTimesInvalid),
        ("nbf as text", good().claim("nbf", json!("now")).sign(), R::TokenTimesInvalid),
        (
            "valid for too long",
            good().claim("exp", json!(NOW - 60 + 28 * 3600 + 1)).sign(),
            R::TokenLifetime,
        ),
        // Audience.
        ("another audience", good().audience("api://other").sign(), R::TokenAudience),
        ("no audience", good().without("aud").sign(), R::TokenAudience),
        (
            "a list of audiences with ours",
            good().claim("aud", json!(["api://payments"])).sign(),
            R::TokenAudience,
        ),
        ("an audience of another case", good().audience("api://Payments").sign(), R::TokenAudience),
        ("an audience with a slash", good().audience("api://payments/").sign(), R::TokenAudience),
        (
            "for Graph, as Entra really signs it: nobody else can verify it",
            good()
                .audience("00000003-0000-0000-c000-000000000000")
                .header("nonce", json!("n"))
                .forged_with(&SigningKey::test(2).named("k")),
            R::TokenAudienceGraph,
        ),
        (
            "for Graph, of an issuer that isn't accepted",
            good()
                .audience("https://graph.microsoft.com")
                .claim("iss", json!("https://sts.windows.net/another/"))
                .sign(),
            R::TokenAudienceGraph,
        ),
        (
            "for the Graph of another cloud",
            good().audience("https://microsoftgraph.chinacloudapi.cn/").sign(),
            R::TokenAudienceGraph,
        ),
        (
            "for Graph, by id",
            good()
                .audience("00000003-0000-0000-c000-000000000000")
                .header("nonce", json!("n"))
                .sign(),
            R::TokenAudienceGraph,
        ),
        (
            "for Graph, by address",
            good().audience("https://graph.microsoft.com").sign(),
            R::TokenAudienceGraph,
        ),
        // Issuer and tenant.
        (
            "another tenant's issuer, our tid and key",
            good().claim("iss", json!(issuer_v2(OTHER))).sign(),
            R::TokenTenant,
        ),
        ("our issuer, another tid", good().claim("tid", json!(OTHER)).sign(), R::TokenTenant),
        ("no tid", good().without("tid").sign(), R::TokenTenant),
        ("tid as a number", good().claim("tid", json!(1)).sign(), R::TokenTenant),
        (
            "v1 issuer with ver 2.0",
            good().claim("iss", json!(issuer_v1(TENANT))).sign(),
            R::TokenVersion,
        ),
        ("v2 issuer with ver 1.0", good().claim("ver", json!("1.0")).sign(), R::TokenVersion),
        ("no ver", good().without("ver").sign(), R::TokenVersion),
        ("no issuer", good().without("iss").sign(), R::TokenIssuer),
        (
            "a list of issuers",
            good().claim("iss", json!([issuer_v2(TENANT)])).sign(),
            R::TokenIssuer,
        ),
        (
            "issuer with a slash more",
            good().claim("iss", json!(issuer_v2(TENANT) + "/")).sign(),
            R::TokenIssuer,
        ),
        (
            "v1 issuer with a slash less",
            good()
                .v1("api://payments")
                .claim("iss", json!(issuer_v1(TENANT).trim_end_matches('/')))
                .sign(),
            R::TokenIssuer,
        ),
        (
            "issuer at another host",
            good()
                .claim("iss", json!(format!("https://login.microsoftonline.us/{TENANT}/v2.0")))
                .sign(),
            R::TokenIssuer,
        ),
        (
            "the template itself",
            good().claim("iss", json!("https://login.microsoftonline.com/{tenantid}/v2.0")).sign(),
            R::TokenIssuer,
        ),
        (
            "the consumers' tenant",
            good().claim("iss", json!(issuer_v2(CONSUMERS))).claim("tid", json!(CONSUMERS)).sign(),
            R::TokenIssuer,
        ),
        // Keys.
        (
            "a key of another issuer",
            good().sign_with(&SigningKey::test(2).named("consumer")),
            R::TokenKeyIssuer,
        ),
        (
            "the id of our key, the other tenant's key",
            good().sign_with(&SigningKey::test(1).named("k")),
            R::TokenSignature,
        ),
        ("the other tenant's token with our key", other(0).sign(), R::TokenSignature),
        (
            "an unknown key",
            good().sign_with(&SigningKey::test(0).named("unknown")),
            R::TokenKeyUnknown,
        ),
        ("no kid", good().without_header("kid").sign(), R::TokenKeyIdInvalid),
        ("kid as a number", good().header("kid", json!(7)).sign(), R::TokenKeyIdInvalid),
        (
            "kid as a path",
            good().header("kid", json!("../../etc/passwd")).sign(),
            R::TokenKeyUnknown,
        ),
        ("kid with a blank", good().header("kid", json!("k k")).sign(), R::TokenKeyIdInvalid),
        (
            "kid of 10 kB",
            good().header("kid", json!("k".repeat(10_000))).sign(),
            R::TokenKeyIdInvalid,
        ),
        ("kid of another case", good().header("kid", json!("K")).sign(), R::TokenKeyUnknown),
        // Algorithms.
        ("alg none", good().unsigned(), R::TokenAlgorithm),
        ("alg None", good().header("alg", json!("None")).sign(), R::TokenAlgorithm),
        ("alg nOnE", good().header("alg", json!("nOnE")).sign(), R::TokenAlgorithm),
        ("no alg", good().without_header("alg").sign(), R::TokenAlgorithm),
        ("alg rs256", good().header("alg", json!("rs256")).sign(), R::TokenAlgorithm),
        ("HS256 with the public key as PEM", good().hs256(&pem), R::TokenAlgorithm),
        ("HS256 with the public key as DER", good().hs256(&der), R::TokenAlgorithm),
        ("a true RS384", good().sign_as("RS384"), R::TokenAlgorithm),
        ("a true PS256", good().sign_as("PS256"), R::TokenAlgorithm),
        (
            "ES256 over an RS256 signature",
            good().header("alg", json!("ES256")).sign(),
            R::TokenAlgorithm,
        ),
        // Signatures.
        ("no signature", format!("{signed}."), R::TokenMalformed),
        (
            "half a signature",
            format!("{signed}.{}", URL_SAFE_NO_PAD.encode(&sign_bytes[..128])),
            R::TokenSignature,
        ),
        ("a bit of the signature flipped", flipped, R::TokenSignature),
        (
            "the signature of another token",
            format!(
                "{signed}.{}",
                good()
                    .oid("bbbbbbbb-0000-0000-0000-000000000002")
                    .sign()
                    .rsplit_once('.')
                    .unwrap()
                    .1
            ),
            R::TokenSignature,
        ),
        ("claims changed", tamper_payload(&token), R::TokenSignature),
        (
            "header changed",
            format!("{}.{}.{signature}", b64(r#"{"alg":"RS256","kid":"k"}"#), parts[1]),
            R::TokenSignature,
        ),
        (
            "another key of ours forged it",
            good().forged_with(&SigningKey::test(3)),
            R::TokenSignature,
        ),
        // Form.
        ("two parts", format!("{}.{}", parts[0], parts[1]), R::TokenMalformed),
        ("four parts", format!("{token}.x"), R::TokenMalformed),
        ("five parts", format!("{}.a.b.c.d", parts[0]), R::TokenMalformed),
        ("garbage", "garbage".to_owned(), R::TokenMalformed),
        ("padding", format!("{token}=="), R::TokenMalformed),
        ("padding within", token.replacen('.', "=.", 1), R::TokenMalformed),
        ("the other alphabet", format!("{signed}.+/{}", &signature[2..]), R::TokenMalformed),
        (
            "bits left over",
            format!("{signed}.{}", with_trailing_bits(signature)),
            R::TokenMalformed,
        ),
        ("too large", good().claim("name", json!("x".repeat(20_000))).sign(), R::TokenTooLarge),
        ("100 kB", good().claim("name", json!("x".repeat(100_000))).sign(), R::TokenTooLarge),
        ("claims that are no object", raw("[1]"), R::TokenJsonInvalid),
        ("claims that are no JSON", raw("{"), R::TokenJsonInvalid),
        ("claims with something after them", raw(&format!("{claims} {{}}")), R::TokenJsonInvalid),
        (
            "claims that are not UTF-8",
            good().raw_payload(b"{\"a\":\"\xff\"}").sign(),
            R::TokenJsonInvalid,
        ),
        (
            "a lone surrogate",
            raw(&claims.replacen('{', r#"{"a":"\ud800","#, 1)),
            R::TokenJsonInvalid,
        ),
        (
            "64 levels",
            raw(&claims.replacen('{', &format!("{{\"a\":{deep},"), 1)),
            R::TokenJsonInvalid,
        ),
        ("aud twice", twice("aud"), R::TokenJsonInvalid),
        ("exp twice", twice("exp"), R::TokenJsonInvalid),
        ("tid twice", twice("tid"), R::TokenJsonInvalid),
        (
            "alg twice",
            raw_header(&header.replacen('{', r#"{"alg":"RS256","#, 1)),
            R::TokenJsonInvalid,
        ),
        (
            "a member twice in a member",
            raw(&claims.replacen('{', r#"{"a":{"b":1,"b":1},"#, 1)),
            R::TokenJsonInvalid,
        ),
        ("a header that is no object", raw_header("\"RS256\""), R::TokenJsonInvalid),
        // Header members that change the meaning.
        ("crit", good().header("crit", json!(["exp"])).sign(), R::TokenHeaderUnsupported),
        ("b64 false", good().header("b64", json!(false)).sign(), R::TokenHeaderUnsupported),
        ("a nested token", good().header("cty", json!("JWT")).sign(), R::TokenHeaderUnsupported),
        (
            "another type",
            good().header("typ", json!("vnd.backstage.user")).sign(),
            R::TokenHeaderUnsupported,
        ),
        (
            "a type that is no text",
            good().header("typ", json!(1)).sign(),
            R::TokenHeaderUnsupported,
        ),
        // Kind.
        (
            "an ID token",
            good().without("scp").without("azp").claim("nonce", json!("n")).sign(),
            R::TokenKind,
        ),
        (
            "an ID token of one registration",
            good().claim("at_hash", json!("h")).sign(),
            R::TokenKind,
        ),
        ("no client", good().without("azp").sign(), R::TokenKind),
        (
            "a v2 token with v1's client claim",
            good().without("azp").claim("appid", json!(CLIENT)).sign(),
            R::TokenKind,
        ),
        ("a client that is no id", good().claim("azp", json!("me")).sign(), R::TokenKind),
        (
            "an application with a scope",
            good().app_only(&["A"]).claim("scp", json!("S")).sign(),
            R::TokenKind,
        ),
        (
            "another client",
            good().claim("azp", json!("cccccccc-0000-0000-0000-000000000009")).sign(),
            R::TokenClient,
        ),
        ("neither scope nor role", good().without("scp").sign(), R::TokenWithoutGrant),
        ("an empty scope", good().claim("scp", json!("")).sign(), R::TokenWithoutGrant),
        ("an application without a role", good().app_only(&[]).sign(), R::TokenWithoutGrant),
        (
            "no roles in the list",
            good().app_only(&[]).claim("roles", json!([])).sign(),
            R::TokenWithoutGrant,
        ),
        // Identity.
        ("no oid", good().without("oid").sign(), R::TokenObjectId),
        ("oid that is no id", good().claim("oid", json!("ada")).sign(), R::TokenObjectId),
        (
            "the zero oid",
            good().claim("oid", json!("00000000-0000-0000-0000-000000000000")).sign(),
            R::TokenObjectId,
        ),
        (
            "oid under another name",
            good()
                .without("oid")
                .claim("OID", json!("bbbbbbbb-0000-0000-0000-000000000001"))
                .sign(),
            R::TokenObjectId,
        ),
        (
            "oid under a look-alike",
            good()
                .without("oid")
                .claim("\u{ff4f}id", json!("bbbbbbbb-0000-0000-0000-000000000001"))
                .sign(),
            R::TokenObjectId,
        ),
        // Other claims.
        (
            "groups as text",
            good().claim("groups", json!("aaaaaaaa-0000-0000-0000-00000000000a")).sign(),
            R::TokenClaimInvalid,
        ),
        (
            "a group that is a number",
            good().claim("groups", json!([1])).sign(),
            R::TokenClaimInvalid,
        ),
        ("roles as text", good().claim("roles", json!("Admin")).sign(), R::TokenClaimInvalid),
        ("scp as a list", good().claim("scp", json!(["S"])).sign(), R::TokenClaimInvalid),
        ("idtyp as a list", good().claim("idtyp", json!(["user"])).sign(), R::TokenClaimInvalid),
        (
            "_claim_names as text",
            good().claim("_claim_names", json!("groups")).sign(),
            R::TokenClaimInvalid,
        ),
        // Overage.
        (
            "overage",
            good().without("groups").claim("_claim_names", json!({ "groups": "src1" })).sign(),
            R::GroupsOverage,
        ),
        (
            "overage beside groups",
            good().claim("_claim_names", json!({ "groups": "src1" })).sign(),
            R::GroupsOverage,
        ),
        (
            "hasgroups",
            good().without("groups").claim("hasgroups", json!(true)).sign(),
            R::GroupsOverage,
        ),
        (
            "overage that points elsewhere",
            good()
                .claim("_claim_names", json!({ "groups": "s" }))
                .claim("_claim_sources", json!({ "s": { "endpoint": "https://evil.example.com" } }))
                .sign(),
            R::GroupsOverage,
        ),
    ];
    assert!(rows.len() >= 100, "{}", rows.len());
    for (name, token, want) in &rows {
        assert_eq!(judge(token).map(|_| ()), Err(*want), "{name}: {token}");
    }
    // Too many groups to be believed fit into no token of the usual size.
    let mut large = settings(0);
    large.max_token_bytes = 1024 * 1024;
    let large = Authenticator::new(large).unwrap();
    large.load_keys(keys().to_string().as_bytes(), Now::at(NOW)).unwrap();
    let token = good().claim("groups", json!(many)).sign();
    assert_eq!(ask(&large, &format!("Bearer {token}"), NOW).map(|_| ()), Err(R::TokenClaimInvalid));
}

/// The same bytes, with a bit set that base64 leaves over.
fn with_trailing_bits(part: &str) -> String {
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (rest, last) = part.split_at(part.len() - 1);
    let at = alphabet.find(last).unwrap();
    format!("{rest}{}", &alphabet[at + 1..at + 2])
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
    let token = good().sign();
    let authenticator = authenticator(10);
    ask(&authenticator, &format!("Bearer {token}"), NOW).unwrap();
    for at in 0..token.len() {
        for bit in 0..8 {
            let mut bytes = token.clone().into_bytes();
            bytes[at] ^= 1 << bit;
            // What is no text doesn't get here.
            let Ok(flipped) = String::from_utf8(bytes) else { continue };
            let got = ask(&authenticator, &format!("Bearer {flipped}"), NOW);
            assert!(got.is_err(), "bit {bit} of byte {at}");
        }
    }
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
