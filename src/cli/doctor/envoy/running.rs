//! What runs in a namespace of a mesh, as far as the objects tell.

use super::istio::is;
use super::scope::{Label, Proxy, are_a_gateway, labels, namespace};
use super::view::View;

/// Kinds of objects whose pods take requests.
const WORKLOADS: &[&str] = &["DaemonSet", "Deployment", "ReplicaSet", "Rollout", "StatefulSet"];
/// Where a pod says which proxy it gets.
const TEMPLATES: &str = "inject.istio.io/templates";
const INJECT: &str = "sidecar.istio.io/inject";
/// The class of gateways that Istio runs itself, beside the `Gateway` they are made for.
const CLASS: &str = "istio";

/// The proxies of a namespace, and whether that is told or only likely.
pub(super) struct Running {
    pub(super) proxies: Vec<Proxy>,
    pub(super) told: bool,
}

impl Running {
    /// Those with labels; without labels, all of the namespace.
    pub(super) fn in_namespace(name: &str, selected: &[Label<'_>], objects: &[View<'_>]) -> Self {
        let mut proxies = Vec::new();
        let near = || objects.iter().filter(move |object| namespace(object) == name);
        for pod in near().filter_map(pod) {
            let own = labels(&pod, &["labels"]);
            if selected.iter().all(|label| own.contains(label)) {
                proxies.extend(proxy_of(&pod, &own, objects));
            }
        }
        if selected.is_empty() && objects.iter().any(|object| runs_gateways(object, name)) {
            proxies.push(Proxy::Gateway);
        }
        let both = [Proxy::Sidecar, Proxy::Gateway];
        let found = both.into_iter().filter(|proxy| proxies.contains(proxy)).collect::<Vec<_>>();
        if !found.is_empty() {
            return Self { proxies: found, told: true };
        }
        // One of Istio's own stands beside the pods that it selects, or beside the services
        // that requests go to: its selector reaches all namespaces.
        let hint = near().any(|object| is(object, "networking.istio.io/", "Gateway"));
        match (selected.is_empty(), hint) {
            (true, true) => Self { proxies: both.into(), told: false },
            (true, false) => Self { proxies: vec![Proxy::Sidecar], told: false },
            // What is selected by labels of no gateway is what people run behind sidecars.
            (false, _) => Self { proxies: vec![Proxy::Sidecar], told: true },
        }
    }
}

/// The metadata of the pods that an object is, or makes.
fn pod<'a>(object: &View<'a>) -> Option<View<'a>> {
    match object.word("kind") {
        "Pod" => object.get("metadata"),
        kind if WORKLOADS.contains(&kind) => object.at(&["spec", "template", "metadata"]),
        _ => None,
    }
}

/// The proxy that a pod has; none where it asks for none.
fn proxy_of(pod: &View<'_>, labels: &[Label<'_>], objects: &[View<'_>]) -> Option<Proxy> {
    let note = |name: &str| {
        let said = ["labels", "annotations"].iter().find_map(|of| pod.at(&[*of, name]));
        said.map(|said| said.shown()).unwrap_or_default()
    };
    if are_a_gateway(labels, objects) || note(TEMPLATES).contains("gateway") {
        Some(Proxy::Gateway)
    } else {
        (note(INJECT) != "false").then_some(Proxy::Sidecar)
    }
}

/// Whether an object has Istio run gateways in a namespace.
fn runs_gateways(object: &View<'_>, name: &str) -> bool {
    let by_class = is(object, "gateway.networking.k8s.io/", "Gateway")
        && namespace(object) == name
        && object.at(&["spec", "gatewayClassName"]).is_some_and(|class| class.shown() == CLASS);
    let installed = object.at(&["spec", "components", "ingressGateways"]);
    by_class
        || (is(object, "install.istio.io/", "IstioOperator")
            && installed.is_some_and(|all| {
                all.items()
                    .iter()
                    .any(|one| one.word("namespace") == name && one.may_be_on("enabled").is_some())
            }))
}
