//! What a route has a `header_mutation` filter change, beside what the filter does everywhere.

use super::routes::{self, Names};
use super::view::View;
use super::{Look, rules, trailers};

pub(super) const PER_ROUTE: &str =
    "envoy.extensions.filters.http.header_mutation.v3.HeaderMutationPerRoute";

const OF_TRAILERS: &str = "request_trailers_mutations";
/// All that is of requests.
const OF_REQUESTS: &[&str] = &["request_mutations", "query_parameter_mutations", OF_TRAILERS];

/// Judges what the filter of a name does for a route.
pub(super) fn of_route(name: &str, config: &View<'_>, names: &Names<'_>, look: &mut Look<'_>) {
    let Some(mutations) = config.get("mutations") else { return };
    let before = names.before.contains(&name);
    let mut other = None;
    for kind in OF_REQUESTS {
        let of_trailers = *kind == OF_TRAILERS;
        for mutation in mutations.list(kind) {
            if of_trailers && trailers::is_removal(&mutation) {
                continue;
            }
            // What is set before the decision, Stagedoor sets anew.
            let key = mutation.at(&["append", "header", "key"]);
            let key = key.filter(|_| !before && !of_trailers);
            if !key.is_some_and(|key| routes::sets_identity(&key, look)) {
                other = other.or(Some(mutation));
            }
        }
    }
    let Some(other) = other else { return };
    let (rule, place) =
        if before { (&rules::FILTER_BEFORE, "before") } else { (&rules::FILTER_AFTER, "behind") };
    let message = format!("`header_mutation` changes requests here, {place} ext_authz");
    look.flag(rule, &other, message);
}
