//! Where a caller's groups come from.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::model::GroupPart;
use crate::authorizer::facts::CatalogFacts;
use crate::catalog::{Group, User};
use crate::domain::EntityRef;
use crate::policy::Facts as _;

/// Every group that the caller is in, with where it comes from.
pub(super) fn origins(facts: &CatalogFacts<'_>) -> Vec<GroupPart> {
    let snapshot = facts.snapshot;
    let mut from: BTreeMap<&EntityRef, Vec<String>> = BTreeMap::new();
    for (group, origin) in listed(facts) {
        from.entry(group.entity()).or_default().push(origin);
    }
    for (group, origin) in known(facts) {
        from.entry(group.entity()).or_default().push(origin);
    }
    let direct = direct(facts);
    facts
        .groups()
        .into_iter()
        .map(|group| {
            let mut origins = from.get(group).cloned().unwrap_or_default();
            for below in &direct {
                if below.entity() != group && below.ancestors().any(|above| above == group) {
                    origins.push(format!("over `{}`", below.entity()));
                }
            }
            if origins.is_empty() {
                origins.push("is the caller".to_owned());
            }
            let title = snapshot.title(group).unwrap_or_else(|| group.name().into());
            GroupPart { group: group.to_string(), title: title.to_string(), from: origins }
        })
        .collect()
}

/// The groups that the caller is in without anything between, as far as these count.
pub(super) fn direct<'a>(facts: &'a CatalogFacts<'_>) -> Vec<Group<'a>> {
    let counts = facts.groups();
    let listed = listed(facts).into_iter().map(|(group, _)| group);
    let known = known(facts).into_iter().map(|(group, _)| group);
    let mut direct: Vec<Group<'a>> =
        listed.chain(known).filter(|group| counts.contains(&group.entity())).collect();
    direct.sort_by(|a, b| a.entity().cmp(b.entity()));
    direct.dedup_by(|a, b| a.entity() == b.entity());
    direct
}

/// By the token, or by what it points to.
fn listed<'a>(facts: &'a CatalogFacts<'_>) -> Vec<(Group<'a>, String)> {
    let (ids, where_from) = match facts.listed {
        Some(listed) => (Cow::Borrowed(&**listed), "the directory's"),
        None => (facts.identity.groups(), "the token's"),
    };
    ids.iter()
        .filter_map(|id| Some((facts.snapshot.group_bound_to(id)?, format!("{where_from} `{id}`"))))
        .collect()
}

/// By the catalog.
fn known<'a>(facts: &'a CatalogFacts<'_>) -> Vec<(Group<'a>, String)> {
    let user: Option<User<'a>> = facts
        .identity
        .delegated
        .then(|| facts.snapshot.user_bound_to(&facts.identity.object))
        .flatten();
    let Some(user) = user else { return Vec::new() };
    user.member_of()
        .filter_map(|group| {
            Some((facts.snapshot.group(group)?, format!("the catalog's `{}`", user.entity())))
        })
        .collect()
}
