//! The documents of the tenant, and those for all tenants.

use devtenant::keys::SigningKey;
use devtenant::tenant::{Endpoint, Tenant, TenantOptions};
use serde_json::Value;

use crate::client::get;

async fn start() -> Tenant {
    Tenant::start(TenantOptions::default()).await.unwrap()
}

fn issuers(document: &Value) -> Vec<(&str, Option<&str>)> {
    let keys = document["keys"].as_array().unwrap().iter();
    keys.map(|key| (key["kid"].as_str().unwrap(), key["issuer"].as_str())).collect()
}

#[tokio::test]
async fn each_document_names_its_issuer_and_its_keys() {
    let tenant = start().await;
    let (authority, id) = (tenant.authority(), tenant.id());
    let own = id.to_string();
    let cases = [
        (&*own, "/v2.0", tenant.issuer_v2(), format!("{authority}/{id}/discovery/v2.0/keys")),
        (&*own, "", tenant.issuer_v1(), format!("{authority}/{id}/discovery/keys")),
        (
            "common",
            "/v2.0",
            format!("{authority}/{{tenantid}}/v2.0"),
            format!("{authority}/common/discovery/v2.0/keys"),
        ),
        (
            "organizations",
            "/v2.0",
            format!("{authority}/{{tenantid}}/v2.0"),
            format!("{authority}/common/discovery/v2.0/keys"),
        ),
        (
            "common",
            "",
            format!("{authority}/v1/{{tenantid}}/"),
            format!("{authority}/common/discovery/keys"),
        ),
        (
            "organizations",
            "",
            format!("{authority}/v1/{{tenantid}}/"),
            format!("{authority}/common/discovery/keys"),
        ),
    ];
    for (segment, version, issuer, keys) in cases {
        let url = format!("{authority}/{segment}{version}/.well-known/openid-configuration");
        let answer = get(&url).await;
        assert_eq!(answer.json["issuer"], *issuer, "{url}");
        assert_eq!(answer.json["jwks_uri"], *keys, "{url}");
        let expected = (!version.is_empty()).then_some(issuer);
        let listed = get(&keys).await;
        assert_eq!(issuers(&listed.json), [("test-key-0", expected.as_deref())], "{keys}");
    }
    assert_eq!(tenant.requests(Endpoint::Discovery), 6);
    assert_eq!(tenant.requests(Endpoint::Keys), 6);
}

#[tokio::test]
async fn a_key_of_another_issuer_says_so_in_every_v2_document() {
    let tenant = start().await;
    let foreign = "https://login.example.com/9188040d-6c67-4c5b-b112-36a304b66dad/v2.0";
    tenant.publish_key_for(&SigningKey::test(1), foreign);
    let (authority, own) = (tenant.authority(), tenant.issuer_v2());
    let template = format!("{authority}/{{tenantid}}/v2.0");
    for (segment, issuer) in [(tenant.id().to_string(), own), ("common".to_owned(), template)] {
        let answer = get(&format!("{authority}/{segment}/discovery/v2.0/keys")).await;
        let expected = [("test-key-0", Some(&*issuer)), ("test-key-1", Some(foreign))];
        assert_eq!(issuers(&answer.json), expected);
    }
    let answer = get(&format!("{authority}/common/discovery/keys")).await;
    assert_eq!(issuers(&answer.json), [("test-key-0", None)]);
    tenant.withdraw_key("test-key-1");
    let answer = get(&format!("{authority}/common/discovery/v2.0/keys")).await;
    assert_eq!(issuers(&answer.json).len(), 1);
}
