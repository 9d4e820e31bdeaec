//! Through a real Envoy: every token of the table, groups that a token doesn't list,
//! challenges, revocations.

use std::process::Command;
use std::time::Duration;

use crate::support::stack::{
    AUDIENCE, CATALOG, OTHERS, OWNERS, Options, Stack, Stagedoor, reason, seen,
};
use crate::support::tokens::{CONSUMERS, OTHER, TENANT, World, accepted, refused};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use devtenant::keys::SigningKey;
use devtenant::tenant::{Endpoint, Fault, Tenant, TenantOptions};
use devtenant::token::{CLIENT, TokenBuilder};
use serde_json::json;
use stagedoor::clock::Now;

const ADA: &str = "bbbbbbbb-0000-0000-0000-000000000001";
const APP: &str = "eeeeeeee-0000-0000-0000-000000000001";

/// Every row of the table of tokens, asked through Envoy.
#[tokio::test]
async fn the_table_of_tokens() {
    let start = |id: &str, key: usize| {
        Tenant::start(TenantOptions {
            id: id.parse().unwrap(),
            key: SigningKey::test(key).named("k"),
            ..TenantOptions::default()
        })
    };
    let (tenant, other) = (start(TENANT, 0).await.unwrap(), start(OTHER, 1).await.unwrap());
    let consumers = format!("{}/{CONSUMERS}/v2.0", tenant.authority());
    tenant.publish_key_for(&SigningKey::test(2).named("consumer"), &consumers);
    let (own, others) = (tenant.authority().to_owned(), other.authority().to_owned());
    let authority = move |id: &str| if id == OTHER { others.clone() } else { own.clone() };
    let of_v1 = authority.clone();
    let world = World {
        issuer_v1: Box::new(move |id| format!("{}/v1/{id}/", of_v1(id))),
        issuer_v2: Box::new(move |id| format!("{}/{id}/v2.0", authority(id))),
        now: Now::read().unix,
        // Time goes on while the rows are asked.
        ahead: 3600,
    };
    let options = Options {
        entra: "  keys: { distrusted: [distrusted] }\n".to_owned(),
        tenant: format!(
            "      clients: [{CLIENT}]\n    - id: {OTHER}\n      authority: {}\n      \
             issuer_v1: {}\n      issuer_v2: {}\n      versions: [v1, v2]\n      \
             audiences: [{AUDIENCE}]\n",
            other.authority(),
            other.issuer_v1(),
            other.issuer_v2(),
        ),
        ..Options::default()
    };
    let stagedoor = Stagedoor::start_with(tenant, options).await.unwrap();
    let stack = Stack::of(stagedoor, |envoy| envoy).await.unwrap();
    let ask = async |token: &str| {
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str())];
        stack.ask("GET", "payments.example.com", "/whoami", &headers).await.unwrap()
    };
    for (name, token, kind) in accepted(&world) {
        let answer = ask(&token).await;
        assert_eq!(answer.status, 200, "{name}: {answer:?}");
        assert_eq!(seen(&answer, "x-stagedoor-kind"), [kind.as_str()], "{name}");
    }
    let before = stack.upstream.count();
    let mut asked = 0;
    for (name, token, want) in refused(&world) {
        let answer = ask(&token).await;
        if token.len() > 50_000 {
            // More than Envoy itself takes.
            assert_eq!(answer.status, 431, "{name}");
            continue;
        }
        assert_eq!(reason(&answer).unwrap(), want.code(), "{name}: {answer:?}");
        assert_eq!(answer.status, want.status(), "{name}");
        asked += 1;
    }
    assert!(asked >= 110, "{asked}");
    assert_eq!(stack.upstream.count(), before, "nobody reached the service");
}

/// A stack whose tokens' groups come from elsewhere.
async fn overage(from: &str, membership: &str, catalog: &str) -> Stack {
    let tenant = Tenant::start(TenantOptions::default()).await.unwrap();
    tenant.directory().user(ADA, &[OWNERS]);
    tenant.applications().secret(APP, "the secret");
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "the secret").unwrap();
    let graph = match from {
        "graph" => format!(
            "  graph: {{ client_id: {APP}, secret_file: {}, wait: 8s }}\n",
            secret.display()
        ),
        _ => String::new(),
    };
    let options = Options {
        entra: format!("  overage: {from}\n{graph}"),
        tenant: format!("      graph_url: {}\n", tenant.graph_url()),
        catalog: Some(format!(
            "catalog: {{ folder: catalog, refresh_every: 1s, membership: {membership} }}\n"
        )),
        ..Options::default()
    };
    let stagedoor = Stagedoor::start_with_file(tenant, options, |folder, _| {
        std::fs::write(folder.join("catalog/catalog-info.yaml"), catalog).unwrap();
    });
    let stack = Stack::of(stagedoor.await.unwrap(), |envoy| envoy).await.unwrap();
    // The secret is read when it is needed.
    std::mem::forget(folder);
    stack
}

fn many(stack: &Stack) -> TokenBuilder {
    stack.stagedoor.tenant.token().audience(AUDIENCE).overage()
}

#[tokio::test]
async fn groups_from_graph() {
    let stack = overage("graph", "token", CATALOG).await;
    let tenant = &stack.stagedoor.tenant;
    assert_eq!(stack.get(&many(&stack).sign()).await.unwrap().status, 200);
    let flag = tenant.token().audience(AUDIENCE).many_groups();
    assert_eq!(stack.get(&flag.sign()).await.unwrap().status, 200);
    // What such a token lists beside the mark is not believed.
    let other = "bbbbbbbb-0000-0000-0000-000000000002";
    tenant.directory().user(other, &[OTHERS]);
    let forged = many(&stack).oid(other).groups(&[OWNERS]).sign();
    let answer = stack.get(&forged).await.unwrap();
    assert_eq!((answer.status, reason(&answer).unwrap().as_str()), (403, "not_permitted"));
    // Nobody who is gone gets in, and nobody whose groups can't be known.
    let gone = many(&stack).oid("bbbbbbbb-0000-0000-0000-00000000dead").sign();
    let answer = stack.get(&gone).await.unwrap();
    assert_eq!((answer.status, reason(&answer).unwrap().as_str()), (401, "principal_gone"));
    tenant.faults().set(Endpoint::Graph, Fault::Throttle { retry_after: 30 });
    let unlucky = many(&stack).oid("bbbbbbbb-0000-0000-0000-000000000003").sign();
    let answer = stack.get(&unlucky).await.unwrap();
    assert_eq!((answer.status, reason(&answer).unwrap().as_str()), (503, "groups_unavailable"));
    assert_eq!(stack.get(&many(&stack).sign()).await.unwrap().status, 200, "at hand");
    // Where no groups are needed, nobody is asked.
    let bearer = format!("Bearer {unlucky}");
    let headers = [("authorization", bearer.as_str())];
    let answer = stack.ask("GET", "payments.example.com", "/whoami", &headers).await.unwrap();
    assert_eq!(answer.status, 200);
    // The address in the token is the legacy one; only Graph's own paths were asked.
    let calls = tenant.graph_calls();
    assert!(calls.iter().all(|call| call.path.starts_with("/v1.0/users/")), "{calls:?}");
}

/// A user of the catalog whose groups the catalog knows.
const ADA_IN_CATALOG: &str = "
---
apiVersion: backstage.io/v1alpha1
kind: User
metadata:
  name: ada
  annotations: { graph.microsoft.com/user-id: bbbbbbbb-0000-0000-0000-000000000001 }
spec: { memberOf: [refunds] }
";

#[tokio::test]
async fn groups_from_the_catalog() {
    let stack = overage("catalog", "token", &format!("{CATALOG}{ADA_IN_CATALOG}")).await;
    assert_eq!(stack.get(&many(&stack).sign()).await.unwrap().status, 200, "over a child group");
    let unknown = many(&stack).oid("bbbbbbbb-0000-0000-0000-000000000009").sign();
    let answer = stack.get(&unknown).await.unwrap();
    assert_eq!((answer.status, reason(&answer).unwrap().as_str()), (503, "groups_overage"));
    // An application is nobody's User.
    let job = stack.stagedoor.tenant.token().audience(AUDIENCE).app_only(&["A"]).many_groups();
    let answer = stack.get(&job.sign()).await.unwrap();
    assert_eq!((answer.status, reason(&answer).unwrap().as_str()), (503, "groups_overage"));
    assert!(stack.stagedoor.tenant.graph_calls().is_empty());
}

/// Where only the catalog says who is in a group, a token need not list any.
#[tokio::test]
async fn membership_by_the_catalog_alone() {
    let stack = overage("graph", "catalog", &format!("{CATALOG}{ADA_IN_CATALOG}")).await;
    assert_eq!(stack.get(&many(&stack).sign()).await.unwrap().status, 200);
    let listed = stack.stagedoor.tenant.token().audience(AUDIENCE);
    assert_eq!(stack.get(&listed.groups(&[]).sign()).await.unwrap().status, 200);
    let stranger = stack.stagedoor.tenant.token().audience(AUDIENCE).groups(&[OWNERS]);
    let stranger = stranger.oid("bbbbbbbb-0000-0000-0000-000000000009");
    assert_eq!(
        stack.get(&stranger.sign()).await.unwrap().status,
        403,
        "the token's word is nothing"
    );
    assert!(stack.stagedoor.tenant.graph_calls().is_empty(), "nobody had to be asked");
    // With both sides, either can put somebody out.
    let stack = overage("graph", "both", &format!("{CATALOG}{ADA_IN_CATALOG}")).await;
    let token = |groups: &[&str]| stack.stagedoor.tenant.token().audience(AUDIENCE).groups(groups);
    assert_eq!(stack.get(&token(&[OWNERS]).sign()).await.unwrap().status, 200);
    assert_eq!(stack.get(&token(&[]).sign()).await.unwrap().status, 403);
    let other = token(&[OWNERS]).oid("bbbbbbbb-0000-0000-0000-000000000009").sign();
    assert_eq!(stack.get(&other).await.unwrap().status, 403);
}

/// The claims request in a challenge, as a client library reads it.
fn claims(challenge: &str) -> serde_json::Value {
    assert!(challenge.starts_with("Bearer realm=\"\", authorization_uri=\"http"), "{challenge}");
    assert!(challenge.contains(", error=\"insufficient_claims\""), "{challenge}");
    let (_, rest) = challenge.split_once("claims=\"").unwrap();
    let text = rest.split('"').next().unwrap();
    serde_json::from_slice(&STANDARD.decode(text).unwrap()).unwrap()
}

#[tokio::test]
async fn routes_and_policies_ask_for_more() {
    let options = Options {
        routes: "  - { name: vault, hosts: [vault.example.com], kinds: [user], auth_context: c2, \
                 entity: \"component:default/payments\" }\n  \
                 - { name: fresh, hosts: [fresh.example.com], max_token_age: 10m, \
                 entity: \"component:default/payments\" }\n  \
                 - { name: robots, hosts: [robots.example.com], kinds: [workload, agent], \
                 gate: authenticated }\n"
            .to_owned(),
        policy: r#"
            @id("admin-needs-c1") @challenge("c1")
            forbid (principal, action == Action::"admin", resource)
            unless { principal.auth_contexts.contains("c1") };
            @id("writes-are-fresh") @challenge("sign_in")
            forbid (principal, action == Action::"write", resource)
            when { context.token_age > 900 };
            @id("no-guests")
            forbid (principal, action == Action::"write", resource) when { principal.guest };
            @id("agents-read")
            permit (principal, action == Action::"read", resource)
            when { principal.agent && principal in resource.owners };
        "#
        .to_owned(),
        ..Options::default()
    };
    let stack = Stack::start(options).await.unwrap();
    let tenant = &stack.stagedoor.tenant;
    let owner = || tenant.token().audience(AUDIENCE).groups(&[OWNERS]);
    let old = |token: TokenBuilder, seconds: i64| {
        let now = Now::read().unix;
        token.issued(now - seconds).claim("exp", json!(now + 3600))
    };
    let app = || tenant.token().audience(AUDIENCE).app_only(&["A"]).groups(&[OWNERS]);
    let ask = async |method: &str, host: &str, path: &str, token: &TokenBuilder| {
        let bearer = format!("Bearer {}", token.sign());
        stack.ask(method, host, path, &[("authorization", &bearer)]).await.unwrap()
    };
    let (payments, vault, fresh, robots) =
        ("payments.example.com", "vault.example.com", "fresh.example.com", "robots.example.com");
    let agent = || owner().claim("xms_act_fct", json!("11"));
    for (method, host, path, token, status, code) in [
        ("GET", vault, "/", owner().claim("acrs", json!(["c1", "c2"])), 200, ""),
        ("GET", vault, "/", owner(), 401, "insufficient_claims"),
        ("GET", vault, "/", owner().claim("acrs", json!(["C2"])), 401, "insufficient_claims"),
        ("GET", vault, "/", app(), 403, "caller_kind"),
        ("GET", vault, "/", agent().claim("acrs", json!(["c2"])), 403, "caller_kind"),
        ("GET", fresh, "/", old(owner(), 500), 200, ""),
        ("GET", fresh, "/", old(owner(), 700), 401, "insufficient_claims"),
        ("GET", robots, "/", app(), 200, ""),
        ("GET", robots, "/", agent(), 200, ""),
        ("GET", robots, "/", owner(), 403, "caller_kind"),
        // By policies.
        ("GET", payments, "/admin/keys", owner(), 401, "insufficient_claims"),
        ("GET", payments, "/admin/keys", owner().claim("acrs", json!(["c1"])), 200, ""),
        ("GET", payments, "/admin/keys", app(), 403, "forbidden"),
        ("POST", payments, "/v1/orders", owner(), 200, ""),
        ("POST", payments, "/v1/orders", old(owner(), 1000), 401, "insufficient_claims"),
        // A new token would not lift the other one that forbids.
        (
            "POST",
            payments,
            "/v1/orders",
            old(owner(), 1000).claim("acct", json!(1)),
            403,
            "forbidden",
        ),
        // Agents get what a policy gives them, and no more.
        ("GET", payments, "/v1/orders", agent(), 200, ""),
        ("GET", payments, "/v1/orders", agent().groups(&[OTHERS]), 403, "not_permitted"),
    ] {
        let answer = ask(method, host, path, &token).await;
        assert_eq!(answer.status, status, "{method} {host}{path} {code}: {answer:?}");
        if status != 200 {
            assert_eq!(reason(&answer).unwrap(), code, "{method} {host}{path}");
        }
        let challenge = answer.header("www-authenticate");
        assert_eq!(challenge.is_some(), status == 401);
    }
    let answer = ask("GET", vault, "/", &owner()).await;
    assert_eq!(
        claims(answer.header("www-authenticate").unwrap()),
        json!({ "access_token": { "acrs": { "essential": true, "value": "c2" } } })
    );
    let answer = ask("POST", payments, "/v1/orders", &old(owner(), 1000)).await;
    let asked = claims(answer.header("www-authenticate").unwrap());
    let since = asked["access_token"]["nbf"]["value"].as_str().unwrap().parse::<i64>().unwrap();
    assert!((Now::read().unix - since).abs() < 30, "{asked}");
    let answer = ask("GET", vault, "/", &agent()).await;
    assert_eq!(seen(&ask("GET", robots, "/", &agent()).await, "x-stagedoor-kind"), ["agent"]);
    assert_eq!(answer.status, 403);
}

/// `stagedoor keys distrust` on a server that runs: its tokens stop soon, cached or
/// not and without a restart, and another key's go on.
#[tokio::test]
async fn a_key_is_distrusted_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("revocations");
    std::fs::write(&file, "# nothing yet\n").unwrap();
    let options = Options {
        entra: format!(
            "  revocations_file: {}\n  keys: {{ unknown_key_wait: 8s }}\n",
            file.display()
        ),
        ..Options::default()
    };
    let stack = Stack::start(options).await.unwrap();
    let tenant = &stack.stagedoor.tenant;
    let good = tenant.token().audience(AUDIENCE).groups(&[OWNERS]);
    let (old, kid) = (good.sign(), tenant.signing_key().kid().to_owned());
    assert_eq!(stack.get(&old).await.unwrap().status, 200);
    let config = stack.stagedoor.folder.path().join("stagedoor.yaml");
    let output = Command::new(env!("CARGO_BIN_EXE_stagedoor"))
        .args(["keys", "distrust", "--config"])
        .arg(&config)
        .arg(&kid)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("is not trusted any more"));
    let began = tokio::time::Instant::now();
    loop {
        let answer = stack.get(&old).await.unwrap();
        if answer.status == 401 {
            assert_eq!(reason(&answer).unwrap(), "token_key_distrusted");
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(30));
    }
    let next = SigningKey::test(1);
    tenant.publish_key(&next);
    assert_eq!(stack.get(&good.sign_with(&next)).await.unwrap().status, 200);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), format!("# nothing yet\nkey {kid}\n"));
    // Without a file there is nothing to write to, and that is said.
    let text = std::fs::read_to_string(&config).unwrap();
    let without: String = text
        .lines()
        .filter(|line| !line.contains("revocations_file"))
        .map(|l| format!("{l}\n"))
        .collect();
    std::fs::write(&config, without).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_stagedoor"))
        .args(["keys", "distrust", "--config"])
        .arg(&config)
        .arg(&kid)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("entra.revocations_file"));
}
