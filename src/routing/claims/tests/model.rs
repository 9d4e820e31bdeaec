//! The documented rules, as naively as they can be written: for each request, all
//! claims and all delegations are looked at, as texts. Shares no code with the index.
//! Speaks of well-formed requests, and of hosts and paths of few plain letters.

use super::{Delegate, DelegationSettings, DelegationsSettings, Said};
use crate::routing::RouteSettings;

/// Whose a request is; `503` where that is the catalog's to say, and there is none.
pub(super) enum Answer {
    Entity(String),
    Table,
    Nobody,
    Unknown,
}

pub(super) struct Asked<'a> {
    pub(super) host: &'a str,
    pub(super) path: &'a str,
    pub(super) destination: Option<&'a str>,
}

pub(super) fn decide(
    rules: &DelegationsSettings,
    table: &[RouteSettings],
    catalog: Option<&[Said]>,
    asked: &Asked<'_>,
) -> Answer {
    let workload = asked
        .destination
        .filter(|id| id.starts_with("spiffe://") && !rules.gateways.iter().any(|g| g == id));
    let named = workload.and_then(|id| named(rules, id));
    let in_table = |host: &str| {
        table.iter().flat_map(|route| &route.hosts).any(|pattern| covers(pattern, host))
    };
    if in_table(asked.host) {
        // All routes of the model's tables are public and for every path.
        let any_host =
            !table.iter().flat_map(|route| &route.hosts).any(|p| p != "*" && covers(p, asked.host));
        return if named.is_none() || any_host { Answer::Table } else { Answer::Nobody };
    }
    if asked.path.contains(';') {
        return Answer::Nobody;
    }
    if let Some(entity) = named {
        return Answer::Entity(entity);
    }
    let (thing, delegated) = match workload {
        Some(id) => (id, rules.delegations.iter().any(|d| of_workload(d, id))),
        None => (asked.host, rules.delegations.iter().any(|d| of_host(d, asked.host))),
    };
    if !delegated {
        return Answer::Nobody;
    }
    let Some(catalog) = catalog else { return Answer::Unknown };
    // Who claims it with a right to it, and perhaps with the right to share it.
    let claimants: Vec<(&Said, bool)> = catalog
        .iter()
        .filter(|said| {
            items(if workload.is_some() { &said.workloads } else { &said.hosts })
                .any(|item| item == thing)
        })
        .filter_map(|said| {
            let entitling: Vec<&DelegationSettings> = rules
                .delegations
                .iter()
                .filter(
                    |d| if workload.is_some() { of_workload(d, thing) } else { of_host(d, thing) },
                )
                .filter(|d| is_to(d, said))
                .collect();
            let share = workload.is_none() && entitling.iter().any(|d| d.allow_shared_hosts);
            (!entitling.is_empty()).then_some((said, share))
        })
        .collect();
    let broken = |said: &Said| items(&said.paths).any(|path| !path.starts_with('/'));
    if claimants.iter().any(|(said, _)| broken(said)) {
        return Answer::Nobody;
    }
    for (at, (one, one_shares)) in claimants.iter().enumerate() {
        for (other, other_shares) in claimants.iter().skip(at + 1) {
            let same_path = paths(one).iter().any(|path| paths(other).contains(path));
            let same_owners =
                sorted(&one.owners) == sorted(&other.owners) && !one.owners.is_empty();
            if !one_shares || !other_shares || !same_owners || same_path {
                return Answer::Nobody;
            }
        }
    }
    // Plain prefixes and exact ends: the longest wins, an exact one before a prefix.
    let best = claimants
        .iter()
        .flat_map(|(said, _)| paths(said).into_iter().map(move |path| (path, said)))
        .filter(|(pattern, _)| path_matches(pattern, asked.path))
        .max_by_key(|(pattern, _)| {
            let bare = pattern.trim_end_matches('$');
            let segments = bare.split('/').skip(1).filter(|_| pattern != "/").count();
            (segments, pattern.ends_with('$'))
        });
    match best {
        Some((_, said)) => Answer::Entity(said.entity.clone()),
        None => Answer::Nobody,
    }
}

fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split([',', ' ']).filter(|item| !item.is_empty())
}

fn sorted(texts: &[String]) -> Vec<&String> {
    let mut sorted: Vec<&String> = texts.iter().collect();
    sorted.sort();
    sorted.dedup();
    sorted
}

fn paths(said: &Said) -> Vec<String> {
    if said.paths.is_empty() {
        return vec!["/".to_owned()];
    }
    let mut paths: Vec<String> = items(&said.paths).map(str::to_owned).collect();
    paths.sort();
    paths.dedup();
    paths
}

fn path_matches(pattern: &str, path: &str) -> bool {
    match pattern.strip_suffix('$') {
        Some(exact) => path == exact,
        None => pattern == "/" || path == pattern || path.starts_with(&format!("{pattern}/")),
    }
}

fn covers(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix('*') {
        Some(suffix) => host.ends_with(suffix),
        None => pattern == host,
    }
}

fn of_host(delegation: &DelegationSettings, host: &str) -> bool {
    delegation.hosts.iter().any(|pattern| covers(pattern, host))
}

fn of_workload(delegation: &DelegationSettings, id: &str) -> bool {
    delegation.workloads.iter().any(|prefix| id == prefix || id.starts_with(&format!("{prefix}/")))
}

fn is_to(delegation: &DelegationSettings, said: &Said) -> bool {
    let from = delegation.locations.is_empty()
        || delegation.locations.iter().any(|prefix| said.location.starts_with(prefix));
    from && match &delegation.to {
        Delegate::Namespace(name) => said.entity.split([':', '/']).nth(1) == Some(name),
        Delegate::Whole(whole) => {
            said.entity == whole.as_str() || said.wholes.iter().any(|text| text == whole.as_str())
        }
        Delegate::Group(group) => said.owners.iter().any(|text| text == group.as_str()),
        Delegate::AnyEntity => true,
    }
}

/// The model's naming rules are all `spiffe://c/ns/{namespace}/sa/{name}`, for
/// `component:{namespace}/{name}`, with a namespace that may be written out.
fn named(rules: &DelegationsSettings, id: &str) -> Option<String> {
    let parts: Vec<&str> = id.split('/').collect();
    let ["spiffe:", "", "c", "ns", namespace, "sa", name] = parts[..] else { return None };
    let written = |rule: &&str| rule.split('/').nth(4) == Some(namespace);
    let any = |rule: &&str| rule.split('/').nth(4) == Some("{namespace}");
    let ids = || rules.workloads.iter().map(|rule| rule.id.as_str());
    ids().find(written).or_else(|| ids().find(any))?;
    Some(format!("component:{namespace}/{name}"))
}
