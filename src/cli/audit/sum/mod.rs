//! `stagedoor audit sum`

mod report;
mod tally;

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use super::filter::Filter;
use super::read::{Source, Strange};
use crate::policy::{Mode, PolicySet, PolicySettings};
use tally::Tally;

#[derive(Debug, Args)]
pub(in crate::cli) struct SumArgs {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    filter: Filter,
    /// Rows of each list.
    #[arg(long, value_name = "N", default_value_t = 10)]
    top: usize,
    /// As JSON.
    #[arg(long)]
    json: bool,
    /// A configuration file: those of its policies are named that never decided.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The same for these policy files, or those of a folder.
    #[arg(long, value_name = "PATH", num_args = 1.., conflicts_with = "config")]
    policies: Vec<PathBuf>,
}

pub(super) fn run(args: &SumArgs) -> anyhow::Result<()> {
    let policies = policies(args)?;
    let (mut tally, mut strange) = (Tally::default(), Strange::default());
    args.source.each(&mut strange, |_, record| {
        if args.filter.admits(&record) {
            tally.add(&record);
        }
        Ok(())
    })?;
    let report = tally.report(args.top, policies.as_deref(), strange.count());
    if args.json {
        crate::cli::line(&serde_json::to_string_pretty(&report)?)?;
    } else {
        crate::cli::line(report.to_string().trim_end())?;
    }
    if strange.count() > 0 {
        crate::cli::note(&strange.to_string());
    }
    Ok(())
}

/// The ids of the policies that could have decided.
fn policies(args: &SumArgs) -> anyhow::Result<Option<Vec<Arc<str>>>> {
    let set = if let Some(config) = &args.config {
        crate::cli::config::policy(&crate::cli::config::load(config)?)?
    } else if args.policies.is_empty() {
        return Ok(None);
    } else {
        let files = args.policies.clone();
        PolicySet::load(&PolicySettings { files, ..PolicySettings::default() })?
    };
    let enforced = set.policies().filter(|policy| policy.mode == Mode::Enforce);
    let mut ids: Vec<_> = enforced.map(|policy| Arc::clone(&policy.id)).collect();
    ids.sort();
    Ok(Some(ids))
}
