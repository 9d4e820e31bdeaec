//! Tokens: good ones, and good ones with one thing wrong.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::keys::SigningKey;

/// A token in the making. Begins as a good delegated v2.0 access token.
#[derive(Clone, Debug)]
pub struct TokenBuilder {
    header: Map<String, Value>,
    claims: Map<String, Value>,
    key: SigningKey,
    issuer_v1: String,
    raw_header: Option<Vec<u8>>,
    raw_payload: Option<Vec<u8>>,
}

/// The client application of all tokens.
pub const CLIENT: &str = "cccccccc-0000-0000-0000-000000000001";

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

impl TokenBuilder {
    /// A good delegated token of this tenant.
    #[must_use]
    pub fn new(tenant: Uuid, issuer_v1: &str, issuer_v2: &str, key: &SigningKey) -> Self {
        let now = now();
        let claims = object(json!({
            "aud": "api://payments", "iss": issuer_v2, "iat": now, "nbf": now, "exp": now + 4200,
            "aio": "opaque", "azp": CLIENT, "azpacr": "1", "name": "Ada Lovelace",
            "oid": "bbbbbbbb-0000-0000-0000-000000000001",
            "preferred_username": "ada@example.com", "rh": "opaque",
            "scp": "Payments.Use", "sid": Uuid::new_v4().to_string(), "sub": "pairwise",
            "tid": tenant.to_string(), "uti": Uuid::new_v4().to_string(), "ver": "2.0",
            "groups": [],
        }));
        let header = object(json!({ "typ": "JWT", "alg": "RS256", "kid": key.kid() }));
        Self {
            header,
            claims,
            key: key.clone(),
            issuer_v1: issuer_v1.to_owned(),
            raw_header: None,
            raw_payload: None,
        }
    }

    /// As a v1.0 token for this audience.
    #[must_use]
    pub fn v1(self, audience: &str) -> Self {
        let issuer = self.issuer_v1.clone();
        self.without("azp")
            .without("azpacr")
            .without("preferred_username")
            .claim("ver", "1.0".into())
            .claim("iss", issuer.into())
            .claim("appid", CLIENT.into())
            .claim("appidacr", "1".into())
            .claim("upn", "ada@example.com".into())
            .audience(audience)
            .header("x5t", "thumbprint".into())
    }

    /// As an app-only token with these roles.
    #[must_use]
    pub fn app_only(self, roles: &[&str]) -> Self {
        let object = self.claims.get("oid").cloned().unwrap_or_default();
        let token = self
            .without("scp")
            .without("name")
            .without("preferred_username")
            .without("sid")
            .claim("idtyp", "app".into())
            .claim("sub", object);
        if roles.is_empty() { token } else { token.claim("roles", json!(roles)) }
    }

    /// As the app-only token of the managed identity of this Azure resource. Roles that
    /// were set stay.
    #[must_use]
    pub fn managed_identity(self, resource_id: &str) -> Self {
        let mut token = self.app_only(&[]).claim("xms_mirid", resource_id.into());
        for name in ["azpacr", "appidacr"] {
            if let Some(how) = token.claims.get_mut(name) {
                // A managed identity shows a certificate.
                *how = "2".into();
            }
        }
        token
    }

    /// As a token of a guest from this tenant.
    #[must_use]
    pub fn guest(self, home_tenant: Uuid) -> Self {
        self.claim("acct", 1.into())
            .claim("idp", format!("https://sts.windows.net/{home_tenant}/").into())
    }

    /// As the token of somebody in more groups than a token holds: instead of them the
    /// address of a retired service, as Entra still gives it.
    #[must_use]
    pub fn overage(self) -> Self {
        let text = |name| self.claims.get(name).and_then(Value::as_str).unwrap_or_default();
        let endpoint = format!(
            "https://graph.windows.net/{}/users/{}/getMemberObjects",
            text("tid"),
            text("oid")
        );
        self.without("groups")
            .claim("_claim_names", json!({ "groups": "src1" }))
            .claim("_claim_sources", json!({ "src1": { "endpoint": endpoint } }))
    }

    /// As the token of somebody in more groups than the implicit flow gives: only told so.
    #[must_use]
    pub fn many_groups(self) -> Self {
        self.without("groups").claim("hasgroups", true.into())
    }

    /// Sets a claim.
    #[must_use]
    pub fn claim(mut self, name: &str, value: Value) -> Self {
        self.claims.insert(name.to_owned(), value);
        self
    }

    /// Takes a claim away.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.claims.remove(name);
        self
    }

    /// Sets a header member.
    #[must_use]
    pub fn header(mut self, name: &str, value: Value) -> Self {
        self.header.insert(name.to_owned(), value);
        self
    }

    /// Takes a header member away.
    #[must_use]
    pub fn without_header(mut self, name: &str) -> Self {
        self.header.remove(name);
        self
    }

    /// Sets `groups`.
    #[must_use]
    pub fn groups(self, groups: &[&str]) -> Self {
        self.claim("groups", json!(groups))
    }

    /// Sets `oid`, and `sub` where it is the same.
    #[must_use]
    pub fn oid(self, oid: &str) -> Self {
        let app = self.claims.get("sub") == self.claims.get("oid");
        let token = self.claim("oid", oid.into());
        if app { token.claim("sub", oid.into()) } else { token }
    }

    /// Sets `aud`.
    #[must_use]
    pub fn audience(self, audience: &str) -> Self {
        self.claim("aud", audience.into())
    }

    /// Moves `iat` and `nbf`.
    #[must_use]
    pub fn issued(self, at: i64) -> Self {
        self.claim("iat", at.into()).claim("nbf", at.into())
    }

    /// Moves `exp`, and `iat` and `nbf` before it where they would be after.
    #[must_use]
    pub fn expires(self, at: i64) -> Self {
        let issued = self.claims.get("iat").and_then(Value::as_i64).unwrap_or(0);
        let token = if issued >= at { self.issued(at - 4200) } else { self };
        token.claim("exp", at.into())
    }

    /// Other bytes for the header.
    #[must_use]
    pub fn raw_header(mut self, bytes: &[u8]) -> Self {
        self.raw_header = Some(bytes.to_vec());
        self
    }

    /// Other bytes for the claims.
    #[must_use]
    pub fn raw_payload(mut self, bytes: &[u8]) -> Self {
        self.raw_payload = Some(bytes.to_vec());
        self
    }

    /// The claims so far.
    #[must_use]
    pub fn claims(&self) -> &Map<String, Value> {
        &self.claims
    }

    fn signed_part(&self) -> String {
        let encode = |raw: &Option<Vec<u8>>, members: &Map<String, Value>| {
            let bytes =
                raw.clone().unwrap_or_else(|| Value::Object(members.clone()).to_string().into());
            URL_SAFE_NO_PAD.encode(bytes)
        };
        let header = encode(&self.raw_header, &self.header);
        format!("{header}.{}", encode(&self.raw_payload, &self.claims))
    }

    /// The token, signed with the tenant's key.
    #[must_use]
    pub fn sign(&self) -> String {
        let signed = self.signed_part();
        let signature = self.key.sign("RS256", signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// The token, signed with another key, and naming it.
    #[must_use]
    pub fn sign_with(&self, key: &SigningKey) -> String {
        let mut token = self.clone().header("kid", key.kid().into());
        token.key = key.clone();
        token.sign()
    }

    /// The token, signed with another key, but naming the tenant's.
    #[must_use]
    pub fn forged_with(&self, key: &SigningKey) -> String {
        let mut token = self.clone();
        token.key = key.clone();
        token.sign()
    }

    /// The token under another algorithm that the tenant's key can do.
    #[must_use]
    pub fn sign_as(&self, algorithm: &str) -> String {
        let signed = self.clone().header("alg", algorithm.into()).signed_part();
        let signature = self.key.sign(algorithm, signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// The token with `alg: none` and no signature.
    #[must_use]
    pub fn unsigned(&self) -> String {
        format!("{}.", self.clone().header("alg", "none".into()).signed_part())
    }

    /// The token up to its signature, with a final dot: for those who put another there.
    #[must_use]
    pub fn unsigned_but_rs256(&self) -> String {
        format!("{}.", self.signed_part())
    }

    /// The token signed with HS256 and this secret.
    #[must_use]
    pub fn hs256(&self, secret: &[u8]) -> String {
        let signed = self.clone().header("alg", "HS256".into()).signed_part();
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret);
        let tag = aws_lc_rs::hmac::sign(&key, signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag.as_ref()))
    }
}

/// The token with one claim changed after it was signed.
#[must_use]
pub fn tamper_payload(token: &str) -> String {
    let mut parts: Vec<String> = token.split('.').map(str::to_owned).collect();
    if let Some(payload) = parts.get_mut(1) {
        let bytes = URL_SAFE_NO_PAD.decode(payload.as_str()).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes).replacen("Ada", "Eve", 1);
        *payload = URL_SAFE_NO_PAD.encode(text);
    }
    parts.join(".")
}
