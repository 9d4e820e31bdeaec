//! Who asks in a case.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::catalog::Snapshot;
use crate::cli::policy::fields::{Fields, Mistakes, Placed, unknown};
use crate::domain::{
    ClientAuth, ClientId, Denial, EntityRef, GroupId, Identity, IdentityKind, ObjectId, Reason,
    TenantId, TokenFacts,
};
use crate::entra::claims_of;
use crate::nearest::nearest;
use crate::yaml::{Node, NodeKind, Scalar};

/// Who asks.
#[derive(Debug)]
pub(super) enum Caller {
    /// No token.
    Nobody,
    /// Whoever these claims identify.
    Claims(Map<String, Value>),
    /// Whoever is described so.
    Described(Box<Description>),
}

/// A caller in a few words.
#[derive(Debug)]
pub(super) struct Description {
    user: Option<Placed<EntityRef>>,
    object: Option<ObjectId>,
    kind: IdentityKind,
    delegated: bool,
    groups: Option<Vec<Placed<Group>>>,
    roles: Vec<String>,
    scopes: Vec<String>,
    tenant: Option<Placed<TenantId>>,
    client: Option<ClientId>,
    issued_at: Option<i64>,
    facts: TokenFacts,
    at: crate::yaml::Position,
}

#[derive(Clone, Debug)]
enum Group {
    Directory(GroupId),
    Backstage(EntityRef),
}

const KEYS: [&str; 17] = [
    "user",
    "object",
    "kind",
    "delegated",
    "groups",
    "roles",
    "scopes",
    "tenant",
    "guest",
    "home_tenant",
    "auth_contexts",
    "directory_roles",
    "client",
    "client_auth",
    "agent_parent",
    "issued_at",
    "session",
];

/// Who asks where a case doesn't say which object of the directory it is, and by which
/// application: ids that no tenant has.
const SOMEBODY: &str = "5ade0000-0000-0000-0000-000000000001";
const SOME_CLIENT: &str = "5ade0000-0000-0000-0000-000000000002";

impl Caller {
    pub(super) fn read(case: &Fields<'_>, folder: &Path, mistakes: &mut Mistakes) -> Option<Self> {
        let given: Vec<&str> = ["as", "claims", "token", "token_file"]
            .into_iter()
            .filter(|key| case.has(key))
            .collect();
        match given.as_slice() {
            [] => Some(Self::Nobody),
            ["as"] => described(case.node("as")?, mistakes),
            ["claims"] => claims(case.node("claims")?, mistakes),
            ["token"] => case.parsed("token", mistakes, |text| opened(text).map(Self::Claims)),
            ["token_file"] => case.parsed("token_file", mistakes, |name| {
                let path = folder.join(name);
                let text = std::fs::read_to_string(&path)
                    .map_err(|cause| format!("`{}`: {cause}", path.display()))?;
                opened(&text).map(Self::Claims)
            }),
            several => {
                let message = format!("expected one of `{}`", several.join("`, `"));
                mistakes.say(case.at, message);
                None
            }
        }
    }
}

fn opened(token: &str) -> Result<Map<String, Value>, String> {
    claims_of(token).map_err(|denial| denial.reason.sentence().to_owned())
}

fn claims(node: &Node, mistakes: &mut Mistakes) -> Option<Caller> {
    match node.to_json() {
        Value::Object(claims) => Some(Caller::Claims(claims)),
        _ => {
            mistakes.say(node.position, "`claims`: expected a mapping");
            None
        }
    }
}

/// What every token has, filled in where a case leaves it out. What says something about
/// the holder (`oid`, `scp`, `roles`) is not.
pub(super) fn filled(
    claims: &Map<String, Value>,
    tenant: Option<TenantId>,
    at: i64,
) -> Map<String, Value> {
    let mut claims = claims.clone();
    let mut fill = |name: &str, value: Value| {
        if !claims.contains_key(name) {
            claims.insert(name.to_owned(), value);
        }
    };
    if let Some(tenant) = tenant {
        fill("tid", json!(tenant.to_string()));
    }
    fill("ver", json!("2.0"));
    fill("iat", json!(at));
    fill("azp", json!(SOME_CLIENT));
    let issued = claims.get("iat").and_then(Value::as_i64).unwrap_or(at);
    claims.entry("exp").or_insert_with(|| json!(issued.saturating_add(3600)));
    claims
}

fn described(node: &Node, mistakes: &mut Mistakes) -> Option<Caller> {
    if let NodeKind::Scalar(Scalar::String(word)) = &node.kind {
        if word == "nobody" {
            return Some(Caller::Nobody);
        }
        mistakes.say(node.position, "expected `nobody`, or a mapping");
        return None;
    }
    let fields = Fields::of(node, &KEYS, mistakes)?;
    let kind = fields.parsed("kind", mistakes, |text| {
        let kinds = IdentityKind::ALL.map(IdentityKind::as_str);
        text.parse().map_err(|_| unknown("kind", text, &kinds))
    });
    let kind = kind.unwrap_or(IdentityKind::User);
    let user = fields.text("user", mistakes).and_then(|text| {
        let parsed = EntityRef::parse(text.value);
        let parsed = parsed.map_err(|error| mistakes.say(text.at, format!("`user`: {error}")));
        Some(Placed { value: parsed.ok()?, at: text.at })
    });
    let object = id::<ObjectId>(&fields, "object", mistakes);
    if user.is_some() && object.is_some() {
        mistakes.say(fields.place("object"), "`object` follows from `user`");
    }
    let delegated = match (kind, fields.flag("delegated", mistakes)) {
        (IdentityKind::Agent, given) => given.unwrap_or(user.is_some()),
        (kind, None) => kind == IdentityKind::User,
        (kind, Some(_)) => {
            let message = format!(
                "`delegated` is for agents: a {} always is one or the other",
                kind.as_str()
            );
            mistakes.say(fields.place("delegated"), message);
            kind == IdentityKind::User
        }
    };
    if user.is_some() && !delegated {
        let message = format!("a {} that acts for itself is no `user`", kind.as_str());
        mistakes.say(fields.place("user"), message);
    }
    let home_tenant = id(&fields, "home_tenant", mistakes);
    let client_auth = fields.parsed("client_auth", mistakes, |text| {
        let ways = [ClientAuth::Public, ClientAuth::Secret, ClientAuth::Certificate];
        let known = ways.map(ClientAuth::as_str);
        let way = ways.into_iter().find(|way| way.as_str() == text);
        way.ok_or_else(|| unknown("way", text, &known))
    });
    let facts = TokenFacts {
        guest: fields.flag("guest", mistakes).unwrap_or(home_tenant.is_some()),
        home_tenant,
        directory_roles: boxed(words(&fields, "directory_roles", mistakes)),
        auth_contexts: boxed(words(&fields, "auth_contexts", mistakes)),
        client_auth,
        agent_parent: id(&fields, "agent_parent", mistakes),
        session: fields.text("session", mistakes).map(|text| text.value.into()),
        token_id: None,
        issuer: None,
    };
    let tenant = id(&fields, "tenant", mistakes);
    Some(Caller::Described(Box::new(Description {
        user,
        object,
        kind,
        delegated,
        groups: groups(&fields, mistakes),
        roles: words(&fields, "roles", mistakes),
        scopes: words(&fields, "scopes", mistakes),
        tenant: tenant.map(|value| Placed { value, at: fields.place("tenant") }),
        client: id(&fields, "client", mistakes),
        issued_at: fields.parsed("issued_at", mistakes, super::asked::time),
        facts,
        at: fields.at,
    })))
}

fn id<T>(fields: &Fields<'_>, key: &str, mistakes: &mut Mistakes) -> Option<T>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    fields.parsed(key, mistakes, |text| text.parse().map_err(|error| format!("`{text}`: {error}")))
}

fn words(fields: &Fields<'_>, key: &str, mistakes: &mut Mistakes) -> Vec<String> {
    let texts = fields.texts(key, mistakes).unwrap_or_default();
    let mut words: Vec<String> = texts.iter().map(|text| text.value.to_owned()).collect();
    words.sort_unstable();
    words.dedup();
    words
}

fn groups(fields: &Fields<'_>, mistakes: &mut Mistakes) -> Option<Vec<Placed<Group>>> {
    let texts = fields.texts("groups", mistakes)?;
    let group = |text: &Placed<&str>| {
        let group = match (text.value.parse::<GroupId>(), EntityRef::parse(text.value)) {
            (Ok(id), _) => Ok(Group::Directory(id)),
            (_, Ok(entity)) if entity.kind() == "group" => Ok(Group::Backstage(entity)),
            _ => Err(format!("`{}` is neither an object id nor a `group:…/…`", text.value)),
        };
        let group = group.map_err(|message| mistakes.say(text.at, message)).ok()?;
        Some(Placed { value: group, at: text.at })
    };
    Some(texts.iter().filter_map(group).collect())
}

impl Description {
    /// Who that is, by a catalog.
    pub(super) fn identity(
        &self,
        snapshot: &Snapshot,
        tenant: Option<TenantId>,
        at: i64,
        mistakes: &mut Mistakes,
    ) -> Option<Result<Arc<Identity>, Denial>> {
        let object = self.object(snapshot, mistakes);
        let groups = self.groups(snapshot, object, mistakes);
        let tenant = self.tenant.as_ref().map(|tenant| tenant.value).or(tenant);
        if tenant.is_none() {
            mistakes.say(self.at, "expected `tenant`, here or for the whole file");
        }
        let (object, mut groups) = (object?, groups?);
        groups.sort_unstable();
        groups.dedup();
        let issued_at = self.issued_at.unwrap_or(at);
        let client = self.client.or_else(|| SOME_CLIENT.parse().ok());
        Some(Ok(Arc::new(Identity {
            tenant: tenant?,
            object,
            kind: self.kind,
            delegated: self.delegated,
            client,
            groups: groups.into(),
            group_names: Box::new([]),
            groups_elsewhere: false,
            roles: boxed(self.roles.clone()),
            scopes: boxed(self.scopes.clone()),
            issued_at,
            expires_at: issued_at.saturating_add(3600),
            facts: self.facts.clone(),
        })))
    }

    fn object(&self, snapshot: &Snapshot, mistakes: &mut Mistakes) -> Option<ObjectId> {
        let Some(user) = &self.user else {
            return self.object.or_else(|| SOMEBODY.parse().ok());
        };
        let Some(found) = snapshot.user(&user.value) else {
            let known: Vec<&str> = snapshot.users().map(|user| user.entity().as_str()).collect();
            mistakes.say(user.at, absent(&user.value, &known));
            return None;
        };
        if found.id().is_none() {
            let message = format!("`{}` is bound to no user of the directory", user.value);
            mistakes.say(user.at, message);
        }
        found.id()
    }

    /// The directory's groups: as given, or those that the catalog has the user in.
    fn groups(
        &self,
        snapshot: &Snapshot,
        object: Option<ObjectId>,
        mistakes: &mut Mistakes,
    ) -> Option<Vec<GroupId>> {
        let Some(given) = &self.groups else {
            let known = self.user.as_ref().and_then(|_| snapshot.directory_groups_of(&object?));
            return Some(known.unwrap_or_default());
        };
        let mut ids = Vec::new();
        let before = mistakes.is_empty();
        for group in given {
            match &group.value {
                Group::Directory(id) => ids.push(*id),
                Group::Backstage(entity) => match snapshot.group(entity).map(|group| group.id()) {
                    Some(Some(id)) => ids.push(id),
                    Some(None) => {
                        let message = format!("`{entity}` is bound to no group of the directory");
                        mistakes.say(group.at, message);
                    }
                    None => {
                        let known: Vec<&str> =
                            snapshot.groups().map(|group| group.entity().as_str()).collect();
                        mistakes.say(group.at, absent(entity, &known));
                    }
                },
            }
        }
        (before == mistakes.is_empty()).then_some(ids)
    }
}

fn absent(entity: &EntityRef, known: &[&str]) -> String {
    match nearest(entity.as_str(), known) {
        Some(near) => format!("`{entity}` is not in the catalog; did you mean `{near}`?"),
        None => format!("`{entity}` is not in the catalog"),
    }
}

fn boxed(words: Vec<String>) -> Box<[Box<str>]> {
    words.into_iter().map(Into::into).collect()
}

/// What a request without a token is told.
pub(super) fn nobody() -> Denial {
    Reason::TokenMissing.into()
}
