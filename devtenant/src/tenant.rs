//! The tenant: its documents, its keys, its directory and applications, and what can go
//! wrong with them.

mod documents;
mod faults;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use axum::Router;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::Value;
use uuid::Uuid;

pub(crate) use self::faults::Reply;
pub use self::faults::{Endpoint, Fault, Faults};
use crate::applications::Applications;
use crate::directory::Directory;
use crate::grants::Grants;
use crate::graph::{self, GraphCall};
use crate::keys::SigningKey;
use crate::people::People;
use crate::serve::{Server, anywhere};
use crate::token::TokenBuilder;
use crate::{managed_identity, token_endpoint};

/// What a tenant begins with.
#[derive(Clone, Debug)]
pub struct TenantOptions {
    /// Its id.
    pub id: Uuid,
    /// Where it listens.
    pub listen: SocketAddr,
    /// Where clients find it, without a final slash, if that is not where it listens.
    pub authority: Option<String>,
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
            authority: None,
            key: SigningKey::test(0),
            people: People::default(),
        }
    }
}

/// A running tenant. Cheap to share; ends when dropped.
#[derive(Debug)]
pub struct Tenant {
    shared: Arc<Shared>,
    server: Server,
}

/// What the routes of a tenant share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) id: Uuid,
    pub(crate) authority: String,
    pub(crate) directory: Directory,
    pub(crate) applications: Applications,
    pub(crate) grants: Grants,
    /// What an application must show to get tokens from the App Service endpoint.
    pub(crate) identity_header: String,
    pub(crate) people: People,
    state: Mutex<Published>,
    faults: Faults,
}

/// What changes while it runs.
#[derive(Debug)]
pub(crate) struct Published {
    pub(crate) graph_calls: Vec<GraphCall>,
    signing: SigningKey,
    keys: Vec<PublishedKey>,
    extra: Vec<Value>,
    requests: HashMap<Endpoint, usize>,
}

/// A listed key.
#[derive(Debug)]
struct PublishedKey {
    key: SigningKey,
    /// Its own issuer; that of the document without.
    issuer: Option<String>,
}

impl Tenant {
    /// Starts a tenant.
    ///
    /// # Errors
    /// The address can't be had.
    pub async fn start(options: TenantOptions) -> Result<Self> {
        let mut made = None;
        let server = Server::start(options.listen, |address| {
            let directory = Directory::default();
            directory.add(&options.people);
            let shared = Arc::new(Shared {
                id: options.id,
                authority: options.authority.unwrap_or_else(|| format!("http://{address}")),
                directory,
                applications: Applications::default(),
                grants: Grants::default(),
                identity_header: Uuid::new_v4().simple().to_string(),
                people: options.people,
                state: Mutex::new(Published {
                    graph_calls: Vec::new(),
                    signing: options.key.clone(),
                    keys: vec![PublishedKey { key: options.key, issuer: None }],
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
        self.shared.issuer_v1(&self.shared.id.to_string())
    }

    /// The issuer of v2.0 tokens.
    #[must_use]
    pub fn issuer_v2(&self) -> String {
        self.shared.issuer_v2(&self.shared.id.to_string())
    }

    /// A good token, to be changed and signed.
    #[must_use]
    pub fn token(&self) -> TokenBuilder {
        self.shared.token_of(self.shared.id)
    }

    /// A good token of another tenant under the same authority, as an application for
    /// many tenants meets them.
    #[must_use]
    pub fn token_of(&self, tenant_id: Uuid) -> TokenBuilder {
        self.shared.token_of(tenant_id)
    }

    /// The key it signs with.
    #[must_use]
    pub fn signing_key(&self) -> SigningKey {
        self.shared.state().signing.clone()
    }

    /// Lists a key that nothing is signed with yet.
    pub fn publish_key(&self, key: &SigningKey) {
        self.shared.state().keys.push(PublishedKey { key: key.clone(), issuer: None });
    }

    /// Lists a key with exactly this issuer in all v2.0 key documents.
    pub fn publish_key_for(&self, key: &SigningKey, issuer: &str) {
        let issuer = Some(issuer.to_owned());
        self.shared.state().keys.push(PublishedKey { key: key.clone(), issuer });
    }

    /// Signs with this key from now on.
    pub fn sign_with(&self, key: &SigningKey) {
        self.shared.state().signing = key.clone();
    }

    /// Lists a key no more.
    pub fn withdraw_key(&self, kid: &str) {
        self.shared.state().keys.retain(|key| key.key.kid() != kid);
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

    /// Who is in it, and in which groups. The people it began with are.
    #[must_use]
    pub fn directory(&self) -> &Directory {
        &self.shared.directory
    }

    /// The applications that may ask for tokens.
    #[must_use]
    pub fn applications(&self) -> &Applications {
        &self.shared.applications
    }

    /// Where Graph is, without a final slash and without a version.
    #[must_use]
    pub fn graph_url(&self) -> String {
        self.shared.graph_url()
    }

    /// Where applications ask for tokens, and the audience of their assertions.
    #[must_use]
    pub fn token_endpoint(&self) -> String {
        self.shared.token_endpoint()
    }

    /// Where managed identities ask for tokens in App Service: its `IDENTITY_ENDPOINT`.
    #[must_use]
    pub fn identity_endpoint(&self) -> String {
        format!("{}/msi/token", self.shared.authority)
    }

    /// What they show there: its `IDENTITY_HEADER`.
    #[must_use]
    pub fn identity_header(&self) -> &str {
        &self.shared.identity_header
    }

    /// Every request that has arrived at Graph, in order, also where it was refused or a
    /// fault was ordered.
    #[must_use]
    pub fn graph_calls(&self) -> Vec<GraphCall> {
        self.shared.state().graph_calls.clone()
    }

    /// How many seconds the Graph tokens issued from now on live.
    pub fn token_lifetime(&self, seconds: u64) {
        self.shared.grants.set_lifetime(seconds);
    }

    /// Graph takes none of the tokens issued so far any more.
    pub fn revoke_graph_tokens(&self) {
        self.shared.grants.revoke();
    }
}

impl Shared {
    pub(crate) fn state(&self) -> std::sync::MutexGuard<'_, Published> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where Graph is.
    pub(crate) fn graph_url(&self) -> String {
        format!("{}/graph", self.authority)
    }

    /// Where tokens are asked for.
    pub(crate) fn token_endpoint(&self) -> String {
        format!("{}/{}/oauth2/v2.0/token", self.authority, self.id)
    }

    /// Whether this is Graph, under its own name or under ours. Backstage's Microsoft
    /// Graph module asks for tokens for the host alone, whatever the port.
    pub(crate) fn is_graph(&self, resource: &str) -> bool {
        let resource = resource.trim_end_matches('/');
        let host = self.authority.rsplit_once(':').map(|(host, _)| host);
        resource == "https://graph.microsoft.com"
            || resource == self.graph_url()
            || Some(resource) == host
    }

    fn token_of(&self, tenant: Uuid) -> TokenBuilder {
        let key = self.state().signing.clone();
        let name = tenant.to_string();
        TokenBuilder::new(tenant, &self.issuer_v1(&name), &self.issuer_v2(&name), &key)
    }
}

fn router(shared: Arc<Shared>) -> Router {
    documents::routes(&shared.id.to_string())
        .merge(graph::routes())
        .merge(token_endpoint::routes())
        .merge(managed_identity::routes())
        .route("/dev/token", get(dev_token))
        .with_state(shared)
}

/// A token for anybody who asks: what makes this a tenant for development only.
async fn dev_token(
    State(tenant): State<Arc<Shared>>,
    Query(query): Query<HashMap<String, String>>,
) -> Response {
    match tenant.people.token(tenant.token_of(tenant.id), &query) {
        Ok(token) => format!("{token}\n").into_response(),
        Err(error) => (StatusCode::NOT_FOUND, format!("{error}\n")).into_response(),
    }
}
