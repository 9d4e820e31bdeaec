//! The directory's groups of a caller whose token doesn't list them.

use std::sync::Arc;

use arc_swap::ArcSwapOption;

use super::Authorizer;
use crate::catalog::{Membership, Snapshot};
use crate::clock::Now;
use crate::domain::{Denial, GroupId, Identity, Reason, Wait};
use crate::entra::GroupResolver;
use crate::policy::PolicySet;

/// Where such groups come from.
#[derive(Clone, Debug, Default)]
pub enum OverageSource {
    /// Nowhere. The token verifier refuses such tokens already.
    #[default]
    Nowhere,
    /// The catalog's own User.
    Catalog,
    /// Microsoft Graph.
    Graph(Arc<GraphSource>),
}

impl OverageSource {
    /// Microsoft Graph, by this resolver.
    #[must_use]
    pub fn graph(resolver: GroupResolver) -> Self {
        Self::Graph(Arc::new(GraphSource { resolver, matter: ArcSwapOption::empty() }))
    }

    /// Who asks Microsoft Graph, if somebody does.
    #[must_use]
    pub fn resolver(&self) -> Option<&GroupResolver> {
        match self {
            Self::Graph(graph) => Some(&graph.resolver),
            Self::Nowhere | Self::Catalog => None,
        }
    }
}

/// Microsoft Graph, and which groups it is worth asking about.
#[derive(Debug)]
pub struct GraphSource {
    resolver: GroupResolver,
    /// Every group that could make a difference: bound by the catalog, or named by a
    /// policy. Made once for a snapshot and a policy set.
    matter: ArcSwapOption<Matter>,
}

#[derive(Debug)]
struct Matter {
    snapshot: Arc<str>,
    policy: Arc<str>,
    groups: Arc<[GroupId]>,
}

impl GraphSource {
    fn matter(&self, snapshot: &Snapshot, policy: &PolicySet) -> Arc<[GroupId]> {
        let matter = self.matter.load();
        if let Some(matter) = &*matter
            && matter.snapshot == *snapshot.version()
            && matter.policy == *policy.version()
        {
            return Arc::clone(&matter.groups);
        }
        let mut groups = [snapshot.bound_groups(), policy.entra_groups()].concat();
        groups.sort_unstable();
        groups.dedup();
        let groups: Arc<[GroupId]> = groups.into();
        let matter = Matter {
            snapshot: Arc::clone(snapshot.version()),
            policy: Arc::clone(policy.version()),
            groups: Arc::clone(&groups),
        };
        self.matter.store(Some(Arc::new(matter)));
        groups
    }
}

impl Authorizer {
    /// The groups, or nothing where the token lists them itself, or nobody needs them.
    pub(super) async fn groups_elsewhere(
        &self,
        identity: &Identity,
        snapshot: &Snapshot,
        policy: &PolicySet,
        now: Now,
        waits: &mut Vec<Wait>,
    ) -> Result<Option<Arc<[GroupId]>>, Denial> {
        // Where only the catalog says who is in a group, and no policy names one of the
        // directory's, what a token lists makes no difference.
        let unneeded = self.membership == Membership::Catalog && policy.entra_groups().is_empty();
        if !identity.groups_elsewhere || unneeded {
            return Ok(None);
        }
        match &self.overage {
            OverageSource::Nowhere => Err(Reason::GroupsOverage.into()),
            OverageSource::Catalog => {
                let groups = identity
                    .delegated
                    .then(|| snapshot.directory_groups_of(&identity.object))
                    .flatten();
                groups.map(|groups| Some(groups.into())).ok_or_else(|| {
                    let detail = "the catalog has no user of this object id";
                    Denial::with_detail(Reason::GroupsOverage, detail)
                })
            }
            OverageSource::Graph(graph) => {
                let matter = graph.matter(snapshot, policy);
                // Few callers have so many groups: not a part of every request's future.
                Box::pin(graph.resolver.groups(identity, &matter, now, waits)).await.map(Some)
            }
        }
    }
}
