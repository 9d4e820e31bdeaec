//! `stagedoor policy lint`

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use serde_json::json;

use super::paint::Paint;
use crate::app::AppError;
use crate::catalog::{self, Snapshot, SourceSettings, load_folder};
use crate::config::Config;
use crate::domain::{EntityRef, Gate, Host};
use crate::policy::{Finding, Known, PolicySet, PolicySettings, Severity, Surroundings, lint};

#[derive(Debug, Args)]
#[group(id = "policies", required = true, multiple = true)]
pub(in crate::cli) struct LintArgs {
    /// Cedar files, and folders of them; without any, those of the configuration.
    #[arg(value_name = "FILE", group = "policies")]
    files: Vec<PathBuf>,
    /// The configuration whose policies, routes and catalog are looked at.
    #[arg(long, value_name = "FILE", group = "policies")]
    config: Option<PathBuf>,
    /// A folder of catalog files that has what policies may name.
    #[arg(long, value_name = "DIR", conflicts_with = "snapshot")]
    catalog: Option<PathBuf>,
    /// A snapshot's file that has it.
    #[arg(long, value_name = "FILE")]
    snapshot: Option<PathBuf>,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &LintArgs) -> anyhow::Result<ExitCode> {
    let config = args.config.as_deref().map(crate::cli::config::load).transpose()?;
    let set = policies(args, config.as_ref())?;
    let snapshot = snapshot(args, config.as_ref())?;
    let found = look(&set, config.as_ref(), snapshot.as_ref());
    let text = if args.json { as_json(&found)? } else { text(&found, Paint::of_output()) };
    crate::cli::line(&text)?;
    let bad = found.iter().any(|finding| finding.severity == Severity::Error);
    Ok(if bad { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn policies(args: &LintArgs, config: Option<&Config>) -> anyhow::Result<PolicySet> {
    let settings = match config {
        Some(config) if args.files.is_empty() => config.policy.clone(),
        _ => PolicySettings { files: args.files.clone(), ..PolicySettings::default() },
    };
    let set = PolicySet::load(&settings);
    Ok(set.map_err(|errors| AppError::Configuration(errors.to_string()))?)
}

fn snapshot(args: &LintArgs, config: Option<&Config>) -> anyhow::Result<Option<Snapshot>> {
    let grant = config.is_some_and(|config| config.catalog.root_groups_grant);
    let folder = |folder: &Path| {
        load_folder(folder, grant).with_context(|| format!("`{}`", folder.display()))
    };
    Ok(match (&args.catalog, &args.snapshot, config) {
        (Some(path), _, _) => Some(folder(path)?),
        (_, Some(file), _) => {
            Some(catalog::read_snapshot(file).with_context(|| format!("`{}`", file.display()))?)
        }
        (None, None, Some(config)) => Some(match &config.catalog.source {
            SourceSettings::Folder(path) => folder(path)?,
            SourceSettings::Backstage(_) => crate::cli::snapshot::fetch_now(config)?,
        }),
        (None, None, None) => None,
    })
}

/// Everything that is found, by what is known of catalog and routes.
pub(in crate::cli) fn look(
    set: &PolicySet,
    config: Option<&Config>,
    snapshot: Option<&Snapshot>,
) -> Vec<Finding> {
    let serves = |host: &str| {
        let Some(config) = config else { return true };
        Host::parse(host).is_ok_and(|host| {
            config.route_table.has_host(&host) || config.delegations.may_cover(&host, None)
        })
    };
    // Without a table, Envoy's own routes say what requests are for.
    let routed = config.filter(|config| !config.routes.is_empty());
    let surroundings = Surroundings {
        catalog: snapshot.map(known),
        serves_host: routed.map(|_| &serves as &dyn Fn(&str) -> bool),
        public: config.map(public).unwrap_or_default(),
    };
    lint(set, &surroundings)
}

fn known(snapshot: &Snapshot) -> Known {
    let groups = snapshot.groups().map(|group| group.entity());
    let groups = groups.chain(snapshot.users().map(|user| user.entity()));
    Known {
        groups: groups.map(|group| group.as_str().to_owned()).collect(),
        resources: snapshot.entities().map(|one| one.entity().as_str().to_owned()).collect(),
    }
}

/// The entities that public routes name. A template names none in particular.
fn public(config: &Config) -> Vec<(String, EntityRef)> {
    let open = config.routes.iter().filter(|route| route.gate == Gate::Public);
    open.filter_map(|route| {
        Some((route.name.clone(), EntityRef::parse(route.entity.as_deref()?).ok()?))
    })
    .collect()
}

fn text(found: &[Finding], paint: Paint) -> String {
    let mut text = String::new();
    for finding in found {
        let word = finding.severity.as_str();
        let word = match finding.severity {
            Severity::Error => paint.red(word),
            Severity::Warning => paint.yellow(word),
            Severity::Info => paint.dim(word),
        };
        let place = finding.place.map(|(line, column)| format!(":{line}:{column}"));
        let place = format!("{}{}", finding.file.display(), place.unwrap_or_default());
        let Finding { policy, message, kind, .. } = finding;
        let _ = writeln!(text, "{place}: {word}: {policy}: {message}");
        let _ = writeln!(text, "  {}", paint.dim(&format!("→ {}", kind.remedy())));
    }
    let of = |severity| found.iter().filter(|finding| finding.severity == severity).count();
    let (errors, warnings) = (of(Severity::Error), of(Severity::Warning));
    let _ = write!(text, "{errors} errors, {warnings} warnings, {} notes", of(Severity::Info));
    text
}

fn as_json(found: &[Finding]) -> serde_json::Result<String> {
    let one = |finding: &Finding| {
        json!({
            "severity": finding.severity.as_str(),
            "code": finding.kind.code(),
            "policy": &*finding.policy,
            "file": finding.file.display().to_string(),
            "line": finding.place.map(|(line, _)| line),
            "column": finding.place.map(|(_, column)| column),
            "message": finding.message,
            "remedy": finding.kind.remedy(),
        })
    };
    serde_json::to_string_pretty(&found.iter().map(one).collect::<Vec<_>>())
}
