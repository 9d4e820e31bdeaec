//! Decisions of small tables, their mistakes, and properties of any table.

mod oracle;
mod properties;

use super::*;
use crate::domain::Reason;

/// A public route: `name: [methods] hosts paths`.
fn route(name: &str, hosts: &[&str], paths: &[&str], methods: &[&str]) -> RouteSettings {
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    RouteSettings {
        name: name.to_owned(),
        hosts: owned(hosts),
        paths: owned(paths),
        methods: owned(methods),
        gate: Gate::Public,
        entity: None,
        action: None,
        allow_path_parameters: false,
        demands: Demands::default(),
    }
}

fn entity(route: RouteSettings, entity: &str) -> RouteSettings {
    RouteSettings { gate: Gate::Policy, entity: Some(entity.to_owned()), ..route }
}

fn with_parameters(route: RouteSettings) -> RouteSettings {
    RouteSettings { allow_path_parameters: true, ..route }
}

fn request<'a>(method: &'a str, url: &'a str) -> Request<'a> {
    let (host, path) = url.split_at(url.find('/').unwrap_or(url.len()));
    Request { method, host, path, ..Request::default() }
}

/// What a table says: the route's name, and the entity after a blank.
fn ask(table: &RouteTable, request: &Request<'_>) -> Result<String, Reason> {
    let line = RequestLine::of(request).map_err(|denial| denial.reason)?;
    match table.route(request, &line) {
        Ok(Target { route, resource: Some(entity), .. }) => Ok(format!("{route} {entity}")),
        Ok(Target { route, .. }) => Ok(route.to_string()),
        Err(denial) => {
            assert!(denial.detail.is_some(), "{request:?}");
            Err(denial.reason)
        }
    }
}

fn check(table: &RouteTable, cases: &[(&str, &str, Result<&str, Reason>)]) {
    for (method, url, want) in cases {
        let found = ask(table, &request(method, url));
        assert_eq!(found.as_deref().map_err(|r| *r), *want, "{method} {url}");
    }
}

fn table(routes: Vec<RouteSettings>) -> RouteTable {
    RouteTable::build(routes).expect("a table without mistakes")
}

const NO: Result<&str, Reason> = Err(Reason::NoRoute);

#[test]
fn the_most_specific_host_decides_alone() {
    let routes = vec![
        route("any", &["*"], &[], &[]),
        route("example", &["*.example.com"], &[], &[]),
        route("apps", &["*.apps.example.com"], &[], &[]),
        route("one", &["{a}.apps.example.com"], &[], &[]),
        route("two", &["{a}.{b}.example.com"], &[], &[]),
        route("left", &["x.{a}.example.org"], &["/left"], &[]),
        route("right", &["{a}.y.example.org"], &["/right"], &[]),
        route("exact", &["pay.apps.example.com", "example.com"], &["/exact"], &[]),
        route("address", &["10.0.0.1", "[::1]"], &[], &[]),
        route("four", &["{a}.{b}.{c}.{d}"], &[], &[]),
        route("short", &["{a}"], &[], &[]),
        route("fewer", &["a.b.{x}"], &[], &[]),
        route("more", &["{x}.{y}.c"], &[], &[]),
    ];
    let cases: &[(&str, &str, Result<&str, Reason>)] = &[
        ("GET", "pay.apps.example.com/exact", Ok("exact")),
        ("GET", "PAY.Apps.example.com.:8443/exact", Ok("exact")),
        // No falling back to the placeholder's, the suffix's or any host's routes.
        ("GET", "pay.apps.example.com/", NO),
        ("GET", "example.com/", NO),
        ("GET", "shop.apps.example.com/", Ok("one")),
        ("GET", "a.b.apps.example.com/", Ok("apps")),
        ("GET", "shop.other.example.com/", Ok("two")),
        ("GET", "shop.example.com/", Ok("example")),
        ("GET", "a.b.c.example.com/", Ok("example")),
        ("GET", "apps.example.com/", Ok("example")),
        ("GET", "notexample.com/", Ok("any")),
        ("GET", "example.com.evil.example/", Ok("four")),
        // From the right: `y` before the placeholder.
        ("GET", "x.y.example.org/right", Ok("right")),
        ("GET", "x.y.example.org/left", NO),
        ("GET", "x.z.example.org/left", Ok("left")),
        ("GET", "x.z.example.net/", Ok("four")),
        ("GET", "payments/", Ok("short")),
        ("GET", "a.b.c/", Ok("fewer")),
        ("GET", "a.x.c/", Ok("more")),
        ("GET", "10.0.0.1:15001/", Ok("address")),
        ("GET", "[::1]/", Ok("address")),
        ("GET", "10.0.0.2/", Ok("any")),
        ("GET", "[::2]/", Ok("any")),
        ("GET", "user@pay.apps.example.com/exact", Err(Reason::HostNotCanonical)),
        ("GET", "/exact", Err(Reason::HostNotCanonical)),
    ];
    check(&table(routes.clone()), cases);
    // The order in which routes are written means nothing.
    check(&table(routes.into_iter().rev().collect()), cases);
}

#[test]
fn the_most_specific_path_decides_alone() {
    let host = &["h"];
    let routes = vec![
        route("all", host, &["/"], &[]),
        route("root", host, &["/$"], &[]),
        route("admin", host, &["/admin"], &["POST"]),
        route("svc", host, &["/svc/{a}"], &[]),
        route("svc-sub", host, &["/svc/{a}/c"], &[]),
        route("svc-pay", host, &["/svc/pay"], &[]),
        route("svc-exact", host, &["/svc/pay$"], &[]),
        route("svc-slash", host, &["/svc/pay/$"], &[]),
        route("exact", host, &["/exact$"], &[]),
        route("two", host, &["/{a}/{b}$"], &[]),
        route("dollar", host, &["/d$$"], &[]),
        route("escape", host, &["/caf%C3%A9", "/a:b"], &[]),
    ];
    let cases: &[(&str, &str, Result<&str, Reason>)] = &[
        ("GET", "h/", Ok("root")),
        ("GET", "h/?x", Ok("root")),
        ("GET", "h/other", Ok("all")),
        ("POST", "h/admin", Ok("admin")),
        ("POST", "h/admin/", Ok("admin")),
        ("POST", "h/admin/x/y", Ok("admin")),
        ("POST", "h/admin?x", Ok("admin")),
        ("POST", "h/administrator", Ok("all")),
        ("POST", "h/Admin", Ok("all")),
        // The method doesn't leave a strict path to a weaker one.
        ("GET", "h/admin", NO),
        ("HEAD", "h/admin/x", NO),
        ("post", "h/admin", NO),
        ("GET", "h/svc", Ok("all")),
        ("GET", "h/svc/a", Ok("svc")),
        ("GET", "h/svc/a/b", Ok("svc")),
        ("GET", "h/svc/a/c", Ok("svc-sub")),
        ("GET", "h/svc/a/c/d", Ok("svc-sub")),
        ("GET", "h/svc/pay", Ok("svc-exact")),
        ("GET", "h/svc/pay/", Ok("svc-slash")),
        ("GET", "h/svc/pay/c", Ok("svc-pay")),
        ("GET", "h/svc/pay/x", Ok("svc-pay")),
        ("GET", "h/exact", Ok("exact")),
        ("GET", "h/exact/", Ok("all")),
        ("GET", "h/exact/x", Ok("two")),
        ("GET", "h/x/y", Ok("two")),
        ("GET", "h/x/y/", Ok("all")),
        // A placeholder is never empty.
        ("GET", "h/x/", Ok("all")),
        ("GET", "h/svc/", Ok("all")),
        ("GET", "h/d$", Ok("dollar")),
        ("GET", "h/d$/x", Ok("two")),
        ("GET", "h/caf%c3%a9", Ok("escape")),
        ("GET", "h/caf%C3%a9/x", Ok("escape")),
        ("GET", "h/a%3ab", Ok("escape")),
        ("GET", "other/", NO),
        // R0: one rule for everything.
        ("GET", "h//admin", Err(Reason::PathNotCanonical)),
        ("GET", "h/%61dmin", Err(Reason::PathNotCanonical)),
        ("GET", "h/a/..%2fadmin", Err(Reason::PathNotCanonical)),
        ("GET", "h/a/../admin", Err(Reason::PathNotCanonical)),
        ("GET", "h/a/..;/admin", Err(Reason::PathNotCanonical)),
        ("CONNECT", "h", Err(Reason::PathNotCanonical)),
    ];
    check(&table(routes.clone()), cases);
    check(&table(routes.into_iter().rev().collect()), cases);
}

#[test]
fn listed_methods_come_before_any() {
    let table = table(vec![
        route("any", &["h"], &["/a"], &[]),
        route("writes", &["h"], &["/a"], &["POST", "PUT"]),
        route("preflight", &["h"], &["/b"], &["OPTIONS"]),
        entity(route("b", &["h"], &["/b"], &["GET"]), "component:default/b"),
        route("purge", &["h"], &["/c"], &["PURGE"]),
    ]);
    check(
        &table,
        &[
            ("GET", "h/a", Ok("any")),
            ("POST", "h/a", Ok("writes")),
            ("PUT", "h/a", Ok("writes")),
            ("Post", "h/a", Ok("any")),
            ("OPTIONS", "h/b", Ok("preflight")),
            ("GET", "h/b", Ok("b component:default/b")),
            ("HEAD", "h/b", NO),
            ("PURGE", "h/c", Ok("purge")),
            ("purge", "h/c", NO),
            ("", "h/c", NO),
        ],
    );
}

#[test]
fn path_parameters_match_nothing_but_by_consent() {
    let strict =
        |name, paths: &[&str]| entity(route(name, &["h"], paths, &[]), "component:default/x");
    let table = table(vec![
        with_parameters(route("all", &["h"], &["/"], &[])),
        strict("admin", &["/admin"]),
        with_parameters(strict("matrix", &["/matrix"])),
        with_parameters(entity(route("svc", &["h"], &["/svc/{c}"], &[]), "component:default/{c}")),
        strict("svc-pay", &["/svc/pay"]),
        route("plain", &["other"], &["/"], &[]),
    ]);
    check(
        &table,
        &[
            ("GET", "h/x;a=b", Ok("all")),
            ("GET", "h/x;a=b/y;c", Ok("all")),
            // Both readings must lead to one route, and the route must agree.
            ("GET", "h/admin;a", NO),
            ("GET", "h/admin;/x", NO),
            ("GET", "h/admin/x;a", NO),
            ("GET", "h/matrix/x;a", Ok("matrix component:default/x")),
            ("GET", "h/matrix;a", NO),
            ("GET", "h/svc/shop;a", Err(Reason::EntityUnknown)),
            ("GET", "h/svc/shop/x;a", Ok("svc component:default/shop")),
            ("GET", "h/svc/pay;a", NO),
            ("GET", "h/svc;a/pay", NO),
            ("GET", "h/x%3ba", Err(Reason::PathNotCanonical)),
            ("GET", "other/x;a", NO),
            ("GET", "other/x?;a", Ok("plain")),
        ],
    );
}

#[test]
fn entities_are_filled_from_placeholders() {
    let table = table(vec![
        entity(
            route("apps", &["{component}.apps.example.com"], &[], &[]),
            "component:default/{component}",
        ),
        entity(route("svc", &["h"], &["/svc/{component}"], &[]), "Component:Default/{component}"),
        entity(
            route("full", &["{ns}.full"], &["/{kind}/x/{name}"], &[]),
            "{kind}:{ns}/pre-{name}.post",
        ),
        entity(route("unused", &["h"], &["/unused/{a}/{b}"], &[]), "component:default/{b}"),
        // The same placeholder may come from the host here and from the path there
        // only in routes of their own.
        entity(route("fixed", &["h"], &["/fixed/{a}"], &[]), "component:default/Fixed"),
    ]);
    let long = format!("h/svc/{}", "a".repeat(64));
    let unknown = Err(Reason::EntityUnknown);
    check(
        &table,
        &[
            ("GET", "Pay.apps.example.com:443/x", Ok("apps component:default/pay")),
            ("GET", "xn--caf-dma.apps.example.com/", Ok("apps component:default/xn--caf-dma")),
            ("GET", "h/svc/Payments", Ok("svc component:default/payments")),
            ("GET", "h/svc/payments/v1", Ok("svc component:default/payments")),
            ("GET", "h/svc/pay_ments-1.x", Ok("svc component:default/pay_ments-1.x")),
            ("GET", "h/svc/a:b", unknown),
            ("GET", "h/svc/a%3Ab", unknown),
            ("GET", "h/svc/a%20b", unknown),
            ("GET", "h/svc/%C3%A9", unknown),
            ("GET", "h/svc/a@b", unknown),
            ("GET", "h/svc/*", unknown),
            ("GET", &long, unknown),
            ("GET", "shop.full/API/x/pay", Ok("full api:shop/pre-pay.post")),
            ("GET", "shop.full/a:b/x/pay", unknown),
            ("GET", "h/unused/:/b", Ok("unused component:default/b")),
            ("GET", "h/fixed/:", Ok("fixed component:default/fixed")),
        ],
    );
}

#[test]
fn targets_say_action_and_gate() {
    let table = table(vec![
        route("by-method", &["h"], &["/"], &[]),
        RouteSettings {
            action: Some(Action::Admin),
            gate: Gate::Authenticated,
            ..route("fixed", &["h"], &["/fixed"], &[])
        },
    ]);
    for (method, path, action, gate) in [
        ("GET", "h/", Action::Read, Gate::Public),
        ("OPTIONS", "h/", Action::Read, Gate::Public),
        ("POST", "h/", Action::Write, Gate::Public),
        ("get", "h/", Action::Admin, Gate::Public),
        ("TRACE", "h/", Action::Admin, Gate::Public),
        ("GET", "h/fixed", Action::Admin, Gate::Authenticated),
    ] {
        let request = request(method, path);
        let target = table.route(&request, &RequestLine::of(&request).unwrap()).unwrap();
        assert_eq!((target.action, target.gate, target.resource), (action, gate, None), "{method}");
    }
}

#[test]
fn context_extensions_come_before_the_table() {
    let table = table(vec![route("table", &["*"], &[], &[])]);
    let check = |pairs: &[(&str, &str)], want: Result<&str, Reason>| {
        let request = Request { context_extensions: pairs.to_vec(), ..request("POST", "h/admin") };
        let found = table.route(&request, &RequestLine::of(&request).unwrap());
        let found = found
            .map(|target| {
                let entity = target.resource.map_or("-".to_owned(), |entity| entity.to_string());
                format!("{} {} {} {entity}", target.route, target.gate, target.action)
            })
            .map_err(|denial| denial.reason);
        assert_eq!(found.as_deref().map_err(|r| *r), want, "{pairs:?}");
    };
    let wrong = Err(Reason::RouteMisconfigured);

    check(&[], Ok("table public write -"));
    check(&[("entity", "component:default/pay")], Ok("context policy write component:default/pay"));
    check(
        &[
            ("route", "pay"),
            ("gate", "policy"),
            ("action", "admin"),
            ("entity", "Component:default/Pay"),
        ],
        Ok("pay policy admin component:default/pay"),
    );
    check(&[("gate", "public")], Ok("context public write -"));
    check(&[("gate", "authenticated"), ("action", "read")], Ok("context authenticated read -"));
    check(
        &[("gate", "public"), ("entity", "api:default/x")],
        Ok("context public write api:default/x"),
    );
    // Nothing falls back to the table or to something weaker.
    check(&[("gate", "policy")], wrong);
    check(&[("route", "x")], wrong);
    check(&[("action", "read")], wrong);
    check(&[("gate", "Public")], wrong);
    check(&[("gate", "")], wrong);
    check(&[("gate", "none")], wrong);
    check(&[("gate", "public"), ("acton", "admin")], wrong);
    check(&[("gate", "public"), ("Action", "admin")], wrong);
    check(&[("gate", "public"), ("", "")], wrong);
    check(&[("unknown", "x")], wrong);
    check(&[("gate", "public"), ("action", "delete")], wrong);
    check(&[("gate", "public"), ("action", "")], wrong);
    check(&[("gate", "public"), ("gate", "public")], wrong);
    check(&[("entity", "component:default/a"), ("entity", "component:default/b")], wrong);
    check(&[("gate", "public"), ("entity", "pay")], wrong);
    check(&[("gate", "public"), ("entity", "")], wrong);
    check(&[("entity", "component:default/{x}")], wrong);
    check(&[("gate", "public"), ("route", "")], wrong);
    check(&[("gate", "public"), ("route", "a b")], wrong);
    check(&[("gate", "public"), ("route", "a\n")], wrong);
    // Of whom nobody knows who they are nothing can be asked.
    check(&[("gate", "public"), ("kinds", "user")], wrong);
    check(&[("gate", "public"), ("auth_context", "c1")], wrong);
    check(&[("gate", "authenticated"), ("auth_context", "")], wrong);
    let long = "c".repeat(65);
    check(&[("gate", "authenticated"), ("auth_context", long.as_str())], wrong);

    let request =
        Request { context_extensions: vec![("gate", "public")], ..request("GET", "h/x;a") };
    assert_eq!(ask(&table, &request), Err(Reason::NoRoute));
}

#[test]
fn an_empty_table_covers_nothing() {
    check(&table(vec![]), &[("GET", "h/", NO)]);
    check(&RouteTable::default(), &[("GET", "h/", NO)]);
}

/// Builds one table and compares its mistakes, as `field: start of the message`.
fn check_mistakes(routes: Vec<RouteSettings>, want: &[&str]) {
    let shown = format!("{routes:?}");
    let errors = RouteTable::build(routes).err().unwrap_or_default();
    let found: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(found.len(), want.len(), "{shown}: {found:#?}");
    for (found, want) in found.iter().zip(want) {
        assert!(found.starts_with(want), "{shown}: {found}, not {want}");
    }
}

#[test]
fn mistakes_in_one_pattern() {
    for (host, want) in [
        ("", "``: the host is empty"),
        ("Pay.example.com", "`Pay.example.com` is not canonical: write `pay.example.com`"),
        ("pay.example.com:443", "`pay.example.com:443` is not canonical"),
        ("pay.example.com.", "`pay.example.com.` is not canonical"),
        ("*.Example.com", "`Example.com` is not canonical"),
        ("{a}.Example.com", "`x.Example.com` is not canonical"),
        ("*.", "``: the host is empty"),
        ("*.*.example.com", "`*.example.com`: the host holds `*`"),
        ("a.*.example.com", "`a.*.example.com`: `*` stands alone or at the start"),
        ("*example.com", "`*example.com`: `*` stands alone or at the start"),
        ("*.10.0.0.1", "`*.10.0.0.1`: an ip address has no suffixes"),
        ("*.0.1", "`0.1`: the host is not an ip address"),
        ("{a}.1", "`x.1`: the host is not an ip address"),
        ("*.{a}.example.com", "`{a}.example.com`: the host holds `{`"),
        ("pre-{a}.example.com", "`pre-{a}`: a placeholder stands for a whole label"),
        ("{a}{b}.example.com", "`{a}{b}`: a placeholder stands for a whole label"),
        ("{a.b}.example.com", "`{a`: a placeholder stands for a whole label"),
        ("{}.example.com", "`{}`: the name of a placeholder"),
        ("{A}.example.com", "`{A}`: the name of a placeholder"),
        ("{a}.{a}.example.com", "`{a}` stands there twice"),
        ("user@h", "`user@h`: the host holds `@`"),
        ("bücher.example", "`bücher.example`: the host holds"),
        ("http://h", "`http://h`: the host holds `/`"),
    ] {
        check_mistakes(
            vec![route("r", &[host], &[], &[])],
            &[&format!("route 0: hosts[0]: {want}")],
        );
    }
    for (path, want) in [
        ("", "``: expected a path that starts with `/`"),
        ("admin", "`admin`: expected a path that starts with `/`"),
        ("$", "`$`: expected a path that starts with `/`"),
        ("*", "`*`: expected a path that starts with `/`"),
        ("/admin/*", "`/admin/*`: `*` is no wildcard here"),
        ("/svc/:name", "`/svc/:name`: a placeholder is written `{name}`"),
        ("/admin/", "`/admin/`: a prefix matches with and without a final `/`"),
        ("/{a}/", "`/{a}/`: a prefix matches with and without a final `/`"),
        ("//", "`//`: the path holds an empty segment"),
        ("//$", "`//$`: the path holds an empty segment"),
        ("/a//b", "`/a//b`: the path holds an empty segment"),
        ("/a/../b", "`/a/../b`: the path holds a dot segment"),
        ("/a b", "`/a b`: the path holds ` `"),
        ("/café", "`/café`: the path holds"),
        ("/%61", "`/%61`: the path holds an escaped `a`"),
        ("/%2f", "`/%2f`: the path holds an escaped `/`"),
        ("/%c3%a9", "`/%c3%a9` is not canonical: expected it as in `/%C3%A9`"),
        ("/a%40b", "`/a%40b` is not canonical: expected it as in `/a@b`"),
        ("/a;b", "`/a;b`: a pattern holds neither `;` nor `?`"),
        ("/a?b", "`/a?b`: a pattern holds neither `;` nor `?`"),
        ("/a#b", "`/a#b`: the path holds `#`"),
        ("/x{a}", "`x{a}`: a placeholder stands for a whole segment"),
        ("/{a}x", "`{a}x`: a placeholder stands for a whole segment"),
        ("/{a", "`{a`: a placeholder stands for a whole segment"),
        ("/{a/b}", "`{a`: a placeholder stands for a whole segment"),
        ("/{a-b}", "`{a-b}`: the name of a placeholder"),
        ("/{a}/{a}", "`{a}` stands there twice"),
    ] {
        check_mistakes(
            vec![route("r", &["h"], &[path], &[])],
            &[&format!("route 0: paths[0]: {want}")],
        );
    }
    for method in ["", "get", "Get", "GET ", "G,H", "*", "-GET", "1"] {
        check_mistakes(
            vec![route("r", &["h"], &[], &[method])],
            &[&format!("route 0: methods[0]: `{method}`: expected a method in upper case")],
        );
    }
    for (text, want) in [
        ("", "``: expected `kind:namespace/name`"),
        ("pay", "`pay`: expected `kind:namespace/name`"),
        ("default/{a}", "`default/{a}`: expected `kind:namespace/name`"),
        ("component:default/{a}/b", "`component:default/{a}/b`: expected `kind:namespace/name`"),
        ("component:default/{a", "`component:default/{a`: a `{` is not closed"),
        ("component:default/a}", "`component:default/a}`: expected `kind:namespace/name`"),
        ("component:default/{A}", "`{A}`: the name of a placeholder"),
        ("component:default/{}", "`{}`: the name of a placeholder"),
        ("component:default/{b}", "`{b}` is neither in hosts[0] nor in paths[0]"),
    ] {
        check_mistakes(
            vec![entity(route("r", &["h"], &["/{a}"], &[]), text)],
            &[&format!("route 0: entity: {want}")],
        );
    }
    for name in ["", "a b", "a\n", "é", &"a".repeat(101)] {
        check_mistakes(vec![route(name, &["h"], &[], &[])], &["route 0: name: expected 1 to 100"]);
    }
    check_mistakes(vec![route("context", &["h"], &[], &[])], &["route 0: name: `context` is kept"]);
    check_mistakes(vec![route("r", &[], &[], &[])], &["route 0: hosts: expected at least one"]);
    check_mistakes(
        vec![route("r", &["h"], &[], &["GET", "GET"])],
        &["route 0: methods[1]: `GET` is listed twice"],
    );
    check_mistakes(
        vec![RouteSettings { gate: Gate::Policy, ..route("r", &["h"], &[], &[]) }],
        &["route 0: entity: is missing, and the gate is `policy`"],
    );
}

#[test]
fn mistakes_between_patterns() {
    // A placeholder of each pair of host and path, once.
    check_mistakes(
        vec![entity(
            route("r", &["{a}.h", "{b}.i"], &["/{a}", "/", "/x"], &[]),
            "component:default/{a}",
        )],
        &["route 0: paths[0]: `{a}` is also in hosts[0]"],
    );
    check_mistakes(
        vec![entity(route("r", &["{a}.h", "i", "j"], &["/", "/x"], &[]), "component:default/{a}")],
        &["route 0: entity: `{a}` is neither in hosts[1] nor in paths[0]"],
    );
    let ambiguous = |a: RouteSettings, b: RouteSettings, want: &[&str]| {
        check_mistakes(vec![a, b], want);
    };
    let host = &["h"];
    ambiguous(
        route("a", host, &["/x", "/y"], &[]),
        route("b", host, &["/z", "/y", "/x"], &[]),
        &[
            "route 1: hosts[0]: with paths[1] is ambiguous: route `a` has the same host, path and method (any)",
        ],
    );
    ambiguous(
        route("a", host, &["/{x}"], &["GET", "POST"]),
        route("b", host, &["/{y}"], &["PUT", "POST"]),
        &[
            "route 1: hosts[0]: with paths[0] is ambiguous: route `a` has the same host, path and method (POST)",
        ],
    );
    ambiguous(
        route("a", &["{x}.example.com"], &[], &[]),
        route("b", &["{y}.example.com"], &["/"], &[]),
        &["route 1: hosts[0]: with paths[0] is ambiguous"],
    );
    check_mistakes(
        vec![route("a", &["h", "i", "h"], &[], &[])],
        &["route 0: hosts[2]: with paths[0] stands in this route twice"],
    );
    check_mistakes(
        vec![route("a", host, &["/x", "/x"], &["GET"])],
        &["route 0: hosts[0]: with paths[1] stands in this route twice"],
    );
    check_mistakes(
        vec![route("a", host, &[], &[]), route("a", &["i"], &[], &[])],
        &["route 1: name: `a` is also the name of route 0"],
    );
    // These have an order.
    for (a, b) in [
        (route("a", host, &["/x"], &["GET"]), route("b", host, &["/x"], &["POST"])),
        (route("a", host, &["/x"], &["GET"]), route("b", host, &["/x"], &[])),
        (route("a", host, &["/x"], &[]), route("b", host, &["/x$"], &[])),
        (route("a", host, &["/x"], &[]), route("b", host, &["/{y}"], &[])),
        (route("a", host, &["/"], &[]), route("b", host, &["/$"], &[])),
        (route("a", host, &["/"], &[]), route("b", &["*"], &["/"], &[])),
        (route("a", &["a.{x}"], &[], &[]), route("b", &["{x}.b"], &[], &[])),
        (route("a", &["*.b"], &[], &[]), route("b", &["{x}.b"], &[], &[])),
    ] {
        check_mistakes(vec![a, b], &[]);
    }
}

#[test]
fn all_mistakes_in_one_run() {
    check_mistakes(
        vec![
            entity(route("a", &["H", "ok", "*x"], &["x", "/ok", "/y/"], &["get"]), "x"),
            route("b", &["h"], &[], &[]),
            RouteSettings { gate: Gate::Policy, ..route("b", &["h"], &["/"], &[]) },
        ],
        &[
            "route 0: hosts[0]",
            "route 0: hosts[2]",
            "route 0: paths[0]",
            "route 0: paths[2]",
            "route 0: methods[0]",
            "route 0: entity",
            "route 2: name",
            "route 2: entity",
            "route 2: hosts[0]",
        ],
    );
}
