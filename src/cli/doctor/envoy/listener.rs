//! Listeners and their HTTP connection managers, in a file and in a dump.

use super::chain::{self, Discovered, Placed};
use super::cluster::Clusters;
use super::routes::{self, Names};
use super::view::View;
use super::{Look, rules, trailers};

const MANAGER: &str =
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";

/// What one Envoy has, wherever it has it from. By default nothing: so it is beside a patch.
#[derive(Default)]
pub(super) struct Parts<'a> {
    listeners: Vec<View<'a>>,
    /// Nothing where they are a mesh's own, which stand in no file.
    pub(super) clusters: Option<Clusters<'a>>,
    /// Route configurations that connection managers name.
    pub(super) routes: Vec<View<'a>>,
    /// Filters that connection managers name.
    pub(super) filters: Discovered<'a>,
}

/// A bootstrap: its static listeners. What it has fetched from elsewhere is not seen.
pub(super) fn bootstrap(view: &View<'_>, look: &mut Look<'_>) {
    let mut parts = Parts::default();
    let mut clusters = Clusters::default();
    if let Some(fixed) = view.get("static_resources") {
        parts.listeners = fixed.list("listeners");
        clusters.add(fixed.list("clusters"));
    }
    parts.clusters = Some(clusters);
    if let Some(elsewhere) = view.at(&["dynamic_resources", "lds_config"]) {
        look.judged += 1;
        look.flag(&rules::NOT_SEEN, &elsewhere, "listeners come from elsewhere");
    }
    all(&parts, look);
}

/// `/config_dump`.
pub(super) fn dump(view: &View<'_>, look: &mut Look<'_>) {
    let mut parts = Parts::default();
    let mut clusters = Clusters::default();
    for config in view.list("configs") {
        let (name, config) = config.typed();
        match name.rsplit('.').next().unwrap_or_default() {
            "ListenersConfigDump" => {
                let fixed = config.list("static_listeners").into_iter();
                parts.listeners.extend(fixed.filter_map(|one| one.get("listener")));
                for one in config.list("dynamic_listeners") {
                    // The one that serves, and the one that will.
                    for state in ["active_state", "warming_state"] {
                        parts.listeners.extend(one.at(&[state, "listener"]));
                    }
                }
            }
            "ClustersConfigDump" => {
                for kind in ["static_clusters", "dynamic_active_clusters"] {
                    let found = config.list(kind).into_iter();
                    clusters.add(found.filter_map(|one| one.get("cluster")).collect());
                }
            }
            "EndpointsConfigDump" => {
                for kind in ["static_endpoint_configs", "dynamic_endpoint_configs"] {
                    let endpoints = config.list(kind).into_iter();
                    let endpoints = endpoints.filter_map(|one| one.get("endpoint_config"));
                    clusters.add_endpoints(endpoints.collect());
                }
            }
            "RoutesConfigDump" => {
                let routes = config.list("dynamic_route_configs").into_iter();
                parts.routes.extend(routes.filter_map(|one| one.get("route_config")));
            }
            "EcdsConfigDump" => {
                let filters = config.list("ecds_filters").into_iter();
                parts.filters.add(filters.filter_map(|one| one.get("ecds_filter")).collect());
            }
            _ => {}
        }
    }
    parts.clusters = Some(clusters);
    all(&parts, look);
}

fn all(parts: &Parts<'_>, look: &mut Look<'_>) {
    for listener in &parts.listeners {
        self::listener(listener, parts, look);
    }
}

/// A listener with all its chains.
pub(super) fn listener(listener: &View<'_>, parts: &Parts<'_>, look: &mut Look<'_>) {
    // Istio's sidecars: what leaves a service is for the others to be asked about.
    let outbound =
        listener.get("traffic_direction").is_some_and(|way| way.is_one_of(&[("OUTBOUND", 2.0)]));
    let mut chains = listener.list("filter_chains");
    chains.extend(listener.get("default_filter_chain"));
    for chain in chains {
        filter_chain(&chain, parts, outbound, look);
    }
    if let Some(api) = listener.at(&["api_listener", "api_listener"])
        && let (MANAGER, manager) = api.typed()
    {
        connection_manager(&manager, parts, outbound, look);
    }
}

/// The network filters of a chain.
pub(super) fn filter_chain(
    chain: &View<'_>,
    parts: &Parts<'_>,
    outbound: bool,
    look: &mut Look<'_>,
) {
    for filter in chain.list("filters") {
        if !is_from_elsewhere(&filter, look)
            && let Some(manager) = manager_of(&filter)
        {
            connection_manager(&manager, parts, outbound, look);
        }
    }
}

/// The connection manager that a network filter is.
pub(super) fn manager_of<'a>(filter: &View<'a>) -> Option<View<'a>> {
    match filter.get("typed_config")?.typed() {
        (MANAGER, manager) => Some(manager),
        _ => None,
    }
}

/// Says it of a network filter that has its configuration from elsewhere.
pub(super) fn is_from_elsewhere(filter: &View<'_>, look: &mut Look<'_>) -> bool {
    let elsewhere =
        filter.get("typed_config").is_none() && filter.get("config_discovery").is_some();
    if elsewhere {
        look.flag(&rules::NOT_SEEN, filter, "a network filter comes from elsewhere");
    }
    elsewhere
}

/// A connection manager that is given whole; whether it asks anybody.
pub(super) fn connection_manager(
    manager: &View<'_>,
    parts: &Parts<'_>,
    outbound: bool,
    look: &mut Look<'_>,
) -> bool {
    look.judged += 1;
    let entries = manager.list("http_filters");
    let given = entries.len();
    let filters = chain::filters(entries, &parts.filters, look);
    // A filter that was not seen may be the one that is missing.
    let all_seen = filters.len() == given;
    if chain::authorizers(&filters).is_empty() {
        if all_seen && !outbound && !routes::answers_itself(manager) {
            let message = "asks nobody: there is no ext_authz filter";
            look.flag_member(&rules::FILTER_MISSING, (manager, "http_filters"), message);
        }
        return false;
    }
    chain::look(&filters, parts, look);
    if all_seen {
        trailers::look(manager, (manager, "http_filters"), &filters, look);
    }
    let mut lists = vec![filters];
    lists.extend(upgrades(manager, parts, look));
    spelling(manager, true, look);
    let headers = &look.own.headers;
    let names = Names {
        authorizers: lists.iter().flat_map(|list| chain::authorizers(list)).collect(),
        takers: lists.iter().flat_map(|list| trailers::takers(list, headers)).collect(),
        before: chain::before(&lists),
    };
    routes::of_manager(manager, parts, &names, look);
    true
}

/// The filters that upgrades, such as a WebSocket's, have in the place of all others; those
/// lists in which one asks.
fn upgrades<'a>(
    manager: &View<'a>,
    parts: &Parts<'a>,
    look: &mut Look<'_>,
) -> Vec<Vec<Placed<'a>>> {
    let mut asking = Vec::new();
    for upgrade in manager.list("upgrade_configs") {
        let entries = upgrade.list("filters");
        let given = entries.len();
        // Without any it has those of the connection manager.
        if given == 0 || !routes::let_upgrade(manager, parts, &upgrade) {
            continue;
        }
        let filters = chain::filters(entries, &parts.filters, look);
        let all_seen = filters.len() == given;
        if chain::authorizers(&filters).is_empty() {
            if all_seen && !routes::answers_itself(manager) {
                let kind = upgrade.word("upgrade_type");
                let message = format!("an upgrade to `{kind}` has no ext_authz filter of its own");
                look.flag_member(&rules::FILTER_MISSING, (&upgrade, "filters"), message);
            }
            continue;
        }
        chain::look(&filters, parts, look);
        if all_seen {
            trailers::look(manager, (&upgrade, "filters"), &filters, look);
        }
        asking.push(filters);
    }
    asking
}

/// One reading of each path and header. Of a patch only what it says is judged.
pub(super) fn spelling(manager: &View<'_>, whole: bool, look: &mut Look<'_>) {
    for (rule, name, message) in [
        (&rules::NORMALIZE_PATH, "normalize_path", "paths are not normalised"),
        (&rules::MERGE_SLASHES, "merge_slashes", "doubled slashes are not merged"),
        (
            &rules::USE_REMOTE_ADDRESS,
            "use_remote_address",
            "the client's word for its own address is believed",
        ),
    ] {
        let judged = whole || manager.get(name).is_some();
        if judged && !manager.is_on(name) {
            look.flag_member(rule, (manager, name), message);
        }
    }
    let options = manager.get("common_http_protocol_options");
    let options = options.as_ref().unwrap_or(manager);
    let rejects: &[(&str, f64)] = &[("REJECT_REQUEST", 2.0)];
    // What is dropped can't be misread either.
    let closes: &[(&str, f64)] = &[("REJECT_REQUEST", 1.0), ("DROP_HEADER", 2.0)];
    for (rule, view, name, good, message) in [
        (
            &rules::ESCAPED_SLASHES,
            manager,
            "path_with_escaped_slashes_action",
            rejects,
            "escaped slashes in paths are not rejected",
        ),
        (
            &rules::UNDERSCORES,
            options,
            "headers_with_underscores_action",
            closes,
            "header names with underscores pass",
        ),
    ] {
        let given = view.get(name);
        let judged = whole || given.is_some();
        if judged && !given.is_some_and(|action| action.is_one_of(good)) {
            look.flag_member(rule, (view, name), message);
        }
    }
}
