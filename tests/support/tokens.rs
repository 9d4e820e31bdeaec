//! Tokens that a validator must get right, one row each: in a unit, and through Envoy.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use devtenant::keys::SigningKey;
use devtenant::token::{CLIENT, TokenBuilder, tamper_payload};
use serde_json::{Value, json};
use stagedoor::domain::{IdentityKind, Reason};

pub(crate) const TENANT: &str = "11111111-2222-3333-4444-555555555555";
pub(crate) const OTHER: &str = "99999999-2222-3333-4444-555555555555";
pub(crate) const CONSUMERS: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";

/// Where tokens come from: key 0 is the tenant's, by the id `k`; key 1 has the same id in
/// the other tenant; key 2, `consumer`, is listed by the tenant and says that it is the
/// consumers'.
pub(crate) struct World {
    pub(crate) issuer_v1: Box<dyn Fn(&str) -> String>,
    pub(crate) issuer_v2: Box<dyn Fn(&str) -> String>,
    /// When everything happens.
    pub(crate) now: i64,
    /// What is just beyond the skew, or further where time goes on.
    pub(crate) ahead: i64,
}

impl World {
    fn token(&self, tenant: &str, key: usize) -> TokenBuilder {
        let key = SigningKey::test(key).named("k");
        let (v1, v2) = ((self.issuer_v1)(tenant), (self.issuer_v2)(tenant));
        TokenBuilder::new(tenant.parse().unwrap(), &v1, &v2, &key)
            .issued(self.now - 60)
            .claim("exp", json!(self.now + 3600))
    }

    /// A good delegated v2.0 token of the tenant.
    pub(crate) fn good(&self) -> TokenBuilder {
        self.token(TENANT, 0)
    }

    /// One of the other tenant, with this key.
    pub(crate) fn other(&self, key: usize) -> TokenBuilder {
        self.token(OTHER, key)
    }
}

fn b64(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

/// What is accepted, and as whom.
pub(crate) fn accepted(w: &World) -> Vec<(&'static str, String, IdentityKind)> {
    use IdentityKind::{Agent, ManagedIdentity, User, Workload};
    let good = || w.good();
    vec![
        ("a v2.0 token", good().sign(), User),
        ("a v1.0 token", good().v1("api://payments").sign(), User),
        ("another tenant's own", w.other(1).sign(), User),
        ("an application with a role", good().app_only(&["Orders.Read.All"]).sign(), Workload),
        (
            "a managed identity",
            good().app_only(&["A"]).claim("xms_mirid", json!("/subscriptions/x")).sign(),
            ManagedIdentity,
        ),
        (
            "a managed identity by its other mark, without idtyp",
            good().app_only(&["A"]).without("idtyp").claim("xms_az_rid", json!("/s/x")).sign(),
            ManagedIdentity,
        ),
        (
            "an agent, for itself",
            good()
                .app_only(&["A"])
                .claim("xms_act_fct", json!("3 9 11"))
                .claim("xms_sub_fct", json!("9 3 11"))
                .sign(),
            Agent,
        ),
        (
            "an agent, for a user",
            good().claim("xms_act_fct", json!("11 3")).claim("xms_sub_fct", json!("3")).sign(),
            Agent,
        ),
        (
            "an agent by its parent",
            good()
                .app_only(&["A"])
                .claim("xms_par_app_azp", json!("cccccccc-0000-0000-0000-000000000077"))
                .sign(),
            Agent,
        ),
        (
            "facets that everybody has",
            good().claim("xms_act_fct", json!("3 9")).claim("xms_sub_fct", json!("9 3")).sign(),
            User,
        ),
        (
            "a guest",
            good()
                .claim("acct", json!(1))
                .claim(
                    "idp",
                    json!("https://sts.windows.net/99999999-2222-3333-4444-555555555555/"),
                )
                .sign(),
            User,
        ),
        ("tid in upper case", good().claim("tid", json!(TENANT.to_uppercase())).sign(), User),
        ("at+jwt", good().header("typ", json!("at+jwt")).sign(), User),
        ("no typ", good().without_header("typ").sign(), User),
        ("no groups", good().without("groups").sign(), User),
        ("no nbf", good().without("nbf").sign(), User),
        (
            "addresses in the header, not looked at",
            good()
                .header("jku", json!("https://evil.example.com/keys"))
                .header("x5u", json!("https://evil.example.com/keys"))
                .header("jwk", json!({ "kty": "RSA" }))
                .header("x5c", json!(["x"]))
                .sign(),
            User,
        ),
        (
            "names of other cases beside the right ones",
            good().claim("Groups", json!(1)).sign(),
            User,
        ),
    ]
}

/// What is refused, and why.
pub(crate) fn refused(w: &World) -> Vec<(&'static str, String, Reason)> {
    use Reason as R;
    let good = || w.good();
    let header = r#"{"typ":"JWT","alg":"RS256","kid":"k"}"#;
    let claims = Value::Object(good().claims().clone()).to_string();
    let raw = |payload: &str| good().raw_payload(payload.as_bytes()).sign();
    let raw_header = |header: &str| good().raw_header(header.as_bytes()).sign();
    let token = good().sign();
    let parts: Vec<&str> = token.split('.').collect();
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let sign_bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let other = |key: usize| w.other(key);
    let issuer_v1 = |tenant: &str| (w.issuer_v1)(tenant);
    let issuer_v2 = |tenant: &str| (w.issuer_v2)(tenant);

    let deep = format!("{}{}", "[".repeat(64), "]".repeat(64));
    let pem = SigningKey::test(0).public_key_pem();
    let der = SigningKey::test(0).public_key_der();
    let jwk = SigningKey::test(0).jwk(None);
    let modulus = URL_SAFE_NO_PAD.decode(jwk["n"].as_str().unwrap()).unwrap();
    let flipped = {
        let mut bytes = sign_bytes.clone();
        bytes[7] ^= 1;
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(bytes))
    };
    let twice = |name: &str| {
        let value = good().claims()[name].clone();
        raw(&claims.replacen('{', &format!("{{\"{name}\":{value},"), 1))
    };

    vec![
        // Times.
        (
            "expired by a second beyond the skew",
            good().claim("exp", json!(w.now - 60)).sign(),
            R::TokenExpired,
        ),
        ("not yet valid", good().claim("nbf", json!(w.now + w.ahead)).sign(), R::TokenNotYetValid),
        (
            "issued in the future",
            good().without("nbf").claim("iat", json!(w.now + w.ahead)).sign(),
            R::TokenNotYetValid,
        ),
        (
            "issued in the future, valid before",
            good().claim("iat", json!(w.now + w.ahead)).sign(),
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
        ("exp as a list", good().claim("exp", json!([w.now + 60])).sign(), R::TokenTimesInvalid),
        ("nbf as text", good().claim("nbf", json!("now")).sign(), R::TokenTimesInvalid),
        (
            "valid for too long",
            good().claim("exp", json!(w.now - 60 + 28 * 3600 + 1)).sign(),
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
        ("HS256 with the modulus", good().hs256(&modulus), R::TokenAlgorithm),
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
            "a scope, and the subject of an application",
            {
                let object = good().claims()["oid"].clone();
                good().claim("sub", object).sign()
            },
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
        ("a group by name", good().groups(&["sales"]).sign(), R::TokenClaimInvalid),
        (
            "agent facets as a list",
            good().claim("xms_act_fct", json!(["11"])).sign(),
            R::TokenClaimInvalid,
        ),
        (
            "an agent's parent that is no id",
            good().claim("xms_par_app_azp", json!("me")).sign(),
            R::TokenClaimInvalid,
        ),
        ("wids as text", good().claim("wids", json!("x")).sign(), R::TokenClaimInvalid),
        ("acrs as a number", good().claim("acrs", json!(1)).sign(), R::TokenClaimInvalid),
        ("sid as a number", good().claim("sid", json!(1)).sign(), R::TokenClaimInvalid),
        ("uti as a list", good().claim("uti", json!([])).sign(), R::TokenClaimInvalid),
        ("idp as a list", good().claim("idp", json!([])).sign(), R::TokenClaimInvalid),
        ("acct as a list", good().claim("acct", json!([])).sign(), R::TokenClaimInvalid),
        ("azpacr as a number", good().claim("azpacr", json!(1)).sign(), R::TokenClaimInvalid),
        (
            "a managed identity's resource as a list",
            good().app_only(&["A"]).claim("xms_mirid", json!(["/subscriptions/x"])).sign(),
            R::TokenClaimInvalid,
        ),
        (
            "an agent's parent as a number",
            good().claim("xms_par_app_azp", json!(1)).sign(),
            R::TokenClaimInvalid,
        ),
        ("hasgroups as a number", good().claim("hasgroups", json!(1)).sign(), R::TokenClaimInvalid),
        ("a sid of 257", good().claim("sid", json!("s".repeat(257))).sign(), R::TokenClaimInvalid),
        (
            "a scope of 4097",
            good().claim("scp", json!("s".repeat(4097))).sign(),
            R::TokenClaimInvalid,
        ),
        (
            "an idp of 4097",
            good().claim("idp", json!("i".repeat(4097))).sign(),
            R::TokenClaimInvalid,
        ),
        (
            "a user without a scope, with a role",
            good().without("scp").claim("roles", json!(["A"])).sign(),
            R::TokenWithoutGrant,
        ),
        ("a code hash", good().claim("c_hash", json!("h")).sign(), R::TokenKind),
        ("enc", good().header("enc", json!("A256GCM")).sign(), R::TokenHeaderUnsupported),
        ("zip", good().header("zip", json!("DEF")).sign(), R::TokenHeaderUnsupported),
        (
            "bits left over in the claims",
            {
                let odd = |n: &usize| good().claim("name", json!("x".repeat(*n))).sign();
                let claims = |token: &str| token.split('.').nth(1).unwrap().to_owned();
                let n = (0..3).find(|n| claims(&odd(n)).len() % 4 != 0).unwrap();
                let token = odd(&n);
                token.replace(&claims(&token), &with_trailing_bits(&claims(&token)))
            },
            R::TokenMalformed,
        ),
        (
            "a distrusted key",
            good().sign_with(&SigningKey::test(0).named("distrusted")),
            R::TokenKeyDistrusted,
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
    ]
}

/// The same bytes, with a bit set that base64 leaves over.
fn with_trailing_bits(part: &str) -> String {
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (rest, last) = part.split_at(part.len() - 1);
    let at = alphabet.find(last).unwrap();
    format!("{rest}{}", &alphabet[at + 1..at + 2])
}
