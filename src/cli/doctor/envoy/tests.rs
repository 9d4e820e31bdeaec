//! One row for each rule: a shipped configuration with one thing changed. What is Istio's and
//! Envoy Gateway's alone, and what is about trailers, is in files of its own.

mod gateway;
mod istio;
mod trailers;

use std::collections::BTreeSet;
use std::time::Duration;

use self::istio::{ASKS, TAKES_TRAILERS as TAKES};
use super::*;
use crate::yaml;

const TCP: &str = include_str!("../../../../envoy/tcp.yaml");
const UNIX: &str = include_str!("../../../../envoy/unix.yaml");
const DOCS: &str = include_str!("../../../../docs/envoy.md");

/// A code, a part of the place, and a configuration.
type Row = (&'static str, &'static str, String);

/// What is put before or behind a line of the shipped configurations, at its depth.
const FILTER: &str = "                      transport_api_version: V3\n";
const AUTHZ: &str = "                  - name: envoy.filters.http.ext_authz\n";
const ROUTER: &str = "                  - name: envoy.filters.http.router\n";
const HOST: &str = "                      domains: [\"*\"]\n";
const REST: &str = "                          match: { prefix: / }\n";
const ADMIN: &str = "                              check_settings:\n";
const CLUSTER: &str = "    - name: stagedoor\n      type: STATIC\n";
const UPSTREAM: &str = "          explicit_http_config:\n";
const LUA: &str = "                  - name: rewrite\n                    typed_config:\n                      \"@type\": type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua\n";
const OFF: &str = "typed_per_filter_config: { envoy.filters.http.ext_authz: { \"@type\": type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute, disabled: true } }\n";
const OFF_FOR_ANY: &str = "typed_per_filter_config: { envoy.filters.http.ext_authz: { \"@type\": type.googleapis.com/envoy.config.route.v3.FilterConfig, disabled: true } }\n";
/// The same in a wrapper that any filter has.
const OFF_WITHIN: &str = "typed_per_filter_config: { envoy.filters.http.ext_authz: { \"@type\": type.googleapis.com/envoy.config.route.v3.FilterConfig, config: { \"@type\": type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute, disabled: true } } }\n";
/// The filter that takes trailers away, and how.
const TAKER: &str = "                  - name: envoy.filters.http.header_mutation\n";
const AWAY: &str = "- remove_on_match: { key_matcher: { safe_regex: { regex: \".*\" } } }";
/// The same filter for another configuration, which comes behind it.
const MUTATION: &str = "                  - name: more\n                    typed_config:\n                      \"@type\": type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutation\n";
/// What it does for a route.
const FOR_ROUTE: &str = "\"@type\": type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutationPerRoute, mutations:";
const GRPC: &str = "envoy_grpc: { cluster_name: stagedoor }";
const NEAR: &str = "address: 127.0.0.1, port_value: 9191";
const FAR: &str = "address: 10.0.0.9, port_value: 9191";
const TLS: &str =
    "\"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext";
const NAMED: &str =
    "request_headers_to_add: [{ header: { key: X-Stagedoor-Subject, value: root } }]\n";
const LOOK_ALIKE: &str =
    "request_headers_to_add: [{ header: { key: x-stagedoor_subject, value: root } }]\n";

/// The same by a mutation.
const SETS: &str = "{ append: { header: { key: X-Stagedoor-Subject, value: root } } }";

/// Filters as they stand in a list.
const LAST: &str = "name: envoy.filters.http.router";
const CORS: &str = "name: envoy.filters.http.cors";

fn input(text: &str) -> Input {
    Input::of("test", yaml::parse(text).unwrap())
}

fn own() -> Own {
    Own::of(None).unwrap()
}

fn found(text: &str) -> Vec<(&'static str, Option<usize>, String)> {
    let mut report = Report::default();
    look(&input(text), own(), &mut report).unwrap();
    report.codes()
}

fn assert_nothing(found: &[(&'static str, Option<usize>, String)]) {
    assert!(found.is_empty(), "{found:?}");
}

fn error(text: &str) -> String {
    look(&input(text), own(), &mut Report::default()).unwrap_err().to_string()
}

/// Puts `new` in the place of `old`, which must stand there once.
fn with(text: &str, old: &str, new: &str) -> String {
    assert_eq!(text.matches(old).count(), 1, "{old}");
    text.replace(old, new)
}

/// Puts a member behind a line, at a depth.
fn behind(text: &str, line: &str, depth: usize, member: &str) -> String {
    with(text, line, &format!("{line}{}{member}", " ".repeat(depth)))
}

/// A list of mutations in the place of the shipped one.
fn mutations(list: &[&str]) -> String {
    list.join(&format!("\n{}", " ".repeat(26)))
}

/// What a route has a `header_mutation` filter of a name do.
fn mutated(name: &str, mutations: &str) -> String {
    format!("typed_per_filter_config: {{ {name}: {{ {FOR_ROUTE} {{ {mutations} }} }} }}\n")
}

/// The same in a wrapper that any filter has, with more of that.
fn mutated_within(mutations: &str, more: &str) -> String {
    format!(
        "typed_per_filter_config: {{ a: {{ \"@type\": type.googleapis.com/envoy.config.route.v3.FilterConfig{more}, config: {{ {FOR_ROUTE} {{ {mutations} }} }} }} }}\n"
    )
}

/// A WebSocket with filters of its own.
fn upgraded(more: &str, filters: &[&str]) -> String {
    let filters = filters.join(" }, { ");
    let upgrade = format!(
        "upgrade_configs: [{{ upgrade_type: websocket, {more}filters: [{{ {filters} }}] }}]\n"
    );
    behind(TCP, "stat_prefix: front\n", 16, &upgrade)
}

/// Each rule with configurations that break it and no other, and a part of the place.
#[test]
fn each_rule_finds_what_it_is_for() {
    let filter = |member: &str| behind(TCP, FILTER, 22, &format!("{member}\n"));
    let cluster = |member: &str| behind(TCP, CLUSTER, 6, &format!("{member}\n"));
    let tls =
        |more: &str| format!("transport_socket: {{ name: tls, typed_config: {{ {TLS}{more} }} }}");
    let own_asks = with(ASKS, "name: envoy.filters.http.ext_authz", "name: own");
    let plain = "transport_socket: { name: raw, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer } }";
    let mut rows: Vec<Row> = vec![
        (
            "failure_mode_allow",
            "http_filters[0].typed_config.failure_mode_allow",
            with(TCP, "failure_mode_allow: false", "failure_mode_allow: true"),
        ),
        (
            "failure_mode_allow",
            "failureModeAllow",
            with(TCP, "failure_mode_allow: false", "failureModeAllow: true"),
        ),
        (
            "filter_missing",
            "filters[0].typed_config.http_filters",
            with(TCP, &format!("ext_authz.v3.ExtAuthz\n{FILTER}"), "rbac.v3.RBAC\n"),
        ),
        // A matcher around nothing.
        (
            "filter_missing",
            "filters[0].typed_config.http_filters",
            with(
                TCP,
                "envoy.extensions.filters.http.ext_authz.v3.ExtAuthz\n",
                "envoy.extensions.common.matching.v3.ExtensionWithMatcher\n",
            ),
        ),
        // The filters of an upgrade take the place of all others.
        ("filter_missing", "typed_config.upgrade_configs[0].filters", upgraded("", &[LAST])),
        (
            "filter_missing",
            "typed_config.upgrade_configs[0].filters",
            with(
                &upgraded("enabled: false, ", &[LAST]),
                &format!("{REST}                          route: {{ cluster: service }}\n"),
                &format!(
                    "{REST}                          route: {{ cluster: service, upgrade_configs: [{{ upgrade_type: WebSocket }}] }}\n"
                ),
            ),
        ),
        (
            "filter_before",
            "upgrade_configs[0].filters[0]",
            upgraded("", &[CORS, ASKS, TAKES, LAST]),
        ),
        (
            "filter_after",
            "upgrade_configs[0].filters[1]",
            upgraded("", &[ASKS, "name: envoy.filters.http.lua", TAKES, LAST]),
        ),
        ("request_trailers", "upgrade_configs[0].filters", upgraded("", &[ASKS, LAST])),
        (
            "not_seen",
            "upgrade_configs[0].filters[0]",
            upgraded("", &["name: own, config_discovery: { config_source: { ads: {} } }", LAST]),
        ),
        (
            "filter_disabled_on_route",
            "typed_per_filter_config[\"own\"].disabled",
            behind(
                &upgraded("", &[&own_asks, TAKES, LAST]),
                HOST,
                22,
                &OFF_FOR_ANY.replace("envoy.filters.http.ext_authz", "own"),
            ),
        ),
        ("filter_disabled", "http_filters[0].disabled", behind(TCP, AUTHZ, 20, "disabled: true\n")),
        (
            "filter_disabled_on_route",
            "virtual_hosts[0].routes[1].typed_per_filter_config[\"envoy",
            behind(TCP, REST, 26, OFF),
        ),
        (
            "filter_disabled_on_route",
            "virtual_hosts[0].typed_per_filter_config",
            behind(TCP, HOST, 22, OFF_FOR_ANY),
        ),
        (
            "filter_disabled_on_route",
            "ext_authz\"].config.disabled",
            behind(TCP, HOST, 22, OFF_WITHIN),
        ),
        (
            "filter_disabled_on_route",
            "route.weighted_clusters.clusters[0].typed_per_filter_config",
            with(
                TCP,
                &format!("{REST}                          route: {{ cluster: service }}\n"),
                &format!(
                    "{REST}                          route: {{ weighted_clusters: {{ clusters: [{{ name: service, {} }}] }} }}\n",
                    OFF.trim_end()
                ),
            ),
        ),
        (
            "filter_fraction",
            "filter_enabled",
            filter(
                "filter_enabled: { default_value: { numerator: 999999, denominator: MILLION } }",
            ),
        ),
        ("filter_fraction", "filter_enabled", filter("filter_enabled: { runtime_key: authz }")),
        (
            "filter_fraction",
            "filter_enabled",
            filter(
                "filter_enabled: { default_value: { numerator: 9999, denominator: TEN_THOUSAND } }",
            ),
        ),
        // Of how many it is can't be told.
        (
            "filter_fraction",
            "filter_enabled",
            filter("filter_enabled: { default_value: { numerator: 100, denominator: DOZEN } }"),
        ),
        (
            "filter_conditional",
            "filter_enabled",
            filter("filter_enabled: { runtime_key: authz, default_value: { numerator: 100 } }"),
        ),
        (
            "filter_conditional",
            "filter_enabled_metadata",
            filter(
                "filter_enabled_metadata: { filter: a, path: [{ key: b }], value: { present_match: true } }",
            ),
        ),
        ("shadow_mode", "shadow_mode", filter("shadow_mode: true")),
        ("filter_before", "http_filters[0]", with(TCP, AUTHZ, &format!("{LUA}{AUTHZ}"))),
        ("filter_after", "http_filters[2]", with(TCP, ROUTER, &format!("{LUA}{ROUTER}"))),
        // The filters of a cluster come last of all.
        (
            "filter_after",
            "http_filters[0]",
            with(
                TCP,
                UPSTREAM,
                &format!(
                    "          http_filters: [{{ name: envoy.filters.http.lua }}]\n{UPSTREAM}"
                ),
            ),
        ),
        // What comes from elsewhere is not what it is called.
        (
            "not_seen",
            "http_filters[0]",
            with(
                TCP,
                UPSTREAM,
                &format!(
                    "          http_filters: [{{ name: envoy.filters.http.upstream_codec, config_discovery: {{ config_source: {{ ads: {{}} }} }} }}]\n{UPSTREAM}"
                ),
            ),
        ),
        // What takes trailers away may do nothing else.
        (
            "filter_after",
            "http_filters[2]",
            with(
                TCP,
                ROUTER,
                &format!(
                    "{MUTATION}                      mutations: {{ request_mutations: [{{ remove: x-user }}] }}\n{ROUTER}"
                ),
            ),
        ),
        (
            "filter_after",
            "http_filters[1]",
            behind(
                TCP,
                "                      mutations:\n",
                24,
                "request_mutations: [{ remove: x-user }]\n",
            ),
        ),
        (
            "filter_after",
            "http_filters[1]",
            with(
                TCP,
                AWAY,
                &mutations(&[AWAY, "- append: { header: { key: x-user, value: root } }"]),
            ),
        ),
        // Nor may a route have it do more.
        (
            "filter_after",
            "routes[1].typed_per_filter_config[\"a\"].mutations.request_mutations[0]",
            behind(
                TCP,
                REST,
                26,
                &mutated(
                    "a",
                    "request_mutations: [{ append: { header: { key: \":path\", value: /a } } }, { remove: authorization }]",
                ),
            ),
        ),
        (
            "filter_after",
            "query_parameter_mutations[0]",
            behind(TCP, HOST, 22, &mutated("a", "query_parameter_mutations: [{ remove: a }]")),
        ),
        (
            "filter_after",
            "request_trailers_mutations[1]",
            behind(
                TCP,
                HOST,
                22,
                &mutated(
                    "a",
                    "request_trailers_mutations: [{ remove: a }, { append: { header: { key: x-user, value: root } } }]",
                ),
            ),
        ),
        (
            "filter_before",
            "typed_per_filter_config[\"more\"].mutations.requestMutations[0]",
            behind(
                &with(
                    TCP,
                    AUTHZ,
                    &format!(
                        "{MUTATION}                      mutations: {{ request_trailers_mutations: [{{ remove: a }}] }}\n{AUTHZ}"
                    ),
                ),
                HOST,
                22,
                &mutated("more", &format!("requestMutations: [{SETS}]")),
            ),
        ),
        ("clear_route_cache", "clear_route_cache", filter("clear_route_cache: true")),
        (
            "normalize_path",
            "typed_config.normalize_path",
            with(TCP, "normalize_path: true", "normalize_path: false"),
        ),
        ("merge_slashes", "filters[0].typed_config", with(TCP, "merge_slashes: true", "")),
        (
            "escaped_slashes",
            "path_with_escaped_slashes_action",
            with(TCP, "slashes_action: REJECT_REQUEST", "slashes_action: UNESCAPE_AND_FORWARD"),
        ),
        (
            "headers_with_underscores",
            "common_http_protocol_options.headers_with_underscores_action",
            with(TCP, "underscores_action: REJECT_REQUEST", "underscores_action: 0"),
        ),
        (
            "use_remote_address",
            "use_remote_address",
            with(TCP, "use_remote_address: true", "use_remote_address: false"),
        ),
        (
            "identity_headers_not_covered",
            "decoder_header_mutation_rules",
            filter("decoder_header_mutation_rules: { disallow_all: true }"),
        ),
        (
            "identity_headers_not_covered",
            "check_settings.http_service",
            behind(
                TCP,
                ADMIN,
                32,
                "http_service: { server_uri: { uri: a, cluster: stagedoor, timeout: 0.2s } }\n",
            ),
        ),
        (
            "identity_header_added",
            "routes[1].request_headers_to_add[0].header.key",
            behind(TCP, REST, 26, NAMED),
        ),
        (
            "identity_header_added",
            "virtual_hosts[0].request_headers_to_add[0]",
            behind(TCP, HOST, 22, LOOK_ALIKE),
        ),
        (
            "identity_header_added",
            "routes[1].typed_per_filter_config[\"a\"].mutations.request_mutations[0].append.header.key",
            behind(TCP, REST, 26, &mutated("a", &format!("request_mutations: [{SETS}]"))),
        ),
        (
            "identity_header_added",
            "[\"a\"].config.mutations.request_mutations[0].append.header.key",
            behind(
                TCP,
                HOST,
                22,
                &mutated_within(
                    &format!("request_mutations: [{}]", SETS.replace("Stagedoor-", "stagedoor_")),
                    "",
                ),
            ),
        ),
        (
            "request_trailers",
            "filters[0].typed_config.http_filters",
            with(TCP, AWAY, "- remove: x-other"),
        ),
        (
            "request_trailers",
            "typed_per_filter_config[\"envoy.filters.http.header_mutation\"].disabled",
            behind(TCP, HOST, 22, &OFF_FOR_ANY.replace("ext_authz", "header_mutation")),
        ),
        (
            "authorization_not_sent",
            "allowed_headers",
            with(TCP, "- exact: authorization\n", "- prefix: author-\n"),
        ),
        (
            "authorization_not_sent",
            "disallowed_headers",
            filter("disallowed_headers: { patterns: [{ prefix: AUTH, ignore_case: true }] }"),
        ),
        (
            "authorization_not_sent",
            "disallowed_headers",
            filter("disallowed_headers: { patterns: [{ exact: a }, { contains: oriza }] }"),
        ),
        (
            "authorization_not_sent",
            "allowed_headers",
            with(TCP, "- exact: authorization\n", "- suffix: -authorization\n"),
        ),
        (
            "timeout_too_short",
            "grpc_service.timeout",
            with(TCP, "timeout: 0.2s", "timeout: 0.150s"),
        ),
        ("timeout_too_short", "grpc_service.timeout", with(TCP, "timeout: 0.2s", "timeout: soon")),
        (
            "timeout_too_short",
            "check_settings.grpc_service.timeout",
            behind(TCP, ADMIN, 32, &format!("grpc_service: {{ {GRPC}, timeout: 0.1s }}\n")),
        ),
        (
            "status_on_error",
            "http_filters[0].typed_config",
            with(TCP, "status_on_error: { code: ServiceUnavailable }", ""),
        ),
        (
            "status_on_error",
            "status_on_error.code",
            with(TCP, "code: ServiceUnavailable", "code: OK"),
        ),
        (
            "validate_mutations",
            "validate_mutations",
            with(TCP, "validate_mutations: true", "validate_mutations: false"),
        ),
        (
            "validate_mutations",
            "http_filters[0].typed_config",
            with(TCP, "validate_mutations: true", ""),
        ),
        (
            "encode_raw_headers",
            "encode_raw_headers",
            with(TCP, "encode_raw_headers: true", "encode_raw_headers: false"),
        ),
        (
            "with_request_body",
            "with_request_body",
            filter("with_request_body: { max_request_bytes: 8192 }"),
        ),
        (
            "with_request_body",
            "check_settings.with_request_body",
            behind(TCP, ADMIN, 32, "with_request_body: { max_request_bytes: 8192 }\n"),
        ),
        ("plaintext", "static_resources.clusters[1].load_assignment", with(TCP, NEAR, FAR)),
        (
            "plaintext",
            "static_resources.clusters[1].load_assignment",
            with(&cluster(plain), NEAR, FAR),
        ),
        (
            "plaintext",
            "grpc_service.google_grpc",
            with(TCP, GRPC, "google_grpc: { target_uri: \"stagedoor.example.com:9191\" }"),
        ),
        ("tls_unverified", "clusters[1].transport_socket.typed_config", cluster(&tls(""))),
        (
            "tls_unverified",
            "transport_socket.typed_config.common_tls_context",
            cluster(&tls(", common_tls_context: { tls_certificates: [] }")),
        ),
        (
            "not_seen",
            "envoy_grpc.cluster_name",
            with(TCP, GRPC, "envoy_grpc: { cluster_name: other }"),
        ),
        ("not_seen", "typed_config.grpc_service", with(TCP, GRPC, "initial_metadata: []")),
        ("not_seen", "http_filters[0].typed_config", with(TCP, " grpc_service:\n", " service:\n")),
        (
            "not_seen",
            "filter_chains[0].filters[0]",
            with(
                TCP,
                "        - filters:\n",
                "        - filters:\n            - { name: a, config_discovery: { config_source: { ads: {} } } }\n",
            ),
        ),
        (
            "not_seen",
            "route_config.vhds",
            behind(TCP, "                route_config:\n", 18, "vhds: { config_source: {} }\n"),
        ),
        ("not_seen", "virtual_hosts[0].matcher", behind(TCP, HOST, 22, "matcher: {}\n")),
        (
            "not_seen",
            "dynamic_resources.lds_config",
            format!("{TCP}dynamic_resources: {{ lds_config: {{ ads: {{}} }} }}\n"),
        ),
    ];
    rows.extend(istio::rows());
    rows.extend(gateway::rows());
    for (code, place, text) in &rows {
        let found = found(text);
        let [(only, line, subject)] = found.as_slice() else { panic!("{code}: {found:?}") };
        assert_eq!(only, code, "{subject}");
        assert!(subject.contains(*place), "{code}: {subject} does not have {place}");
        assert!(line.is_some(), "{code}: {subject}");
    }
    let tried: BTreeSet<&str> = rows.iter().map(|(code, ..)| *code).collect();
    let all: BTreeSet<&str> = rules::ALL.iter().map(|rule| rule.code).collect();
    assert_eq!(tried, all);
}

#[test]
fn what_is_as_it_should_be_yields_nothing() {
    for text in [TCP, UNIX] {
        assert_nothing(&found(text));
    }
    let filter = |member: &str| behind(TCP, FILTER, 22, &format!("{member}\n"));
    let cluster = |member: &str| behind(TCP, CLUSTER, 6, &format!("{member}\n"));
    let google = |said: &str| with(TCP, GRPC, &format!("google_grpc: {{ {said} }}"));
    for text in [
        // All of the requests, however it is said.
        filter("filter_enabled: { default_value: { numerator: 100, denominator: HUNDRED } }"),
        filter("filter_enabled: { default_value: { numerator: 10000, denominator: 1 } }"),
        filter(
            "decoder_header_mutation_rules: { disallow_all: false, disallow_expression: false }",
        ),
        filter("disallowed_headers: { patterns: [{ exact: cookie }, { contains: secret }] }"),
        with(TCP, "- exact: authorization\n", "- suffix: ization\n"),
        // No limit at all.
        with(TCP, "timeout: 0.2s", "timeout: 0s"),
        // Google's client, near or with TLS.
        google("target_uri: \"127.0.0.1:9191\""),
        google("target_uri: \"[::1]:9191\""),
        google("target_uri: \"unix:/run/stagedoor.sock\""),
        google(
            "target_uri: stagedoor.example.com, channel_credentials: { ssl_credentials: { root_certs: { filename: ca.crt } } }",
        ),
        // Far away, and verified.
        with(
            &cluster(&format!(
                "transport_socket: {{ name: tls, typed_config: {{ {TLS}, common_tls_context: {{ validation_context: {{ trusted_ca: {{ filename: ca.crt }} }} }} }} }}"
            )),
            NEAR,
            FAR,
        ),
        // What the filters of every cluster end with.
        with(
            TCP,
            UPSTREAM,
            &format!(
                "          http_filters: [{{ name: envoy.filters.http.upstream_codec }}]\n{UPSTREAM}"
            ),
        ),
        // Another filter's override.
        behind(TCP, HOST, 22, &OFF_FOR_ANY.replace("http.ext_authz", "http.cors")),
        // Of what a route has it do: responses, trailers that go, and what is switched off.
        behind(
            TCP,
            HOST,
            22,
            &mutated(
                "a",
                &format!(
                    "response_mutations: [{SETS}], response_trailers_mutations: [{SETS}], request_trailers_mutations: [{{ remove: a }}], request_mutations: []"
                ),
            ),
        ),
        behind(
            TCP,
            HOST,
            22,
            &mutated_within(&format!("request_mutations: [{SETS}]"), ", disabled: true"),
        ),
        // Upgrades that ask, have the same filters, or aren't let through.
        upgraded("", &[ASKS, TAKES, LAST]),
        with(&upgraded("", &[LAST]), &format!(" filters: [{{ {LAST} }}]"), " filters: []"),
        upgraded("enabled: false, ", &[LAST]),
        // Istio's own condition, and Envoy's other names for the same.
        filter("filter_enabled_metadata: { filter: envoy.filters.http.rbac }"),
        filter(
            "filter_enabled: { default_value: { numerator: 50 } }\n                      deny_at_disable: { default_value: true }",
        ),
        with(TCP, "code: ServiceUnavailable", "code: 503"),
        with(TCP, "slashes_action: REJECT_REQUEST", "slashes_action: 2"),
        with(TCP, "underscores_action: REJECT_REQUEST", "underscores_action: DROP_HEADER"),
        with(TCP, "exact: authorization\n", "safe_regex: { regex: \"auth.*\" }\n"),
        with(TCP, NEAR, "address: \"::1\", port_value: 9191"),
        with(TCP, NEAR, "address: localhost, port_value: 9191"),
        with(TCP, "normalize_path: true", "normalizePath: true"),
        // Filters that only refuse.
        with(TCP, AUTHZ, &format!("{}{AUTHZ}", LUA.replace("lua.v3.Lua", "rbac.v3.RBAC"))),
    ] {
        assert_nothing(&found(&text));
    }
}

/// Codes and what they are about, without the way within it.
fn about(text: &str) -> BTreeSet<(&'static str, String)> {
    let found = found(text).into_iter();
    found
        .map(|(code, _, subject)| {
            let words: Vec<&str> = subject.split(' ').take(2).collect();
            (code, words.join(" "))
        })
        .collect()
}

/// An Envoy that has nearly everything from a control plane.
const DUMP: &str = r#"
configs:
- "@type": type.googleapis.com/envoy.admin.v3.BootstrapConfigDump
- "@type": type.googleapis.com/envoy.admin.v3.ClustersConfigDump
  dynamic_active_clusters: [{ cluster: { name: stagedoor, type: EDS } }]
- "@type": type.googleapis.com/envoy.admin.v3.ListenersConfigDump
  dynamic_listeners:
  - name: front
    active_state:
      listener:
        filter_chains:
        - filters:
          - name: envoy.filters.network.http_connection_manager
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
              normalize_path: true
              merge_slashes: true
              path_with_escaped_slashes_action: REJECT_REQUEST
              common_http_protocol_options: { headers_with_underscores_action: REJECT_REQUEST }
              use_remote_address: true
              rds: { route_config_name: front }
              http_filters:
              - { name: authz, config_discovery: { config_source: { ads: {} } } }
              - name: trailers
                typed_config:
                  "@type": type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutation
                  mutations: { request_trailers_mutations: [{ remove_on_match: { key_matcher: { prefix: x-stagedoor- } } }] }
              - { name: envoy.filters.http.router }
- "@type": type.googleapis.com/envoy.admin.v3.RoutesConfigDump
  dynamic_route_configs: [{ route_config: { name: front, virtual_hosts: [] } }]
- "@type": type.googleapis.com/envoy.admin.v3.EndpointsConfigDump
  dynamic_endpoint_configs: [{ endpoint_config: { cluster_name: stagedoor, endpoints: [{ lb_endpoints: [{ endpoint: { address: { socket_address: { address: "::1" } } } }] }] } }]
- "@type": type.googleapis.com/envoy.admin.v3.EcdsConfigDump
  ecds_filters:
  - ecds_filter:
      "@type": type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig
      name: authz
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz
        grpc_service: { envoy_grpc: { cluster_name: stagedoor } }
        status_on_error: { code: ServiceUnavailable }
        validate_mutations: true
        encode_raw_headers: true
"#;

#[test]
fn what_an_envoy_has_from_elsewhere() {
    assert_nothing(&found(DUMP));
    let off = "typed_per_filter_config: { authz: { \"@type\": type.googleapis.com/envoy.config.route.v3.FilterConfig, disabled: true } }";
    let cluster = "{ name: stagedoor, type: EDS }";
    let filtered = |name: &str| {
        format!(
            "{{ name: stagedoor, type: EDS, typed_extension_protocol_options: {{ a: {{ http_filters: [{{ name: {name}, config_discovery: {{ config_source: {{ ads: {{}} }} }} }}] }} }} }}"
        )
    };
    for (code, old, new) in [
        ("not_seen", "RoutesConfigDump", "OtherDump"),
        ("not_seen", "EcdsConfigDump", "OtherDump"),
        ("not_seen", "ClustersConfigDump", "OtherDump"),
        ("plaintext", "EndpointsConfigDump", "OtherDump"),
        ("plaintext", "\"::1\"", "10.0.0.1"),
        (
            "shadow_mode",
            "validate_mutations: true",
            "validate_mutations: true\n        shadow_mode: true",
        ),
        ("filter_disabled_on_route", "virtual_hosts: []", off),
        (
            "filter_missing",
            "- { name: authz, config_discovery: { config_source: { ads: {} } } }",
            "",
        ),
        ("request_trailers", "prefix: x-stagedoor-", "prefix: x-other-"),
        // A cluster's own filters, by what is delivered and not by their names.
        ("not_seen", cluster, &*filtered("envoy.filters.http.rbac")),
        ("filter_after", cluster, &*filtered("authz")),
    ] {
        let found = found(&with(DUMP, old, new));
        assert!(matches!(found.as_slice(), [(only, ..)] if *only == code), "{code}: {found:?}");
    }
}

/// Where a matcher decides, some requests may not be asked about.
#[test]
fn a_matcher_around_the_filter_is_told() {
    let (before, filter) = DUMP.split_once("      name: authz\n").unwrap();
    let within: String = filter.lines().map(|line| format!("    {line}\n")).collect();
    let text = format!(
        "{before}      name: authz\n      typed_config:\n        \"@type\": type.googleapis.com/envoy.extensions.common.matching.v3.ExtensionWithMatcher\n        extension_config:\n          name: authz\n{within}"
    );
    let found = found(&text);
    assert!(
        matches!(found.as_slice(), [("filter_conditional", _, at)] if at.ends_with("http_filters[0]")),
        "{found:?}"
    );
    // What is wrong within is seen as well.
    let open = with(&text, "validate_mutations: true", "failure_mode_allow: true");
    let codes: BTreeSet<&str> = self::found(&open).into_iter().map(|(code, ..)| code).collect();
    let expected = ["failure_mode_allow", "filter_conditional", "validate_mutations"];
    assert_eq!(codes, BTreeSet::from(expected));
}

/// A connection manager that asks nobody is fine where it sends everybody to https.
#[test]
fn redirects_need_no_filter() {
    let manager = |route: &str| {
        format!(
            "static_resources:\n  listeners:\n    - filter_chains:\n        - filters:\n            - typed_config:\n                \"@type\": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager\n                route_config: {{ virtual_hosts: [{{ routes: [{{ {route} }}] }}] }}\n"
        )
    };
    assert_nothing(&found(&manager("redirect: { https_redirect: true }")));
    let codes = found(&manager("route: { cluster: service }"));
    assert!(matches!(codes.as_slice(), [("filter_missing", ..)]), "{codes:?}");
    let outbound =
        format!("{}      traffic_direction: OUTBOUND\n", manager("route: { cluster: a }"));
    assert_nothing(&found(&outbound));
    // What is fetched from elsewhere is not known to be a redirect.
    let redirects = manager("redirect: { https_redirect: true }");
    for (place, more) in [("route_config: { ", "vhds: {}, "), ("hosts: [{ ", "matcher: {}, ")] {
        let codes = found(&with(&redirects, place, &format!("{place}{more}")));
        assert!(matches!(codes.as_slice(), [("filter_missing", ..)]), "{codes:?}");
    }
    // Envoy Mobile's listener has no filter chains.
    let api = "static_resources: { listeners: [{ api_listener: { api_listener: { \"@type\": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager } } }] }\n";
    let codes = found(api);
    assert!(matches!(codes.as_slice(), [("filter_missing", ..)]), "{codes:?}");
}

#[test]
fn what_is_asked_over_http_must_cover_the_identity_headers() {
    let grpc = "grpc_service:\n                        envoy_grpc: { cluster_name: stagedoor }\n";
    let service = |covered: &str| {
        let http = format!(
            "http_service:\n                        authorization_response: {{ allowed_upstream_headers: {{ patterns: [{covered}] }} }}\n                        server_uri: {{ uri: a, cluster: stagedoor, timeout: 0.2s }}\n"
        );
        let text = with(TCP, grpc, &http);
        found(&with(&text, "                        timeout: 0.2s\n", ""))
    };
    assert_nothing(&service("{ prefix: x-stagedoor- }"));
    let some = service("{ exact: x-stagedoor-subject }");
    assert!(matches!(some.as_slice(), [("identity_headers_not_covered", ..)]), "{some:?}");
}

/// Somebody who isn't named is somebody who isn't seen.
#[test]
fn who_is_asked_over_http_must_be_named() {
    let grpc = "grpc_service:\n                        envoy_grpc: { cluster_name: stagedoor }\n";
    let covered = "authorization_response: { allowed_upstream_headers: { patterns: [{ prefix: x-stagedoor- }] } }";
    for (server, place) in [
        ("", "http_service"),
        (", server_uri: { uri: a, timeout: 0.2s }", "http_service.server_uri"),
        (", server_uri: { uri: a, cluster: other, timeout: 0.2s }", "server_uri.cluster"),
    ] {
        let text = with(TCP, grpc, &format!("http_service: {{ {covered}{server} }}\n"));
        let found = found(&with(&text, "                        timeout: 0.2s\n", ""));
        assert!(
            matches!(found.as_slice(), [("not_seen", _, at)] if at.ends_with(place)),
            "{place}: {found:?}"
        );
    }
}

/// What Stagedoor is configured with is what Envoy's side is judged by.
#[test]
fn the_own_configuration_counts() {
    let mut report = Report::default();
    let own = Own { deadline: Duration::from_secs(1), headers: vec!["x-user".to_owned()] };
    let text = behind(TCP, REST, 26, &NAMED.replace("X-Stagedoor-Subject", "x-user"));
    look(&input(&text), own, &mut report).unwrap();
    let codes: Vec<&str> = report.codes().into_iter().map(|(code, ..)| code).collect();
    assert_eq!(codes, ["timeout_too_short", "identity_header_added"]);

    // So are trailers, by the names that the headers have.
    for (mutation, expected) in [
        ("- remove: X-User", &[][..]),
        ("- remove: x-stagedoor-subject", &["request_trailers"][..]),
    ] {
        let own = Own { headers: vec!["x-user".to_owned()], ..self::own() };
        let mut report = Report::default();
        look(&input(&with(TCP, AWAY, mutation)), own, &mut report).unwrap();
        let codes: Vec<&str> = report.codes().into_iter().map(|(code, ..)| code).collect();
        assert_eq!(codes, expected, "{mutation}");
    }

    // So does what Envoy does where nothing is written.
    let silent = with(TCP, "                        timeout: 0.2s\n", "");
    for (deadline, expected) in [(199, &[][..]), (200, &["timeout_too_short"][..])] {
        let own = Own { deadline: Duration::from_millis(deadline), ..self::own() };
        let mut report = Report::default();
        look(&input(&silent), own, &mut report).unwrap();
        let codes: Vec<&str> = report.codes().into_iter().map(|(code, ..)| code).collect();
        assert_eq!(codes, expected, "{deadline} ms");
    }
}

/// Envoy's own form is JSON, and some of that is none of YAML.
#[test]
fn a_file_in_json_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("dump.json");
    let json = yaml::parse(DUMP).unwrap().remove(0).to_json().to_string();
    let found = |shadow: &str| {
        let json = with(&json, "{\"configs\":", "{\"note\":\"\\ud83d\\ude00\",\"configs\":");
        let mode = format!("\"shadow_mode\":{shadow},\"validate_mutations\":true");
        std::fs::write(&file, with(&json, "\"validate_mutations\":true", &mode)).unwrap();
        let mut report = Report::default();
        look(&Input::read(file.to_str().unwrap()).unwrap(), own(), &mut report).unwrap();
        report.codes()
    };
    // What is null is not there. Lines can't be told.
    assert_nothing(&found("null"));
    assert_nothing(&found("false"));
    let shadow = found("true");
    assert!(matches!(shadow.as_slice(), [("shadow_mode", None, _)]), "{shadow:?}");
    std::fs::write(&file, "{\"configs\": [}").unwrap();
    assert!(Input::read(file.to_str().unwrap()).is_err());
}

/// Whoever leads to the same place twice hears of it once, and of many the first.
#[test]
fn findings_are_told_once_and_not_by_the_hundred() {
    // Two ways to one endpoint.
    let service = format!("grpc_service: {{ {GRPC}, timeout: 0.2s }}\n");
    let twice = with(&behind(TCP, ADMIN, 32, &service), NEAR, FAR);
    assert!(matches!(found(&twice).as_slice(), [("plaintext", ..)]), "{:?}", found(&twice));
    let routes: String = (0..12)
        .map(|at| format!("                        - {{ match: {{ prefix: /{at} }}, route: {{ cluster: service }}, {} }}\n", OFF.trim_end()))
        .collect();
    let text = with(
        TCP,
        "                      routes:\n",
        &format!("                      routes:\n{routes}"),
    );
    let mut report = Report::default();
    look(&input(&text), own(), &mut report).unwrap();
    assert_eq!(report.codes().len(), 12);
    let said = report.text();
    assert_eq!(said.matches("ERROR").count(), 10, "{said}");
    assert!(said.contains("… and 2 more; `--json` shows all"), "{said}");
    assert_eq!(report.json().unwrap().matches("\"code\"").count(), 12);
}

#[test]
fn nothing_known_is_never_nothing_found() {
    for (text, words) in [
        ("# only a comment\n", "holds nothing"),
        ("a: 1\n", "neither an Envoy configuration"),
        ("- a\n", "neither an Envoy configuration"),
        ("static_resources: {}\n", "no HTTP connection manager"),
        ("configs: []\n", "no HTTP connection manager"),
        ("apiVersion: v1\nkind: Service\nmetadata: { name: a }\n", "no HTTP connection manager"),
        ("apiVersion: v1\nkind: ConfigMap\ndata: { mesh: \"a: [\" }\n", "data.mesh"),
    ] {
        assert!(error(text).contains(words), "{text}: {}", error(text));
    }
}

/// Each rule has its paragraph, and each paragraph its rule.
#[test]
fn the_documentation_has_each_rule() {
    let written: BTreeSet<&str> = DOCS
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
        .map(|(code, _)| code)
        .collect();
    let all: BTreeSet<&str> = rules::ALL.iter().map(|rule| rule.code).collect();
    assert_eq!(written, all);
    for rule in rules::ALL {
        let severity = format!("{:?}", rule.severity).to_lowercase();
        let row = format!("| `{}` | {severity} |", rule.code);
        assert!(DOCS.contains(&row), "{row}");
    }
}
