//! `stagedoor config check` and `stagedoor config schema`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;

use crate::app::AppError;
use crate::config::{self, Config};
use crate::policy::PolicySet;

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Check a configuration and the policies it names; every mistake is told, with
    /// its place.
    Check {
        /// The configuration file.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Show how much memory the settings let be used, too.
        #[arg(long)]
        memory: bool,
    },
    /// Print the JSON Schema of the configuration.
    Schema,
}

pub(super) fn run(command: &ConfigCommand) -> anyhow::Result<ExitCode> {
    match command {
        ConfigCommand::Check { file, memory } => {
            let config = load(file)?;
            let policy = policy(&config)?;
            config.warnings().iter().for_each(|warning| super::note(warning));
            super::line(&format!(
                "{}: good (tenants: {}, routes: {}, policies: {})",
                file.display(),
                config.entra.tenants.len(),
                config.routes.len(),
                policy.len(),
            ))?;
            if *memory {
                for bound in config.memory_bounds() {
                    let (size, what, settings) = (bound.size(), bound.what, bound.settings);
                    super::line(format!("{size:>9}  {what:<30}{settings}").trim_end())?;
                }
            }
        }
        ConfigCommand::Schema => {
            super::line(&serde_json::to_string_pretty(&config::schema())?)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Reads and checks a configuration. Where it has mistakes, those of the policies that
/// it names are told as well.
pub(super) fn load(file: &Path) -> Result<Config, AppError> {
    Config::load(file).map_err(|problems| {
        let mut text = problems.to_string();
        if let Err(errors) = PolicySet::load(problems.policy()) {
            text.push_str(&format!("\n{errors}"));
        }
        AppError::Configuration(text)
    })
}

/// Reads and checks the policies that it names.
pub(super) fn policy(config: &Config) -> Result<PolicySet, AppError> {
    PolicySet::load(&config.policy).map_err(|errors| AppError::Configuration(errors.to_string()))
}
