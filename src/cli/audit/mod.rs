//! `stagedoor audit`

mod filter;
mod follow;
mod pseudonym;
mod read;
mod show;
mod sum;

pub(super) use read::{Source, Strange};

use std::io;
use std::process::ExitCode;

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(super) enum AuditCommand {
    /// Show records, one a line.
    Show(show::ShowArgs),
    /// Sum records up: what was decided, who was denied what most, which policies never
    /// decided.
    Sum(sum::SumArgs),
    /// Print the pseudonym that stands for an object id in records, or with `--client` for
    /// a client application's.
    Pseudonym(pseudonym::PseudonymArgs),
    /// Print the JSON Schema of a record.
    Schema,
}

pub(super) fn run(command: &AuditCommand) -> anyhow::Result<ExitCode> {
    let result = match command {
        AuditCommand::Show(args) => show::run(args),
        AuditCommand::Sum(args) => sum::run(args),
        AuditCommand::Pseudonym(args) => pseudonym::run(args),
        AuditCommand::Schema => {
            super::line(&serde_json::to_string_pretty(&crate::audit::form::schema())?)
        }
    };
    match result {
        // Whoever read has read enough, as `head` does.
        Err(error) if is_broken_pipe(&error) => Ok(ExitCode::SUCCESS),
        result => result.map(|()| ExitCode::SUCCESS),
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let cause = error.downcast_ref::<io::Error>();
    cause.is_some_and(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}
