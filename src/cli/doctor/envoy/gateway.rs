//! Envoy Gateway: who is asked, and how requests are read.

use super::istio::{covered, is, named};
use super::order::{self, Orders};
use super::view::View;
use super::{Look, chain, filter, rules};

const GROUP: &str = "gateway.envoyproxy.io/";

pub(super) fn look(objects: &[View<'_>], look: &mut Look<'_>) {
    let of = |kind: &'static str| objects.iter().filter(move |object| is(object, GROUP, kind));
    let policies: Vec<&View<'_>> = of("SecurityPolicy").collect();
    let asking: Vec<(&View<'_>, View<'_>)> = policies
        .iter()
        .filter_map(|policy| Some((*policy, policy.at(&["spec", "extAuth"])?)))
        .collect();
    let traffic: Vec<&View<'_>> = of("ClientTrafficPolicy").collect();
    for (policy, settings) in &asking {
        look.prefix = named(policy);
        look.judged += 1;
        asks(settings, objects, look);
    }
    for policy in &traffic {
        look.prefix = named(policy);
        look.judged += 1;
        spelling(policy, look);
    }
    if let Some((policy, settings)) = asking.first() {
        look.prefix = named(policy);
        if traffic.is_empty() {
            let message = "no ClientTrafficPolicy is in here: `%2F` is unescaped and redirected";
            look.flag(&rules::ESCAPED_SLASHES, settings, message);
        }
        let parent_asks = asking.iter().any(|(policy, _)| targets(policy).iter().any(is_parent));
        for policy in policies.iter().filter(|policy| policy.at(&["spec", "extAuth"]).is_none()) {
            replaces(policy, parent_asks, look);
        }
    } else if let Some(policy) = policies.first().or(traffic.first()) {
        look.prefix = named(policy);
        look.judged += 1;
        look.flag(&rules::NOT_ASKED, policy, "no SecurityPolicy with `extAuth` is in here");
    }
    let orders = Orders::read(GROUP, objects, look);
    for policy in of("EnvoyExtensionPolicy") {
        look.prefix = named(policy);
        for &(member, filter) in order::EXTENSIONS {
            for one in policy.at(&["spec", member]).iter().flat_map(View::items) {
                for behind in orders.sides(filter) {
                    chain::order(member, behind, &one, look);
                }
            }
        }
    }
    for policy in of("EnvoyPatchPolicy") {
        look.prefix = named(policy);
        let message = "it patches the configuration that Envoy gets";
        look.flag(&rules::NOT_SEEN, policy, message);
    }
    look.prefix.clear();
}

fn asks(settings: &View<'_>, objects: &[View<'_>], look: &mut Look<'_>) {
    if let Some(open) = settings.may_be_on("failOpen") {
        let message = "requests pass while Stagedoor can't be asked";
        look.flag(&rules::FAILURE_MODE_ALLOW, &open, message);
    }
    if let Some(again) = settings.may_be_on("recomputeRoute") {
        look.flag(&rules::CLEAR_ROUTE_CACHE, &again, "the route is chosen again");
    }
    if let Some(body) = settings.get("bodyToExtAuth") {
        look.flag(&rules::REQUEST_BODY, &body, "request bodies are held back and sent");
    }
    if let Some(timeout) = settings.get("timeout") {
        filter::given_timeout(&timeout, look);
    }
    if let Some(code) = settings.get("statusOnError") {
        filter::status(&code, look);
    }
    let service = match (settings.get("grpc"), settings.get("http")) {
        (Some(grpc), _) => {
            sent_headers(settings, look);
            grpc
        }
        (None, Some(http)) => {
            covered(&http, "headersToBackend", look);
            http
        }
        (None, None) => {
            look.flag(&rules::NOT_SEEN, settings, "names no service that is asked");
            return;
        }
    };
    let mut backends = service.list("backendRefs");
    backends.extend(service.get("backendRef"));
    for backend in backends {
        private(&backend, objects, look);
    }
}

fn sent_headers(settings: &View<'_>, look: &mut Look<'_>) {
    let Some(sent) = settings.get("headersToExtAuth") else { return };
    let has = |name: &str| {
        let named = |one: &View<'_>| one.text().is_some_and(|text| text.eq_ignore_ascii_case(name));
        sent.items().iter().any(named)
    };
    if !has("authorization") {
        let message = "`authorization` is not among the headers that are sent";
        look.flag(&rules::AUTHORIZATION_NOT_SENT, &sent, message);
    }
}

/// Whether the way to a backend is private, as far as it is written here.
fn private(backend: &View<'_>, objects: &[View<'_>], look: &mut Look<'_>) {
    let name = backend.word("name");
    let called = |object: &&View<'_>| {
        object.get("metadata").is_some_and(|metadata| metadata.word("name") == name)
    };
    if backend.word("kind") == "Backend" {
        let found = objects.iter().filter(|object| is(object, GROUP, "Backend")).find(called);
        let near = found.is_some_and(|object| {
            let endpoints = object.at(&["spec", "endpoints"]).map(|list| list.items());
            object.at(&["spec", "tls"]).is_some()
                || endpoints.is_some_and(|list| !list.is_empty() && list.iter().all(is_near))
        });
        if near {
            return;
        }
    }
    let has_tls = objects.iter().any(|object| {
        object.word("kind") == "BackendTLSPolicy"
            && object
                .at(&["spec", "targetRefs"])
                .is_some_and(|refs| refs.items().iter().any(|one| one.word("name") == name))
    });
    if !has_tls {
        let message =
            format!("no BackendTLSPolicy for `{name}` is in here: tokens go there in clear");
        look.flag(&rules::PLAINTEXT, backend, message);
    }
}

fn is_near(endpoint: &View<'_>) -> bool {
    let ip = endpoint.at(&["ip", "address"]);
    let ip = ip.as_ref().and_then(|ip| ip.text()?.parse::<std::net::IpAddr>().ok());
    endpoint.get("unix").is_some() || ip.is_some_and(|ip| ip.is_loopback())
}

/// The policy of a route takes the place of its gateway's, whole. Since 1.8 it can be merged
/// into that instead (`mergeType`); where there is none, it holds by itself.
fn replaces(policy: &View<'_>, parent_asks: bool, look: &mut Look<'_>) {
    let targets = targets(policy);
    let whole =
        |target: &View<'_>| target.word("kind") == "Gateway" && target.get("sectionName").is_none();
    if targets.iter().all(whole) && policy.at(&["spec", "targetSelectors"]).is_none() {
        return;
    }
    let kind = policy.at(&["spec", "mergeType"]).map(|kind| kind.shown());
    // Only what is for routes is merged. `Replace` says what holds without it.
    let merges = matches!(kind.as_deref(), Some("StrategicMerge" | "JSONMerge"))
        && !targets.iter().any(is_parent);
    let message = match (merges, parent_asks) {
        (true, true) => return,
        (true, false) => "is merged with its gateway's, and no gateway's in here asks anybody",
        (false, _) => "takes the place of the policy that asks, and asks nobody",
    };
    look.prefix = named(policy);
    look.flag(&rules::FILTER_DISABLED_ON_ROUTE, policy, message);
}

/// What a policy is attached to, by name or by label.
fn targets<'a>(policy: &View<'a>) -> Vec<View<'a>> {
    let mut targets: Vec<View<'a>> = ["targetRefs", "targetSelectors"]
        .iter()
        .filter_map(|name| policy.at(&["spec", *name]))
        .flat_map(|all| all.items())
        .collect();
    targets.extend(policy.at(&["spec", "targetRef"]));
    targets
}

/// Whether something is for what routes are attached to, rather than for routes.
fn is_parent(target: &View<'_>) -> bool {
    matches!(target.word("kind"), "Gateway" | "ListenerSet")
}

fn spelling(policy: &View<'_>, look: &mut Look<'_>) {
    let Some(spec) = policy.get("spec") else {
        look.flag(&rules::ESCAPED_SLASHES, policy, "escaped slashes in paths are not rejected");
        return;
    };
    let action = spec.at(&["path", "escapedSlashesAction"]);
    if action.as_ref().is_none_or(|action| action.shown() != "RejectRequest") {
        let message = "escaped slashes in paths are not rejected";
        look.flag(&rules::ESCAPED_SLASHES, action.as_ref().unwrap_or(&spec), message);
    }
    if let Some(merge) = spec.get("path").and_then(|path| path.may_be_on("disableMergeSlashes")) {
        look.flag(&rules::MERGE_SLASHES, &merge, "doubled slashes are not merged");
    }
    if let Some(action) = spec.at(&["headers", "withUnderscoresAction"])
        && !matches!(action.shown().as_str(), "RejectRequest" | "DropHeader")
    {
        look.flag(&rules::UNDERSCORES, &action, "header names with underscores pass");
    }
}
