//! What a token must say, rule by rule, each with its reason.

use std::time::Duration;

use serde_json::{Map, Value};

use super::issuer::TENANT_PLACEHOLDER;
use super::settings::TenantSettings;
use crate::domain::{Denial, Reason, TenantId};

pub(super) type Claims = Map<String, Value>;

/// Whether an audience is Microsoft Graph, of any cloud, or its predecessor. Tokens
/// for it can be verified by it alone.
#[must_use]
pub fn is_graph(audience: &str) -> bool {
    let audience = audience.to_ascii_lowercase();
    let host = audience.strip_prefix("https://").unwrap_or(&audience).trim_end_matches('/');
    matches!(
        host,
        "00000003-0000-0000-c000-000000000000"
            | "graph.microsoft.com"
            | "graph.microsoft.us"
            | "dod-graph.microsoft.us"
            | "microsoftgraph.chinacloudapi.cn"
            | "00000002-0000-0000-c000-000000000000"
            | "graph.windows.net"
    )
}

/// The end of the year 9999. Beyond it, a time is a mistake or a trick.
const LAST_SECOND: i64 = 253_402_300_799;

/// The version of a token, which its issuer tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Version {
    V1,
    V2,
}

pub(super) fn text<'a>(claims: &'a Claims, name: &str) -> Option<&'a str> {
    claims.get(name).and_then(Value::as_str)
}

/// `iss`, as text.
pub(super) fn issuer(claims: &Claims) -> Result<&str, Denial> {
    text(claims, "iss").ok_or_else(|| Denial::with_detail(Reason::TokenIssuer, "`iss` is no text"))
}

/// `ver` fits the issuer, and `tid` is its tenant.
pub(super) fn origin(claims: &Claims, version: Version, tenant: TenantId) -> Result<(), Denial> {
    let expected = match version {
        Version::V1 => "1.0",
        Version::V2 => "2.0",
    };
    if text(claims, "ver") != Some(expected) {
        return Err(Denial::with_detail(
            Reason::TokenVersion,
            format_args!("expected `ver` {expected} of this issuer"),
        ));
    }
    let named = text(claims, "tid").and_then(|tid| tid.parse::<TenantId>().ok());
    if named == Some(tenant) { Ok(()) } else { Err(Reason::TokenTenant.into()) }
}

/// The key was published for the token's issuer, which is `issuer` with `tenant` for
/// the placeholder.
pub(super) fn key_issuer(
    key: Option<&str>,
    issuer: &str,
    version: Version,
    tenant: TenantId,
) -> Result<(), Denial> {
    let of_tenant = |template: &str| template.replace(TENANT_PLACEHOLDER, &tenant.to_string());
    match key {
        // One document for many tenants must say whose each key is. That of v1.0 never
        // does; nor need the document of one issuer alone.
        None if version == Version::V2 && issuer.contains(TENANT_PLACEHOLDER) => {
            Err(Denial::with_detail(Reason::TokenKeyIssuer, "the key is for nobody in particular"))
        }
        None => Ok(()),
        Some(key) if of_tenant(key) == of_tenant(issuer) => Ok(()),
        Some(key) => Err(Denial::with_detail(
            Reason::TokenKeyIssuer,
            format_args!("the key is for `{}`", clipped(key)),
        )),
    }
}

/// `aud` is on the list.
pub(super) fn audience(claims: &Claims, tenant: &TenantSettings) -> Result<(), Denial> {
    let Some(audience) = text(claims, "aud") else {
        return Err(Denial::with_detail(Reason::TokenAudience, "`aud` is no text"));
    };
    if tenant.audiences.iter().any(|accepted| accepted == audience) {
        return Ok(());
    }
    Err(Denial::with_detail(
        Reason::TokenAudience,
        format_args!("`aud` is `{}`", clipped(audience)),
    ))
}

/// The token is not for Microsoft Graph. People try those, and deserve to be told:
/// whatever else is wrong with such a token follows from what it is for.
pub(super) fn not_for_graph(claims: &Claims) -> Result<(), Denial> {
    match text(claims, "aud") {
        Some(audience) if is_graph(audience) => Err(Reason::TokenAudienceGraph.into()),
        _ => Ok(()),
    }
}

/// When a token is valid.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lifetime {
    pub(super) issued_at: i64,
    pub(super) not_before: Option<i64>,
    pub(super) expires_at: i64,
}

impl Lifetime {
    pub(super) fn of(claims: &Claims, max: Duration) -> Result<Self, Denial> {
        let lifetime = Self {
            issued_at: seconds(claims, "iat")?.ok_or_else(|| missing("iat"))?,
            not_before: seconds(claims, "nbf")?,
            expires_at: seconds(claims, "exp")?.ok_or_else(|| missing("exp"))?,
        };
        let length = lifetime.expires_at - lifetime.issued_at;
        let max = i64::try_from(max.as_secs()).unwrap_or(i64::MAX);
        if length > max {
            return Err(Denial::with_detail(
                Reason::TokenLifetime,
                format_args!("{length} s from `iat` to `exp`, at most {max} are allowed"),
            ));
        }
        Ok(lifetime)
    }

    /// From when the token is valid.
    pub(super) fn begins(&self) -> i64 {
        self.not_before.unwrap_or(self.issued_at).max(self.issued_at)
    }

    /// Whether the token is valid at `now`, give or take the skew, and not older than
    /// `max_age`.
    pub(super) fn covers(
        &self,
        now: i64,
        skew: Duration,
        max_age: Option<Duration>,
    ) -> Result<(), Denial> {
        let skew = i64::try_from(skew.as_secs()).unwrap_or(0);
        if now >= self.expires_at.saturating_add(skew) {
            return Err(Denial::with_detail(
                Reason::TokenExpired,
                format_args!("`exp` is {}, now is {now}", self.expires_at),
            ));
        }
        let begins = self.begins();
        if now < begins.saturating_sub(skew) {
            return Err(Denial::with_detail(
                Reason::TokenNotYetValid,
                format_args!("valid from {begins}, now is {now}"),
            ));
        }
        let age = now.saturating_sub(self.issued_at);
        let max = max_age.map(|age| i64::try_from(age.as_secs()).unwrap_or(i64::MAX));
        if let Some(max) = max.filter(|max| age > max.saturating_add(skew)) {
            return Err(Denial::with_detail(
                Reason::TokenTooOld,
                format_args!("issued {age} s ago, at most {max} are accepted"),
            ));
        }
        Ok(())
    }
}

fn missing(name: &str) -> Denial {
    Denial::with_detail(Reason::TokenTimesInvalid, format_args!("`{name}` is missing"))
}

fn seconds(claims: &Claims, name: &str) -> Result<Option<i64>, Denial> {
    match claims.get(name) {
        None => Ok(None),
        Some(value) => match value.as_i64() {
            Some(seconds) if (0..=LAST_SECOND).contains(&seconds) => Ok(Some(seconds)),
            _ => Err(Denial::with_detail(
                Reason::TokenTimesInvalid,
                format_args!("`{name}` is no number of seconds"),
            )),
        },
    }
}

pub(super) fn invalid(name: &str) -> Denial {
    Denial::with_detail(
        Reason::TokenClaimInvalid,
        format_args!("`{name}` is not of the form that Entra gives it"),
    )
}

/// What of a foreign text goes into a detail.
fn clipped(text: &str) -> String {
    text.chars().take(100).flat_map(char::escape_debug).collect()
}
