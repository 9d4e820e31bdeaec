//! From all claims to what they grant: each is held against the delegations, the
//! table, the naming rules, and the other claims.

use std::collections::{BTreeMap, HashMap};

use super::finding::Told;
use super::read::{Reading, read};
use super::{CatalogRoutes, Claim, ClaimFinding, Delegations, Granted};
use crate::domain::EntityRef;
use crate::routing::RouteTable;
use crate::routing::index::PathIndex;
use crate::routing::path_pattern::PathShape;

pub(super) fn build<'a>(
    rules: &Delegations,
    table: &RouteTable,
    claims: impl IntoIterator<Item = Claim<'a>>,
) -> (CatalogRoutes, Vec<ClaimFinding>) {
    let mut drafts = Drafts::default();
    for claim in claims {
        if let Some(reading) = read(&claim) {
            drafts.add(&claim, reading, rules, table);
        }
    }
    let Drafts { mut drafts, hosts, workloads } = drafts;
    let hosts = grant(hosts, &mut drafts, "host", "hosts");
    let workloads = grant(workloads, &mut drafts, "workload", "workloads");
    let mut findings: Vec<ClaimFinding> = drafts
        .into_iter()
        .flat_map(|draft| draft.told.into_findings(&draft.entity).collect::<Vec<_>>())
        .collect();
    findings.sort();
    (CatalogRoutes { hosts, workloads }, findings)
}

/// What is claimed with a right to it, and by whom. Sorted, so that what is told
/// doesn't depend on chance.
#[derive(Default)]
struct Drafts {
    drafts: Vec<Draft>,
    hosts: BTreeMap<String, Vec<Claimant>>,
    workloads: BTreeMap<String, Vec<Claimant>>,
}

/// One entity's claim.
struct Draft {
    entity: EntityRef,
    /// Sorted.
    owners: Vec<EntityRef>,
    paths: Vec<PathShape>,
    /// Whether it has a mistake, so grants nothing.
    broken: bool,
    told: Told,
}

/// Who claims something that is delegated to them.
#[derive(Clone, Copy)]
struct Claimant {
    /// Their place among the drafts.
    draft: usize,
    /// Whether they may do so beside others.
    share: bool,
}

impl Drafts {
    fn add(
        &mut self,
        claim: &Claim<'_>,
        reading: Reading<'_>,
        rules: &Delegations,
        table: &RouteTable,
    ) {
        let draft = self.drafts.len();
        let mut told = Told::default();
        for host in &reading.hosts {
            let name = host.as_str();
            match rules.entitles_to_host(claim, host) {
                None => told.tell(|| format!("the host `{name}` is not delegated to it")),
                Some(entitled) => match table.hosts.find(host) {
                    Some((pattern, _)) => told.tell(|| {
                        format!(
                            "the host `{name}` is the routes table's, which has `{pattern}` \
                             and always wins"
                        )
                    }),
                    None => self
                        .hosts
                        .entry(name.to_owned())
                        .or_default()
                        .push(Claimant { draft, share: entitled.share }),
                },
            }
        }
        for id in &reading.workloads {
            let name = id.as_str();
            match rules.entitles_to_workload(claim, *id) {
                None => told.tell(|| format!("the workload `{name}` is not delegated to it")),
                Some(_) if rules.is_gateway(*id) => told
                    .tell(|| format!("the workload `{name}` is a gateway, where the host decides")),
                Some(_) if rules.names(*id) => {
                    told.tell(|| format!("the workload `{name}` has its entity from a naming rule"))
                }
                // Nobody shares a workload: it is one program.
                Some(_) => self
                    .workloads
                    .entry(name.to_owned())
                    .or_default()
                    .push(Claimant { draft, share: false }),
            }
        }
        let broken = !reading.mistakes.is_empty();
        for mistake in reading.mistakes {
            told.tell(|| mistake);
        }
        let mut owners: Vec<EntityRef> = claim.owners.iter().copied().cloned().collect();
        owners.sort();
        owners.dedup();
        let entity = claim.entity.clone();
        self.drafts.push(Draft { entity, owners, paths: reading.paths, broken, told });
    }
}

/// Gives each thing to who alone claims it, or to those who may share it. What is
/// contested stands there with nobody.
fn grant(
    claimed: BTreeMap<String, Vec<Claimant>>,
    drafts: &mut [Draft],
    word: &str,
    list: &str,
) -> HashMap<Box<str>, Granted> {
    let mut granted = HashMap::new();
    for (name, claimants) in claimed {
        let index = match contest(&claimants, drafts) {
            None => Some(PathIndex::new(paths_of(&claimants, drafts))),
            Some(why) => {
                tell_all(&claimants, drafts, &format!("the {word} `{name}`"), why, list);
                None
            }
        };
        granted.insert(name.into_boxed_str(), Granted(index));
    }
    granted
}

fn paths_of(claimants: &[Claimant], drafts: &[Draft]) -> Vec<(PathShape, EntityRef)> {
    let drafts = claimants.iter().filter_map(|claimant| drafts.get(claimant.draft));
    drafts
        .flat_map(|draft| draft.paths.iter().map(|path| (path.clone(), draft.entity.clone())))
        .collect()
}

/// Why nobody gets something, if nobody does.
fn contest(claimants: &[Claimant], drafts: &[Draft]) -> Option<Contest> {
    let of = |claimant: &Claimant| drafts.get(claimant.draft);
    let all: Vec<&Draft> = claimants.iter().filter_map(of).collect();
    let Some((first, others)) = all.split_first() else { return Some(Contest::Broken) };
    if others.is_empty() {
        return first.broken.then_some(Contest::Broken);
    }
    if !claimants.iter().all(|claimant| claimant.share) {
        return Some(Contest::Several);
    }
    if first.owners.is_empty() || others.iter().any(|other| other.owners != first.owners) {
        return Some(Contest::Owners);
    }
    // A path that one of them meant must not go to another by a slip.
    if all.iter().any(|draft| draft.broken) {
        return Some(Contest::Mistake);
    }
    let mut paths: Vec<&PathShape> = all.iter().flat_map(|draft| &draft.paths).collect();
    paths.sort();
    let distinct = paths.is_sorted_by(|a, b| a < b);
    (!distinct).then_some(Contest::Paths)
}

#[derive(Clone, Copy)]
enum Contest {
    /// The only claim has a mistake, which was told.
    Broken,
    Several,
    Owners,
    Mistake,
    Paths,
}

/// Tells each claimant of some others.
fn tell_all(claimants: &[Claimant], drafts: &mut [Draft], what: &str, why: Contest, list: &str) {
    let why = match why {
        Contest::Broken => return,
        Contest::Several => "so none of them gets it",
        Contest::Owners => "and their owners are not the same, so none of them gets it",
        Contest::Mistake => "and one of their claims has a mistake, so none of them gets it",
        Contest::Paths => "and two of them claim the same path, so none of them gets it",
    };
    let mut names: Vec<EntityRef> = claimants
        .iter()
        .filter_map(|claimant| drafts.get(claimant.draft))
        .map(|draft| draft.entity.clone())
        .collect();
    names.sort();
    names.dedup();
    for claimant in claimants {
        let Some(draft) = drafts.get_mut(claimant.draft) else { continue };
        let others = names.iter().filter(|name| **name != draft.entity);
        draft.told.tell(|| {
            const SHOWN: usize = 2;
            let mut text: Vec<String> =
                others.take(SHOWN).map(|name| format!("`{name}`")).collect();
            if text.is_empty() {
                // The same entity twice, which no whole catalog has.
                text.push("itself".to_owned());
            }
            let more = names.len().saturating_sub(1 + SHOWN);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            format!("{what} stands in the `{list}` of {}{more} too, {why}", text.join(", "))
        });
    }
}
