//! The mistakes of `catalog_routes`, each with its place.

use super::*;

#[test]
fn what_the_catalog_may_say() {
    let delegations = |entry: &str, expected: &[&str]| {
        check(&with("catalog_routes", &format!("{{delegations: [{entry}]}}")), expected);
    };
    let at = "catalog_routes.delegations[0]";
    let one = "expected exactly one of `namespace`, `system`, `domain`, `group`, `dangerously_to_any_entity`";
    delegations("{hosts: [a.example]}", &[&format!("1:32: {at}: {one}")]);
    for both in [
        "namespace: a, system: 'system:a/b'",
        "group: 'group:a/b', domain: 'domain:a/b'",
        "namespace: a, dangerously_to_any_entity: true",
    ] {
        delegations(&format!("{{hosts: [a.example], {both}}}"), &[&format!("1:32: {at}: {one}")]);
    }
    delegations(
        "{namespace: payments}",
        &[&format!("1:32: {at}: expected `hosts` or `workloads`")],
    );
    // All mistakes in one run.
    delegations(
        "{hosts: ['*', '{a}.example', A.example, a.example, a.example], namespace: 'a b'}",
        &[
            &format!(
                "1:41: {at}.hosts[0]: `*`: expected a host, or all names below one as in `*.apps.example.com`"
            ),
            &format!(
                "1:46: {at}.hosts[1]: `{{a}}.example`: expected a host, or all names below one as in `*.apps.example.com`"
            ),
            &format!("1:61: {at}.hosts[2]: `A.example` is not canonical: write `a.example`"),
            &format!("1:83: {at}.hosts[4]: `a.example` is given twice"),
            &format!("1:106: {at}.namespace: `a b`: expected a namespace such as `payments`"),
        ],
    );
    delegations(
        "{workloads: ['spiffe://a', 'spiffe://a/b/', 'spiffe://a/b', 'spiffe://a/b'], group: 'user:a/b'}",
        &[
            &format!(
                "1:45: {at}.workloads[0]: `spiffe://a`: expected a path below the trust domain"
            ),
            &format!(
                "1:59: {at}.workloads[1]: `spiffe://a/b/`: a workload identity has no empty segment, no `.` and no `..`"
            ),
            &format!("1:92: {at}.workloads[3]: `spiffe://a/b` is given twice"),
            &format!(
                "1:116: {at}.group: `user:a/b`: expected a group, as in `group:default/payments`"
            ),
        ],
    );
    let lines = lines(&with(
        "catalog_routes",
        "{delegations: [{hosts: [a.example], system: payments, locations: ['url:https://github.com/contoso']}]}",
    ));
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].contains("system: `payments`: expected `kind:namespace/name`"), "{lines:?}");
    assert!(lines[1].contains("locations[0]: expected a prefix that ends with `/`"), "{lines:?}");
    // What lost a part to its shape isn't judged further.
    delegations(
        "{host: [a.example], namespace: payments}",
        &[
            "1:33: catalog_routes.delegations[0]: unknown key `host`: did you mean `hosts`? (known here: `hosts`, `workloads`, `namespace`, `system`, `domain`, `group`, `dangerously_to_any_entity`, `locations`, `allow_shared_hosts`)",
        ],
    );

    let workloads = |rules: &str, expected: &[&str]| {
        check(&with("catalog_routes", &format!("{{workloads: [{rules}]}}")), expected);
    };
    let at = "catalog_routes.workloads";
    workloads(
        "{id: 'spiffe://{a}/b', entity: 'component:a/{a}'}, {id: 'spiffe://a/x-{b}', entity: 'component:a/b'}, {id: 'spiffe://a/{b}', entity: 'component:a/{c}'}",
        &[
            &format!("1:35: {at}[0].id: `spiffe://{{a}}/b`: a trust domain is fixed"),
            &format!("1:86: {at}[1].id: `x-{{b}}`: a placeholder stands for a whole segment"),
            &format!("1:163: {at}[2].entity: `{{c}}` is not in `id`"),
        ],
    );
    workloads(
        "{id: 'spiffe://a/{b}', entity: 'component:a/{b}'}, {id: 'spiffe://a/{c}', entity: 'component:c/{c}'}",
        &[&format!("1:86: {at}[1].id: `spiffe://a/{{c}}`: another rule is for the same workloads")],
    );
    check_section(
        "catalog_routes",
        "{gateways: [gateway]}",
        "1:29: catalog_routes.gateways[0]: `gateway`: expected a workload identity such as `spiffe://cluster.local/ns/a/sa/b`",
    );
    let config = good(
        "catalog_routes",
        "{delegations: [{hosts: ['*.apps.example.com'], namespace: Payments}]}",
    );
    let host = |text| crate::domain::Host::parse(text).expect("host");
    assert!(config.delegations.may_cover(&host("pay.apps.example.com"), None));
    assert!(!config.delegations.may_cover(&host("apps.example.com"), None));
    assert!(good("routes", "[]").delegations.is_empty());
    let config = good(
        "catalog_routes",
        "{delegations: [{hosts: [pay.example.com], dangerously_to_any_entity: true}]}",
    );
    assert!(config.delegations.may_cover(&host("pay.example.com"), None));
    assert!(!config.delegations.may_cover(&host("apps.example.com"), None));
}
