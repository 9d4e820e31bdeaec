//! Which configurations of an Envoy let trailers of requests pass.

use super::*;

/// Whether anything but trailers that pass is found, and whether they do.
fn trailers_pass(text: &str) -> bool {
    let found = found(text);
    let pass =
        matches!(found.as_slice(), [("request_trailers", _, at)] if at.ends_with(".http_filters"));
    assert!(pass || found.is_empty(), "{text}: {found:?}");
    pass
}

/// Only what takes each identity header away counts.
#[test]
fn what_takes_trailers_away() {
    let matching = |matcher: &str| format!("- remove_on_match: {{ key_matcher: {{ {matcher} }} }}");
    let regex = |regex: &str| matching(&format!("safe_regex: {{ regex: \"{regex}\" }}"));
    let exact = ["subject", "tenant", "kind", "entity", "decision-id"];
    let exact = exact.map(|name| format!("- remove: X-Stagedoor-{name}"));
    let exact: Vec<&str> = exact.iter().map(String::as_str).collect();
    let half = [exact[0], exact[1]];
    for (mutation, pass) in [
        (matching("prefix: x-stagedoor-"), false),
        (matching("prefix: x-stagedoor-s"), true),
        // Envoy compares with names in lower case.
        (matching("prefix: X-Stagedoor-"), true),
        (matching("prefix: X-Stagedoor-, ignore_case: true"), false),
        (matching("contains: stagedoor"), false),
        (matching("exact: x-stagedoor-subject"), true),
        ("- removeOnMatch: { keyMatcher: { safeRegex: { regex: .+ } } }".to_owned(), false),
        (regex("^.*$"), false),
        (regex("x-stagedoor-.*"), false),
        (regex("x-stagedoor-.+"), false),
        (regex("x-stagedoor-subject.*"), true),
        // The whole of a name is matched.
        (regex("x-stagedoor-"), true),
        // What isn't known to match doesn't count.
        (regex("x-(stagedoor|other)-.*"), true),
        (regex("[^x].*"), true),
        (mutations(&exact), false),
        (mutations(&half), true),
        (mutations(&[exact.as_slice(), &["- remove: x-other"]].concat()), false),
    ] {
        assert_eq!(trailers_pass(&with(TCP, AWAY, &mutation)), pass, "{mutation}");
    }
    // Several filters can do it together, wherever they stand.
    let rest: Vec<String> =
        exact[2..].iter().map(|one| one.replacen("- ", "{ ", 1) + " }").collect();
    let more = format!(
        "{MUTATION}                      mutations: {{ request_trailers_mutations: [{}] }}\n",
        rest.join(", ")
    );
    let some = with(TCP, AWAY, &mutations(&half));
    assert!(trailers_pass(&some));
    for place in [AUTHZ, TAKER, ROUTER] {
        assert!(!trailers_pass(&with(&some, place, &format!("{more}{place}"))), "{place}");
    }
}

/// A filter that doesn't run for every request counts for none.
#[test]
fn what_takes_trailers_away_does_so_always() {
    assert!(trailers_pass(&behind(TCP, TAKER, 20, "disabled: true\n")));
    assert!(!trailers_pass(&behind(TCP, TAKER, 20, "disabled: false\n")));
    let given = "                    typed_config:\n                      \"@type\": type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutation\n                      mutations:\n                        request_trailers_mutations:\n";
    let flow = with(TCP, &format!("{given}                          {AWAY}\n"), "");
    let taker = "{ \"@type\": type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutation, mutations: { request_trailers_mutations: [{ remove_on_match: { key_matcher: { safe_regex: { regex: \".*\" } } } }] } }";
    let plain = behind(&flow, TAKER, 20, &format!("typed_config: {taker}\n"));
    assert!(!trailers_pass(&plain));
    let matched = format!(
        "typed_config: {{ \"@type\": type.googleapis.com/envoy.extensions.common.matching.v3.ExtensionWithMatcher, extension_config: {{ name: a, typed_config: {taker} }} }}\n"
    );
    assert!(trailers_pass(&behind(&flow, TAKER, 20, &matched)));
}

/// Where no trailers can come or go, none have to be taken away.
#[test]
fn where_no_trailers_pass() {
    let open = with(TCP, AWAY, "- remove: x-other");
    let manager = |members: &str| behind(&open, "stat_prefix: front\n", 16, members);
    for (members, pass) in [
        ("codec_type: HTTP1\n", false),
        ("codec_type: 1\n", false),
        ("codec_type: AUTO\n", true),
        ("codec_type: HTTP2\n", true),
        (
            "codec_type: HTTP1\n                http_protocol_options: { enable_trailers: false }\n",
            false,
        ),
        (
            "codec_type: HTTP1\n                http_protocol_options: { enable_trailers: true }\n",
            true,
        ),
        ("http_protocol_options: { enable_trailers: false }\n", true),
    ] {
        assert_eq!(trailers_pass(&manager(members)), pass, "{members}");
    }
    // Nor where no service gets a request.
    let redirects = open.replace(
        "\n                          route: { cluster: service }",
        "\n                          redirect: { https_redirect: true }",
    );
    assert_ne!(redirects, open);
    assert!(!trailers_pass(&redirects));
}

/// Each connection manager is judged by its own filters, whoever configured it.
#[test]
fn each_connection_manager_takes_its_trailers_away() {
    let mut dump = yaml::parse(DUMP).unwrap().remove(0).to_json();
    let listeners = &mut dump["configs"][2];
    let listener = &mut listeners["dynamic_listeners"][0]["active_state"]["listener"];
    let chains = listener["filter_chains"].as_array_mut().unwrap();
    let mut open = chains[0].clone();
    let filters = open["filters"][0]["typed_config"]["http_filters"].as_array_mut().unwrap();
    filters.remove(1);
    chains.push(open);
    let listener = listener.clone();
    listeners["static_listeners"] = serde_json::json!([{ "listener": listener }]);
    let found = found(&dump.to_string());
    let way = "listener.filter_chains[1].filters[0].typed_config.http_filters";
    let expected = [
        format!("configs[2].static_listeners[0].{way}"),
        format!("configs[2].dynamic_listeners[0].active_state.{way}"),
    ];
    let places: Vec<String> = found
        .into_iter()
        .map(|(code, _, place)| {
            assert_eq!(code, "request_trailers");
            place
        })
        .collect();
    assert_eq!(places, expected);
}
