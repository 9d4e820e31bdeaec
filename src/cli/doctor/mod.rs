//! `stagedoor doctor`: an installation, looked at from end to end.

mod catalog;
mod directory;
mod envoy;
mod policies;
mod report;
mod routes;
mod tenants;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;

use crate::catalog::load_once;
use crate::fetch::HttpClient;
use report::{Report, Severity};

#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    /// The configuration file of Stagedoor. Beside `--envoy` it says the deadline and the
    /// headers that Envoy's side must fit; without it the defaults hold.
    #[arg(long, value_name = "FILE", required_unless_present = "envoy")]
    config: Option<PathBuf>,
    /// Look at the proxy instead: an Envoy configuration, a manifest of Istio or Envoy
    /// Gateway, or the address of a running Envoy's admin port, such as
    /// `http://127.0.0.1:9901`.
    #[arg(long, value_name = "FILE|ADMIN-URL")]
    envoy: Option<String>,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &DoctorArgs) -> anyhow::Result<ExitCode> {
    match (&args.envoy, &args.config) {
        (Some(target), config) => envoy::run(target, config.as_deref(), args.json),
        (None, Some(config)) => installation(config, args.json),
        (None, None) => anyhow::bail!("neither `--config` nor `--envoy` is given"),
    }
}

fn installation(file: &Path, as_json: bool) -> anyhow::Result<ExitCode> {
    let config = super::config::load(file)?;
    let policy = super::config::policy(&config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the runtime can't be started")?;
    let client =
        HttpClient::trusting(&config.authorities).context("the HTTP client can't be set up")?;
    let mut report = Report::default();
    runtime.block_on(tenants::look(&config, &client, &mut report))?;
    catalog::look_at_settings(&config, &mut report);
    match runtime.block_on(load_once(&config.catalog, &client)) {
        Ok(snapshot) => {
            let snapshot = std::sync::Arc::new(snapshot);
            catalog::look(&snapshot, &mut report);
            routes::look(&config, &snapshot, &mut report);
            policies::look(&config, &policy, &snapshot, &mut report);
            runtime.block_on(directory::look(&config, &client, &snapshot, &mut report));
        }
        Err(error) => catalog::unreadable(&error, &mut report),
    }
    tell(&report, as_json)
}

/// Prints what was found; whether it is bad is the exit code.
fn tell(report: &Report, as_json: bool) -> anyhow::Result<ExitCode> {
    super::line(&if as_json { report.json()? } else { report.text() })?;
    let bad = report.worst() == Some(Severity::Error);
    Ok(if bad { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
