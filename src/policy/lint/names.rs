//! What policies name, and what of it is there.

use std::collections::BTreeSet;

use super::breadth::Named;
use super::comparison;
use super::{Findings, Kind, Known, Severity, Subject, Surroundings};
use crate::domain::{EntityRef, GroupId, ObjectId, TenantId};
use crate::nearest::nearest;
use crate::policy::reads::is_of_type;

pub(super) fn look(subject: &Subject<'_>, surroundings: &Surroundings<'_>, found: &mut Findings) {
    let scope: Vec<&Named> = subject.breadth.named().collect();
    let mut seen = BTreeSet::new();
    for literal in subject.rule.cedar.entity_literals() {
        let kind = literal.type_name().to_string();
        let named = Named { kind, id: literal.id().unescaped().to_owned() };
        if named.kind == "Action" || !seen.insert((named.kind.clone(), named.id.clone())) {
            continue;
        }
        if let Some(why) = no_name(&named) {
            if scope.contains(&&named) {
                found.add(subject, Severity::Error, Kind::NeverApplies, why);
            } else {
                found.add(subject, Severity::Error, Kind::NamesNothing, why);
            }
        } else if let Some(known) = &surroundings.catalog
            && let Some(why) = absent(&named, known)
        {
            found.add(subject, Severity::Warning, Kind::NamesNothing, why);
        }
    }
    if let Some(serves) = surroundings.serves_host {
        for host in hosts(subject) {
            if !serves(&host) {
                let message = format!("no route is for the host `{host}`");
                found.add(subject, Severity::Warning, Kind::NamesNothing, message);
            }
        }
    }
}

/// Why nothing can have this name.
fn no_name(named: &Named) -> Option<String> {
    let Named { kind, id } = named;
    let other = |right: String| format!("`{kind}::\"{id}\"` names nothing; write `{right}`");
    match kind.as_str() {
        "EntraGroup" => match id.parse::<GroupId>() {
            Ok(group) if group.to_string() == *id => None,
            Ok(group) => Some(other(group.to_string())),
            Err(error) => Some(format!("`{kind}::\"{id}\"` names nothing: {error}")),
        },
        "User" | "Workload" => {
            let parsed = id.split_once('/').and_then(|(tenant, object)| {
                Some((tenant.parse::<TenantId>().ok()?, object.parse::<ObjectId>().ok()?))
            });
            match parsed {
                Some((tenant, object)) => {
                    let right = format!("{tenant}/{object}");
                    (right != *id).then(|| other(right))
                }
                None => Some(format!(
                    "`{kind}::\"{id}\"` names nobody: callers are named by tenant and object id, \
                     `<tid>/<oid>`"
                )),
            }
        }
        _ => {
            let Ok(entity) = EntityRef::parse(id) else {
                return Some(format!(
                    "`{kind}::\"{id}\"` is no entity ref: entities are named \
                     `kind:namespace/name`, all lower case"
                ));
            };
            let fits = match kind.as_str() {
                "Group" => matches!(entity.kind(), "group" | "user"),
                kind => is_of_type(&entity, kind),
            };
            if !fits {
                let given = entity.kind();
                return Some(format!("`{kind}::\"{id}\"` names nothing: a `{given}` is no {kind}"));
            }
            (entity.as_str() != id).then(|| other(entity.as_str().to_owned()))
        }
    }
}

/// That the catalog doesn't have it.
fn absent(named: &Named, known: &Known) -> Option<String> {
    let there = match named.kind.as_str() {
        "EntraGroup" | "User" | "Workload" => return None,
        "Group" => &known.groups,
        _ => &known.resources,
    };
    let id = &named.id;
    if there.contains(id) {
        return None;
    }
    let there: Vec<&str> = there.iter().map(String::as_str).collect();
    Some(match nearest(id, &there) {
        Some(near) => format!("`{id}` is not in the catalog; `{near}` is"),
        None => format!("`{id}` is not in the catalog"),
    })
}

/// The hosts that it compares the request's with, as far as they are any.
fn hosts(subject: &Subject<'_>) -> BTreeSet<String> {
    fn collect(expression: &serde_json::Value, found: &mut BTreeSet<String>) {
        if let Some((path, texts)) = comparison::texts(expression)
            && path == "context.host"
        {
            let hosts = texts.into_iter().filter(|text| comparison::never(&path, text).is_none());
            found.extend(hosts.map(str::to_owned));
        }
        match expression {
            serde_json::Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
            serde_json::Value::Object(members) => {
                members.values().for_each(|member| collect(member, found));
            }
            _ => {}
        }
    }
    let mut found = BTreeSet::new();
    for conjunct in &subject.conjuncts {
        collect(&conjunct.expression, &mut found);
    }
    found
}
