//! `stagedoor snapshot diff`

use std::path::Path;
use std::process::ExitCode;

use serde_json::json;

use crate::catalog::{Change, changes};
use crate::domain::plain;

/// Nobody reads more of a claim; `--json` has it whole.
const MAX_SHOWN: usize = 500;

pub(super) fn run(before: &Path, after: &Path, as_json: bool) -> anyhow::Result<ExitCode> {
    let (before, after) = (super::read(before)?, super::read(after)?);
    let mut all = Vec::new();
    changes(&before, &after, |change| all.push(change));
    for Change { kind, entity, other } in &all {
        let line = if as_json {
            json!({ "change": kind.code(), "entity": entity.as_str(), "other": other }).to_string()
        } else {
            let sign = if kind.is_loss() { '-' } else { '+' };
            // Whoever wrote it writes no line of their own.
            let other = plain(other.as_deref().unwrap_or_default(), MAX_SHOWN);
            format!("{sign} {:<16}{entity}  {other}", kind.code()).trim_end().to_owned()
        };
        crate::cli::line(&line)?;
    }
    if !as_json && all.is_empty() {
        crate::cli::line("the two say the same")?;
    }
    Ok(if all.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
