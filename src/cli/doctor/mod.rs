//! `stagedoor doctor`: an installation, looked at from end to end.

mod catalog;
mod directory;
mod policies;
mod report;
mod routes;
mod tenants;

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;

use crate::catalog::load_once;
use crate::fetch::HttpClient;
use report::{Report, Severity};

pub(super) fn run(file: &Path, as_json: bool) -> anyhow::Result<ExitCode> {
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
    super::line(&if as_json { report.json()? } else { report.text() })?;
    let bad = report.worst() == Some(Severity::Error);
    Ok(if bad { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
