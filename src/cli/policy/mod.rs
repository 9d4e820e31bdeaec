//! `stagedoor policy`

mod diff;
mod fields;
mod lint;
mod paint;
mod test;

use std::process::ExitCode;

use clap::Subcommand;

pub(super) use lint::look;

#[derive(Debug, Subcommand)]
pub(super) enum PolicyCommand {
    /// Decide recorded requests again by other policies, and say who would gain or lose
    /// what. Exits with 1 if anybody would.
    Diff(diff::DiffArgs),
    /// Decide the cases of case files, and compare what comes with what is expected.
    /// Exits with 1 if a case fails, with 3 if a file is wrong.
    Test(test::TestArgs),
    /// Find policies that never apply, name what is not there, or let in more than was
    /// meant. Exits with 1 on errors.
    Lint(lint::LintArgs),
}

pub(super) fn run(command: &PolicyCommand) -> anyhow::Result<ExitCode> {
    match command {
        PolicyCommand::Diff(args) => diff::run(args),
        PolicyCommand::Test(args) => test::run(args),
        PolicyCommand::Lint(args) => lint::run(args),
    }
}
