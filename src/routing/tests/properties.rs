//! What holds for any table and any request.

use proptest::prelude::*;

use super::*;

/// Hosts and paths from few labels and segments, so that patterns often overlap.
fn host_pattern() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("*".to_owned()),
        "(a|b)(\\.(a|b)){0,2}",
        "\\*(\\.(a|b)){1,2}",
        "(a|\\{h\\})(\\.(b|\\{i\\})){0,1}(\\.(a|\\{j\\})){0,1}",
        Just("10.0.0.1".to_owned()),
    ]
}

fn path_pattern() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("/".to_owned()),
        Just("/$".to_owned()),
        "/(a|b|\\{p\\})(/(a|b|\\{q\\})){0,1}(/(a|b:|\\{r\\})){0,1}\\$?",
        "/(a|b)/\\$",
    ]
}

fn some_route() -> impl Strategy<Value = RouteSettings> {
    (
        prop::collection::vec(host_pattern(), 1..3),
        prop::collection::vec(path_pattern(), 1..3),
        prop::sample::subsequence(vec!["GET", "POST", "PURGE"], 0..3),
        any::<bool>(),
    )
        .prop_map(|(hosts, paths, methods, allow)| RouteSettings {
            hosts,
            paths,
            allow_path_parameters: allow,
            ..route("", &[], &[], &methods)
        })
}

/// A table without mistakes: of the routes, those that can stand with the ones
/// before them.
fn some_table() -> impl Strategy<Value = (Vec<RouteSettings>, RouteTable)> {
    prop::collection::vec(some_route(), 0..10).prop_map(|candidates| {
        let mut routes = Vec::new();
        let mut table = RouteTable::default();
        for (at, mut candidate) in candidates.into_iter().enumerate() {
            candidate.name = format!("r{at}");
            routes.push(candidate);
            match RouteTable::build(routes.clone()) {
                Ok(built) => table = built,
                Err(_) => drop(routes.pop()),
            }
        }
        (routes, table)
    })
}

fn some_host() -> impl Strategy<Value = String> {
    prop_oneof![9 => "(a|b|c)(\\.(a|b|c)){0,3}", 1 => "10\\.0\\.0\\.[12]"]
}

fn some_path() -> impl Strategy<Value = String> {
    "(/|(/(a|b|c|b:)(;a)?){0,4}(/(a|b)?))"
}

/// All spellings of a text that differ from it in one place.
fn respellings(path: &str) -> Vec<String> {
    let mut out = vec![path.to_ascii_uppercase(), path.to_ascii_lowercase()];
    for (at, c) in path.char_indices() {
        let (before, rest) = path.split_at(at);
        let after = rest.strip_prefix(c).unwrap();
        for escaped in [
            format!("%{:02x}", u32::from(c)),
            format!("%{:02X}", u32::from(c)),
            format!("%25{:02x}", u32::from(c)),
            format!("%u{:04x}", u32::from(c)),
        ] {
            out.push(format!("{before}{escaped}{after}"));
        }
        let flipped =
            if c.is_ascii_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() };
        out.push(format!("{before}{flipped}{after}"));
        if c == '/' {
            for inserted in
                ["//", "/./", "/x/../", "/.;/", "/..;/", "/;/", "/;x/", "\\", "/\\", "%5c"]
            {
                out.push(format!("{before}{inserted}{after}"));
            }
            for ending in [";", ";x", ";x=y", "%3bx", "%00", "%09", "%20", "#", "%23", "%3f"] {
                out.push(format!("{before}{ending}/{after}"));
            }
        }
    }
    for ending in
        ["/", "/.", "/..", ";", ";x", "%3b", "%00", "%0a", "%20", "#x", "%23", "%3f", "?x"]
    {
        out.push(format!("{path}{ending}"));
    }
    out
}

/// What a backend that decodes, drops parameters, merges slashes and removes dot
/// segments serves, and one that ignores nothing of it but decodes.
fn servings(path: &str) -> [String; 2] {
    let path = path.split(['?', '#']).next().unwrap();
    let mut bytes = Vec::new();
    let mut rest = path.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let digits = tail.get(..2).and_then(|digits| str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(decoded) if byte == b'%' => {
                bytes.push(decoded);
                rest = &tail[2..];
            }
            _ => {
                bytes.push(byte);
                rest = tail;
            }
        }
    }
    let decoded = String::from_utf8_lossy(&bytes).replace('\\', "/");
    let mut simple: Vec<&str> = Vec::new();
    for segment in decoded.split('/').map(|segment| segment.split(';').next().unwrap()) {
        match segment {
            "" | "." => {}
            ".." => drop(simple.pop()),
            name => simple.push(name),
        }
    }
    [simple.join("/"), decoded]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn the_table_is_the_rule(
        (routes, table) in some_table(),
        requests in prop::collection::vec((some_host(), some_path()), 1..20),
    ) {
        for (host, path) in &requests {
            for method in ["GET", "POST", "PURGE", "get"] {
                let request = Request { method, host, path, ..Request::default() };
                let want = oracle::decide(&routes, method, host, path);
                let found = ask(&table, &request);
                prop_assert_eq!(found, want.ok_or(Reason::NoRoute), "{} {}{}", method, host, path);
            }
        }
    }

    #[test]
    fn the_order_of_routes_means_nothing(
        (routes, table) in some_table(),
        requests in prop::collection::vec((some_host(), some_path()), 1..10),
    ) {
        let reversed = RouteTable::build(routes.into_iter().rev().collect()).unwrap();
        for (host, path) in &requests {
            let request = Request { method: "GET", host, path, ..Request::default() };
            prop_assert_eq!(ask(&table, &request), ask(&reversed, &request));
        }
    }

    /// A respelling of an accepted path is refused, goes where the path goes, or
    /// is another path to every backend. (Final slashes aside: which of the two a
    /// route means is said by prefix or `$`.)
    #[test]
    fn no_other_spelling_goes_elsewhere(
        (_, table) in some_table(),
        host in some_host(),
        path in "(/(a|b|c|b:|%20|%C3%A9)(;a)?){1,4}",
    ) {
        let original = request_to(&host, &path);
        let want = ask(&table, &original);
        for other in respellings(&path) {
            let found = ask(&table, &request_to(&host, &other));
            if found == want || matches!(found, Err(Reason::NoRoute | Reason::PathNotCanonical)) {
                continue;
            }
            let [a, b] = [servings(&path), servings(&other)];
            prop_assert!(
                a[0] != b[0] || other == format!("{path}/"),
                "{}: {:?}; {}: {:?}", path, want, other, found
            );
            prop_assert_ne!(&a[1], &b[1], "{} {}", path, other);
        }
    }
}

fn request_to<'a>(host: &'a str, path: &'a str) -> Request<'a> {
    Request { method: "GET", host, path, ..Request::default() }
}
