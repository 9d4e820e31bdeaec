//! One row for each rule: a shipped configuration with one thing changed. What is Istio's and
//! Envoy Gateway's alone is in files of its own.

mod gateway;
mod istio;

use std::collections::BTreeSet;
use std::time::Duration;

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
const LUA: &str = "                  - name: rewrite\n                    typed_config:\n                      \"@type\": type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua\n";
const OFF: &str = "typed_per_filter_config: { envoy.filters.http.ext_authz: { \"@type\": type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute, disabled: true } }\n";
const OFF_FOR_ANY: &str = "typed_per_filter_config: { envoy.filters.http.ext_authz: { \"@type\": type.googleapis.com/envoy.config.route.v3.FilterConfig, disabled: true } }\n";
const NAMED: &str =
    "request_headers_to_add: [{ header: { key: X-Stagedoor-Subject, value: root } }]\n";
const LOOK_ALIKE: &str =
    "request_headers_to_add: [{ header: { key: x-stagedoor_subject, value: root } }]\n";

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

/// Each rule with configurations that break it and no other, and a part of the place.
#[test]
fn each_rule_finds_what_it_is_for() {
    let filter = |member: &str| behind(TCP, FILTER, 22, &format!("{member}\n"));
    let cluster = |member: &str| behind(TCP, CLUSTER, 6, &format!("{member}\n"));
    let tls = "transport_socket: { name: tls, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext } }";
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
            "filter_fraction",
            "filter_enabled",
            filter(
                "filter_enabled: { default_value: { numerator: 999999, denominator: MILLION } }",
            ),
        ),
        ("filter_fraction", "filter_enabled", filter("filter_enabled: { runtime_key: authz }")),
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
        // What takes trailers away may do nothing else.
        (
            "filter_after",
            "http_filters[1]",
            with(TCP, "request_trailers_mutations:", "request_mutations:"),
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
                "- remove_on_match: { key_matcher: { safe_regex: { regex: \".*\" } } }",
                "- append: { header: { key: x-user, value: root } }",
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
            "timeout_too_short",
            "grpc_service.timeout",
            with(TCP, "timeout: 0.2s", "timeout: 0.150s"),
        ),
        ("timeout_too_short", "grpc_service.timeout", with(TCP, "timeout: 0.2s", "timeout: soon")),
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
        (
            "plaintext",
            "static_resources.clusters[1].load_assignment",
            with(
                TCP,
                "address: 127.0.0.1, port_value: 9191",
                "address: 10.0.0.9, port_value: 9191",
            ),
        ),
        ("tls_unverified", "clusters[1].transport_socket.typed_config", cluster(tls)),
        (
            "not_seen",
            "envoy_grpc.cluster_name",
            with(
                TCP,
                "envoy_grpc: { cluster_name: stagedoor }",
                "envoy_grpc: { cluster_name: other }",
            ),
        ),
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
    for text in [
        // Istio's own condition, and Envoy's other names for the same.
        filter("filter_enabled_metadata: { filter: envoy.filters.http.rbac }"),
        filter(
            "filter_enabled: { default_value: { numerator: 50 } }\n                      deny_at_disable: { default_value: true }",
        ),
        with(TCP, "code: ServiceUnavailable", "code: 503"),
        with(TCP, "slashes_action: REJECT_REQUEST", "slashes_action: 2"),
        with(TCP, "underscores_action: REJECT_REQUEST", "underscores_action: DROP_HEADER"),
        with(TCP, "exact: authorization\n", "safe_regex: { regex: \"auth.*\" }\n"),
        with(TCP, "address: 127.0.0.1, port_value: 9191", "address: \"::1\", port_value: 9191"),
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
    ] {
        let found = found(&with(DUMP, old, new));
        assert!(matches!(found.as_slice(), [(only, ..)] if *only == code), "{code}: {found:?}");
    }
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

/// What Stagedoor is configured with is what Envoy's side is judged by.
#[test]
fn the_own_configuration_counts() {
    let mut report = Report::default();
    let own = Own { deadline: Duration::from_secs(1), headers: vec!["x-user".to_owned()] };
    let text = behind(TCP, REST, 26, &NAMED.replace("X-Stagedoor-Subject", "x-user"));
    look(&input(&text), own, &mut report).unwrap();
    let codes: Vec<&str> = report.codes().into_iter().map(|(code, ..)| code).collect();
    assert_eq!(codes, ["timeout_too_short", "identity_header_added"]);
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
