//! What routes change about being asked, and about the request afterwards.

use super::cluster::Clusters;
use super::listener::Parts;
use super::view::View;
use super::{Look, filter, mutation, rules};

const PER_ROUTE: &str = "envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute";
const ANY_FILTER: &str = "envoy.config.route.v3.FilterConfig";

/// The names by which routes speak of filters.
pub(super) struct Names<'a> {
    /// Those that ask.
    pub(super) authorizers: Vec<&'a str>,
    /// Those that take trailers of requests away.
    pub(super) takers: Vec<&'a str>,
    /// Those that only stand before the ones that ask.
    pub(super) before: Vec<&'a str>,
}

/// The routes of a connection manager, wherever they stand.
pub(super) fn of_manager(
    manager: &View<'_>,
    parts: &Parts<'_>,
    names: &Names<'_>,
    look: &mut Look<'_>,
) {
    let found = configurations(manager, parts);
    if found.is_empty() {
        let place = ["rds", "scoped_routes"].iter().find_map(|name| manager.get(name));
        let message = "the routes come from elsewhere";
        look.flag(&rules::NOT_SEEN, place.as_ref().unwrap_or(manager), message);
    }
    for config in found {
        configuration(&config, names, parts.clusters.as_ref(), look);
    }
}

/// The route configurations of a connection manager, as far as they are in here.
fn configurations<'a>(manager: &View<'a>, parts: &Parts<'a>) -> Vec<View<'a>> {
    if let Some(config) = manager.get("route_config") {
        return vec![config];
    }
    let named = manager.at(&["rds", "route_config_name"]);
    let Some(name) = named.and_then(|name| name.text()) else { return Vec::new() };
    parts.routes.iter().filter(|one| one.word("name") == name).cloned().collect()
}

/// Whether there are requests for which an entry of `upgrade_configs` holds. A route can let
/// them upgrade where the connection manager doesn't.
pub(super) fn let_upgrade(manager: &View<'_>, parts: &Parts<'_>, upgrade: &View<'_>) -> bool {
    let is_off =
        |one: &View<'_>| one.get("enabled").is_some() && one.may_be_on("enabled").is_none();
    let kind = upgrade.word("upgrade_type");
    !is_off(upgrade)
        || configurations(manager, parts)
            .iter()
            .flat_map(|config| config.list("virtual_hosts"))
            .flat_map(|host| host.list("routes"))
            .filter_map(|route| route.at(&["route", "upgrade_configs"]))
            .flat_map(|list| list.items())
            .any(|one| !is_off(&one) && one.word("upgrade_type").eq_ignore_ascii_case(kind))
}

/// Whether no request of a connection manager reaches a service: redirects to https and
/// fixed answers.
pub(super) fn answers_itself(manager: &View<'_>) -> bool {
    let Some(config) = manager.get("route_config") else { return false };
    let hosts = config.list("virtual_hosts");
    config.get("vhds").is_none()
        && hosts.iter().all(|host| {
            host.get("matcher").is_none()
                && host.list("routes").iter().all(|route| {
                    route.get("redirect").is_some() || route.get("direct_response").is_some()
                })
        })
}

/// A route configuration, level by level.
pub(super) fn configuration(
    config: &View<'_>,
    names: &Names<'_>,
    clusters: Option<&Clusters<'_>>,
    look: &mut Look<'_>,
) {
    if let Some(elsewhere) = config.get("vhds") {
        look.flag(&rules::NOT_SEEN, &elsewhere, "virtual hosts come from elsewhere");
    }
    level(config, names, clusters, look);
    for host in config.list("virtual_hosts") {
        self::host(&host, names, clusters, look);
    }
}

/// One virtual host, with its routes.
pub(super) fn host(
    host: &View<'_>,
    names: &Names<'_>,
    clusters: Option<&Clusters<'_>>,
    look: &mut Look<'_>,
) {
    if let Some(matcher) = host.get("matcher") {
        look.flag(&rules::NOT_SEEN, &matcher, "routes in a `matcher` are not read here");
    }
    level(host, names, clusters, look);
    for route in host.list("routes") {
        self::route(&route, names, clusters, look);
    }
}

/// One route, with the clusters that it weighs.
pub(super) fn route(
    route: &View<'_>,
    names: &Names<'_>,
    clusters: Option<&Clusters<'_>>,
    look: &mut Look<'_>,
) {
    level(route, names, clusters, look);
    let weighed = route.at(&["route", "weighted_clusters"]);
    for cluster in weighed.iter().flat_map(|weighed| weighed.list("clusters")) {
        level(&cluster, names, clusters, look);
    }
}

/// What can be said on every level.
fn level(
    level: &View<'_>,
    names: &Names<'_>,
    clusters: Option<&Clusters<'_>>,
    look: &mut Look<'_>,
) {
    for (name, config) in level.get("typed_per_filter_config").iter().flat_map(View::members) {
        let (kind, config) = config.typed();
        match kind {
            PER_ROUTE => override_of(&config, clusters, look),
            mutation::PER_ROUTE => mutation::of_route(name, &config, names, look),
            ANY_FILTER => any_filter(name, &config, names, clusters, look),
            _ => {}
        }
    }
    for added in level.list("request_headers_to_add") {
        if let Some(key) = added.at(&["header", "key"]) {
            sets_identity(&key, look);
        }
    }
}

/// What is said of a filter in the wrapper that any of them has.
fn any_filter(
    name: &str,
    config: &View<'_>,
    names: &Names<'_>,
    clusters: Option<&Clusters<'_>>,
    look: &mut Look<'_>,
) {
    let asks = names.authorizers.contains(&name);
    if asks {
        disabled(config, look);
    } else if names.takers.contains(&name)
        && let Some(disabled) = config.may_be_on("disabled")
    {
        let message = "the trailers of a request are not taken away here";
        look.flag(&rules::REQUEST_TRAILERS, &disabled, message);
    }
    let Some(inner) = config.get("config") else { return };
    match inner.typed() {
        (PER_ROUTE, inner) if asks => override_of(&inner, clusters, look),
        (mutation::PER_ROUTE, inner) if !config.is_on("disabled") => {
            mutation::of_route(name, &inner, names, look);
        }
        _ => {}
    }
}

/// Flags a header that is set after the decision by the name of an identity header; whether
/// it is one.
pub(super) fn sets_identity(key: &View<'_>, look: &mut Look<'_>) -> bool {
    let name = key.text().unwrap_or_default().to_ascii_lowercase();
    // A look-alike is read as the same name by many.
    let is_one = look.own.headers.iter().any(|own| name == *own || name.replace('_', "-") == *own);
    if is_one {
        look.flag(&rules::HEADERS_ADDED, key, format!("sets `{name}` itself"));
    }
    is_one
}

fn disabled(config: &View<'_>, look: &mut Look<'_>) {
    if let Some(disabled) = config.may_be_on("disabled") {
        look.flag(&rules::FILTER_DISABLED_ON_ROUTE, &disabled, "nobody is asked here");
    }
}

fn override_of(config: &View<'_>, clusters: Option<&Clusters<'_>>, look: &mut Look<'_>) {
    disabled(config, look);
    let Some(settings) = config.get("check_settings") else { return };
    if let Some(body) = settings.get("with_request_body") {
        look.flag(&rules::REQUEST_BODY, &body, "request bodies are held back and sent");
    }
    if let Some(service) = settings.get("grpc_service") {
        filter::grpc_service(&service, clusters, look);
    }
    if let Some(service) = settings.get("http_service") {
        filter::http_service(&service, clusters, look);
    }
}
