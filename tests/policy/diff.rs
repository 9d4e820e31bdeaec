//! Recorded decisions, made again by other policies.

use std::path::Path;
use std::process::{Command, Output};

use crate::support::stack::{AUDIENCE, OTHERS, OWNERS, Options, POLICY, Stack, write_config};
use devtenant::tenant::{Tenant, TenantOptions};
use serde_json::{Value, json};

fn diff(old: &Path, new: &Path, more: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_stagedoor"))
        .args(["policy", "diff"])
        .args([old, new])
        .args(more)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Through Envoy, into the record, and out again: who would gain or lose what.
#[tokio::test(flavor = "multi_thread")]
async fn who_would_gain_or_lose_what() {
    let stack = Stack::start(Options::default()).await.unwrap();
    let token = |group: &str| {
        let oid = group.replace("aaaaaaaa", "bbbbbbbb");
        stack.stagedoor.tenant.token().audience(AUDIENCE).groups(&[group]).oid(&oid).sign()
    };
    for (group, method) in
        [(OWNERS, "GET"), (OWNERS, "GET"), (OWNERS, "POST"), (OTHERS, "GET"), (OTHERS, "POST")]
    {
        let bearer = format!("Bearer {}", token(group));
        let headers = [("authorization", bearer.as_str())];
        stack.ask(method, "payments.example.com", "/v1/orders", &headers).await.unwrap();
    }
    // Not decided by policies: not asked again.
    stack.ask("GET", "payments.example.com", "/healthz", &[]).await.unwrap();
    stack.stagedoor.audit(6).await.unwrap();

    let folder = stack.stagedoor.folder.path();
    let (old, new) = (folder.join("old"), folder.join("new"));
    std::fs::create_dir_all(&old).unwrap();
    std::fs::create_dir_all(new.join("more")).unwrap();
    std::fs::write(old.join("a.cedar"), POLICY).unwrap();
    let owners = r#"@id("owners-read") permit (principal, action == Action::"read", resource) when { principal in resource.owners };"#;
    let orders = r#"@id("orders-read") permit (principal in Group::"group:default/orders-team", action == Action::"read", resource);"#;
    std::fs::write(new.join("a.cedar"), owners).unwrap();
    std::fs::write(new.join("more/b.cedar"), orders).unwrap();
    let audit = folder.join("audit.jsonl").display().to_string();
    let config = folder.join("stagedoor.yaml").display().to_string();
    let from = ["--audit", audit.as_str(), "--config", &config];

    let output = diff(&old, &new, &from);
    let out = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{out}{}", text(&output.stderr));
    let (gains, loses) = out.split_once("would be kept out:").unwrap();
    assert!(gains.contains("would be let in:"), "{out}");
    for (part, person, what, by) in [
        (
            gains,
            "bbbbbbbb-0000-0000-0000-000000000004",
            "read component:default/payments",
            "by orders-read",
        ),
        (
            loses,
            "bbbbbbbb-0000-0000-0000-000000000001",
            "write component:default/payments",
            "so far by owners",
        ),
    ] {
        let line =
            part.lines().find(|line| line.contains(person)).unwrap_or_else(|| panic!("{out}"));
        assert!(line.contains(what) && line.contains(by) && line.contains("1 requests"), "{line}");
    }
    assert_eq!(gains.matches("bbbbbbbb-").count(), 1, "{out}");
    assert!(out.contains("5 of 5 decisions by policies were made again"), "{out}");

    let json: Value =
        serde_json::from_slice(&diff(&old, &new, &[&from[..], &["--json"]].concat()).stdout)
            .unwrap();
    assert_eq!(json["differences"].as_array().unwrap().len(), 2);
    assert_eq!(json["sum"]["otherwise"], 0, "the old policies decide as was recorded");

    let same = diff(&old, &old, &from);
    assert_eq!(same.status.code(), Some(0));
    assert!(text(&same.stdout).starts_with("nobody gains or loses anything"));

    std::fs::write(new.join("a.cedar"), "permit (principal, action);").unwrap();
    let broken = diff(&old, &new, &from);
    assert_eq!(broken.status.code(), Some(3));
    assert!(text(&broken.stderr).contains("a.cedar:1:"), "{}", text(&broken.stderr));
}

/// Records are decided again as far as they and the catalog tell, and each of the others is told
/// with its reason.
#[tokio::test]
async fn what_a_record_must_say_to_be_decided_again() {
    const ADA: &str = "bbbbbbbb-0000-0000-0000-000000000001";
    const BOB: &str = "bbbbbbbb-0000-0000-0000-000000000002";
    let tenant = Tenant::start(TenantOptions::default()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let config = write_config(&folder, &tenant, &Options::default()).unwrap();
    let path = |name: &str| folder.path().join(name);
    let ada = format!(
        "kind: User\nmetadata: {{ name: ada, annotations: {{ graph.microsoft.com/user-id: {ADA} }} }}\nspec: {{ memberOf: [payments-team] }}\n"
    );
    std::fs::write(path("catalog/people.yaml"), ada).unwrap();
    let record = |object: &str, more: Value| {
        let mut record = json!({
            "version": 1, "time": "2026-03-01T12:00:00.000Z", "decision_id": "d1",
            "method": "GET", "host": "payments.example.com", "path": "/v1", "route": "payments",
            "gate": "policy", "entity": "component:default/payments", "action": "read",
            "decision": "allow", "reason": "permitted", "status": 200, "latency_us": 1,
            "principal": {
                "kind": "user", "object": object,
                "tenant": "11111111-2222-3333-4444-555555555555",
            },
            "facts": { "token_issued_at": 0, "delegated": true, "groups": [OWNERS] },
        });
        for (member, value) in more.as_object().unwrap() {
            record[member] = value.clone();
        }
        record
    };
    let facts = |more: Value| {
        let mut facts = json!({ "token_issued_at": 0, "delegated": true });
        facts.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "facts": facts })
    };
    let guest = json!({
        "groups": [OWNERS], "guest": true, "home_tenant": "22222222-2222-3333-4444-555555555555",
        "client_auth": "certificate", "agent_parent": BOB,
    });
    let mut by_application = record(BOB, facts(guest));
    by_application["principal"]["client"] = json!("cccccccc-2222-3333-4444-555555555555");
    let mut elsewhere = record(ADA, facts(json!({ "groups_elsewhere": true })));
    elsewhere["action"] = json!("write");
    let mut pseudonym = record(BOB, json!({}));
    pseudonym["principal"]["client"] = json!("p1_0123456789abcdef0123456789abcdef");
    let mut unsure = record(BOB, json!({}));
    unsure["facts"]["client_auth"] = json!("magic");
    let records = [
        record(BOB, json!({})),
        // The catalog was another then.
        record(BOB, facts(json!({ "groups": [OTHERS] }))),
        by_application,
        elsewhere,
        record(BOB, facts(json!({ "groups_elsewhere": true }))),
        record(BOB, json!({ "entity": "component:default/gone" })),
        pseudonym,
        unsure,
        record(BOB, json!({ "facts": null })),
        record(BOB, json!({ "principal": null })),
    ];
    let lines: String = records.iter().map(|record| format!("{record}\n")).collect();
    std::fs::write(path("audit"), format!("{lines}torn\n")).unwrap();
    std::fs::write(path("old.cedar"), POLICY).unwrap();
    let reads = r#"permit (principal, action == Action::"read", resource) when { principal in resource.owners };"#;
    std::fs::write(path("new.cedar"), reads).unwrap();

    let (audit, config) = (path("audit").display().to_string(), config.display().to_string());
    let snapshot = path("snapshot").display().to_string();
    let fetched = Command::new(env!("CARGO_BIN_EXE_stagedoor"))
        .args(["snapshot", "fetch", "--config", &config, "--out", &snapshot])
        .output()
        .unwrap();
    assert!(fetched.status.success(), "{}", text(&fetched.stderr));
    for from in [["--config", &config], ["--snapshot", &snapshot]] {
        let more = [&["--audit", &audit][..], &from].concat();
        let output = diff(&path("old.cedar"), &path("new.cedar"), &more);
        let out = text(&output.stdout);
        assert_eq!(output.status.code(), Some(1), "{out}{}", text(&output.stderr));
        let ada =
            format!("user {ADA}  write component:default/payments  1 requests, so far by owners");
        for part in [
            ada.as_str(),
            "4 of 10 decisions by policies were made again",
            "1 were not: the token listed no groups, and the catalog doesn't know the user",
            "1 were not: the entity is not in the catalog any more",
            "2 were not: the caller is recorded by a pseudonym",
            "1 were not: what the token said is not recorded (`audit.facts`)",
            "1 were not: nobody was proven",
            "1 are recorded otherwise than the old policies decide now",
        ] {
            assert!(out.contains(part), "{part}: {out}");
        }
        assert!(!out.contains("would be let in"), "{out}");
        let strange = format!("1 line is no record: {audit}:11\n");
        assert!(text(&output.stderr).contains(&strange), "{}", text(&output.stderr));
    }
    let nothing = diff(&path("old.cedar"), &path("new.cedar"), &["--audit", &audit]);
    assert_eq!(nothing.status.code(), Some(2), "neither a catalog nor a snapshot is named");
}

/// What can't be made again is not guessed.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_recorded_is_not_guessed() {
    let audit = ", mask: [path], facts: true".to_owned();
    let stack = Stack::start(Options { audit, ..Options::default() }).await.unwrap();
    let bearer = format!(
        "Bearer {}",
        stack.stagedoor.tenant.token().audience(AUDIENCE).groups(&[OWNERS]).sign()
    );
    let headers = [("authorization", bearer.as_str())];
    stack.ask("GET", "payments.example.com", "/v1/orders", &headers).await.unwrap();
    stack.stagedoor.audit(1).await.unwrap();
    let folder = stack.stagedoor.folder.path();
    let (old, new) = (folder.join("old.cedar"), folder.join("new.cedar"));
    std::fs::write(&old, POLICY).unwrap();
    std::fs::write(
        &new,
        r#"permit (principal, action, resource) when { context.path like "/v2/*" };"#,
    )
    .unwrap();
    let audit = folder.join("audit.jsonl").display().to_string();
    let config = folder.join("stagedoor.yaml").display().to_string();
    let output = diff(&old, &new, &["--audit", &audit, "--config", &config]);
    let out = text(&output.stdout);
    assert!(out.contains("0 of 1 decisions"), "{out}");
    assert!(out.contains("1 were not: a masked member may matter"), "{out}");
    // Where nothing reads the path, nothing is missed.
    std::fs::write(&new, r#"forbid (principal, action, resource);"#).unwrap();
    let output = diff(&old, &new, &["--audit", &audit, "--config", &config]);
    assert!(text(&output.stdout).contains("1 of 1 decisions"), "{}", text(&output.stdout));
    assert_eq!(output.status.code(), Some(1));
}
