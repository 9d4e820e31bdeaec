//! `stagedoor doctor --envoy`, as a person at a terminal types it, and against a real Envoy.

use std::net::SocketAddr;
use std::path::Path;

use crate::support::envoy::{Envoy, EnvoyConfig};
use serde_json::Value;
use tokio::process::Command;

async fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_stagedoor"))
        .arg("doctor")
        .args(arguments)
        .output()
        .await
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// The codes that were found, sorted, and the exit code.
async fn codes(target: &str) -> (Option<i32>, Vec<String>) {
    let (code, out, err) = run(&["--envoy", target, "--json"]).await;
    let found: Value = serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out}{err}"));
    let found = found.as_array().unwrap().iter();
    let mut codes: Vec<String> =
        found.map(|found| found["code"].as_str().unwrap().to_owned()).collect();
    codes.sort_unstable();
    (code, codes)
}

/// Nobody needs to be there: Envoy is never asked anything but its configuration.
fn nobody() -> SocketAddr {
    "127.0.0.1:9".parse().unwrap()
}

#[tokio::test]
async fn the_shipped_configurations_yield_nothing() {
    for name in ["tcp.yaml", "unix.yaml", "http.yaml"] {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("envoy").join(name);
        assert_eq!(codes(file.to_str().unwrap()).await, (Some(0), vec![]), "{name}");
    }
}

#[tokio::test]
async fn a_running_envoy() {
    let good = Envoy::start(EnvoyConfig::tcp(nobody(), nobody())).await.unwrap();
    assert_eq!(codes(&format!("http://{}", good.admin)).await, (Some(0), vec![]));

    let bad = EnvoyConfig::tcp(nobody(), nobody())
        .failure_mode_allow()
        .default_status_on_error()
        .plain_paths()
        .allow_underscores()
        .joined_headers()
        .check_timeout(std::time::Duration::from_millis(50));
    let bad = Envoy::start(bad).await.unwrap();
    let (code, found) = codes(&format!("http://{}/", bad.admin)).await;
    assert_eq!(code, Some(1));
    assert_eq!(
        found,
        [
            "encode_raw_headers",
            "escaped_slashes",
            "failure_mode_allow",
            "headers_with_underscores",
            "merge_slashes",
            "normalize_path",
            "status_on_error",
            "timeout_too_short",
        ]
    );
    // The same dump, kept in a file.
    let folder = tempfile::tempdir().unwrap();
    let dump = crate::support::envoy::raw_http(
        bad.admin,
        "GET /config_dump HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n",
    );
    let file = folder.path().join("dump.json");
    std::fs::write(&file, dump.await.unwrap().body).unwrap();
    assert_eq!(codes(file.to_str().unwrap()).await, (Some(1), found));
}

#[tokio::test]
async fn what_a_person_reads() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("envoy.yaml");
    let good = std::fs::read_to_string(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("envoy").join("tcp.yaml"),
    )
    .unwrap();
    let bad = good.replace("failure_mode_allow: false", "failure_mode_allow: true");
    std::fs::write(&file, &bad).unwrap();
    let line = bad.lines().position(|line| line.contains("failure_mode_allow: true")).unwrap() + 1;
    let file = file.to_str().unwrap();
    let (code, out, _) = run(&["--envoy", file]).await;
    assert_eq!(code, Some(1));
    for words in [
        &*format!("ERROR  failure_mode_allow     line {line}, static_resources.listeners[0]"),
        "every outage of Stagedoor",
        "→ `failure_mode_allow: false`",
        "1 errors, 0 warnings",
    ] {
        assert!(out.contains(words), "{words}: {out}");
    }
    let (_, out, _) = run(&["--envoy", file, "--json"]).await;
    let found: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(found[0]["line"], line);
    for member in ["severity", "code", "subject", "message", "why", "remedy"] {
        assert!(found[0][member].as_str().is_some_and(|text| !text.is_empty()), "{member}: {out}");
    }
}

#[tokio::test]
async fn what_cant_be_read_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let file = folder.path().join(name);
        std::fs::write(&file, text).unwrap();
        file.to_str().unwrap().to_owned()
    };
    let odd = axum::Router::new().fallback(|| async { "no JSON" });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let odd_address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, odd).await });
    for (target, words) in [
        (folder.path().join("none.yaml").to_str().unwrap().to_owned(), "none.yaml"),
        (file("broken.yaml", "a: ["), "broken.yaml"),
        (file("template.yaml", "{{ if .Values.a }}\na: 1\n{{ end }}\n"), "template.yaml"),
        (file("other.yaml", "name: a\n"), "neither an Envoy configuration"),
        (file("empty.yaml", ""), "holds nothing"),
        (file("bare.yaml", "static_resources: {}\n"), "nothing to judge"),
        ("http://10.0.0.1:9901".to_owned(), "neither https nor on loopback"),
        (format!("http://{odd_address}"), "no JSON"),
        ("http://127.0.0.1:9".to_owned(), "could not be fetched"),
    ] {
        let (code, out, err) = run(&["--envoy", &target]).await;
        assert_eq!((code, out.as_str()), (Some(1), ""), "{target}: {err}");
        assert!(err.contains(words), "{target}: {err}");
    }
    let (code, _, err) = run(&["--json"]).await;
    assert_eq!(code, Some(2), "one of both must be given: {err}");
    let config = file("stagedoor.yaml", "listen: {}\n");
    let envoy = file("envoy.yaml", "static_resources: {}\n");
    let (code, _, err) = run(&["--envoy", &envoy, "--config", &config]).await;
    assert_eq!(code, Some(3), "{err}");
}
