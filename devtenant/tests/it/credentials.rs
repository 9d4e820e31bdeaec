//! Each kind of credential, accepted and refused.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use devtenant::certificate::Certificate;
use devtenant::keys::SigningKey;
use devtenant::tenant::{Endpoint, Tenant, TenantOptions};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::client::{Answer, form, graph};

const CLIENT: &str = "eeeeeeee-0000-0000-0000-000000000001";
const SCOPE: (&str, &str) = ("scope", "https://graph.microsoft.com/.default");
const GRANT: (&str, &str) = ("grant_type", "client_credentials");
const ISSUER: &str = "https://cluster.example.com";
const SUBJECT: &str = "system:serviceaccount:stagedoor:stagedoor";

async fn start() -> Tenant {
    Tenant::start(TenantOptions::default()).await.unwrap()
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().cast_signed()
}

fn jwt(header: &Value, claims: &Value, key: &SigningKey) -> String {
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", encode(header), encode(claims));
    let signature = key.sign(header["alg"].as_str().unwrap(), signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

async fn with_secret(tenant: &Tenant, client: &str, secret: &str) -> Answer {
    let fields = [GRANT, SCOPE, ("client_id", client), ("client_secret", secret)];
    form(&tenant.token_endpoint(), &fields).await
}

async fn with_assertion(tenant: &Tenant, assertion: &str) -> Answer {
    let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
    let fields = [
        GRANT,
        SCOPE,
        ("client_id", CLIENT),
        ("client_assertion_type", kind),
        ("client_assertion", assertion),
    ];
    form(&tenant.token_endpoint(), &fields).await
}

#[tokio::test]
async fn a_secret_is_compared() {
    let tenant = start().await;
    let applications = tenant.applications();
    applications.secret(CLIENT, "first");
    applications.secret(CLIENT, "second");
    for secret in ["first", "second"] {
        let answer = with_secret(&tenant, CLIENT, secret).await;
        assert_eq!(answer.json["token_type"], "Bearer");
        assert_eq!(answer.json["expires_in"], 3599);
        assert!(!answer.token().is_empty());
    }
    let answer = with_secret(&tenant, CLIENT, "third").await;
    assert_eq!(answer.refusal(), (401, "invalid_client", 7_000_215));
    applications.remove_secret(CLIENT, "first");
    let answer = with_secret(&tenant, CLIENT, "first").await;
    assert_eq!(answer.refusal(), (401, "invalid_client", 7_000_215));
    let answer = with_secret(&tenant, "eeeeeeee-0000-0000-0000-000000000002", "first").await;
    assert_eq!(answer.refusal(), (400, "unauthorized_client", 700_016));
    assert_eq!(tenant.requests(Endpoint::Token), 5);
}

#[tokio::test]
async fn a_form_says_everything() {
    let tenant = start().await;
    tenant.applications().secret(CLIENT, "secret");
    let own = format!("{}/.default", tenant.graph_url());
    let fields = [GRANT, ("scope", &*own), ("client_id", CLIENT), ("client_secret", "secret")];
    form(&tenant.token_endpoint(), &fields).await.token();
    for missing in ["grant_type", "scope", "client_id"] {
        let rest: Vec<_> = fields.into_iter().filter(|(name, _)| *name != missing).collect();
        let answer = form(&tenant.token_endpoint(), &rest).await;
        assert_eq!(answer.refusal(), (400, "invalid_request", 900_144), "{missing}");
    }
    let answer = form(&tenant.token_endpoint(), &fields[..3]).await;
    assert_eq!(answer.refusal(), (401, "invalid_client", 7_000_216));
    let fields = [GRANT, ("scope", "https://vault.azure.net/.default"), fields[2], fields[3]];
    let answer = form(&tenant.token_endpoint(), &fields).await;
    assert_eq!(answer.refusal(), (400, "invalid_resource", 500_011));
    let other = format!("{}/{}/oauth2/v2.0/token", tenant.authority(), Uuid::new_v4());
    let answer = form(&other, &fields).await;
    assert_eq!(answer.refusal(), (400, "invalid_request", 90_002));
}

#[tokio::test]
async fn a_certificate_signs_an_assertion_once() {
    let tenant = start().await;
    let certificate = Certificate::generate("stagedoor").unwrap();
    let good = |algorithm: &str| {
        let header =
            json!({ "alg": algorithm, "typ": "JWT", "x5t#S256": certificate.thumbprint() });
        let claims = json!({
            "aud": tenant.token_endpoint(), "iss": CLIENT, "sub": CLIENT,
            "jti": Uuid::new_v4().to_string(), "nbf": now(), "exp": now() + 600,
        });
        (header, claims)
    };
    let (header, claims) = good("PS256");
    let assertion = jwt(&header, &claims, certificate.key());
    let answer = with_assertion(&tenant, &assertion).await;
    assert_eq!(answer.refusal(), (400, "unauthorized_client", 700_016));
    tenant.applications().certificate(CLIENT, certificate.der());
    with_assertion(&tenant, &assertion).await.token();
    let answer = with_assertion(&tenant, &assertion).await;
    assert_eq!(answer.refusal(), (401, "invalid_client", 50_013), "the same again");
    let (header, claims) = good("RS256");
    with_assertion(&tenant, &jwt(&header, &claims, certificate.key())).await.token();

    let (header, claims) = good("PS256");
    let answer = with_assertion(&tenant, &jwt(&header, &claims, &SigningKey::test(0))).await;
    assert_eq!(answer.refusal(), (401, "invalid_client", 700_027), "another key");
    let (header, claims) = good("RS384");
    let answer = with_assertion(&tenant, &jwt(&header, &claims, certificate.key())).await;
    assert_eq!(answer.refusal(), (401, "invalid_client", 700_027), "another algorithm");
    let changes = [
        ("aud", json!("https://login.microsoftonline.com/"), 700_023),
        ("iss", json!("somebody else"), 700_021),
        ("sub", json!("somebody else"), 700_021),
        ("exp", json!(now() - 1), 700_024),
        ("exp", json!(now() + 900), 700_024),
        ("exp", Value::Null, 700_024),
        ("nbf", json!(now() + 300), 700_024),
        ("nbf", Value::Null, 700_024),
        ("jti", Value::Null, 50_013),
    ];
    for (claim, value, code) in changes {
        let (header, mut claims) = good("PS256");
        claims[claim] = value;
        let answer = with_assertion(&tenant, &jwt(&header, &claims, certificate.key())).await;
        assert_eq!(answer.refusal(), (401, "invalid_client", code), "{claim}");
    }
    tenant.applications().remove_certificate(CLIENT, certificate.der());
    let (header, claims) = good("PS256");
    let answer = with_assertion(&tenant, &jwt(&header, &claims, certificate.key())).await;
    assert_eq!(answer.refusal(), (401, "invalid_client", 700_027), "removed");
    let answer = with_assertion(&tenant, "not.a.jwt").await;
    assert_eq!(answer.refusal(), (401, "invalid_client", 50_027));
}

#[tokio::test]
async fn a_trusted_issuer_speaks_for_an_application() {
    let tenant = start().await;
    let key = SigningKey::test(1);
    tenant.applications().federated(CLIENT, ISSUER, SUBJECT, &key);
    let header = json!({ "alg": "RS256", "kid": key.kid() });
    let good = json!({
        "aud": "api://AzureADTokenExchange", "iss": ISSUER, "sub": SUBJECT, "exp": now() + 3600,
    });
    let assertion = jwt(&header, &good, &key);
    with_assertion(&tenant, &assertion).await.token();
    with_assertion(&tenant, &assertion).await.token();
    let answer = with_assertion(&tenant, &jwt(&header, &good, &SigningKey::test(2))).await;
    assert_eq!(answer.refusal(), (401, "invalid_client", 700_213));
    let changes = [
        ("aud", json!(tenant.token_endpoint()), 700_213),
        ("iss", json!("https://other.example.com"), 700_213),
        ("sub", json!("system:serviceaccount:other:other"), 700_213),
        ("exp", json!(now() - 1), 700_024),
        ("exp", Value::Null, 700_024),
    ];
    for (claim, value, code) in changes {
        let mut claims = good.clone();
        claims[claim] = value;
        let answer = with_assertion(&tenant, &jwt(&header, &claims, &key)).await;
        assert_eq!(answer.refusal(), (401, "invalid_client", code), "{claim}");
    }
}

#[tokio::test]
async fn a_token_ends() {
    let tenant = start().await;
    tenant.applications().secret(CLIENT, "secret");
    tenant.directory().user("somebody", &[]);
    let url = format!("{}/v1.0/users/somebody/getMemberObjects", tenant.graph_url());
    let body = json!({ "securityEnabledOnly": true });
    let answer = with_secret(&tenant, CLIENT, "secret").await;
    assert_eq!(graph("POST", &url, answer.token(), body.clone()).await.status, 200);
    tenant.revoke_graph_tokens();
    assert_eq!(graph("POST", &url, answer.token(), body.clone()).await.status, 401);
    tenant.token_lifetime(0);
    let answer = with_secret(&tenant, CLIENT, "secret").await;
    assert_eq!(answer.json["expires_in"], 0);
    assert_eq!(graph("POST", &url, answer.token(), body).await.status, 401);
}

#[test]
fn a_certificate_and_its_key_are_pem() {
    let certificate = Certificate::generate("stagedoor").unwrap();
    let (begin, end) = ("-----BEGIN CERTIFICATE-----\n", "\n-----END CERTIFICATE-----\n");
    let pem = certificate.cert_pem();
    let body = pem.strip_prefix(begin).unwrap().strip_suffix(end).unwrap();
    assert!(body.lines().all(|line| (1..=64).contains(&line.len())));
    assert!(certificate.key_pem().starts_with("-----BEGIN PRIVATE KEY-----\n"));
}
