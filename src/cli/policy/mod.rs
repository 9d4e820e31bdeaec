//! `stagedoor policy`

mod fields;
mod lint;
mod paint;
mod test;

use std::process::ExitCode;

use clap::Subcommand;

pub(super) use lint::look;

#[derive(Debug, Subcommand)]
pub(super) enum PolicyCommand {
    /// Decide the cases of case files, and compare what comes with what is expected.
    /// Exits with 1 if a case fails, with 3 if a file is wrong.
    Test(test::TestArgs),
    /// Find policies that never apply, name what is not there, or let in more than was
    /// meant. Exits with 1 on errors.
    Lint(lint::LintArgs),
}

pub(super) fn run(command: &PolicyCommand) -> anyhow::Result<ExitCode> {
    match command {
        PolicyCommand::Test(args) => test::run(args),
        PolicyCommand::Lint(args) => lint::run(args),
    }
}
