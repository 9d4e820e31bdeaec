//! `stagedoor policy lint`

use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct LintArgs {}

pub(super) fn run(_args: &LintArgs) -> anyhow::Result<ExitCode> {
    Ok(ExitCode::SUCCESS)
}
