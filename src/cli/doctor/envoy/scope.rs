//! Which proxies of a mesh something of Istio holds for.

use super::istio::is;
use super::running::Running;
use super::view::View;

/// A kind of proxy that requests come in by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proxy {
    Sidecar,
    Gateway,
    /// What `targetRefs` names: a gateway, or a waypoint.
    Named,
}

impl Proxy {
    /// Several of them, for people.
    pub(super) fn plural(self) -> &'static str {
        match self {
            Self::Sidecar => "sidecars",
            Self::Gateway => "gateways",
            Self::Named => "proxies",
        }
    }
}

/// The proxies that a policy or a patch holds for.
#[derive(Clone, Debug)]
pub(super) struct Scope<'a> {
    namespace: &'a str,
    labels: Vec<Label<'a>>,
    /// Kinds and names.
    targets: Vec<(&'a str, &'a str)>,
    proxies: Vec<Proxy>,
    /// Whether the proxies' kinds are told, rather than only likely.
    told: bool,
}

/// The one listener of all that comes in to a sidecar.
const INBOUND: &str = "virtualInbound";

/// A label's name and value.
pub(super) type Label<'a> = (&'a str, String);

impl<'a> Scope<'a> {
    /// Of an `AuthorizationPolicy`. It doesn't say what kind its proxies are: that is read
    /// from what it selects them by, and from what runs in its namespace.
    pub(super) fn of_policy(policy: &View<'a>, objects: &[View<'_>], root: &str) -> Self {
        let namespace = namespace(policy);
        let labels = labels(policy, &["spec", "selector", "matchLabels"]);
        let targets = targets(policy);
        let told = |proxies: Vec<Proxy>| Running { proxies, told: true };
        let Running { proxies, told } = if !targets.is_empty() {
            told(vec![Proxy::Named])
        } else if are_a_gateway(&labels, objects) {
            told(vec![Proxy::Gateway])
        } else if labels.is_empty() && namespace == root {
            told(vec![Proxy::Sidecar, Proxy::Gateway])
        } else {
            Running::in_namespace(namespace, &labels, objects)
        };
        Self { namespace, labels, targets, proxies, told }
    }

    /// Of a patch in an `EnvoyFilter`.
    pub(super) fn of_patch(filter: &View<'a>, patch: &View<'_>) -> Self {
        let context = patch.at(&["match", "context"]).map(|context| context.shown());
        let proxies = match context.as_deref() {
            None | Some("ANY") => vec![Proxy::Sidecar, Proxy::Gateway],
            Some("SIDECAR_INBOUND") => vec![Proxy::Sidecar],
            Some("GATEWAY") => vec![Proxy::Gateway],
            Some(_) => vec![Proxy::Named],
        };
        let mut proxies = proxies;
        if patch.at(&["match", "listener", "name"]).is_some_and(|name| name.shown() == INBOUND) {
            proxies.retain(|proxy| *proxy == Proxy::Sidecar);
        }
        let labels = labels(filter, &["spec", "workloadSelector", "labels"]);
        let (namespace, targets) = (namespace(filter), targets(filter));
        Self { namespace, labels, targets, proxies, told: true }
    }

    pub(super) fn proxies(&self) -> &[Proxy] {
        &self.proxies
    }

    /// What is to be said behind a finding about its proxies; mostly nothing.
    pub(super) fn doubt(&self) -> &'static str {
        if self.told {
            ""
        } else {
            " (whether sidecars or gateways run in its namespace is not told in here)"
        }
    }

    /// Whether there may be proxies that both this and another one hold for.
    pub(super) fn meets(&self, other: &Scope<'_>, root: &str) -> bool {
        let near =
            self.namespace == other.namespace || [self.namespace, other.namespace].contains(&root);
        near && self.proxies.iter().any(|proxy| other.proxies.contains(proxy))
    }

    /// Whether this holds for all that another one holds for, in one kind of proxy. What
    /// stands in the root namespace holds for all namespaces.
    pub(super) fn covers(&self, other: &Scope<'_>, proxy: Proxy, root: &str) -> bool {
        let kind = match proxy {
            // Which it is can't be told from its name, but a sidecar it isn't.
            Proxy::Named => self.proxies.iter().any(|proxy| *proxy != Proxy::Sidecar),
            Proxy::Sidecar | Proxy::Gateway => self.proxies.contains(&proxy),
        };
        let target = self.targets.is_empty()
            || (!other.targets.is_empty()
                && other.targets.iter().all(|target| self.targets.contains(target)));
        // Whom it names is in its own namespace.
        let near = (self.namespace == root && self.targets.is_empty())
            || self.namespace == other.namespace;
        kind && target && near && self.labels.iter().all(|label| other.labels.contains(label))
    }
}

pub(super) fn namespace<'a>(object: &View<'a>) -> &'a str {
    object.get("metadata").map(|metadata| metadata.word("namespace")).unwrap_or_default()
}

pub(super) fn labels<'a>(object: &View<'a>, way: &[&str]) -> Vec<Label<'a>> {
    let labels = object.at(way).map(|labels| labels.members()).unwrap_or_default();
    labels.into_iter().map(|(name, value)| (name, value.shown())).collect()
}

fn targets<'a>(object: &View<'a>) -> Vec<(&'a str, &'a str)> {
    let mut targets = object.at(&["spec", "targetRefs"]).map(|all| all.items()).unwrap_or_default();
    targets.extend(object.at(&["spec", "targetRef"]));
    targets.iter().map(|target| (target.word("kind"), target.word("name"))).collect()
}

/// Whether labels are those of a gateway's pods: by Istio's own names, or because a
/// `Gateway` in the same input selects them.
pub(super) fn are_a_gateway(given: &[Label<'_>], objects: &[View<'_>]) -> bool {
    let by_name = given.iter().any(|(name, value)| match *name {
        "gateway.networking.k8s.io/gateway-name" | "istio.io/gateway-name" => true,
        "istio" => value.ends_with("gateway"),
        _ => false,
    });
    by_name
        || objects.iter().filter(|object| is(object, "networking.istio.io/", "Gateway")).any(
            |gateway| {
                let selector = labels(gateway, &["spec", "selector"]);
                !selector.is_empty() && selector.iter().all(|label| given.contains(label))
            },
        )
}
