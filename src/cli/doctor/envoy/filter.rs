//! The ext_authz filter's own settings.

use super::cluster::Clusters;
use super::view::View;
use super::{Look, rules};

/// What Envoy waits where nothing is given.
const DEFAULT_TIMEOUT_MS: u64 = 200;
/// Istio's own filter, on whose result its condition rests.
const ISTIO_CONDITION: &str = "envoy.filters.http.rbac";
const NOT_VALIDATED: &str = "what Stagedoor sets is not validated";
const NOT_RAW: &str = "headers are not sent byte for byte";

/// A filter that is given whole: what is missing counts as well.
pub(super) fn whole(filter: &View<'_>, clusters: Option<&Clusters<'_>>, look: &mut Look<'_>) {
    if filter.get("validate_mutations").is_none() {
        look.flag(&rules::VALIDATE_MUTATIONS, filter, NOT_VALIDATED);
    }
    match filter.get("grpc_service") {
        Some(service) => {
            if filter.get("encode_raw_headers").is_none() {
                look.flag(&rules::RAW_HEADERS, filter, NOT_RAW);
            }
            grpc_service(&service, clusters, look);
        }
        None => {
            if let Some(service) = filter.get("http_service") {
                http_service(&service, clusters, look);
            } else {
                look.flag(&rules::NOT_SEEN, filter, "names no service that is asked");
            }
        }
    }
    if filter.at(&["status_on_error", "code"]).is_none() {
        let message = "a Stagedoor that can't be asked is told as 403";
        look.flag(&rules::STATUS_ON_ERROR, filter, message);
    }
    given(filter, look);
}

/// What is wrong wherever it is written, in a whole filter and in a patch of one.
pub(super) fn given(filter: &View<'_>, look: &mut Look<'_>) {
    if let Some(off) = filter.get("validate_mutations")
        && !filter.is_on("validate_mutations")
    {
        look.flag(&rules::VALIDATE_MUTATIONS, &off, NOT_VALIDATED);
    }
    // Over HTTP headers are sent as they are.
    if let Some(off) = filter.get("encode_raw_headers")
        && !filter.is_on("encode_raw_headers")
        && filter.get("http_service").is_none()
    {
        look.flag(&rules::RAW_HEADERS, &off, NOT_RAW);
    }
    if let Some(code) = filter.at(&["status_on_error", "code"]) {
        status(&code, look);
    }
    if let Some(allow) = filter.may_be_on("failure_mode_allow") {
        let message = "requests pass while Stagedoor can't be asked";
        look.flag(&rules::FAILURE_MODE_ALLOW, &allow, message);
    }
    if let Some(clear) = filter.may_be_on("clear_route_cache") {
        look.flag(&rules::CLEAR_ROUTE_CACHE, &clear, "the route is chosen again");
    }
    if let Some(shadow) = filter.may_be_on("shadow_mode") {
        look.flag(&rules::SHADOW_MODE, &shadow, "decisions are not enforced");
    }
    if let Some(body) = filter.get("with_request_body") {
        look.flag(&rules::REQUEST_BODY, &body, "request bodies are held back and sent");
    }
    sent_headers(filter, look);
    enabled(filter, look);
    if let Some(limits) = filter.get("decoder_header_mutation_rules") {
        let limited = ["disallow_all", "disallow_expression"];
        if limited.iter().any(|name| limits.may_be_on(name).is_some()) {
            let message = "what Stagedoor may set and remove is limited";
            look.flag(&rules::HEADERS_NOT_COVERED, &limits, message);
        }
    }
}

fn sent_headers(filter: &View<'_>, look: &mut Look<'_>) {
    // A service that is asked over HTTP gets the header in any case.
    let http = filter.get("http_service").is_some();
    if let Some(allowed) = filter.get("allowed_headers")
        && !http
        && !allowed.list("patterns").iter().any(|pattern| matches(pattern, "authorization", true))
    {
        let message = "`authorization` is not among the headers that are sent";
        look.flag(&rules::AUTHORIZATION_NOT_SENT, &allowed, message);
    }
    if let Some(held) = filter.get("disallowed_headers")
        && held.list("patterns").iter().any(|pattern| matches(pattern, "authorization", false))
    {
        let message = "`authorization` is among the headers that are not sent";
        look.flag(&rules::AUTHORIZATION_NOT_SENT, &held, message);
    }
}

/// What decides that some requests are not asked about.
fn enabled(filter: &View<'_>, look: &mut Look<'_>) {
    let denied_otherwise =
        filter.get("deny_at_disable").is_some_and(|flag| flag.is_on("default_value"));
    if let Some(enabled) = filter.get("filter_enabled")
        && !denied_otherwise
    {
        let share = enabled.get("default_value");
        if share.as_ref().and_then(fraction).is_none_or(|fraction| fraction < 1.0) {
            let message = "only a part of the requests is asked about";
            look.flag(&rules::FILTER_FRACTION, &enabled, message);
        } else if !enabled.word("runtime_key").is_empty() {
            let message = "a runtime setting can switch the filter off";
            look.flag(&rules::FILTER_CONDITIONAL, &enabled, message);
        }
    }
    if let Some(condition) = filter.get("filter_enabled_metadata")
        && condition.word("filter") != ISTIO_CONDITION
    {
        let message = "metadata decides whether a request is asked about";
        look.flag(&rules::FILTER_CONDITIONAL, &condition, message);
    }
}

/// A `FractionalPercent`; nothing where it can't be read.
fn fraction(share: &View<'_>) -> Option<f64> {
    let numerator = share.get("numerator").map_or(Some(0.0), |number| number.number())?;
    let denominator = match share.get("denominator") {
        None => 100.0,
        Some(kind) if kind.is_one_of(&[("HUNDRED", 0.0)]) => 100.0,
        Some(kind) if kind.is_one_of(&[("TEN_THOUSAND", 1.0)]) => 10_000.0,
        Some(kind) if kind.is_one_of(&[("MILLION", 2.0)]) => 1_000_000.0,
        Some(_) => return None,
    };
    Some(numerator / denominator)
}

/// Who is asked over gRPC, and for how long.
pub(super) fn grpc_service(
    service: &View<'_>,
    clusters: Option<&Clusters<'_>>,
    look: &mut Look<'_>,
) {
    timeout(service, look);
    let Some(clusters) = clusters else { return };
    if let Some(cluster) = service.at(&["envoy_grpc", "cluster_name"]) {
        clusters.look(&cluster, look);
    } else if let Some(google) = service.get("google_grpc") {
        clusters.look_google(&google, look);
    } else {
        look.flag(&rules::NOT_SEEN, service, "names no cluster that is asked");
    }
}

/// Who is asked over HTTP, and what of the answer is used.
pub(super) fn http_service(
    service: &View<'_>,
    clusters: Option<&Clusters<'_>>,
    look: &mut Look<'_>,
) {
    match service.get("server_uri") {
        Some(server) => {
            timeout(&server, look);
            match (server.get("cluster"), clusters) {
                (Some(cluster), Some(clusters)) => clusters.look(&cluster, look),
                (Some(_), None) => {}
                (None, _) => look.flag(&rules::NOT_SEEN, &server, "names no cluster that is asked"),
            }
        }
        None => look.flag(&rules::NOT_SEEN, service, "names no cluster that is asked"),
    }
    let allowed = service.at(&["authorization_response", "allowed_upstream_headers"]);
    let patterns = allowed.as_ref().map(|list| list.list("patterns")).unwrap_or_default();
    let uncovered = |name: &&String| !patterns.iter().any(|pattern| matches(pattern, name, false));
    let missing: Vec<&str> = look.own.headers.iter().filter(uncovered).map(|s| &**s).collect();
    if !missing.is_empty() {
        let message = format!("the client's own `{}` pass", missing.join("`, `"));
        look.flag(&rules::HEADERS_NOT_COVERED, allowed.as_ref().unwrap_or(service), message);
    }
}

/// A `timeout` beside Stagedoor's own deadline.
pub(super) fn timeout(service: &View<'_>, look: &mut Look<'_>) {
    let deadline = look.own.deadline;
    let Some(timeout) = service.get("timeout") else {
        if deadline.as_millis() >= u128::from(DEFAULT_TIMEOUT_MS) {
            let message = format!("{DEFAULT_TIMEOUT_MS} ms by default, against {deadline:?}");
            look.flag(&rules::TIMEOUT, service, message);
        }
        return;
    };
    given_timeout(&timeout, look);
}

/// A timeout that is written down.
pub(super) fn given_timeout(timeout: &View<'_>, look: &mut Look<'_>) {
    let deadline = look.own.deadline;
    match timeout.duration() {
        // Nothing is no limit.
        Some(time) if time.is_zero() || time > deadline => {}
        Some(time) => {
            let message = format!("{time:?}, against Stagedoor's own {deadline:?}");
            look.flag(&rules::TIMEOUT, timeout, message);
        }
        None => {
            let message = format!("`{}` is no duration that can be read", timeout.shown());
            look.flag(&rules::TIMEOUT, timeout, message);
        }
    }
}

/// What a client gets where nobody could be asked.
pub(super) fn status(code: &View<'_>, look: &mut Look<'_>) {
    let number = code.number().or_else(|| {
        let known = [
            ("InternalServerError", 500.0),
            ("BadGateway", 502.0),
            ("ServiceUnavailable", 503.0),
            ("GatewayTimeout", 504.0),
        ];
        known.iter().find(|(name, _)| code.text() == Some(*name)).map(|(_, number)| *number)
    });
    if !number.is_some_and(|number| (500.0..600.0).contains(&number)) {
        let message = format!("a Stagedoor that can't be asked is told as `{}`", code.shown());
        look.flag(&rules::STATUS_ON_ERROR, code, message);
    }
}

/// Whether a `StringMatcher` matches a name in lower case. `unknown` is the answer for what
/// is not decided here: regular expressions.
pub(super) fn matches(pattern: &View<'_>, name: &str, unknown: bool) -> bool {
    let ignore_case = pattern.is_on("ignore_case");
    let given = |kind: &str| {
        pattern
            .get(kind)
            .and_then(|view| view.text())
            .map(|text| if ignore_case { text.to_ascii_lowercase() } else { text.to_owned() })
    };
    if let Some(text) = given("exact") {
        name == text
    } else if let Some(text) = given("prefix") {
        name.starts_with(&text)
    } else if let Some(text) = given("suffix") {
        name.ends_with(&text)
    } else if let Some(text) = given("contains") {
        name.contains(&text)
    } else {
        unknown
    }
}
