//! Hosts: who may claim them, and what comes of two who do.

use super::*;

#[test]
fn only_what_is_delegated_and_only_to_whom() {
    let to = |to, host| delegation(to, &[host]);
    let world = World::new(
        rules(vec![
            namespace("payments", &["*.pay.example.com", "one.example.com"]),
            to(Delegate::Whole(entity("system:default/shop")), "*.shop.example.com"),
            to(Delegate::Whole(entity("domain:default/finance")), "*.fin.example.com"),
            to(Delegate::Group(entity("group:default/team")), "*.team.example.com"),
            to(Delegate::AnyEntity, "*.free.example.com"),
        ]),
        Vec::new(),
        &[
            said(
                "payments/api",
                "a",
                "api.pay.example.com,deep.er.pay.example.com one.example.com",
            ),
            said("payments/apex", "a", "pay.example.com"),
            said("payments/sub", "a", "x.one.example.com"),
            said("payments/look", "a", "evilpay.example.com x.pay.example.com.evil.example"),
            said("default/api", "a", "mine.pay.example.com"),
            said("payments-too/api", "a", "too.pay.example.com"),
            part_of(said("default/cart", "a", "cart.shop.example.com"), "system:default/shop"),
            said("shop/squat", "a", "squat.shop.example.com"),
            part_of(said("default/ledger", "a", "l.fin.example.com"), "domain:default/finance"),
            part_of(said("default/fake", "a", "f.fin.example.com"), "system:default/finance"),
            said("default/tool", "team", "tool.team.example.com"),
            Said {
                owners: vec!["user:default/team".to_owned()],
                ..said("default/person", "", "p.team.example.com")
            },
            said("default/child", "team-child", "c.team.example.com"),
            said("x/anyone", "a", "anyone.free.example.com"),
            Said {
                entity: "system:default/shop".to_owned(),
                ..said("", "a", "shop.shop.example.com")
            },
        ],
    );
    world.check(&[
        ("GET api.pay.example.com/", "component:payments/api"),
        ("POST API.pay.example.com.:8443/any/path?q", "component:payments/api"),
        ("GET deep.er.pay.example.com/", "component:payments/api"),
        ("GET one.example.com/", "component:payments/api"),
        ("GET cart.shop.example.com/", "component:default/cart"),
        ("GET l.fin.example.com/", "component:default/ledger"),
        ("GET tool.team.example.com/", "component:default/tool"),
        ("GET anyone.free.example.com/", "component:x/anyone"),
        ("GET shop.shop.example.com/", "system:default/shop"),
        // Nothing but the very host, and no path with parameters.
        ("GET x.api.pay.example.com/", NO),
        ("GET api.pay.example.com/a;b", NO),
        ("GET pay.example.com/", NO),
        ("GET x.one.example.com/", NO),
        ("GET evilpay.example.com/", NO),
        ("GET x.pay.example.com.evil.example/", NO),
        ("GET mine.pay.example.com/", NO),
        ("GET too.pay.example.com/", NO),
        ("GET squat.shop.example.com/", NO),
        ("GET f.fin.example.com/", NO),
        ("GET p.team.example.com/", NO),
        ("GET c.team.example.com/", NO),
        ("GET other.example.com/", NO),
    ]);
    let not = |name: &str, host: &str| {
        format!("component:{name}: the host `{host}` is not delegated to it")
    };
    let want = [
        not("payments/apex", "pay.example.com"),
        not("payments/sub", "x.one.example.com"),
        not("payments/look", "evilpay.example.com"),
        not("payments/look", "x.pay.example.com.evil.example"),
        not("default/api", "mine.pay.example.com"),
        not("payments-too/api", "too.pay.example.com"),
        not("shop/squat", "squat.shop.example.com"),
        not("default/fake", "f.fin.example.com"),
        not("default/person", "p.team.example.com"),
        not("default/child", "c.team.example.com"),
    ];
    world.finds(&want.each_ref().map(String::as_str));
}

#[test]
fn a_delegation_can_ask_where_an_entity_came_from() {
    let location = "url:https://github.com/contoso/payments/";
    let world = World::new(
        rules(vec![DelegationSettings {
            locations: owned(&[location]),
            ..namespace("payments", &["*.pay.example.com"])
        }]),
        Vec::new(),
        &[
            from(
                said("payments/a", "a", "a.pay.example.com"),
                &format!("{location}tree/main/c.yaml"),
            ),
            from(
                said("payments/b", "a", "b.pay.example.com"),
                "url:https://github.com/contoso/payments-evil/c.yaml",
            ),
            from(
                said("payments/c", "a", "c.pay.example.com"),
                &format!("{location}../evil/c.yaml"),
            ),
            from(
                said("payments/d", "a", "d.pay.example.com"),
                &format!("{location}%2E%2e/evil/c.yaml"),
            ),
            from(
                said("payments/e", "a", "e.pay.example.com"),
                &format!("{location}..\\evil/c.yaml"),
            ),
            said("payments/f", "a", "f.pay.example.com"),
        ],
    );
    world.check(&[("GET a.pay.example.com/", "component:payments/a")]);
    for name in ["b", "c", "d", "e", "f"] {
        world.check(&[(&format!("GET {name}.pay.example.com/"), NO)]);
    }
    assert_eq!(world.findings.len(), 5);
}

#[test]
fn paths_narrow_and_methods_say_the_action() {
    let world = World::new(
        rules(vec![namespace("p", &["*.p.example.com"])]),
        Vec::new(),
        &[paths(said("p/a", "a", "a.p.example.com"), "/v1 /exact$,\n/v1/caf%C3%A9")],
    );
    world.check(&[
        ("GET a.p.example.com/v1", "component:p/a"),
        ("GET a.p.example.com/v1/x", "component:p/a"),
        ("GET a.p.example.com/exact", "component:p/a"),
        ("GET a.p.example.com/exact/x", NO),
        ("GET a.p.example.com/v10", NO),
        ("GET a.p.example.com/", NO),
    ]);
    world.finds(&[]);
    let claims = Claims { rules: &world.rules, routes: Ok(&world.routes) };
    let by_host = |path| {
        let (path, _) = Path::split(path).expect("a path");
        world.routes.by_host(&Host::parse("a.p.example.com").expect("a host"), &path).is_some()
    };
    assert!(by_host("/v1/x") && !by_host("/v1/x;y") && !by_host("/v1;y/x"));
    for (method, action) in
        [("GET", Action::Read), ("POST", Action::Write), ("PURGE", Action::Admin)]
    {
        let request =
            Request { method, host: "a.p.example.com", path: "/v1", ..Request::default() };
        let line = RequestLine::of(&request).expect("canonical");
        let target = world.table.route_with(&request, &line, &claims).expect("a target");
        assert_eq!((target.action, target.gate, &*target.route), (action, Gate::Policy, CATALOG));
        assert_eq!(target.demands, None);
    }
    let mut all: Vec<String> = world
        .routes
        .iter()
        .map(|route| format!("{}{} {}", route.place, route.path, route.entity))
        .collect();
    all.sort();
    assert_eq!(
        all,
        [
            "a.p.example.com/exact$ component:p/a",
            "a.p.example.com/v1 component:p/a",
            "a.p.example.com/v1/caf%C3%A9 component:p/a",
        ]
    );
}

#[test]
fn two_claimants_get_nothing_whatever_the_paths() {
    let world = World::new(
        rules(vec![namespace("p", &["*.p.example.com"])]),
        Vec::new(),
        &[
            said("p/victim", "a", "v.p.example.com ok.p.example.com"),
            paths(said("p/squatter", "b", "v.p.example.com"), "/admin"),
            // Not entitled: neither gets it nor takes it away.
            said("q/stranger", "a", "ok.p.example.com"),
            // The owner's own word is no proof of being the same people.
            said("p/one", "a", "s.p.example.com"),
            paths(said("p/two", "a", "s.p.example.com"), "/admin"),
            said("p/x", "a", "m.p.example.com"),
            said("p/y", "a", "m.p.example.com"),
            said("p/z", "a", "m.p.example.com"),
            said("p/w", "a", "m.p.example.com"),
        ],
    );
    world.check(&[
        ("GET v.p.example.com/", NO),
        ("GET v.p.example.com/admin", NO),
        ("GET s.p.example.com/", NO),
        ("GET s.p.example.com/admin", NO),
        ("GET m.p.example.com/", NO),
        ("GET ok.p.example.com/", "component:p/victim"),
    ]);
    world.finds(&[
        "component:p/victim: the host `v.p.example.com` stands in the `hosts` of `component:p/squatter` too, so none of them gets it",
        "component:p/squatter: the host `v.p.example.com` stands in the `hosts` of `component:p/victim` too, so none of them gets it",
        "component:q/stranger: the host `ok.p.example.com` is not delegated to it",
        "component:p/one: the host `s.p.example.com` stands in the `hosts` of `component:p/two` too, so none of them gets it",
        "component:p/two: the host `s.p.example.com` stands in the `hosts` of `component:p/one` too, so none of them gets it",
        "component:p/w: the host `m.p.example.com` stands in the `hosts` of `component:p/x`, `component:p/y` and 1 more too, so none of them gets it",
        "component:p/x: the host `m.p.example.com` stands in the `hosts` of `component:p/w`, `component:p/y` and 1 more too, so none of them gets it",
        "component:p/y: the host `m.p.example.com` stands in the `hosts` of `component:p/w`, `component:p/x` and 1 more too, so none of them gets it",
        "component:p/z: the host `m.p.example.com` stands in the `hosts` of `component:p/w`, `component:p/x` and 1 more too, so none of them gets it",
    ]);
}

#[test]
fn a_host_is_shared_by_the_same_owners_only() {
    let shared = |settings| DelegationSettings { allow_shared_hosts: true, ..settings };
    let ownerless = |said: Said| Said { owners: Vec::new(), ..said };
    let two_owners =
        |said: Said| Said { owners: owned(&["group:default/b", "group:default/a"]), ..said };
    let world = World::new(
        rules(vec![
            shared(namespace("p", &["*.p.example.com"])),
            // To others without sharing.
            namespace("q", &["both.p.example.com"]),
        ]),
        Vec::new(),
        &[
            paths(said("p/root", "a", "good.p.example.com"), "/"),
            paths(said("p/admin", "a", "good.p.example.com"), "/admin /x$"),
            said("p/victim", "a", "v.p.example.com"),
            paths(said("p/squatter", "b", "v.p.example.com"), "/admin"),
            said("p/c1", "a", "sub.p.example.com"),
            two_owners(paths(said("p/c2", "a", "sub.p.example.com"), "/admin")),
            paths(said("p/d0", "a", "same.p.example.com"), "/"),
            paths(said("p/d1", "a", "same.p.example.com"), "/admin"),
            paths(said("p/d2", "a", "same.p.example.com"), "/admin"),
            ownerless(said("p/e1", "", "none.p.example.com")),
            ownerless(paths(said("p/e2", "", "none.p.example.com"), "/x")),
            said("p/f1", "a", "both.p.example.com"),
            paths(said("q/f2", "a", "both.p.example.com"), "/x"),
            // A slip of one doesn't hand its paths to the other.
            said("p/g1", "a", "slip.p.example.com"),
            paths(said("p/g2", "a", "slip.p.example.com"), "/admin admin2"),
            said("p/h1", "a", "case.p.example.com"),
            paths(said("p/h2", "a", "Case.p.example.com"), "/admin"),
        ],
    );
    world.check(&[
        ("GET good.p.example.com/", "component:p/root"),
        ("GET good.p.example.com/admin/x", "component:p/admin"),
        ("GET good.p.example.com/x", "component:p/admin"),
        ("GET good.p.example.com/x/y", "component:p/root"),
    ]);
    for host in ["v", "sub", "same", "none", "both", "slip", "case"] {
        for path in ["", "admin", "x"] {
            world.check(&[(&format!("GET {host}.p.example.com/{path}"), NO)]);
        }
    }
    for (host, why) in [
        ("v", "and their owners are not the same, so none of them gets it"),
        ("sub", "and their owners are not the same, so none of them gets it"),
        ("same", "and two of them claim the same path, so none of them gets it"),
        ("none", "and their owners are not the same, so none of them gets it"),
        ("both", "too, so none of them gets it"),
        ("case", "and one of their claims has a mistake, so none of them gets it"),
        ("slip", "and one of their claims has a mistake, so none of them gets it"),
    ] {
        let host = format!("`{host}.p.example.com` stands");
        let told: Vec<_> = world.findings.iter().filter(|text| text.contains(&host)).collect();
        assert!(told.len() >= 2 && told.iter().all(|text| text.contains(why)), "{told:?}");
    }
}

#[test]
fn the_table_always_wins() {
    let catalog = [said("p/a", "a", "a.p.example.com b.p.example.com c.d.p.example.com")];
    let with = |hosts: &[&str]| {
        World::new(
            rules(vec![namespace("p", &["*.p.example.com"])]),
            vec![route("mine", hosts, &["/mine"], None)],
            &catalog,
        )
    };
    for (pattern, taken) in [
        ("a.p.example.com", [true, false, false]),
        ("{x}.p.example.com", [true, true, false]),
        ("*.d.p.example.com", [false, false, true]),
        ("*.example.com", [true, true, true]),
        ("*", [true, true, true]),
        ("p.example.com", [false, false, false]),
    ] {
        let world = with(&[pattern]);
        let hosts = ["a.p.example.com", "b.p.example.com", "c.d.p.example.com"];
        for (host, taken) in hosts.iter().zip(taken) {
            let elsewhere = if taken { NO } else { "component:p/a" };
            let mine = if taken { "mine" } else { "component:p/a" };
            world.check(&[
                (&format!("GET {host}/"), elsewhere),
                (&format!("GET {host}/mine"), mine),
            ]);
            let shown = pattern.replace("{x}", "{}");
            let finding = format!(
                "component:p/a: the host `{host}` is the routes table's, which has `{shown}` and always wins"
            );
            assert_eq!(world.findings.contains(&finding), taken, "{pattern}: {:?}", world.findings);
        }
    }
}

#[test]
fn what_cant_be_read_grants_nothing() {
    let many = |count: usize| {
        (0..count).map(|at| format!("h{at}.p.example.com")).collect::<Vec<_>>().join(",")
    };
    let long = format!("a.p.example.com {}", "x".repeat(16 * 1024));
    let long_unicode = format!("a.p.example.com {}", "é".repeat(16 * 1024));
    for (hosts, paths, workloads, want) in [
        (
            "*.p.example.com",
            "",
            "",
            "`hosts`: `*.p.example.com`: expected one host: the host holds `*`",
        ),
        (
            "a.p.example.com {x}.p.example.com",
            "",
            "",
            "`hosts`: `{x}.p.example.com`: expected one host: the host holds `{`",
        ),
        (
            "A.p.example.com",
            "",
            "",
            "`hosts`: `A.p.example.com` is not canonical: write `a.p.example.com`",
        ),
        (
            "a.p.example.com:443",
            "",
            "",
            "`hosts`: `a.p.example.com:443` is not canonical: write `a.p.example.com`",
        ),
        (
            "a.p.example.com\u{a0}",
            "",
            "",
            "`hosts`: `a.p.example.com\\u{a0}`: expected one host: the host holds `\\u{a0}`",
        ),
        (
            "\u{202e}a.p.example.com",
            "",
            "",
            "`hosts`: `\\u{202e}a.p.example.com`: expected one host: the host holds `\\u{202e}`",
        ),
        ("a.p.example.com", "/{x}", "", "`paths`: `/{x}`: a placeholder means nothing here"),
        ("a.p.example.com", "/ok v1", "", "`paths`: `v1`: expected a path that starts with `/`"),
        ("a.p.example.com", "/a/../b", "", "`paths`: `/a/../b`: the path holds a dot segment"),
        (
            "a.p.example.com",
            "/a*",
            "",
            "`paths`: `/a*`: `*` is no wildcard here: a prefix covers all below it",
        ),
        (
            "a.p.example.com",
            "/a\u{1b}[2J",
            "",
            "`paths`: `/a\\u{1b}[2J`: the path holds `\\u{1b}`, which may not stand there unescaped",
        ),
        // Not the default, which is wider.
        ("a.p.example.com", " , ", "", "`paths`: nothing but separators"),
        (
            "a.p.example.com",
            "",
            "payments",
            "`workloads`: `payments`: expected a workload identity such as `spiffe://cluster.local/ns/a/sa/b`",
        ),
        (&many(65), "", "", "`hosts`: more than 64 of them"),
        (&long, "", "", "`hosts`: longer than 16384 bytes"),
        (&long_unicode, "", "", "`hosts`: longer than 16384 bytes"),
    ] {
        let claim = workloads_of(super::paths(said("p/a", "a", hosts), paths), workloads);
        let world = World::new(
            rules(vec![namespace("p", &["*.p.example.com"])]),
            Vec::new(),
            &[claim.clone(), said("p/good", "a", "good.p.example.com")],
        );
        assert_eq!(
            world.findings,
            [format!("component:p/a: {want}; no claim of it counts")],
            "{hosts:?}"
        );
        world.check(&[
            ("GET a.p.example.com/", NO),
            ("GET a.p.example.com/ok", NO),
            ("GET h0.p.example.com/", NO),
            ("GET good.p.example.com/", "component:p/good"),
        ]);
        assert_eq!(world.routes.iter().count(), 1);
    }
    let world = World::new(
        rules(vec![namespace("p", &["*.p.example.com"])]),
        Vec::new(),
        &[paths(said("p/a", "a", ""), "/x"), said("p/b", "a", &many(64))],
    );
    world.finds(&["component:p/a: `paths` mean nothing without `hosts` or `workloads`"]);
    world.check(&[("GET h63.p.example.com/", "component:p/b")]);
}

fn workloads_of(said: Said, text: &str) -> Said {
    workloads(said, text)
}

#[test]
fn findings_are_few_short_and_plain() {
    let hosts: Vec<String> = (0..64).map(|at| format!("h{at}.evil.example")).collect();
    let path = format!("/{}\u{202e}\n", "x".repeat(5000));
    let world = World::new(
        rules(vec![namespace("p", &["*.p.example.com"])]),
        Vec::new(),
        &[
            said("p/many", "a", &hosts.join(" ")),
            paths(said("p/long", "a", "a.p.example.com"), &path),
        ],
    );
    assert_eq!(world.findings.len(), 10);
    assert!(world.findings.contains(&"component:p/many: and 56 more of the kind".to_owned()));
    for finding in &world.findings {
        assert!(finding.len() < 400, "{}", finding.len());
        assert!(finding.chars().all(|c| c == ' ' || c.is_ascii_graphic()), "{finding:?}");
    }
}

/// A catalog that has an entity twice is wrong somewhere: neither counts.
#[test]
fn an_entity_twice_claims_nothing() {
    let twice = [said("p/a", "a", "a.p.example.com"), said("p/a", "a", "a.p.example.com")];
    let world = World::new(rules(vec![namespace("p", &["*.p.example.com"])]), Vec::new(), &twice);
    world.check(&[("GET a.p.example.com/", NO)]);
    let told = "component:p/a: the host `a.p.example.com` stands in the `hosts` of itself too, so none of them gets it";
    world.finds(&[told, told]);
}
