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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::load_folder;
    use crate::entra::{CredentialSettings, EntraSettings, GraphSettings, TenantSettings, Tenants};
    use crate::policy::PolicySource;

    const BOUND: &str = "aaaaaaaa-0000-0000-0000-000000000001";
    const NAMED: &str = "aaaaaaaa-0000-0000-0000-000000000002";
    const OTHER: &str = "aaaaaaaa-0000-0000-0000-000000000003";

    fn snapshot(id: &str) -> Snapshot {
        let folder = tempfile::tempdir().unwrap();
        let text = format!(
            "kind: Group\nmetadata:\n  name: team\n  annotations: {{ graph.microsoft.com/group-id: \
             {id} }}\nspec: {{ type: team, children: [] }}\n---\nkind: Component\nmetadata: \
             {{ name: a }}\nspec: {{ type: service, lifecycle: production, owner: team }}\n"
        );
        std::fs::write(folder.path().join("catalog.yaml"), text).unwrap();
        load_folder(folder.path(), false).unwrap()
    }

    fn policy(id: &str) -> PolicySet {
        let text = format!("permit (principal in EntraGroup::\"{id}\", action, resource);");
        PolicySet::of(&[PolicySource { file: "p.cedar".into(), text }]).unwrap()
    }

    fn source() -> GraphSource {
        let tenants = Tenants::One("11111111-2222-3333-4444-555555555555".parse().unwrap());
        let authority = "https://login.example.com".parse().unwrap();
        let graph = "https://graph.example.com".parse().unwrap();
        let tenant = TenantSettings::new(tenants, authority, graph, vec!["a".to_owned()]);
        let client = "cccccccc-0000-0000-0000-000000000001".parse().unwrap();
        let credential = CredentialSettings::Secret { client, file: "secret".into() };
        let settings = EntraSettings {
            graph: Some(GraphSettings::new(credential)),
            ..EntraSettings::new(vec![tenant])
        };
        let resolver = GroupResolver::new(&settings).unwrap();
        GraphSource { resolver, matter: ArcSwapOption::empty() }
    }

    /// A group that nobody asked about would be one that nobody is in.
    #[test]
    fn groups_are_asked_about_by_the_catalog_and_the_policies_in_force() {
        let ids =
            |ids: &[&str]| -> Vec<GroupId> { ids.iter().map(|id| id.parse().unwrap()).collect() };
        let source = source();
        let (catalog, other_catalog) = (snapshot(BOUND), snapshot(OTHER));
        let (policies, other_policies) = (policy(NAMED), policy(OTHER));
        for (snapshot, policy, want) in [
            (&catalog, &policies, ids(&[BOUND, NAMED])),
            (&catalog, &policies, ids(&[BOUND, NAMED])),
            (&catalog, &other_policies, ids(&[BOUND, OTHER])),
            // One that both name is asked about once.
            (&other_catalog, &other_policies, ids(&[OTHER])),
            (&other_catalog, &policies, ids(&[NAMED, OTHER])),
        ] {
            assert_eq!(*source.matter(snapshot, policy), *want);
        }
        // It is worked out once.
        let (one, again) = (source.matter(&catalog, &policies), source.matter(&catalog, &policies));
        assert!(Arc::ptr_eq(&one, &again));
    }
}
