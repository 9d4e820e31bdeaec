//! The order in which Envoy Gateway puts filters, by itself and as an `EnvoyProxy` says.

use super::istio::{is, named};
use super::view::View;
use super::{Look, chain, rules};

const AUTHORIZER: &str = "ext_authz";

/// Envoy Gateway's own order, as of 1.9 (`newOrderedHTTPFilter` in its translator). What is
/// not here is taken to stand at the end.
const OWN: &[&str] = &[
    "custom_response",
    "health_check",
    "fault",
    "cors",
    "csrf",
    "header_mutation",
    AUTHORIZER,
    "api_key_auth",
    "basic_auth",
    "oauth2",
    "jwt_authn",
    "stateful_session",
    "buffer",
    "lua",
    "ext_proc",
    "wasm",
    "dynamic_modules",
    "rbac",
    "local_ratelimit",
    "ratelimit",
    "compressor",
];
/// Those that Envoy Gateway has change nothing but responses.
const OF_RESPONSES: &[&str] = &["custom_response", "header_mutation"];
/// Members of an `EnvoyExtensionPolicy`, and the filters that are made of them.
pub(super) const EXTENSIONS: &[(&str, &str)] = &[
    ("wasm", "wasm"),
    ("extProc", "ext_proc"),
    ("lua", "lua"),
    ("dynamicModule", "dynamic_modules"),
];
/// Members of a `SecurityPolicy`, and the filters that are made of them.
const LOGINS: &[(&str, &str)] =
    &[("apiKeyAuth", "api_key_auth"), ("basicAuth", "basic_auth"), ("oidc", "oauth2")];

/// The orders of all proxies.
pub(super) struct Orders<'a>(Vec<Vec<&'a str>>);

impl<'a> Orders<'a> {
    /// Reads the order of each `EnvoyProxy`, and judges it.
    pub(super) fn read(group: &str, objects: &[View<'a>], look: &mut Look<'_>) -> Self {
        let used = used(group, objects);
        let mut orders = Vec::new();
        for proxy in objects.iter().filter(|object| is(object, group, "EnvoyProxy")) {
            let mut order: Vec<&'a str> = OWN.to_vec();
            if let Some(given) = proxy.at(&["spec", "filterOrder"]) {
                let positions = given.items();
                positions.iter().for_each(|position| put(&mut order, position));
                look.prefix = named(proxy);
                judge(&order, &given, &used, look);
            }
            orders.push(order);
        }
        if orders.is_empty() {
            orders.push(OWN.to_vec());
        }
        Self(orders)
    }

    /// Whether a filter stands behind the one that asks: in some proxies it may, in others not.
    pub(super) fn sides(&self, kind: &str) -> Vec<bool> {
        let has = |behind: &bool| self.0.iter().any(|order| stands_behind(order, kind) == *behind);
        [false, true].into_iter().filter(has).collect()
    }
}

/// Moves a filter to where a `FilterPosition` says; what comes later has the last word.
fn put<'a>(order: &mut Vec<&'a str>, position: &View<'a>) {
    let (beside, behind) = match (position.get("before"), position.get("after")) {
        (Some(other), _) => (other, false),
        (None, Some(other)) => (other, true),
        (None, None) => return,
    };
    let name = chain::short(position.word("name"));
    let beside = chain::short(beside.text().unwrap_or_default());
    if name == beside {
        return;
    }
    if !order.contains(&beside) {
        order.push(beside);
    }
    order.retain(|one| *one != name);
    let at = order.iter().position(|one| *one == beside).map_or(0, |at| at + usize::from(behind));
    order.insert(at, name);
}

fn stands_behind(order: &[&str], kind: &str) -> bool {
    let place = |kind: &str| order.iter().position(|one| *one == kind).unwrap_or(order.len());
    place(kind) > place(AUTHORIZER)
}

/// Flags what an order has on the wrong side of the filter that asks. It speaks of filters
/// that may not be there: those count that it names, and those that policies in here bring.
fn judge(order: &[&str], given: &View<'_>, used: &[&str], look: &mut Look<'_>) {
    let positions = given.items();
    let says = |kind: &str| {
        let names = |position: &View<'_>, of: &str| chain::short(position.word(of)) == kind;
        positions.iter().any(|one| ["name", "before", "after"].iter().any(|of| names(one, of)))
    };
    let is_extension = |kind: &str| EXTENSIONS.iter().any(|(_, filter)| *filter == kind);
    for (behind, rule, place) in
        [(false, &rules::FILTER_BEFORE, "before"), (true, &rules::FILTER_AFTER, "behind")]
    {
        let counts = |kind: &str| {
            if stands_behind(OWN, kind) != behind {
                says(kind) || used.contains(&kind)
            } else {
                // It stays where Envoy Gateway has it. What an extension does there is a
                // finding of the policy that brings it, where that is in here.
                says(kind) && is_extension(kind) && !used.contains(&kind)
            }
        };
        let wrong: Vec<&str> = order
            .iter()
            .copied()
            .filter(|kind| *kind != AUTHORIZER && stands_behind(order, kind) == behind)
            .filter(|kind| !OF_RESPONSES.contains(kind) && !chain::is_harmless(kind, behind))
            .filter(|kind| counts(kind))
            .collect();
        if !wrong.is_empty() {
            let message = format!("has `{}` {place} ext_authz", wrong.join("`, `"));
            look.flag(rule, given, message);
        }
    }
}

/// The filters that policies in here bring.
fn used(group: &str, objects: &[View<'_>]) -> Vec<&'static str> {
    let brings = |kind: &str, member: &str| {
        let mut policies = objects.iter().filter(|object| is(object, group, kind));
        policies.any(|policy| policy.at(&["spec", member]).is_some())
    };
    let mut used = Vec::new();
    for (kind, members) in [("EnvoyExtensionPolicy", EXTENSIONS), ("SecurityPolicy", LOGINS)] {
        let brought = members.iter().filter(|(member, _)| brings(kind, member));
        used.extend(brought.map(|(_, filter)| *filter));
    }
    used
}
