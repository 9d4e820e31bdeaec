//! Who holds a token, and what it grants them.

use serde_json::Value;

use super::rules::{Claims, Lifetime, Version, invalid, text};
use super::settings::{Overage, TenantSettings};
use crate::domain::{
    ClientAuth, ClientId, Denial, GroupId, GroupName, Holder, IdentityKind, ObjectId, Reason,
    TenantId, TokenFacts,
};

/// A claim lists no more than this; Entra ends at 200 groups.
const MAX_LISTED: usize = 1000;
/// No text in a claim that decides is longer.
const MAX_TEXT: usize = 4096;

/// Who the token is for, after everything else is proven.
pub(super) fn holder(
    claims: &Claims,
    version: Version,
    lifetime: Lifetime,
    tenant: TenantId,
    settings: &TenantSettings,
    overage: Overage,
) -> Result<Holder, Denial> {
    let client = client(claims, version, settings)?;
    let object = object(claims)?;
    let (scopes, roles) = grants(claims)?;
    let delegated = is_delegated(claims, &scopes)?;
    let kind = kind(claims, delegated, client, settings)?;
    accepted(kind, settings)?;
    granted(delegated, &scopes, &roles, settings)?;
    let agent_parent = id(claims, "xms_par_app_azp")?;
    let groups_elsewhere = are_groups_elsewhere(claims)?;
    if groups_elsewhere && overage == Overage::Deny {
        return Err(Reason::GroupsOverage.into());
    }
    // Entra lists none beside the marks of an overage. Whoever does is not believed.
    let (groups, group_names) = match groups(claims, settings.groups_are_names)? {
        _ if groups_elsewhere => Groups::default(),
        groups => groups,
    };
    let (guest, home_tenant) = guest(claims, tenant)?;
    let facts = TokenFacts {
        guest,
        home_tenant,
        directory_roles: list(claims, "wids")?,
        auth_contexts: auth_contexts(claims)?,
        client_auth: client_auth(claims, version)?,
        agent_parent,
        session: opaque(claims, "sid")?,
        token_id: opaque(claims, "uti")?,
        // Known to who verified the token.
        issuer: None,
    };
    Ok(Holder {
        tenant,
        object,
        kind,
        delegated,
        client: Some(client),
        groups,
        group_names,
        groups_elsewhere,
        roles,
        scopes,
        issued_at: lifetime.issued_at,
        expires_at: lifetime.expires_at,
        facts,
    })
}

/// The client application: every access token names it, no ID token does.
pub(super) fn client(
    claims: &Claims,
    version: Version,
    settings: &TenantSettings,
) -> Result<ClientId, Denial> {
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
    if settings.clients.is_empty() || settings.clients.contains(&client) {
        Ok(client)
    } else {
        Err(Denial::with_detail(Reason::TokenClient, format_args!("the client is {client}")))
    }
}

/// `oid`.
pub(super) fn object(claims: &Claims) -> Result<ObjectId, Denial> {
    text(claims, "oid").and_then(|oid| oid.parse().ok()).ok_or_else(|| Reason::TokenObjectId.into())
}

/// What was granted, by name.
type Names = Box<[Box<str>]>;

/// Scopes and app roles.
pub(super) fn grants(claims: &Claims) -> Result<(Names, Names), Denial> {
    Ok((words(claims, "scp")?, list(claims, "roles")?))
}

/// Who or what the holder is.
pub(super) fn kind(
    claims: &Claims,
    delegated: bool,
    client: ClientId,
    settings: &TenantSettings,
) -> Result<IdentityKind, Denial> {
    let agent = settings.agent_clients.contains(&client)
        || id(claims, "xms_par_app_azp")?.is_some()
        || has_agent_facet(claims, settings)?;
    Ok(match (agent, delegated) {
        (true, _) => IdentityKind::Agent,
        (false, true) => IdentityKind::User,
        (false, false) if is_managed(claims)? => IdentityKind::ManagedIdentity,
        (false, false) => IdentityKind::Workload,
    })
}

/// Whether the tenant's entry accepts holders of the kind.
pub(super) fn accepted(kind: IdentityKind, settings: &TenantSettings) -> Result<(), Denial> {
    if settings.kinds.contains(&kind) {
        return Ok(());
    }
    Err(Denial::with_detail(
        Reason::TokenHolderKind,
        format_args!("the holder is of kind `{}`", kind.as_str()),
    ))
}

/// Whether an application acts for a user, or for itself.
pub(super) fn is_delegated(claims: &Claims, scopes: &[Box<str>]) -> Result<bool, Denial> {
    let idtyp = match claims.get("idtyp") {
        None => None,
        Some(Value::String(idtyp)) => Some(idtyp.as_str()),
        Some(_) => return Err(invalid("idtyp")),
    };
    let same = text(claims, "sub").is_some_and(|sub| text(claims, "oid") == Some(sub));
    match (scopes.is_empty(), idtyp) {
        (false, None | Some("user")) if !same => Ok(true),
        (true, Some("app")) => Ok(false),
        (true, None) if same => Ok(false),
        // A user's token without a scope: known, but nothing was granted to the client.
        (true, None | Some("user")) => Ok(true),
        _ => Err(Denial::with_detail(
            Reason::TokenKind,
            "the claims of a delegated and of an app-only token stand side by side",
        )),
    }
}

/// A delegated token needs a scope, an app-only one a role: without, it proves only that
/// the tenant knows the caller.
pub(super) fn granted(
    delegated: bool,
    scopes: &[Box<str>],
    roles: &[Box<str>],
    settings: &TenantSettings,
) -> Result<(), Denial> {
    let (granted, required, missing, word) = if delegated {
        (scopes, &settings.required_scopes, Reason::TokenScopeMissing, "scope")
    } else {
        (roles, &settings.required_roles, Reason::TokenRoleMissing, "role")
    };
    if granted.is_empty() && !settings.accept_tokens_without_grant {
        return Err(Denial::with_detail(
            Reason::TokenWithoutGrant,
            format_args!("the token carries no {word}"),
        ));
    }
    let any = |required: &String| granted.iter().any(|granted| **granted == **required);
    if required.is_empty() || required.iter().any(any) {
        return Ok(());
    }
    let required = required.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    Err(Denial::with_detail(missing, format_args!("expected one of {required}")))
}

/// Whether the actor or the subject is marked as an agent.
fn has_agent_facet(claims: &Claims, settings: &TenantSettings) -> Result<bool, Denial> {
    let actor = words(claims, "xms_act_fct")?;
    let subject = words(claims, "xms_sub_fct")?;
    let is_agents = |facet: &str| settings.agent_facets.iter().any(|agent| agent == facet);
    Ok(actor.iter().chain(&subject).any(|facet| is_agents(facet)))
}

/// Whether an app-only token is a managed identity's: it names its Azure resource.
fn is_managed(claims: &Claims) -> Result<bool, Denial> {
    let named = ["xms_mirid", "xms_az_rid"].map(|name| match claims.get(name) {
        None => Ok(false),
        Some(Value::String(resource)) => Ok(!resource.is_empty()),
        Some(_) => Err(invalid(name)),
    });
    let [mirid, rid] = named;
    Ok(mirid? | rid?)
}

/// Whether a user's home is elsewhere, and where, if the token says.
fn guest(claims: &Claims, tenant: TenantId) -> Result<(bool, Option<TenantId>), Denial> {
    let account = match claims.get("acct") {
        None => false,
        Some(Value::Number(account)) => account.as_i64() != Some(0),
        Some(Value::String(account)) => account != "0",
        Some(_) => return Err(invalid("acct")),
    };
    let provider = match claims.get("idp") {
        None => return Ok((account, None)),
        Some(Value::String(provider)) if provider.len() <= MAX_TEXT => provider.as_str(),
        Some(_) => return Err(invalid("idp")),
    };
    // `https://sts.windows.net/{tenant}/`, `https://login.microsoftonline.com/{tenant}/v2.0`
    let home = provider.split('/').find_map(|part| part.parse::<TenantId>().ok());
    let own = home == Some(tenant) || text(claims, "iss") == Some(provider);
    Ok((account || !own, home.filter(|home| *home != tenant)))
}

/// A list of texts, or one.
fn auth_contexts(claims: &Claims) -> Result<Box<[Box<str>]>, Denial> {
    match claims.get("acrs") {
        Some(Value::String(_)) => words(claims, "acrs"),
        _ => list(claims, "acrs"),
    }
}

fn client_auth(claims: &Claims, version: Version) -> Result<Option<ClientAuth>, Denial> {
    let name = match version {
        Version::V1 => "appidacr",
        Version::V2 => "azpacr",
    };
    match claims.get(name) {
        None => Ok(None),
        Some(Value::String(how)) => match how.as_str() {
            "0" => Ok(Some(ClientAuth::Public)),
            "1" => Ok(Some(ClientAuth::Secret)),
            "2" => Ok(Some(ClientAuth::Certificate)),
            // A way that is not known says nothing.
            _ => Ok(None),
        },
        Some(_) => Err(invalid(name)),
    }
}

fn id(claims: &Claims, name: &str) -> Result<Option<ClientId>, Denial> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::String(id)) => id.parse().map(Some).map_err(|_| invalid(name)),
        Some(_) => Err(invalid(name)),
    }
}

fn opaque(claims: &Claims, name: &str) -> Result<Option<Box<str>>, Denial> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::String(text)) if text.len() <= 256 => Ok(Some(text.as_str().into())),
        Some(_) => Err(invalid(name)),
    }
}

/// Words with blanks between them.
fn words(claims: &Claims, name: &str) -> Result<Box<[Box<str>]>, Denial> {
    match claims.get(name) {
        None => Ok(Box::default()),
        Some(Value::String(text)) if text.len() <= MAX_TEXT => {
            Ok(sorted(text.split(' ').filter(|word| !word.is_empty()).map(Into::into).collect()))
        }
        Some(_) => Err(invalid(name)),
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

/// Whether the token only points to the groups: then they are not known, also where it
/// lists some.
fn are_groups_elsewhere(claims: &Claims) -> Result<bool, Denial> {
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
    Ok(elsewhere || many)
}

/// Groups that are identified, and groups that are named.
type Groups = (Box<[GroupId]>, Box<[GroupName]>);

fn groups(claims: &Claims, are_names: bool) -> Result<Groups, Denial> {
    let listed = list(claims, "groups")?;
    if are_names {
        return Ok((Box::default(), listed));
    }
    // A policy that forbids a group by its id would miss who is in it by name.
    let ids: Result<Vec<GroupId>, _> = listed.iter().map(|entry| entry.parse()).collect();
    ids.map(|ids| (sorted(ids), Box::default())).map_err(|_| invalid("groups"))
}

fn sorted<T: Ord>(mut items: Vec<T>) -> Box<[T]> {
    items.sort_unstable();
    items.dedup();
    items.into()
}
