//! The organization as Backstage's Microsoft Graph module reads it.

use devtenant::people::People;
use devtenant::tenant::{Tenant, TenantOptions};
use serde_json::{Value, json};

use crate::client::{ask, graph};

const ADA: &str = "bbbbbbbb-0000-0000-0000-000000000001";
const BOB: &str = "bbbbbbbb-0000-0000-0000-000000000002";
const ROBOT: &str = "bbbbbbbb-0000-0000-0000-000000000009";
const PAYMENTS: &str = "aaaaaaaa-0000-0000-0000-000000000001";
const REFUNDS: &str = "aaaaaaaa-0000-0000-0000-000000000002";
const MAIL: &str = "aaaaaaaa-0000-0000-0000-000000000003";

/// A tenant with people in groups, and a token as the module gets one: for the host alone.
async fn start() -> (Tenant, String) {
    let people: People = serde_json::from_value(json!({
        "people": [
            { "name": "ada", "kind": "user", "oid": ADA, "mail": "Ada@contoso.example" },
            { "name": "bob", "kind": "user", "oid": BOB, "disabled": true },
            { "name": "robot", "kind": "workload", "oid": ROBOT },
        ],
        "groups": [
            { "id": PAYMENTS, "display_name": "Payments", "members": [ADA, REFUNDS, ROBOT] },
            { "id": REFUNDS, "display_name": "Bob's refunds", "members": [BOB] },
            { "id": MAIL, "display_name": "Everybody", "mail_nickname": "all", "mail_only": true },
        ],
    }))
    .unwrap();
    let tenant = Tenant::start(TenantOptions { people, ..TenantOptions::default() }).await.unwrap();
    let url =
        format!("{}?api-version=2019-08-01&resource=http://127.0.0.1", tenant.identity_endpoint());
    let header = [("x-identity-header", tenant.identity_header())];
    let token = ask("GET", &url, &header, "").await.token().to_owned();
    (tenant, token)
}

async fn get(tenant: &Tenant, token: &str, path: &str) -> Value {
    let url = format!("{}/v1.0/{path}", tenant.graph_url());
    let answer = graph("GET", &url, token, Value::Null).await;
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
    answer.json
}

fn ids(page: &Value) -> Vec<&str> {
    page["value"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn the_organization_is_listed() {
    let (tenant, token) = start().await;
    let own = get(&tenant, &token, &format!("organization/{}", tenant.id())).await;
    assert_eq!(own["id"], tenant.id().to_string());
    let users = get(&tenant, &token, "users?%24select=id,mail,accountEnabled&%24top=999").await;
    let want = json!([
        { "id": ADA, "mail": "Ada@contoso.example", "accountEnabled": true },
        { "id": BOB, "mail": null, "accountEnabled": false },
    ]);
    assert_eq!(users["value"], want, "applications are no users");
    let members = get(&tenant, &token, &format!("groups/{PAYMENTS}/members?$top=999")).await;
    let types: Vec<_> = members["value"]
        .as_array()
        .unwrap()
        .iter()
        .map(|member| (member["id"].as_str().unwrap(), member["@odata.type"].as_str().unwrap()))
        .collect();
    let want = [
        (ADA, "#microsoft.graph.user"),
        (REFUNDS, "#microsoft.graph.group"),
        (ROBOT, "#microsoft.graph.servicePrincipal"),
    ];
    assert_eq!(types, want);
    let path = format!("groups/{PAYMENTS}/members/microsoft.graph.user/?$top=999");
    assert_eq!(ids(&get(&tenant, &token, &path).await), [ADA]);
    tenant.directory().remove(ADA);
    assert_eq!(ids(&get(&tenant, &token, "users").await), [BOB]);
}

#[tokio::test]
async fn groups_are_filtered() {
    let (tenant, token) = start().await;
    for (filter, want) in [
        ("securityEnabled eq true", vec![PAYMENTS, REFUNDS]),
        ("mailNickname eq 'ALL'", vec![MAIL]),
        ("startswith(displayName,'pay')", vec![PAYMENTS]),
        ("securityEnabled eq true and displayName eq 'Bob''s refunds'", vec![REFUNDS]),
        ("displayName eq 'nobody'", vec![]),
    ] {
        let path = format!("groups?$filter={}", filter.replace(' ', "%20").replace('\'', "%27"));
        assert_eq!(ids(&get(&tenant, &token, &path).await), want, "{filter}");
    }
}

#[tokio::test]
async fn pages_lead_to_each_other() {
    let (tenant, token) = start().await;
    tenant.directory().page_size(2);
    let first = get(&tenant, &token, "groups?$select=id&$top=999").await;
    assert_eq!(first["value"], json!([{ "id": PAYMENTS }, { "id": REFUNDS }]));
    let next = first["@odata.nextLink"].as_str().unwrap();
    let second = graph("GET", next, &token, Value::Null).await.json;
    assert_eq!(second["value"], json!([{ "id": MAIL }]), "the selection goes on");
    assert!(second.get("@odata.nextLink").is_none());
    assert_eq!(ids(&get(&tenant, &token, "groups?$top=1").await), [PAYMENTS]);
}

#[tokio::test]
async fn what_is_not_played_is_refused() {
    let (tenant, token) = start().await;
    for (path, want) in [
        ("groups?$expand=members", (400, "Request_BadRequest")),
        ("groups?$search=%22a%22", (400, "Request_BadRequest")),
        ("groups?$filter=endswith(displayName,%27a%27)", (400, "Request_BadRequest")),
        ("groups?$top=1000", (400, "Request_BadRequest")),
        ("groups?$skiptoken=x", (400, "Request_BadRequest")),
        ("groups/nobody/members", (404, "Request_ResourceNotFound")),
        ("organization/nobody", (404, "Request_ResourceNotFound")),
        (&format!("users/{ADA}/photos"), (404, "ImageNotFound")),
    ] {
        let url = format!("{}/v1.0/{path}", tenant.graph_url());
        assert_eq!(graph("GET", &url, &token, Value::Null).await.error(), want, "{path}");
    }
    let url = format!("{}/v1.0/groups", tenant.graph_url());
    let refused = graph("GET", &url, "made-up", Value::Null).await;
    assert_eq!(refused.error(), (401, "InvalidAuthenticationToken"));
}
