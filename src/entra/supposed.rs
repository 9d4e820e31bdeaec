//! An identity of claims that nobody vouches for.
//!
//! For people who try policies out. The claims are read by the very code that reads those of
//! verified tokens, so that what a test says of a token holds for the token. Nothing of the
//! proof is asked for: no signature, no issuer, no audience, no time.

use std::time::Duration;

use serde_json::{Map, Value};

use super::holder;
use super::rules::{self, Lifetime, Version};
use super::settings::{Overage, TenantSettings, Tenants};
use super::{Authenticator, json};
use crate::domain::{Denial, Identity, Reason, TenantId};

/// The claims of a token, whoever signed it.
///
/// # Errors
/// The text is no token, or its claims are not an object of JSON that has one reading.
pub fn claims_of(token: &str) -> Result<Map<String, Value>, Denial> {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    let mut parts = token.trim().split('.');
    let (Some(_), Some(claims), Some(_), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Reason::TokenMalformed.into());
    };
    let bytes = URL_SAFE_NO_PAD.decode(claims).map_err(|_| Reason::TokenMalformed)?;
    json::object(&bytes).ok_or_else(|| Reason::TokenJsonInvalid.into())
}

/// Whom these claims would identify, by the settings of a tenant: its defaults, where there
/// is none. `iat` and `exp` may be any.
///
/// # Errors
/// What a verified token with these claims would be refused for.
pub fn suppose(
    claims: &Map<String, Value>,
    settings: Option<&TenantSettings>,
    overage: Overage,
) -> Result<Identity, Denial> {
    let tenant = tenant(claims)?;
    let version = match rules::text(claims, "ver") {
        Some("1.0") => Version::V1,
        Some("2.0") => Version::V2,
        _ => return Err(Reason::TokenVersion.into()),
    };
    let lifetime = Lifetime::of(claims, Duration::MAX)?;
    let judge = |settings: &TenantSettings| {
        holder::holder(claims, version, lifetime, tenant, settings, overage).map(Identity::from)
    };
    match settings {
        Some(settings) => judge(settings),
        None => judge(&usual(tenant)?),
    }
}

impl Authenticator {
    /// Whom these claims would identify here.
    ///
    /// # Errors
    /// No entry of the configuration accepts the tenant, or as of [`suppose`].
    pub fn suppose(&self, claims: &Map<String, Value>) -> Result<Identity, Denial> {
        let tenant = tenant(claims)?;
        let all = &self.shared.settings;
        let mut settings: Option<&TenantSettings> = None;
        for entry in all.tenants.iter().filter(|entry| entry.tenants.accept(tenant)) {
            if settings.is_none_or(|before| entry.tenants.name(tenant, &before.tenants)) {
                settings = Some(entry);
            }
        }
        let settings = settings.ok_or(Reason::TokenTenantNotAllowed)?;
        suppose(claims, Some(settings), all.overage)
    }
}

fn tenant(claims: &Map<String, Value>) -> Result<TenantId, Denial> {
    let tenant = rules::text(claims, "tid").and_then(|tid| tid.parse().ok());
    tenant.ok_or_else(|| Reason::TokenTenant.into())
}

/// What the configuration has where it says nothing.
fn usual(tenant: TenantId) -> Result<TenantSettings, Denial> {
    let url = |text: &str| {
        url::Url::parse(text).map_err(|cause| Denial::with_detail(Reason::Internal, cause))
    };
    let authority = url("https://login.microsoftonline.com")?;
    let graph = url("https://graph.microsoft.com")?;
    Ok(TenantSettings::new(Tenants::One(tenant), authority, graph, Vec::new()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(claims: Value) -> Result<Identity, Denial> {
        let Value::Object(claims) = claims else { panic!("no object: {claims}") };
        suppose(&claims, None, Overage::Deny)
    }

    #[test]
    fn claims_are_read_as_those_of_a_verified_token() {
        let good = json!({
            "tid": "11111111-2222-3333-4444-555555555555", "ver": "2.0", "iat": 1, "exp": 2,
            "oid": "bbbbbbbb-0000-0000-0000-000000000001", "scp": "Use",
            "azp": "cccccccc-0000-0000-0000-000000000001", "acct": 1,
        });
        let identity = read(good.clone()).unwrap();
        assert!(identity.delegated && identity.facts.guest);
        for (name, value, want) in [
            ("tid", Value::Null, Reason::TokenTenant),
            ("ver", json!("3.0"), Reason::TokenVersion),
            ("scp", json!(""), Reason::TokenWithoutGrant),
            ("groups", json!(["a name"]), Reason::TokenClaimInvalid),
            ("hasgroups", json!(true), Reason::GroupsOverage),
            ("nonce", json!("x"), Reason::TokenKind),
        ] {
            let mut claims = good.clone();
            claims[name] = value;
            assert_eq!(read(claims).unwrap_err().reason, want, "{name}");
        }
    }

    #[test]
    fn a_token_is_laid_open_and_anything_else_is_refused() {
        // {"a":1}
        assert_eq!(claims_of("x.eyJhIjoxfQ.y").unwrap().len(), 1);
        for text in ["", "x.y", "x.eyJhIjoxfQ.y.z", "x.!.y"] {
            assert_eq!(claims_of(text).unwrap_err().reason, Reason::TokenMalformed, "{text}");
        }
        // "a"
        assert_eq!(claims_of("x.ImEi.y").unwrap_err().reason, Reason::TokenJsonInvalid);
    }
}
