//! The command line.
//!
//! Exit codes: 0 done; 1 the answer is no (a denied check, a rejected token, a
//! failure at run time); 2 the command line is wrong; 3 the configuration is wrong.

mod admin;
mod audit;
mod check;
mod config;
mod decide;
mod doctor;
mod inspect;
mod keys;
mod memory;
mod offline;
mod policy;
#[cfg(test)]
mod reference;
mod serve;
mod snapshot;
mod token;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::app::AppError;

/// Envoy external authorization by Entra identity and Backstage ownership.
#[derive(Debug, Parser)]
#[command(name = "stagedoor", version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve Envoy's ext_authz API until SIGTERM or SIGINT.
    Serve {
        /// The configuration file.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Decide one request without Envoy, and say why. Fetches keys and catalog as
    /// `serve` does.
    Check(check::CheckArgs),
    /// Check a configuration file, or print the schema of one.
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Test policies, look for mistakes in them, and try changes of them on what was recorded.
    #[command(subcommand)]
    Policy(policy::PolicyCommand),
    /// Judge tokens.
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// Look at an installation from end to end, and say what is wrong or in the way, with
    /// the remedy. Exits with 1 if something does not work.
    Doctor(doctor::DoctorArgs),
    /// Look at snapshots of the catalog, and at what a server holds back.
    #[command(subcommand)]
    Snapshot(snapshot::SnapshotCommand),
    /// Act on signing keys.
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// Look at audit records.
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Decide recorded CheckRequests without any network: one a line on standard
    /// input, as protobuf JSON or as base64 of the message; one reply a line comes
    /// back in the same form, with reason and explanation.
    Decide(decide::DecideArgs),
}

/// The program.
#[must_use]
pub fn main() -> ExitCode {
    memory::use_small_pages();
    // Before there is a token or a secret in it.
    let sealed = memory::seal();
    let result = match Cli::parse().command {
        Command::Serve { config } => serve::run(&config, sealed),
        Command::Check(args) => check::run(&args),
        Command::Config(command) => config::run(&command),
        Command::Token(command) => token::run(&command),
        Command::Doctor(args) => doctor::run(&args),
        Command::Snapshot(command) => snapshot::run(&command),
        Command::Policy(command) => policy::run(&command),
        Command::Keys(command) => keys::run(&command),
        Command::Audit(command) => audit::run(&command),
        Command::Decide(args) => decide::run(&args),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            // Mistakes of a configuration come as lines with their places: nothing
            // before them, so that an editor can jump there.
            let configuration =
                error.downcast_ref::<AppError>().is_some_and(AppError::is_configuration);
            let text =
                if configuration { format!("{error}") } else { format!("stagedoor: {error:#}") };
            let _ = writeln!(std::io::stderr(), "{text}");
            ExitCode::from(if configuration { 3 } else { 1 })
        }
    }
}

/// Writes a line to standard output. A reader that went away ends the program
/// without a word, as it does for other filters.
fn line(text: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout().lock(), "{text}").map_err(Into::into)
}

/// Writes a line to standard error, for the person at the terminal.
fn note(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
