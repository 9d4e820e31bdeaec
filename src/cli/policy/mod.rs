//! `stagedoor policy`

mod diff;

use std::process::ExitCode;

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(super) enum PolicyCommand {
    /// Decide recorded requests again by other policies, and say who would gain or lose
    /// what. Exits with 1 if anybody would.
    Diff(diff::DiffArgs),
}

pub(super) fn run(command: &PolicyCommand) -> anyhow::Result<ExitCode> {
    match command {
        PolicyCommand::Diff(args) => diff::run(args),
    }
}
