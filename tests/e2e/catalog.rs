//! Through a real Envoy: what teams say of their own services, and what operators see of
//! what changed.

use crate::support::files::replace;
use crate::support::stack::{AUDIENCE, CATALOG, OTHERS, OWNERS, Options, Stack, reason};
use serde_json::Value;

/// A component of the payments team, with what it claims.
fn claiming(name: &str, owner: &str, hosts: &str) -> String {
    format!(
        "---\napiVersion: backstage.io/v1alpha1\nkind: Component\nmetadata:\n  name: {name}\n  \
         annotations:\n    stagedoor.dev/hosts: {hosts}\n    stagedoor.dev/paths: /v1\n\
         spec: {{ type: service, lifecycle: production, owner: {owner} }}\n"
    )
}

#[tokio::test]
async fn a_team_opens_its_service_by_its_own_file() {
    const HOST: &str = "ledger.teams.example.com";
    let more = "catalog_routes:\n  delegations:\n    - { hosts: [\"*.teams.example.com\"], group: \
                \"group:default/payments-team\" }\n"
        .to_owned();
    let stack = Stack::start(Options { more, ..Options::default() }).await.unwrap();
    let bearer = |group: &str| {
        let token = stack.stagedoor.tenant.token().audience(AUDIENCE).groups(&[group]).sign();
        format!("Bearer {token}")
    };
    let (owner, other) = (bearer(OWNERS), bearer(OTHERS));
    let ask = async |bearer: &str, path: &str| {
        let answer = stack.ask("GET", HOST, path, &[("authorization", bearer)]).await.unwrap();
        match answer.status {
            200 => "200".to_owned(),
            _ => reason(&answer).unwrap(),
        }
    };
    let mut version = stack.stagedoor.await_other_snapshot(None).await.unwrap();
    assert_eq!(ask(&owner, "/v1/x").await, "no_route");
    let records = stack.stagedoor.catalog_records(1).await.unwrap();
    assert_eq!(records[0]["event"], "catalog_adopted");
    assert_eq!(records[0]["snapshot_version"], Value::from(version.clone()));

    let mut write = async |more: &[String]| {
        replace(stack.stagedoor.catalog_file(), format!("{CATALOG}{}", more.concat()));
        version = stack.stagedoor.await_other_snapshot(Some(&version)).await.unwrap();
    };
    let ledger = claiming("ledger", "payments-team", HOST);
    write(std::slice::from_ref(&ledger)).await;
    assert_eq!(ask(&owner, "/v1/x").await, "200");
    assert_eq!(ask(&owner, "/v2/x").await, "no_route");
    assert_eq!(ask(&other, "/v1/x").await, "not_permitted");
    let changes: Vec<String> = stack.stagedoor.catalog_records(5).await.unwrap()[1..]
        .iter()
        .map(|record| {
            let text = |name: &str| record[name].as_str().unwrap_or_default().to_owned();
            format!("{} {} {} {}", text("event"), text("change"), text("entity"), text("other"))
        })
        .collect();
    let ledger_ref = "component:default/ledger";
    assert_eq!(
        changes[1..],
        [
            format!("catalog_change added {ledger_ref} "),
            format!("catalog_change owner_added {ledger_ref} group:default/payments-team"),
            format!(
                "catalog_change route_added {ledger_ref} hosts `{HOST}` paths `/v1` workloads ``"
            ),
        ]
    );

    // Another team's claim of that host was not delegated, and takes nothing away.
    let squatter = claiming("squatter", "orders-team", HOST);
    write(&[ledger.clone(), squatter]).await;
    assert_eq!(ask(&owner, "/v1/x").await, "200");
    assert_eq!(ask(&other, "/v1/x").await, "not_permitted");

    // A host of the routes table can't be claimed.
    let taken = claiming("taken", "payments-team", "payments.example.com");
    write(&[ledger, taken]).await;
    let answer = stack.get(owner.strip_prefix("Bearer ").unwrap()).await.unwrap();
    assert_eq!(answer.status, 200);
    let record = stack.stagedoor.audit_of("payments.example.com").await.unwrap();
    assert_eq!(record["route"], "payments");

    write(&[]).await;
    assert_eq!(ask(&owner, "/v1/x").await, "no_route");
}
