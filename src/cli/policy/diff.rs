//! `stagedoor policy diff`

mod replay;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Args;
use serde::Serialize;

use crate::app::AppError;
use crate::audit::form::{Outcome, RecordForm};
use crate::catalog::{self, Membership, Snapshot};
use crate::cli::audit::{Source, Strange};
use crate::policy::{self, PolicySet};

use replay::{Replayed, replay};

#[derive(Debug, Args)]
pub(in crate::cli) struct DiffArgs {
    /// The policies as they are: a file, or a folder of files.
    #[arg(value_name = "OLD")]
    old: PathBuf,
    /// The policies as they would be.
    #[arg(value_name = "NEW")]
    new: PathBuf,
    /// The file that the records are in; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    audit: PathBuf,
    /// Also the files that were full before: `FILE.1`, `FILE.2` and so on.
    #[arg(long)]
    all: bool,
    /// The configuration file: its catalog is read now, and its `catalog.membership` counts.
    #[arg(long, value_name = "FILE", required_unless_present = "snapshot")]
    config: Option<PathBuf>,
    /// A file that `snapshot fetch` or a store wrote, instead of the configured catalog.
    #[arg(long, value_name = "FILE")]
    snapshot: Option<PathBuf>,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// Who would get another answer to what.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Case {
    /// `gains` or `loses`.
    what: &'static str,
    /// Kind and id of the caller, as recorded.
    caller: String,
    action: String,
    entity: String,
}

/// How often, and by which policies.
#[derive(Clone, Debug, Default, Serialize)]
struct Count {
    requests: u64,
    /// The policies that answered before.
    before: Vec<String>,
    /// Those that would answer.
    after: Vec<String>,
    /// The newest of them.
    decision_id: String,
}

/// What came of all records.
#[derive(Clone, Debug, Default, Serialize)]
struct Sum {
    /// Decisions that were made by policies.
    records: u64,
    /// Those that could be decided again.
    replayed: u64,
    /// Those that the old policies decide otherwise than is recorded: policies or catalog
    /// were others then.
    otherwise: u64,
    /// Why the others could not.
    skipped: BTreeMap<&'static str, u64>,
}

pub(super) fn run(args: &DiffArgs) -> anyhow::Result<ExitCode> {
    let (old, new) = (load(&args.old)?, load(&args.new)?);
    let (snapshot, membership) = catalog(args)?;
    let source = Source { file: args.audit.clone(), all: args.all };
    let (mut strange, mut sum) = (Strange::default(), Sum::default());
    let mut cases: BTreeMap<Case, Count> = BTreeMap::new();
    source.each(&mut strange, |_, record| {
        let RecordForm::Decision(record) = record else { return Ok(()) };
        if record.gate.as_deref() != Some("policy") {
            return Ok(());
        }
        sum.records += 1;
        let Replayed { before, after, caller } =
            match replay(&record, &snapshot, membership, [&old, &new]) {
                Ok(replayed) => replayed,
                Err(why) => {
                    *sum.skipped.entry(why).or_default() += 1;
                    return Ok(());
                }
            };
        sum.replayed += 1;
        if before.allow != (record.decision == Outcome::Allow) {
            sum.otherwise += 1;
        }
        if before.allow == after.allow {
            return Ok(());
        }
        let case = Case {
            what: if after.allow { "gains" } else { "loses" },
            caller,
            action: record.action.unwrap_or_default().into_owned(),
            entity: record.entity.unwrap_or_default().into_owned(),
        };
        let count = cases.entry(case).or_default();
        count.requests += 1;
        (count.before, count.after) = (before.policies, after.policies);
        count.decision_id = record.decision_id.into_owned();
        Ok(())
    })?;
    if strange.count() > 0 {
        crate::cli::note(&strange.to_string());
    }
    if args.json {
        json(&cases, &sum)?;
    } else {
        text(&cases, &sum)?;
    }
    Ok(if cases.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn load(path: &PathBuf) -> Result<PolicySet, AppError> {
    let sources = policy::read(std::slice::from_ref(path));
    sources
        .and_then(|sources| PolicySet::of(&sources))
        .map_err(|errors| AppError::Configuration(errors.to_string()))
}

fn catalog(args: &DiffArgs) -> anyhow::Result<(Snapshot, Membership)> {
    let config = args.config.as_deref().map(crate::cli::config::load).transpose()?;
    let membership = config.as_ref().map_or(Membership::Either, |config| config.membership);
    let snapshot = match (&args.snapshot, &config) {
        (Some(file), _) => {
            catalog::read_snapshot(file).with_context(|| format!("`{}`", file.display()))?
        }
        (None, Some(config)) => crate::cli::snapshot::now(config)?,
        (None, None) => bail!("expected `--config` or `--snapshot`"),
    };
    Ok((snapshot, membership))
}

fn text(cases: &BTreeMap<Case, Count>, sum: &Sum) -> anyhow::Result<()> {
    for (title, what) in [("would be let in", "gains"), ("would be kept out", "loses")] {
        let mut found: Vec<_> = cases.iter().filter(|(case, _)| case.what == what).collect();
        if found.is_empty() {
            continue;
        }
        found.sort_by(|(a, x), (b, y)| y.requests.cmp(&x.requests).then_with(|| a.cmp(b)));
        crate::cli::line(&format!("{title}:"))?;
        for (case, count) in found {
            let by = if what == "gains" || count.before.is_empty() {
                &count.after
            } else {
                &count.before
            };
            let by = match (what, by.is_empty()) {
                (_, true) => "no policy permits it".to_owned(),
                ("gains", false) => format!("by {}", by.join(", ")),
                (_, false) if count.after.is_empty() => {
                    format!("so far by {}", count.before.join(", "))
                }
                (_, false) => format!("by {}", count.after.join(", ")),
            };
            let (caller, action, entity) = (&case.caller, &case.action, &case.entity);
            crate::cli::line(&format!(
                "  {caller}  {action} {entity}  {} requests, {by}  (such as {})",
                count.requests, count.decision_id
            ))?;
        }
    }
    if cases.is_empty() {
        crate::cli::line("nobody gains or loses anything")?;
    }
    crate::cli::line(&format!(
        "{} of {} decisions by policies were made again",
        sum.replayed, sum.records
    ))?;
    for (why, count) in &sum.skipped {
        crate::cli::line(&format!("  {count} were not: {why}"))?;
    }
    if sum.otherwise > 0 {
        crate::cli::line(&format!(
            "  {} are recorded otherwise than the old policies decide now",
            sum.otherwise
        ))?;
    }
    Ok(())
}

fn json(cases: &BTreeMap<Case, Count>, sum: &Sum) -> anyhow::Result<()> {
    let differences: Vec<_> = cases
        .iter()
        .map(|(case, count)| {
            let mut value = serde_json::to_value(case)?;
            if let (Some(all), serde_json::Value::Object(more)) =
                (value.as_object_mut(), serde_json::to_value(count)?)
            {
                all.extend(more);
            }
            anyhow::Ok(value)
        })
        .collect::<Result<_, _>>()?;
    let json = serde_json::json!({ "differences": differences, "sum": sum });
    crate::cli::line(&serde_json::to_string_pretty(&json)?)
}
