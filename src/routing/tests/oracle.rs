//! The documented rule, as naively as it can be written: every pair of patterns of
//! every route is tried on texts, and the winner is found by comparing all that
//! match with each other. Shares no code with the table.

use crate::routing::RouteSettings;

/// The name of the route that lets the request have a target, if any.
pub(super) fn decide(
    routes: &[RouteSettings],
    method: &str,
    host: &str,
    path: &str,
) -> Option<String> {
    let literal = pattern_of(routes, host, path)?;
    if path.contains(';') {
        let bare: Vec<&str> =
            path.split('/').map(|segment| segment.split(';').next().unwrap()).collect();
        if pattern_of(routes, host, &bare.join("/"))? != literal {
            return None;
        }
    }
    let (host_pattern, path_pattern) = literal;
    let of_patterns = |route: &&RouteSettings| {
        route.hosts.iter().any(|pattern| anonymous(pattern) == host_pattern)
            && route.paths.iter().any(|pattern| anonymous(pattern) == path_pattern)
    };
    let listing = routes.iter().filter(of_patterns).find(|r| r.methods.iter().any(|m| m == method));
    let route =
        listing.or_else(|| routes.iter().filter(of_patterns).find(|r| r.methods.is_empty()))?;
    (route.allow_path_parameters || !path.contains(';')).then(|| route.name.clone())
}

/// The best host pattern, and the best path pattern of its routes.
fn pattern_of(routes: &[RouteSettings], host: &str, path: &str) -> Option<(String, String)> {
    let hosts = routes.iter().flat_map(|route| &route.hosts).map(|text| anonymous(text));
    let best_host = hosts
        .filter(|pattern| host_matches(pattern, host))
        .reduce(|a, b| if host_beats(&b, &a) { b } else { a })?;
    let paths = routes
        .iter()
        .filter(|route| route.hosts.iter().any(|text| anonymous(text) == best_host))
        .flat_map(|route| &route.paths)
        .map(|text| anonymous(text));
    let best_path = paths
        .filter(|pattern| path_matches(pattern, path))
        .reduce(|a, b| if path_beats(&b, &a) { b } else { a })?;
    Some((best_host, best_path))
}

/// A pattern with `{}` for every placeholder.
fn anonymous(pattern: &str) -> String {
    let mut out = String::new();
    let mut inside = false;
    for c in pattern.chars() {
        inside &= c != '}';
        if !inside {
            out.push(c);
        }
        inside |= c == '{';
    }
    out
}

fn host_matches(pattern: &str, host: &str) -> bool {
    let address = host.starts_with('[') || host.ends_with(|c: char| c.is_ascii_digit());
    if pattern == host || pattern == "*" {
        return true;
    }
    if address {
        return false;
    }
    if let Some(suffix) = pattern.strip_prefix('*') {
        return host.ends_with(suffix);
    }
    let pattern: Vec<&str> = pattern.split('.').collect();
    let host: Vec<&str> = host.split('.').collect();
    pattern.len() == host.len() && pattern.iter().zip(host).all(|(p, h)| *p == "{}" || *p == h)
}

fn host_beats(a: &str, b: &str) -> bool {
    let class = |text: &str| match text {
        "*" => 0,
        _ if text.starts_with('*') => 1,
        _ if text.contains('{') => 2,
        _ => 3,
    };
    if class(a) != class(b) {
        return class(a) > class(b);
    }
    if class(a) == 1 {
        return a.len() > b.len();
    }
    let placeholders = |text: &str| text.matches("{}").count();
    if placeholders(a) != placeholders(b) {
        return placeholders(a) < placeholders(b);
    }
    for (a, b) in a.rsplit('.').zip(b.rsplit('.')) {
        if (a == "{}") != (b == "{}") {
            return b == "{}";
        }
    }
    false
}

/// `/a/b$` is `["a", "b"]` and true.
fn path_parts(pattern: &str) -> (Vec<&str>, bool) {
    match pattern.strip_suffix('$') {
        Some(exact) => (exact.split('/').skip(1).collect(), true),
        None if pattern == "/" => (Vec::new(), false),
        None => (pattern.split('/').skip(1).collect(), false),
    }
}

fn path_matches(pattern: &str, path: &str) -> bool {
    let (parts, exact) = path_parts(pattern);
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let fits = |(part, segment): (&&str, &&str)| {
        if *part == "{}" { !segment.is_empty() } else { part == segment }
    };
    segments.len() >= parts.len()
        && (!exact || segments.len() == parts.len())
        && parts.iter().zip(&segments).all(fits)
}

fn path_beats(a: &str, b: &str) -> bool {
    let ((a, a_exact), (b, b_exact)) = (path_parts(a), path_parts(b));
    for at in 0.. {
        match (a.get(at), b.get(at)) {
            (Some(a), Some(b)) if (*a == "{}") == (*b == "{}") => {}
            (Some(a), Some(_)) => return *a != "{}",
            (Some(_), None) => return true,
            (None, Some(_)) => return false,
            (None, None) => return a_exact && !b_exact,
        }
    }
    false
}
