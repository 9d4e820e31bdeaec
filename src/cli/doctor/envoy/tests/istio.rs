//! Istio: one row for each rule that its configuration can break, whom its patches reach, and
//! whom its policies hold for.

use super::*;

/// What is shipped for Istio, but for the patches.
const ISTIO_FILES: [&str; 4] = [
    include_str!("../../../../../deploy/istio/mesh-config.yaml"),
    include_str!("../../../../../deploy/istio/gateway.yaml"),
    include_str!("../../../../../deploy/istio/sidecar.yaml"),
    include_str!("../../../../../deploy/istio/stagedoor.yaml"),
];
const ISTIO_PATCHES: &str = concat!(
    include_str!("../../../../../deploy/istio/envoy-filter.yaml"),
    "\n---\n",
    include_str!("../../../../../deploy/istio/envoy-filter-ext-authz.yaml"),
    "\n---\n",
    include_str!("../../../../../deploy/istio/envoy-filter-trailers.yaml"),
);

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
    - applyTo: HTTP_FILTER
      match: { context: SIDECAR_INBOUND, listener: { filterChain: { filter: { subFilter: { name: envoy.filters.http.router } } } } }
      patch:
        operation: INSERT_BEFORE
        value:
          name: stagedoor.trailers
          typed_config:
            "@type": type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutation
            mutations: { request_trailers_mutations: [{ remove_on_match: { key_matcher: { prefix: x-stagedoor- } } }] }
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

const PATCHED: &str = "            validate_mutations: true\n";
const REJECTED: &str = "            path_with_escaped_slashes_action: REJECT_REQUEST\n";
const UNDERSCORES: &str = "            common_http_protocol_options: { headers_with_underscores_action: REJECT_REQUEST }\n";

const TAKEN: &str = "remove_on_match: { key_matcher: { prefix: x-stagedoor- } }";
const LEFT: &str = "remove: x-other";

/// What each proxy lacks that none of the patches reaches.
const MISSING: [&str; 4] =
    ["headers_with_underscores", "validate_mutations", "encode_raw_headers", "request_trailers"];

/// Gateways, in the ways in which Istio has them.
const INJECTED: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: { name: edge, namespace: payments }
spec:
  template:
    metadata:
      labels: { app: edge, istio: ingress }
      annotations: { inject.istio.io/templates: gateway }
";
const LABELLED: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: { name: edge, namespace: payments }
spec: { template: { metadata: { labels: { istio: ingressgateway } } } }
";
const OF_A_CLASS: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: edge, namespace: payments }
spec: { gatewayClassName: istio }
";
const INSTALLED: &str = "
apiVersion: install.istio.io/v1alpha1
kind: IstioOperator
metadata: { name: edge, namespace: istio-system }
spec: { components: { ingressGateways: [{ name: edge, namespace: payments, enabled: true }] } }
";
/// One that says what is served, and not where its pods are.
const BOUND: &str = "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: { name: edge, namespace: payments }
spec: { selector: { istio: ingressgateway } }
";
/// A service with a sidecar, and one without.
const SERVICE: &str = "
apiVersion: apps/v1
kind: StatefulSet
metadata: { name: payments, namespace: payments }
spec: { template: { metadata: { labels: { app: payments } } } }
";
const BARE: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: { name: bare, namespace: payments }
spec: { template: { metadata: { labels: { app: bare, sidecar.istio.io/inject: \"false\" } } } }
";

const MERGED: &str = "context: SIDECAR_INBOUND, listener: { filterChain: { filter: { subFilter: { name: envoy.filters.http.ext_authz } } } }";
const BESIDE_ROUTER: &str = "context: SIDECAR_INBOUND, listener: { filterChain: { filter: { subFilter: { name: envoy.filters.http.router } } } }";

const OF_MANAGER: &str = "context: SIDECAR_INBOUND, listener: { filterChain: { filter: { name: envoy.filters.network.http_connection_manager } } }";
const LUA_ALONE: &str = "name: envoy.filters.http.lua";
pub(super) const TAKES_TRAILERS: &str = "name: trailers, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutation, mutations: { request_trailers_mutations: [{ remove_on_match: { key_matcher: { safe_regex: { regex: \".*\" } } } }] } }";
const RBAC: &str =
    "typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC }";
/// An ext_authz filter of a patch's own.
pub(super) const ASKS: &str = "name: envoy.filters.http.ext_authz, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz, grpc_service: { envoy_grpc: { cluster_name: stagedoor }, timeout: 0.2s }, status_on_error: { code: ServiceUnavailable }, validate_mutations: true, encode_raw_headers: true }";
/// The same from somewhere else.
const ASKS_ELSEWHERE: &str =
    "name: envoy.filters.http.ext_authz, config_discovery: { config_source: { ads: {} } }";
const TCP_PROXY: &str = "name: envoy.filters.network.tcp_proxy, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, cluster: service }";

/// One patch.
fn patch(target: &str, matched: &str, operation: &str, value: &str) -> String {
    format!(
        "    - applyTo: {target}\n      match: {{ {matched} }}\n      patch: {{ operation: {operation}, value: {{ {value} }} }}\n"
    )
}

/// The good mesh with one more patch.
fn patched(target: &str, matched: &str, operation: &str, value: &str) -> String {
    format!("{ISTIO}{}", patch(target, matched, operation, value))
}

/// What one patch puts in, and the other delivers.
fn delivered(matched: &str, operation: &str, name: &str, config: &str) -> String {
    let put = format!("name: {name}, config_discovery: {{ config_source: {{ ads: {{}} }} }}");
    let given = format!("name: {name}, {config}");
    patch("HTTP_FILTER", matched, operation, &put)
        + &patch("EXTENSION_CONFIG", "context: SIDECAR_INBOUND", "ADD", &given)
}

/// A connection manager that is given whole, with its filters before the router.
fn manager(filters: &str) -> String {
    format!(
        "name: envoy.filters.network.http_connection_manager, typed_config: {{ \"@type\": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager, normalize_path: true, merge_slashes: true, use_remote_address: true, path_with_escaped_slashes_action: REJECT_REQUEST, common_http_protocol_options: {{ headers_with_underscores_action: REJECT_REQUEST }}, route_config: {{ virtual_hosts: [{{ name: all, domains: [\"*\"], routes: [{{ match: {{ prefix: / }}, route: {{ cluster: service }} }}] }}] }}, http_filters: [{{ {filters} }}, {{ {TAKES_TRAILERS} }}, {{ name: envoy.filters.http.router }}] }}"
    )
}

fn chain_of(filter: &str) -> String {
    format!("filters: [{{ {filter} }}]")
}

fn listener_of(filter: &str) -> String {
    format!("name: more, filter_chains: [{{ {} }}]", chain_of(filter))
}

/// Rows for the table of all rules.
pub(super) fn rows() -> Vec<Row> {
    let provider = |old: &str, new: &str| with(ISTIO, old, new);
    let open = with(ASKS, "validate_mutations", "failure_mode_allow: true, validate_mutations");
    let matched = format!(
        "{} }} }}",
        with(
            ASKS,
            "typed_config: {",
            "typed_config: { \"@type\": type.googleapis.com/envoy.extensions.common.matching.v3.ExtensionWithMatcher, extension_config: { name: a, typed_config: {",
        )
    );
    let off_for_a_route = format!("routes: [{{ {} }}]", OFF.trim_end());
    let http_provider =
        "envoyExtAuthzHttp:\n          headersToUpstreamOnAllow: [x-stagedoor-kind]";
    vec![
        (
            "failure_mode_allow",
            "ConfigMap istio-system/istio data.mesh.extensionProviders[0]",
            provider("timeout: 0.2s", "failOpen: true"),
        ),
        (
            "failure_mode_allow",
            "EnvoyFilter payments/strict spec.configPatches[1]",
            behind(ISTIO, PATCHED, 12, "failure_mode_allow: true\n"),
        ),
        (
            "filter_disabled",
            "EnvoyFilter payments/strict spec.configPatches[3]",
            format!(
                "{ISTIO}    - applyTo: HTTP_FILTER\n      match: {{ listener: {{ filterChain: {{ filter: {{ subFilter: {{ name: envoy.filters.http.ext_authz }} }} }} }} }}\n      patch: {{ operation: REMOVE }}\n"
            ),
        ),
        (
            "filter_disabled",
            "EnvoyFilter payments/strict spec.configPatches[3]",
            patched("HTTP_FILTER", MERGED, "REPLACE", "name: envoy.filters.http.lua"),
        ),
        // Without a name it takes the place of every filter.
        (
            "filter_disabled",
            "EnvoyFilter payments/strict spec.configPatches[3]",
            patched("HTTP_FILTER", "context: ANY", "REPLACE", "name: envoy.filters.http.lua"),
        ),
        (
            "filter_disabled",
            "configPatches[3].patch.value.disabled",
            patched(
                "HTTP_FILTER",
                MERGED,
                "MERGE",
                "name: envoy.filters.http.ext_authz, disabled: true",
            ),
        ),
        (
            "filter_disabled_on_route",
            "configPatches[3].patch.value.typed_per_filter_config",
            patched("HTTP_ROUTE", "context: SIDECAR_INBOUND", "MERGE", OFF.trim_end()),
        ),
        // On each level of what is patched.
        (
            "filter_disabled_on_route",
            "configPatches[3].patch.value.routes[0].typed_per_filter_config",
            patched("VIRTUAL_HOST", "context: GATEWAY", "MERGE", &off_for_a_route),
        ),
        (
            "filter_disabled_on_route",
            "configPatches[3].patch.value.virtual_hosts[0].routes[0].typed_per_filter_config",
            patched(
                "ROUTE_CONFIGURATION",
                "context: GATEWAY",
                "MERGE",
                &format!("virtual_hosts: [{{ {off_for_a_route} }}]"),
            ),
        ),
        (
            "filter_missing",
            "configPatches[3].patch.value.typed_config.http_filters",
            patched("NETWORK_FILTER", OF_MANAGER, "REPLACE", &manager(LUA_ALONE)),
        ),
        (
            "filter_missing",
            "configPatches[3].patch.value.typed_config.http_filters",
            patched("NETWORK_FILTER", OF_MANAGER, "INSERT_BEFORE", &manager(LUA_ALONE)),
        ),
        (
            "filter_missing",
            "configPatches[3].patch.value.filters[0].typed_config.http_filters",
            patched("FILTER_CHAIN", "context: GATEWAY", "ADD", &chain_of(&manager(LUA_ALONE))),
        ),
        (
            "filter_missing",
            "EnvoyFilter payments/strict spec.configPatches[3]",
            patched("NETWORK_FILTER", OF_MANAGER, "REPLACE", TCP_PROXY),
        ),
        // What asks by itself is judged like a plain Envoy's.
        (
            "failure_mode_allow",
            "configPatches[3].patch.value.typed_config.failure_mode_allow",
            patched("HTTP_FILTER", BESIDE_ROUTER, "INSERT_BEFORE", &open),
        ),
        (
            "failure_mode_allow",
            "configPatches[3].patch.value.typed_config.failure_mode_allow",
            patched("HTTP_FILTER", "context: SIDECAR_INBOUND", "ADD", &open),
        ),
        (
            "failure_mode_allow",
            "configPatches[3].patch.value.typed_config.failure_mode_allow",
            patched("HTTP_FILTER", MERGED, "REPLACE", &open),
        ),
        (
            "filter_conditional",
            "EnvoyFilter payments/strict spec.configPatches[3].patch.value",
            patched("HTTP_FILTER", BESIDE_ROUTER, "INSERT_BEFORE", &matched),
        ),
        (
            "not_seen",
            "EnvoyFilter payments/strict spec.configPatches[3].patch.value",
            patched("HTTP_FILTER", BESIDE_ROUTER, "INSERT_BEFORE", ASKS_ELSEWHERE),
        ),
        (
            "failure_mode_allow",
            "value.typed_config.http_filters[0].typed_config.failure_mode_allow",
            patched("NETWORK_FILTER", OF_MANAGER, "REPLACE", &manager(&open)),
        ),
        (
            "failure_mode_allow",
            "value.typed_config.http_filters[0].typed_config.failure_mode_allow",
            patched("NETWORK_FILTER", "context: GATEWAY", "ADD", &manager(&open)),
        ),
        (
            "failure_mode_allow",
            "value.filters[0].typed_config.http_filters[0].typed_config.failure_mode_allow",
            patched("FILTER_CHAIN", "context: GATEWAY", "ADD", &chain_of(&manager(&open))),
        ),
        (
            "failure_mode_allow",
            "value.filter_chains[0].filters[0].typed_config.http_filters[0].typed_config",
            patched("LISTENER", "context: GATEWAY", "ADD", &listener_of(&manager(&open))),
        ),
        (
            "status_on_error",
            "value.typed_config.http_filters[0].typed_config",
            patched(
                "NETWORK_FILTER",
                OF_MANAGER,
                "INSERT_BEFORE",
                &with(&manager(ASKS), "status_on_error: { code: ServiceUnavailable }, ", ""),
            ),
        ),
        (
            "filter_before",
            "value.typed_config.http_filters[0]",
            patched(
                "NETWORK_FILTER",
                OF_MANAGER,
                "REPLACE",
                &manager(&format!("{LUA_ALONE} }}, {{ {ASKS}")),
            ),
        ),
        (
            "filter_after",
            "value.filters[0].typed_config.http_filters[1]",
            patched(
                "FILTER_CHAIN",
                "context: GATEWAY",
                "ADD",
                &chain_of(&manager(&format!("{ASKS} }}, {{ {LUA_ALONE}"))),
            ),
        ),
        (
            "normalize_path",
            "value.typed_config",
            patched(
                "NETWORK_FILTER",
                OF_MANAGER,
                "INSERT_FIRST",
                &with(&manager(ASKS), "normalize_path: true, ", ""),
            ),
        ),
        (
            "escaped_slashes",
            "value.filters[0].typed_config.path_with_escaped_slashes_action",
            patched(
                "FILTER_CHAIN",
                "context: GATEWAY",
                "ADD",
                &chain_of(&with(
                    &manager(ASKS),
                    "slashes_action: REJECT_REQUEST",
                    "slashes_action: KEEP_UNCHANGED",
                )),
            ),
        ),
        (
            "headers_with_underscores",
            "value.filter_chains[0].filters[0].typed_config",
            patched(
                "LISTENER",
                "context: GATEWAY",
                "ADD",
                &listener_of(&with(
                    &manager(ASKS),
                    "common_http_protocol_options: { headers_with_underscores_action: REJECT_REQUEST }, ",
                    "",
                )),
            ),
        ),
        (
            "filter_disabled_on_route",
            "route_config.virtual_hosts[0].routes[0].typed_per_filter_config",
            patched(
                "NETWORK_FILTER",
                OF_MANAGER,
                "REPLACE",
                &with(
                    &manager(ASKS),
                    "match: { prefix: / }",
                    &format!("match: {{ prefix: / }}, {}", OFF.trim_end()),
                ),
            ),
        ),
        // Merged into what is there: the routes can be read, the filters' places can't.
        (
            "filter_disabled_on_route",
            "value.typed_config.route_config.typed_per_filter_config",
            behind(ISTIO, REJECTED, 12, &format!("route_config: {{ {} }}\n", OFF.trim_end())),
        ),
        (
            "not_seen",
            "value.typed_config.http_filters",
            behind(ISTIO, REJECTED, 12, &format!("http_filters: [{{ {ASKS} }}]\n")),
        ),
        (
            "not_seen",
            "typed_config.upgrade_configs[0].filters",
            behind(
                ISTIO,
                REJECTED,
                12,
                &format!("upgrade_configs: [{{ upgrade_type: a, filters: [{{ {ASKS} }}] }}]\n"),
            ),
        ),
        (
            "not_seen",
            "EnvoyFilter payments/strict spec.configPatches[3]",
            patched("LISTENER", "context: GATEWAY", "MERGE", &listener_of(&manager(ASKS))),
        ),
        (
            "not_seen",
            "EnvoyFilter payments/strict spec.configPatches[3]",
            patched("FILTER_CHAIN", "context: GATEWAY", "ADD", &chain_of(TCP_PROXY)),
        ),
        (
            "not_seen",
            "EnvoyFilter payments/strict spec.configPatches[3]",
            patched("NETWORK_FILTER", OF_MANAGER, "REMOVE", ""),
        ),
        (
            "not_seen",
            "EnvoyFilter payments/strict spec.configPatches[3].patch.value",
            patched(
                "NETWORK_FILTER",
                OF_MANAGER,
                "REPLACE",
                "name: a, config_discovery: { config_source: { ads: {} } }",
            ),
        ),
        (
            "filter_before",
            "configPatches[3].patch.value",
            patched("HTTP_FILTER", BESIDE_ROUTER, "INSERT_FIRST", "name: envoy.filters.http.lua"),
        ),
        (
            "filter_before",
            "configPatches[3].patch.value",
            patched("HTTP_FILTER", MERGED, "INSERT_BEFORE", "name: envoy.filters.http.lua"),
        ),
        (
            "filter_after",
            "configPatches[3].patch.value",
            patched("HTTP_FILTER", BESIDE_ROUTER, "INSERT_BEFORE", "name: envoy.filters.http.lua"),
        ),
        (
            "filter_after",
            "configPatches[3].patch.value",
            patched("HTTP_FILTER", MERGED, "INSERT_AFTER", "name: envoy.filters.http.lua"),
        ),
        // What takes trailers away may do nothing else.
        (
            "filter_after",
            "configPatches[3].patch.value",
            patched(
                "HTTP_FILTER",
                BESIDE_ROUTER,
                "INSERT_BEFORE",
                &with(TAKES_TRAILERS, "request_trailers_mutations", "request_mutations"),
            ),
        ),
        ("request_trailers", "AuthorizationPolicy payments/stagedoor", with(ISTIO, TAKEN, LEFT)),
        (
            "request_trailers",
            "value.typed_config.http_filters",
            patched(
                "NETWORK_FILTER",
                OF_MANAGER,
                "REPLACE",
                &with(&manager(ASKS), "regex: \".*\"", "regex: x-other"),
            ),
        ),
        (
            "request_trailers",
            "configPatches[3].patch.value.typed_per_filter_config",
            patched(
                "HTTP_ROUTE",
                "context: SIDECAR_INBOUND",
                "MERGE",
                OFF_FOR_ANY
                    .replace("envoy.filters.http.ext_authz", "stagedoor.trailers")
                    .trim_end(),
            ),
        ),
        // What comes from elsewhere is not what it is called.
        (
            "not_seen",
            "EnvoyFilter payments/strict spec.configPatches[3].patch.value",
            patched(
                "HTTP_FILTER",
                BESIDE_ROUTER,
                "INSERT_BEFORE",
                &with(ASKS_ELSEWHERE, "ext_authz", "rbac"),
            ),
        ),
        (
            "not_seen",
            "EnvoyFilter payments/strict spec.configPatches[3].patch.value",
            patched(
                "HTTP_FILTER",
                MERGED,
                "REPLACE",
                &with(ASKS_ELSEWHERE, "envoy.filters.http.ext_authz", "stagedoor"),
            ),
        ),
        (
            "not_seen",
            "EnvoyFilter payments/strict spec.configPatches[3]",
            patched("LISTENER", "context: SIDECAR_INBOUND", "MERGE", "name: a"),
        ),
        (
            "filter_before",
            "WasmPlugin payments/early",
            format!(
                "{ISTIO}---\napiVersion: extensions.istio.io/v1alpha1\nkind: WasmPlugin\nmetadata: {{ name: early, namespace: payments }}\nspec: {{ phase: AUTHN }}\n"
            ),
        ),
        (
            "clear_route_cache",
            "clearRouteCache",
            provider("timeout: 0.2s", "clearRouteCache: true"),
        ),
        ("normalize_path", "normalization", provider("DECODE_AND_MERGE_SLASHES", "NONE")),
        ("merge_slashes", "normalization", provider("DECODE_AND_MERGE_SLASHES", "BASE")),
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
            "headers_with_underscores",
            "AuthorizationPolicy payments/stagedoor",
            with(ISTIO, UNDERSCORES, ""),
        ),
        (
            "identity_headers_not_covered",
            "headersToUpstreamOnAllow",
            provider("envoyExtAuthzGrpc:", http_provider),
        ),
        ("timeout_too_short", "envoyExtAuthzGrpc.timeout", provider("0.2s", "100ms")),
        (
            "status_on_error",
            "envoyExtAuthzGrpc",
            provider("          statusOnError: \"503\"\n", ""),
        ),
        ("validate_mutations", "AuthorizationPolicy payments/stagedoor", with(ISTIO, PATCHED, "")),
        (
            "validate_mutations",
            "configPatches[1].patch.value.typed_config.validate_mutations",
            with(ISTIO, "validate_mutations: true", "validate_mutations: false"),
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
            "includeRequestBodyInCheck",
            provider("timeout: 0.2s", "includeRequestBodyInCheck: { maxRequestBytes: 8192 }"),
        ),
        ("not_asked", "extensionProviders[0]", provider("action: CUSTOM", "action: ALLOW")),
        (
            "not_asked",
            "AuthorizationPolicy payments/stagedoor",
            provider("rules: [{}]", "rules: []"),
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
        ("not_seen", "spec.provider.name", ISTIO.split_once("---\n").unwrap().1.to_owned()),
    ]
}

#[test]
fn what_is_as_it_should_be_yields_nothing() {
    assert_nothing(&found(ISTIO));
    let plain = with(ISTIO, "    pathNormalization", "    other: 1\n    pathNormalization");
    assert_nothing(&found(&plain));
    // A provider that is asked for something else.
    let traces = "      - name: traces\n        zipkin: { service: zipkin, port: 9411 }\n";
    assert_nothing(&found(&behind(ISTIO, "    extensionProviders:\n", 0, traces)));
    // Patches of something else, and those of what leaves a service.
    let other = MERGED.replace("ext_authz", "cors");
    let (_, asks) = ASKS.split_once(", ").unwrap();
    for text in [
        patched("HTTP_FILTER", &other, "REPLACE", LUA_ALONE),
        patched("HTTP_FILTER", &MERGED.replace("INBOUND", "OUTBOUND"), "INSERT_FIRST", LUA_ALONE),
        patched(
            "HTTP_FILTER",
            "context: SIDECAR_INBOUND",
            "INSERT_FIRST",
            "name: envoy.filters.http.rbac",
        ),
        // Trailers are no part of what is decided about, on either side.
        patched("HTTP_FILTER", BESIDE_ROUTER, "INSERT_BEFORE", TAKES_TRAILERS),
        patched("HTTP_FILTER", "context: SIDECAR_INBOUND", "INSERT_FIRST", TAKES_TRAILERS),
        patched("EXTENSION_CONFIG", "context: SIDECAR_INBOUND", "ADD", TAKES_TRAILERS),
        patched("CLUSTER", "context: SIDECAR_INBOUND", "MERGE", "name: a"),
        patched("HTTP_FILTER", MERGED, "REPLACE", ASKS),
        patched("HTTP_FILTER", BESIDE_ROUTER, "INSERT_BEFORE", ASKS),
        // Whole connection managers.
        patched("NETWORK_FILTER", OF_MANAGER, "REPLACE", &manager(ASKS)),
        patched("NETWORK_FILTER", OF_MANAGER, "INSERT_BEFORE", &manager(ASKS)),
        patched("NETWORK_FILTER", "context: SIDECAR_INBOUND", "ADD", TCP_PROXY),
        patched("FILTER_CHAIN", "context: GATEWAY", "ADD", &chain_of(&manager(ASKS))),
        patched("LISTENER", "context: GATEWAY", "ADD", &listener_of(&manager(ASKS))),
        patched(
            "LISTENER",
            "context: ANY",
            "ADD",
            &format!("traffic_direction: OUTBOUND, {}", listener_of(&manager(LUA_ALONE))),
        ),
        // What one patch has delivered and the other delivers, whatever it is called.
        format!(
            "{}{}",
            patched("HTTP_FILTER", BESIDE_ROUTER, "INSERT_BEFORE", ASKS_ELSEWHERE),
            patch("EXTENSION_CONFIG", "context: SIDECAR_INBOUND", "ADD", ASKS)
        ),
        format!("{ISTIO}{}", delivered(BESIDE_ROUTER, "INSERT_BEFORE", "asks", asks)),
        format!("{ISTIO}{}", delivered(MERGED, "REPLACE", "asks", asks)),
        format!("{ISTIO}{}", delivered(BESIDE_ROUTER, "INSERT_FIRST", "refuses", RBAC)),
    ] {
        assert_nothing(&found(&text));
    }
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
        for code in MISSING {
            assert!(alone.contains(&(code, subject.to_owned())), "{code} {subject}: {alone:?}");
        }
    }
    // Merged slashes are in the mesh's own words; each policy lacks the rest.
    let slashes = ("escaped_slashes", "meshConfig.pathNormalization.normalization".to_owned());
    assert_eq!(alone.iter().filter(|one| **one == slashes).count(), 2);
    assert_eq!(alone.len(), 10, "{alone:?}");

    // Patches of one kind of proxy are none of the other.
    let sidecars = whole.replace("context: GATEWAY", "context: SIDECAR_INBOUND");
    let gateway = "AuthorizationPolicy istio-ingress/stagedoor";
    let expected = [
        ("encode_raw_headers", gateway),
        ("escaped_slashes", "meshConfig.pathNormalization.normalization"),
        ("headers_with_underscores", gateway),
        ("request_trailers", gateway),
        ("validate_mutations", gateway),
    ];
    let expected = expected.map(|(code, place)| (code, place.to_owned()));
    assert_eq!(about(&sidecars), BTreeSet::from(expected));
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
    // By the one listener that all comes in by.
    let inbound = |text: &str| {
        text.replace("{ context: SIDECAR_INBOUND }", "{ listener: { name: virtualInbound } }")
            .replace(
                "{ context: SIDECAR_INBOUND, listener: { ",
                "{ listener: { name: virtualInbound, ",
            )
    };
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
        context(&targeted, "WAYPOINT"),
        inbound(ISTIO),
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
        context(ISTIO, "WAYPOINT"),
        inbound(&gateway),
        inbound(&targeted),
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
        assert_eq!(codes, MISSING, "{text}");
    }
    // Of the root namespace's policies sidecars and gateways are both asked about.
    let root = ISTIO.replace("namespace: payments", "namespace: istio-system");
    let codes = found(&root);
    assert_eq!(codes.len(), MISSING.len(), "{codes:?}");
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
    let lacks = ["headers_with_underscores", "request_trailers"].map(|code| (code, own.clone()));
    assert_eq!(about(&both), BTreeSet::from(lacks.clone()));
    let mut unseen = BTreeSet::from(lacks);
    unseen.insert(("not_seen", own));
    assert_eq!(about(BROUGHT), unseen);
    // So is one in another filter's place.
    let replaced = with(BROUGHT, "INSERT_BEFORE", "REPLACE").replace("http.router", "http.cors");
    assert_eq!(about(&replaced), about(BROUGHT));
    // One that asks over HTTP must have the headers taken over; the cluster is Istio's.
    let grpc = "grpc_service: { envoy_grpc: { cluster_name: stagedoor }, timeout: 0.2s }";
    let http = "http_service: { server_uri: { uri: a, cluster: stagedoor, timeout: 0.2s } }";
    let mut expected = about(BROUGHT);
    expected.insert(("identity_headers_not_covered", "EnvoyFilter istio-system/own".to_owned()));
    assert_eq!(about(&with(BROUGHT, grpc, http)), expected);
    let (_, strict) = ISTIO.rsplit_once("---\n").unwrap();
    let strict = strict.replace("SIDECAR_INBOUND", "GATEWAY");
    let strict = strict.replace("namespace: payments", "namespace: istio-system");
    let strict = with(&strict, REJECTED, &format!("{paths}{REJECTED}"));
    assert_nothing(&found(&format!("{strict}---{BROUGHT}")));
}

/// What a policy holds for that doesn't say it is read from what runs in its namespace.
#[test]
fn what_runs_in_a_namespace() {
    let beside = |context: &str, objects: &[&str]| {
        format!("{}---{}", ISTIO.replace("SIDECAR_INBOUND", context), objects.join("---"))
    };
    let codes = |text: &str| -> Vec<&str> { found(text).into_iter().map(|one| one.0).collect() };
    for gateway in [INJECTED, LABELLED, OF_A_CLASS, INSTALLED] {
        assert_nothing(&found(&beside("GATEWAY", &[gateway])));
        assert_nothing(&found(&beside("GATEWAY", &[gateway, BARE])));
        assert_eq!(codes(&beside("SIDECAR_INBOUND", &[gateway])), MISSING, "{gateway}");
        // Beside a service neither is enough.
        assert_nothing(&found(&beside("ANY", &[gateway, SERVICE])));
        assert_eq!(codes(&beside("GATEWAY", &[gateway, SERVICE])), MISSING, "{gateway}");
        assert_eq!(codes(&beside("SIDECAR_INBOUND", &[gateway, SERVICE])), MISSING, "{gateway}");
        // What runs elsewhere is nothing to it.
        let elsewhere = gateway.replace("namespace: payments", "namespace: edge");
        assert_nothing(&found(&beside("SIDECAR_INBOUND", &[elsewhere.as_str()])));
    }
    assert_nothing(&found(&beside("SIDECAR_INBOUND", &[SERVICE])));

    // With a selector it is those that have its labels.
    let selected = beside("GATEWAY", &[INJECTED, SERVICE]);
    let policy = "  action: CUSTOM\n";
    let selector = |label: &str| format!("  selector: {{ matchLabels: {{ {label} }} }}\n{policy}");
    assert_nothing(&found(&with(&selected, policy, &selector("app: edge"))));
    assert_eq!(codes(&with(&selected, policy, &selector("app: payments"))), MISSING);
}

/// Where both can be meant, both are judged, and it is said.
#[test]
fn what_may_run_in_a_namespace() {
    let said = |text: &str| {
        let mut report = Report::default();
        look(&input(text), own(), &mut report).unwrap();
        report.text()
    };
    let doubt = "(whether sidecars or gateways run in its namespace is not told in here)";
    let gateways = ISTIO.replace("SIDECAR_INBOUND", "GATEWAY");
    let alone = said(&gateways);
    assert!(alone.contains(doubt) && alone.contains("all sidecars of"), "{alone}");
    for (text, whom) in [(ISTIO, "all gateways of"), (&*gateways, "all sidecars of")] {
        let text = format!("{text}---{BOUND}");
        assert_eq!(found(&text).len(), MISSING.len());
        assert!(said(&text).contains(doubt) && said(&text).contains(whom), "{}", said(&text));
    }
    assert_nothing(&found(&format!("{}---{BOUND}", ISTIO.replace("SIDECAR_INBOUND", "ANY"))));
    let told = said(&format!("{gateways}---{BOUND}---{SERVICE}"));
    assert!(told.contains("all sidecars of") && !told.contains("not told"), "{told}");
}

/// Trailers are taken away where a patch is sure to put a filter before the router.
#[test]
fn which_patches_take_trailers_away() {
    let open = with(ISTIO, TAKEN, LEFT);
    let pass = |text: &str| {
        let found = found(text);
        let pass = matches!(found.as_slice(), [("request_trailers", _, at)] if at == "AuthorizationPolicy payments/stagedoor");
        assert!(pass || found.is_empty(), "{text}: {found:?}");
        pass
    };
    assert!(pass(&open));
    let beside_cors = MERGED.replace("ext_authz", "cors");
    let beside_own = MERGED.replace("envoy.filters.http.ext_authz", "own");
    let beside_nothing = "context: SIDECAR_INBOUND";
    let within =
        |name: &str| with(BESIDE_ROUTER, " filter: {", &format!(" filter: {{ name: {name},"));
    let of_manager = within("envoy.filters.network.http_connection_manager");
    let of_another = within("envoy.filters.network.tcp_proxy");
    for (matched, operation, passes) in [
        (BESIDE_ROUTER, "INSERT_BEFORE", false),
        (&*of_manager, "INSERT_BEFORE", false),
        (&*of_another, "INSERT_BEFORE", true),
        (MERGED, "INSERT_BEFORE", false),
        (MERGED, "INSERT_AFTER", false),
        (beside_nothing, "INSERT_BEFORE", false),
        (beside_nothing, "INSERT_FIRST", false),
        (&*beside_cors, "INSERT_FIRST", false),
        // What may not be there puts nothing in its place.
        (&*beside_cors, "INSERT_BEFORE", true),
        (&*beside_cors, "REPLACE", true),
        (&*beside_own, "INSERT_AFTER", true),
        // Behind the router.
        (BESIDE_ROUTER, "INSERT_AFTER", true),
        (beside_nothing, "INSERT_AFTER", true),
        (beside_nothing, "ADD", true),
        // For others, or for some of their listeners.
        ("context: GATEWAY", "INSERT_FIRST", true),
        ("context: SIDECAR_OUTBOUND", "INSERT_FIRST", true),
        ("context: SIDECAR_INBOUND, listener: { portNumber: 80 }", "INSERT_FIRST", true),
    ] {
        let text = format!("{open}{}", patch("HTTP_FILTER", matched, operation, TAKES_TRAILERS));
        assert_eq!(pass(&text), passes, "{operation} {matched}");
    }
    // Each takes what it names, and runs for every request.
    let regex = "safe_regex: { regex: \".*\" }";
    let off = with(TAKES_TRAILERS, "name: trailers", "name: trailers, disabled: true");
    let matched = with(
        TAKES_TRAILERS,
        "typed_config: {",
        "typed_config: { \"@type\": type.googleapis.com/envoy.extensions.common.matching.v3.ExtensionWithMatcher, extension_config: { name: a, typed_config: {",
    ) + " } }";
    for value in [off, matched, with(TAKES_TRAILERS, regex, "suffix: entity")] {
        let text =
            format!("{open}{}", patch("HTTP_FILTER", BESIDE_ROUTER, "INSERT_BEFORE", &value));
        assert!(pass(&text), "{value}");
    }
    let some = with(&open, LEFT, "remove_on_match: { key_matcher: { prefix: x-stagedoor-s } }");
    let rest = with(TAKES_TRAILERS, regex, "safe_regex: { regex: x-stagedoor-.* }");
    assert!(pass(&some));
    let both = format!("{some}{}", patch("HTTP_FILTER", BESIDE_ROUTER, "INSERT_BEFORE", &rest));
    assert!(!pass(&both));

    // Beside the filter that asks, also where a patch brings it.
    let (_, takes) = TAKES_TRAILERS.split_once(", ").unwrap();
    let own = with(ASKS, "name: envoy.filters.http.ext_authz", "name: own");
    let own = format!("{open}{}", patch("HTTP_FILTER", BESIDE_ROUTER, "INSERT_BEFORE", &own));
    let beside = patch("HTTP_FILTER", &beside_own, "INSERT_AFTER", TAKES_TRAILERS);
    assert_eq!(found(&own).len(), 2, "{:?}", found(&own));
    assert!(pass(&format!("{own}{beside}")));
    // Not before it is there, which of two objects nobody knows.
    let (before, asks) = own.split_at(open.len());
    assert_eq!(found(&format!("{before}{beside}{asks}")).len(), 2);
    let later = "---\napiVersion: networking.istio.io/v1alpha3\nkind: EnvoyFilter\nmetadata: { name: later, namespace: payments }\nspec:\n  configPatches:\n";
    assert_eq!(found(&format!("{own}{later}{beside}")).len(), 2);
    // Nor where it is taken out again, or its place is taken.
    let takes_before = patch("HTTP_FILTER", BESIDE_ROUTER, "INSERT_BEFORE", TAKES_TRAILERS);
    let taken = format!("{open}{takes_before}");
    assert!(!pass(&taken));
    let named = BESIDE_ROUTER.replace("envoy.filters.http.router", "trailers");
    let elsewhere = named.replace("SIDECAR_INBOUND", "GATEWAY");
    let other = named.replace("trailers", "other");
    for (matched, operation, passes) in [
        (&named, "REMOVE", true),
        (&named, "REPLACE", true),
        (&other, "REMOVE", false),
        (&elsewhere, "REMOVE", false),
    ] {
        let gone = patch("HTTP_FILTER", matched, operation, "name: envoy.filters.http.rbac");
        assert_eq!(pass(&format!("{taken}{gone}")), passes, "{operation} {matched}");
    }
    // What another patch delivers.
    assert!(!pass(&format!("{open}{}", delivered(BESIDE_ROUTER, "INSERT_BEFORE", "a", takes))));
}
