//! From claims to routes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::workload::check_id;
use super::{CatalogRoutes, Claim, ClaimFinding, Delegations, NAME};
use crate::domain::{EntityRef, Gate, Host};
use crate::routing::entity::Entity;
use crate::routing::index::PathIndex;
use crate::routing::path_pattern::{PathPattern, PathShape};
use crate::routing::{Route, RouteTable, Rule};

/// As many as an entity has reason to claim.
const MAX_ITEMS: usize = 64;

/// A claim of one host.
struct HostClaim<'a> {
    entity: &'a EntityRef,
    owners: BTreeSet<&'a EntityRef>,
    paths: Vec<PathShape>,
}

pub(super) fn build<'a>(
    delegations: &Delegations,
    table: &RouteTable,
    claims: impl IntoIterator<Item = Claim<'a>>,
) -> CatalogRoutes {
    let mut build = Build { delegations, table, findings: Vec::new() };
    let mut hosts: BTreeMap<Box<str>, Vec<HostClaim<'a>>> = BTreeMap::new();
    let mut workloads: BTreeMap<Box<str>, Vec<&'a EntityRef>> = BTreeMap::new();
    for claim in claims {
        let paths = build.paths(&claim);
        for host in build.hosts(&claim) {
            let (entity, owners) = (claim.entity, claim.owners.iter().copied().collect());
            let claim = HostClaim { entity, owners, paths: paths.clone() };
            hosts.entry(host.into()).or_default().push(claim);
        }
        for id in build.workloads(&claim) {
            workloads.entry(id.into()).or_default().push(claim.entity);
        }
    }
    let route = Arc::new(Route {
        index: usize::MAX,
        name: NAME.into(),
        methods: Vec::new(),
        gate: Gate::Policy,
        action: None,
        allow_path_parameters: false,
        demands: None,
    });
    let mut routes = CatalogRoutes::default();
    for (host, claims) in hosts {
        if let Some(paths) = build.host(&host, &claims, &route) {
            routes.hosts.insert(host, paths);
        }
    }
    for (id, entities) in workloads {
        match entities.as_slice() {
            [entity] => drop(routes.workloads.insert(id, (*entity).clone())),
            several => {
                for entity in several {
                    build.find(entity, format!("the workload `{id}` is claimed by others as well"));
                }
            }
        }
    }
    build.findings.sort();
    routes.findings = build.findings;
    routes
}

struct Build<'b> {
    delegations: &'b Delegations,
    table: &'b RouteTable,
    findings: Vec<ClaimFinding>,
}

impl Build<'_> {
    fn find(&mut self, entity: &EntityRef, message: String) {
        self.findings.push(ClaimFinding { entity: entity.clone(), message });
    }

    /// The hosts of a claim that count for it.
    fn hosts<'c>(&mut self, claim: &Claim<'c>) -> Vec<&'c str> {
        let mut hosts = Vec::new();
        for text in self.items(claim, claim.hosts, "hosts") {
            match self.host_of(claim, text) {
                Ok(()) => hosts.push(text),
                Err(message) => self.find(claim.entity, format!("`{}`: {message}", shown(text))),
            }
        }
        hosts
    }

    fn host_of(&self, claim: &Claim<'_>, text: &str) -> Result<(), String> {
        let host = Host::parse(text).map_err(|error| format!("no host: {error}"))?;
        if host.as_str() != text {
            return Err(format!("not canonical: write `{}`", host.as_str()));
        }
        if host.is_address() {
            return Err("an ip address can't be claimed".to_owned());
        }
        if !self.delegations.delegates_host(text, claim) {
            return Err("no delegation gives this host to this entity".to_owned());
        }
        if self.table.covers(&host) {
            return Err("a configured route has this host".to_owned());
        }
        Ok(())
    }

    /// The paths of a claim; none where it names some and none can be read.
    fn paths(&mut self, claim: &Claim<'_>) -> Vec<PathShape> {
        let texts = self.items(claim, claim.paths, "paths");
        let everything = texts.is_empty() && claim.paths.trim().is_empty();
        let texts = if everything { vec!["/"] } else { texts };
        let mut paths = Vec::new();
        for text in texts {
            match PathPattern::parse(text) {
                Ok(pattern) if pattern.placeholders.is_empty() => paths.push(pattern.shape),
                Ok(_) => {
                    let message = format!("`{}`: a claim has no placeholders", shown(text));
                    self.find(claim.entity, message);
                }
                // It repeats the text; as much of it as people read.
                Err(message) => self.find(claim.entity, shown(&message)),
            }
        }
        paths.sort();
        paths.dedup();
        paths
    }

    fn workloads<'c>(&mut self, claim: &Claim<'c>) -> Vec<&'c str> {
        let mut ids = Vec::new();
        for text in self.items(claim, claim.workloads, "workloads") {
            if let Err(message) = check_id(text) {
                self.find(claim.entity, shown(&message));
            } else if !self.delegations.delegates_workload(text, claim) {
                let message = format!("`{text}`: no delegation gives this workload to this entity");
                self.find(claim.entity, message);
            } else {
                ids.push(text);
            }
        }
        ids
    }

    fn items<'c>(&mut self, claim: &Claim<'c>, text: &'c str, what: &str) -> Vec<&'c str> {
        let separated = text.split(|c: char| c == ',' || c.is_whitespace());
        let mut items: Vec<&str> = separated.filter(|item| !item.is_empty()).collect();
        items.sort_unstable();
        items.dedup();
        if items.len() > MAX_ITEMS {
            self.find(claim.entity, format!("claims more than {MAX_ITEMS} {what}: none counts"));
            items.clear();
        }
        items
    }

    /// The paths of a host, if it is anybody's.
    fn host(
        &mut self,
        host: &str,
        claims: &[HostClaim<'_>],
        route: &Arc<Route>,
    ) -> Option<PathIndex> {
        let first = claims.first()?;
        let shared = claims.iter().all(|claim| claim.owners == first.owners);
        if claims.len() > 1 && (!shared || first.owners.is_empty()) {
            for claim in claims {
                let message = format!("the host `{host}` is claimed by others' entities as well");
                self.find(claim.entity, message);
            }
            return None;
        }
        let mut paths: HashMap<PathShape, Vec<&EntityRef>> = HashMap::new();
        for claim in claims {
            for path in &claim.paths {
                paths.entry(path.clone()).or_default().push(claim.entity);
            }
        }
        if let Some(twice) = paths.values().find(|entities| entities.len() > 1) {
            for entity in twice.clone() {
                let message = format!("another entity claims the same path of the host `{host}`");
                self.find(entity, message);
            }
            // Neither has it, and what is left over must not fall to the other's `/`.
            return None;
        }
        let rules = paths.into_iter().filter_map(|(shape, entities)| {
            let entity = Entity::Fixed((*entities.first()?).clone());
            Some((shape, vec![Rule { route: Arc::clone(route), entity }]))
        });
        Some(PathIndex::new(rules))
    }
}

/// Text of the catalog, as much of it as people read.
fn shown(text: &str) -> String {
    const LONGEST: usize = 200;
    text.chars().take(LONGEST).flat_map(char::escape_debug).collect()
}
