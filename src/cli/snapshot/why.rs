//! `stagedoor snapshot why`

use std::process::ExitCode;

use anyhow::{Context as _, bail};

use super::Source;
use crate::authorizer::Supposition;
use crate::catalog::{Entity, Group, Snapshot, User};
use crate::clock::Now;
use crate::config::Config;
use crate::domain::{Action, EntityRef, GroupId, ObjectId, TenantId};
use crate::entra::Tenants;
use crate::policy::PolicySet;

pub(super) fn run(
    source: &Source,
    principal: &str,
    entity: &EntityRef,
) -> anyhow::Result<ExitCode> {
    let (snapshot, config) = super::open(source)?;
    let found = super::entity(&snapshot, entity)?;
    let who = who(&snapshot, principal)?;
    let mut lines = vec![format!("{} and {entity}", who.name())];
    let groups = who.groups(&snapshot);
    lines.extend(groups.iter().map(|group| format!("  in {}", group.entity())));
    let own = who.user().is_some_and(|user| found.owners().any(|owner| owner == user.entity()));
    let ways: Vec<_> = groups.iter().filter_map(|group| snapshot.way_from(group, &found)).collect();
    let owns = own || !ways.is_empty();
    if own {
        lines.push("owns it in person".to_owned());
    }
    for way in &ways {
        let way: Vec<_> = way.groups.iter().map(|group| group.as_str()).collect();
        lines.push(format!("owns it by {}", way.join(" → ")));
    }
    if !owns {
        lines.push("does not own it".to_owned());
        let owners: Vec<_> = found.owners().map(EntityRef::as_str).collect();
        let owners = if owners.is_empty() { "nobody".to_owned() } else { owners.join(", ") };
        lines.push(format!("  owned by {owners}"));
        match snapshot.nearest_miss(&groups, &found) {
            Some(way) => {
                let way: Vec<_> = way.groups.iter().map(|group| group.as_str()).collect();
                lines.push(format!("  nearest: {}", way.join(" – ")));
            }
            None => lines.push("  none of their groups is anywhere near".to_owned()),
        }
        let about = snapshot.findings().iter().filter(|finding| {
            finding.entity == entity.as_str()
                || who.user().is_some_and(|user| finding.entity == user.entity().as_str())
                || groups.iter().any(|group| finding.entity == group.entity().as_str())
        });
        for finding in about {
            lines.push(format!("  not believed: {}: {}", finding.entity, finding.message));
        }
    }
    if let (Some(config), Some(user)) = (&config, who.user()) {
        let may = Judge::new(config)?.may(&snapshot, user, &found);
        lines.push(format!("by the policies they may {may}"));
    }
    crate::cli::line(&lines.join("\n"))?;
    Ok(if owns { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Somebody who is asked about.
enum Who<'s> {
    User(User<'s>),
    Group(Group<'s>),
}

impl<'s> Who<'s> {
    fn name(&self) -> String {
        match self {
            Self::User(user) => format!("{} ({})", user.entity(), user.title()),
            Self::Group(group) => format!("a member of {} ({})", group.entity(), group.title()),
        }
    }

    fn user(&self) -> Option<&User<'s>> {
        match self {
            Self::User(user) => Some(user),
            Self::Group(_) => None,
        }
    }

    fn groups(&self, snapshot: &'s Snapshot) -> Vec<Group<'s>> {
        match self {
            Self::User(user) => {
                user.member_of().filter_map(|group| snapshot.group(group)).collect()
            }
            Self::Group(group) => vec![*group],
        }
    }
}

fn who<'s>(snapshot: &'s Snapshot, principal: &str) -> anyhow::Result<Who<'s>> {
    if let Ok(id) = principal.parse::<ObjectId>() {
        if let Some(user) = snapshot.user_bound_to(&id) {
            return Ok(Who::User(user));
        }
        let group = principal.parse::<GroupId>().ok();
        let group = group.and_then(|group| snapshot.group_bound_to(&group));
        return group
            .map(Who::Group)
            .with_context(|| format!("no user and no group of the snapshot is bound to `{id}`"));
    }
    let entity = EntityRef::parse(principal)
        .with_context(|| format!("`{principal}` is neither a ref nor an object id"))?;
    let user = snapshot.user(&entity).map(Who::User);
    let Some(who) = user.or_else(|| snapshot.group(&entity).map(Who::Group)) else {
        bail!("`{entity}` is no user and no group of the snapshot");
    };
    Ok(who)
}

/// What the policies would say.
pub(super) struct Judge<'c> {
    config: &'c Config,
    policy: PolicySet,
    tenant: Option<TenantId>,
}

impl<'c> Judge<'c> {
    pub(super) fn new(config: &'c Config) -> anyhow::Result<Self> {
        let policy = crate::cli::config::policy(config)?;
        let tenant = config.entra.tenants.iter().find_map(|tenant| match &tenant.tenants {
            Tenants::One(tenant) => Some(*tenant),
            Tenants::Listed(tenants) => tenants.first().copied(),
            Tenants::Any => None,
        });
        Ok(Self { config, policy, tenant })
    }

    /// What a user may do, were they to ask with a token that lists the groups that the
    /// catalog has them in.
    pub(super) fn may(&self, snapshot: &Snapshot, user: &User<'_>, entity: &Entity<'_>) -> String {
        let (Some(object), Some(tenant)) = (user.id(), self.tenant) else {
            return "nothing: they are bound to no user of the directory".to_owned();
        };
        let supposition = Supposition {
            snapshot,
            policy: &self.policy,
            membership: self.config.membership,
            tenant,
            object,
            now: Now::read(),
        };
        let may: Vec<&str> = [Action::Read, Action::Write, Action::Admin]
            .into_iter()
            .filter(|action| supposition.may(*action, *entity))
            .map(Action::as_str)
            .collect();
        if may.is_empty() { "nothing".to_owned() } else { may.join(", ") }
    }
}
