//! The delegations, ready to be asked: which hosts and workloads the catalog may
//! speak of at all, and which entity may claim one.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::Claim;
use super::naming::NamingRules;
use super::settings::{Delegate, DelegationError, DelegationSettings, DelegationsSettings};
use crate::domain::{Denial, EntityRef, Host, SpiffeId, climbs, is_spiffe};
use crate::routing::host_pattern::{HostPattern, HostShape};
use crate::routing::no_route;

/// What the operator gave away, prepared for lookups. By default nothing.
#[derive(Clone, Debug, Default)]
pub struct Delegations {
    hosts: ByText,
    /// By what follows the `*.`.
    suffixes: ByText,
    /// By prefix.
    workloads: ByText,
    naming: NamingRules,
    gateways: HashSet<String>,
}

type ByText = HashMap<String, Vec<Arc<Delegation>>>;

#[derive(Debug)]
struct Delegation {
    to: Delegate,
    locations: Vec<String>,
    share: bool,
}

/// That an entity may claim a host or a workload.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entitled {
    /// Whether it may do so beside others.
    pub(super) share: bool,
}

/// What the destination's certificate says about a request.
#[derive(Clone, Copy, Debug)]
pub(super) enum Destination<'a> {
    /// This workload: nothing that the client wrote says more about where the request
    /// went.
    Workload(SpiffeId<'a>),
    /// A workload, but its id can't be read.
    Unreadable,
    /// A gateway, or nothing that is known: only the host can say.
    Elsewhere,
}

impl Delegations {
    /// Prepares delegations and naming rules.
    ///
    /// # Errors
    /// Every mistake in them.
    pub fn build(settings: DelegationsSettings) -> Result<Self, Vec<DelegationError>> {
        let mut errors = Vec::new();
        let mut built =
            Self { naming: NamingRules::read(&settings.workloads, &mut errors), ..Self::default() };
        for (at, delegation) in settings.delegations.into_iter().enumerate() {
            built.add(&format!("delegations[{at}]"), delegation, &mut errors);
        }
        for (at, gateway) in settings.gateways.into_iter().enumerate() {
            match SpiffeId::parse(&gateway) {
                Ok(_) => drop(built.gateways.insert(gateway)),
                Err(error) => errors.push(DelegationError {
                    field: format!("gateways[{at}]"),
                    message: format!("`{gateway}`: {error}"),
                }),
            }
        }
        if errors.is_empty() { Ok(built) } else { Err(errors) }
    }

    fn add(
        &mut self,
        place: &str,
        settings: DelegationSettings,
        errors: &mut Vec<DelegationError>,
    ) {
        let DelegationSettings { hosts, workloads, to, locations, allow_shared_hosts } = settings;
        let mut mistake = |field: String, message: String| {
            errors.push(DelegationError { field, message });
        };
        if hosts.is_empty() && workloads.is_empty() {
            mistake(place.to_owned(), "expected `hosts` or `workloads`".to_owned());
        }
        let delegation = Arc::new(Delegation { to, locations, share: allow_shared_hosts });
        for (at, text) in hosts.into_iter().enumerate() {
            let (map, key) = match HostPattern::parse(&text).map(|pattern| pattern.shape) {
                Ok(HostShape::Exact(host)) => (&mut self.hosts, host),
                Ok(HostShape::Suffix(suffix)) => (&mut self.suffixes, suffix),
                Ok(HostShape::Labels(_) | HostShape::Any) => {
                    let message = format!(
                        "`{text}`: expected a host, or all names below one as in `*.apps.example.com`"
                    );
                    mistake(format!("{place}.hosts[{at}]"), message);
                    continue;
                }
                Err(message) => {
                    mistake(format!("{place}.hosts[{at}]"), message);
                    continue;
                }
            };
            if !insert(map, key, &delegation) {
                mistake(format!("{place}.hosts[{at}]"), format!("`{text}` is given twice"));
            }
        }
        for (at, prefix) in workloads.into_iter().enumerate() {
            let field = format!("{place}.workloads[{at}]");
            if let Err(error) = SpiffeId::parse(&prefix) {
                mistake(field, format!("`{prefix}`: {error}"));
            } else if !insert(&mut self.workloads, prefix.clone(), &delegation) {
                mistake(field, format!("`{prefix}` is given twice"));
            }
        }
    }

    /// Whether nothing is given away: then the catalog has no say in routing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.hosts.is_empty()
            && self.suffixes.is_empty()
            && self.workloads.is_empty()
            && self.naming.is_empty()
    }

    /// Whether a request that no configured route is for could be the catalog's: then
    /// it can't be answered without a catalog.
    #[must_use]
    pub fn may_cover(&self, host: &Host<'_>, destination_principal: Option<&str>) -> bool {
        match self.destination(destination_principal) {
            Destination::Workload(id) => self.naming.covers(id) || self.covers_workload(id),
            Destination::Unreadable => false,
            Destination::Elsewhere => self.covers_host(host),
        }
    }

    pub(super) fn destination<'a>(&self, principal: Option<&'a str>) -> Destination<'a> {
        match principal {
            Some(text) if is_spiffe(text) && !self.gateways.contains(text) => {
                SpiffeId::parse(text).map_or(Destination::Unreadable, Destination::Workload)
            }
            _ => Destination::Elsewhere,
        }
    }

    /// The entity that a naming rule gives the destination, if there is a rule for it. With
    /// naming rules, one that can't be read has none.
    pub(super) fn named(&self, destination: Destination<'_>) -> Option<Result<EntityRef, Denial>> {
        match destination {
            Destination::Workload(id) => self.naming.entity(id),
            Destination::Unreadable if !self.naming.is_empty() => Some(Err(unreadable())),
            Destination::Unreadable | Destination::Elsewhere => None,
        }
    }

    pub(super) fn names(&self, id: SpiffeId<'_>) -> bool {
        self.naming.covers(id)
    }

    pub(super) fn is_gateway(&self, id: SpiffeId<'_>) -> bool {
        self.gateways.contains(id.as_str())
    }

    pub(super) fn covers_host(&self, host: &Host<'_>) -> bool {
        self.of_host(host).next().is_some()
    }

    pub(super) fn covers_workload(&self, id: SpiffeId<'_>) -> bool {
        self.of_workload(id).next().is_some()
    }

    pub(super) fn entitles_to_host(&self, claim: &Claim<'_>, host: &Host<'_>) -> Option<Entitled> {
        entitled(claim, self.of_host(host))
    }

    pub(super) fn entitles_to_workload(
        &self,
        claim: &Claim<'_>,
        id: SpiffeId<'_>,
    ) -> Option<Entitled> {
        entitled(claim, self.of_workload(id))
    }

    fn of_host<'a>(&'a self, host: &'a Host<'_>) -> impl Iterator<Item = &'a Arc<Delegation>> {
        let text = host.as_str();
        let above = |text: &&'a str| text.split_once('.').map(|(_, above)| above);
        // No address is below a suffix: a suffix is a name, which doesn't end in a number.
        let suffixes = std::iter::successors(above(&text), above);
        let by_suffix = suffixes.filter_map(|suffix| self.suffixes.get(suffix));
        self.hosts.get(text).into_iter().chain(by_suffix).flatten()
    }

    fn of_workload<'a>(&'a self, id: SpiffeId<'a>) -> impl Iterator<Item = &'a Arc<Delegation>> {
        id.prefixes().filter_map(|prefix| self.workloads.get(prefix)).flatten()
    }
}

pub(super) fn unreadable() -> Denial {
    no_route("the destination's workload identity can't be read")
}

fn entitled<'a>(
    claim: &Claim<'_>,
    delegations: impl Iterator<Item = &'a Arc<Delegation>>,
) -> Option<Entitled> {
    let mut entitled: Option<Entitled> = None;
    for delegation in delegations.filter(|delegation| delegation.is_to(claim)) {
        let share = delegation.share || entitled.is_some_and(|already| already.share);
        entitled = Some(Entitled { share });
    }
    entitled
}

impl Delegation {
    fn is_to(&self, claim: &Claim<'_>) -> bool {
        let to = match &self.to {
            Delegate::Namespace(namespace) => claim.entity.namespace() == namespace,
            Delegate::Whole(whole) => claim.entity == whole || claim.wholes.contains(&whole),
            Delegate::Group(group) => claim.owners.contains(&group),
            Delegate::AnyEntity => true,
        };
        to && (self.locations.is_empty()
            || self.locations.iter().any(|prefix| is_below(claim.location, prefix)))
    }
}

/// Whether a location begins with a prefix and stays there: who registers a file
/// writes its address, and whoever fetches it resolves dots.
fn is_below(location: &str, prefix: &str) -> bool {
    location.strip_prefix(prefix).is_some_and(|rest| !climbs(rest))
}

/// Whether it wasn't there yet.
fn insert(map: &mut ByText, key: String, delegation: &Arc<Delegation>) -> bool {
    let there = map.entry(key).or_default();
    if there.iter().any(|other| Arc::ptr_eq(other, delegation)) {
        return false;
    }
    there.push(Arc::clone(delegation));
    true
}
