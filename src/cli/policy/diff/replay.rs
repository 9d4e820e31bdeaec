//! A record, decided again.

use std::sync::Arc;

use crate::audit::form::{DecisionForm, FactsForm, PrincipalForm};
use crate::authorizer::Recorded;
use crate::catalog::{Membership, Snapshot};
use crate::domain::{
    Action, ClientAuth, EntityRef, GroupId, Holder, Identity, IdentityKind, TokenFacts,
};
use crate::policy::{PolicySet, RequestFacts};

/// The answers of both sets.
pub(super) struct Replayed {
    pub(super) before: Answer,
    pub(super) after: Answer,
    pub(super) caller: String,
}

/// One set's answer.
pub(super) struct Answer {
    pub(super) allow: bool,
    pub(super) policies: Vec<String>,
}

/// Decides a record again by two sets, or says why that can't be done.
pub(super) fn replay(
    record: &DecisionForm<'_>,
    snapshot: &Snapshot,
    membership: Membership,
    sets: [&PolicySet; 2],
) -> Result<Replayed, &'static str> {
    let principal = record.principal.as_ref().ok_or("nobody was proven")?;
    let facts =
        record.facts.as_ref().ok_or("what the token said is not recorded (`audit.facts`)")?;
    for member in &record.masked {
        // Of host, path and the like only what a policy reads is missed.
        let read = sets.iter().any(|set| set.reads(member));
        if read || matches!(&**member, "facts" | "client") {
            return Err("a masked member may matter");
        }
    }
    let identity = identity(principal, facts).ok_or("the caller is recorded by a pseudonym")?;
    let entity = record.entity.as_deref().ok_or("no entity is recorded")?;
    let entity = EntityRef::parse(entity).map_err(|_| "the entity is no ref")?;
    if snapshot.entity(&entity).is_none() {
        return Err("the entity is not in the catalog any more");
    }
    let action: Action =
        record.action.as_deref().and_then(|a| a.parse().ok()).ok_or("no action is recorded")?;
    let listed: Option<Arc<[GroupId]>> = if facts.groups_elsewhere {
        let groups = snapshot.directory_groups_of(&identity.object);
        Some(
            groups
                .ok_or("the token listed no groups, and the catalog doesn't know the user")?
                .into(),
        )
    } else {
        None
    };
    let unix_time = record.time.0.timestamp();
    let recorded = Recorded {
        snapshot,
        membership,
        listed,
        entity,
        action,
        request: RequestFacts {
            method: record.method.as_deref().unwrap_or_default(),
            host: record.host.as_deref().unwrap_or_default(),
            path: record.path.as_deref().unwrap_or_default(),
            route: record.route.as_deref().unwrap_or_default(),
            source: record.source.as_deref(),
            destination: record.destination.as_deref(),
            justification: record.justification.as_deref(),
            unix_time,
            token_age: unix_time.saturating_sub(identity.issued_at).max(0),
        },
        identity: Arc::new(identity),
    };
    let [before, after] = sets.map(|set| match recorded.decide(set) {
        Ok(permit) => match permit.grant() {
            crate::domain::Grant::Policies(ids) => Answer { allow: true, policies: texts(ids) },
            _ => Answer { allow: true, policies: Vec::new() },
        },
        Err(denial) => Answer { allow: false, policies: texts(&denial.policies) },
    });
    let caller = format!("{} {}", principal.kind, principal.object);
    Ok(Replayed { before, after, caller })
}

fn texts(ids: &[Arc<str>]) -> Vec<String> {
    ids.iter().map(ToString::to_string).collect()
}

/// The caller, as far as a record tells.
fn identity(principal: &PrincipalForm<'_>, facts: &FactsForm<'_>) -> Option<Identity> {
    let boxed =
        |texts: &[std::borrow::Cow<'_, str>]| texts.iter().map(|text| (**text).into()).collect();
    let mut groups: Vec<GroupId> = Vec::new();
    for group in &facts.groups {
        groups.push(group.parse().ok()?);
    }
    groups.sort_unstable();
    Some(
        Holder {
            tenant: principal.tenant.parse().ok()?,
            object: principal.object.parse().ok()?,
            kind: principal.kind.parse::<IdentityKind>().ok()?,
            delegated: facts.delegated,
            client: match &principal.client {
                Some(client) => Some(client.parse().ok()?),
                None => None,
            },
            groups: groups.into(),
            group_names: Box::default(),
            groups_elsewhere: facts.groups_elsewhere,
            roles: boxed(&facts.roles),
            scopes: boxed(&facts.scopes),
            issued_at: facts.token_issued_at,
            expires_at: i64::MAX,
            facts: TokenFacts {
                guest: facts.guest,
                home_tenant: match &facts.home_tenant {
                    Some(tenant) => Some(tenant.parse().ok()?),
                    None => None,
                },
                directory_roles: boxed(&facts.directory_roles),
                auth_contexts: boxed(&facts.auth_contexts),
                client_auth: match facts.client_auth.as_deref() {
                    Some(text) => Some(client_auth(text)?),
                    None => None,
                },
                agent_parent: match &facts.agent_parent {
                    Some(parent) => Some(parent.parse().ok()?),
                    None => None,
                },
                ..TokenFacts::default()
            },
        }
        .into(),
    )
}

fn client_auth(text: &str) -> Option<ClientAuth> {
    let all = [ClientAuth::Public, ClientAuth::Secret, ClientAuth::Certificate];
    all.into_iter().find(|auth| auth.as_str() == text)
}
