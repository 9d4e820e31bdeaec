//! Envoy Gateway: one row for each rule that its policies can break.

use super::*;

const GATEWAY_FILES: [&str; 3] = [
    include_str!("../../../../../deploy/envoy-gateway/clients.yaml"),
    include_str!("../../../../../deploy/envoy-gateway/gateway.yaml"),
    include_str!("../../../../../deploy/envoy-gateway/stagedoor.yaml"),
];

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

/// A filter of somebody's own.
const EXTENSION: &str = "---
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: EnvoyExtensionPolicy
metadata: { name: more, namespace: edge }
spec: { lua: [{ type: Inline }] }
";

/// A proxy that has one filter at another place.
fn ordered(name: &str, side: &str, other: &str) -> String {
    format!(
        "---\napiVersion: gateway.envoyproxy.io/v1alpha1\nkind: EnvoyProxy\nmetadata: {{ name: proxy, namespace: edge }}\nspec:\n  filterOrder:\n    - {{ name: envoy.filters.http.{name}, {side}: envoy.filters.http.{other} }}\n"
    )
}

const GRPC: &str = "    grpc:\n      backendRefs: [{ name: stagedoor, port: 9191 }]\n";

/// Rows for the table of all rules.
pub(super) fn rows() -> Vec<Row> {
    vec![
        (
            "failure_mode_allow",
            "SecurityPolicy edge/stagedoor spec.extAuth.failOpen",
            with(GATEWAY, "failOpen: false", "failOpen: true"),
        ),
        (
            "filter_disabled_on_route",
            "SecurityPolicy edge/open",
            format!(
                "{GATEWAY}---\napiVersion: gateway.envoyproxy.io/v1alpha1\nkind: SecurityPolicy\nmetadata: {{ name: open, namespace: edge }}\nspec:\n  targetRefs: [{{ kind: HTTPRoute, name: open }}]\n  cors: {{}}\n"
            ),
        ),
        (
            "filter_after",
            "EnvoyExtensionPolicy edge/more spec.lua[0]",
            format!("{GATEWAY}{EXTENSION}"),
        ),
        (
            "filter_before",
            "EnvoyProxy edge/proxy spec.filterOrder",
            format!("{GATEWAY}{}", ordered("lua", "before", "ext_authz")),
        ),
        (
            "filter_after",
            "EnvoyProxy edge/proxy spec.filterOrder",
            format!("{GATEWAY}{}", ordered("wasm", "after", "ext_authz")),
        ),
        (
            "clear_route_cache",
            "recomputeRoute",
            with(GATEWAY, "failOpen: false", "recomputeRoute: true"),
        ),
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
            "withUnderscoresAction",
            with(GATEWAY, "withUnderscoresAction: RejectRequest", "withUnderscoresAction: Allow"),
        ),
        (
            "authorization_not_sent",
            "headersToExtAuth",
            with(GATEWAY, "[accept, authorization]", "[accept]"),
        ),
        (
            "plaintext",
            "spec.extAuth.grpc.backendRefs[0]",
            with(GATEWAY, "kind: Service, name: stagedoor", "kind: Service, name: another"),
        ),
        // One without a specification rejects nothing.
        (
            "escaped_slashes",
            "ClientTrafficPolicy edge/edge",
            format!(
                "{}metadata: {{ name: edge, namespace: edge }}\n",
                GATEWAY.rsplit_once("metadata: { name: edge, namespace: edge }\n").unwrap().0
            ),
        ),
        (
            "with_request_body",
            "spec.extAuth.bodyToExtAuth",
            with(GATEWAY, "failOpen: false", "bodyToExtAuth: { maxRequestBytes: 8192 }"),
        ),
        (
            "timeout_too_short",
            "spec.extAuth.timeout",
            with(GATEWAY, "failOpen: false", "timeout: 150ms"),
        ),
        (
            "status_on_error",
            "spec.extAuth.statusOnError",
            with(GATEWAY, "failOpen: false", "statusOnError: 403"),
        ),
        (
            "identity_headers_not_covered",
            "spec.extAuth.http.headersToBackend",
            with(
                GATEWAY,
                "    grpc:\n",
                "    http:\n      headersToBackend: [x-stagedoor-subject]\n",
            ),
        ),
        ("not_seen", "SecurityPolicy edge/stagedoor spec.extAuth", with(GATEWAY, GRPC, "")),
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
            "not_seen",
            "EnvoyPatchPolicy edge/patch",
            format!(
                "{GATEWAY}---\napiVersion: gateway.envoyproxy.io/v1alpha1\nkind: EnvoyPatchPolicy\nmetadata: {{ name: patch, namespace: edge }}\n"
            ),
        ),
    ]
}

#[test]
fn the_shipped_files_of_envoy_gateway_belong_together() {
    assert_nothing(&found(GATEWAY));
    assert_nothing(&found(&GATEWAY_FILES.join("\n---\n")));
    // As `kubectl get -o json` has several of them.
    let items: Vec<serde_json::Value> =
        yaml::parse(GATEWAY).unwrap().iter().map(yaml::Document::to_json).collect();
    let list = serde_json::json!({ "apiVersion": "v1", "kind": "List", "items": items });
    let list = serde_json::to_string_pretty(&list).unwrap();
    assert_nothing(&found(&list));
    let open = with(&list, "\"failOpen\": false", "\"failOpen\": true");
    assert!(matches!(found(&open).as_slice(), [("failure_mode_allow", ..)]), "{:?}", found(&open));
}

/// Over HTTP each identity header must be taken over, by its name or by a part of it.
#[test]
fn what_covers_the_identity_headers() {
    for (headers, covers) in [
        ("\"x-stagedoor-*\"", true),
        ("\"X-Stagedoor-*\"", true),
        ("\"*\"", true),
        ("\"*-subject\", \"*-tenant\", \"*-kind\", \"*-entity\", \"*-id\"", true),
        ("\"*-subject\", \"*-tenant\", \"*-kind\", \"*-entity\"", false),
        ("\"x-stagedoor-s*\"", false),
    ] {
        let http = format!("    http:\n      headersToBackend: [{headers}]\n");
        let found = found(&with(GATEWAY, "    grpc:\n", &http));
        let codes: Vec<&str> = found.iter().map(|(code, ..)| *code).collect();
        let expected: &[&str] = if covers { &[] } else { &["identity_headers_not_covered"] };
        assert_eq!(codes, expected, "{headers}");
    }
}

/// The way to a `Backend` is private where all of it is near, or where it has TLS.
#[test]
fn what_a_backend_says_of_the_way_to_it() {
    let to_backend =
        with(GATEWAY, "kind: Service, name: stagedoor", "kind: Service, name: another");
    let to_backend = with(&to_backend, "[{ name: stagedoor,", "[{ kind: Backend, name: stagedoor,");
    let beside = |name: &str, spec: &str| {
        format!(
            "{to_backend}---\napiVersion: gateway.envoyproxy.io/v1alpha1\nkind: Backend\nmetadata: {{ name: {name}, namespace: edge }}\nspec: {{ {spec} }}\n"
        )
    };
    let (near, far) =
        ("{ ip: { address: \"::1\", port: 9 } }", "{ ip: { address: 10.0.0.9, port: 9 } }");
    let unix = "{ unix: { path: /run/stagedoor.sock } }";
    for spec in [
        format!("endpoints: [{near}, {unix}]"),
        format!("endpoints: [{far}], tls: {{ wellKnownCACertificates: System }}"),
    ] {
        assert_nothing(&found(&beside("stagedoor", &spec)));
        let other = found(&beside("other", &spec));
        assert!(matches!(other.as_slice(), [("plaintext", ..)]), "{spec}: {other:?}");
    }
    for spec in [
        format!("endpoints: [{near}, {far}]"),
        "endpoints: [{ fqdn: { hostname: localhost, port: 9 } }]".to_owned(),
        "endpoints: []".to_owned(),
        "type: Endpoints".to_owned(),
    ] {
        let found = found(&beside("stagedoor", &spec));
        assert!(
            matches!(found.as_slice(), [("plaintext", _, at)] if at.ends_with("backendRefs[0]")),
            "{spec}: {found:?}"
        );
    }
    // Who isn't in here is not known to be near.
    assert!(matches!(found(&to_backend).as_slice(), [("plaintext", ..)]));
}

/// A policy of a route takes the place of its gateway's, unless it is merged into that.
#[test]
fn what_a_policy_of_a_route_makes_of_its_gateways() {
    let open = |spec: &str| {
        format!(
            "---\napiVersion: gateway.envoyproxy.io/v1alpha1\nkind: SecurityPolicy\nmetadata: {{ name: open, namespace: shop }}\nspec: {{ cors: {{}}, {spec} }}\n"
        )
    };
    let route = "targetRefs: [{ kind: HTTPRoute, name: open }]";
    let rule = "targetRefs: [{ kind: HTTPRoute, name: open, sectionName: a }]";
    let labelled = "targetSelectors: [{ kind: HTTPRoute, matchLabels: { a: b } }]";
    let listener = "targetRefs: [{ kind: Gateway, name: edge, sectionName: a }]";
    let set = "targetRefs: [{ kind: ListenerSet, name: more }]";
    let flagged = |text: &str| {
        let found = found(text);
        matches!(found.as_slice(), [("filter_disabled_on_route", _, place)] if place.starts_with("SecurityPolicy shop/open"))
    };
    for target in [route, rule, labelled] {
        for kind in ["StrategicMerge", "JSONMerge"] {
            let merged = open(&format!("mergeType: {kind}, {target}"));
            assert_nothing(&found(&format!("{GATEWAY}{merged}")));
            // Where no policy of a gateway asks there is nothing to be merged with.
            let gateway = "kind: Gateway, name: edge }]\n  extAuth";
            let beside = with(GATEWAY, gateway, "kind: GRPCRoute, name: edge }]\n  extAuth");
            assert!(flagged(&format!("{beside}{merged}")), "{merged}");
        }
        for kind in ["", "mergeType: Replace, "] {
            let alone = open(&format!("{kind}{target}"));
            assert!(flagged(&format!("{GATEWAY}{alone}")), "{alone}");
        }
    }
    // Only what is for routes is merged.
    for target in [listener, set] {
        let merged = open(&format!("mergeType: StrategicMerge, {target}"));
        assert!(flagged(&format!("{GATEWAY}{merged}")), "{merged}");
    }
    assert_nothing(&found(&format!(
        "{GATEWAY}{}",
        open("targetRefs: [{ kind: Gateway, name: other }]")
    )));
}

/// Filters count on the side of ext_authz that the order of a proxy has them on.
#[test]
fn the_order_of_filters() {
    let position = |name: &str, side: &str, other: &str| {
        format!("    - {{ name: envoy.filters.http.{name}, {side}: envoy.filters.http.{other} }}\n")
    };
    let logins = with(GATEWAY, "  extAuth:\n", "  oidc: {}\n  extAuth:\n");
    let codes = |text: &str| -> Vec<&str> { found(text).into_iter().map(|one| one.0).collect() };
    // What only refuses can stand anywhere, and what answers behind.
    for order in [
        ordered("ratelimit", "before", "ext_authz"),
        ordered("jwt_authn", "before", "ext_authz"),
        ordered("ext_authz", "after", "jwt_authn"),
        ordered("ext_authz", "before", "cors"),
        ordered("cors", "after", "ext_authz"),
        ordered("ext_authz", "before", "custom_response"),
        ordered("oauth2", "after", "jwt_authn"),
        // What is said last holds.
        ordered("basic_auth", "before", "cors") + &position("basic_auth", "after", "ext_authz"),
        ordered("oauth2", "before", "oauth2"),
    ] {
        assert_nothing(&found(&format!("{GATEWAY}{order}")));
    }
    for (order, code) in [
        (ordered("ext_authz", "after", "lua"), "filter_before"),
        (ordered("ext_proc", "before", "fault"), "filter_before"),
        (ordered("oauth2", "before", "ext_authz"), "filter_before"),
        (ordered("another", "before", "ext_authz"), "filter_before"),
        (ordered("ext_authz", "before", "lua"), "filter_after"),
        (
            ordered("wasm", "before", "ext_authz") + &position("ext_authz", "before", "wasm"),
            "filter_after",
        ),
    ] {
        assert_eq!(codes(&format!("{GATEWAY}{order}")), [code], "{order}");
    }
    // It says nothing of logins, and puts those that are there before.
    let moved = ordered("ext_authz", "after", "jwt_authn");
    assert_eq!(codes(&format!("{logins}{moved}")), ["filter_before"]);

    // An extension is judged where the order has it.
    let before = ordered("lua", "before", "ext_authz");
    let text = format!("{GATEWAY}{EXTENSION}{before}");
    assert_eq!(codes(&text), ["filter_before", "filter_before"]);
    assert!(about(&text).contains(&("filter_before", "EnvoyExtensionPolicy edge/more".to_owned())));
    let stays = ordered("lua", "after", "ext_authz");
    assert_eq!(codes(&format!("{GATEWAY}{EXTENSION}{stays}")), ["filter_after"]);
    // Which of two proxies it is in can't be told.
    let other = with(&stays, "name: proxy", "name: other");
    assert_eq!(
        codes(&format!("{GATEWAY}{EXTENSION}{before}{other}")),
        ["filter_before", "filter_before", "filter_after"]
    );
}
