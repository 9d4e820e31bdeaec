//! `stagedoor token verify`

use std::io::BufRead as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;

use crate::clock::Now;
use crate::domain::{Credentials, Identity};

#[derive(Debug, Subcommand)]
pub(super) enum TokenCommand {
    /// Judge tokens without any network: one a line on standard input, one JSON line
    /// each on standard output. Exits with 1 if any is rejected.
    Verify(VerifyArgs),
}

#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The time to judge at, in seconds since 1970.
    #[arg(long, value_name = "UNIX")]
    now: i64,
    /// The signing keys: a JSON web key set, taken for every configured issuer, or
    /// `{"issuers": {"<issuer>": {"keys": […]}}}`. Without it no key is known.
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
}

pub(super) fn run(command: &TokenCommand) -> anyhow::Result<ExitCode> {
    let TokenCommand::Verify(args) = command;
    let config = super::config::load(&args.config)?;
    let now = Now::at(args.now);
    let authenticator = super::offline::authenticator(&config, args.keys.as_deref(), now)?;
    let mut rejected = false;
    for token in std::io::stdin().lock().lines() {
        let token = token?;
        let credentials = Credentials::One(format!("Bearer {token}").into());
        let verdict = match authenticator.authenticate_offline(&credentials, now) {
            Ok(identity) => json!({ "verdict": "accepted", "principal": principal(&identity) }),
            Err(denial) => {
                rejected = true;
                json!({
                    "verdict": "rejected",
                    "reason": denial.reason.code(),
                    "status": denial.reason.status(),
                    "detail": denial.detail,
                })
            }
        };
        super::line(&verdict.to_string())?;
    }
    Ok(if rejected { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// What a token proves, for people and programs.
pub(super) fn principal(identity: &Identity) -> serde_json::Value {
    json!({
        "kind": identity.kind.as_str(),
        "tenant": identity.tenant.to_string(),
        "object": identity.object.to_string(),
        "client": identity.client.map(|client| client.to_string()),
        "groups": identity.groups.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "group_names": identity.group_names,
        "roles": identity.roles,
        "scopes": identity.scopes,
        "issued_at": identity.issued_at,
        "expires_at": identity.expires_at,
    })
}
