//! A caller in a few words: what a case says under `as`.

use std::sync::Arc;

use crate::catalog::Snapshot;
use crate::cli::policy::fields::{Fields, Mistakes, Placed, unknown};
use crate::domain::{
    ClientAuth, ClientId, EntityRef, GroupId, Holder, Identity, IdentityKind, ObjectId, TenantId,
    TokenFacts,
};
use crate::nearest::nearest;
use crate::yaml::Node;

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

const KEYS: [&str; 16] = [
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
];

/// Who asks where a case doesn't say which object of the directory it is, and by which
/// application: ids that no tenant has.
const SOMEBODY: &str = "5ade0000-0000-0000-0000-000000000001";
pub(super) const SOME_CLIENT: &str = "5ade0000-0000-0000-0000-000000000002";

impl Description {
    pub(super) fn read(node: &Node, mistakes: &mut Mistakes) -> Option<Self> {
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
            session: None,
            token_id: None,
            issuer: None,
        };
        let tenant = id(&fields, "tenant", mistakes);
        Some(Self {
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
        })
    }

    /// Who that is, by a catalog.
    pub(super) fn identity(
        &self,
        snapshot: &Snapshot,
        tenant: Option<TenantId>,
        at: i64,
        mistakes: &mut Mistakes,
    ) -> Option<Arc<Identity>> {
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
        Some(
            Holder {
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
            }
            .into(),
        )
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

fn absent(entity: &EntityRef, known: &[&str]) -> String {
    match nearest(entity.as_str(), known) {
        Some(near) => format!("`{entity}` is not in the catalog; did you mean `{near}`?"),
        None => format!("`{entity}` is not in the catalog"),
    }
}

fn boxed(words: Vec<String>) -> Box<[Box<str>]> {
    words.into_iter().map(Into::into).collect()
}
