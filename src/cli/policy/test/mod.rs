//! `stagedoor policy test`

mod asked;
mod caller;
mod came;
mod coverage;
mod description;
mod expectation;
mod files;
mod junit;
mod report;
mod stage;
mod suite;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;

use super::fields::Mistakes;
use super::paint::Paint;
use crate::app::AppError;
use came::Came;
use coverage::Coverage;
use stage::Stages;
use suite::{Case, Suite};

#[derive(Debug, Args)]
pub(in crate::cli) struct TestArgs {
    /// Case files, and folders of files that end in `.yaml`.
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    /// The configuration whose routes, tenants, policies and catalog are tried. Where a case
    /// file names policies or a catalog of its own, those count.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Write the results as JUnit XML, which CI systems show.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Tell how many cases each policy decided, and which none did.
    #[arg(long)]
    coverage: bool,
    /// Fail if a policy decided no case.
    #[arg(long)]
    coverage_required: bool,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// The cases of a file, played.
#[derive(Debug)]
struct Played {
    file: PathBuf,
    results: Vec<Outcome>,
}

/// A case, played.
#[derive(Debug)]
struct Outcome {
    case: Case,
    came: Came,
    /// How what came differs from what was expected: nothing where it passed.
    differences: Vec<String>,
}

impl Outcome {
    fn passed(&self) -> bool {
        self.differences.is_empty()
    }
}

pub(super) fn run(args: &TestArgs) -> anyhow::Result<ExitCode> {
    let config = args.config.as_deref().map(crate::cli::config::load).transpose()?;
    let configured = config.is_some();
    let (suites, mut mistakes) = read(&args.paths, configured)?;
    let mut stages = Stages::new(config);
    let mut coverage = Coverage::default();
    let mut all = Vec::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    for suite in suites {
        match runtime.block_on(play(suite, &mut stages, &mut coverage)) {
            Ok(played) => all.push(played),
            Err(wrong) => mistakes.push(wrong),
        }
    }
    if !mistakes.is_empty() {
        return Err(AppError::Configuration(mistakes.join("\n")).into());
    }
    if let Some(file) = &args.junit {
        let xml = junit::write(&all).context("the results could not be written as XML")?;
        std::fs::write(file, xml).with_context(|| format!("`{}`", file.display()))?;
    }
    let shown = (args.coverage || args.coverage_required).then_some(&coverage);
    let text = if args.json {
        report::json(&all, shown)?
    } else {
        report::text(&all, shown, Paint::of_output())
    };
    crate::cli::line(&text)?;
    let failed = all.iter().flat_map(|played| &played.results).any(|result| !result.passed());
    let uncovered = args.coverage_required && coverage.uncovered().next().is_some();
    Ok(if failed || uncovered { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Reads every case file, and what is wrong with each.
fn read(paths: &[PathBuf], configured: bool) -> anyhow::Result<(Vec<Suite>, Vec<String>)> {
    let (mut suites, mut mistakes) = (Vec::new(), Vec::new());
    let files = files::find(paths).map_err(|error| AppError::Configuration(error.to_string()))?;
    for file in files {
        match suite::read(&file, configured) {
            Ok(suite) => suites.push(suite),
            Err(wrong) => mistakes.push(wrong),
        }
    }
    Ok((suites, mistakes))
}

/// Decides the cases of a file.
///
/// # Errors
/// What is wrong with the file, or with what it names.
async fn play(
    suite: Suite,
    stages: &mut Stages,
    coverage: &mut Coverage,
) -> Result<Played, String> {
    let stage = stages.of(&suite.ground).map_err(|error| named(&suite.file, &error))?;
    coverage.add(&stage.policies);
    let mut mistakes = Mistakes::of(&suite.file);
    let known: Vec<&str> = stage.policies.policies().map(|policy| &*policy.id).collect();
    let mut results = Vec::new();
    for case in suite.cases {
        case.expectation.check(&known, &mut mistakes);
        let Some(came) = stage.play(&case, &mut mistakes).await else { continue };
        coverage.count(&stage.policies, came.touched());
        let differences = case.expectation.differences(&came);
        results.push(Outcome { case, came, differences });
    }
    if mistakes.is_empty() {
        Ok(Played { file: suite.file, results })
    } else {
        Err(mistakes.to_string())
    }
}

/// Mistakes of policies have their own places; anything else is said of the case file.
fn named(file: &Path, error: &anyhow::Error) -> String {
    if error.is::<crate::policy::PolicyErrors>() {
        return error.to_string();
    }
    format!("{}: {error:#}", file.display())
}
