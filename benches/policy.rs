//! What policies cost: with ten and with ten thousand of them, asked anew and remembered.
//!
//! `cargo bench --bench policy` prints figures side by side; nothing is asserted about
//! times. Look at the ratios.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark that fails ends")]
#![allow(clippy::print_stdout, reason = "it prints what it found")]
#![allow(clippy::cast_precision_loss, reason = "figures")]

use std::fmt::Write as _;
use std::hint::black_box;
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cedar_policy::{Authorizer, Context, Entities, Request};
use stagedoor::domain::{Action, EntityRef, GroupId, Holder, Identity, IdentityKind, TokenFacts};
use stagedoor::policy::{Facts, PolicySet, PolicySource, Question, RequestFacts, ResourceFacts};

/// How long each figure is measured, several times.
const SPAN: Duration = Duration::from_millis(300);
const PASSES: usize = 5;

fn main() {
    println!("decisions per second (median of {PASSES} passes; spread in percent)\n");
    println!(
        "{:<34} {:>8} {:>10} {:>18} {:>18} {:>18} {:>16}",
        "policies", "number", "apply", "remembered", "per second's time", "anew", "plain Cedar"
    );
    for (name, text) in [
        ("one for each service", each_service as fn(usize) -> String),
        ("all for every service", every_service),
    ] {
        for count in [10, 100, 1000, 10_000] {
            if name.starts_with("all") && count > 1000 {
                continue;
            }
            row(name, count, &text(count));
        }
    }
    println!(
        "\nremembered: the same token, entity and action. per second's time: a policy reads \
         `context.time`, and each\nquestion comes a second later. anew: a token that was never \
         seen. plain Cedar: every policy, with\nthe entities at hand already."
    );
}

/// Five rules for all, and one for each of many services: what a platform has.
fn each_service(count: usize) -> String {
    let mut text = general();
    for number in 5..count {
        let _ = writeln!(
            text,
            "@id(\"p{number}\") permit (principal in Group::\"group:default/team-{}\", action in \
             Action::\"write\", resource == Component::\"component:default/service-{number}\");",
            number % 97
        );
    }
    text
}

/// Rules that are all to be looked at for every service.
fn every_service(count: usize) -> String {
    let mut text = general();
    for number in 5..count {
        let _ = writeln!(
            text,
            "@id(\"p{number}\") permit (principal, action in Action::\"write\", resource) \
             when {{ principal.roles.contains(\"Role.{number}\") }};"
        );
    }
    text
}

fn general() -> String {
    r#"
    @id("owners") permit (principal, action, resource) when { principal in resource.owners && !principal.agent };
    @id("readers") permit (principal is User, action == Action::"read", resource) when { !principal.guest };
    @id("frozen") forbid (principal, action, resource) when { resource.tags.contains("frozen") } unless { action == Action::"read" };
    @id("agents") forbid (principal, action in [Action::"write", Action::"admin"], resource) when { principal.agent };
    @id("system") permit (principal, action, resource) when { resource has domain && principal in resource.domain.owners };
    "#
    .to_owned()
}

fn row(name: &str, count: usize, text: &str) {
    let source = |text: &str| [PolicySource { file: "bench.cedar".into(), text: text.to_owned() }];
    let set = PolicySet::of(&source(text)).unwrap();
    let timed = format!(
        "{text}\n@id(\"timed\") forbid (principal, action, resource) when {{ context.time > datetime(\"2100-01-01\") }};"
    );
    let timed = PolicySet::of(&source(&timed)).unwrap();
    let shop = Shop::new();
    let version = Arc::from("1");
    let caller = Arc::new(identity());
    let ask = |set: &PolicySet, caller: &Arc<Identity>, time: i64| {
        let question = Question {
            identity: caller,
            listed: None,
            action: Action::Write,
            entity: &shop.resource,
            request: RequestFacts {
                method: "POST",
                host: "service-7.apps.example.com",
                path: "/v1/orders",
                route: "apps",
                source: None,
                destination: None,
                justification: None,
                unix_time: time,
                token_age: 60,
            },
            facts: &shop,
            version: &version,
        };
        black_box(set.decide(&question)).is_ok()
    };
    assert!(ask(&set, &caller, 1));
    let applying = shop_candidates(count, name);
    let remembered = rate(|_| ask(&set, &caller, 1));
    let by_time = rate(|number| ask(&timed, &caller, number));
    let anew = rate(|_| ask(&set, &Arc::new(identity()), 1));
    let (policies, entities, request) = plain(text);
    let plain = rate(|_| {
        let response = Authorizer::new().is_authorized(&request, &policies, &entities);
        response.decision() == cedar_policy::Decision::Allow
    });
    println!(
        "{name:<34} {count:>8} {applying:>10} {:>18} {:>18} {:>18} {:>16}",
        show(remembered),
        show(by_time),
        show(anew),
        show(plain)
    );
}

/// How many of them have a scope that can match.
fn shop_candidates(count: usize, name: &str) -> usize {
    if name.starts_with("all") { count } else { 5 + usize::from(count > 7) }
}

/// Calls a second, and the spread over the passes in percent.
fn rate(mut call: impl FnMut(i64) -> bool) -> (f64, f64) {
    let mut number = 0_i64;
    let mut rates: Vec<f64> = (0..PASSES)
        .map(|_| {
            let began = Instant::now();
            let mut calls = 0_u32;
            while began.elapsed() < SPAN {
                for _ in 0..8 {
                    number += 1;
                    assert!(call(number), "everything that is asked here is permitted");
                }
                calls += 8;
            }
            f64::from(calls) / began.elapsed().as_secs_f64()
        })
        .collect();
    rates.sort_by(f64::total_cmp);
    let (least, median, most) = (
        rates.first().copied().unwrap_or_default(),
        rates.get(PASSES / 2).copied().unwrap_or_default(),
        rates.last().copied().unwrap_or_default(),
    );
    (median, (most - least) / median * 100.0)
}

fn show((rate, spread): (f64, f64)) -> String {
    format!("{rate:.0} ±{spread:.0}%")
}

fn identity() -> Identity {
    Holder {
        tenant: "11111111-2222-3333-4444-555555555555".parse().unwrap(),
        object: "bbbbbbbb-0000-0000-0000-000000000001".parse().unwrap(),
        kind: IdentityKind::User,
        delegated: true,
        client: Some("cccccccc-0000-0000-0000-000000000001".parse().unwrap()),
        groups: (0..20_u32)
            .map(|n| format!("aaaaaaaa-0000-0000-0000-0000000000{n:02}").parse().unwrap())
            .collect(),
        group_names: Box::new([]),
        groups_elsewhere: false,
        roles: ["Reader".into()].into(),
        scopes: ["access".into()].into(),
        issued_at: 0,
        expires_at: 0,
        facts: TokenFacts::default(),
    }
    .into()
}

/// A service with an owner, and a caller in twenty groups.
struct Shop {
    resource: EntityRef,
    owner: EntityRef,
    groups: Vec<EntityRef>,
}

impl Shop {
    fn new() -> Self {
        let entity = |text: &str| EntityRef::parse(text).unwrap();
        let mut groups: Vec<_> =
            (0..19).map(|n| entity(&format!("group:default/guild-{n}"))).collect();
        groups.push(entity("group:default/owners"));
        Self {
            resource: entity("component:default/service-7"),
            owner: entity("group:default/owners"),
            groups,
        }
    }
}

impl Facts for Shop {
    fn groups(&self) -> Vec<&EntityRef> {
        self.groups.iter().collect()
    }

    fn target(&self) -> Option<ResourceFacts<'_>> {
        Some(ResourceFacts {
            entity: &self.resource,
            owners: vec![&self.owner],
            spec_type: Some("service"),
            lifecycle: Some("production"),
            tags: vec!["java", "pci"],
            system: None,
            domain: None,
            part_of: vec![],
        })
    }

    fn resource(&self, _entity: &EntityRef) -> Option<ResourceFacts<'_>> {
        None
    }

    fn above(&self, _group: &EntityRef) -> Vec<&EntityRef> {
        Vec::new()
    }

    fn bound(&self, _id: &GroupId) -> Option<&EntityRef> {
        None
    }
}

/// The same for Cedar itself, as somebody would ask it.
fn plain(text: &str) -> (cedar_policy::PolicySet, Entities, Request) {
    let policies = cedar_policy::PolicySet::from_str(text).unwrap();
    let caller = identity();
    let principal = format!("User::\"{}/{}\"", caller.tenant, caller.object);
    let uid = |text: &str| cedar_policy::EntityUid::from_str(text).unwrap();
    let entity = |uid: &str, attributes: serde_json::Value, parents: Vec<String>| {
        let uid: cedar_policy::EntityUid = cedar_policy::EntityUid::from_str(uid).unwrap();
        let json = |uid: &cedar_policy::EntityUid| serde_json::json!({ "type": uid.type_name().to_string(), "id": uid.id().unescaped() });
        let parents: Vec<_> = parents
            .iter()
            .map(|parent| json(&cedar_policy::EntityUid::from_str(parent).unwrap()))
            .collect();
        serde_json::json!({ "uid": json(&uid), "attrs": attributes, "parents": parents })
    };
    let groups = Shop::new().groups;
    let groups = groups.iter().map(|group| format!("Group::\"{group}\"")).collect();
    let all = serde_json::json!([
        entity(
            &principal,
            serde_json::json!({ "agent": false, "guest": false, "roles": ["Reader"] }),
            groups,
        ),
        entity(
            "Component::\"component:default/service-7\"",
            serde_json::json!({
                "owners": [{ "__entity": { "type": "Group", "id": "group:default/owners" } }],
                "tags": ["java", "pci"],
            }),
            Vec::new(),
        ),
        entity("Action::\"write\"", serde_json::json!({}), vec!["Action::\"admin\"".to_owned()]),
        entity("Action::\"read\"", serde_json::json!({}), vec!["Action::\"write\"".to_owned()]),
        entity("Action::\"admin\"", serde_json::json!({}), Vec::new()),
    ]);
    let entities = Entities::from_json_value(all, None).unwrap();
    let request = Request::new(
        uid(&principal),
        uid("Action::\"write\""),
        uid("Component::\"component:default/service-7\""),
        Context::empty(),
        None,
    )
    .unwrap();
    (policies, entities, request)
}
