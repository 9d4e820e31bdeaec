//! The commands, as a person or a test suite runs them.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::support::stack::{AUDIENCE, OTHERS, OWNERS, Options, write_config};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use devtenant::tenant::{Tenant, TenantOptions};
use envoy_types::pb::envoy::service::auth::v3::{
    AttributeContext, CheckRequest, CheckResponse, attribute_context::HttpRequest,
    attribute_context::Request, check_response::HttpResponse,
};
use prost::Message as _;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Runs `stagedoor` with this on its standard input.
fn run(args: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_stagedoor"))
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    // A program that ends early closes its input.
    let _ = writer.join().unwrap();
    output
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn lines(output: &Output) -> Vec<Value> {
    text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

struct Files {
    folder: TempDir,
    tenant: Tenant,
    now: String,
}

impl Files {
    async fn new() -> Self {
        let tenant = Tenant::start(TenantOptions::default()).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        write_config(&folder, &tenant, &Options::default()).unwrap();
        let keys = json!({ "keys": [tenant.signing_key().jwk(None)] });
        std::fs::write(folder.path().join("keys.json"), keys.to_string()).unwrap();
        let now = tenant.token().claims()["iat"].as_i64().unwrap() + 60;
        Self { folder, tenant, now: now.to_string() }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn token(&self, group: &str) -> String {
        self.tenant.token().audience(AUDIENCE).groups(&[group]).sign()
    }
}

#[tokio::test]
async fn token_verify() {
    let files = Files::new().await;
    let (config, keys) = (files.path("stagedoor.yaml"), files.path("keys.json"));
    let good = files.token(OWNERS);
    let old = files.tenant.token().audience(AUDIENCE).expires(1_700_000_000).sign();
    let args = ["token", "verify", "--config", &config, "--now", &files.now, "--keys", &keys];
    let output = run(&args, &format!("{good}\ngarbage\n\n{old}\n"));
    let verdicts = lines(&output);
    assert_eq!(output.status.code(), Some(1), "one was rejected");
    assert_eq!(verdicts.len(), 4);
    assert_eq!(verdicts[0]["verdict"], "accepted");
    assert_eq!(verdicts[0]["principal"]["groups"], json!([OWNERS]));
    assert_eq!(verdicts[0]["principal"]["kind"], "user");
    assert_eq!(verdicts[1]["reason"], "token_malformed");
    assert_eq!(verdicts[2]["reason"], "credentials_malformed");
    assert_eq!(verdicts[3]["reason"], "token_expired");
    assert!(verdicts[3]["detail"].as_str().unwrap().contains("1700000000"));

    let output = run(&args, &format!("{good}\n"));
    assert_eq!(output.status.code(), Some(0));
    // Without keys, nothing can be judged.
    let output = run(&args[..6], &format!("{good}\n"));
    assert_eq!(lines(&output)[0]["reason"], "keys_unavailable");
    assert_eq!(output.status.code(), Some(1));
}

#[tokio::test]
async fn decide() {
    let files = Files::new().await;
    let (config, keys) = (files.path("stagedoor.yaml"), files.path("keys.json"));
    let catalog = files.path("catalog");
    let check = |token: &str, method: &str| CheckRequest {
        attributes: Some(AttributeContext {
            request: Some(Request {
                http: Some(HttpRequest {
                    method: method.to_owned(),
                    host: "payments.example.com".to_owned(),
                    path: "/v1/orders?x=y".to_owned(),
                    headers: [("authorization".to_owned(), format!("Bearer {token}"))].into(),
                    ..Default::default()
                }),
                ..Default::default()
            }),
            ..Default::default()
        }),
    };
    let (owner, other) = (files.token(OWNERS), files.token(OTHERS));
    let in_json = |token: &str| {
        json!({ "attributes": { "request": { "http": {
            "method": "GET", "host": "payments.example.com", "path": "/v1/orders",
            "headers": { "authorization": format!("Bearer {token}") },
            "somethingNew": 1,
        } } } })
        .to_string()
    };
    let input = [
        in_json(&owner),
        in_json(&other),
        STANDARD.encode(check(&owner, "POST").encode_to_vec()),
        STANDARD.encode(check(&other, "POST").encode_to_vec()),
        "{}".to_owned(),
        "{ not json".to_owned(),
        "!!!".to_owned(),
        STANDARD.encode(b"\xff\xff"),
    ]
    .join("\n");
    let args = [
        "decide",
        "--config",
        &config,
        "--now",
        &files.now,
        "--keys",
        &keys,
        "--catalog",
        &catalog,
    ];
    let output = run(&args, &input);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let answers = lines(&output);
    let codes: Vec<_> = answers.iter().map(|answer| answer["reason"].as_str().unwrap()).collect();
    let bad = "request_malformed";
    assert_eq!(
        codes,
        ["permitted", "not_permitted", "permitted", "not_permitted", bad, bad, bad, bad]
    );

    // The JSON form of the reply is protobuf's.
    let allow = &answers[0]["reply"];
    let headers = allow["okResponse"]["headers"].as_array().unwrap();
    assert!(headers.iter().any(|header| header["header"]["key"] == "x-stagedoor-entity"
        && header["header"]["value"] == "component:default/payments"
        && header["appendAction"] == "OVERWRITE_IF_EXISTS_OR_ADD"));
    assert_eq!(answers[1]["reply"]["deniedResponse"]["status"]["code"], "Forbidden");
    assert_eq!(answers[1]["explanation"]["owners"][0]["title"], "Payments Team");
    assert_eq!(answers[1]["explanation"]["target"]["route"], "payments");
    assert_eq!(answers[0]["explanation"]["policies"], json!(["owners"]));

    // The other form is what Envoy would read.
    let decode = |answer: &Value| {
        let bytes = STANDARD.decode(answer["reply"].as_str().unwrap()).unwrap();
        CheckResponse::decode(bytes.as_slice()).unwrap()
    };
    assert!(matches!(decode(&answers[2]).http_response, Some(HttpResponse::OkResponse(_))));
    for answer in [&answers[3], &answers[6], &answers[7]] {
        assert!(matches!(decode(answer).http_response, Some(HttpResponse::DeniedResponse(_))));
    }
    // Without keys: cannot know.
    let output = run(&["decide", "--config", &config, "--now", &files.now], &in_json(&owner));
    assert_eq!(lines(&output)[0]["reason"], "keys_unavailable");
}

#[tokio::test(flavor = "multi_thread")]
async fn check() {
    let files = Files::new().await;
    let config = files.path("stagedoor.yaml");
    let token = |group: &str| {
        let file = files.path("token.jwt");
        std::fs::write(&file, files.token(group) + "\n").unwrap();
        file
    };
    let url = "https://payments.example.com/v1/orders";
    let ask = |token: Option<&str>, method: &str, url: &str| {
        let mut args = vec!["check", "--config", &config];
        if let Some(token) = token {
            args.extend(["--token-file", token]);
        }
        args.extend([method, url]);
        let output = run(&args, "");
        (output.status.code(), text(&output.stdout))
    };
    let (code, out) = ask(Some(&token(OWNERS)), "GET", url);
    assert_eq!(code, Some(0), "{out}");
    for want in ["allow (permitted)", "component:default/payments", "Payments Team", "owners"] {
        assert!(out.contains(want), "{out}");
    }
    let (code, out) = ask(Some(&token(OTHERS)), "GET", url);
    assert_eq!(code, Some(1));
    assert!(out.contains("deny (not_permitted)"), "{out}");
    let (code, out) = ask(None, "GET", url);
    assert_eq!((code, out.contains("deny (token_missing)")), (Some(1), true), "{out}");
    let (code, out) = ask(None, "GET", "https://payments.example.com/public/../v1");
    assert_eq!((code, out.contains("dot segment")), (Some(1), true), "{out}");
    let token = token(OWNERS);
    let args = ["check", "--json", "--config", &config, "--token-file", &token, "GET", url];
    let json: Value = serde_json::from_slice(&run(&args, "").stdout).unwrap();
    assert_eq!(json["decision"], "allow");
    assert_eq!(json["explanation"]["route"]["matched"], "payments");
    let page = files.path("why.html");
    let output = run(&[&args[..], &["--html", &page]].concat(), "");
    assert_eq!(output.status.code(), Some(0));
    let page = std::fs::read_to_string(&page).unwrap();
    assert!(page.starts_with("<!doctype html>") && page.contains("Payments Team"), "{page}");
    assert_eq!(json["explanation"]["keys_version"].as_str().unwrap().len(), 32);
}

#[tokio::test]
async fn config_check_and_schema() {
    let files = Files::new().await;
    let config = files.path("stagedoor.yaml");
    let output = run(&["config", "check", &config], "");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));

    // What it lets be used, line by line, with the sum at the end.
    let memory = run(&["config", "check", "--memory", &config], "");
    let memory = text(&memory.stdout);
    let sizes: Vec<&str> =
        memory.lines().skip(1).filter_map(|line| line.split_whitespace().next()).collect();
    // 3 * 1000 * 256 KiB of messages, 1024 * (1 MiB + 32 KiB + 64 KiB) of connections.
    assert_eq!(sizes, ["64MiB", "0", "64MiB", "750MiB", "1120MiB", "1998MiB"], "{memory}");

    // Mistakes of the file and of a policy come with their places.
    let good = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, good.replace("gate: public", "gate: pubic")).unwrap();
    let output = run(&["config", "check", &config], "");
    assert_eq!(output.status.code(), Some(3));
    let problems = text(&output.stderr);
    assert_eq!(problems.lines().count(), 2, "{problems}");
    for line in problems.lines() {
        assert!(line.starts_with(&format!("{config}:")), "{line}");
    }
    // Both in one run, and every file that can be read.
    std::fs::write(Path::new(&files.path("policy.cedar")), "permit (principal, action);").unwrap();
    let more = good
        .replace("gate: public", "gate: pubic")
        .replace("policy.cedar", "policy.cedar, missing.cedar");
    std::fs::write(&config, more).unwrap();
    let output = run(&["config", "check", &config], "");
    assert_eq!(output.status.code(), Some(3));
    let problems = text(&output.stderr);
    for part in ["stagedoor.yaml:", "policy.cedar:1:", "missing.cedar` can't be read"] {
        assert!(problems.contains(part), "{part}: {problems}");
    }
    std::fs::write(&config, &good).unwrap();
    for args in [["config", "check", &config].as_slice(), &["serve", "--config", &config]] {
        let output = run(args, "");
        assert_eq!(output.status.code(), Some(3), "{args:?}");
        assert!(text(&output.stderr).contains("policy.cedar:1:"), "{}", text(&output.stderr));
    }

    let schema: Value = serde_json::from_slice(&run(&["config", "schema"], "").stdout).unwrap();
    assert!(schema["properties"]["entra"].is_object());
    // The reference says of each setting what the schema says.
    let reference = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    let reference = std::fs::read_to_string(reference).unwrap();
    let mut count = 0;
    for (name, section) in schema["properties"].as_object().unwrap() {
        let heading = format!("## `{name}`\n");
        let (_, text) = reference.split_once(&heading).expect(name);
        let text = text.split("\n## ").next().unwrap();
        let (section, prefix) = match section.get("items") {
            Some(items) => (items, "[]"),
            None => (section, ""),
        };
        count += documented(section, prefix, text);
    }
    assert!(count > 60, "{count}");
    let rows = reference.lines().filter(|line| line.starts_with("| `")).count();
    assert_eq!(rows, count, "docs/configuration.md explains what is no setting");
}

/// gRPC goes over no proxy, which somebody who set one may not expect.
#[tokio::test]
async fn config_check_tells_of_a_proxy_that_is_not_used() {
    let tenant = Tenant::start(TenantOptions::default()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let proxy = ("HTTPS_PROXY", "http://127.0.0.1:3128");
    let (telemetry, audit) = ("telemetry.otlp_endpoint", "audit.otlp");
    for (protocol, environment, told) in [
        ("grpc", &[][..], &[][..]),
        ("grpc", &[proxy], &[telemetry, audit]),
        ("grpc", &[("all_proxy", proxy.1)], &[telemetry, audit]),
        ("http", &[proxy], &[audit]),
        ("grpc", &[proxy, ("NO_PROXY", "example.com")], &[]),
        ("grpc", &[("HTTP_PROXY", proxy.1)], &[]),
    ] {
        let to = "otlp_endpoint: 'https://traces.example.com'";
        let options = Options {
            more: format!("telemetry: {{ {to}, otlp_protocol: {protocol} }}\n"),
            audit: ", otlp: 'https://records.example.com'".to_owned(),
            ..Options::default()
        };
        let config = write_config(&folder, &tenant, &options).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_stagedoor"));
        for name in ["HTTPS_PROXY", "ALL_PROXY", "HTTP_PROXY", "NO_PROXY"] {
            command.env_remove(name).env_remove(name.to_ascii_lowercase());
        }
        command.args(["config", "check"]).arg(config).envs(environment.iter().copied());
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let said = text(&output.stderr);
        let settings: Vec<_> = said.lines().map(|line| line.split(": ").next().unwrap()).collect();
        assert_eq!(settings, told, "{protocol}, {environment:?}: {said}");
    }
}

/// What AKS, a virtual machine or a platform gives by the environment is checked like a file.
#[tokio::test]
async fn config_check_of_an_identity_from_the_environment() {
    const ENDPOINT: &str = "IDENTITY_ENDPOINT";
    const HEADER: &str = "IDENTITY_HEADER";
    const CLIENT: &str = "AZURE_CLIENT_ID";
    const TOKEN: &str = "AZURE_FEDERATED_TOKEN_FILE";
    const APP: &str = "eeeeeeee-0000-0000-0000-000000000001";
    let tenant = Tenant::start(TenantOptions::default()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("token"), "a token").unwrap();
    let check = |graph: &str, environment: &[(&str, &str)]| {
        let options = Options {
            entra: format!("  overage: graph\n  graph: {{ {graph} }}\n"),
            ..Options::default()
        };
        let config = write_config(&folder, &tenant, &options).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_stagedoor"));
        for name in [ENDPOINT, HEADER, CLIENT, TOKEN] {
            command.env_remove(name);
        }
        command.args(["config", "check"]).arg(config).envs(environment.iter().copied());
        let output = command.output().unwrap();
        (output.status.code(), text(&output.stderr))
    };
    let (aks, by_client) = ("workload_identity: true", format!("client_id: {APP}"));
    let named = format!("{by_client}, {aks}");
    let named = named.as_str();
    let machine = "managed_identity: true";
    let local = "http://169.254.130.2:8081/msi/token";
    for (graph, environment) in [
        (aks, &[(CLIENT, APP), (TOKEN, "token")][..]),
        (named, &[(TOKEN, "token")]),
        (machine, &[]),
        (machine, &[(ENDPOINT, local), (HEADER, "secret")]),
        (machine, &[(ENDPOINT, "http://localhost:42356/msi/token"), (HEADER, "secret")]),
        (machine, &[(ENDPOINT, "https://identity.example.com/token"), (HEADER, "secret")]),
    ] {
        assert_eq!(check(graph, environment).0, Some(0), "{graph} {environment:?}");
    }
    for (graph, environment, words) in [
        (
            aks,
            &[][..],
            &["the environment's `AZURE_CLIENT_ID`", "`AZURE_FEDERATED_TOKEN_FILE`"][..],
        ),
        (named, &[], &["the environment's `AZURE_FEDERATED_TOKEN_FILE`"]),
        (
            aks,
            &[(CLIENT, "me"), (TOKEN, "token")],
            &["the environment's `AZURE_CLIENT_ID`: expected a GUID"],
        ),
        (aks, &[(CLIENT, APP), (TOKEN, "none")], &["none` can't be read"]),
        (
            machine,
            &[(ENDPOINT, "http://10.0.0.1/msi/token"), (HEADER, "secret")],
            &["is neither https, nor on loopback, nor link-local"],
        ),
        (machine, &[(ENDPOINT, "somewhere"), (HEADER, "secret")], &["expected an address"]),
        (machine, &[(ENDPOINT, local)], &["the environment's `IDENTITY_HEADER`"]),
        (
            machine,
            &[(ENDPOINT, local), (HEADER, "secret\nx: y")],
            &["the environment's `IDENTITY_HEADER` is no header"],
        ),
    ] {
        let (code, said) = check(graph, environment);
        assert_eq!(code, Some(3), "{graph} {environment:?}");
        for part in words {
            assert!(said.contains(part), "{graph} {environment:?}: {said}");
        }
        assert_eq!(said.lines().count(), words.len(), "{said}");
        let (_, setting) = graph.rsplit_once(", ").unwrap_or(("", graph));
        let place = format!("entra.graph.{}: ", setting.split(':').next().unwrap());
        assert!(said.lines().all(|line| line.contains(&place)), "{said}");
        assert!(!said.contains("secret"), "{said}");
    }
}

/// Asserts that each setting below `schema` has its row; counts them.
fn documented(schema: &Value, prefix: &str, text: &str) -> usize {
    let mut count = 0;
    for (name, setting) in schema["properties"].as_object().unwrap() {
        let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        let inner = &setting["items"];
        if setting["properties"].is_object() {
            count += documented(setting, &path, text);
            continue;
        }
        let list = inner["properties"].is_object();
        let suffix = if list { "[]" } else { "" };
        let default = match &setting["default"] {
            _ if list => String::new(),
            Value::Null => String::new(),
            Value::String(text) => format!("`{text}` "),
            other => format!("`{other}` "),
        };
        let words: Vec<&str> =
            setting["description"].as_str().unwrap().split_whitespace().collect();
        let row = format!("| `{path}{suffix}` | {default}| {} |", words.join(" "));
        assert!(text.contains(&row), "missing or changed: {row}");
        count += 1;
        if list {
            count += documented(inner, &format!("{path}[]"), text);
        }
    }
    count
}

/// Every reason is explained, and nothing else is.
#[test]
fn every_reason_is_documented() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reasons.md");
    let text = std::fs::read_to_string(file).unwrap();
    let mut documented: Vec<(&str, &str)> = Vec::new();
    let mut status = "";
    for line in text.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            status = heading.split(':').next().unwrap();
        } else if let Some(row) = line.strip_prefix("| `") {
            let code = row.split('`').next().unwrap();
            // What the `type` of a denial leads to, where these pages are published.
            assert!(row.contains(&format!("<a id=\"{code}\"></a>")), "no anchor of `{code}`");
            documented.push((code, status));
        }
    }
    let statuses: Vec<String> =
        stagedoor::domain::Reason::ALL.iter().map(|reason| reason.status().to_string()).collect();
    let mut expected: Vec<(&str, &str)> = stagedoor::domain::Reason::ALL
        .iter()
        .zip(&statuses)
        .map(|(reason, status)| (reason.code(), status.as_str()))
        .chain(["permitted", "public_route", "authenticated_route"].map(|code| (code, "Allowed")))
        .collect();
    documented.sort_unstable();
    expected.sort_unstable();
    assert_eq!(documented, expected);
}

/// Everything that a person wants to know of a token, and nothing that is a secret.
#[tokio::test(flavor = "multi_thread")]
async fn token_inspect() {
    let files = Files::new().await;
    let config = files.path("stagedoor.yaml");
    let file = files.path("token.jwt");
    let inspect = |token: &str, more: &[&str]| {
        std::fs::write(&file, format!("Authorization: Bearer {token}\n")).unwrap();
        let mut args = vec!["token", "inspect", "--config", &config, "--token-file", &file];
        args.extend(more);
        let output = run(&args, "");
        let text = text(&output.stdout);
        let signature = token.rsplit_once('.').unwrap().1;
        assert!(signature.len() < 10 || !text.contains(signature), "{text}");
        (output.status.code().unwrap(), text, self::text(&output.stderr))
    };
    let good = || files.tenant.token().audience(AUDIENCE);
    let unbound = "aaaaaaaa-0000-0000-0000-0000000000ff";

    // With the keys and the catalog that `serve` would have.
    let (code, text, _) = inspect(&good().groups(&[OWNERS, unbound]).sign(), &[]);
    assert_eq!(code, 0, "{text}");
    for part in [
        "accepted",
        "kid ",
        "preferred_username",
        "ok    signature",
        "ok    audience",
        "[entra.tenants[0].audiences]",
        "1 h 10 min in all",
        &format!("{OWNERS}  group:default/payments-team (Payments Team)"),
        &format!("{unbound}  bound to no group of the catalog"),
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("FAIL"), "{text}");

    // One that has expired, for another audience, of a client that may: all of it is told.
    let now: i64 = files.now.parse().unwrap();
    let old = good().audience("api://other").issued(now - 7200).claim("exp", json!(now - 3600));
    let (code, text, _) = inspect(&old.sign(), &["--now", &files.now]);
    assert_eq!(code, 1);
    for part in [
        "refused: token_audience (401)",
        "FAIL  audience             token_audience: `aud` is \"api://other\"",
        "FAIL  valid now            token_expired: ended 1 h 0 min ago  [entra.clock_skew]",
        "ok    signature",
        "ok    kind of holder",
        "ok    grant",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    // A stranger's: what can be asked is asked.
    let stranger = Tenant::start(TenantOptions {
        id: "99999999-2222-3333-4444-555555555555".parse().unwrap(),
        ..TenantOptions::default()
    })
    .await
    .unwrap();
    let (code, text, _) = inspect(&stranger.token().groups(&[OWNERS]).sign(), &[]);
    assert_eq!(code, 1);
    let bound = format!("{OWNERS}  group:default/payments-team (Payments Team)");
    assert!(text.contains(&bound), "{text}");
    assert!(text.contains("FAIL  issuer               token_issuer:"), "{text}");
    assert!(text.contains("-     signature") || text.contains("-     key"), "{text}");
    // Tampered with, and forged.
    let tampered = devtenant::token::tamper_payload(&good().sign());
    let (_, text, _) = inspect(&tampered, &[]);
    assert!(text.contains("FAIL  signature            token_signature:"), "{text}");
    let (_, text, _) = inspect(&good().unsigned(), &[]);
    assert!(text.contains("FAIL  form and header      token_algorithm:"), "{text}");
    // Claims that play tricks with a terminal.
    let odd = good().claim("name", json!("\u{1b}[2J\u{202e}x\r\n")).sign();
    let (_, text, _) = inspect(&odd, &[]);
    assert!(!text.contains(['\u{1b}', '\u{202e}', '\r']), "{text:?}");
    // No token at all, and no network.
    let (code, text, _) = inspect("x.y.z", &["--offline"]);
    assert_eq!(code, 1);
    assert!(text.contains("can't be read"), "{text}");
    let (code, text, _) = inspect(&good().sign(), &["--offline"]);
    assert_eq!(code, 1);
    assert!(text.contains("FAIL  key is published     keys_unavailable:"), "{text}");
    let (code, text, _) = inspect(&good().sign(), &["--keys", &files.path("keys.json")]);
    assert_eq!(code, 0, "{text}");
    let output = run(&["token", "inspect", "--config", &config], "  \n");
    assert_eq!(output.status.code(), Some(1));
    assert!(self::text(&output.stderr).contains("no token"));
}
