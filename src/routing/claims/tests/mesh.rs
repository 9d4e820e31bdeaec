//! Workloads: who decides at a sidecar, at a gateway, and without a catalog.

use super::*;

#[test]
fn at_a_workload_the_host_decides_nothing() {
    let world = World::new(
        mesh(),
        Vec::new(),
        &[
            workloads(paths(said("pay/api", "a", ""), "/v1"), "spiffe://c/ns/pay/sa/api"),
            workloads(said("evil/a", "e", "mine.apps.example.com"), "spiffe://c/ns/pay/sa/new"),
            workloads(said("pay/b", "a", ""), "spiffe://c/ns/payments/sa/x spiffe://c/ns/pay2"),
            workloads(said("pay/two", "a", ""), "spiffe://c/ns/pay/sa/two"),
            workloads(said("pay/too", "a", ""), "spiffe://c/ns/pay/sa/two"),
        ],
    );
    let mine = "GET mine.apps.example.com/v1";
    world.check(&[
        // At a gateway, or where the destination is no workload.
        (mine, "component:evil/a"),
        (&format!("{mine} @ spiffe://c/ns/istio/sa/gateway"), "component:evil/a"),
        (&format!("{mine} @ mine.apps.example.com"), "component:evil/a"),
        // At a claimed workload.
        (&format!("{mine} @ spiffe://c/ns/pay/sa/api"), "component:pay/api"),
        ("GET any/v1/x @ spiffe://c/ns/pay/sa/api", "component:pay/api"),
        ("GET mine.apps.example.com/v2 @ spiffe://c/ns/pay/sa/api", NO),
        ("GET any/v1;x @ spiffe://c/ns/pay/sa/api", NO),
        // At others nobody gets in by a host, delegated or not, claimed or contested.
        (&format!("{mine} @ spiffe://c/ns/pay/sa/new"), NO),
        (&format!("{mine} @ spiffe://c/ns/pay/sa/two"), NO),
        (&format!("{mine} @ spiffe://c/ns/other/sa/x"), NO),
        (&format!("{mine} @ spiffe://c/ns/payments/sa/x"), NO),
        // Nor by another spelling of an identity.
        (&format!("{mine} @ SPIFFE://c/ns/istio/sa/gateway"), NO),
        (&format!("{mine} @ spiffe://c/ns/pay/sa/../sa/api"), NO),
        (&format!("{mine} @ spiffe://c/ns/pay/sa/api/"), NO),
        (&format!("{mine} @ spiffe://c/ns/pay/sa/api,x"), NO),
        (&format!("{mine} @ spiffe://c/ns/pay/sa/API"), NO),
        (&format!("{mine} @ spiffe:"), NO),
    ]);
    world.finds(&[
        "component:evil/a: the workload `spiffe://c/ns/pay/sa/new` is not delegated to it",
        "component:pay/b: the workload `spiffe://c/ns/payments/sa/x` is not delegated to it",
        "component:pay/b: the workload `spiffe://c/ns/pay2` is not delegated to it",
        "component:pay/too: the workload `spiffe://c/ns/pay/sa/two` stands in the `workloads` of `component:pay/two` too, so none of them gets it",
        "component:pay/two: the workload `spiffe://c/ns/pay/sa/two` stands in the `workloads` of `component:pay/too` too, so none of them gets it",
    ]);
}

#[test]
fn naming_rules_come_before_claims_and_hold_against_hosts() {
    let rule =
        |id: &str, entity: &str| NamingSettings { id: id.to_owned(), entity: entity.to_owned() };
    let settings = DelegationsSettings {
        workloads: vec![
            rule("spiffe://c/ns/{namespace}/sa/{name}", "component:{namespace}/{name}"),
            rule("spiffe://c/ns/pay/sa/{name}", "component:default/pay-{name}"),
            rule("spiffe://c/ns/pay/sa/api", "component:default/payments"),
        ],
        ..mesh()
    };
    let world = World::new(
        settings,
        vec![
            route("status", &["status.example.com", "*.status.example.com"], &["/"], None),
            route("payments", &["pay.example.com"], &["/"], Some("component:default/payments")),
            route(
                "demo",
                &["{component}.demo.example.com"],
                &["/"],
                Some("component:default/{component}"),
            ),
        ],
        &[
            workloads(said("pay/api", "a", ""), "spiffe://c/ns/pay/sa/api"),
            workloads(said("pay/gate", "a", ""), "spiffe://c/ns/istio/sa/gateway"),
            said("evil/a", "e", "mine.apps.example.com"),
        ],
    );
    world.check(&[
        ("GET any/ @ spiffe://c/ns/pay/sa/api", "component:default/payments"),
        ("GET any/ @ spiffe://c/ns/pay/sa/web", "component:default/pay-web"),
        ("GET any/ @ spiffe://c/ns/shop/sa/web", "component:shop/web"),
        ("GET mine.apps.example.com/ @ spiffe://c/ns/shop/sa/web", "component:shop/web"),
        ("GET any/a;b @ spiffe://c/ns/shop/sa/web", NO),
        // Two workloads must not be one entity.
        ("GET any/ @ spiffe://c/ns/shop/sa/Web", "entity_unknown"),
        ("GET any/ @ spiffe://c/ns/shop/sa/web/x", NO),
        ("GET any/ @ spiffe://other/ns/shop/sa/web", NO),
        // The table, chosen by the client's host: only for the very entity.
        ("GET status.example.com/", "status"),
        ("GET status.example.com/ @ spiffe://c/ns/istio/sa/gateway", "status"),
        ("GET status.example.com/ @ spiffe://c/ns/pay/sa/api", NO),
        ("GET a.status.example.com/ @ spiffe://c/ns/pay/sa/api", NO),
        ("GET status.example.com/ @ spiffe://c/ns/shop/sa/Web", "entity_unknown"),
        ("GET status.example.com/ @ spiffe://c/ns/pay/sa/api/", NO),
        ("GET pay.example.com/ @ spiffe://c/ns/pay/sa/api", "component:default/payments"),
        ("GET pay.example.com/ @ spiffe://c/ns/pay/sa/web", NO),
        ("GET payments.demo.example.com/ @ spiffe://c/ns/pay/sa/api", "component:default/payments"),
        ("GET other.demo.example.com/ @ spiffe://c/ns/pay/sa/api", NO),
        // Where no rule is, the table decides as ever.
        ("GET status.example.com/ @ spiffe://other/ns/a/sa/b", "status"),
    ]);
    world.finds(&[
        "component:pay/api: the workload `spiffe://c/ns/pay/sa/api` has its entity from a naming rule",
        "component:pay/gate: the workload `spiffe://c/ns/istio/sa/gateway` is not delegated to it",
    ]);
    // It needs no catalog to hold.
    for asked in [
        "GET status.example.com/ @ spiffe://c/ns/pay/sa/api",
        "GET pay.example.com/ @ spiffe://c/ns/pay/sa/web",
    ] {
        assert_eq!(world.ask_of(asked, Err(Reason::CatalogExpired)), NO);
    }
    // A route for any host can't be chosen by one.
    let world = World::new(
        DelegationsSettings {
            workloads: vec![rule(
                "spiffe://c/ns/{namespace}/sa/{name}",
                "component:{namespace}/{name}",
            )],
            ..mesh()
        },
        vec![route("health", &["*"], &["/healthz"], None)],
        &[],
    );
    world.check(&[
        ("GET any/healthz @ spiffe://c/ns/pay/sa/api", "health"),
        ("GET any/ @ spiffe://c/ns/pay/sa/api", NO),
    ]);
}

#[test]
fn gateways_can_be_claimed_by_nobody() {
    let world = World::new(
        DelegationsSettings { gateways: owned(&["spiffe://c/ns/pay/sa/gateway"]), ..mesh() },
        Vec::new(),
        &[workloads(said("pay/a", "a", ""), "spiffe://c/ns/pay/sa/gateway")],
    );
    world.check(&[("GET any/ @ spiffe://c/ns/pay/sa/gateway", NO)]);
    world.finds(&[
        "component:pay/a: the workload `spiffe://c/ns/pay/sa/gateway` is a gateway, where the host decides",
    ]);
}

#[test]
fn without_a_catalog_only_what_could_be_its_is_unknown() {
    let world =
        World::new(mesh(), vec![route("mine", &["mine.apps.example.com"], &["/x"], None)], &[]);
    for (asked, want) in [
        ("GET other.apps.example.com/", "catalog_expired"),
        ("GET any/ @ spiffe://c/ns/pay/sa/api", "catalog_expired"),
        ("GET other.apps.example.com/ @ spiffe://c/ns/istio/sa/gateway", "catalog_expired"),
        // The table's, and what the catalog has no say in.
        ("GET mine.apps.example.com/x", "mine"),
        ("GET mine.apps.example.com/", NO),
        ("GET apps.example.com/", NO),
        ("GET other.apps.example.com/a;b", NO),
        ("GET other.apps.example.com/ @ spiffe://c/ns/other/sa/x", NO),
        ("GET other.apps.example.com/ @ spiffe://c/ns/pay/sa/", NO),
    ] {
        assert_eq!(world.ask_of(asked, Err(Reason::CatalogExpired)), want, "{asked}");
    }
    let may =
        |host, destination| world.rules.may_cover(&Host::parse(host).expect("host"), destination);
    assert!(may("other.apps.example.com", None));
    assert!(may("any", Some("spiffe://c/ns/pay/sa/api")));
    assert!(!may("other.apps.example.com", Some("spiffe://c/ns/other/sa/api")));
    assert!(!may("apps.example.com", None) && !may("10.0.0.1", None) && !may("[::1]", None));
}
