//! `stagedoor policy test` and `stagedoor policy lint`, on the policies to start from and on
//! files with planted faults.

use std::path::Path;
use std::process::Command;

use crate::support::stack::{AUDIENCE, OWNERS, Options, write_config};
use devtenant::tenant::{Tenant, TenantOptions};
use quick_xml::Reader;
use quick_xml::events::Event;
use serde_json::Value;
use tempfile::TempDir;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn run_in(folder: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_stagedoor"))
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// A folder with a catalog, policies and a case file, as each test changes them.
struct Files(TempDir);

const HEAD: &str =
    "policies: p.cedar\ncatalog: catalog\ntenant: 11111111-2222-3333-4444-555555555555\n";

const POLICIES: &str = r#"
@id("owners") permit (principal is User, action in Action::"write", resource)
when { principal in resource.owners && !principal.agent };
@id("loud") @alert("Somebody administers.") permit (principal is User, action == Action::"admin", resource)
when { principal in resource.owners && !principal.agent };
@id("strong") @challenge("c1") @reason("Sign in strongly.") forbid (principal is User, action == Action::"admin", resource)
unless { principal.auth_contexts.contains("c1") };
@id("old") @mode("warn") @reason("Old.") forbid (principal, action, resource) when { resource.tags.contains("old") };
@id("tried") @mode("shadow") @reason("Tried.") forbid (principal, action == Action::"read", resource)
when { resource.tags.contains("old") };
"#;

const CATALOG: &str = "
kind: Group
metadata:
  name: team
  annotations: { graph.microsoft.com/group-id: aaaaaaaa-0000-0000-0000-000000000001 }
spec: { type: team, children: [] }
---
kind: Group
metadata: { name: unbound }
spec: { type: team, children: [] }
---
kind: User
metadata:
  name: ada
  annotations: { graph.microsoft.com/user-id: bbbbbbbb-0000-0000-0000-000000000001 }
spec: { memberOf: [team] }
---
kind: User
metadata: { name: eve }
spec: { memberOf: [team] }
---
kind: Component
metadata: { name: a, tags: [old] }
spec: { type: service, lifecycle: production, owner: team }
---
kind: Component
metadata: { name: b }
spec: { type: service, lifecycle: production, owner: team }
";

impl Files {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("catalog")).unwrap();
        let files = Self(folder);
        files.write("catalog/catalog-info.yaml", CATALOG);
        files.write("p.cedar", POLICIES);
        files
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.path().join(name), text).unwrap();
    }

    fn run(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        run_in(self.0.path(), arguments)
    }

    /// Tests one file with the usual head and these cases.
    fn test(&self, cases: &str) -> (Option<i32>, String, String) {
        self.write("t.yaml", &format!("{HEAD}cases:\n{cases}"));
        self.run(&["policy", "test", "t.yaml"])
    }
}

/// A case of its own, in the flow style.
fn case(rest: &str) -> String {
    format!("  - {{ name: one, {rest} }}\n")
}

const ADA: &str = "as: { user: user:default/ada }";
const READ_A: &str = "request: { action: read, entity: component:default/a }";
const READ_B: &str = "request: { action: read, entity: component:default/b }";

#[test]
fn the_starter_set_passes_its_cases_and_every_policy_decides_one() {
    let arguments = ["policy", "test", "policies/tests", "--coverage-required", "--json"];
    let (code, out, err) = run_in(Path::new(ROOT), &arguments);
    let results = json(&out);
    assert_eq!(code, Some(0), "{out}{err}");
    assert_eq!(results["failed"], 0);
    assert!(results["passed"].as_u64().unwrap() >= 60);
    let coverage = results["coverage"].as_array().unwrap();
    assert!(coverage.iter().all(|policy| policy["cases"].as_u64().unwrap() > 0), "{coverage:#?}");
    // Every policy has a case that it decides by letting in, or by keeping out, and one near
    // it that another answer comes of: both answers are in every file.
    for file in results["files"].as_array().unwrap() {
        let cases = file["cases"].as_array().unwrap();
        for answer in ["allow", "deny"] {
            assert!(cases.iter().any(|case| case["came"]["answer"] == answer), "{file:#}");
        }
    }
    // The same policies, each described, and each forbid with its reason.
    let files = std::fs::read_dir(Path::new(ROOT).join("policies")).unwrap();
    let mut policies = 0;
    for file in files.map(|file| file.unwrap().path()).filter(|file| file.is_file()) {
        let text = std::fs::read_to_string(&file).unwrap();
        let count = |what: &str| text.matches(what).count();
        if file.extension().is_some_and(|end| end == "cedar") {
            let here = count("\npermit (") + count("\nforbid (");
            assert_eq!((count("@id("), count("@description(")), (here, here), "{file:?}");
            assert_eq!(count("@reason("), count("\nforbid ("), "{file:?}");
            policies += here;
        }
    }
    assert_eq!(policies, coverage.len());
}

#[test]
fn lint_finds_nothing_in_the_starter_set() {
    let arguments = ["policy", "lint", "policies", "--catalog", "policies/tests/catalog", "--json"];
    let (code, out, err) = run_in(Path::new(ROOT), &arguments);
    assert_eq!(code, Some(0), "{out}{err}");
    for finding in json(&out).as_array().unwrap() {
        assert_eq!(finding["severity"], "info", "{finding:#}");
    }
}

/// A case file whose cases all pass, and the same cases with each expectation turned.
#[test]
fn what_fails_and_how() {
    let files = Files::new();
    for (rest, fault, said) in [
        (format!("{ADA}, {READ_A}, expect: allow"), "expect: deny", "expected deny, came allow"),
        (format!("{ADA}, {READ_B}, expect: allow, warnings: []"), "warnings: [old]", "expected the warnings old, came none"),
        (format!("{ADA}, {READ_A}, expect: allow, warnings: [old]"), "warnings: []", "expected the warnings none, came old"),
        (format!("{ADA}, {READ_A}, expect: allow, policies: owners"), "policies: loud", "expected the policies loud, came owners"),
        (format!("as: {{ kind: user }}, {READ_A}, expect: deny, reason: not_permitted"), "reason: forbidden", "expected the reason forbidden, came not_permitted"),
        (
            "as: { user: user:default/ada, auth_contexts: c1 }, request: { action: admin, entity: component:default/b }, expect: allow, alerts: loud".to_owned(),
            "alerts: []",
            "expected the alerts none, came loud",
        ),
        (
            format!("{ADA}, request: {{ action: admin, entity: component:default/b }}, expect: deny, challenge: c1"),
            "challenge: c2",
            "expected the challenge c2, came c1",
        ),
    ] {
        let (code, out, err) = files.test(&case(&rest));
        assert_eq!(code, Some(0), "{rest}: {out}{err}");
        assert!(out.contains("1 passed, 0 failed"), "{out}");
        let key = fault.split(':').next().unwrap();
        let at = rest.rfind(&format!("{key}:")).unwrap();
        let end = rest[at..].find(',').map_or(rest.len(), |end| at + end);
        let turned = format!("{}{fault}{}", &rest[..at], &rest[end..]);
        let (code, out, err) = files.test(&case(&turned));
        assert_eq!(code, Some(1), "{turned}: {out}{err}");
        assert!(out.contains(said), "{turned}: {out}");
        assert!(out.contains("t.yaml:5: one"), "{out}");
        assert!(out.contains("policies") && out.contains("answer"), "{out}");
        assert!(!out.contains('\x1b'), "no colours into a pipe: {out}");
    }
}

/// Every way to say who asks gives the caller that the policies see.
#[test]
fn callers() {
    let files = Files::new();
    let token = |claims: &str| {
        use base64::Engine as _;
        let encode = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
        format!("{}.{}.c2ln", encode("{}"), encode(claims))
    };
    let claims = r#"{"ver":"2.0","tid":"11111111-2222-3333-4444-555555555555","iat":1,"exp":2,
        "azp":"cccccccc-0000-0000-0000-000000000001","scp":"Use",
        "oid":"bbbbbbbb-0000-0000-0000-000000000001"}"#;
    files.write("ada.jwt", &format!("{}\n", token(claims)));
    let in_place = format!("token: {}", token(claims));
    for (caller, want) in [
        (ADA, "expect: allow"),
        ("as: { groups: group:default/team }", "expect: allow"),
        ("as: { groups: [aaaaaaaa-0000-0000-0000-000000000001] }", "expect: allow"),
        ("as: { object: bbbbbbbb-0000-0000-0000-000000000001 }", "expect: allow"),
        ("as: { object: bbbbbbbb-0000-0000-0000-000000000009 }", "expect: deny"),
        // With groups given, the token lists those; the catalog still knows its own.
        ("as: { user: user:default/ada, groups: [] }", "expect: allow"),
        (
            "as: { kind: workload, groups: group:default/team }",
            "expect: deny, reason: not_permitted",
        ),
        ("as: { kind: agent, user: user:default/ada }", "expect: deny, reason: not_permitted"),
        ("token_file: ada.jwt", "expect: allow, policies: owners"),
        (in_place.as_str(), "expect: allow, policies: owners"),
        ("claims: { oid: bbbbbbbb-0000-0000-0000-000000000001, scp: Use }", "expect: allow"),
        (
            "claims: { oid: bbbbbbbb-0000-0000-0000-000000000001 }",
            "expect: deny, reason: token_without_grant",
        ),
        (
            "claims: { oid: bbbbbbbb-0000-0000-0000-000000000001, scp: Use, hasgroups: true }",
            "expect: deny, reason: groups_overage",
        ),
        ("claims: { scp: Use }", "expect: deny, reason: token_object_id"),
    ] {
        let (code, out, err) = files.test(&case(&format!("{caller}, {READ_B}, {want}")));
        assert_eq!(code, Some(0), "{caller}: {out}{err}");
    }
    // Who counts as a member is for the file to say.
    for (membership, want) in [("token", "deny"), ("catalog", "allow"), ("both", "deny")] {
        let caller = "as: { user: user:default/ada, groups: [] }";
        let text = format!(
            "{HEAD}membership: {membership}\ncases:\n{}",
            case(&format!("{caller}, {READ_B}, expect: {want}"))
        );
        files.write("t.yaml", &text);
        let (code, out, err) = files.run(&["policy", "test", "t.yaml"]);
        assert_eq!(code, Some(0), "{membership}: {out}{err}");
    }
}

/// A file that is wrong is told so, with the place and the nearest that is right.
#[test]
fn wrong_files() {
    let files = Files::new();
    let good = format!("{ADA}, {READ_B}, expect: allow");
    for (rest, said) in [
        (format!("{good}, expct: deny"), "the key `expct` is not known; did you mean `expect`?"),
        (
            format!("{ADA}, {READ_B}, expect: alow"),
            "the answer `alow` is not known; did you mean `allow`?",
        ),
        (format!("{ADA}, {READ_B}"), "expected `expect: allow` or `expect: deny`"),
        (format!("{ADA}, expect: allow"), "expected `request`"),
        (format!("{READ_B}, expect: allow"), "nobody ever reaches a policy"),
        (
            format!("{ADA}, token_file: x, {READ_B}, expect: allow"),
            "expected one of `as`, `token_file`",
        ),
        (format!("token_file: gone.jwt, {READ_B}, expect: allow"), "gone.jwt"),
        (format!("token: nonsense, {READ_B}, expect: allow"), "`token`: The token is not a signed"),
        (
            format!("as: {{ user: user:default/adda }}, {READ_B}, expect: allow"),
            "did you mean `user:default/ada`?",
        ),
        (
            format!("as: {{ user: user:default/eve }}, {READ_B}, expect: allow"),
            "is bound to no user of the directory",
        ),
        (
            format!("as: {{ groups: group:default/unbound }}, {READ_B}, expect: allow"),
            "is bound to no group of the directory",
        ),
        (
            format!("as: {{ groups: group:default/teem }}, {READ_B}, expect: allow"),
            "did you mean `group:default/team`?",
        ),
        (format!("as: {{ groups: [7] }}, {READ_B}, expect: allow"), "expected a text"),
        (
            format!("as: {{ kind: robot }}, {READ_B}, expect: allow"),
            "the kind `robot` is not known",
        ),
        (format!("as: {{ gest: true }}, {READ_B}, expect: allow"), "did you mean `guest`?"),
        (format!("as: {{ guest: 1 }}, {READ_B}, expect: allow"), "expected `true` or `false`"),
        (
            format!(
                "{ADA}, request: {{ action: reed, entity: component:default/b }}, expect: allow"
            ),
            "the action `reed` is not known; did you mean `read`?",
        ),
        (format!("{ADA}, request: {{ action: read, entity: b }}, expect: allow"), "`entity`: "),
        (
            format!(
                "{ADA}, request: {{ action: read, entity: component:default/b, at: noon }}, expect: allow"
            ),
            "`noon` is no time such as",
        ),
        (
            format!("{ADA}, request: {{ url: \"https://x/\" }}, expect: allow"),
            "run with `--config`",
        ),
        (
            format!("{good}, policies: [ownrs]"),
            "the policy `ownrs` is not known; did you mean `owners`?",
        ),
        (format!("{ADA}, {READ_B}, expect: deny, reason: forbiden"), "did you mean `forbidden`?"),
        (format!("{ADA}, {READ_B}, expect: deny, reason: xyzzy"), "`xyzzy` is not known\n"),
        (format!("{good}, challenge: c1"), "only who is denied is challenged"),
        (format!("{ADA}, request: [a], expect: allow"), "expected a mapping with keys of `"),
        (format!("as: {{ user: [] }}, {READ_B}, expect: allow"), "expected a text"),
    ] {
        let (code, out, err) = files.test(&case(&rest));
        assert_eq!(code, Some(3), "{rest}: {out}{err}");
        assert!(err.contains(said), "{rest}: {err}");
        let place = err.strip_prefix("t.yaml:").unwrap_or_else(|| panic!("{rest}: {err}"));
        let numbers: Vec<_> = place.split(':').take(2).collect();
        assert!(numbers.iter().all(|number| number.parse::<usize>().is_ok()), "{rest}: {err}");
    }
    // What is wrong with the file as a whole, or with what it names.
    for (text, said) in [
        ("cases: []".to_owned(), "expected `policies`"),
        (format!("{HEAD}cases: []\n"), "expected `cases`"),
        (format!("{HEAD}cases: {{ a: b }}\n"), "`cases`: expected a list"),
        (format!("{HEAD}cases: [a]\n"), "expected a mapping with keys of `"),
        ("cases\n".to_owned(), "expected a mapping with keys of `"),
        (format!("{HEAD}polices: x\ncases:\n{}", case(&good)), "did you mean `policies`?"),
        (
            format!("{HEAD}cases:\n{}{}", case(&good), case(&good)),
            "`one` is the name of line 5 too",
        ),
        ("a: [".to_owned(), "t.yaml:"),
        (HEAD.replace("p.cedar", "gone.cedar") + "cases:\n" + &case(&good), "gone.cedar"),
        (HEAD.replace("catalog: catalog", "catalog: gone") + "cases:\n" + &case(&good), "gone"),
        (HEAD.replace("tenant: 1", "tenant: x") + "cases:\n" + &case(&good), "expected a GUID"),
        (
            HEAD.replace("catalog: catalog", "catalog: [{ kind: Component }]")
                + "cases:\n"
                + &case(&good),
            "t.yaml:",
        ),
    ] {
        files.write("t.yaml", &text);
        let (code, out, err) = files.run(&["policy", "test", "t.yaml"]);
        assert_eq!(code, Some(3), "{text}: {out}{err}");
        assert!(err.contains(said), "{text}: {err}");
    }
    // One wrong file leaves no room for half a verdict; all of them are told.
    files.write("t.yaml", "a: [");
    files.write("u.yaml", "b: [");
    let (code, out, err) = files.run(&["policy", "test", "."]);
    assert_eq!((code, out.as_str()), (Some(3), ""));
    assert!(err.contains("t.yaml:") && err.contains("u.yaml:"), "{err}");
    let (code, ..) = files.run(&["policy", "test", "catalog/none"]);
    assert_eq!(code, Some(3));
}

#[test]
fn an_inline_catalog_and_the_time() {
    let files = Files::new();
    files.write(
        "p.cedar",
        r#"
        @id("weekdays") permit (principal, action, resource)
        when { principal in resource.owners && context.weekday < 6 && context.token_age < 600 };"#,
    );
    files.write(
        "t.yaml",
        "
policies: p.cedar
tenant: 11111111-2222-3333-4444-555555555555
at: 2026-01-10T12:00:00Z
catalog:
  - kind: Group
    metadata:
      name: team
      annotations: { graph.microsoft.com/group-id: aaaaaaaa-0000-0000-0000-000000000001 }
    spec: { type: team, children: [] }
  - kind: API
    metadata: { name: a }
    spec: { type: openapi, lifecycle: production, owner: team, definition: x }
cases:
  - name: Saturday
    as: { groups: group:default/team }
    request: { action: read, entity: api:default/a }
    expect: deny
  - name: Friday
    as: { groups: group:default/team }
    request: { action: read, entity: api:default/a, at: 2026-01-09T12:00:00Z }
    expect: allow
  - name: with an old token
    as: { groups: group:default/team, issued_at: 2026-01-09T11:00:00Z }
    request: { action: read, entity: api:default/a, at: 2026-01-09T12:00:00Z }
    expect: deny
  - name: what is not there
    as: { groups: group:default/team }
    request: { action: read, entity: api:default/b, at: 2026-01-09T12:00:00Z }
    expect: deny
    reason: entity_unknown
",
    );
    let (code, out, err) = files.run(&["policy", "test", "t.yaml"]);
    assert_eq!(code, Some(0), "{out}{err}");
}

#[test]
fn coverage() {
    let files = Files::new();
    let cases = case(&format!("{ADA}, {READ_A}, expect: allow"));
    files.write("t.yaml", &format!("{HEAD}cases:\n{cases}"));
    let (code, out, _) = files.run(&["policy", "test", "t.yaml", "--coverage"]);
    assert_eq!(code, Some(0), "{out}");
    assert!(out.contains("    1  owners  p.cedar:2"), "{out}");
    // Warned, and in the shadow of it.
    assert!(out.contains("    1  old  p.cedar:8") && out.contains("    1  tried"), "{out}");
    assert!(
        out.contains("    0  loud") && out.contains("2 of 5 policies decided no case"),
        "{out}"
    );
    let (code, ..) = files.run(&["policy", "test", "t.yaml", "--coverage-required"]);
    assert_eq!(code, Some(1));
}

/// The XML is what CI systems read, whatever stands in the names.
#[test]
fn junit() {
    let files = Files::new();
    let name = r#"<a> & \"b\" 'c' ]]> \u0001 é"#;
    let bad = format!("  - {{ name: \"{name}\", {ADA}, {READ_B}, expect: deny }}\n");
    let cases = format!("{bad}{}", case(&format!("{ADA}, {READ_B}, expect: allow")));
    files.write("t.yaml", &format!("{HEAD}cases:\n{cases}"));
    let (code, out, err) = files.run(&["policy", "test", "t.yaml", "--junit", "out.xml"]);
    assert_eq!(code, Some(1), "{out}{err}");
    let xml = std::fs::read_to_string(files.0.path().join("out.xml")).unwrap();
    let mut reader = Reader::from_str(&xml);
    let mut found = Vec::new();
    loop {
        let element = match reader.read_event().unwrap() {
            Event::Eof => break,
            Event::Start(element) | Event::Empty(element) => element,
            _ => continue,
        };
        let attributes: Vec<(String, String)> = element
            .attributes()
            .map(|attribute| {
                let attribute = attribute.unwrap();
                let key = String::from_utf8(attribute.key.as_ref().to_vec()).unwrap();
                let raw = String::from_utf8(attribute.value.to_vec()).unwrap();
                (key, quick_xml::escape::unescape(&raw).unwrap().into_owned())
            })
            .collect();
        let tag = String::from_utf8(element.name().as_ref().to_vec()).unwrap();
        found.push((tag, attributes));
    }
    let tags: Vec<_> = found.iter().map(|(tag, _)| tag.as_str()).collect();
    assert_eq!(tags, ["testsuites", "testsuite", "testcase", "failure", "testcase"]);
    let of = |at: usize, key: &str| {
        let (_, attributes) = &found[at];
        attributes.iter().find(|(name, _)| name == key).map(|(_, value)| value.clone()).unwrap()
    };
    assert_eq!(
        (of(1, "name"), of(1, "tests"), of(1, "failures")),
        ("t.yaml".into(), "2".into(), "1".into())
    );
    assert_eq!(of(2, "name"), "<a> & \"b\" 'c' ]]> \u{fffd} é");
    assert_eq!(of(2, "line"), "5");
    assert_eq!(of(3, "message"), "expected deny, came allow");
    assert_eq!(of(4, "name"), "one");
}

/// With a configuration requests go through its routes, tokens by its tenants, and
/// policies and catalog are its own.
#[tokio::test]
async fn through_a_configuration() {
    let tenant = Tenant::start(TenantOptions::default()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let routes = "  - { name: strong, hosts: [payments.example.com], paths: [/strong], gate: policy, entity: \"component:default/payments\", auth_context: c1 }\n";
    let options = Options { routes: routes.to_owned(), ..Options::default() };
    write_config(&folder, &tenant, &options).unwrap();
    let token = tenant.token().audience(AUDIENCE).groups(&[OWNERS]).sign();
    std::fs::write(folder.path().join("owner.jwt"), token).unwrap();
    let id = tenant.id();
    let cases = format!(
        "cases:
  - {{ name: owner, token_file: owner.jwt, request: {{ url: \"https://payments.example.com/v1/orders?x=y\", method: POST }}, expect: allow, policies: owners }}
  - {{ name: other, as: {{ kind: user }}, request: {{ url: \"https://payments.example.com/v1/orders\" }}, expect: deny, reason: not_permitted }}
  - {{ name: public, as: nobody, request: {{ url: \"https://payments.example.com/healthz\" }}, expect: allow, reason: public_route }}
  - {{ name: nobody, request: {{ url: \"https://payments.example.com/v1\" }}, expect: deny, reason: token_missing }}
  - {{ name: known, as: {{ kind: user }}, request: {{ url: \"https://payments.example.com/whoami\" }}, expect: allow, reason: authenticated_route }}
  - {{ name: no route, as: {{ kind: user }}, request: {{ url: \"https://elsewhere.example.com/\" }}, expect: deny, reason: no_route }}
  - {{ name: odd path, as: {{ kind: user }}, request: {{ url: \"https://payments.example.com/a/../b\" }}, expect: deny, reason: path_not_canonical }}
  - {{ name: demand, token_file: owner.jwt, request: {{ url: \"https://payments.example.com/strong\" }}, expect: deny, reason: insufficient_claims, challenge: c1 }}
  - {{ name: robot, as: {{ kind: workload, roles: Payments.Read.All }}, request: {{ url: \"https://payments.example.com/v1\" }}, expect: allow, policies: readers }}
  - {{ name: given, as: {{ groups: {OWNERS}, tenant: {id} }}, request: {{ action: write, entity: component:default/payments }}, expect: allow }}
  - {{ name: stranger, claims: {{ tid: 99999999-2222-3333-4444-555555555555, oid: bbbbbbbb-0000-0000-0000-000000000001, scp: Use }}, request: {{ url: \"https://payments.example.com/v1\" }}, expect: deny, reason: token_tenant_not_allowed }}
"
    );
    std::fs::write(folder.path().join("t.yaml"), cases).unwrap();
    let arguments =
        ["policy", "test", "t.yaml", "--config", "stagedoor.yaml", "--coverage-required"];
    let (code, out, err) = run_in(folder.path(), &arguments);
    assert_eq!(code, Some(0), "{out}{err}");

    // Lint knows the catalog and the routes of the configuration.
    let more = r#"
        @id("gone") permit (principal in Group::"group:default/paymnts-team", action, resource) when { !principal.agent };
        @id("host") permit (principal in Group::"group:default/orders-team", action, resource)
        when { !principal.agent && context.host == "nowhere.example.org" };
        @id("open") permit (principal in Group::"group:default/orders-team", action == Action::"read",
            resource == Component::"component:default/payments") when { !principal.agent };"#;
    let file = folder.path().join("policy.cedar");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{text}{more}")).unwrap();
    let config = folder.path().join("stagedoor.yaml");
    let text = std::fs::read_to_string(&config).unwrap();
    let public = "paths: [/public], gate: public";
    let text = text.replace(public, &format!("{public}, entity: \"component:default/payments\""));
    std::fs::write(&config, text).unwrap();
    let (code, out, err) =
        run_in(folder.path(), &["policy", "lint", "--config", "stagedoor.yaml", "--json"]);
    assert_eq!(code, Some(0), "{out}{err}");
    let found = json(&out);
    for (code, policy, said) in [
        ("policy_names_nothing", "gone", "`group:default/payments-team` is"),
        ("policy_names_nothing", "host", "no route is for the host `nowhere.example.org`"),
        ("policy_bypassed", "open", "the route `public` lets anybody at"),
    ] {
        assert!(has(&found, "warning", code, policy, said), "{policy}: {found:#}");
    }
    // The doctor says the same.
    let (_, out, err) = run_in(folder.path(), &["doctor", "--config", "stagedoor.yaml", "--json"]);
    assert!(out.contains("policy_bypassed") && out.contains("nowhere.example.org"), "{out}{err}");
}

fn has(found: &Value, severity: &str, code: &str, policy: &str, said: &str) -> bool {
    found.as_array().unwrap().iter().any(|finding| {
        finding["severity"] == severity
            && finding["code"] == code
            && finding["policy"] == policy
            && finding["message"].as_str().unwrap().contains(said)
            && finding["line"].is_u64()
            && !finding["remedy"].as_str().unwrap().is_empty()
    })
}

/// One planted fault of each kind, each found, and nothing found that is as bad in the same
/// policy without it.
#[test]
fn lint_finds_planted_faults() {
    const FOR: &str = "!principal.agent";
    let files = Files::new();
    let never = "policy_never_applies";
    let nothing = "policy_names_nothing";
    for (fault, severity, code, said) in [
        (
            r#"permit (principal in Component::"component:default/a", action, resource) when { FOR };"#,
            "error",
            never,
            "by the types",
        ),
        (
            r#"permit (principal in Group::"Group:default/Team", action, resource) when { FOR };"#,
            "error",
            never,
            "write `group:default/team`",
        ),
        (
            r#"permit (principal in Group::"component:default/a", action, resource) when { FOR };"#,
            "error",
            never,
            "a `component` is no Group",
        ),
        (
            r#"permit (principal in Group::"team", action, resource) when { FOR };"#,
            "error",
            never,
            "is no entity ref",
        ),
        (
            r#"permit (principal, action, resource == API::"component:default/a") when { FOR };"#,
            "error",
            never,
            "a `component` is no API",
        ),
        (
            r#"permit (principal in EntraGroup::"AAAAAAAA-0000-0000-0000-000000000001", action, resource) when { FOR };"#,
            "error",
            never,
            "write `aaaaaaaa-",
        ),
        (
            r#"permit (principal in EntraGroup::"Team", action, resource) when { FOR };"#,
            "error",
            never,
            "expected a GUID",
        ),
        (
            r#"permit (principal == User::"ada", action, resource) when { FOR };"#,
            "error",
            never,
            "`<tid>/<oid>`",
        ),
        (
            r#"permit (principal, action, resource) when { FOR && false };"#,
            "error",
            never,
            "`false` stands there",
        ),
        (
            r#"permit (principal, action, resource) when { FOR && (1 == 2 || false) };"#,
            "error",
            never,
            "",
        ),
        (
            r#"permit (principal, action, resource) when { FOR && principal.agent };"#,
            "error",
            never,
            "opposite",
        ),
        (
            r#"permit (principal, action, resource) when { FOR && context.weekday > 7 };"#,
            "error",
            never,
            "from 1 to 7",
        ),
        (
            r#"permit (principal, action, resource) when { principal.kind == "usr" };"#,
            "error",
            never,
            "did you mean `user`?",
        ),
        (
            r#"permit (principal, action, resource) when { principal.kind == "user" && principal.kind == "agent" };"#,
            "error",
            never,
            "at once",
        ),
        (
            r#"permit (principal is Workload, action, resource) when { principal.kind == "user" };"#,
            "error",
            never,
            "no `Workload`",
        ),
        (
            r#"permit (principal, action, resource) when { FOR && principal.tenant == "AAAAAAAA-0000-0000-0000-000000000001" };"#,
            "error",
            never,
            "lower case",
        ),
        (
            r#"permit (principal, action, resource) when { FOR && ["A.example.com"].contains(context.host) };"#,
            "error",
            never,
            "write `a.example.com`",
        ),
        (
            r#"permit (principal, action, resource) when { principal.tenant == "aaaaaaaa-0000-0000-0000-000000000001" } unless { principal.kind == "agnt" };"#,
            "error",
            nothing,
            "did you mean `agent`?",
        ),
        (
            r#"permit (principal, action, resource) when { FOR && (principal in Group::"group:default/Team" || principal.guest) };"#,
            "error",
            nothing,
            "write `group:default/team`",
        ),
        (
            r#"permit (principal in Group::"group:default/teem", action, resource) when { FOR };"#,
            "warning",
            nothing,
            "`group:default/team` is",
        ),
        (
            r#"permit (principal, action, resource == Component::"component:default/c") when { FOR };"#,
            "warning",
            nothing,
            "is not in the catalog",
        ),
        (
            r#"permit (principal is User, action == Action::"read", resource) when { principal in resource.owners && FOR && principal.guest };"#,
            "warning",
            "policy_covered",
            "`owners` says as much",
        ),
        (
            r#"permit (principal, action, resource is System) when { FOR };"#,
            "warning",
            "policy_covered",
            "whatever it permits, `no-systems` forbids",
        ),
        (
            r#"permit (principal, action == Action::"read", resource);"#,
            "warning",
            "policy_lets_everybody_in",
            "guests, agents and automation",
        ),
        (
            r#"permit (principal is User, action == Action::"read", resource) when { resource.tags.contains("open") };"#,
            "warning",
            "policy_lets_everybody_in",
            "every user",
        ),
        (
            r#"forbid (principal, action, resource) when { principal.guest };"#,
            "warning",
            "forbid_without_reason",
            "not told why",
        ),
        (
            r#"permit (principal, action == Action::"admin", resource) when { principal in resource.owners };"#,
            "info",
            "agents_included",
            "",
        ),
        (
            r#"@mode("shadow") permit (principal, action, resource) when { FOR };"#,
            "info",
            "policy_in_shadow",
            "tried out",
        ),
        (
            "permit (principal, action, resource) when { FOR && resource.name == \"\u{430}bc\" };",
            "warning",
            "policy_odd",
            "",
        ),
    ] {
        let fault = fault.replace("FOR", FOR);
        let rest = r#"
            @id("owners") permit (principal is User, action in Action::"write", resource)
            when { principal in resource.owners && !principal.agent };
            @id("no-systems") @reason("No.") forbid (principal, action, resource is System);"#;
        files.write("l.cedar", &format!("@id(\"fault\") {fault}{rest}"));
        let arguments = ["policy", "lint", "l.cedar", "--catalog", "catalog", "--json"];
        let (exit, out, err) = files.run(&arguments);
        let found = json(&out);
        assert_eq!(exit, Some(i32::from(severity == "error")), "{fault}: {out}{err}");
        assert!(has(&found, severity, code, "fault", said), "{fault}: {found:#}");
        let others = |finding: &&Value| finding["policy"] != "fault";
        let found = found.as_array().unwrap();
        assert_eq!(found.iter().filter(others).count(), 0, "{fault}: {found:#?}");
        // As people read it.
        let (_, out, _) = files.run(&arguments[..5]);
        assert!(
            out.contains(&format!("l.cedar:1:1: {severity}: fault: ")) || code == "policy_odd",
            "{out}"
        );
    }
    // Nothing is wrong with what is right.
    files.write("l.cedar", POLICIES);
    let (code, out, _) = files.run(&["policy", "lint", "l.cedar", "--catalog", "catalog"]);
    assert_eq!(code, Some(0));
    assert!(out.contains("0 errors, 0 warnings, 1 notes"), "{out}");
    // What can't be read is told as `config check` tells it; and one has to name something.
    files.write("l.cedar", "permit (principal, action, resource");
    let (code, _, err) = files.run(&["policy", "lint", "l.cedar"]);
    assert_eq!(code, Some(3), "{err}");
    assert_eq!(files.run(&["policy", "lint"]).0, Some(2));
}
