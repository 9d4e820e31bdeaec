//! What the ready-made changes make of a good token.

use devtenant::tenant::{Tenant, TenantOptions};
use serde_json::json;
use uuid::Uuid;

const OTHER: Uuid = Uuid::from_u128(0x99999999_2222_3333_4444_555555555555);

async fn start() -> Tenant {
    Tenant::start(TenantOptions::default()).await.unwrap()
}

#[tokio::test]
async fn a_token_of_another_tenant_names_it_throughout() {
    let tenant = start().await;
    let authority = tenant.authority();
    let token = tenant.token_of(OTHER);
    assert_eq!(token.claims()["tid"], OTHER.to_string());
    assert_eq!(token.claims()["iss"], format!("{authority}/{OTHER}/v2.0"));
    let token = token.v1("api://payments");
    assert_eq!(token.claims()["iss"], format!("{authority}/v1/{OTHER}/"));
}

#[tokio::test]
async fn a_managed_identity_is_an_application_with_its_roles() {
    let token = start().await.token().app_only(&["Payments.Run"]).managed_identity("/a/resource");
    let claims = token.claims();
    assert_eq!(claims["xms_mirid"], "/a/resource");
    assert_eq!(claims["roles"], json!(["Payments.Run"]));
    assert_eq!(claims["azpacr"], "2");
    assert_eq!(claims["sub"], claims["oid"]);
    assert!(!claims.contains_key("scp"));
}

#[tokio::test]
async fn a_guest_comes_from_another_tenant() {
    let token = start().await.token().guest(OTHER);
    assert_eq!(token.claims()["acct"], 1);
    assert_eq!(token.claims()["idp"], format!("https://sts.windows.net/{OTHER}/"));
}

#[tokio::test]
async fn too_many_groups_are_marked_in_either_way() {
    let tenant = start().await;
    let token = tenant.token().oid("somebody").overage();
    let address =
        format!("https://graph.windows.net/{}/users/somebody/getMemberObjects", tenant.id());
    assert_eq!(token.claims()["_claim_names"], json!({ "groups": "src1" }));
    assert_eq!(token.claims()["_claim_sources"], json!({ "src1": { "endpoint": address } }));
    assert!(!token.claims().contains_key("groups"));
    let token = tenant.token().many_groups();
    assert_eq!(token.claims()["hasgroups"], true);
    assert!(!token.claims().contains_key("groups"));
}
