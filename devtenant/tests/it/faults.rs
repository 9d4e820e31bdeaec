//! Faults, where tokens and groups come from.

use std::time::{Duration, Instant};

use devtenant::tenant::{Endpoint, Fault, Tenant, TenantOptions};

use crate::client::{Answer, ask, get};

async fn start() -> Tenant {
    Tenant::start(TenantOptions::default()).await.unwrap()
}

/// A request to each of the endpoints.
async fn request(tenant: &Tenant, endpoint: Endpoint) -> Answer {
    let authority = tenant.authority();
    match endpoint {
        Endpoint::Discovery => {
            get(&format!("{authority}/common/v2.0/.well-known/openid-configuration")).await
        }
        Endpoint::Keys => get(&format!("{authority}/common/discovery/v2.0/keys")).await,
        Endpoint::Token => ask("POST", &tenant.token_endpoint(), &[], "").await,
        Endpoint::Graph => get(&format!("{}/v1.0/users", tenant.graph_url())).await,
        Endpoint::ManagedIdentity => get(&tenant.identity_endpoint()).await,
    }
}

const ALL: [Endpoint; 5] = [
    Endpoint::Discovery,
    Endpoint::Keys,
    Endpoint::Token,
    Endpoint::Graph,
    Endpoint::ManagedIdentity,
];

#[tokio::test]
async fn every_endpoint_throttles() {
    let tenant = start().await;
    for endpoint in ALL {
        tenant.faults().set(endpoint, Fault::Throttle { retry_after: 7 });
        let answer = request(&tenant, endpoint).await;
        assert_eq!(answer.error(), (429, "TooManyRequests"), "{endpoint:?}");
        assert_eq!(answer.header("retry-after"), Some("7"));
        assert_eq!(tenant.requests(endpoint), 1);
    }
    assert_eq!(tenant.graph_calls().len(), 1);
    tenant.faults().clear();
    assert_eq!(request(&tenant, Endpoint::Graph).await.status, 401);
}

#[tokio::test]
async fn every_endpoint_is_slow() {
    let tenant = start().await;
    let late = Duration::from_millis(50);
    for endpoint in ALL {
        let good = request(&tenant, endpoint).await;
        tenant.faults().set(endpoint, Fault::Slow(late));
        let began = Instant::now();
        assert_eq!(request(&tenant, endpoint).await.status, good.status, "{endpoint:?}");
        assert!(began.elapsed() >= late, "{endpoint:?}");
    }
}

#[tokio::test]
async fn graph_fails_in_its_own_form() {
    let tenant = start().await;
    for (status, code) in [
        (403, "Authorization_RequestDenied"),
        (404, "Request_ResourceNotFound"),
        (503, "ServiceUnavailable"),
        (500, "InternalServerError"),
    ] {
        tenant.faults().set(Endpoint::Graph, Fault::Status(status));
        assert_eq!(request(&tenant, Endpoint::Graph).await.error(), (status, code));
    }
    tenant.faults().set(Endpoint::Token, Fault::Status(503));
    assert_eq!(request(&tenant, Endpoint::Token).await.status, 503);
}
