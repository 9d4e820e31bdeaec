//! What a token must say, rule by rule, each with its reason.

use std::time::Duration;

use serde_json::{Map, Value};

use super::settings::TenantSettings;
use crate::domain::{
    ClientId, Denial, GroupId, GroupName, Identity, IdentityKind, ObjectId, Reason, TenantId,
};

type Claims = Map<String, Value>;

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
/// A claim lists no more than this; Entra ends at 200 groups.
const MAX_LISTED: usize = 1000;
/// No text in a claim that decides is longer.
const MAX_TEXT: usize = 4096;

/// The version of a token, which its issuer tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Version {
    V1,
    V2,
}

fn text<'a>(claims: &'a Claims, name: &str) -> Option<&'a str> {
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

/// The key was published for the token's issuer.
pub(super) fn key_issuer(key: Option<&str>, issuer: &str, tenant: TenantId) -> Result<(), Denial> {
    match key {
        // A document without the member is the issuer's own (v1.0).
        None => Ok(()),
        Some(key) if key.replace("{tenantid}", &tenant.to_string()) == issuer => Ok(()),
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

    /// Whether the token is valid at `now`, give or take the skew.
    pub(super) fn covers(&self, now: i64, skew: Duration) -> Result<(), Denial> {
        let skew = i64::try_from(skew.as_secs()).unwrap_or(0);
        if now >= self.expires_at.saturating_add(skew) {
            return Err(Denial::with_detail(
                Reason::TokenExpired,
                format_args!("`exp` is {}, now is {now}", self.expires_at),
            ));
        }
        let begins = self.not_before.unwrap_or(self.issued_at).max(self.issued_at);
        if now < begins.saturating_sub(skew) {
            return Err(Denial::with_detail(
                Reason::TokenNotYetValid,
                format_args!("valid from {begins}, now is {now}"),
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

/// Who the token is for, after everything else is proven.
pub(super) fn identity(
    claims: &Claims,
    version: Version,
    lifetime: Lifetime,
    tenant: &TenantSettings,
) -> Result<Identity, Denial> {
    let client = client(claims, version, tenant)?;
    let object: ObjectId = text(claims, "oid")
        .and_then(|oid| oid.parse().ok())
        .ok_or_else(|| Denial::from(Reason::TokenObjectId))?;
    let scopes = scopes(claims)?;
    let roles = list(claims, "roles")?;
    let kind = kind(claims, &scopes)?;
    if scopes.is_empty() && roles.is_empty() && !tenant.accept_tokens_without_grant {
        return Err(Reason::TokenWithoutGrant.into());
    }
    let (groups, group_names) = groups(claims)?;
    Ok(Identity {
        tenant: tenant.id,
        object,
        kind,
        client: Some(client),
        groups,
        group_names,
        roles,
        scopes,
        issued_at: lifetime.issued_at,
        expires_at: lifetime.expires_at,
    })
}

/// The client application: every access token names it, no ID token does.
fn client(claims: &Claims, version: Version, tenant: &TenantSettings) -> Result<ClientId, Denial> {
    for name in ["nonce", "at_hash", "c_hash"] {
        if claims.contains_key(name) {
            return Err(Denial::with_detail(
                Reason::TokenKind,
                format_args!("`{name}` is an ID token's"),
            ));
        }
    }
    let name = match version {
        Version::V1 => "appid",
        Version::V2 => "azp",
    };
    let client: ClientId = text(claims, name)
        .and_then(|client| client.parse().ok())
        .ok_or_else(|| Denial::with_detail(Reason::TokenKind, format_args!("no `{name}`")))?;
    if tenant.clients.is_empty() || tenant.clients.contains(&client) {
        Ok(client)
    } else {
        Err(Denial::with_detail(Reason::TokenClient, format_args!("the client is {client}")))
    }
}

fn kind(claims: &Claims, scopes: &[Box<str>]) -> Result<IdentityKind, Denial> {
    let idtyp = match claims.get("idtyp") {
        None => None,
        Some(Value::String(idtyp)) => Some(idtyp.as_str()),
        Some(_) => return Err(invalid("idtyp")),
    };
    let same = text(claims, "sub").is_some_and(|sub| text(claims, "oid") == Some(sub));
    match (scopes.is_empty(), idtyp) {
        (false, None | Some("user")) if !same => Ok(IdentityKind::User),
        (true, Some("app")) => Ok(IdentityKind::Workload),
        (true, None) if same => Ok(IdentityKind::Workload),
        // A user's token without a scope: known, but nothing was granted to the client.
        (true, None | Some("user")) => Ok(IdentityKind::User),
        _ => Err(Denial::with_detail(
            Reason::TokenKind,
            "the claims of a delegated and of an app-only token stand side by side",
        )),
    }
}

fn scopes(claims: &Claims) -> Result<Box<[Box<str>]>, Denial> {
    match claims.get("scp") {
        None => Ok(Box::default()),
        Some(Value::String(scp)) if scp.len() <= MAX_TEXT => {
            Ok(sorted(scp.split(' ').filter(|scope| !scope.is_empty()).map(Into::into).collect()))
        }
        Some(_) => Err(invalid("scp")),
    }
}

fn list(claims: &Claims, name: &str) -> Result<Box<[Box<str>]>, Denial> {
    let Some(value) = claims.get(name) else { return Ok(Box::default()) };
    let items =
        value.as_array().filter(|items| items.len() <= MAX_LISTED).ok_or_else(|| invalid(name))?;
    let texts: Option<Vec<Box<str>>> = items
        .iter()
        .map(|item| item.as_str().filter(|text| text.len() <= MAX_TEXT).map(Into::into))
        .collect();
    texts.map(sorted).ok_or_else(|| invalid(name))
}

/// Groups that are identified, and groups that are named.
type Groups = (Box<[GroupId]>, Box<[GroupName]>);

/// The groups, by id and by name. A token that only points to them is one whose
/// groups are not known, also where it lists some.
fn groups(claims: &Claims) -> Result<Groups, Denial> {
    let elsewhere = match claims.get("_claim_names") {
        None => false,
        Some(Value::Object(names)) => names.contains_key("groups"),
        Some(_) => return Err(invalid("_claim_names")),
    };
    let many = match claims.get("hasgroups") {
        None | Some(Value::Bool(false)) => false,
        Some(Value::Bool(true)) => true,
        Some(Value::String(text)) => text != "false",
        Some(_) => return Err(invalid("hasgroups")),
    };
    if elsewhere || many {
        return Err(Reason::GroupsOverage.into());
    }
    let mut ids = Vec::new();
    let mut names = Vec::new();
    for entry in list(claims, "groups")? {
        match entry.parse() {
            Ok(id) => ids.push(id),
            Err(_) => names.push(entry),
        }
    }
    Ok((sorted(ids), sorted(names)))
}

fn invalid(name: &str) -> Denial {
    Denial::with_detail(
        Reason::TokenClaimInvalid,
        format_args!("`{name}` is not of the form that Entra gives it"),
    )
}

fn sorted<T: Ord>(mut items: Vec<T>) -> Box<[T]> {
    items.sort_unstable();
    items.dedup();
    items.into()
}

/// What of a foreign text goes into a detail.
fn clipped(text: &str) -> String {
    text.chars().take(100).flat_map(char::escape_debug).collect()
}
