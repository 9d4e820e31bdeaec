use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::domain::Gate;
use crate::routing::RouteSettings;

/// An entity with what it claims.
#[derive(Clone, Debug, Default)]
struct Given {
    entity: &'static str,
    hosts: &'static str,
    paths: &'static str,
    workloads: &'static str,
    owners: &'static [&'static str],
    wholes: &'static [&'static str],
}

fn refs(texts: &[&str]) -> Vec<EntityRef> {
    texts.iter().map(|text| EntityRef::parse(text).expect(text)).collect()
}

fn table(hosts: &[&str]) -> RouteTable {
    if hosts.is_empty() {
        return RouteTable::default();
    }
    let routes = vec![RouteSettings {
        name: "configured".to_owned(),
        hosts: hosts.iter().map(ToString::to_string).collect(),
        paths: vec!["/configured".to_owned()],
        methods: Vec::new(),
        gate: Gate::Policy,
        entity: Some("component:default/configured".to_owned()),
        action: None,
        allow_path_parameters: false,
        demands: crate::domain::Demands::default(),
    }];
    RouteTable::build(routes).expect("a table")
}

fn build(delegations: &Delegations, table: &RouteTable, given: &[Given]) -> CatalogRoutes {
    let parsed: Vec<_> = given
        .iter()
        .map(|given| (refs(&[given.entity]), refs(given.owners), refs(given.wholes)))
        .collect();
    let claims = given.iter().zip(&parsed).map(|(given, (entity, owners, wholes))| Claim {
        entity: &entity[0],
        hosts: given.hosts,
        paths: given.paths,
        workloads: given.workloads,
        owners: owners.iter().collect(),
        wholes: wholes.iter().collect(),
    });
    CatalogRoutes::build(delegations, table, claims)
}

fn delegation(hosts: &[&str], workloads: &[&str]) -> DelegationSettings {
    let texts = |texts: &[&str]| texts.iter().map(ToString::to_string).collect();
    DelegationSettings {
        hosts: texts(hosts),
        workloads: texts(workloads),
        ..DelegationSettings::default()
    }
}

fn apps(to: impl FnOnce(&mut DelegationSettings)) -> Delegations {
    let mut apps = delegation(&["*.apps.example.com", "shop.example.com"], &[]);
    to(&mut apps);
    Delegations::build(&[apps], &[]).expect("good")
}

fn any() -> Delegations {
    apps(|apps| apps.dangerously_any_entity = true)
}

/// The entity that a request is for, or the reason why it is for none.
fn route(
    table: &RouteTable,
    delegations: &Delegations,
    catalog: FromCatalog<'_>,
    host: &str,
    path: &str,
    destination: Option<&str>,
) -> Result<String, &'static str> {
    let request = Request {
        method: "GET",
        host,
        path,
        destination_principal: destination,
        ..Request::default()
    };
    let line = RequestLine::of(&request).expect("canonical");
    let target = table.route_with(&request, &line, delegations, catalog);
    let target = target.map_err(|denial| denial.reason.code())?;
    assert_eq!(target.gate, Gate::Policy);
    assert!(matches!(&*target.route, "catalog" | "configured"));
    Ok(target.resource.expect("an entity").to_string())
}

const A: Given = Given {
    entity: "component:default/a",
    hosts: "a.apps.example.com",
    paths: "",
    workloads: "",
    owners: &["group:default/one"],
    wholes: &["system:default/shop", "domain:default/retail"],
};
const B: Given = Given {
    entity: "component:other/b",
    hosts: "b.apps.example.com",
    owners: &["group:default/two"],
    wholes: &[],
    ..A
};

#[test]
fn only_what_is_delegated_counts() {
    let none = RouteTable::default();
    let a = |to: fn(&mut DelegationSettings)| {
        let delegations = apps(to);
        let routes = build(&delegations, &none, &[A, B]);
        let catalog = FromCatalog::Routes(&routes);
        let ask = |host| route(&none, &delegations, catalog, host, "/x", None).is_ok();
        assert_eq!(routes.findings().len(), 2 - routes.counts().0);
        (ask("a.apps.example.com"), ask("b.apps.example.com"))
    };
    assert_eq!(a(|to| to.dangerously_any_entity = true), (true, true));
    assert_eq!(a(|to| to.namespace = Some("default".into())), (true, false));
    assert_eq!(a(|to| to.namespace = Some("other".into())), (false, true));
    assert_eq!(a(|to| to.system = Some("system:default/shop".into())), (true, false));
    assert_eq!(a(|to| to.domain = Some("domain:default/retail".into())), (true, false));
    assert_eq!(a(|to| to.group = Some("group:default/two".into())), (false, true));
    assert_eq!(a(|to| to.group = Some("group:default/three".into())), (false, false));
}

#[test]
fn texts_that_claim_nothing() {
    let none = RouteTable::default();
    let many = (0..65).map(|n| format!("h{n}.apps.example.com")).collect::<Vec<_>>().join(",");
    let many: &'static str = many.leak();
    for (hosts, paths, want) in [
        ("*.apps.example.com", "", "no host"),
        ("{a}.apps.example.com", "", "no host"),
        ("A.apps.example.com", "", "not canonical"),
        ("a.apps.example.com.", "", "not canonical"),
        ("a.apps.example.com:443", "", ""),
        ("apps.example.com", "", "no delegation"),
        ("a.apps.example.com.evil.com", "", "no delegation"),
        ("evil-apps.example.com", "", "no delegation"),
        ("127.0.0.1", "", "ip address"),
        ("a.apps.example.com", "v1", "expected a path that starts with `/`"),
        ("a.apps.example.com", "/{x}", "no placeholders"),
        ("a.apps.example.com", "/a/../b", ""),
        ("a.apps.example.com", ",", ""),
        (many, "", "more than 64 hosts"),
    ] {
        let delegations = any();
        let routes = build(&delegations, &none, &[Given { hosts, paths, ..A }]);
        let findings: Vec<_> = routes.findings().iter().map(|f| f.message.as_str()).collect();
        assert!(
            findings.iter().any(|f| f.contains(want)) || want.is_empty(),
            "{hosts} {findings:?}"
        );
        for host in ["a.apps.example.com", "h1.apps.example.com", "apps.example.com"] {
            let catalog = FromCatalog::Routes(&routes);
            let routed = route(&none, &delegations, catalog, host, "/x", None);
            assert_eq!(routed, Err("no_route"), "{hosts} {paths} {host}");
        }
    }
}

#[test]
fn the_table_wins() {
    let delegations = any();
    for (hosts, claimed) in [
        (&["a.apps.example.com"][..], false),
        (&["*.apps.example.com"], false),
        (&["{x}.apps.example.com"], false),
        (&["*"], false),
        (&["other.example.com", "*.other.example.com"], true),
    ] {
        let table = table(hosts);
        let routes = build(&delegations, &table, &[A]);
        let ask = |path| {
            let catalog = FromCatalog::Routes(&routes);
            route(&table, &delegations, catalog, "a.apps.example.com", path, None)
        };
        let a = Ok("component:default/a".to_owned());
        let configured = Ok("component:default/configured".to_owned());
        let (x, own) = if claimed { (a.clone(), a) } else { (Err("no_route"), configured) };
        assert_eq!(ask("/x"), x, "{hosts:?}");
        assert_eq!(ask("/configured"), own, "{hosts:?}");
        assert_eq!(routes.findings().is_empty(), claimed, "{hosts:?}");
    }
}

#[test]
fn nobody_takes_anothers_host_or_path() {
    let none = RouteTable::default();
    let delegations = any();
    let same = Given { entity: "component:default/a2", paths: "/admin", ..A };
    let foreign = Given { owners: B.owners, ..same.clone() };
    let nobodys = [Given { owners: &[], ..A }, Given { owners: &[], ..same.clone() }];
    let both = [A, Given { entity: "component:default/a2", ..A }];
    let ask = |given: &[Given], path: &str| {
        let routes = build(&delegations, &none, given);
        let catalog = FromCatalog::Routes(&routes);
        route(&none, &delegations, catalog, "a.apps.example.com", path, None)
    };
    // The same owners may split a host between their entities.
    assert_eq!(ask(&[A, same.clone()], "/admin/x"), Ok("component:default/a2".to_owned()));
    assert_eq!(ask(&[A, same.clone()], "/administrator"), Ok("component:default/a".to_owned()));
    // Others get nothing, and take it away from nobody silently.
    for given in [&[A, foreign.clone()][..], &nobodys, &both, &[same, foreign, A]] {
        for path in ["/", "/admin", "/x"] {
            assert_eq!(ask(given, path), Err("no_route"), "{given:?} {path}");
        }
        let findings = build(&delegations, &none, given);
        let found: BTreeSet<_> = findings.findings().iter().map(|f| &f.entity).collect();
        assert_eq!(
            found.len(),
            given.iter().map(|given| given.entity).collect::<BTreeSet<_>>().len()
        );
    }
}

#[test]
fn workloads_are_certain_and_hosts_are_not() {
    let none = RouteTable::default();
    let mut to_all = delegation(&["*.apps.example.com"], &["spiffe://cluster.local/ns/shop"]);
    to_all.dangerously_any_entity = true;
    let rules = [WorkloadSettings {
        id: "spiffe://cluster.local/ns/{namespace}/sa/{name}".to_owned(),
        entity: "component:{namespace}/{name}".to_owned(),
    }];
    let claims = [
        Given { workloads: "spiffe://cluster.local/ns/shop/sa/a", ..A },
        // Not delegated, and twice the same.
        Given { workloads: "spiffe://cluster.local/ns/bank/sa/b", ..B },
        Given {
            entity: "component:default/c",
            hosts: "",
            workloads: "spiffe://cluster.local/ns/shop/sa/c",
            ..A
        },
        Given {
            entity: "component:default/d",
            hosts: "",
            workloads: "spiffe://cluster.local/ns/shop/sa/c",
            ..A
        },
    ];
    let without = Delegations::build(&[to_all.clone()], &[]).expect("good");
    let with = Delegations::build(&[to_all], &rules).expect("good");
    let ask = |delegations: &Delegations, destination: &str| {
        let routes = build(delegations, &none, &claims);
        let catalog = FromCatalog::Routes(&routes);
        // Whatever host the client writes.
        route(&none, delegations, catalog, "a.apps.example.com", "/x", Some(destination))
    };
    let a = || Ok("component:default/a".to_owned());
    assert_eq!(ask(&without, "spiffe://cluster.local/ns/shop/sa/a"), a());
    for id in ["ns/bank/sa/b", "ns/shop/sa/c", "ns/shop/sa/none", "ns/shopping/sa/a", "elsewhere"] {
        let id = format!("spiffe://cluster.local/{id}");
        assert_eq!(ask(&without, &id), Err("no_route"), "{id}");
    }
    // A certificate without a SPIFFE id, as a gateway's, says nothing.
    assert_eq!(ask(&without, "gateway.example.com"), a());
    // The operator's rule comes before claims.
    assert_eq!(
        ask(&with, "spiffe://cluster.local/ns/shop/sa/a"),
        Ok("component:shop/a".to_owned())
    );
    assert_eq!(ask(&with, "spiffe://other.cluster/ns/shop/sa/a"), Err("no_route"));
    // Without either, ids are not looked at.
    assert_eq!(ask(&any(), "spiffe://cluster.local/ns/bank/sa/b"), a());
}

#[test]
fn without_a_catalog_it_is_unavailable_not_forbidden() {
    let table = table(&["known.apps.example.com"]);
    let delegations = any();
    let gone = FromCatalog::Unavailable(Reason::CatalogExpired);
    let ask = |host, destination| route(&table, &delegations, gone, host, "/x", destination);
    assert_eq!(ask("a.apps.example.com", None), Err("catalog_expired"));
    assert_eq!(ask("known.apps.example.com", None), Err("no_route"));
    assert_eq!(ask("elsewhere.example.com", None), Err("no_route"));
    let mut workloads = delegation(&[], &["spiffe://cluster.local/ns/shop"]);
    workloads.dangerously_any_entity = true;
    let delegations = Delegations::build(&[workloads], &[]).expect("good");
    let ask = |destination| {
        route(&table, &delegations, gone, "a.apps.example.com", "/x", Some(destination))
    };
    assert_eq!(ask("spiffe://cluster.local/ns/shop/sa/a"), Err("catalog_expired"));
    assert_eq!(ask("spiffe://cluster.local/ns/bank/sa/a"), Err("no_route"));
}

#[test]
fn mistakes_are_named() {
    let check = |delegation: DelegationSettings, want: &str| {
        let errors = Delegations::build(&[delegation], &[]).expect_err(want);
        let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
        assert!(errors.iter().any(|error| error.contains(want)), "{want}: {errors:?}");
    };
    let to = |delegation: DelegationSettings| DelegationSettings {
        dangerously_any_entity: true,
        ..delegation
    };
    check(to(delegation(&[], &[])), "delegations[0].: expected `hosts` or `workloads`");
    check(delegation(&["a.example.com"], &[]), "expected exactly one of");
    let mut both = to(delegation(&["a.example.com"], &[]));
    both.namespace = Some("default".to_owned());
    check(both, "expected exactly one of");
    check(to(delegation(&["*"], &[])), "hosts[0]");
    check(to(delegation(&["ok.example.com", "{x}.example.com"], &[])), "hosts[1]");
    check(to(delegation(&["A.example.com"], &[])), "write `a.example.com`");
    check(to(delegation(&["10.0.0.1"], &[])), "ip address");
    check(to(delegation(&[], &["spiffe://cluster.local/"])), "workloads[0]");
    check(to(delegation(&[], &["https://cluster.local/ns"])), "expected a SPIFFE id");
    let mut system = delegation(&["a.example.com"], &[]);
    system.system = Some("domain:default/x".to_owned());
    check(system, "system: `domain:default/x`: expected `system:…`");
    let rule = |id: &str, entity: &str, want: &str| {
        let rule = WorkloadSettings { id: id.to_owned(), entity: entity.to_owned() };
        let errors = Delegations::build(&[], &[rule]).expect_err(want);
        assert!(errors[0].to_string().contains(want), "{}", errors[0]);
    };
    rule("spiffe://{domain}/sa/x", "component:default/x", "workloads[0].id");
    rule("spiffe://c/sa/{x}/{x}", "component:default/{x}", "once");
    rule("spiffe://c/sa/{x}", "component:default/{y}", "placeholders here: `{x}`");
    rule("spiffe://c/sa/{x}", "{x}", "workloads[0].entity");
}

proptest! {
    /// As the rules say, one request at a time, without any index.
    #[test]
    fn as_the_rules_say(
        given in proptest::collection::vec(
            (0_usize..4, 0_usize..3, 0_usize..4, 0_usize..3), 0..6,
        ),
        host in 0_usize..3,
        path in prop::sample::select(vec!["/", "/admin", "/admin/x", "/adminx", "/v1"]),
    ) {
        const ENTITIES: [&str; 4] =
            ["component:default/e0", "component:default/e1", "component:other/e2", "api:default/e3"];
        const HOSTS: [&str; 3] = ["a.apps.example.com", "b.apps.example.com", "c.example.com"];
        const PATHS: [&str; 4] = ["", "/admin", "/v1", "/admin$"];
        const OWNERS: [&[&str]; 3] = [&[], &["group:default/one"], &["group:default/two"]];
        let mut seen = BTreeSet::new();
        let given: Vec<Given> = given
            .into_iter()
            .filter(|(entity, ..)| seen.insert(*entity))
            .map(|(entity, host, path, owners)| Given {
                entity: ENTITIES[entity],
                hosts: HOSTS[host],
                paths: PATHS[path],
                owners: OWNERS[owners],
                ..Given::default()
            })
            .collect();
        let (none, delegations) = (RouteTable::default(), any());
        let routes = build(&delegations, &none, &given);
        let found = route(&none, &delegations, FromCatalog::Routes(&routes), HOSTS[host], path, None);

        let claimants: Vec<&Given> =
            given.iter().filter(|given| given.hosts == HOSTS[host] && host < 2).collect();
        let paths: BTreeSet<_> = claimants.iter().map(|given| given.paths).collect();
        let alone = claimants.len() == 1;
        let agreed = claimants.windows(2).all(|two| two[0].owners == two[1].owners)
            && claimants.iter().all(|given| !given.owners.is_empty())
            && paths.len() == claimants.len();
        let fits = |given: &&&Given| match given.paths {
            "" => true,
            "/admin$" => path == "/admin",
            prefix => path == prefix || path.starts_with(&format!("{prefix}/")),
        };
        // The longest pattern is the most specific of these.
        let best = claimants.iter().filter(fits).max_by_key(|given| given.paths.len());
        let want = match best {
            Some(best) if alone || agreed => Ok(best.entity.to_owned()),
            _ => Err("no_route"),
        };
        prop_assert_eq!(found, want, "{:?}", given);
    }
}
