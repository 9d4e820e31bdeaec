//! Tokens without a credential.

use devtenant::tenant::{Endpoint, Tenant, TenantOptions};
use serde_json::json;

use crate::client::{ask, graph};

const RESOURCE: &str = "https://graph.microsoft.com";

async fn start() -> Tenant {
    let tenant = Tenant::start(TenantOptions::default()).await.unwrap();
    tenant.directory().user("somebody", &["g1"]);
    tenant
}

/// Graph takes this token.
async fn taken(tenant: &Tenant, token: &str) {
    let url = format!("{}/v1.0/users/somebody/getMemberObjects", tenant.graph_url());
    let answer = graph("POST", &url, token, json!({ "securityEnabledOnly": false })).await;
    assert_eq!(answer.json["value"], json!(["g1"]));
}

#[tokio::test]
async fn a_virtual_machine_asks_its_metadata_service() {
    let tenant = start().await;
    tenant.token_lifetime(60);
    let base = format!("{}/metadata/identity/oauth2/token", tenant.authority());
    let url = format!("{base}?api-version=2018-02-01&resource={RESOURCE}");
    let metadata = [("metadata", "true")];
    let answer = ask("GET", &url, &metadata, "").await;
    taken(&tenant, answer.token()).await;
    assert_eq!(answer.json["expires_in"], "60");
    assert!(answer.json["expires_on"].as_str().unwrap().parse::<u64>().is_ok());
    let answer = ask("GET", &format!("{url}&client_id=mine"), &metadata, "").await;
    assert_eq!(answer.json["client_id"], "mine");
    assert_eq!(ask("GET", &url, &[], "").await.status, 400);
    assert_eq!(ask("GET", &url, &[("metadata", "no")], "").await.status, 400);
    let own = format!("{base}?api-version=2018-02-01&resource={}", tenant.graph_url());
    ask("GET", &own, &metadata, "").await.token();
    for query in [
        format!("resource={RESOURCE}"),
        "api-version=2018-02-01".to_owned(),
        "api-version=2018-02-01&resource=https://vault.azure.net".to_owned(),
    ] {
        let answer = ask("GET", &format!("{base}?{query}"), &metadata, "").await;
        assert_eq!(answer.status, 400, "{query}");
    }
    assert_eq!(tenant.requests(Endpoint::ManagedIdentity), 8);
}

#[tokio::test]
async fn app_service_asks_with_its_header() {
    let tenant = start().await;
    let url = format!("{}?api-version=2019-08-01&resource={RESOURCE}", tenant.identity_endpoint());
    let answer = ask("GET", &url, &[("x-identity-header", tenant.identity_header())], "").await;
    taken(&tenant, answer.token()).await;
    assert!(answer.json["expires_on"].is_string());
    assert_eq!(ask("GET", &url, &[], "").await.status, 401);
    assert_eq!(ask("GET", &url, &[("x-identity-header", "guessed")], "").await.status, 401);
}
