//! `stagedoor doctor` and `stagedoor snapshot`, as a person at a terminal types them.

use std::path::Path;
use std::process::Output;

use crate::support::stack::{Options, Stagedoor, write_config};
use devtenant::backstage::{Backstage, BackstageOptions, Fault, component, group, user};
use devtenant::tenant::{Tenant, TenantOptions};
use serde_json::Value;
use tokio::process::Command;

const TEAM: &str = "aaaaaaaa-0000-0000-0000-000000000001";
const PARENT: &str = "aaaaaaaa-0000-0000-0000-000000000002";
const ADA: &str = "bbbbbbbb-0000-0000-0000-000000000001";
const BOB: &str = "bbbbbbbb-0000-0000-0000-000000000002";

async fn run(folder: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_stagedoor"))
        .args(arguments)
        .current_dir(folder)
        .output()
        .await
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

/// What the doctor found, as severity and code.
async fn doctor(folder: &Path) -> (Option<i32>, Vec<(String, String, String)>) {
    let (code, out, err) = run(folder, &["doctor", "--config", "stagedoor.yaml", "--json"]).await;
    let found: Value = serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out}{err}"));
    let text = |found: &Value, name: &str| found[name].as_str().unwrap_or_default().to_owned();
    let found = found
        .as_array()
        .unwrap()
        .iter()
        .map(|found| (text(found, "severity"), text(found, "code"), text(found, "subject")));
    (code, found.collect())
}

/// No proxy can say over HTTP what a request is about.
#[tokio::test]
async fn without_routes_nobody_is_let_in_over_http() {
    let tenant = Tenant::start(TenantOptions::default()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        listen: ", http: [\"127.0.0.1:0\"]".to_owned(),
        more: "http_authorization: { dialect: nginx }\n".to_owned(),
        ..Options::default()
    };
    let file = write_config(&folder, &tenant, &options).unwrap();
    let says = async || {
        let (_, found) = doctor(folder.path()).await;
        found.iter().any(|(_, code, _)| code == "http_without_routes")
    };
    assert!(!says().await);
    let text = std::fs::read_to_string(&file).unwrap();
    let is_kept = |line: &&str| *line != "routes:" && !line.starts_with("  - { name:");
    let without: String = text.lines().filter(is_kept).map(|line| format!("{line}\n")).collect();
    std::fs::write(&file, without).unwrap();
    assert!(says().await);
}

#[tokio::test]
async fn what_the_doctor_finds() {
    let tenant = Tenant::start(TenantOptions::default()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let more = "catalog_routes:\n  delegations:\n    - { hosts: [\"*.teams.example.com\"], namespace: default }\n";
    write_config(&folder, &tenant, &Options { more: more.to_owned(), ..Options::default() })
        .unwrap();
    let bad = "---\nkind: Group\nmetadata: { name: unbound }\nspec: { type: team, children: [] }\n\
        ---\nkind: Component\nmetadata: { name: lost }\nspec: { owner: nobody }\n\
        ---\nkind: Component\nmetadata:\n  name: claims\n  annotations: { stagedoor.dev/hosts: \
        elsewhere.example.com }\nspec: { owner: unbound }\n\
        ---\nkind: User\nmetadata: { name: eve }\nspec: { memberOf: [unbound] }\n";
    std::fs::write(folder.path().join("catalog/bad.yaml"), bad).unwrap();
    let policy = "permit (principal, action, resource == Component::\"component:default/gone\");\n";
    let file = folder.path().join("policy.cedar");
    let known = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{known}@id(\"odd\") {policy}")).unwrap();
    let (code, found) = doctor(folder.path()).await;
    assert_eq!(code, Some(0), "{found:?}");
    for (severity, code, subject) in [
        ("info", "keys", tenant.issuer_v2().as_str()),
        ("info", "freshness", "catalog"),
        ("warning", "overage_denied", "entra.overage"),
        ("warning", "audience_not_a_client", tenant.id().to_string().as_str()),
        ("warning", "dangling", "component:default/lost"),
        ("warning", "no_owner", "component:default/lost"),
        ("warning", "team_without_group", "group:default/unbound"),
        ("info", "user_without_id", "user:default/eve"),
        ("warning", "claim", "component:default/claims"),
        ("warning", "policy_names_nothing", "odd"),
    ] {
        let one = (severity.to_owned(), code.to_owned(), subject.to_owned());
        assert!(found.contains(&one), "{one:?} {found:#?}");
    }

    // A route to what is not there does not work.
    let config = folder.path().join("stagedoor.yaml");
    let text = std::fs::read_to_string(&config).unwrap();
    let text = text
        .replace("entity: \"component:default/payments\"", "entity: \"component:default/paymnts\"");
    std::fs::write(&config, text).unwrap();
    let (code, out, _) = run(folder.path(), &["doctor", "--config", "stagedoor.yaml"]).await;
    assert_eq!(code, Some(1), "{out}");
    assert!(out.contains("route_without_entity"), "{out}");
    assert!(out.contains("`component:default/payments` is"), "the nearest is named: {out}");
}

/// The directory and the catalog side by side.
#[tokio::test]
async fn groups_that_only_one_side_has() {
    const APP: &str = "eeeeeeee-0000-0000-0000-000000000001";
    let listed = |number: usize, name: &str| {
        let id = format!("aaaaaaaa-0000-0000-0000-{number:012}");
        serde_json::json!({ "id": id, "display_name": name })
    };
    // The first is Payments Team's, the fourth Orders Team's; the second and third are gone.
    let groups = [listed(1, "payments team"), listed(4, "Order Fulfilment"), listed(9, "Cooks")];
    let people = serde_json::json!({ "people": [], "groups": groups });
    let people = serde_json::from_value(people).unwrap();
    let options = TenantOptions { people, ..TenantOptions::default() };
    let tenant = Tenant::start(options).await.unwrap();
    tenant.applications().secret(APP, "the secret");
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("secret"), "the secret").unwrap();
    let options = Options {
        entra: format!("  overage: graph\n  graph: {{ client_id: {APP}, secret_file: secret }}\n"),
        tenant: format!("      graph_url: {}\n", tenant.graph_url()),
        ..Options::default()
    };
    write_config(&folder, &tenant, &options).unwrap();
    let (_, found) = doctor(folder.path()).await;
    let about = |code: &str| -> Vec<String> {
        found.iter().filter(|found| found.1 == code).map(|found| found.2.clone()).collect()
    };
    assert_eq!(about("names_differ"), ["group:default/orders-team"]);
    assert_eq!(about("group_gone"), ["group:default/refunds", "group:default/refunds-oncall"]);
    assert_eq!(about("groups_without_team"), ["entra"]);
    assert!(about("overage_denied").is_empty());

    // Without the right secret nothing can be compared, nor groups be looked up.
    std::fs::write(folder.path().join("secret"), "another").unwrap();
    let (code, found) = doctor(folder.path()).await;
    assert_eq!(code, Some(1));
    assert!(found.iter().any(|found| found.1 == "graph_unavailable"), "{found:?}");
}

#[tokio::test]
async fn what_is_down_is_named() {
    let tenant = Tenant::start(TenantOptions::default()).await.unwrap();
    let backstage = Backstage::start(BackstageOptions {
        token: Some("a-good-token".to_owned()),
        entities: vec![group("team", Some(TEAM), None), component("orders", "team")],
        ..BackstageOptions::default()
    })
    .await
    .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let catalog = format!(
        "catalog:\n  backstage: {{ url: \"{}\", token_file: token, crawl_timeout: 5s }}\n",
        backstage.url()
    );
    let options = Options { catalog: Some(catalog), ..Options::default() };
    std::fs::write(folder.path().join("token"), "a-wrong-token").unwrap();
    write_config(&folder, &tenant, &options).unwrap();
    for (token, fault, want) in [
        ("a-wrong-token", None, "unauthorized"),
        ("a-good-token", Some(Fault::Empty), "empty"),
        ("a-good-token", Some(Fault::Status(403)), "forbidden"),
        ("a-good-token", Some(Fault::Status(404)), "not_found"),
        ("a-good-token", Some(Fault::Html), "content_type"),
        ("a-good-token", Some(Fault::Truncated), "cut_off"),
    ] {
        std::fs::write(folder.path().join("token"), token).unwrap();
        backstage.set_fault(fault);
        let (code, found) = doctor(folder.path()).await;
        assert_eq!(code, Some(1), "{want}");
        let unreadable = |found: &&(String, String, String)| found.1 == "catalog_unreadable";
        let found = found.iter().find(unreadable).expect(want);
        assert_eq!((found.0.as_str(), found.2.as_str()), ("error", want));
    }
    drop(tenant);
    let (_, found) = doctor(folder.path()).await;
    assert!(found.iter().any(|found| found.1 == "keys_unavailable"), "{found:?}");
}

/// Fetched, shown, asked, compared.
#[tokio::test]
async fn questions_of_a_snapshot() {
    let entities = |owner: &str| {
        vec![
            group("division", Some(PARENT), None),
            group("team", Some(TEAM), Some("division")),
            group("other", None, None),
            user("ada", ADA, &["team"]),
            user("bob", BOB, &[]),
            component("orders", owner),
        ]
    };
    let tenant = Tenant::start(TenantOptions::default()).await.unwrap();
    let backstage = Backstage::start(BackstageOptions {
        entities: entities("division"),
        ..BackstageOptions::default()
    })
    .await
    .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let catalog = format!(
        "catalog:\n  membership: catalog\n  backstage: {{ url: \"{}\" }}\n",
        backstage.url()
    );
    let options = Options { catalog: Some(catalog), ..Options::default() };
    write_config(&folder, &tenant, &options).unwrap();
    let folder = folder.path();
    let fetch = async |out: &str| {
        let (code, said, err) =
            run(folder, &["snapshot", "fetch", "--config", "stagedoor.yaml", "--out", out]).await;
        assert_eq!(code, Some(0), "{said}{err}");
        said
    };
    let said = fetch("before").await;
    assert!(said.contains("groups     3, 2 of them bound"), "{said}");

    let (code, out, _) = run(folder, &["snapshot", "show", "before", "--json"]).await;
    assert_eq!(code, Some(0));
    let shown: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(shown["entities"][0]["ref"], "component:default/orders");
    assert_eq!(shown["entities"][0]["owners"][0], "group:default/division");
    assert_eq!(shown["groups"][2]["ancestors"][0], "group:default/division");
    assert_eq!(shown["users"][0]["id"], ADA);

    let orders = "component:default/orders";
    let who = ["snapshot", "who", "--config", "stagedoor.yaml", orders];
    let (code, out, err) = run(folder, &who).await;
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("by group:default/team → group:default/division"), "{out}");
    assert!(out.contains("user:default/ada  ada  may read, write, admin"), "{out}");
    assert!(!out.contains("user:default/bob"), "{out}");

    let why = async |who: &str| {
        let arguments = ["snapshot", "why", "--snapshot", "before", who, orders];
        let (code, out, err) = run(folder, &arguments).await;
        (code, out + &err)
    };
    for who in ["user:default/ada", ADA, "group:default/team", TEAM] {
        let (code, out) = why(who).await;
        assert_eq!(code, Some(0), "{out}");
        assert!(out.contains("owns it by group:default/team → group:default/division"), "{out}");
    }
    let (code, out) = why("user:default/bob").await;
    assert_eq!(code, Some(1), "{out}");
    assert!(out.contains("owned by group:default/division"), "{out}");
    let (code, out) = why("user:default/carol").await;
    assert_eq!(code, Some(1));
    assert!(out.contains("is no user and no group"), "{out}");
    let (_, _, err) =
        run(folder, &["snapshot", "who", "--snapshot", "before", "component:default/ordrs"]).await;
    assert!(err.contains("did you mean `component:default/orders`"), "{err}");

    backstage.set_entities(entities("team"));
    fetch("after").await;
    let (code, out, _) = run(folder, &["snapshot", "diff", "before", "after"]).await;
    assert_eq!(code, Some(1));
    assert_eq!(
        out,
        "- owner_removed   component:default/orders  group:default/division\n\
         + owner_added     component:default/orders  group:default/team\n"
    );
    let (code, out, _) = run(folder, &["snapshot", "diff", "after", "after"]).await;
    assert_eq!((code, out.as_str()), (Some(0), "the two say the same\n"));

    // A damaged file is named.
    std::fs::write(folder.join("after"), "no snapshot").unwrap();
    let (code, _, err) = run(folder, &["snapshot", "show", "after"]).await;
    assert_eq!(code, Some(1));
    assert!(err.contains("`after`: not a snapshot"), "{err}");
}

/// Somebody who owns something in person, somebody who is nearly there, and what of the catalog
/// is not believed.
#[tokio::test]
async fn questions_of_people() {
    let person = |number: usize, name: &str, teams: &str| {
        let id = format!("bbbbbbbb-0000-0000-0000-{number:012}");
        format!(
            "---\nkind: User\nmetadata: {{ name: {name}, annotations: {{ graph.microsoft.com/user-id: {id} }} }}\nspec: {{ memberOf: [{teams}] }}\n"
        )
    };
    let mut more = person(1, "ada", "orders-team") + &person(2, "bob", "refunds-desk");
    more.push_str(
        "---\nkind: User\nmetadata: { name: eve }\nspec: { memberOf: [payments-team] }\n",
    );
    more.push_str("---\nkind: Group\nmetadata: { name: refunds-desk }\nspec: { type: team, parent: payments-team, children: [] }\n");
    more.push_str("---\nkind: Group\nmetadata: { name: alone }\nspec: { type: team, children: [], members: [zoe] }\n");
    more.push_str(&person(3, "zoe", ""));
    more.push_str("---\nkind: Component\nmetadata: { name: notes }\nspec: { owner: 'user:ada' }\n");
    more.push_str("---\nkind: Component\nmetadata:\n  name: shop\n  annotations: { stagedoor.dev/hosts: shop.example.com }\nspec: { owner: refunds }\n");
    more.push_str(
        "---\nkind: Component\nmetadata: { name: desk }\nspec: { owner: refunds-desk }\n",
    );
    for number in 0..25 {
        more.push_str(&format!(
            "---\nkind: Component\nmetadata: {{ name: lost-{number} }}\nspec: {{ owner: nobody }}\n"
        ));
    }
    for number in 1000..1205 {
        more.push_str(&person(number, &format!("p{number}"), "orders-team"));
    }
    let tenant = Tenant::start(TenantOptions::default()).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    write_config(&directory, &tenant, &Options::default()).unwrap();
    let folder = directory.path();
    std::fs::write(folder.join("catalog/more.yaml"), more).unwrap();
    let fetch = ["snapshot", "fetch", "--config", "stagedoor.yaml", "--out", "now"];
    let (code, _, err) = run(folder, &fetch).await;
    assert_eq!(code, Some(0), "{err}");

    let (code, out, _) = run(folder, &["snapshot", "show", "now"]).await;
    assert_eq!(code, Some(0));
    assert!(out.contains("findings   25\n  25 dangling\n"), "{out}");
    assert!(out.contains("  dangling  component:default/lost-0: "), "{out}");
    assert_eq!(out.matches("component:default/lost-").count(), 20, "{out}");
    assert!(out.ends_with("  …  `--json` shows all\n"), "{out}");
    let (_, out, _) = run(folder, &["snapshot", "show", "now", "--json"]).await;
    let shown: Value = serde_json::from_str(&out).unwrap();
    let findings = shown["findings"].as_array().unwrap();
    assert_eq!(findings.len(), 25);
    assert_eq!(findings[0]["entity"], "component:default/lost-0");
    assert_eq!(findings[0]["kind"], "dangling");
    let entities = shown["entities"].as_array().unwrap();
    let shop = entities.iter().find(|one| one["ref"] == "component:default/shop").unwrap();
    assert_eq!(shop["claim"]["hosts"], "shop.example.com");

    let why = async |more: &[&str], who: &str, entity: &str| {
        let all = [&["snapshot", "why"], more, &[who, entity]].concat();
        let (code, out, err) = run(folder, &all).await;
        (code, out + &err)
    };
    let now = ["--snapshot", "now"];
    let both = ["--snapshot", "now", "--config", "stagedoor.yaml"];
    let (code, out) = why(&both, "user:default/ada", "component:default/notes").await;
    assert_eq!(code, Some(0), "{out}");
    assert!(out.contains("owns it in person"), "{out}");
    assert!(out.contains("by the policies they may "), "{out}");
    assert!(!out.contains("bound to no user"), "{out}");
    // Up and down again.
    let (code, out) = why(&both, "user:default/bob", "component:default/shop").await;
    assert_eq!(code, Some(1), "{out}");
    let way = "nearest: group:default/refunds-desk – group:default/payments-team – group:default/refunds\n";
    assert!(out.contains(way), "{out}");
    let (_, out) = why(&now, "user:default/zoe", "component:default/shop").await;
    assert!(out.contains("none of their groups is anywhere near"), "{out}");
    let (_, out) = why(&now, "user:default/ada", "component:default/lost-7").await;
    assert!(out.contains("owned by nobody"), "{out}");
    assert!(out.contains("not believed: component:default/lost-7: "), "{out}");
    assert!(!out.contains("lost-8"), "{out}");
    let (code, out) = why(&both, "user:default/eve", "component:default/payments").await;
    assert_eq!(code, Some(0), "{out}");
    let unbound = "they may nothing: they are bound to no user of the directory";
    assert!(out.contains(unbound), "{out}");
    let (_, out) = why(&now, "user:default/ada", "system:elsewhere/xyzzyplugh").await;
    assert!(out.contains("`system:elsewhere/xyzzyplugh` is not in the snapshot"), "{out}");
    assert!(!out.contains("did you mean"), "nothing is like it: {out}");

    let who = async |more: &[&str], entity: &str| {
        let (code, out, err) = run(folder, &[&["snapshot", "who"], more, &[entity]].concat()).await;
        assert_eq!(code, Some(0), "{out}{err}");
        out
    };
    let out = who(&now, "component:default/orders").await;
    assert!(out.contains("people, as the catalog has them: 206"), "{out}");
    assert!(out.ends_with("  … and 6 more\n"), "{out}");
    let out = who(&now, "component:default/desk").await;
    assert!(out.contains("refunds-desk (bound to no group of the directory)"), "{out}");
    assert!(!out.contains("may "), "no policies were named: {out}");
    assert!(who(&now, "component:default/lost-7").await.contains("owned by nobody"));

    std::fs::write(folder.join("catalog/more.yaml"), person(1, "ada", "orders-team")).unwrap();
    let fetch = ["snapshot", "fetch", "--config", "stagedoor.yaml", "--out", "later"];
    let (code, _, err) = run(folder, &fetch).await;
    assert_eq!(code, Some(0), "{err}");
    let (code, out, _) = run(folder, &["snapshot", "diff", "now", "later", "--json"]).await;
    assert_eq!(code, Some(1));
    let changes: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |change: &str, entity: &str| {
        changes.iter().any(|one| one["change"] == change && one["entity"] == entity)
    };
    assert!(of("removed", "component:default/shop"), "{out}");
    assert!(!changes.iter().any(|one| one["entity"] == "component:default/orders"), "{out}");
    let (code, out, _) = run(folder, &["snapshot", "diff", "now", "now", "--json"]).await;
    assert_eq!((code, out.as_str()), (Some(0), ""));
}

/// What is accepted of tenants that nobody listed, and a directory of a kind of its own.
#[tokio::test]
async fn what_the_doctor_finds_of_tenants() {
    let tenant = Tenant::start(TenantOptions::default()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let other = "99999999-2222-3333-4444-555555555555";
    let several = |which: &str, name: &str| {
        let authority = tenant.authority();
        format!(
            "    - {which}\n      authority: {authority}\n      issuer_v1: \"{authority}/{name}/{{tenantid}}/\"\n      versions: [v1]\n      audiences: [\"api://{name}\"]\n"
        )
    };
    let more = [
        "      dangerously_accept_tokens_without_scope_or_role: true\n".to_owned(),
        several(&format!("allowed_tenants: [{other}]"), "listed"),
        several("dangerously_allow_any_tenant: true", "any"),
    ]
    .concat();
    let options = Options { tenant: more, ..Options::default() };
    let file = write_config(&folder, &tenant, &options).unwrap();
    let (_, found) = doctor(folder.path()).await;
    let about = |code: &str| -> Vec<String> {
        found.iter().filter(|found| found.1 == code).map(|found| found.2.clone()).collect()
    };
    let own = tenant.id().to_string();
    assert_eq!(about("any_tenant"), ["any tenant"], "{found:?}");
    assert_eq!(about("no_grant_required"), [own.as_str()]);
    // Tokens of v1.0 carry what was asked for.
    assert_eq!(about("audience_not_a_client"), [own.as_str()]);
    assert_eq!(about("overage_denied"), ["entra.overage"]);
    // Who is in a group the catalog says, and no token has to.
    let text = std::fs::read_to_string(&file).unwrap();
    let catalog = text.replace("catalog: { folder", "catalog: { membership: catalog, folder");
    assert_ne!(catalog, text);
    std::fs::write(&file, catalog).unwrap();
    let (_, found) = doctor(folder.path()).await;
    assert!(!found.iter().any(|found| found.1 == "overage_denied"), "{found:?}");
}

/// Each kind of thing in a catalog that grants nothing has its name; a catalog that can't be
/// read is an error.
#[tokio::test]
async fn what_the_doctor_finds_of_a_folder() {
    let tenant = Tenant::start(TenantOptions::default()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    write_config(&folder, &tenant, &Options::default()).unwrap();
    let claims = "a".repeat(70_000);
    let text = format!(
        "kind: User\nmetadata: {{ name: ada, annotations: {{ graph.microsoft.com/user-id: someone }} }}\nspec: {{}}\n\
         ---\nkind: Group\nmetadata: {{ name: double, annotations: {{ graph.microsoft.com/group-id: {TEAM} }} }}\nspec: {{ type: team, children: [] }}\n\
         ---\nkind: Component\nmetadata: {{ name: payments }}\nspec: {{ owner: orders-team }}\n\
         ---\nkind: Component\nmetadata: {{ name: wide, annotations: {{ stagedoor.dev/hosts: {claims} }} }}\nspec: {{ owner: orders-team }}\n"
    );
    let file = folder.path().join("catalog/bad.yaml");
    std::fs::write(&file, text).unwrap();
    let (_, found) = doctor(folder.path()).await;
    for (code, subject) in [
        ("invalid_id", "user:default/ada"),
        ("repeated", "component:default/payments"),
        ("route", "component:default/wide"),
    ] {
        let one = ("warning".to_owned(), code.to_owned(), subject.to_owned());
        assert!(found.contains(&one), "{one:?} {found:#?}");
    }
    assert!(found.iter().any(|found| found.1 == "ambiguous"), "{found:#?}");

    let unreadable = async |why: &str| {
        let (code, found) = doctor(folder.path()).await;
        assert_eq!(code, Some(1), "{why}: {found:?}");
        assert!(found.iter().any(|found| found.1 == "catalog_unreadable"), "{why}: {found:?}");
    };
    std::fs::write(&file, "kind: [").unwrap();
    unreadable("no YAML").await;
    std::fs::remove_file(&file).unwrap();
    std::fs::write(folder.path().join("catalog/catalog-info.yaml"), "# nothing\n").unwrap();
    unreadable("no group").await;
}

/// What Stagedoor is configured with is what its proxy is judged by.
#[tokio::test]
async fn a_proxy_is_judged_by_the_configuration() {
    let tenant = Tenant::start(TenantOptions::default()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        more: "check: { deadline: 1s }\nanswer: { headers: { subject: x-user } }\n".to_owned(),
        ..Options::default()
    };
    write_config(&folder, &tenant, &options).unwrap();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("envoy/tcp.yaml");
    let text = std::fs::read_to_string(shipped).unwrap();
    let host = "                      domains: [\"*\"]\n";
    let added = "                      request_headers_to_add: [{ header: { key: x-user, value: root } }]\n";
    let text = text.replace(host, &format!("{host}{added}"));
    assert!(text.contains(added));
    std::fs::write(folder.path().join("envoy.yaml"), text).unwrap();
    let judged = async |more: &[&str]| {
        let all = [&["doctor", "--envoy", "envoy.yaml", "--json"], more].concat();
        let (code, out, err) = run(folder.path(), &all).await;
        let found: Value = serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out}{err}"));
        let codes = found.as_array().unwrap().iter().map(|one| one["code"].as_str().unwrap());
        (code, codes.map(str::to_owned).collect::<Vec<_>>())
    };
    assert_eq!(judged(&[]).await, (Some(0), vec![]));
    let (code, found) = judged(&["--config", "stagedoor.yaml"]).await;
    assert_eq!(
        (code, found.as_slice()),
        (Some(1), &["identity_header_added".to_owned(), "timeout_too_short".to_owned()][..])
    );
    let (code, _, _) = run(folder.path(), &["doctor"]).await;
    assert_eq!(code, Some(2), "there is nothing to look at");
}

/// A running server says what it holds back, and adopts it when it is told to.
#[tokio::test]
async fn held_and_confirmed() {
    let tenant = Tenant::start(TenantOptions::default()).await.unwrap();
    // The same entities each time, by their uids.
    let first = vec![
        group("team", Some(TEAM), None),
        group("other", Some(PARENT), None),
        component("payments", "team"),
    ];
    let backstage = Backstage::start(BackstageOptions {
        entities: first.clone(),
        ..BackstageOptions::default()
    })
    .await
    .unwrap();
    let catalog = format!(
        "catalog:\n  refresh_every: 1s\n  guard: {{ adopt_after: 10000 }}\n  backstage: {{ url: \
         \"{}\" }}\n",
        backstage.url()
    );
    let options = Options { catalog: Some(catalog), ..Options::default() };
    let stagedoor = Stagedoor::start_with(tenant, options).await.unwrap();
    stagedoor.await_ready().await.unwrap();
    let version = stagedoor.await_other_snapshot(None).await.unwrap();
    // The commands find the port that was really bound.
    let admin = stagedoor.admin.to_string();
    let config = stagedoor.folder.path().join("stagedoor.yaml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("admin: \"127.0.0.1:0\"", &format!("admin: \"{admin}\"")))
        .unwrap();
    let folder = stagedoor.folder.path();
    let snapshot = async |arguments: &[&str]| {
        let all = [&["snapshot"], arguments, &["--config", "stagedoor.yaml"]].concat();
        run(folder, &all).await
    };
    let (code, out, err) = snapshot(&["held"]).await;
    assert_eq!((code, out.as_str()), (Some(0), "nothing is held back\n"), "{err}");

    let mut reassigned = first;
    reassigned[2]["relations"][0]["targetRef"] = Value::from("group:default/other");
    backstage.set_entities(reassigned);
    let id = loop {
        let (code, out, _) = snapshot(&["held"]).await;
        if code == Some(1) {
            assert!(out.contains("1 of 1 entities would change owners"), "{out}");
            assert!(out.contains("owner_added component:default/payments"), "{out}");
            break out.split_whitespace().next().unwrap().to_owned();
        }
        assert_eq!(code, Some(0));
    };
    let (code, _, err) = snapshot(&["confirm", "0000000000000000"]).await;
    assert_eq!(code, Some(1));
    assert!(err.contains("something else is held back"), "{err}");
    let (code, out, err) = snapshot(&["confirm", &id]).await;
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("confirmed"), "{out}");
    stagedoor.await_other_snapshot(Some(&version)).await.unwrap();
    // Not for a page in a browser, however it got here.
    let client = stagedoor::fetch::HttpClient::new().unwrap();
    let url: url::Url = format!("http://{admin}/catalog/refresh").parse().unwrap();
    for (header, want) in [(None, 202), (Some("origin"), 403), (Some("sec-fetch-site"), 403)] {
        let headers = header.map(|name: &'static str| {
            (http::HeaderName::from_static(name), http::HeaderValue::from_static("http://evil"))
        });
        let body = Some(stagedoor::fetch::Body::Json(serde_json::json!({})));
        let headers = headers.into_iter().collect();
        let request = stagedoor::fetch::Outgoing { url: &url, headers, body };
        let limits = stagedoor::fetch::Limits {
            timeout: std::time::Duration::from_secs(30),
            max_bytes: 1000,
        };
        let answer = stagedoor::fetch::Exchange::exchange(&client, request, limits).await.unwrap();
        assert_eq!(answer.status.as_u16(), want, "{header:?}");
    }
}
