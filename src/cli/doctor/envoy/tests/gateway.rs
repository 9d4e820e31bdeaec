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
            format!(
                "{GATEWAY}---\napiVersion: gateway.envoyproxy.io/v1alpha1\nkind: EnvoyExtensionPolicy\nmetadata: {{ name: more, namespace: edge }}\nspec: {{ lua: [{{ type: Inline }}] }}\n"
            ),
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
}
