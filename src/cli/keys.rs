//! `stagedoor keys`

use std::path::{Path, PathBuf};
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
        /// The configuration file, which names the file of revocations.
        #[arg(long, value_name = "FILE", required_unless_present = "file")]
        config: Option<PathBuf>,
        /// The file of revocations itself, where the configuration can't be read here.
        #[arg(long, value_name = "FILE", conflicts_with = "config")]
        file: Option<PathBuf>,
        /// The key's id, as a token's header names it.
        #[arg(value_name = "KID")]
        kid: String,
    },
}

pub(super) fn run(command: &KeysCommand) -> anyhow::Result<ExitCode> {
    let KeysCommand::Distrust { config, file, kid } = command;
    let file = match (file, config) {
        (Some(file), _) => file.clone(),
        (None, Some(config)) => named_by(config)?,
        (None, None) => bail!("expected `--config` or `--file`"),
    };
    entra::distrust_key(&file, kid)?;
    super::line(&format!("{}: key `{kid}` is not trusted any more", file.display()))?;
    Ok(ExitCode::SUCCESS)
}

fn named_by(config: &Path) -> anyhow::Result<PathBuf> {
    let config = super::config::load(config)?;
    let Some(file) = config.entra.revocations else {
        bail!(
            "the configuration names no `entra.revocations_file` to add the key to; \
             `entra.keys.distrusted` takes it too, with a restart"
        );
    };
    Ok(file)
}
