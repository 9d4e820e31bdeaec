//! Trailers of requests. They come after the decision, so nothing that Stagedoor sets takes the
//! place of what a client sends in them: a filter has to take them away.

use super::chain::{self, Placed};
use super::patches::{MANAGER_NAME, ROUTER, held, is_narrow};
use super::scope::Scope;
use super::view::View;
use super::{Look, filter, routes, rules};

/// The filter that can do it.
const KIND: &str = "header_mutation";

/// Flags filters of a connection manager, at their place, by which an identity header passes as
/// a trailer.
pub(super) fn look(
    manager: &View<'_>,
    place: (&View<'_>, &str),
    filters: &[Placed<'_>],
    look: &mut Look<'_>,
) {
    if has_none(manager) || routes::answers_itself(manager) {
        return;
    }
    let configs: Vec<&View<'_>> = filters.iter().filter_map(|one| one.always(KIND)).collect();
    let left = left(&look.own.headers, &configs);
    if !left.is_empty() {
        let left = left.join("`, `");
        let message = format!("no filter takes the trailers `{left}` of a request away");
        look.flag_member(&rules::REQUEST_TRAILERS, place, message);
    }
}

/// Whether clients speak HTTP/1.1 and nothing else, of which Envoy drops all trailers.
fn has_none(manager: &View<'_>) -> bool {
    let options = manager.get("http_protocol_options");
    let pass = options.is_some_and(|options| options.may_be_on("enable_trailers").is_some());
    !pass && manager.get("codec_type").is_some_and(|codec| codec.is_one_of(&[("HTTP1", 1.0)]))
}

/// The names of the filters that take any of these headers away, where they are trailers.
pub(super) fn takers<'a>(filters: &[Placed<'a>], headers: &[String]) -> Vec<&'a str> {
    let is_one = |one: &&Placed<'_>| one.always(KIND).is_some_and(|config| takes(config, headers));
    filters.iter().filter(is_one).map(|one| one.name).collect()
}

fn takes(config: &View<'_>, headers: &[String]) -> bool {
    left(headers, &[config]).len() < headers.len()
}

/// Those of these headers that `header_mutation` filters, all taken together, leave where they
/// are trailers.
fn left<'h>(headers: &'h [String], configs: &[&View<'_>]) -> Vec<&'h str> {
    let mutations: Vec<View<'_>> = configs
        .iter()
        .filter_map(|config| config.get("mutations"))
        .flat_map(|mutations| mutations.list("request_trailers_mutations"))
        .collect();
    let taken = |name: &str| mutations.iter().any(|mutation| removes(mutation, name));
    headers.iter().map(String::as_str).filter(|name| !taken(name)).collect()
}

fn removes(mutation: &View<'_>, name: &str) -> bool {
    if let Some(removed) = mutation.get("remove") {
        return removed.text().is_some_and(|text| text.eq_ignore_ascii_case(name));
    }
    let Some(matcher) = mutation.at(&["remove_on_match", "key_matcher"]) else { return false };
    match matcher.get("safe_regex") {
        Some(regex) => matches_whole(regex.word("regex"), name),
        None => filter::matches(&matcher, name, false),
    }
}

/// Whether a regular expression matches the whole of a name, for what needs no engine to be
/// read: a name, or the beginning of one. Of others it isn't known, and they don't count.
fn matches_whole(regex: &str, name: &str) -> bool {
    let regex = regex.strip_prefix('^').unwrap_or(regex);
    let regex = regex.strip_suffix('$').unwrap_or(regex);
    let is_plain = |text: &str| {
        text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    match (regex.strip_suffix(".*"), regex.strip_suffix(".+")) {
        (Some(start), _) => is_plain(start) && name.starts_with(start),
        (_, Some(start)) => is_plain(start) && name.starts_with(start) && name != start,
        (None, None) => is_plain(regex) && name == regex,
    }
}

/// Whether a filter takes trailers of requests away and does nothing else: they are no part of
/// what is decided about.
pub(super) fn only_takes(kind: &str, config: &View<'_>) -> bool {
    kind == KIND
        && has_only(config, &["@type", "mutations"])
        && config.get("mutations").is_some_and(|mutations| {
            has_only(&mutations, &["request_trailers_mutations", "requestTrailersMutations"])
                && mutations.list("request_trailers_mutations").iter().all(is_removal)
        })
}

/// Whether a mutation takes something away and does nothing else.
pub(super) fn is_removal(mutation: &View<'_>) -> bool {
    has_only(mutation, &["remove", "remove_on_match", "removeOnMatch"])
}

fn has_only(view: &View<'_>, known: &[&str]) -> bool {
    let members = view.members();
    !members.is_empty() && members.iter().all(|(name, _)| known.contains(name))
}

/// A patch: its object, and its place in that.
pub(super) type Place = (usize, usize);

/// Since when a filter that asks is there for patches to name it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Since {
    /// Istio put it in before any patch.
    Ever,
    /// This patch puts it in.
    Patch(Place),
    /// One does, and it isn't known which.
    Unknown,
}

impl Since {
    /// Whether it is there for sure when a patch takes effect. In which order whole
    /// `EnvoyFilter`s do isn't told in here.
    fn is_before(self, (object, at): Place) -> bool {
        match self {
            Self::Ever => true,
            Self::Patch((own, place)) => own == object && place < at,
            Self::Unknown => false,
        }
    }
}

/// The filters that `EnvoyFilter`s put in for every listener and request of their proxies.
pub(super) struct Takers<'a>(Vec<Taker<'a>>);

struct Taker<'a> {
    name: &'a str,
    config: View<'a>,
    /// The filter without which this one is put nowhere.
    beside: &'a str,
    place: Place,
    scope: Scope<'a>,
}

impl<'a> Takers<'a> {
    /// Of all patches, each with the object that it is in. Some put filters in that others
    /// deliver.
    pub(super) fn read(
        patches: &[(Place, &View<'a>, View<'a>)],
        delivered: &[View<'a>],
        root: &str,
    ) -> Self {
        let gone: Vec<(&str, Scope<'_>)> =
            patches.iter().filter_map(|(_, object, patch)| gone(object, patch)).collect();
        let stays = |taker: &Taker<'_>| {
            !gone.iter().any(|(name, scope)| *name == taker.name && scope.meets(&taker.scope, root))
        };
        let taker = |(place, object, patch): &(Place, &View<'a>, View<'a>)| {
            Taker::of(*place, object, patch, delivered)
        };
        Self(patches.iter().filter_map(taker).filter(stays).collect())
    }

    /// The names of those that take any of these headers away.
    pub(super) fn names(&self, headers: &[String]) -> Vec<&'a str> {
        let takers = self.0.iter().filter(|taker| takes(&taker.config, headers));
        takers.map(|taker| taker.name).collect()
    }

    /// Those of these headers that nobody takes away where a filter of this name asks.
    pub(super) fn left<'h>(
        &self,
        headers: &'h [String],
        (authorizer, since): (&str, Since),
        reaches: impl Fn(&Scope<'a>) -> bool,
    ) -> Vec<&'h str> {
        let there = |taker: &&Taker<'a>| {
            taker.beside == ROUTER || (taker.beside == authorizer && since.is_before(taker.place))
        };
        let takers = self.0.iter().filter(there).filter(|taker| reaches(&taker.scope));
        let configs: Vec<&View<'_>> = takers.map(|taker| &taker.config).collect();
        left(headers, &configs)
    }
}

impl<'a> Taker<'a> {
    fn of(
        place: Place,
        object: &View<'a>,
        patch: &View<'a>,
        delivered: &[View<'a>],
    ) -> Option<Self> {
        if patch.word("applyTo") != "HTTP_FILTER" || is_narrow(patch) {
            return None;
        }
        // No other network filter has HTTP filters.
        let within = patch.at(&["match", "listener", "filterChain", "filter"]);
        if within.is_some_and(|filter| !matches!(filter.word("name"), "" | MANAGER_NAME)) {
            return None;
        }
        let beside = beside(&patch.at(&["patch", "operation"])?.shown(), sub_filter(patch))?;
        let value = patch.at(&["patch", "value"])?;
        let held = held(&value, delivered)?;
        let always = !chain::is_matched(&held) && value.may_be_on("disabled").is_none();
        let (kind, config) = chain::kind_of(&held);
        let config = config.filter(|_| always && kind == KIND)?;
        Some(Self {
            name: value.word("name"),
            config,
            beside,
            place,
            scope: Scope::of_patch(object, patch),
        })
    }
}

/// The filter that a patch removes or has another one take the place of, and for whom.
fn gone<'a>(object: &View<'a>, patch: &View<'a>) -> Option<(&'a str, Scope<'a>)> {
    let operation = patch.at(&["patch", "operation"])?.shown();
    let ends = matches!(operation.as_str(), "REMOVE" | "REPLACE");
    if !ends || patch.word("applyTo") != "HTTP_FILTER" {
        return None;
    }
    Some((sub_filter(patch)?, Scope::of_patch(object, patch)))
}

/// The HTTP filter that a patch names.
fn sub_filter<'a>(patch: &View<'a>) -> Option<&'a str> {
    patch.at(&["match", "listener", "filterChain", "filter", "subFilter", "name"])?.text()
}

/// The filter beside which a patch puts another one before the router, which itself is always
/// there; nothing where it does not put it before the router, or not for sure.
fn beside<'a>(operation: &str, named: Option<&'a str>) -> Option<&'a str> {
    match (operation, named) {
        // It comes first, whatever filter is named.
        ("INSERT_FIRST", _) | ("INSERT_BEFORE", None) => Some(ROUTER),
        // Behind the router nothing takes effect.
        ("INSERT_AFTER", Some(ROUTER)) => None,
        ("INSERT_BEFORE" | "INSERT_AFTER", named) => named,
        _ => None,
    }
}
