//! `stagedoor snapshot held`, `confirm` and `refresh`: asking a running server.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use http::StatusCode;
use serde_json::Value;

use crate::fetch::Incoming;

pub(super) fn held(config: &Path) -> anyhow::Result<ExitCode> {
    let answer = ask(config, "/status", None)?;
    let status: Value = serde_json::from_slice(&answer.body).context("the status is no JSON")?;
    let held = |member: &str| status.pointer(&format!("/catalog/held/{member}"));
    let Some(id) = held("id").and_then(Value::as_str) else {
        crate::cli::line("nothing is held back")?;
        return Ok(ExitCode::SUCCESS);
    };
    let what = held("what").and_then(Value::as_str).unwrap_or_default();
    let mut lines = vec![format!("{id}  {what}")];
    for example in held("examples").and_then(Value::as_array).into_iter().flatten() {
        lines.push(format!("  {}", example.as_str().unwrap_or_default()));
    }
    lines.push(format!(
        "\n`stagedoor snapshot confirm --config {} {id}` adopts it",
        config.display()
    ));
    crate::cli::line(&lines.join("\n"))?;
    Ok(ExitCode::FAILURE)
}

pub(super) fn confirm(config: &Path, id: &str) -> anyhow::Result<ExitCode> {
    let answer = ask(config, "/catalog/confirm", Some(serde_json::json!({ "id": id })))?;
    said(&answer)
}

pub(super) fn refresh(config: &Path) -> anyhow::Result<ExitCode> {
    let answer = ask(config, "/catalog/refresh", Some(serde_json::json!({})))?;
    said(&answer)
}

fn said(answer: &Incoming) -> anyhow::Result<ExitCode> {
    let text = String::from_utf8_lossy(&answer.body).trim().to_owned();
    if answer.status != StatusCode::ACCEPTED {
        bail!("{text}");
    }
    crate::cli::line(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn ask(config: &Path, path: &str, body: Option<Value>) -> anyhow::Result<Incoming> {
    crate::cli::admin::ask(&crate::cli::config::load(config)?, path, body)
}
