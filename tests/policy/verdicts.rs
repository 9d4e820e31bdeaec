//! Checks as Envoy could send them, decided by everything that decides: the form and
//! the order of the headers change nothing, and nobody is let in who shouldn't be.

use std::cell::Cell;
use std::collections::HashMap;

use crate::support::deciding::Deciding;
use crate::support::reply::legal;
use crate::support::stack::{AUDIENCE, OTHERS, OWNERS, Options};
use devtenant::tenant::{Tenant, TenantOptions};
use proptest::prelude::*;
use proptest::test_runner::{Config as Cases, TestRunner};
use prost::Message as _;
use stagedoor::authorizer::Offline;
use stagedoor::clock::Now;
use stagedoor::ext_authz::proto::envoy::config::core::v3::{HeaderMap, HeaderValue};
use stagedoor::ext_authz::proto::envoy::service::auth::v3::{
    AttributeContext, CheckRequest, CheckResponse, attribute_context::HttpRequest,
    attribute_context::Request,
};
use stagedoor::ext_authz::{Answer, CheckService, Decided, Record};

struct Nowhere;

impl Record for Nowhere {
    fn decided(&self, _decided: Decided<'_>) {}
}

/// The service that `serve` serves, with keys and catalog at hand.
fn service(tenant: &Tenant, now: Now, policy: &str, entities: &str) -> CheckService<Offline> {
    let more = "check: { deadline: 10s }\n".to_owned();
    let options = Options { more, policy: policy.to_owned(), ..Options::default() };
    let Deciding { authorizer, answer, check, .. } = Deciding::new(tenant, now, &options, entities);
    let answer = Answer::new(answer, None);
    CheckService::new(Offline(authorizer), answer, check, Box::new(Nowhere))
}

/// One request: method, host, path, and headers as the client sent them.
type Asked = (&'static str, &'static str, &'static str, Vec<(&'static str, Vec<u8>)>);

fn check(asked: &Asked, http: HttpRequest) -> CheckRequest {
    let (method, host, path, _) = asked;
    let http = HttpRequest {
        method: (*method).to_owned(),
        host: (*host).to_owned(),
        path: (*path).to_owned(),
        ..http
    };
    let request = Request { http: Some(http), ..Request::default() };
    CheckRequest {
        attributes: Some(AttributeContext { request: Some(request), ..Default::default() }),
    }
}

/// The raw form, with the headers in the order of `at`.
fn raw(asked: &Asked, backwards: bool) -> CheckRequest {
    let mut headers: Vec<_> = asked
        .3
        .iter()
        .map(|(key, value)| HeaderValue {
            key: (*key).to_owned(),
            value: String::new(),
            raw_value: value.clone().into(),
        })
        .collect();
    if backwards {
        headers.reverse();
    }
    check(asked, HttpRequest { header_map: Some(HeaderMap { headers }), ..Default::default() })
}

/// The map form, as Envoy makes it: names in lower case, repeated headers joined by a
/// comma, `!` for what is no text.
fn map(asked: &Asked) -> CheckRequest {
    let mut joined: HashMap<String, Vec<u8>> = HashMap::new();
    for (key, value) in &asked.3 {
        joined
            .entry(key.to_ascii_lowercase())
            .and_modify(|all| all.extend([b",", value.as_slice()].concat()))
            .or_insert_with(|| value.clone());
    }
    let text = |bytes: &[u8]| {
        bytes.utf8_chunks().fold(String::new(), |mut text, chunk| {
            text.push_str(chunk.valid());
            text.extend(chunk.invalid().iter().map(|_| '!'));
            text
        })
    };
    let headers = joined.into_iter().map(|(key, value)| (key, text(&value))).collect();
    check(asked, HttpRequest { headers, ..Default::default() })
}

/// Everything of a response that isn't different each time.
fn verdict(response: &CheckResponse) -> (i32, String, Option<String>) {
    let status = response.status.as_ref().unwrap();
    let metadata = response.dynamic_metadata.as_ref().unwrap();
    let text = |name: &str| format!("{:?}", metadata.fields.get(name));
    let who = ["reason", "kind", "subject", "entity", "action", "route", "policies"].map(text);
    (status.code, status.message.clone(), Some(who.join(" ")))
}

#[test]
fn form_and_order_change_nothing() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let tenant = runtime.block_on(Tenant::start(TenantOptions::default())).unwrap();
    let owner = tenant.token().audience(AUDIENCE).groups(&[OWNERS]);
    let now = Now::at(owner.claims()["iat"].as_i64().unwrap() + 60);
    let service = service(&tenant, now, "", "");
    let good = format!("Bearer {}", owner.sign()).into_bytes();
    let other = tenant.token().audience(AUDIENCE).groups(&[OTHERS]).sign();
    let values = prop_oneof![
        4 => Just(good.clone()),
        1 => Just(format!("Bearer {other}").into_bytes()),
        1 => Just([&good, &b","[..], &good].concat()),
        1 => Just([&good, &b" "[..]].concat()),
        1 => Just([&good, &b"\xff"[..]].concat()),
        1 => Just(b"Bearer ".to_vec()),
        1 => Just(b"Basic eDp5".to_vec()),
        1 => Just(b"application/grpc".to_vec()),
        1 => proptest::collection::vec(any::<u8>().prop_filter("no NUL", |b| *b != 0), 0..12),
    ];
    let names = prop_oneof![
        6 => Just("authorization"),
        1 => Just("Authorization"),
        1 => Just("content-type"),
        1 => Just("x-stagedoor-subject"),
        1 => Just("x_stagedoor_subject"),
        1 => Just("cookie"),
        1 => Just("x-forwarded-access-token"),
        1 => Just("traceparent"),
        1 => Just("x-http-method-override"),
    ];
    let asked = (
        prop_oneof![Just("GET"), Just("POST"), Just("get"), Just("TRACE")],
        prop_oneof![
            6 => Just("payments.example.com"),
            1 => Just("orders.apps.example.com"),
            1 => Just("evil.example.org"),
            1 => Just("a@payments.example.com"),
        ],
        prop_oneof![
            6 => Just("/v1/orders"),
            1 => Just("/healthz"),
            1 => Just("/whoami"),
            1 => Just("/public/../v1"),
            1 => Just("/public"),
        ],
        proptest::collection::vec((names, values), 0..4),
    );
    let (allowed, denied) = (Cell::new(0), Cell::new(0));
    let cases = Cases { cases: 3000, failure_persistence: None, ..Cases::default() };
    TestRunner::new(cases)
        .run(&asked, |asked| {
            let answer = |check: CheckRequest| {
                let reply = runtime.block_on(service.reply(&check, now));
                reply.into_message()
            };
            let first = answer(raw(&asked, false));
            let is_allow = legal(&first).map_err(TestCaseError::fail)?;
            for other in [answer(raw(&asked, true)), answer(map(&asked))] {
                prop_assert_eq!(verdict(&first), verdict(&other));
                prop_assert_eq!(legal(&other), Ok(is_allow));
            }
            // Whoever got in had the one credential, or needed none.
            let credentials: Vec<_> = asked
                .3
                .iter()
                .filter(|(name, _)| name.eq_ignore_ascii_case("authorization"))
                .collect();
            let public = matches!(asked.2, "/public") || (asked.0, asked.2) == ("GET", "/healthz");
            if is_allow && !public {
                prop_assert_eq!(credentials.len(), 1);
                prop_assert!(credentials[0].1.starts_with(b"Bearer ey"));
                prop_assert!(
                    credentials[0].1 == good
                        || asked.2 == "/whoami"
                        || asked.1 == "orders.apps.example.com"
                );
            }
            if is_allow {
                allowed.set(allowed.get() + 1);
            } else {
                denied.set(denied.get() + 1);
            }
            Ok(())
        })
        .unwrap();
    let (allowed, denied) = (allowed.get(), denied.get());
    assert!(allowed > 200 && denied > 200, "{allowed} allowed, {denied} denied");
}

/// A check in both forms at once is read like any other, by the form that says more.
#[test]
fn a_check_in_both_forms() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let tenant = runtime.block_on(Tenant::start(TenantOptions::default())).unwrap();
    let owner = tenant.token().audience(AUDIENCE).groups(&[OWNERS]);
    let now = Now::at(owner.claims()["iat"].as_i64().unwrap() + 60);
    let service = service(&tenant, now, "", "");
    let of = |headers: Vec<(&'static str, Vec<u8>)>| -> Asked {
        ("GET", "payments.example.com", "/v1/orders", headers)
    };
    let known = of(vec![("authorization", format!("Bearer {}", owner.sign()).into_bytes())]);
    let unknown = of(vec![("accept", b"*/*".to_vec())]);
    for (by_raw, by_map, want) in
        [(&known, &known, true), (&known, &unknown, true), (&unknown, &known, false)]
    {
        let mut check = raw(by_raw, false);
        let http = |check: &mut CheckRequest| {
            let request = check.attributes.as_mut().unwrap().request.as_mut().unwrap();
            std::mem::take(request.http.as_mut().unwrap())
        };
        let headers = http(&mut map(by_map)).headers;
        let both = HttpRequest { headers, ..http(&mut check) };
        check.attributes.as_mut().unwrap().request.as_mut().unwrap().http = Some(both);
        let frame = runtime.block_on(service.answer(&check.encode_to_vec())).unwrap();
        let response = CheckResponse::decode(&frame[5..]).unwrap();
        assert_eq!(legal(&response), Ok(want));
        let same = runtime.block_on(service.reply(&check, now)).into_message();
        assert_eq!(verdict(&response), verdict(&same));
    }
}

/// Domains that are part of each other, as a catalog can say: what is in one is in both, for
/// what permits and for what forbids, and nothing fails.
#[test]
fn domains_in_a_circle() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let tenant = runtime.block_on(Tenant::start(TenantOptions::default())).unwrap();
    let entities = "
apiVersion: backstage.io/v1alpha1
kind: Domain
metadata: { name: east }
spec: { owner: orders-team, subdomainOf: west }
---
apiVersion: backstage.io/v1alpha1
kind: Domain
metadata: { name: west }
spec: { owner: orders-team, subdomainOf: east }
---
apiVersion: backstage.io/v1alpha1
kind: System
metadata: { name: ledger }
spec: { owner: orders-team, domain: east }
---
apiVersion: backstage.io/v1alpha1
kind: Component
metadata: { name: book }
spec: { type: service, lifecycle: production, owner: orders-team, system: ledger }
";
    let policies = r#"
        @id("west-reads") permit (principal, action == Action::"read", resource in Domain::"domain:default/west");
        @id("east-writes-not") forbid (principal, action == Action::"write", resource in Domain::"domain:default/east");
        @id("west-writes") permit (principal, action == Action::"write", resource in Domain::"domain:default/west");
        @id("system") permit (principal, action == Action::"admin", resource)
        when { resource has system && resource.system == System::"system:default/ledger" };
    "#;
    let token = tenant.token().audience(AUDIENCE);
    let now = Now::at(token.claims()["iat"].as_i64().unwrap() + 60);
    let service = service(&tenant, now, policies, entities);
    let bearer = format!("Bearer {}", token.sign()).into_bytes();
    for (method, message) in [("GET", ""), ("POST", "forbidden"), ("PROPFIND", "")] {
        let asked: Asked =
            (method, "book.apps.example.com", "/", vec![("authorization", bearer.clone())]);
        let reply = runtime.block_on(service.reply(&raw(&asked, false), now)).into_message();
        assert_eq!(reply.status.unwrap().message, message, "{method}");
    }
}

/// Groups that are above each other: policies that name both are decided, and whoever is in
/// one is in both.
#[test]
fn groups_in_a_circle() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let tenant = runtime.block_on(Tenant::start(TenantOptions::default())).unwrap();
    let entities = r#"
apiVersion: backstage.io/v1alpha1
kind: Group
metadata:
  name: east
  annotations: { graph.microsoft.com/group-id: aaaaaaaa-0000-0000-0000-0000000000e1 }
spec: { type: team, parent: west, children: [] }
---
apiVersion: backstage.io/v1alpha1
kind: Group
metadata: { name: west }
spec: { type: team, parent: east, children: [] }
"#;
    let policies = r#"
        @id("west-reads") permit (principal in Group::"group:default/west", action == Action::"read", resource);
        @id("east-writes") permit (principal, action == Action::"write", resource)
        when { principal in Group::"group:default/east" && principal in Group::"group:default/west" };
        @id("strange") permit (principal, action == Action::"admin", resource)
        when { Group::"group:default/east" in Group::"group:default/west" };
    "#;
    let token = |group: &str| tenant.token().audience(AUDIENCE).groups(&[group]);
    let member = token("aaaaaaaa-0000-0000-0000-0000000000e1");
    let now = Now::at(member.claims()["iat"].as_i64().unwrap() + 60);
    let service = service(&tenant, now, policies, entities);
    for (token, method, message) in [
        (&member, "GET", ""),
        (&member, "POST", ""),
        (&member, "PROPFIND", "not_permitted"),
        (&token(OTHERS), "GET", "not_permitted"),
    ] {
        let bearer = format!("Bearer {}", token.sign()).into_bytes();
        let asked: Asked =
            (method, "payments.apps.example.com", "/", vec![("authorization", bearer)]);
        let reply = runtime.block_on(service.reply(&raw(&asked, false), now)).into_message();
        assert_eq!(reply.status.unwrap().message, message, "{method}");
    }
}
