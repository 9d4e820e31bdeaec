//! What an `EnvoyFilter` makes of Envoy's own settings.

use super::istio::{is, named};
use super::listener::{self, Parts};
use super::routes::{self, Names};
use super::scope::{Proxy, Scope};
use super::trailers::{self, Place, Since, Takers};
use super::view::View;
use super::{Look, chain, filter, rules};

/// Envoy's own name of the filter, which is Istio's as well.
pub(super) const FILTER: &str = "envoy.filters.http.ext_authz";
pub(super) const ROUTER: &str = "envoy.filters.http.router";
/// The name that Istio gives every connection manager.
pub(super) const MANAGER_NAME: &str = "envoy.filters.network.http_connection_manager";

/// Whose settings a patch changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    /// The HTTP connection manager.
    Manager,
    /// Its `common_http_protocol_options`.
    Protocol,
    /// The ext_authz filter that Istio makes of a provider.
    Filter,
}

/// All patches of an input that say something for every listener of their proxies.
pub(super) struct Patches<'a> {
    root: &'a str,
    list: Vec<Patch<'a>>,
    /// Filters that patches deliver and others put in their places.
    delivered: Vec<View<'a>>,
    takers: Takers<'a>,
    names: Names<'a>,
    pub(super) brought: Vec<Brought<'a>>,
}

struct Patch<'a> {
    of: Of,
    settings: View<'a>,
    scope: Scope<'a>,
}

/// An ext_authz filter that a patch brings whole, beside those of Istio.
pub(super) struct Brought<'a> {
    /// For people: the `EnvoyFilter`.
    pub(super) name: String,
    pub(super) value: View<'a>,
    pub(super) scope: Scope<'a>,
    pub(super) since: Since,
}

impl<'a> Patches<'a> {
    /// Judges each patch by what it says, and keeps that: nobody else has to say it.
    pub(super) fn read(objects: &[View<'a>], root: &'a str, look: &mut Look<'_>) -> Self {
        let all: Vec<(Place, &View<'a>, View<'a>)> = objects
            .iter()
            .enumerate()
            .filter(|(_, object)| is(object, "networking.istio.io/", "EnvoyFilter"))
            .filter_map(|(own, object)| Some((own, object, object.at(&["spec", "configPatches"])?)))
            .flat_map(|(own, object, list)| {
                let items = list.items().into_iter().enumerate();
                items.map(move |(at, one)| ((own, at), object, one))
            })
            .filter(|(_, _, patch)| !is_outbound(patch))
            .collect();
        let delivered: Vec<View<'a>> = all
            .iter()
            .filter(|(_, _, patch)| patch.word("applyTo") == "EXTENSION_CONFIG")
            .filter_map(|(_, _, patch)| patch.at(&["patch", "value"]))
            .collect();
        let takers = Takers::read(&all, &delivered, root);
        // Where the others stand isn't known here.
        let before = Vec::new();
        let taking = takers.names(&look.own.headers);
        let names = Names { authorizers: vec![FILTER], takers: taking, before };
        let (list, brought) = (Vec::new(), Vec::new());
        let mut patches = Self { root, list, delivered, takers, names, brought };
        for (place, object, patch) in &all {
            look.prefix = named(object);
            patches.add(*place, object, patch, look);
        }
        patches
    }

    /// Whether a setting is given for all that somebody's scope holds, in one kind of proxy;
    /// without a scope, for anybody. Whether well is judged with the patch.
    pub(super) fn say(
        &self,
        of: Of,
        setting: &str,
        scope: Option<&Scope<'_>>,
        proxy: Proxy,
    ) -> bool {
        self.list.iter().any(|patch| {
            patch.of == of
                && patch.settings.get(setting).is_some()
                && self.reaches(&patch.scope, scope, proxy)
        })
    }

    /// Those of these headers that no patch takes away where they are trailers, for all that
    /// somebody's scope holds and a filter of this name asks in; without a scope, for anybody.
    pub(super) fn trailers_left<'h>(
        &self,
        headers: &'h [String],
        scope: Option<&Scope<'_>>,
        proxy: Proxy,
        authorizer: (&str, Since),
    ) -> Vec<&'h str> {
        self.takers.left(headers, authorizer, |patched| self.reaches(patched, scope, proxy))
    }

    fn reaches(&self, patched: &Scope<'_>, scope: Option<&Scope<'_>>, proxy: Proxy) -> bool {
        scope.is_none_or(|scope| patched.covers(scope, proxy, self.root))
    }

    fn add(&mut self, place: Place, object: &View<'a>, patch: &View<'a>, look: &mut Look<'_>) {
        let operation = patch.at(&["patch", "operation"]).map(|one| one.shown());
        let operation = operation.as_deref().unwrap_or_default();
        let beside = patch.at(&["match", "listener", "filterChain", "filter", "subFilter", "name"]);
        let beside = beside.as_ref().and_then(|name| name.text());
        let value = patch.at(&["patch", "value"]);
        // What holds for some listeners only can't stand for the others.
        let changes = matches!(operation, "MERGE" | "REPLACE") && !is_narrow(patch);
        match (patch.word("applyTo"), value) {
            // Without a name it is about every filter.
            ("HTTP_FILTER", _)
                if operation == "REMOVE" && beside.is_none_or(|name| name == FILTER) =>
            {
                look.judged += 1;
                look.flag(&rules::FILTER_DISABLED, patch, "the ext_authz filter is removed");
            }
            ("HTTP_FILTER", Some(value))
                if operation == "REPLACE"
                    && beside.is_none_or(|name| name == FILTER)
                    && held(&value, &self.delivered)
                        .is_some_and(|held| chain::kind_of(&held).0 != "ext_authz") =>
            {
                look.judged += 1;
                let message = "another filter takes the place of the ext_authz filter";
                look.flag(&rules::FILTER_DISABLED, patch, message);
            }
            (what @ ("HTTP_FILTER" | "EXTENSION_CONFIG"), Some(value)) => {
                let config = http_filter(&value, operation, beside, &self.delivered, look);
                let Some(config) = config else { return };
                let scope = Scope::of_patch(object, patch);
                if changes && beside == Some(FILTER) {
                    self.list.push(Patch { of: Of::Filter, settings: config, scope });
                } else if brings(operation) || (operation == "REPLACE" && beside != Some(FILTER)) {
                    // What is delivered stands where another patch puts it.
                    let here = what == "HTTP_FILTER";
                    let since = if here { Since::Patch(place) } else { Since::Unknown };
                    self.brought.push(Brought { name: named(object), value, scope, since });
                }
            }
            ("NETWORK_FILTER", value) => {
                if let Some(manager) =
                    network_filter(patch, operation, value.as_ref(), &self.names, look)
                    && changes
                {
                    let scope = Scope::of_patch(object, patch);
                    let protocol = manager.get("common_http_protocol_options");
                    self.list.extend(protocol.map(|settings| Patch {
                        of: Of::Protocol,
                        settings,
                        scope: scope.clone(),
                    }));
                    self.list.push(Patch { of: Of::Manager, settings: manager, scope });
                }
            }
            ("HTTP_ROUTE", Some(value)) => {
                look.judged += 1;
                routes::route(&value, &self.names, None, look);
            }
            ("VIRTUAL_HOST", Some(value)) => {
                look.judged += 1;
                routes::host(&value, &self.names, None, look);
            }
            ("ROUTE_CONFIGURATION", Some(value)) => {
                look.judged += 1;
                routes::configuration(&value, &self.names, None, look);
            }
            (what @ ("LISTENER" | "FILTER_CHAIN"), value) => {
                let judged = look.judged;
                // Chains and filters are added to what is there, also by a merge: they are whole.
                match &value {
                    Some(value) if what == "LISTENER" => {
                        listener::listener(value, &Parts::default(), look);
                    }
                    Some(value) => {
                        listener::filter_chain(value, &Parts::default(), false, look);
                    }
                    None => {}
                }
                if operation != "ADD" || look.judged == judged {
                    let message =
                        format!("what a patch of `{what}` makes of filters is not read here");
                    look.flag(&rules::NOT_SEEN, patch, message);
                }
            }
            _ => {}
        }
    }
}

/// Judges what a patch makes of the network filters; the connection manager whose settings are
/// those of one that asks.
fn network_filter<'a>(
    patch: &View<'a>,
    operation: &str,
    value: Option<&View<'a>>,
    names: &Names<'_>,
    look: &mut Look<'_>,
) -> Option<View<'a>> {
    let place = patch.at(&["match", "listener", "filterChain", "filter"]);
    let of_manager = place.is_some_and(|filter| filter.word("name") == MANAGER_NAME);
    if operation == "REMOVE" {
        if of_manager {
            look.judged += 1;
            let message = "what is left without the connection manager is not read here";
            look.flag(&rules::NOT_SEEN, patch, message);
        }
        return None;
    }
    let value = value?;
    let Some(manager) = listener::manager_of(value) else {
        let elsewhere = listener::is_from_elsewhere(value, look);
        if !elsewhere && operation == "REPLACE" && of_manager {
            look.judged += 1;
            let message = "another filter takes the place of the connection manager";
            look.flag(&rules::FILTER_MISSING, patch, message);
        }
        return None;
    };
    if operation != "MERGE" {
        let asks = listener::connection_manager(&manager, &Parts::default(), false, look);
        return asks.then_some(manager);
    }
    look.judged += 1;
    listener::spelling(&manager, false, look);
    if let Some(filters) = manager.get("http_filters") {
        // They come behind the router.
        let message = "filters that are merged into those of a connection manager are not read";
        look.flag(&rules::NOT_SEEN, &filters, message);
    }
    for upgrade in manager.list("upgrade_configs") {
        if let Some(filters) = upgrade.get("filters") {
            let message = "filters of upgrades that are merged into a connection manager are not \
                           read";
            look.flag(&rules::NOT_SEEN, &filters, message);
        }
    }
    if let Some(config) = manager.get("route_config") {
        routes::configuration(&config, names, None, look);
    }
    Some(manager)
}

/// Judges what a patch makes of the HTTP filters; the configuration of one that asks.
fn http_filter<'a>(
    value: &View<'a>,
    operation: &str,
    beside: Option<&str>,
    delivered: &[View<'a>],
    look: &mut Look<'_>,
) -> Option<View<'a>> {
    let Some(held) = held(value, delivered) else {
        // It may be the one that asks.
        look.judged += 1;
        chain::not_seen(value, look);
        return None;
    };
    let (kind, config) = chain::kind_of(&held);
    if kind == "ext_authz" {
        look.judged += 1;
        chain::runs(value, chain::is_matched(value), look);
        // What another patch delivers is judged with that one.
        let config = config.filter(|_| !chain::is_from_elsewhere(value));
        match &config {
            // A patch of another filter: what it doesn't say stays.
            Some(config) if operation == "MERGE" => filter::given(config, look),
            Some(config) => filter::whole(config, None, look),
            None => {}
        }
        return config;
    }
    if config.is_some_and(|config| trailers::only_takes(kind, &config)) {
        return None;
    }
    if operation == "INSERT_FIRST" || (operation == "INSERT_BEFORE" && beside != Some(ROUTER)) {
        chain::order(kind, false, value, look);
    } else if brings(operation) {
        chain::order(kind, true, value, look);
    }
    None
}

/// What an entry of `http_filters` holds, or another patch delivers for it; nothing where that
/// isn't in here.
pub(super) fn held<'a>(value: &View<'a>, delivered: &[View<'a>]) -> Option<View<'a>> {
    if !chain::is_from_elsewhere(value) {
        return Some(value.clone());
    }
    delivered.iter().find(|one| one.word("name") == value.word("name")).cloned()
}

/// Whether a patch is for what leaves a service.
fn is_outbound(patch: &View<'_>) -> bool {
    patch.at(&["match", "context"]).is_some_and(|context| context.shown() == "SIDECAR_OUTBOUND")
}

/// Whether a patch adds something, rather than to change what is there.
fn brings(operation: &str) -> bool {
    operation.starts_with("INSERT") || operation == "ADD"
}

/// Whether a patch holds for some listeners or versions of its proxies only.
pub(super) fn is_narrow(patch: &View<'_>) -> bool {
    let Some(matched) = patch.get("match") else { return false };
    matched.get("proxy").is_some()
        || matched.get("listener").is_some_and(|listener| {
            // All that comes in to a sidecar is one listener.
            !matches!(listener.word("name"), "" | "virtualInbound")
                || has_beside(&listener, &["name", "filterChain"])
                || listener.get("filterChain").is_some_and(|chain| has_beside(&chain, &["filter"]))
        })
}

fn has_beside(view: &View<'_>, plain: &[&str]) -> bool {
    view.members().iter().any(|(name, _)| !plain.contains(name))
}
