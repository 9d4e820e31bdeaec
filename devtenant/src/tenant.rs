//! The tenant: discovery documents, key documents, and what can go wrong with them.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use axum::Router;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::keys::SigningKey;
use crate::people::People;
use crate::serve::{Server, anywhere};
use crate::token::TokenBuilder;

/// What a tenant begins with.
#[derive(Clone, Debug)]
pub struct TenantOptions {
    /// Its id.
    pub id: Uuid,
    /// Where it listens.
    pub listen: SocketAddr,
    /// The key it signs with.
    pub key: SigningKey,
    /// Whom it signs tokens for on request.
    pub people: People,
}

impl Default for TenantOptions {
    fn default() -> Self {
        Self {
            id: Uuid::from_u128(0x11111111_2222_3333_4444_555555555555),
            listen: anywhere(),
            key: SigningKey::test(0),
            people: People::default(),
        }
    }
}

/// The documents of a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// The discovery documents.
    Discovery,
    /// The key documents.
    Keys,
}

/// What an endpoint does instead of answering.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Answers this status.
    Status(u16),
    /// Never answers.
    Hang,
    /// Answers bytes that are no JSON, as JSON.
    Garbage,
    /// Answers a page for people.
    Html,
    /// Answers an empty key set.
    EmptyKeys,
    /// Ends in the middle.
    Truncated,
    /// Answers more than anybody should read.
    Huge,
    /// Sends the client elsewhere.
    Redirect(String),
    /// Names another issuer.
    WrongIssuer,
}

/// A running tenant. Cheap to share; ends when dropped.
#[derive(Debug)]
pub struct Tenant {
    shared: Arc<Shared>,
    server: Server,
}

#[derive(Debug)]
struct Shared {
    id: Uuid,
    authority: String,
    people: People,
    state: Mutex<Published>,
    faults: Faults,
}

#[derive(Debug)]
struct Published {
    signing: SigningKey,
    keys: Vec<SigningKey>,
    extra: Vec<Value>,
    requests: HashMap<Endpoint, usize>,
}

/// The faults of a tenant. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Faults(Arc<Mutex<HashMap<Endpoint, Fault>>>);

impl Faults {
    /// From now on this endpoint does that.
    pub fn set(&self, endpoint: Endpoint, fault: Fault) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(endpoint, fault);
    }

    /// From now on everything works.
    pub fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn of(&self, endpoint: Endpoint) -> Option<Fault> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&endpoint).cloned()
    }
}

impl Tenant {
    /// Starts a tenant.
    ///
    /// # Errors
    /// The address can't be had.
    pub async fn start(options: TenantOptions) -> Result<Self> {
        let mut made = None;
        let server = Server::start(options.listen, |address| {
            let shared = Arc::new(Shared {
                id: options.id,
                authority: format!("http://{address}"),
                people: options.people,
                state: Mutex::new(Published {
                    signing: options.key.clone(),
                    keys: vec![options.key],
                    extra: Vec::new(),
                    requests: HashMap::new(),
                }),
                faults: Faults::default(),
            });
            made = Some(Arc::clone(&shared));
            router(shared)
        })
        .await?;
        let shared = made.ok_or_else(|| anyhow::anyhow!("the server did not start"))?;
        Ok(Self { shared, server })
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> Uuid {
        self.shared.id
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.server.address
    }

    /// Its authority, without a final slash.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.shared.authority
    }

    /// The issuer of v1.0 tokens.
    #[must_use]
    pub fn issuer_v1(&self) -> String {
        self.shared.issuer_v1()
    }

    /// The issuer of v2.0 tokens.
    #[must_use]
    pub fn issuer_v2(&self) -> String {
        self.shared.issuer_v2()
    }

    /// A good token, to be changed and signed.
    #[must_use]
    pub fn token(&self) -> TokenBuilder {
        self.shared.token()
    }

    /// The key it signs with.
    #[must_use]
    pub fn signing_key(&self) -> SigningKey {
        self.shared.state().signing.clone()
    }

    /// Lists a key that nothing is signed with yet.
    pub fn publish_key(&self, key: &SigningKey) {
        self.shared.state().keys.push(key.clone());
    }

    /// Signs with this key from now on.
    pub fn sign_with(&self, key: &SigningKey) {
        self.shared.state().signing = key.clone();
    }

    /// Lists a key no more.
    pub fn withdraw_key(&self, kid: &str) {
        self.shared.state().keys.retain(|key| key.kid() != kid);
    }

    /// Lists this as a key, whatever it is.
    pub fn add_raw_jwk(&self, jwk: Value) {
        self.shared.state().extra.push(jwk);
    }

    /// Orders faults.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.shared.faults
    }

    /// How often an endpoint was asked.
    #[must_use]
    pub fn requests(&self, endpoint: Endpoint) -> usize {
        self.shared.state().requests.get(&endpoint).copied().unwrap_or(0)
    }
}

impl Shared {
    fn state(&self) -> std::sync::MutexGuard<'_, Published> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn issuer_v1(&self) -> String {
        format!("{}/v1/{}/", self.authority, self.id)
    }

    fn issuer_v2(&self) -> String {
        format!("{}/{}/v2.0", self.authority, self.id)
    }

    fn token(&self) -> TokenBuilder {
        let key = self.state().signing.clone();
        TokenBuilder::new(self.id, &self.issuer_v1(), &self.issuer_v2(), &key)
    }

    /// Counts the request, and answers it or does what is ordered instead.
    async fn answer(&self, endpoint: Endpoint, document: Value) -> Response {
        *self.state().requests.entry(endpoint).or_insert(0) += 1;
        let json =
            |text: String| ([(header::CONTENT_TYPE, "application/json")], text).into_response();
        match self.faults.of(endpoint) {
            None => json(document.to_string()),
            Some(Fault::Status(status)) => StatusCode::from_u16(status)
                .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
                .into_response(),
            Some(Fault::Hang) => std::future::pending().await,
            Some(Fault::Garbage) => json("}{".to_owned()),
            Some(Fault::Html) => {
                ([(header::CONTENT_TYPE, "text/html")], "<html>Sign in</html>").into_response()
            }
            Some(Fault::EmptyKeys) => json(json!({ "keys": [] }).to_string()),
            Some(Fault::Truncated) => {
                let text = document.to_string();
                let half: String = text.chars().take(text.len() / 2).collect();
                json(half)
            }
            Some(Fault::Huge) => Response::builder()
                .header(header::CONTENT_TYPE, "application/json")
                .body(Body::from(vec![b' '; 8 * 1024 * 1024]))
                .unwrap_or_default(),
            Some(Fault::Redirect(to)) => {
                (StatusCode::FOUND, [(header::LOCATION, to)]).into_response()
            }
            Some(Fault::WrongIssuer) => {
                let mut document = document;
                if let Some(issuer) = document.get_mut("issuer") {
                    *issuer = "https://other.example.com/".into();
                }
                json(document.to_string())
            }
        }
    }

    /// A discovery document with what Entra's have.
    fn discovery(&self, issuer: &str, version: &str) -> Value {
        let base = format!("{}/{}", self.authority, self.id);
        json!({
            "issuer": issuer,
            "authorization_endpoint": format!("{base}/oauth2{version}/authorize"),
            "token_endpoint": format!("{base}/oauth2{version}/token"),
            "jwks_uri": format!("{base}/discovery{version}/keys"),
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

    fn keys(&self, issuer: Option<&str>) -> Value {
        let state = self.state();
        let keys: Vec<_> = state
            .keys
            .iter()
            .map(|key| key.jwk(issuer))
            .chain(state.extra.iter().cloned())
            .collect();
        json!({ "keys": keys })
    }
}

fn router(shared: Arc<Shared>) -> Router {
    type Tenant = State<Arc<Shared>>;
    let id = shared.id;
    Router::new()
        .route(
            &format!("/{id}/v2.0/.well-known/openid-configuration"),
            get(|State(tenant): Tenant| async move {
                let document = tenant.discovery(&tenant.issuer_v2(), "/v2.0");
                tenant.answer(Endpoint::Discovery, document).await
            }),
        )
        .route(
            &format!("/{id}/.well-known/openid-configuration"),
            get(|State(tenant): Tenant| async move {
                let document = tenant.discovery(&tenant.issuer_v1(), "");
                tenant.answer(Endpoint::Discovery, document).await
            }),
        )
        .route(
            &format!("/{id}/discovery/v2.0/keys"),
            get(|State(tenant): Tenant| async move {
                let keys = tenant.keys(Some(&tenant.issuer_v2()));
                tenant.answer(Endpoint::Keys, keys).await
            }),
        )
        .route(
            &format!("/{id}/discovery/keys"),
            get(|State(tenant): Tenant| async move {
                tenant.answer(Endpoint::Keys, tenant.keys(None)).await
            }),
        )
        .route("/dev/token", get(dev_token))
        .with_state(shared)
}

/// A token for anybody who asks: what makes this a tenant for development only.
async fn dev_token(
    State(tenant): State<Arc<Shared>>,
    Query(query): Query<HashMap<String, String>>,
) -> Response {
    match tenant.people.token(tenant.token(), &query) {
        Ok(token) => format!("{token}\n").into_response(),
        Err(error) => (StatusCode::NOT_FOUND, format!("{error}\n")).into_response(),
    }
}
