//! `stagedoor snapshot fetch`

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};

use crate::catalog::{self, Progress, Snapshot};
use crate::config::Config;
use crate::fetch::HttpClient;

pub(super) fn run(config: &Path, out: &Path) -> anyhow::Result<ExitCode> {
    let config = crate::cli::config::load(config)?;
    let snapshot = now(&config)?;
    catalog::write_snapshot(&snapshot, out)?;
    let size = std::fs::metadata(out).map(|file| file.len()).unwrap_or(0);
    crate::cli::line(&format!(
        "{}: {size} bytes\n{}",
        out.display(),
        super::show::summary(&snapshot)
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// Reads the catalog now. A person at a terminal sees how far it is.
pub(in crate::cli) fn now(config: &Config) -> anyhow::Result<Snapshot> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the runtime can't be started")?;
    let bar = bar();
    let progress = |Progress { got, announced }: Progress| {
        bar.set_length(announced as u64);
        bar.set_position(got as u64);
    };
    let client =
        HttpClient::trusting(&config.authorities).context("the HTTP client can't be set up")?;
    let fetched = catalog::load_with_progress(&config.catalog, &client, &progress);
    let snapshot = runtime.block_on(fetched);
    bar.finish_and_clear();
    Ok(snapshot?)
}

/// Drawn on standard error, and only where that is a terminal.
fn bar() -> ProgressBar {
    let bar = ProgressBar::new(0);
    let template = "{bar:40} {pos} of {len} entities, {per_sec}, {eta} to go";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
