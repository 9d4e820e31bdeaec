//! One entry of `entra.tenants`.

use url::Url;

use super::Findings;
use crate::config::document::{self, Cloud, Tenant, Version};
use crate::config::problem::below;
use crate::domain::{IdentityKind, TenantId};
use crate::entra::{TenantSettings, Tenants, is_graph};

/// What stands for the tenant in the issuer of a multi-tenant application.
const PLACEHOLDER: &str = "{tenantid}";

pub(super) fn settings(
    pointer: &str,
    tenant: &Tenant,
    findings: &mut Findings<'_>,
) -> Option<TenantSettings> {
    let at = |name: &str| below(pointer, name);
    let tenants = tenants(pointer, tenant, findings);
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
    // What stands for the tenant in an issuer: its id, or the placeholder.
    let name = tenants.as_ref().map(|tenants| match tenants {
        Tenants::One(id) => id.to_string(),
        Tenants::Listed(_) | Tenants::Any => PLACEHOLDER.to_owned(),
    });
    let several = tenants.as_ref().is_some_and(Tenants::are_several);
    let issuer_v1 = versions.contains(&Version::V1).then(|| match &tenant.issuer_v1 {
        Some(issuer) => self::issuer(&at("issuer_v1"), issuer, several, findings),
        None if tenant.authority.is_some() => {
            let message = "`v1` with an `authority` of your own requires `issuer_v1`";
            findings.say_of(at("versions"), &[&at("authority"), &at("issuer_v1")], message);
            None
        }
        None => Some(format!("{}/{}/", sts(tenant.cloud), name.as_ref()?)),
    });
    let issuer_v2 = versions.contains(&Version::V2).then(|| match &tenant.issuer_v2 {
        Some(issuer) => self::issuer(&at("issuer_v2"), issuer, several, findings),
        None => {
            let authority = authority.as_ref()?.as_str().trim_end_matches('/');
            Some(format!("{authority}/{}/v2.0", name.as_ref()?))
        }
    });
    audiences(&at("audiences"), &tenant.audiences, findings);
    let clients = findings.read_all(&at("clients"), &tenant.clients, str::parse);
    let agent_clients = findings.read_all(&at("agent_clients"), &tenant.agent_clients, str::parse);
    grants(pointer, tenant, findings);
    // A version that is accepted but whose issuer could not be told is no tenant.
    let whole = |issuer: Option<Option<String>>| match issuer {
        None => Some(None),
        Some(Some(issuer)) => Some(Some(issuer)),
        Some(None) => None,
    };
    let graph_url = match &tenant.graph_url {
        Some(text) => findings.secure_url(&at("graph_url"), text),
        None => findings.read(pointer, Url::parse(graph(tenant.cloud))),
    };
    let defaults = TenantSettings::new(tenants?, authority?, graph_url?, tenant.audiences.clone());
    Some(TenantSettings {
        issuer_v1: whole(issuer_v1)?,
        issuer_v2: whole(issuer_v2)?,
        clients,
        kinds: tenant.kinds.as_ref().map_or(defaults.kinds.clone(), |kinds| {
            kinds.iter().map(|kind| identity_kind(*kind)).collect()
        }),
        required_scopes: tenant.required_scopes.clone(),
        required_roles: tenant.required_roles.clone(),
        accept_tokens_without_grant: tenant.dangerously_accept_tokens_without_scope_or_role,
        groups_are_names: tenant.groups_are_names,
        agent_clients,
        agent_facets: tenant.agent_facets.clone().unwrap_or(defaults.agent_facets.clone()),
        ..defaults
    })
}

pub(super) fn identity_kind(kind: document::CallerKind) -> IdentityKind {
    match kind {
        document::CallerKind::User => IdentityKind::User,
        document::CallerKind::Workload => IdentityKind::Workload,
        document::CallerKind::ManagedIdentity => IdentityKind::ManagedIdentity,
        document::CallerKind::Agent => IdentityKind::Agent,
    }
}

/// One tenant by its id, or several by a list.
fn tenants(pointer: &str, tenant: &Tenant, findings: &mut Findings<'_>) -> Option<Tenants> {
    let at = |name: &str| below(pointer, name);
    let any = tenant.dangerously_allow_any_tenant;
    match (&tenant.id, tenant.allowed_tenants.as_slice(), any) {
        (Some(id), [], false) => tenant_id(&at("id"), id, findings).map(Tenants::One),
        (None, [], true) => Some(Tenants::Any),
        (None, [], false) => {
            let message = "expected `id`, or `allowed_tenants` for a multi-tenant application";
            findings.say(pointer, message);
            None
        }
        (None, listed, false) => {
            let place = at("allowed_tenants");
            let ids = findings.read_all(&place, listed, |text| {
                if matches!(text, "common" | "organizations" | "consumers") {
                    return Err(format!("`{text}` is no tenant: expected the GUID of one"));
                }
                text.parse().map_err(|error: crate::domain::IdError| error.to_string())
            });
            (ids.len() == listed.len()).then_some(Tenants::Listed(ids))
        }
        (Some(_), ..) => {
            let message = "either this, or `allowed_tenants`, or `dangerously_allow_any_tenant`";
            findings.say(at("id"), message);
            None
        }
        (None, [_, ..], true) => {
            let message = "either this, or `dangerously_allow_any_tenant`";
            findings.say(at("allowed_tenants"), message);
            None
        }
    }
}

fn grants(pointer: &str, tenant: &Tenant, findings: &mut Findings<'_>) {
    let accepts_any = tenant.dangerously_accept_tokens_without_scope_or_role;
    for (name, required) in
        [("required_scopes", &tenant.required_scopes), ("required_roles", &tenant.required_roles)]
    {
        let place = below(pointer, name);
        for (index, grant) in required.iter().enumerate() {
            if grant.is_empty() || grant.contains(char::is_whitespace) {
                findings.say(below(&place, index), "expected one name without blanks");
            }
        }
        if accepts_any && !required.is_empty() {
            let other = below(pointer, "dangerously_accept_tokens_without_scope_or_role");
            findings.say_of(place, &[&other], "asks for what the other setting does without");
        }
    }
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

/// Where a cloud's Microsoft Graph is.
fn graph(cloud: Option<Cloud>) -> &'static str {
    match cloud {
        None | Some(Cloud::Public) => "https://graph.microsoft.com",
        Some(Cloud::UsGovernment) => "https://graph.microsoft.us",
        Some(Cloud::China) => "https://microsoftgraph.chinacloudapi.cn",
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
fn issuer(pointer: &str, text: &str, several: bool, findings: &mut Findings<'_>) -> Option<String> {
    let rest = match (several, text.split_once(PLACEHOLDER)) {
        (true, None) => {
            findings.say(pointer, "must hold `{tenantid}`: it is for several tenants");
            return None;
        }
        (true, Some((before, after))) => format!("{before}{after}"),
        (false, _) => text.to_owned(),
    };
    if rest.contains(['{', '}']) {
        findings.say(pointer, "must name the tenant itself, without a placeholder");
        return None;
    }
    findings.secure_url(pointer, &rest).map(|_| text.to_owned())
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
pub(super) fn apart(tenants: &[Option<TenantSettings>], findings: &mut Findings<'_>) {
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
            if let Some(both) = in_both(&other.tenants, &tenant.tenants) {
                let message = format!("{both} is given twice: also `tenants[{other_index}]`");
                let name = |tenants: &Tenants| match tenants {
                    Tenants::One(_) => "id",
                    Tenants::Listed(_) => "allowed_tenants",
                    Tenants::Any => "dangerously_allow_any_tenant",
                };
                let other_place = at(*other_index, name(&other.tenants));
                findings.say_of(at(index, name(&tenant.tenants)), &[&other_place], message);
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

/// A tenant that two entries name, in words. Any tenant beside a named one is none: the
/// entry that names it decides.
fn in_both(one: &Tenants, other: &Tenants) -> Option<String> {
    let listed = |tenants: &Tenants| match tenants {
        Tenants::One(id) => vec![*id],
        Tenants::Listed(ids) => ids.clone(),
        Tenants::Any => Vec::new(),
    };
    let (one_listed, other_listed) = (listed(one), listed(other));
    let both = one_listed.iter().find(|id| other_listed.contains(id));
    match (one, other, both) {
        (Tenants::One(_), Tenants::One(_), Some(_)) => Some("the tenant".to_owned()),
        (.., Some(id)) => Some(format!("the tenant `{id}`")),
        (Tenants::Any, Tenants::Any, None) => Some("any tenant".to_owned()),
        _ => None,
    }
}
