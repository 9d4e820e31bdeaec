//! The HTTP filters of a connection manager, in their order.

use super::listener::Parts;
use super::view::View;
use super::{Look, filter, rules, trailers};

const MATCHED: &str = "envoy.extensions.common.matching.v3.ExtensionWithMatcher";

/// Filters that refuse, measure or look at the body, and leave the request as it is.
const HARMLESS: &[&str] = &[
    "adaptive_concurrency",
    "admission_control",
    "alternate_protocols_cache",
    "bandwidth_limit",
    "bandwidth_share",
    "body_size_limit",
    "buffer",
    "cdn_loop",
    "compressor",
    "csrf",
    "decompressor",
    "fault",
    "file_system_buffer",
    "grpc_stats",
    "local_ratelimit",
    "original_src",
    "rate_limit_quota",
    "ratelimit",
    "rbac",
    "set_metadata",
    "tap",
    // Istio's own.
    "io.istio.http.peer_metadata.Config",
    "istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig",
    "stats.PluginConfig",
];
/// Those that are harmless before a decision: they only refuse, or take away.
const HARMLESS_BEFORE: &[&str] = &["jwt_authn"];
/// Those that are harmless after one: they answer, and nothing they change is used.
const HARMLESS_AFTER: &[&str] = &["cache", "cache_v2", "cors", "health_check", "router"];
/// What every upstream filter chain ends with.
const LAST_UPSTREAM: &str = "upstream_codec";

/// Filters that a connection manager names and somebody else delivers.
#[derive(Default)]
pub(super) struct Discovered<'a>(Vec<View<'a>>);

impl<'a> Discovered<'a> {
    pub(super) fn add(&mut self, filters: Vec<View<'a>>) {
        self.0.extend(filters);
    }

    fn find(&self, name: &str) -> Option<View<'a>> {
        let mut filters = self.0.iter().map(|filter| filter.typed().1);
        filters.find(|filter| filter.word("name") == name)?.get("typed_config")
    }
}

/// A filter at its place.
pub(super) struct Placed<'a> {
    entry: View<'a>,
    pub(super) name: &'a str,
    /// Short for Envoy's own, whole for others.
    kind: &'a str,
    config: View<'a>,
    /// Whether it depends on a matcher whether it runs.
    matched: bool,
}

impl<'a> Placed<'a> {
    fn authorizes(&self) -> bool {
        self.kind == "ext_authz"
    }

    /// The configuration of a filter of this kind that runs for every request.
    pub(super) fn always(&self, kind: &str) -> Option<&View<'a>> {
        let always = !self.matched && self.entry.may_be_on("disabled").is_none();
        (always && self.kind == kind).then_some(&self.config)
    }
}

/// The filters of a list, with those that come from elsewhere where they can be had.
pub(super) fn filters<'a>(
    entries: Vec<View<'a>>,
    discovered: &Discovered<'a>,
    look: &mut Look<'_>,
) -> Vec<Placed<'a>> {
    let mut placed = Vec::new();
    for entry in entries {
        let name = entry.word("name");
        let elsewhere = is_from_elsewhere(&entry);
        let found = if elsewhere { discovered.find(name) } else { entry.get("typed_config") };
        if elsewhere && found.is_none() {
            not_seen(&entry, look);
            continue;
        }
        // Without a configuration the name says what it is.
        let config = found.unwrap_or_else(|| entry.clone());
        let (kind, config, matched) = unwrapped(&config);
        let kind = if kind.is_empty() { name } else { kind };
        placed.push(Placed { entry, name, kind: short(kind), config, matched });
    }
    placed
}

/// Whether an entry of `http_filters` has its configuration from elsewhere. Its name is anybody's
/// choice then, and says nothing of what it is.
pub(super) fn is_from_elsewhere(entry: &View<'_>) -> bool {
    entry.get("typed_config").is_none() && entry.get("config_discovery").is_some()
}

/// Says it of an entry that has its configuration from where nobody looked.
pub(super) fn not_seen(entry: &View<'_>, look: &mut Look<'_>) {
    let message = format!("the filter `{}` comes from elsewhere", entry.word("name"));
    look.flag(&rules::NOT_SEEN, entry, message);
}

/// The message that an `Any` holds, out of a matcher around it.
fn unwrapped<'a>(config: &View<'a>) -> (&'a str, View<'a>, bool) {
    match config.typed() {
        (MATCHED, outer) => match outer.at(&["extension_config", "typed_config"]) {
            Some(inner) => {
                let (kind, inner) = inner.typed();
                (kind, inner, true)
            }
            None => (MATCHED, outer, true),
        },
        (kind, config) => (kind, config, false),
    }
}

/// `lua` for `envoy.extensions.filters.http.lua.v3.Lua` and `envoy.filters.http.lua`.
pub(super) fn short(kind: &str) -> &str {
    let inner = ["envoy.extensions.filters.http.", "envoy.filters.http."]
        .iter()
        .find_map(|prefix| kind.strip_prefix(prefix));
    inner.map_or(kind, |inner| inner.split('.').next().unwrap_or(inner))
}

/// The names under which routes configure the filter that asks.
pub(super) fn authorizers<'a>(filters: &[Placed<'a>]) -> Vec<&'a str> {
    filters.iter().filter(|filter| filter.authorizes()).map(|filter| filter.name).collect()
}

/// The names of filters that stand before the one that asks, and behind it in none of the lists.
pub(super) fn before<'a>(lists: &[Vec<Placed<'a>>]) -> Vec<&'a str> {
    let behind: Vec<&str> = lists
        .iter()
        .flat_map(|list| list.iter().skip_while(|filter| !filter.authorizes()))
        .map(|filter| filter.name)
        .collect();
    let before = lists.iter().flat_map(|list| list.iter().take_while(|one| !one.authorizes()));
    before.map(|filter| filter.name).filter(|name| !behind.contains(name)).collect()
}

/// The order, and each filter that asks.
pub(super) fn look(filters: &[Placed<'_>], parts: &Parts<'_>, look: &mut Look<'_>) {
    let mut behind = false;
    for filter in filters {
        if filter.authorizes() {
            behind = true;
            runs(&filter.entry, filter.matched, look);
            filter::whole(&filter.config, parts.clusters.as_ref(), look);
        } else if !trailers::only_takes(filter.kind, &filter.config) {
            order(filter.kind, behind, &filter.entry, look);
        }
    }
    let Some(clusters) = &parts.clusters else { return };
    for filter in self::filters(clusters.upstream_filters(), &parts.filters, look) {
        if filter.kind != LAST_UPSTREAM && !trailers::only_takes(filter.kind, &filter.config) {
            order(filter.kind, true, &filter.entry, look);
        }
    }
}

/// Whether the filter that asks does so at its place.
pub(super) fn runs(entry: &View<'_>, matched: bool, look: &mut Look<'_>) {
    if let Some(disabled) = entry.may_be_on("disabled") {
        look.flag(&rules::FILTER_DISABLED, &disabled, "the ext_authz filter is disabled");
    }
    if matched {
        let message = "a matcher decides whether the ext_authz filter runs";
        look.flag(&rules::FILTER_CONDITIONAL, entry, message);
    }
}

/// A filter that stands before or behind the one that asks.
pub(super) fn order(kind: &str, behind: bool, entry: &View<'_>, look: &mut Look<'_>) {
    let (rule, place) =
        if behind { (&rules::FILTER_AFTER, "behind") } else { (&rules::FILTER_BEFORE, "before") };
    if !is_harmless(kind, behind) {
        look.flag(rule, entry, format!("`{kind}` stands {place} ext_authz"));
    }
}

/// Whether a filter can stand on a side of the one that asks and mislead nobody.
pub(super) fn is_harmless(kind: &str, behind: bool) -> bool {
    let there = if behind { HARMLESS_AFTER } else { HARMLESS_BEFORE };
    HARMLESS.contains(&kind) || there.contains(&kind)
}

/// Whether a matcher stands around what an entry of `http_filters` holds.
pub(super) fn is_matched(entry: &View<'_>) -> bool {
    entry.get("typed_config").is_some_and(|config| unwrapped(&config).2)
}

/// What kind of filter an entry of `http_filters` holds, and its configuration.
pub(super) fn kind_of<'a>(entry: &View<'a>) -> (&'a str, Option<View<'a>>) {
    match entry.get("typed_config").map(|config| unwrapped(&config)) {
        Some((kind, config, _)) => (short(kind), Some(config)),
        None => (short(entry.word("name")), None),
    }
}
