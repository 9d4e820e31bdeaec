//! Groups, as Graph tells them.

use devtenant::tenant::{Endpoint, Tenant, TenantOptions};
use serde_json::{Value, json};

use crate::client::{ask, form, graph};

const ADA: &str = "bbbbbbbb-0000-0000-0000-000000000001";
const ROBOT: &str = "bbbbbbbb-0000-0000-0000-000000000009";

/// A tenant with a user in five groups and an application in one, and a token for Graph.
async fn start() -> (Tenant, String) {
    let tenant = Tenant::start(TenantOptions::default()).await.unwrap();
    tenant.directory().user(ADA, &["g1", "g2", "g3", "g4", "g5"]);
    tenant.directory().service_principal(ROBOT, &["g9"]);
    tenant.applications().secret("client", "secret");
    let scope = format!("{}/.default", tenant.graph_url());
    let fields = [
        ("grant_type", "client_credentials"),
        ("client_id", "client"),
        ("client_secret", "secret"),
        ("scope", &scope),
    ];
    let token = form(&tenant.token_endpoint(), &fields).await.token().to_owned();
    (tenant, token)
}

fn security() -> Value {
    json!({ "securityEnabledOnly": true })
}

#[tokio::test]
async fn users_and_applications_have_groups() {
    let (tenant, token) = start().await;
    for (path, groups) in [
        (format!("users/{ADA}/getMemberObjects"), json!(["g1", "g2", "g3", "g4", "g5"])),
        (
            format!("users/{}/getMemberGroups", ADA.to_uppercase()),
            json!(["g1", "g2", "g3", "g4", "g5"]),
        ),
        (format!("servicePrincipals/{ROBOT}/getMemberObjects"), json!(["g9"])),
        (format!("servicePrincipals/{ROBOT}/getMemberGroups"), json!(["g9"])),
    ] {
        let url = format!("{}/v1.0/{path}", tenant.graph_url());
        let answer = graph("POST", &url, &token, security()).await;
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.json["value"], groups, "{path}");
        assert!(answer.json["@odata.context"].is_string());
        assert!(answer.json.get("@odata.nextLink").is_none());
        let answer = graph("POST", &url, &token, json!({})).await;
        assert_eq!(answer.error(), (400, "Request_BadRequest"), "{path}");
    }
    assert_eq!(tenant.requests(Endpoint::Graph), 8);
}

#[tokio::test]
async fn who_is_not_there_is_not_found() {
    let (tenant, token) = start().await;
    let missing = (404, "Request_ResourceNotFound");
    for path in [
        "users/bbbbbbbb-0000-0000-0000-000000000002".to_owned(),
        format!("users/{ROBOT}"),
        format!("servicePrincipals/{ADA}"),
    ] {
        let url = format!("{}/v1.0/{path}/getMemberObjects", tenant.graph_url());
        assert_eq!(graph("POST", &url, &token, security()).await.error(), missing, "{path}");
    }
    let url = format!("{}/v1.0/users/{ADA}/getMemberObjects", tenant.graph_url());
    tenant.directory().remove(ADA);
    assert_eq!(graph("POST", &url, &token, security()).await.error(), missing);
}

#[tokio::test]
async fn nobody_asks_without_a_token() {
    let (tenant, _) = start().await;
    let url = format!("{}/v1.0/users/{ADA}/getMemberObjects", tenant.graph_url());
    let refused = (401, "InvalidAuthenticationToken");
    assert_eq!(graph("POST", &url, "made-up", security()).await.error(), refused);
    let own = tenant.token().sign();
    assert_eq!(graph("POST", &url, &own, security()).await.error(), refused);
    assert_eq!(ask("POST", &url, &[], "").await.error(), refused);
    assert_eq!(tenant.graph_calls().len(), 3);
}

#[tokio::test]
async fn many_groups_come_in_pages() {
    let (tenant, token) = start().await;
    tenant.directory().page_size(2);
    let path = format!("/v1.0/users/{ADA}/getMemberObjects");
    let mut url = format!("{}{path}", tenant.graph_url());
    let mut answer = graph("POST", &url, &token, security()).await;
    let mut pages = vec![answer.json["value"].clone()];
    while let Some(next) = answer.json["@odata.nextLink"].as_str() {
        url = next.to_owned();
        answer = graph("GET", &url, &token, Value::Null).await;
        assert_eq!(answer.status, 200);
        pages.push(answer.json["value"].clone());
    }
    assert_eq!(pages, [json!(["g1", "g2"]), json!(["g3", "g4"]), json!(["g5"])]);
    assert!(url.starts_with(&tenant.graph_url()));
    assert_eq!(graph("GET", &url, "made-up", Value::Null).await.status, 401);
    let calls = tenant.graph_calls();
    let methods: Vec<_> = calls.iter().map(|call| call.method.as_str()).collect();
    assert_eq!(methods, ["POST", "GET", "GET", "GET"]);
    assert_eq!((&calls[0].path, &calls[0].body), (&path, &security()));
    assert!(calls[1].path.starts_with(&format!("{path}?")) && calls[1].body.is_null());
}

#[tokio::test]
async fn a_page_may_lead_elsewhere() {
    let (tenant, token) = start().await;
    tenant.directory().next_link(Some("https://elsewhere.example.com/v1.0/users"));
    let url = format!("{}/v1.0/users/{ADA}/getMemberObjects", tenant.graph_url());
    let answer = graph("POST", &url, &token, security()).await;
    assert_eq!(answer.json["@odata.nextLink"], "https://elsewhere.example.com/v1.0/users");
    tenant.directory().next_link(Some(&url));
    let answer = graph("GET", &url, &token, Value::Null).await;
    assert_eq!(answer.json["@odata.nextLink"], *url);
    tenant.directory().next_link(None);
    assert_eq!(graph("GET", &url, &token, Value::Null).await.status, 400);
}

#[tokio::test]
async fn up_to_twenty_groups_are_checked() {
    let (tenant, token) = start().await;
    let url = format!("{}/v1.0/users/{ADA}/checkMemberGroups", tenant.graph_url());
    let ids: Vec<_> = (4..24).map(|number| format!("g{number}")).collect();
    let answer = graph("POST", &url, &token, json!({ "groupIds": ids })).await;
    assert_eq!(answer.json["value"], json!(["g4", "g5"]));
    let many: Vec<_> = (0..21).map(|number| format!("g{number}")).collect();
    for body in [json!({ "groupIds": many }), json!({ "groupIds": [] }), json!({})] {
        let answer = graph("POST", &url, &token, body.clone()).await;
        assert_eq!(answer.error(), (400, "Request_BadRequest"), "{body}");
    }
}
