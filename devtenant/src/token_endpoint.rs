//! Where applications ask for tokens for themselves (RFC 6749, section 4.4).

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::rejection::FormRejection;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::post;
use axum::{Form, Router};
use serde_json::json;

use crate::refusal::Refusal;
use crate::tenant::{Endpoint, Reply, Shared};

/// The type of assertions (RFC 7523, section 2.2).
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

type Fields = HashMap<String, String>;

pub(crate) fn routes() -> Router<Arc<Shared>> {
    Router::new().route("/{tenant}/oauth2/v2.0/token", post(token))
}

async fn token(
    State(shared): State<Arc<Shared>>,
    Path(tenant): Path<String>,
    form: Result<Form<Fields>, FormRejection>,
) -> Response {
    // What is no form has none of the fields.
    let fields = form.map(|form| form.0).unwrap_or_default();
    let reply = || match judge(&shared, &tenant, &fields) {
        Ok(()) => {
            let grant = shared.grants.issue();
            Reply::ok(json!({
                "token_type": "Bearer",
                "expires_in": grant.seconds,
                "ext_expires_in": grant.seconds,
                "access_token": grant.token,
            }))
        }
        Err(refusal) => refusal.reply(),
    };
    shared.answer(Endpoint::Token, reply).await
}

fn judge(shared: &Shared, tenant: &str, fields: &Fields) -> Result<(), Refusal> {
    let field = |name: &str| {
        let value = fields.get(name).filter(|value| !value.is_empty());
        value.ok_or_else(|| Refusal::missing(name))
    };
    if !tenant.eq_ignore_ascii_case(&shared.id.to_string()) {
        let message = format!("Tenant '{tenant}' not found.");
        return Err(Refusal::request("invalid_request", 90_002, message));
    }
    let grant_type = field("grant_type")?;
    if grant_type != "client_credentials" {
        let message = format!("The app requested an unsupported grant type '{grant_type}'.");
        return Err(Refusal::request("unsupported_grant_type", 70_003, message));
    }
    let client = field("client_id")?;
    let scope = field("scope")?;
    let Some(resource) = scope.strip_suffix("/.default") else {
        let message =
            format!("The provided value for the input parameter 'scope' '{scope}' is not valid.");
        return Err(Refusal::request("invalid_scope", 70_011, message));
    };
    shared.applications.known(client)?;
    if fields.contains_key("client_assertion") || fields.contains_key("client_assertion_type") {
        let kind = field("client_assertion_type")?;
        if kind != JWT_BEARER {
            let message = format!("The assertion type '{kind}' is not supported.");
            return Err(Refusal::request("invalid_request", 50_027, message));
        }
        let assertion = field("client_assertion")?;
        shared.applications.check_assertion(client, assertion, &shared.token_endpoint())?;
    } else if let Ok(secret) = field("client_secret") {
        shared.applications.check_secret(client, secret)?;
    } else {
        let message = "'client_assertion', 'client_secret' or 'request' is required for the \
                       'client_credentials' grant type.";
        return Err(Refusal::client(7_000_216, message));
    }
    // Only those who are known learn what there is.
    if shared.is_graph(resource) { Ok(()) } else { Err(Refusal::resource(resource)) }
}
