//! `stagedoor keys`

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use clap::Subcommand;

use crate::entra;

#[derive(Debug, Subcommand)]
pub(super) enum KeysCommand {
    /// Trust a signing key no more, whoever publishes it: adds it to
    /// `entra.revocations_file`. Running servers that read the file refuse its tokens
    /// within a second, cached or not.
    Distrust {
        /// The configuration file.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// The key's id, as a token's header names it.
        #[arg(value_name = "KID")]
        kid: String,
    },
}

pub(super) fn run(command: &KeysCommand) -> anyhow::Result<ExitCode> {
    let KeysCommand::Distrust { config, kid } = command;
    let config = super::config::load(config)?;
    let Some(file) = &config.entra.revocations else {
        bail!(
            "the configuration names no `entra.revocations_file` to add the key to; \
             `entra.keys.distrusted` takes it too, with a restart"
        );
    };
    entra::distrust_key(file, kid)?;
    super::line(&format!("{}: key `{kid}` is not trusted any more", file.display()))?;
    Ok(ExitCode::SUCCESS)
}
