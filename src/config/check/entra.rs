//! `entra`: which tenants' tokens are accepted, and for how long anything is kept.

use url::Url;

use super::Findings;
use crate::config::document::{Cloud, Entra, Tenant, Version};
use crate::config::problem::below;
use crate::config::values::{ByteSize, Period};
use crate::domain::TenantId;
use crate::entra::{EntraSettings, KeySettings, TenantSettings, TokenCacheSettings, is_graph};

pub(super) fn settings(
    entra: &Entra,
    deadline: Period,
    findings: &mut Findings<'_>,
) -> Option<EntraSettings> {
    let (ms, m, h) = (Period::millis, Period::minutes, Period::hours);
    let (skew, lifetime) = (entra.clock_skew, entra.max_token_lifetime);
    let clock_skew = findings.period("/entra/clock_skew", skew, ms(0), m(5));
    let max_token_lifetime = findings.period("/entra/max_token_lifetime", lifetime, m(1), h(48));
    let max_token_bytes = findings.size(
        "/entra/max_token_bytes",
        entra.max_token_bytes,
        ByteSize::kib(1),
        ByteSize::kib(64),
    );
    let keys = keys(entra, deadline, findings);
    let cache = TokenCacheSettings {
        max_entries: usize::try_from(entra.token_cache.max_entries).unwrap_or(usize::MAX),
        max_bytes: findings.size(
            "/entra/token_cache/max_bytes",
            entra.token_cache.max_bytes,
            ByteSize(0),
            ByteSize::mib(64 << 10),
        ),
    };
    let tenants: Vec<Option<TenantSettings>> = entra
        .tenants
        .iter()
        .enumerate()
        .map(|(index, given)| tenant(&below("/entra/tenants", index), given, findings))
        .collect();
    apart(&tenants, findings);
    Some(EntraSettings {
        tenants: tenants.into_iter().collect::<Option<_>>()?,
        clock_skew,
        max_token_lifetime,
        max_token_bytes,
        cache,
        keys,
    })
}

fn keys(entra: &Entra, deadline: Period, findings: &mut Findings<'_>) -> KeySettings {
    let keys = &entra.keys;
    let (ms, s, m, h) = (Period::millis, Period::seconds, Period::minutes, Period::hours);
    let [refresh, min, age] =
        ["refresh_every", "min_refresh_interval", "max_age"].map(|name| below("/entra/keys", name));
    findings.at_most(
        &min,
        keys.min_refresh_interval,
        &refresh,
        keys.refresh_every,
        "refresh_every",
    );
    if keys.max_age < keys.refresh_every {
        let message = format!("must not be less than `refresh_every` (`{}`)", keys.refresh_every);
        findings.say_of(&age, &[&refresh], message);
    }
    let wait = below("/entra/keys", "unknown_key_wait");
    if keys.unknown_key_wait >= deadline {
        let message = format!("must be less than `check.deadline` (`{deadline}`)");
        findings.say_of(&wait, &["/check/deadline"], message);
    }
    KeySettings {
        refresh_every: findings.period(&refresh, keys.refresh_every, m(1), h(24)),
        min_refresh_interval: findings.period(&min, keys.min_refresh_interval, s(1), h(24)),
        max_age: findings.period(&age, keys.max_age, m(1), h(168)),
        unknown_key_wait: keys.unknown_key_wait.0,
        fetch_timeout: findings.period(
            &below("/entra/keys", "fetch_timeout"),
            keys.fetch_timeout,
            ms(100),
            m(1),
        ),
    }
}

fn tenant(pointer: &str, tenant: &Tenant, findings: &mut Findings<'_>) -> Option<TenantSettings> {
    let at = |name: &str| below(pointer, name);
    let id = tenant_id(&at("id"), &tenant.id, findings);
    let authority = authority(pointer, tenant, findings);
    let versions = match &tenant.versions {
        Some(versions) => versions.clone(),
        None if tenant.authority.is_some() && tenant.issuer_v1.is_none() => vec![Version::V2],
        None => vec![Version::V1, Version::V2],
    };
    for (version, name, given) in [
        (Version::V1, "issuer_v1", &tenant.issuer_v1),
        (Version::V2, "issuer_v2", &tenant.issuer_v2),
    ] {
        if given.is_some() && !versions.contains(&version) {
            let message = "is given, but its version isn't among `versions`";
            findings.say_of(at(name), &[&at("versions")], message);
        }
    }
    let issuer_v1 = versions.contains(&Version::V1).then(|| match &tenant.issuer_v1 {
        Some(issuer) => self::issuer(&at("issuer_v1"), issuer, findings),
        None if tenant.authority.is_some() => {
            let message = "`v1` with an `authority` of your own requires `issuer_v1`";
            findings.say_of(at("versions"), &[&at("authority"), &at("issuer_v1")], message);
            None
        }
        None => Some(format!("{}/{}/", sts(tenant.cloud), id?)),
    });
    let issuer_v2 = versions.contains(&Version::V2).then(|| match &tenant.issuer_v2 {
        Some(issuer) => self::issuer(&at("issuer_v2"), issuer, findings),
        None => {
            Some(format!("{}/{}/v2.0", authority.as_ref()?.as_str().trim_end_matches('/'), id?))
        }
    });
    audiences(&at("audiences"), &tenant.audiences, findings);
    let clients = findings.read_all(&at("clients"), &tenant.clients, str::parse);
    // A version that is accepted but whose issuer could not be told is no tenant.
    let whole = |issuer: Option<Option<String>>| match issuer {
        None => Some(None),
        Some(Some(issuer)) => Some(Some(issuer)),
        Some(None) => None,
    };
    Some(TenantSettings {
        id: id?,
        authority: authority?,
        issuer_v1: whole(issuer_v1)?,
        issuer_v2: whole(issuer_v2)?,
        audiences: tenant.audiences.clone(),
        clients,
        accept_tokens_without_grant: tenant.dangerously_accept_tokens_without_scope_or_role,
    })
}

fn tenant_id(pointer: &str, text: &str, findings: &mut Findings<'_>) -> Option<TenantId> {
    if matches!(text, "common" | "organizations" | "consumers") {
        findings.say(pointer, format!("`{text}` is no tenant: expected the GUID of one"));
        return None;
    }
    findings.read(pointer, text.parse())
}

fn authority(pointer: &str, tenant: &Tenant, findings: &mut Findings<'_>) -> Option<Url> {
    let at = below(pointer, "authority");
    let Some(text) = &tenant.authority else {
        return findings.read(pointer, Url::parse(login(tenant.cloud)));
    };
    if tenant.cloud.is_some() {
        findings.say_of(&at, &[&below(pointer, "cloud")], "either this or `cloud`, not both");
    }
    let url = findings.secure_url(&at, text)?;
    if !matches!(url.path(), "" | "/") {
        let message = "must have no path: the tenant is given by `id`, never by `common` and such";
        findings.say(&at, message);
        return None;
    }
    Some(url)
}

/// Where a cloud's discovery documents are.
fn login(cloud: Option<Cloud>) -> &'static str {
    match cloud {
        None | Some(Cloud::Public) => "https://login.microsoftonline.com",
        Some(Cloud::UsGovernment) => "https://login.microsoftonline.us",
        Some(Cloud::China) => "https://login.partner.microsoftonline.cn",
    }
}

/// Who issues a cloud's v1.0 tokens.
fn sts(cloud: Option<Cloud>) -> &'static str {
    match cloud {
        None | Some(Cloud::Public | Cloud::UsGovernment) => "https://sts.windows.net",
        Some(Cloud::China) => "https://sts.chinacloudapi.cn",
    }
}

/// An issuer is compared as it is written, so it isn't normalised.
fn issuer(pointer: &str, text: &str, findings: &mut Findings<'_>) -> Option<String> {
    if text.contains(['{', '}']) {
        findings.say(pointer, "must name the tenant itself, without a placeholder");
        return None;
    }
    findings.secure_url(pointer, text).map(|_| text.to_owned())
}

fn audiences(pointer: &str, audiences: &[String], findings: &mut Findings<'_>) {
    for (index, audience) in audiences.iter().enumerate() {
        let pointer = below(pointer, index);
        if audience.is_empty() || audience.chars().any(|c| c.is_whitespace() || c.is_control()) {
            findings.say(pointer, "expected an `aud` value: a client id, or an application id URI");
        } else if is_graph(audience) {
            let message = "is Microsoft Graph: its tokens can be verified by nobody else, and \
                           whoever calls Graph holds one";
            findings.say(pointer, message);
        } else if audiences.iter().take(index).any(|other| other == audience) {
            findings.say(pointer, "is given twice");
        }
    }
}

/// No two tenants may be taken for each other, nor the two versions of one.
fn apart(tenants: &[Option<TenantSettings>], findings: &mut Findings<'_>) {
    let mut seen: Vec<(usize, &TenantSettings)> = Vec::new();
    for (index, tenant) in tenants.iter().enumerate() {
        let Some(tenant) = tenant else { continue };
        let at = |index: usize, name: &str| format!("/entra/tenants/{index}/{name}");
        if tenant.issuer_v1.is_some() && tenant.issuer_v1 == tenant.issuer_v2 {
            let message =
                "is the issuer of v1.0 as well: a token's version follows from its issuer";
            findings.say_of(at(index, "issuer_v2"), &[&at(index, "issuer_v1")], message);
        }
        for (other_index, other) in &seen {
            if other.id == tenant.id {
                let message = format!("the tenant is given twice: also `tenants[{other_index}]`");
                findings.say_of(at(index, "id"), &[&at(*other_index, "id")], message);
                // Their issuers are alike then, which needs no word of its own.
                continue;
            }
            for (name, issuer) in
                [("issuer_v1", &tenant.issuer_v1), ("issuer_v2", &tenant.issuer_v2)]
            {
                if issuer.is_some() && (issuer == &other.issuer_v1 || issuer == &other.issuer_v2) {
                    let message = format!("is the issuer of `tenants[{other_index}]` as well");
                    findings.say_of(at(index, name), &[&at(*other_index, name)], message);
                }
            }
        }
        seen.push((index, tenant));
    }
}
