//! Policies against questions, one row each.

use super::*;
use crate::domain::{
    Action, ClientAuth, EntityRef, Grant, Identity, IdentityKind, Reason, TokenFacts,
};

fn entity(text: &str) -> EntityRef {
    EntityRef::parse(text).unwrap()
}

fn identity(kind: IdentityKind, roles: &[&str]) -> Identity {
    Identity {
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

/// Asks about a component owned by `team-a`, in a system owned by `team-s`.
fn ask(set: &PolicySet, case: &Case) -> Result<Grant, (Reason, Vec<String>)> {
    ask_as(set, case, &identity(case.kind, case.roles))
}

fn ask_as(
    set: &PolicySet,
    case: &Case,
    identity: &Identity,
) -> Result<Grant, (Reason, Vec<String>)> {
    let groups: Vec<_> = case.groups.iter().map(|group| entity(group)).collect();
    let groups: Vec<_> = groups.iter().collect();
    let resource = entity(case.resource);
    let (owner, system, system_owner) = (
        entity("group:default/team-a"),
        entity("system:default/shop"),
        entity("group:default/team-s"),
    );
    let system = ResourceFacts {
        entity: &system,
        owners: vec![&system_owner],
        spec_type: None,
        lifecycle: None,
        tags: vec![],
        system: None,
        part_of: vec![],
    };
    let question = Question {
        identity,
        entra_groups: &identity.groups,
        groups: &groups,
        action: case.action,
        resource: ResourceFacts {
            entity: &resource,
            owners: vec![&owner],
            spec_type: Some("service"),
            lifecycle: Some("production"),
            tags: case.tags.to_vec(),
            system: Some(system.entity),
            part_of: vec![system.entity],
        },
        wholes: vec![system.clone()],
        request: RequestFacts {
            method: "POST",
            host: "payments.example.com",
            path: "/v1/orders",
            route: "orders",
            source: None,
            token_age: 0,
            unix_time: 1_800_000_000,
        },
    };
    set.decide(&question).map(|permit| permit.grant().clone()).map_err(|denial| {
        (denial.reason, denial.policies.iter().map(ToString::to_string).collect())
    })
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
            "@mode(\"shadow\") permit (principal, action, resource);",
            &["test.cedar: `policy0` has `@mode`"],
        ),
        (
            "@id(\"x\") permit (principal, action, resource); @id(\"x\") forbid (principal, action, resource);",
            &["test.cedar: `@id(\"x\")` stands twice, once more in this file"],
        ),
        ("permit (principal is Robot, action, resource);", &["test.cedar:1:"]),
        ("permit (principal, action == Action::\"delete\", resource);", &["test.cedar:1:"]),
        ("// nothing", &["test.cedar: no policy in any of the files"]),
    ] {
        let errors = set(text).expect_err(text);
        let lines: Vec<_> = errors.0.iter().map(ToString::to_string).collect();
        assert_eq!(lines.len(), want.len(), "{text}: {lines:?}");
        for want in want {
            assert!(lines.iter().any(|line| line.starts_with(want)), "{want}: {lines:?}");
        }
    }
    let missing = PolicySet::load(&PolicySettings { files: vec!["no/such.cedar".into()] });
    assert!(missing.expect_err("missing").to_string().starts_with("no/such.cedar: not readable: "));
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
    let full = Identity {
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
    assert_eq!(ask_as(&set, &CASE, &full), permitted(&["all"]));
    let less = |change: fn(&mut Identity)| {
        let mut identity = full.clone();
        change(&mut identity);
        ask_as(&set, &CASE, &identity)
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
    assert!(ask_as(&builtin, &CASE, &owner).is_ok());
    let agent = Identity { kind: IdentityKind::Agent, ..owner };
    assert_eq!(ask_as(&builtin, &CASE, &agent), denied(Reason::NotPermitted, &[]));
}
