//! Policies against questions, one row each.

use std::sync::Arc;

use super::*;
use crate::domain::{
    Action, ClientAuth, EntityRef, Grant, GroupId, Holder, Identity, IdentityKind, Notice, Reason,
    ShadowSet, TokenFacts,
};

fn entity(text: &str) -> EntityRef {
    EntityRef::parse(text).unwrap()
}

fn identity(kind: IdentityKind, roles: &[&str]) -> Holder {
    Holder {
        tenant: "11111111-2222-3333-4444-555555555555".parse().unwrap(),
        object: "bbbbbbbb-0000-0000-0000-000000000001".parse().unwrap(),
        kind,
        delegated: kind == IdentityKind::User,
        client: Some("cccccccc-0000-0000-0000-000000000001".parse().unwrap()),
        groups: Box::new(["aaaaaaaa-0000-0000-0000-00000000000a".parse().unwrap()]),
        group_names: Box::new([]),
        groups_elsewhere: false,
        roles: roles.iter().map(|role| (*role).into()).collect(),
        scopes: Box::new([]),
        issued_at: 0,
        expires_at: 0,
        facts: TokenFacts::default(),
    }
}

fn set(text: &str) -> Result<PolicySet, PolicyErrors> {
    PolicySet::of(&[PolicySource { file: "test.cedar".into(), text: text.to_owned() }])
}

#[derive(Clone, Copy)]
struct Case {
    kind: IdentityKind,
    roles: &'static [&'static str],
    groups: &'static [&'static str],
    action: Action,
    resource: &'static str,
    tags: &'static [&'static str],
}

const CASE: Case = Case {
    kind: IdentityKind::User,
    roles: &[],
    groups: &["group:default/team-a"],
    action: Action::Write,
    resource: "component:default/payments",
    tags: &[],
};

/// A component owned by `team-a`, in a system owned by `team-s`, in the domain `retail`.
struct Shop {
    groups: Vec<EntityRef>,
    resource: EntityRef,
    tags: &'static [&'static str],
    owner: EntityRef,
    system: EntityRef,
    system_owner: EntityRef,
    domain: EntityRef,
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
            tags: self.tags.to_vec(),
            system: Some(&self.system),
            domain: Some(&self.domain),
            part_of: vec![&self.system, &self.domain],
        })
    }

    fn resource(&self, entity: &EntityRef) -> Option<ResourceFacts<'_>> {
        let (entity, owners, part_of) = if *entity == self.system {
            (&self.system, vec![&self.system_owner], vec![&self.domain])
        } else if *entity == self.domain {
            (&self.domain, vec![], vec![])
        } else {
            return None;
        };
        let domain = part_of.first().copied();
        Some(ResourceFacts {
            entity,
            owners,
            spec_type: None,
            lifecycle: None,
            tags: vec![],
            system: None,
            domain,
            part_of,
        })
    }

    fn above(&self, _group: &EntityRef) -> Vec<&EntityRef> {
        Vec::new()
    }

    fn bound(&self, _id: &GroupId) -> Option<&EntityRef> {
        None
    }
}

fn ask(set: &PolicySet, case: &Case) -> Result<Grant, (Reason, Vec<String>)> {
    ask_as(set, case, &identity(case.kind, case.roles).into())
}

fn ask_as(
    set: &PolicySet,
    case: &Case,
    identity: &Identity,
) -> Result<Grant, (Reason, Vec<String>)> {
    judge_as(set, case, identity).verdict.map(|permit| permit.grant().clone()).map_err(|denial| {
        (denial.reason, denial.policies.iter().map(ToString::to_string).collect())
    })
}

fn judge(set: &PolicySet, case: &Case) -> Judgement {
    judge_as(set, case, &identity(case.kind, case.roles).into())
}

fn judge_as(set: &PolicySet, case: &Case, identity: &Identity) -> Judgement {
    judge_at(set, case, &Arc::new(identity.clone()), 1_800_000_000)
}

fn judge_at(set: &PolicySet, case: &Case, identity: &Arc<Identity>, unix_time: i64) -> Judgement {
    with_question(case, identity, |question| {
        let request = RequestFacts { unix_time, ..question.request };
        set.judge(&Question { request, ..*question })
    })
}

fn with_question<R>(
    case: &Case,
    identity: &Arc<Identity>,
    ask: impl FnOnce(&Question<'_>) -> R,
) -> R {
    let shop = Shop {
        groups: case.groups.iter().map(|group| entity(group)).collect(),
        resource: entity(case.resource),
        tags: case.tags,
        owner: entity("group:default/team-a"),
        system: entity("system:default/shop"),
        system_owner: entity("group:default/team-s"),
        domain: entity("domain:default/retail"),
    };
    let version = Arc::from(format!("{:?} {:?}", case.groups, case.tags));
    let question = Question {
        identity,
        listed: None,
        action: case.action,
        entity: &shop.resource,
        request: RequestFacts {
            method: "POST",
            host: "payments.example.com",
            path: "/v1/orders",
            route: "orders",
            source: None,
            destination: None,
            justification: None,
            token_age: 0,
            unix_time: 1_800_000_000,
        },
        facts: &shop,
        version: &version,
    };
    ask(&question)
}

/// Of what nothing is known.
struct Unknown;

impl Facts for Unknown {
    fn groups(&self) -> Vec<&EntityRef> {
        Vec::new()
    }

    fn target(&self) -> Option<ResourceFacts<'_>> {
        None
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

fn permitted(ids: &[&str]) -> Result<Grant, (Reason, Vec<String>)> {
    Ok(Grant::Policies(ids.iter().map(|id| (*id).into()).collect()))
}

fn denied(reason: Reason, ids: &[&str]) -> Result<Grant, (Reason, Vec<String>)> {
    Err((reason, ids.iter().map(ToString::to_string).collect()))
}

#[test]
fn builtin_lets_owners_in_and_nobody_else() {
    let set = PolicySet::of(&[]).unwrap();
    for action in Action::ALL {
        assert_eq!(ask(&set, &Case { action, ..CASE }), permitted(&["builtin:owners"]));
        for groups in
            [&[][..], &["group:default/team-b"], &["group:default/team-s"], &["group:other/team-a"]]
        {
            let got = ask(&set, &Case { action, groups, ..CASE });
            assert_eq!(got, denied(Reason::NotPermitted, &[]), "{groups:?}");
        }
    }
}

#[test]
fn policies_decide() {
    let write_in_system = r#"@id("system-owners") permit (principal, action in Action::"write", resource)
        when { resource has system && principal in resource.system.owners };"#;
    let role = r#"@id("role") permit (principal is Workload, action == Action::"read", resource)
        when { principal.roles.contains("Orders.Read.All") };"#;
    let entra = r#"@id("entra") permit (principal in EntraGroup::"aaaaaaaa-0000-0000-0000-00000000000a", action, resource);"#;
    let frozen = r#"@id("a") permit (principal, action, resource);
        @id("freeze") @reason("Frozen.") forbid (principal, action, resource) when { resource.tags.contains("frozen") };"#;
    let path = r#"@id("path") permit (principal, action, resource)
        when { context.path like "/v1/*" && context.time > datetime("2026-01-01") && !(context has source) };"#;
    let in_system =
        r#"@id("in") permit (principal, action, resource in System::"system:default/shop");"#;
    let client = r#"@id("client") permit (principal, action, resource)
        when { principal has client && principal.client == "cccccccc-0000-0000-0000-000000000001" };"#;
    let team_s: &[&str] = &["group:default/team-s"];
    let robot =
        Case { kind: IdentityKind::Workload, roles: &["Orders.Read.All"], groups: &[], ..CASE };
    for (policies, case, want) in [
        (write_in_system, Case { groups: team_s, ..CASE }, permitted(&["system-owners"])),
        // Writing includes reading, not administering.
        (
            write_in_system,
            Case { groups: team_s, action: Action::Read, ..CASE },
            permitted(&["system-owners"]),
        ),
        (
            write_in_system,
            Case { groups: team_s, action: Action::Admin, ..CASE },
            denied(Reason::NotPermitted, &[]),
        ),
        (role, Case { action: Action::Read, ..robot }, permitted(&["role"])),
        (role, Case { action: Action::Write, ..robot }, denied(Reason::NotPermitted, &[])),
        (
            role,
            Case { action: Action::Read, kind: IdentityKind::User, ..robot },
            denied(Reason::NotPermitted, &[]),
        ),
        (
            role,
            Case { action: Action::Read, roles: &["orders.read.all"], ..robot },
            denied(Reason::NotPermitted, &[]),
        ),
        (entra, Case { groups: &[], ..CASE }, permitted(&["entra"])),
        (frozen, CASE, permitted(&["a"])),
        (frozen, Case { tags: &["frozen"], ..CASE }, denied(Reason::Forbidden, &["freeze"])),
        (path, CASE, permitted(&["path"])),
        (in_system, CASE, permitted(&["in"])),
        (client, CASE, permitted(&["client"])),
        // A kind that the model doesn't know can't be decided about.
        (
            frozen,
            Case { resource: "location:default/x", ..CASE },
            denied(Reason::RouteMisconfigured, &[]),
        ),
    ] {
        let set = set(policies).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(ask(&set, &case), want, "{policies}");
    }
}

#[test]
fn a_policy_that_fails_denies_even_where_another_permits() {
    // Overflow is the one failure that the schema can't rule out.
    let overflow = r#"@id("a") permit (principal, action, resource);
        @id("b") forbid (principal, action, resource) when { 9223372036854775807 + 1 == 0 };"#;
    assert_eq!(ask(&set(overflow).unwrap(), &CASE), denied(Reason::PolicyError, &["b"]));
}

#[test]
fn mistakes_are_all_told_with_their_places() {
    for (text, want) in [
        ("permit (principal, action, resource", &["test.cedar:1:36: "][..]),
        (
            "permit (principal, action, resource) when { principal.mail == \"a\" };\n\npermit (principal, action, resource)\nwhen { resource.owner == principal };",
            &["test.cedar:1:45: ", "test.cedar:4:8: "],
        ),
        (
            "permit (principal == ?principal, action, resource);",
            &["test.cedar: `policy0` is a template"],
        ),
        (
            "@mode(\"shadwo\") permit (principal, action, resource);",
            &["test.cedar:1:1: `test.cedar#policy0`: `@mode` is `enforce`, `shadow` or `warn`"],
        ),
        (
            "@id(\"x\") permit (principal, action, resource); @id(\"x\") forbid (principal, action, resource);",
            &["test.cedar:1:48: `@id(\"x\")` stands twice, once more in this file"],
        ),
        ("permit (principal is Robot, action, resource);", &["test.cedar:1:"]),
        ("permit (principal, action == Action::\"delete\", resource);", &["test.cedar:1:"]),
        (
            "\n@resaon(\"x\") permit (principal, action, resource);",
            &[
                "test.cedar:2:1: `test.cedar#policy0`: `@resaon` is not known here: did you mean `@reason`?",
            ],
        ),
        (
            "@mode(\"warn\") permit (principal, action, resource);",
            &[
                "test.cedar:1:1: `test.cedar#policy0`: `@mode(\"warn\")` is for a `forbid`",
                "test.cedar:1:1: `test.cedar#policy0`: `@mode(\"warn\")` needs a `@reason`",
            ][..1],
        ),
        (
            "@challenge(\"c1\") permit (principal, action, resource);",
            &["test.cedar:1:1: `test.cedar#policy0`: `@challenge` is for a `forbid`"],
        ),
        (
            "@mode(\"warn\") forbid (principal, action, resource);",
            &["test.cedar:1:1: `test.cedar#policy0`: `@mode(\"warn\")` needs a `@reason`"],
        ),
        (
            "@mode(\"warn\") @reason(\"\") forbid (principal, action, resource);",
            &["test.cedar:1:1: `test.cedar#policy0`: `@mode(\"warn\")` needs a `@reason`"],
        ),
        (
            "@alert(\"\") permit (principal, action, resource);",
            &["test.cedar:1:1: `test.cedar#policy0`: `@alert` says what"],
        ),
        (
            "@challenge(\"\") forbid (principal, action, resource);",
            &["test.cedar:1:1: `test.cedar#policy0`: `@challenge` is an authentication context"],
        ),
        (
            "@challenge(\"c 1\") forbid (principal, action, resource);",
            &["test.cedar:1:1: `test.cedar#policy0`: `@challenge` is an authentication context"],
        ),
        ("// nothing", &["test.cedar: no policy in any of the files"]),
    ] {
        let errors = set(text).expect_err(text);
        let lines: Vec<_> = errors.0.iter().map(ToString::to_string).collect();
        assert_eq!(lines.len(), want.len(), "{text}: {lines:?}");
        for want in want {
            assert!(lines.iter().any(|line| line.starts_with(want)), "{want}: {lines:?}");
        }
        // As people read them, one a line.
        assert_eq!(errors.to_string(), lines.join("\n"));
    }
    let missing = PolicySet::load(&PolicySettings {
        files: vec!["no/such.cedar".into()],
        ..PolicySettings::default()
    });
    assert!(missing.expect_err("missing").to_string().starts_with("no/such.cedar: not readable: "));
}

/// One run tells of both sets, in force and in the shadow, what can be told.
#[test]
fn mistakes_of_both_sets_are_told_at_once() {
    let good = r#"@id("good") permit (principal, action, resource);"#;
    let source = |file: &str, text: &str| PolicySource { file: file.into(), text: text.to_owned() };
    let settings = PolicySettings::default();
    let told = |enforced: &[PolicySource], shadow: &[PolicySource]| {
        let errors = PolicySet::with_shadow(enforced, shadow, &settings).expect_err("mistakes");
        errors.0.into_iter().map(|error| error.file.display().to_string()).collect::<Vec<_>>()
    };
    let cut_off = |effect: &str| format!("{effect} (principal, action, resource");
    let (fine, bad) = (source("fine", good), source("bad", &cut_off("permit")));
    assert_eq!(told(std::slice::from_ref(&fine), std::slice::from_ref(&bad)), ["bad"]);
    assert_eq!(told(&[bad], &[source("worse", &cut_off("forbid"))]), ["bad", "worse"]);
    let twice = PolicySet::of(&[fine, source("other", good)]).expect_err("one id").to_string();
    assert_eq!(twice, "other:1:1: `@id(\"good\")` stands twice, once more in another file");

    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let file = folder.path().join(name);
        std::fs::write(&file, text).unwrap();
        file
    };
    let missing = folder.path().join("missing.cedar");
    for (shadow, count) in [
        (vec![], 1),
        (vec![file("good.cedar", good)], 1),
        (vec![file("bad.cedar", &cut_off("permit"))], 2),
    ] {
        let files = vec![missing.clone()];
        let settings = PolicySettings { files, shadow, ..PolicySettings::default() };
        let errors = PolicySet::load(&settings).expect_err("one is missing").0;
        assert_eq!(errors.len(), count, "{errors:?}");
        assert!(errors[0].to_string().contains("missing.cedar: not readable"), "{errors:?}");
    }
}

#[test]
fn version_follows_the_content() {
    let of = |texts: &[&str]| {
        let sources: Vec<_> = texts
            .iter()
            .map(|text| PolicySource { file: "x".into(), text: (*text).to_owned() })
            .collect();
        PolicySet::of(&sources).unwrap().version().clone()
    };
    let (a, b) = (
        "@id(\"a\") permit (principal, action, resource);\n",
        "@id(\"b\") forbid (principal, action, resource);\n",
    );
    assert_eq!(of(&[a, b]), of(&[a, b]));
    assert_ne!(of(&[a]), of(&[a, b]));
    assert_ne!(of(&[a, b]), of(&[&format!("{a}{b}")]));
    assert_ne!(of(&[a]), PolicySet::of(&[]).unwrap().version().clone());
}

/// Every attribute of a caller that a policy may look at is there when it is asked.
#[test]
fn policies_see_what_the_token_says() {
    let text = r#"
        @id("all") permit (principal is User, action, resource) when {
            principal.kind == "agent" && principal.agent && principal.guest
            && principal has home_tenant && principal.home_tenant == "99999999-2222-3333-4444-555555555555"
            && principal has agent_parent && principal.agent_parent == "cccccccc-0000-0000-0000-000000000077"
            && principal has client_auth && principal.client_auth == "certificate"
            && principal.directory_roles.contains("reader")
            && principal.auth_contexts.containsAll(["c1", "c2"])
            && context.token_age >= 0
        };
    "#;
    let set = set(text).unwrap();
    let full = Holder {
        kind: IdentityKind::Agent,
        delegated: true,
        facts: TokenFacts {
            guest: true,
            home_tenant: Some("99999999-2222-3333-4444-555555555555".parse().unwrap()),
            directory_roles: ["reader".into()].into(),
            auth_contexts: ["c1".into(), "c2".into()].into(),
            client_auth: Some(ClientAuth::Certificate),
            agent_parent: Some("cccccccc-0000-0000-0000-000000000077".parse().unwrap()),
            ..TokenFacts::default()
        },
        ..identity(IdentityKind::User, &[])
    };
    assert_eq!(ask_as(&set, &CASE, &full.clone().into()), permitted(&["all"]));
    let less = |change: fn(&mut Holder)| {
        let mut identity = full.clone();
        change(&mut identity);
        ask_as(&set, &CASE, &identity.into())
    };
    let nothing = denied(Reason::NotPermitted, &[]);
    assert_eq!(less(|identity| identity.delegated = false), nothing);
    assert_eq!(less(|identity| identity.kind = IdentityKind::User), nothing);
    assert_eq!(less(|identity| identity.facts.guest = false), nothing);
    assert_eq!(less(|identity| identity.facts.home_tenant = None), nothing);
    assert_eq!(less(|identity| identity.facts.agent_parent = None), nothing);
    assert_eq!(less(|identity| identity.facts.client_auth = Some(ClientAuth::Secret)), nothing);
    assert_eq!(less(|identity| identity.facts.directory_roles = Box::default()), nothing);
    assert_eq!(less(|identity| identity.facts.auth_contexts = ["c1".into()].into()), nothing);
}

/// The built-in policy gives agents nothing, also for an owner.
#[test]
fn builtin_lets_no_agent_in() {
    let builtin = PolicySet::of(&[]).unwrap();
    let owner = identity(IdentityKind::User, &[]);
    assert!(ask_as(&builtin, &CASE, &owner.clone().into()).is_ok());
    let agent = Holder { kind: IdentityKind::Agent, ..owner };
    assert_eq!(ask_as(&builtin, &CASE, &agent.into()), denied(Reason::NotPermitted, &[]));
}

/// What is generated is what is shipped and documented.
#[test]
fn the_model_is_written_down() {
    for (file, start, end, want) in [
        ("src/policy/stagedoor.cedarschema", "", "", model::schema()),
        ("docs/policy.md", "<!-- model -->\n", "<!-- end of model -->", model::tables()),
    ] {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        let (before, rest) =
            if start.is_empty() { ("", text.as_str()) } else { text.split_once(start).unwrap() };
        let (now, after) = if end.is_empty() { (rest, "") } else { rest.split_once(end).unwrap() };
        if std::env::var_os("STAGEDOOR_UPDATE").is_some() {
            let text = format!("{before}{start}{want}{end}{after}");
            std::fs::write(&path, text).unwrap();
        } else {
            assert!(now == want, "{file} is out of date: run the test with STAGEDOOR_UPDATE=1");
        }
    }
}

/// What is handed to Cedar is what the schema says, whatever is known of a caller.
#[test]
fn slices_keep_to_the_schema() {
    let schema = parse::schema().unwrap();
    let full = TokenFacts {
        guest: true,
        home_tenant: Some("99999999-2222-3333-4444-555555555555".parse().unwrap()),
        directory_roles: ["reader".into()].into(),
        auth_contexts: ["c1".into()].into(),
        client_auth: Some(ClientAuth::Certificate),
        agent_parent: Some("cccccccc-0000-0000-0000-000000000077".parse().unwrap()),
        ..TokenFacts::default()
    };
    for (facts, kind) in
        [(TokenFacts::default(), IdentityKind::Workload), (full, IdentityKind::User)]
    {
        let identity: Arc<Identity> = Holder { facts, ..identity(kind, &["r"]) }.into();
        let shop = Shop {
            groups: vec![entity("group:default/team-a")],
            resource: entity("component:default/payments"),
            tags: &["a"],
            owner: entity("group:default/team-a"),
            system: entity("system:default/shop"),
            system_owner: entity("group:default/team-s"),
            domain: entity("domain:default/retail"),
        };
        let version = Arc::from("1");
        let question = Question {
            identity: &identity,
            listed: None,
            action: Action::Read,
            entity: &shop.resource,
            request: RequestFacts {
                method: "GET",
                host: "a.example.com",
                path: "/",
                route: "r",
                source: Some("spiffe://a"),
                destination: Some("spiffe://b"),
                justification: Some("because"),
                token_age: 1,
                unix_time: 1_800_000_000,
            },
            facts: &shop,
            version: &version,
        };
        let names = model::Names::new().unwrap();
        let (context, attributes) = (reads::Members::EVERY, attributes::Attributes::EVERY);
        let reads = reads::Reads { context, attributes, ..Default::default() };
        let slice = model::slice(&names, &question, &reads).unwrap();
        let all: Vec<_> = slice.iter().cloned().collect();
        // Cedar checks types, required attributes, and that there are no others.
        cedar_policy::Entities::from_entities(all, Some(&schema)).unwrap();
        let context = model::context(&question.request, &reads).unwrap();
        cedar_policy::Request::new(
            names.principal(&identity),
            names.action(Action::Read).unwrap(),
            names.resource(&shop.resource).unwrap(),
            context,
            Some(&schema),
        )
        .unwrap();
    }
}

#[test]
fn an_answer_is_remembered_by_all_that_it_depends_on() {
    let text = r#"@id("a") permit (principal, action == Action::"read", resource) when { principal in resource.owners };
        @id("b") permit (principal, action == Action::"write", resource)
        when { principal in resource.owners && context.time < datetime("2030-01-01") };"#;
    let set = set(text).unwrap();
    let user: Arc<Identity> = identity(IdentityKind::User, &[]).into();
    let other: Arc<Identity> = Holder { kind: IdentityKind::Agent, ..user.holder() }.into();
    let read = Case { action: Action::Read, ..CASE };
    let nobody = Case { groups: &[], ..read };
    let late = 1_893_456_000;
    for (case, who, at, allowed, remembered) in [
        (&read, &user, 1, true, false),
        (&read, &user, 2, true, true),
        // Another token.
        (&read, &other, 2, true, false),
        (&read, &other, 3, true, true),
        // Another snapshot, in which the caller is in no group, and the one before again.
        (&nobody, &user, 3, false, false),
        (&nobody, &user, 3, false, true),
        (&read, &user, 3, true, false),
        // What is read of the context counts, and only for what reads it.
        (&CASE, &user, 3, true, false),
        (&CASE, &user, 3, true, true),
        (&CASE, &user, 4, true, false),
        (&CASE, &user, late, false, false),
        (&CASE, &user, late, false, true),
        (&read, &user, late, true, true),
    ] {
        let judgement = judge_at(&set, case, who, at);
        let got = (judgement.verdict.is_ok(), judgement.notes.remembered.decision);
        assert_eq!(got, (allowed, remembered), "{:?} at {at}", case.action);
    }
}

/// Where every question has the same hash, each still gets its own answer.
#[test]
fn a_hash_alone_never_answers() {
    let text = r#"@id("a") permit (principal, action == Action::"read", resource == Component::"component:default/payments")
        when { principal in resource.owners && context.time < datetime("2030-01-01") };
        @id("b") permit (principal, action == Action::"write", resource) when { principal.agent };"#;
    let mut set = set(text).unwrap();
    set.enforced.memory.mask = 0;
    let user: Arc<Identity> = identity(IdentityKind::User, &[]).into();
    let agent: Arc<Identity> = Holder { kind: IdentityKind::Agent, ..user.holder() }.into();
    let late = 1_893_456_000;
    let other = Case { resource: "component:default/orders", ..CASE };
    for _ in 0..2 {
        for (action, who, at, want) in [
            (Action::Read, &user, 1, true),
            (Action::Write, &user, 1, false),
            (Action::Write, &agent, 1, true),
            (Action::Read, &user, late, false),
            (Action::Read, &agent, 2, true),
            (Action::Admin, &agent, 2, false),
        ] {
            for case in [&CASE, &other] {
                let want = want && (action != Action::Read || case.resource == CASE.resource);
                let case = Case { action, ..*case };
                for _ in 0..2 {
                    let judgement = judge_at(&set, &case, who, at);
                    assert_eq!(judgement.verdict.is_ok(), want, "{action} at {at}");
                }
            }
        }
    }
    // Asked twice in a row, it is remembered all the same.
    assert!(
        judge_at(&set, &CASE, &agent, 3).notes.remembered.decision || {
            judge_at(&set, &CASE, &agent, 3).notes.remembered.decision
        }
    );
}

/// Everything that a policy reads of a request tells it from another, and so do the groups
/// that come from elsewhere.
#[test]
fn an_answer_is_for_the_very_request() {
    let text = r#"@id("a") permit (principal in EntraGroup::"aaaaaaaa-0000-0000-0000-00000000000b", action, resource)
        when { context.method == "GET" && context.host == "a.example.com" && context.path == "/a"
            && context.route == "one" && context has destination
            && context.destination == "spiffe://b" && !(context has source)
            && !(context has justification) };"#;
    let good = RequestFacts {
        method: "GET",
        host: "a.example.com",
        path: "/a",
        route: "one",
        source: None,
        destination: Some("spiffe://b"),
        justification: None,
        unix_time: 0,
        token_age: 0,
    };
    let listed: Arc<[GroupId]> =
        ["aaaaaaaa-0000-0000-0000-00000000000b".parse::<GroupId>().unwrap()].into();
    let user: Arc<Identity> = identity(IdentityKind::User, &[]).into();
    for mask in [0, u64::MAX] {
        let mut set = set(text).unwrap();
        set.enforced.memory.mask = mask;
        let allows = |request: RequestFacts<'_>, listed: Option<&Arc<[GroupId]>>| {
            with_question(&CASE, &user, |question| {
                set.judge(&Question { request, listed, ..*question }).verdict.is_ok()
            })
        };
        for other in [
            RequestFacts { method: "POST", ..good },
            RequestFacts { host: "b.example.com", ..good },
            RequestFacts { path: "/b", ..good },
            RequestFacts { route: "two", ..good },
            RequestFacts { source: Some("spiffe://a"), ..good },
            RequestFacts { destination: Some("spiffe://c"), ..good },
            RequestFacts { destination: None, ..good },
            RequestFacts { justification: Some("INC-1"), ..good },
        ] {
            assert!(allows(good, Some(&listed)), "{other:?}");
            assert!(!allows(other, Some(&listed)), "{other:?}");
        }
        assert!(allows(good, Some(&listed)));
        assert!(!allows(good, None), "the token's own groups are others");
    }
}

/// A question that can't be asked is a denial, whoever puts it.
#[test]
fn what_cannot_be_asked_is_denied() {
    let set = set(r#"@id("a") permit (principal, action, resource)
        when { context.time > datetime("2026-01-01") };"#)
    .unwrap();
    let user: Arc<Identity> = identity(IdentityKind::User, &[]).into();
    let strange = Case { resource: "location:default/x", ..CASE };
    let check = |case: &Case, change: fn(&mut Question<'_>), want: Result<(), Reason>| {
        with_question(case, &user, |question| {
            let mut question = *question;
            change(&mut question);
            let decided = set.decide(&question).map(drop).map_err(|denial| denial.reason);
            assert_eq!(decided, want);
            let judged = set.judge(&question).verdict.map(drop).map_err(|denial| denial.reason);
            assert_eq!(judged, want);
        });
    };
    check(&strange, |_| {}, Err(Reason::RouteMisconfigured));
    check(&CASE, |question| question.facts = &Unknown, Err(Reason::EntityUnknown));
    check(&CASE, |_| {}, Ok(()));
    check(&CASE, |question| question.request.unix_time = i64::MAX, Err(Reason::Internal));
    // Nor is anything said about it but why.
    let traces = with_question(&strange, &user, |question| set.explain(question));
    assert_eq!((traces.policies.len(), traces.others), (0, 1));
    assert!(traces.answer.contains("`location`"), "{}", traces.answer);
}

/// What would make the one part hold that doesn't, where a caller could have it.
#[test]
fn what_is_lacking_is_told() {
    let member = |groups: &[&str]| {
        Some(Hint::MemberOf(groups.iter().map(|group| (*group).to_owned()).collect()))
    };
    let when = |condition: &str| format!("(principal, action, resource) when {{ {condition} }}");
    let unless =
        |condition: &str| format!("(principal, action, resource) unless {{ {condition} }}");
    let b = "aaaaaaaa-0000-0000-0000-00000000000b";
    let nobody = Case { groups: &[], ..CASE };
    for (policy, part, want) in [
        (when("principal in resource.owners"), "condition", member(&["group:default/team-a"])),
        (
            when("resource has system && principal in resource.system.owners"),
            "condition",
            member(&["group:default/team-s"]),
        ),
        (
            when("resource has domain && principal in resource.domain.owners"),
            "condition",
            member(&[]),
        ),
        (
            when(r#"principal in Group::"group:default/team-b""#),
            "condition",
            member(&["group:default/team-b"]),
        ),
        (
            when(r#"principal in [Group::"group:default/a", Group::"group:default/b"]"#),
            "condition",
            member(&["group:default/a", "group:default/b"]),
        ),
        (
            when(&format!(r#"principal in EntraGroup::"{b}""#)),
            "condition",
            Some(Hint::MemberOfEntra(vec![b.to_owned()])),
        ),
        (when(r#"principal.roles.contains("R")"#), "condition", Some(Hint::Role("R".to_owned()))),
        (when(r#"principal.scopes.contains("S")"#), "condition", Some(Hint::Scope("S".to_owned()))),
        (
            when(r#"principal.auth_contexts.contains("c1")"#),
            "condition",
            Some(Hint::AuthContext("c1".to_owned())),
        ),
        // Nobody gives themself one of these.
        (when(r#"principal.directory_roles.contains("reader")"#), "condition", None),
        (when(r#"resource.tags.contains("open")"#), "condition", None),
        (when(r#"resource.owners.contains(Group::"group:default/x")"#), "condition", None),
        (when(r#"Group::"group:default/x" in resource.owners"#), "condition", None),
        (when("context has justification"), "condition", Some(Hint::Justify)),
        (when("context has source"), "condition", None),
        (when(r#"context.path == "/""#), "condition", None),
        (unless(r#"principal.kind == "user""#), "condition", None),
        (unless(r#"principal.guest || principal.kind == "user""#), "condition", None),
        (
            r#"(principal == User::"t/o", action, resource)"#.to_owned(),
            "principal",
            Some(Hint::Be(r#"User::"t/o""#.to_owned())),
        ),
        (
            r#"(principal in Group::"group:default/b", action, resource)"#.to_owned(),
            "principal",
            member(&["group:default/b"]),
        ),
        (
            r#"(principal is User in Group::"group:default/b", action, resource)"#.to_owned(),
            "principal",
            member(&["group:default/b"]),
        ),
        ("(principal is Workload, action, resource)".to_owned(), "principal", None),
    ] {
        let set = set(&format!("@id(\"p\") permit {policy};")).unwrap();
        let user: Arc<Identity> = identity(nobody.kind, nobody.roles).into();
        let traces = with_question(&nobody, &user, |question| set.explain(question));
        let [trace] = &traces.policies[..] else { panic!("{policy}: {traces:?}") };
        assert_eq!((&trace.applies, trace.lacks.len()), (&Applies::No, 1), "{policy}");
        assert_eq!((trace.lacks[0].part, &trace.lacks[0].hint), (part, &want), "{policy}");
    }
    // What is about something else, or lacks more, is nothing that anybody could have.
    for policy in [
        r#"(principal, action, resource == Component::"component:default/orders")"#,
        r#"(principal, action, resource == Component::"component:Default/payments")"#,
        r#"(principal, action == Action::"read", resource)"#,
        r#"(principal is Workload, action, resource) when { context has justification }"#,
    ] {
        let set = set(&format!("@id(\"p\") permit {policy};")).unwrap();
        let user: Arc<Identity> = identity(nobody.kind, nobody.roles).into();
        let traces = with_question(&nobody, &user, |question| set.explain(question));
        assert_eq!((traces.policies.len(), traces.others), (0, 1), "{policy}: {traces:?}");
    }
}

#[test]
fn the_shadow_decides_nothing() {
    let enforced = r#"@id("owners") permit (principal, action, resource) when { principal in resource.owners };"#;
    let tried = r#"@id("no-writes") @mode("shadow") @reason("x") forbid (principal, action == Action::"write", resource);
        @id("all-read") @mode("shadow") permit (principal, action == Action::"read", resource);"#;
    let set = set(&format!("{enforced}{tried}")).unwrap();
    let write = judge(&set, &CASE);
    assert!(write.verdict.is_ok());
    assert_eq!(write.notes.shadow.len(), 1);
    let shadow = &write.notes.shadow[0];
    assert_eq!((shadow.set, shadow.allow, shadow.reason), (ShadowSet::Mode, false, "forbidden"));
    assert_eq!(shadow.policies, ["no-writes".into()]);
    let stranger = Case { groups: &[], action: Action::Read, ..CASE };
    let read = judge(&set, &stranger);
    assert_eq!(read.verdict.unwrap_err().reason, Reason::NotPermitted);
    assert!(read.notes.shadow[0].allow);
    // Nothing differs, nothing is said.
    assert!(judge(&set, &Case { action: Action::Admin, ..CASE }).notes.shadow.is_empty());
    let (differences, others) = set.stats().differences();
    let counted: Vec<_> = differences
        .iter()
        .map(|(d, count)| (d.policy.as_deref(), d.entity.as_str(), d.would_allow, *count))
        .collect();
    assert_eq!(
        counted,
        [
            (Some("all-read"), "component:default/payments", true, 1),
            (Some("no-writes"), "component:default/payments", false, 1),
        ]
    );
    assert_eq!(others, 0);

    let source = |text: &str| [PolicySource { file: "f".into(), text: text.to_owned() }];
    let nothing = r#"@id("none") permit (principal, action, resource) when { principal.guest };"#;
    let settings = PolicySettings { shadow_sample: 0, ..PolicySettings::default() };
    let set = PolicySet::with_shadow(&source(enforced), &source(nothing), &settings).unwrap();
    let write = judge(&set, &CASE);
    assert!(write.verdict.is_ok());
    assert!(write.notes.shadow.is_empty(), "counted, and not on record");
    let (differences, _) = set.stats().differences();
    assert_eq!(differences.len(), 1);
    assert_eq!((differences[0].0.set, &differences[0].0.policy), ("files", &None));
    let on_record = PolicySettings { shadow_sample: 100, ..settings };
    let set = PolicySet::with_shadow(&source(enforced), &source(nothing), &on_record).unwrap();
    let judgement = judge(&set, &CASE);
    let shadow = &judgement.notes.shadow[0];
    assert_eq!((shadow.allow, shadow.reason, shadow.policies.len()), (false, "not_permitted", 0));
}

#[test]
fn warnings_and_alerts_go_with_the_answer() {
    let text = r#"
        @id("all") permit (principal, action, resource) when { !resource.tags.contains("closed") };
        @id("deprecated") @mode("warn") @reason("This goes away in March.")
        forbid (principal, action, resource) when { resource.tags.contains("deprecated") };
        @id("break-glass") @alert("The glass was broken.")
        permit (principal in Group::"group:default/team-a", action == Action::"admin", resource);"#;
    let set = set(text).unwrap();
    let notes = |action, tags| judge(&set, &Case { action, tags, ..CASE }).notes;
    assert!(notes(Action::Read, &[]).warnings.is_empty());
    let notice = |policy: &str, text: &str| Notice { policy: policy.into(), text: text.into() };
    let warned = notes(Action::Read, &["deprecated"]);
    assert_eq!(warned.warnings, [notice("deprecated", "This goes away in March.")]);
    // Who may not, is not warned as well.
    assert!(notes(Action::Read, &["deprecated", "closed"]).warnings.is_empty());
    assert!(warned.alerts.is_empty());
    let loud = notes(Action::Admin, &["closed"]);
    assert_eq!(loud.alerts, [notice("break-glass", "The glass was broken.")]);
}

/// Cedar skips a policy that fails; here it denies, whatever it is for, and is counted.
#[test]
fn failures_are_counted_by_policy() {
    let text = r#"@id("a") permit (principal, action, resource);
        @id("b") @mode("shadow") forbid (principal, action, resource) when { 9223372036854775807 + 1 == 0 };"#;
    let set = set(text).unwrap();
    let judged = judge(&set, &CASE);
    assert!(judged.verdict.is_ok(), "the shadow fails for itself");
    assert_eq!(judged.notes.shadow[0].reason, "policy_error");
    assert_eq!(set.stats().errors(), [(Some("b".into()), 1)]);
}

/// A policy written today keeps meaning the same: what the first edition of the model had
/// stays, and what came later need not be there.
#[test]
fn the_model_only_grows() {
    let first: Vec<&str> = include_str!("model/first-edition.txt").lines().collect();
    let now = model::edition();
    for line in &first {
        assert!(now.iter().any(|member| member == line), "gone or changed: {line}");
    }
    for member in now.iter().filter(|member| !first.contains(&member.as_str())) {
        assert!(member.contains('?'), "not optional: {member}");
    }
}

/// Only somebody who can sign in is asked to, and only where that lifts every `forbid`.
#[test]
fn challenges_are_for_who_can_sign_in() {
    let text = r#"@id("all") permit (principal, action, resource);
        @id("c1") @challenge("c1") forbid (principal, action, resource) unless { principal.auth_contexts.contains("c1") };
        @id("fresh") @challenge("sign_in") forbid (principal, action == Action::"admin", resource);
        @id("frozen") forbid (principal, action, resource) when { resource.tags.contains("frozen") };"#;
    let set = set(text).unwrap();
    let user = Case { action: Action::Write, ..CASE };
    let robot = Case { kind: IdentityKind::Workload, ..user };
    for (case, want) in [
        (user, denied(Reason::InsufficientClaims, &["c1"])),
        (
            Case { action: Action::Admin, ..user },
            denied(Reason::InsufficientClaims, &["c1", "fresh"]),
        ),
        (Case { tags: &["frozen"], ..user }, denied(Reason::Forbidden, &["c1", "frozen"])),
        (robot, denied(Reason::Forbidden, &["c1"])),
        (Case { action: Action::Admin, ..robot }, denied(Reason::Forbidden, &["c1", "fresh"])),
    ] {
        assert_eq!(ask(&set, &case), want, "{:?} {}", case.kind, case.action);
    }
}
