//! Discovery and key documents, of the tenant and of `common` and `organizations`.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use serde_json::{Value, json};

use super::{Endpoint, Reply, Shared};

/// In place of a tenant's id in the issuers of documents for all tenants, literally.
const TEMPLATE: &str = "{tenantid}";

/// The documents for all tenants, and for those of organizations.
const EVERYBODY: [&str; 2] = ["common", "organizations"];

impl Shared {
    pub(crate) fn issuer_v1(&self, tenant: &str) -> String {
        format!("{}/v1/{tenant}/", self.authority)
    }

    pub(crate) fn issuer_v2(&self, tenant: &str) -> String {
        format!("{}/{tenant}/v2.0", self.authority)
    }

    /// A discovery document with what Entra's have. `segment` is the tenant in the
    /// addresses, `keys` in that of the key document.
    fn discovery(&self, segment: &str, keys: &str, issuer: &str, version: &str) -> Value {
        let base = format!("{}/{segment}", self.authority);
        json!({
            "issuer": issuer,
            "authorization_endpoint": format!("{base}/oauth2{version}/authorize"),
            "token_endpoint": format!("{base}/oauth2{version}/token"),
            "jwks_uri": format!("{}/{keys}/discovery{version}/keys", self.authority),
            "response_types_supported": ["code", "id_token", "code id_token", "id_token token"],
            "response_modes_supported": ["query", "fragment", "form_post"],
            "subject_types_supported": ["pairwise"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "token_endpoint_auth_methods_supported":
                ["client_secret_post", "private_key_jwt", "client_secret_basic"],
            "scopes_supported": ["openid", "profile", "email", "offline_access"],
            "claims_supported": ["sub", "iss", "aud", "exp", "iat", "tid", "ver"],
            "tenant_region_scope": "EU",
            "cloud_instance_name": "127.0.0.1",
        })
    }

    /// A v2.0 key document: each key with this issuer, or with its own.
    fn keys_v2(&self, issuer: &str) -> Value {
        let state = self.state();
        let keys: Vec<_> = state
            .keys
            .iter()
            .map(|key| key.key.jwk(Some(key.issuer.as_deref().unwrap_or(issuer))))
            .chain(state.extra.iter().cloned())
            .collect();
        json!({ "keys": keys })
    }

    /// A v1.0 key document names no issuers, so keys with one of their own are not in it.
    fn keys_v1(&self) -> Value {
        let state = self.state();
        let keys: Vec<_> = state
            .keys
            .iter()
            .filter(|key| key.issuer.is_none())
            .map(|key| key.key.jwk(None))
            .chain(state.extra.iter().cloned())
            .collect();
        json!({ "keys": keys })
    }
}

/// The routes of the tenant's documents, and of those for all tenants.
pub(super) fn routes(id: &str) -> Router<Arc<Shared>> {
    let own = documents(id.to_owned(), id.to_owned(), id.to_owned());
    EVERYBODY.iter().fold(own, |router, segment| {
        let segment = (*segment).to_owned();
        router.merge(documents(segment, "common".to_owned(), TEMPLATE.to_owned()))
    })
}

/// The four documents under `segment`, with `tenant` in their issuers and `keys` in the
/// address of the key document.
fn documents(segment: String, keys: String, tenant: String) -> Router<Arc<Shared>> {
    type Tenant = State<Arc<Shared>>;
    let v2_path = format!("/{segment}/v2.0/.well-known/openid-configuration");
    let v1_path = format!("/{segment}/.well-known/openid-configuration");
    let v2_keys = format!("/{segment}/discovery/v2.0/keys");
    let v1_keys = format!("/{segment}/discovery/keys");
    let names = Arc::new((segment, keys, tenant));
    let (v2, v1, of_keys) = (Arc::clone(&names), Arc::clone(&names), names);
    Router::new()
        .route(
            &v2_path,
            get(|State(shared): Tenant| async move {
                let (segment, keys, tenant) = &*v2;
                let issuer = shared.issuer_v2(tenant);
                let reply = || Reply::ok(shared.discovery(segment, keys, &issuer, "/v2.0"));
                shared.answer(Endpoint::Discovery, reply).await
            }),
        )
        .route(
            &v1_path,
            get(|State(shared): Tenant| async move {
                let (segment, keys, tenant) = &*v1;
                let issuer = shared.issuer_v1(tenant);
                let reply = || Reply::ok(shared.discovery(segment, keys, &issuer, ""));
                shared.answer(Endpoint::Discovery, reply).await
            }),
        )
        .route(
            &v2_keys,
            get(|State(shared): Tenant| async move {
                let issuer = shared.issuer_v2(&of_keys.2);
                shared.answer(Endpoint::Keys, || Reply::ok(shared.keys_v2(&issuer))).await
            }),
        )
        .route(
            &v1_keys,
            get(|State(shared): Tenant| async move {
                shared.answer(Endpoint::Keys, || Reply::ok(shared.keys_v1())).await
            }),
        )
}
