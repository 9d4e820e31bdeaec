//! `stagedoor token inspect`

use std::io::Read as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::{Map, Value};

use crate::catalog::{self, Snapshot};
use crate::clock::Now;
use crate::config::Config;
use crate::domain::{GroupId, Identity};
use crate::entra::{Authenticator, Check, Inspection, Outcome, in_words};
use crate::fetch::HttpClient;

#[derive(Debug, Args)]
pub(super) struct InspectArgs {
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The file that holds the token; without it, standard input.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The time to judge at, in seconds since 1970; without it, now.
    #[arg(long, value_name = "UNIX")]
    now: Option<i64>,
    /// The signing keys, as for `token verify`, instead of those that are fetched.
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
    /// Fetch nothing: neither keys nor a Backstage catalog.
    #[arg(long)]
    offline: bool,
}

pub(super) fn run(args: &InspectArgs) -> anyhow::Result<ExitCode> {
    let config = super::config::load(&args.config)?;
    let token = token(args)?;
    let now = args.now.map_or_else(Now::read, Now::at);
    let authenticator = super::offline::authenticator(&config, args.keys.as_deref(), now)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let snapshot = runtime.block_on(fetch(args, &config, &authenticator))?;
    let inspection = authenticator.inspect(&token, now);
    super::line(&text(&inspection, snapshot.as_ref(), now))?;
    Ok(if inspection.verdict.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The token, with or without what stands around it in a header.
fn token(args: &InspectArgs) -> anyhow::Result<String> {
    let text = match &args.token_file {
        Some(file) => {
            std::fs::read_to_string(file).with_context(|| format!("`{}`", file.display()))?
        }
        None => {
            let mut text = String::new();
            std::io::stdin().lock().read_to_string(&mut text)?;
            text
        }
    };
    let text = text.trim();
    let text = text.strip_prefix("Authorization:").unwrap_or(text).trim();
    let text = text.strip_prefix("Bearer ").unwrap_or(text).trim();
    if text.is_empty() {
        bail!("no token: give it on standard input, or name its file with `--token-file`");
    }
    Ok(text.to_owned())
}

/// What the token is held against, as far as it can be had: what is missing is said, and
/// the rest is told all the same.
async fn fetch(
    args: &InspectArgs,
    config: &Config,
    authenticator: &Authenticator,
) -> anyhow::Result<Option<Snapshot>> {
    let http = HttpClient::trusting(&config.authorities)?;
    if args.keys.is_none() && !args.offline {
        for error in authenticator.fetch_once(&http).await {
            super::note(&format!("keys: {error}"));
        }
    }
    let folder = matches!(config.catalog.source, catalog::SourceSettings::Folder(_));
    if args.offline && !folder {
        return Ok(None);
    }
    match catalog::load_once(&config.catalog, &http).await {
        Ok(snapshot) => Ok(Some(snapshot)),
        Err(error) => {
            super::note(&format!("catalog: {error}"));
            Ok(None)
        }
    }
}

fn text(inspection: &Inspection, snapshot: Option<&Snapshot>, now: Now) -> String {
    let mut lines = Vec::new();
    lines.push(match &inspection.verdict {
        Ok(()) => "accepted".to_owned(),
        Err(denial) => {
            let (code, sentence) = (denial.reason.code(), denial.reason.sentence());
            format!("refused: {code} ({})\n  {sentence}", denial.reason.status())
        }
    });
    for (title, members) in [("header", &inspection.header), ("claims", &inspection.claims)] {
        lines.push(format!("\n{title}"));
        match members {
            Some(members) => lines.extend(members_of(members, now)),
            None => lines.push("  can't be read".to_owned()),
        }
    }
    lines.push("\nrules".to_owned());
    lines.extend(inspection.checks.iter().map(check));
    lines.push("\ngroups".to_owned());
    match &inspection.identity {
        Some(identity) => lines.extend(groups(identity, snapshot)),
        None => lines.extend(listed(inspection.claims.as_ref(), snapshot)),
    }
    lines.join("\n")
}

fn members_of(members: &Map<String, Value>, now: Now) -> Vec<String> {
    let longest = members.keys().map(|name| name.chars().count()).max().unwrap_or(0).min(30);
    members
        .iter()
        .map(|(name, value)| {
            let text = value.to_string();
            let mut shown: String = text.chars().take(160).flat_map(char::escape_debug).collect();
            shown = shown.replace("\\\"", "\"");
            if text.chars().count() > 160 {
                shown.push('…');
            }
            let time = matches!(name.as_str(), "iat" | "nbf" | "exp");
            if let Some(seconds) = value.as_i64().filter(|_| time) {
                shown.push_str(&format!("  {}", moment(seconds, now)));
            }
            format!("  {:<longest$}  {shown}", name.escape_debug().to_string())
        })
        .collect()
}

/// A second of a claim, as people say it.
fn moment(seconds: i64, now: Now) -> String {
    let date = chrono::DateTime::from_timestamp(seconds, 0)
        .map_or_else(|| "no time".to_owned(), |time| time.format("%F %T UTC").to_string());
    let away = seconds.saturating_sub(now.unix);
    let words = in_words(away);
    if away > 0 { format!("{date}, in {words}") } else { format!("{date}, {words} ago") }
}

fn check(check: &Check) -> String {
    let mark = match check.outcome {
        Outcome::Passed => "ok  ".to_owned(),
        Outcome::Failed(_) => "FAIL".to_owned(),
        Outcome::Unasked => "-   ".to_owned(),
    };
    let mut line = format!("  {mark}  {:<20}", check.rule);
    if let Outcome::Failed(reason) = check.outcome {
        line.push_str(&format!(" {}:", reason.code()));
    }
    if !check.detail.is_empty() {
        line.push_str(&format!(" {}", check.detail));
    }
    if !check.setting.is_empty() {
        line.push_str(&format!("  [{}]", check.setting));
    }
    line.trim_end().to_owned()
}

/// The groups of a token that is nobody's: as it lists them, and not believed.
fn listed(claims: Option<&Map<String, Value>>, snapshot: Option<&Snapshot>) -> Vec<String> {
    let groups = claims.and_then(|claims| claims.get("groups")).and_then(Value::as_array);
    let ids: Vec<_> =
        groups.into_iter().flatten().filter_map(|id| id.as_str()?.parse().ok()).collect();
    if ids.is_empty() {
        return vec!["  none that can be read".to_owned()];
    }
    ids.iter().map(|id| format!("  {id}  {}", bound(id, snapshot))).collect()
}

fn bound(id: &GroupId, snapshot: Option<&Snapshot>) -> String {
    match snapshot.map(|snapshot| snapshot.group_bound_to(id)) {
        None => "the catalog is not at hand".to_owned(),
        Some(None) => "bound to no group of the catalog".to_owned(),
        Some(Some(group)) => format!("{} ({})", group.entity(), group.title()),
    }
}

fn groups(identity: &Identity, snapshot: Option<&Snapshot>) -> Vec<String> {
    let mut lines = Vec::new();
    if identity.groups_elsewhere {
        lines.push("  not in the token: it has too many to list them".to_owned());
    }
    for id in identity.groups().iter() {
        lines.push(format!("  {id}  {}", bound(id, snapshot)));
    }
    for name in &identity.group_names {
        lines.push(format!("  {}  a name, which decides nothing", name.escape_debug()));
    }
    if lines.is_empty() {
        lines.push("  none".to_owned());
    }
    lines
}
