//! `stagedoor token verify`

use std::io::BufRead as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;

use crate::clock::Now;
use crate::domain::{ClientAuth, Credentials, Identity};

#[derive(Debug, Subcommand)]
pub(super) enum TokenCommand {
    /// Judge tokens without any network: one a line on standard input, one JSON line
    /// each on standard output. Exits with 1 if any is rejected.
    Verify(VerifyArgs),
    /// Lay one token open: its header and claims, every rule it passes or fails and by how
    /// much, which setting decides, and what its groups are bound to. Also for tokens that
    /// have expired or are not for you. Exits with 1 if it is not accepted. Never shows the
    /// signature.
    Inspect(super::inspect::InspectArgs),
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
    let args = match command {
        TokenCommand::Verify(args) => args,
        TokenCommand::Inspect(args) => return super::inspect::run(args),
    };
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
        "delegated": identity.delegated,
        "tenant": identity.tenant.to_string(),
        "object": identity.object.to_string(),
        "client": identity.client.map(|client| client.to_string()),
        "groups": identity.groups().iter().map(ToString::to_string).collect::<Vec<_>>(),
        "group_names": identity.group_names,
        "groups_elsewhere": identity.groups_elsewhere,
        "roles": identity.roles,
        "scopes": identity.scopes,
        "issued_at": identity.issued_at,
        "expires_at": identity.expires_at,
        "guest": identity.facts.guest,
        "home_tenant": identity.facts.home_tenant.map(|tenant| tenant.to_string()),
        "directory_roles": identity.facts.directory_roles,
        "auth_contexts": identity.facts.auth_contexts,
        "client_auth": identity.facts.client_auth.map(ClientAuth::as_str),
        "agent_parent": identity.facts.agent_parent.map(|parent| parent.to_string()),
    })
}
