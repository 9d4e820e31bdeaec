//! Recorded decisions, made again by other policies.

use std::path::Path;
use std::process::{Command, Output};

use crate::support::stack::{AUDIENCE, OTHERS, OWNERS, Options, POLICY, Stack};
use serde_json::Value;

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
