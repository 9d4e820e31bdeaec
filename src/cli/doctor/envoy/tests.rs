//! One row for each rule: a shipped configuration with one thing changed.

use std::collections::BTreeSet;
use std::time::Duration;

use super::*;
use crate::yaml;

const TCP: &str = include_str!("../../../../envoy/tcp.yaml");
const UNIX: &str = include_str!("../../../../envoy/unix.yaml");
const DOCS: &str = include_str!("../../../../docs/envoy.md");
/// What is shipped for Istio, but for the patches.
const ISTIO_FILES: [&str; 4] = [
    include_str!("../../../../deploy/istio/mesh-config.yaml"),
    include_str!("../../../../deploy/istio/gateway.yaml"),
    include_str!("../../../../deploy/istio/sidecar.yaml"),
    include_str!("../../../../deploy/istio/stagedoor.yaml"),
];
const ISTIO_PATCHES: &str = include_str!("../../../../deploy/istio/envoy-filter.yaml");
const GATEWAY_FILES: [&str; 3] = [
    include_str!("../../../../deploy/envoy-gateway/clients.yaml"),
    include_str!("../../../../deploy/envoy-gateway/gateway.yaml"),
    include_str!("../../../../deploy/envoy-gateway/stagedoor.yaml"),
];

/// Istio as it should be.
const ISTIO: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata: { name: istio, namespace: istio-system }
data:
  mesh: |-
    pathNormalization: { normalization: DECODE_AND_MERGE_SLASHES }
    extensionProviders:
      - name: stagedoor
        envoyExtAuthzGrpc:
          service: stagedoor.stagedoor.svc.cluster.local
          port: 9191
          timeout: 0.2s
          statusOnError: "503"
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: stagedoor, namespace: payments }
spec:
  action: CUSTOM
  provider: { name: stagedoor }
  rules: [{}]
---
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: { name: strict, namespace: payments }
spec:
  configPatches:
    - applyTo: NETWORK_FILTER
      match: { context: SIDECAR_INBOUND }
      patch:
        operation: MERGE
        value:
          typed_config:
            "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
            path_with_escaped_slashes_action: REJECT_REQUEST
            common_http_protocol_options: { headers_with_underscores_action: REJECT_REQUEST }
    - applyTo: HTTP_FILTER
      match: { context: SIDECAR_INBOUND, listener: { filterChain: { filter: { subFilter: { name: envoy.filters.http.ext_authz } } } } }
      patch:
        operation: MERGE
        value:
          typed_config:
            "@type": type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz
            validate_mutations: true
            encode_raw_headers: true
"#;

/// A patch that puts ext_authz there by itself, whole, for the gateways of a mesh.
const BROUGHT: &str = r#"
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: { name: own, namespace: istio-system }
spec:
  configPatches:
    - applyTo: HTTP_FILTER
      match: { context: GATEWAY, listener: { filterChain: { filter: { subFilter: { name: envoy.filters.http.router } } } } }
      patch:
        operation: INSERT_BEFORE
        value:
          name: stagedoor
          typed_config:
            "@type": type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz
            grpc_service: { envoy_grpc: { cluster_name: stagedoor }, timeout: 0.2s }
            status_on_error: { code: ServiceUnavailable }
            validate_mutations: true
            encode_raw_headers: true
"#;

/// Envoy Gateway as it should be.
const GATEWAY: &str = "
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: SecurityPolicy
metadata: { name: stagedoor, namespace: edge }
spec:
  targetRefs: [{ group: gateway.networking.k8s.io, kind: Gateway, name: edge }]
  extAuth:
    failOpen: false
    headersToExtAuth: [accept, authorization]
    grpc:
      backendRefs: [{ name: stagedoor, port: 9191 }]
---
apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: { name: stagedoor, namespace: edge }
spec:
  targetRefs: [{ group: '', kind: Service, name: stagedoor }]
---
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: ClientTrafficPolicy
metadata: { name: edge, namespace: edge }
spec:
  targetRefs: [{ group: gateway.networking.k8s.io, kind: Gateway, name: edge }]
  path: { escapedSlashesAction: RejectRequest }
  headers: { withUnderscoresAction: RejectRequest }
";

/// What is put before or behind a line of the shipped configurations, at its depth.
const FILTER: &str = "                      transport_api_version: V3\n";
const AUTHZ: &str = "                  - name: envoy.filters.http.ext_authz\n";
const ROUTER: &str = "                  - name: envoy.filters.http.router\n";
const HOST: &str = "                      domains: [\"*\"]\n";
const REST: &str = "                          match: { prefix: / }\n";
const ADMIN: &str = "                              check_settings:\n";
const CLUSTER: &str = "    - name: stagedoor\n      type: STATIC\n";
const PATCHED: &str = "            validate_mutations: true\n";
const REJECTED: &str = "            path_with_escaped_slashes_action: REJECT_REQUEST\n";
const UNDERSCORES: &str = "            common_http_protocol_options: { headers_with_underscores_action: REJECT_REQUEST }\n";
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
    let provider = |old: &str, new: &str| with(ISTIO, old, new);
    let http_provider =
        "envoyExtAuthzHttp:\n          headersToUpstreamOnAllow: [x-stagedoor-kind]";
    let tls = "transport_socket: { name: tls, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext } }";
    let rows: Vec<(&str, &str, String)> = vec![
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
            "failure_mode_allow",
            "ConfigMap istio-system/istio data.mesh.extensionProviders[0]",
            provider("timeout: 0.2s", "failOpen: true"),
        ),
        (
            "failure_mode_allow",
            "SecurityPolicy edge/stagedoor spec.extAuth.failOpen",
            with(GATEWAY, "failOpen: false", "failOpen: true"),
        ),
        (
            "failure_mode_allow",
            "EnvoyFilter payments/strict spec.configPatches[1]",
            behind(ISTIO, PATCHED, 12, "failure_mode_allow: true\n"),
        ),
        (
            "filter_missing",
            "filters[0].typed_config.http_filters",
            with(TCP, &format!("ext_authz.v3.ExtAuthz\n{FILTER}"), "rbac.v3.RBAC\n"),
        ),
        ("filter_disabled", "http_filters[0].disabled", behind(TCP, AUTHZ, 20, "disabled: true\n")),
        (
            "filter_disabled",
            "EnvoyFilter payments/strict spec.configPatches[2]",
            format!(
                "{ISTIO}    - applyTo: HTTP_FILTER\n      match: {{ listener: {{ filterChain: {{ filter: {{ subFilter: {{ name: envoy.filters.http.ext_authz }} }} }} }} }}\n      patch: {{ operation: REMOVE }}\n"
            ),
        ),
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
            "SecurityPolicy edge/open",
            format!(
                "{GATEWAY}---\napiVersion: gateway.envoyproxy.io/v1alpha1\nkind: SecurityPolicy\nmetadata: {{ name: open, namespace: edge }}\nspec:\n  targetRefs: [{{ kind: HTTPRoute, name: open }}]\n  cors: {{}}\n"
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
        (
            "filter_before",
            "WasmPlugin payments/early",
            format!(
                "{ISTIO}---\napiVersion: extensions.istio.io/v1alpha1\nkind: WasmPlugin\nmetadata: {{ name: early, namespace: payments }}\nspec: {{ phase: AUTHN }}\n"
            ),
        ),
        ("filter_after", "http_filters[1]", with(TCP, ROUTER, &format!("{LUA}{ROUTER}"))),
        (
            "filter_after",
            "EnvoyExtensionPolicy edge/more spec.lua[0]",
            format!(
                "{GATEWAY}---\napiVersion: gateway.envoyproxy.io/v1alpha1\nkind: EnvoyExtensionPolicy\nmetadata: {{ name: more, namespace: edge }}\nspec: {{ lua: [{{ type: Inline }}] }}\n"
            ),
        ),
        ("clear_route_cache", "clear_route_cache", filter("clear_route_cache: true")),
        (
            "clear_route_cache",
            "clearRouteCache",
            provider("timeout: 0.2s", "clearRouteCache: true"),
        ),
        (
            "clear_route_cache",
            "recomputeRoute",
            with(GATEWAY, "failOpen: false", "recomputeRoute: true"),
        ),
        (
            "normalize_path",
            "typed_config.normalize_path",
            with(TCP, "normalize_path: true", "normalize_path: false"),
        ),
        ("normalize_path", "normalization", provider("DECODE_AND_MERGE_SLASHES", "NONE")),
        ("merge_slashes", "filters[0].typed_config", with(TCP, "merge_slashes: true", "")),
        ("merge_slashes", "normalization", provider("DECODE_AND_MERGE_SLASHES", "BASE")),
        (
            "merge_slashes",
            "disableMergeSlashes",
            with(
                GATEWAY,
                "RejectRequest }\n  headers",
                "RejectRequest, disableMergeSlashes: true }\n  headers",
            ),
        ),
        (
            "escaped_slashes",
            "path_with_escaped_slashes_action",
            with(TCP, "slashes_action: REJECT_REQUEST", "slashes_action: UNESCAPE_AND_FORWARD"),
        ),
        (
            "escaped_slashes",
            "normalization",
            with(&provider("DECODE_AND_MERGE", "MERGE"), REJECTED, ""),
        ),
        (
            "escaped_slashes",
            "EnvoyFilter payments/strict",
            provider("slashes_action: REJECT_REQUEST", "slashes_action: KEEP_UNCHANGED"),
        ),
        (
            "escaped_slashes",
            "ClientTrafficPolicy edge/edge",
            with(GATEWAY, "escapedSlashesAction: RejectRequest", "disableMergeSlashes: false"),
        ),
        (
            "escaped_slashes",
            "SecurityPolicy edge/stagedoor",
            GATEWAY
                .split("---\napiVersion: gateway.envoyproxy.io/v1alpha1\nkind: ClientTrafficPolicy")
                .next()
                .unwrap()
                .to_owned(),
        ),
        (
            "headers_with_underscores",
            "common_http_protocol_options.headers_with_underscores_action",
            with(TCP, "underscores_action: REJECT_REQUEST", "underscores_action: 0"),
        ),
        (
            "headers_with_underscores",
            "withUnderscoresAction",
            with(GATEWAY, "withUnderscoresAction: RejectRequest", "withUnderscoresAction: Allow"),
        ),
        (
            "headers_with_underscores",
            "AuthorizationPolicy payments/stagedoor",
            with(ISTIO, UNDERSCORES, ""),
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
            "headersToUpstreamOnAllow",
            provider("envoyExtAuthzGrpc:", http_provider),
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
            "authorization_not_sent",
            "headersToExtAuth",
            with(GATEWAY, "[accept, authorization]", "[accept]"),
        ),
        (
            "timeout_too_short",
            "grpc_service.timeout",
            with(TCP, "timeout: 0.2s", "timeout: 0.150s"),
        ),
        ("timeout_too_short", "grpc_service.timeout", with(TCP, "timeout: 0.2s", "timeout: soon")),
        ("timeout_too_short", "envoyExtAuthzGrpc.timeout", provider("0.2s", "100ms")),
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
            "status_on_error",
            "envoyExtAuthzGrpc",
            provider("          statusOnError: \"503\"\n", ""),
        ),
        (
            "validate_mutations",
            "validate_mutations",
            with(TCP, "validate_mutations: true", "validate_mutations: false"),
        ),
        ("validate_mutations", "AuthorizationPolicy payments/stagedoor", with(ISTIO, PATCHED, "")),
        (
            "validate_mutations",
            "configPatches[1].patch.value.typed_config.validate_mutations",
            with(ISTIO, "validate_mutations: true", "validate_mutations: false"),
        ),
        (
            "encode_raw_headers",
            "encode_raw_headers",
            with(TCP, "encode_raw_headers: true", "encode_raw_headers: false"),
        ),
        (
            "encode_raw_headers",
            "AuthorizationPolicy payments/stagedoor",
            with(ISTIO, "            encode_raw_headers: true\n", ""),
        ),
        (
            "encode_raw_headers",
            "configPatches[1].patch.value.typed_config.encode_raw_headers",
            with(ISTIO, "encode_raw_headers: true", "encode_raw_headers: false"),
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
            "with_request_body",
            "includeRequestBodyInCheck",
            provider("timeout: 0.2s", "includeRequestBodyInCheck: { maxRequestBytes: 8192 }"),
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
        (
            "plaintext",
            "spec.extAuth.grpc.backendRefs[0]",
            with(GATEWAY, "kind: Service, name: stagedoor", "kind: Service, name: another"),
        ),
        ("tls_unverified", "clusters[1].transport_socket.typed_config", cluster(tls)),
        ("not_asked", "extensionProviders[0]", provider("action: CUSTOM", "action: ALLOW")),
        (
            "not_asked",
            "AuthorizationPolicy payments/stagedoor",
            provider("rules: [{}]", "rules: []"),
        ),
        (
            "not_asked",
            "SecurityPolicy edge/stagedoor",
            with(
                GATEWAY,
                "  extAuth:\n    failOpen: false\n    headersToExtAuth: [accept, authorization]\n    grpc:\n      backendRefs: [{ name: stagedoor, port: 9191 }]\n",
                "  cors: {}\n",
            ),
        ),
        (
            "provider_unknown",
            "spec.provider.name",
            provider("provider: { name: stagedoor }", "provider: { name: stagdoor }"),
        ),
        (
            "policy_partial",
            "spec.rules",
            provider("rules: [{}]", "rules: [{ to: [{ operation: { notPaths: [/open] } }] }]"),
        ),
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
        ("not_seen", "spec.provider.name", ISTIO.split_once("---\n").unwrap().1.to_owned()),
        (
            "not_seen",
            "EnvoyPatchPolicy edge/patch",
            format!(
                "{GATEWAY}---\napiVersion: gateway.envoyproxy.io/v1alpha1\nkind: EnvoyPatchPolicy\nmetadata: {{ name: patch, namespace: edge }}\n"
            ),
        ),
    ];
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
    for text in [TCP, UNIX, ISTIO, GATEWAY] {
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
    let plain = with(ISTIO, "    pathNormalization", "    other: 1\n    pathNormalization");
    assert_nothing(&found(&plain));
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

#[test]
fn the_shipped_files_of_istio_belong_together() {
    let without = ISTIO_FILES.join("\n---\n");
    let whole = format!("{without}\n---\n{ISTIO_PATCHES}");
    assert_nothing(&found(&whole));
    let asking =
        ["AuthorizationPolicy istio-ingress/stagedoor", "AuthorizationPolicy payments/stagedoor"];
    let alone: Vec<(&str, String)> =
        found(&without).into_iter().map(|(code, _, subject)| (code, subject)).collect();
    for subject in asking {
        for code in ["headers_with_underscores", "validate_mutations", "encode_raw_headers"] {
            assert!(alone.contains(&(code, subject.to_owned())), "{code} {subject}: {alone:?}");
        }
    }
    // Merged slashes are in the mesh's own words; each policy lacks the rest.
    let slashes = ("escaped_slashes", "meshConfig.pathNormalization.normalization".to_owned());
    assert_eq!(alone.iter().filter(|one| **one == slashes).count(), 2);
    assert_eq!(alone.len(), 8, "{alone:?}");

    // Patches of one kind of proxy are none of the other.
    let sidecars = whole.replace("context: GATEWAY", "context: SIDECAR_INBOUND");
    let gateway = "AuthorizationPolicy istio-ingress/stagedoor";
    let expected = [
        ("encode_raw_headers", gateway),
        ("escaped_slashes", "meshConfig.pathNormalization.normalization"),
        ("headers_with_underscores", gateway),
        ("validate_mutations", gateway),
    ];
    let expected = expected.map(|(code, place)| (code, place.to_owned()));
    assert_eq!(about(&sidecars), BTreeSet::from(expected));
}

#[test]
fn the_shipped_files_of_envoy_gateway_belong_together() {
    assert_nothing(&found(&GATEWAY_FILES.join("\n---\n")));
}

/// A patch counts for those whom it reaches.
#[test]
fn whom_a_patch_reaches() {
    let provider = |old: &str, new: &str| with(ISTIO, old, new);
    let strict = "metadata: { name: strict, namespace: payments }\nspec:\n";
    let policy = "  action: CUSTOM\n";
    let selected = "  selector: { matchLabels: { app: payments, tier: back } }\n  action: CUSTOM\n";
    let patched = |labels: &str| {
        let selector = format!("{strict}  workloadSelector: {{ labels: {{ {labels} }} }}\n");
        with(&provider(policy, selected), strict, &selector)
    };
    let context = |text: &str, context: &str| text.replace("SIDECAR_INBOUND", context);
    let gateway = with(
        ISTIO,
        policy,
        "  selector: { matchLabels: { istio: edge-gateway } }\n  action: CUSTOM\n",
    );
    let known = format!(
        "{}---\napiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {{ name: edge }}\nspec: {{ selector: {{ app: payments }} }}\n",
        provider(policy, selected)
    );
    let targeted =
        with(ISTIO, policy, "  targetRefs: [{ kind: Gateway, name: edge }]\n  action: CUSTOM\n");
    for text in [
        provider("name: strict, namespace: payments", "name: strict, namespace: istio-system"),
        with(
            &provider("name: strict, namespace: payments", "name: strict, namespace: root"),
            "    pathNormalization",
            "    rootNamespace: root\n    pathNormalization",
        ),
        patched("app: payments"),
        context(ISTIO, "ANY"),
        context(&gateway, "GATEWAY"),
        context(&known, "GATEWAY"),
        context(&targeted, "ANY"),
        context(&targeted, "GATEWAY"),
        context(
            &with(
                &targeted,
                strict,
                &format!("{strict}  targetRefs: [{{ kind: Gateway, name: edge }}]\n"),
            ),
            "GATEWAY",
        ),
    ] {
        assert_nothing(&found(&text));
    }
    for text in [
        provider("name: strict, namespace: payments", "name: strict, namespace: orders"),
        patched("app: orders"),
        patched("app: payments, tier: front"),
        context(ISTIO, "GATEWAY"),
        gateway.clone(),
        known.clone(),
        // A sidecar's patch is none of a gateway.
        targeted.clone(),
        context(
            &with(
                &targeted,
                strict,
                &format!("{strict}  targetRefs: [{{ kind: Gateway, name: other }}]\n"),
            ),
            "GATEWAY",
        ),
        // For some listeners only, or some versions.
        ISTIO.replace(
            "match: { context: SIDECAR_INBOUND",
            "match: { proxy: { proxyVersion: 1.2.* }, context: SIDECAR_INBOUND",
        ),
        ISTIO
            .replace(
                "{ context: SIDECAR_INBOUND }",
                "{ context: SIDECAR_INBOUND, listener: { portNumber: 80 } }",
            )
            .replace(
                "listener: { filterChain: { filter",
                "listener: { filterChain: { sni: a, filter",
            ),
    ] {
        let codes: Vec<&str> = found(&text).into_iter().map(|(code, ..)| code).collect();
        assert_eq!(
            codes,
            ["headers_with_underscores", "validate_mutations", "encode_raw_headers"],
            "{text}"
        );
    }
    // Of the root namespace's policies sidecars and gateways are both asked about.
    let root = ISTIO.replace("namespace: payments", "namespace: istio-system");
    let codes = found(&root);
    assert_eq!(codes.len(), 3, "{codes:?}");
    assert_nothing(&found(&context(&root, "ANY")));
}

/// What the mesh's configuration lacks, a patch can say; so can one that asks by itself.
#[test]
fn patches_speak_for_the_mesh() {
    let none = with(ISTIO, "DECODE_AND_MERGE_SLASHES", "NONE");
    let paths = "            normalize_path: true\n            merge_slashes: true\n";
    assert_nothing(&found(&with(&none, REJECTED, &format!("{paths}{REJECTED}"))));
    let silent = with(ISTIO, "          statusOnError: \"503\"\n", "");
    let status = "status_on_error: { code: ServiceUnavailable }\n";
    assert_nothing(&found(&behind(&silent, PATCHED, 12, status)));
    let denied = behind(&silent, PATCHED, 12, "status_on_error: { code: Forbidden }\n");
    assert!(matches!(found(&denied).as_slice(), [("status_on_error", ..)]));

    // A policy and a patch that ask: each is judged by what reaches it.
    let both = format!("{ISTIO}---{BROUGHT}");
    let own = "EnvoyFilter istio-system/own".to_owned();
    assert_eq!(about(&both), BTreeSet::from([("headers_with_underscores", own.clone())]));
    let unseen = [("headers_with_underscores", own.clone()), ("not_seen", own)];
    assert_eq!(about(BROUGHT), BTreeSet::from(unseen));
    let (_, strict) = ISTIO.rsplit_once("---\n").unwrap();
    let strict = strict.replace("SIDECAR_INBOUND", "GATEWAY");
    let strict = strict.replace("namespace: payments", "namespace: istio-system");
    let strict = with(&strict, REJECTED, &format!("{paths}{REJECTED}"));
    assert_nothing(&found(&format!("{strict}---{BROUGHT}")));
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
