//! A case file: what is decided by, and the cases.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::asked::Asked;
use super::caller::Caller;
use super::expectation::Expectation;
use crate::catalog::Membership;
use crate::cli::policy::fields::{Fields, Mistakes, unknown};
use crate::domain::TenantId;
use crate::yaml::{self, Node, NodeKind};

/// A case file that was read.
#[derive(Debug)]
pub(super) struct Suite {
    pub(super) file: PathBuf,
    pub(super) ground: Ground,
    pub(super) cases: Vec<Case>,
}

/// What all cases of a file are decided by.
#[derive(Debug)]
pub(super) struct Ground {
    /// Files and folders; none are those of the configuration.
    pub(super) policies: Vec<PathBuf>,
    /// None is that of the configuration.
    pub(super) catalog: Option<CatalogFrom>,
    pub(super) membership: Option<Membership>,
    pub(super) tenant: Option<TenantId>,
}

/// Where a file's catalog is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum CatalogFrom {
    Folder(PathBuf),
    Snapshot(PathBuf),
    /// In the case file itself: entities with their lines.
    Inline(PathBuf, Vec<(usize, Value)>),
}

/// One case.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) name: String,
    /// Where it begins, from 1.
    pub(super) line: usize,
    pub(super) caller: Caller,
    pub(super) asked: Asked,
    pub(super) expectation: Expectation,
}

/// No case file is larger.
const MAX_BYTES: u64 = 16 << 20;

/// The time that cases are decided at where they say nothing: a Wednesday at noon, so that
/// what passes today passes on Sunday.
const WEDNESDAY_NOON: i64 = 1_767_787_200;

const KEYS: [&str; 6] = ["policies", "catalog", "membership", "tenant", "at", "cases"];
const CASE_KEYS: [&str; 7] = ["name", "as", "claims", "token", "token_file", "request", "expect"];
const EXPECT_KEYS: [&str; 5] = ["reason", "policies", "warnings", "alerts", "challenge"];

/// Reads a case file.
///
/// # Errors
/// Every mistake in it, one a line.
pub(super) fn read(file: &Path, configured: bool) -> Result<Suite, String> {
    let failed = |cause: &dyn std::fmt::Display| format!("{}: {cause}", file.display());
    let length = std::fs::metadata(file).map_err(|e| failed(&e))?.len();
    if length > MAX_BYTES {
        return Err(failed(&format_args!("larger than {MAX_BYTES} bytes")));
    }
    let text = std::fs::read_to_string(file).map_err(|e| failed(&e))?;
    let mut documents = yaml::parse(&text).map_err(|e| format!("{}:{e}", file.display()))?;
    let (Some(document), true) = (documents.pop(), documents.is_empty()) else {
        return Err(failed(&"expected one document of YAML"));
    };
    let mut mistakes = Mistakes::of(file);
    let suite = suite(file, &document.root, configured, &mut mistakes);
    match suite {
        Some(suite) if mistakes.is_empty() => Ok(suite),
        _ => Err(mistakes.to_string()),
    }
}

fn suite(file: &Path, root: &Node, configured: bool, mistakes: &mut Mistakes) -> Option<Suite> {
    let fields = Fields::of(root, &KEYS, mistakes)?;
    let folder = file.parent().unwrap_or(Path::new(""));
    let texts = fields.texts("policies", mistakes).unwrap_or_default();
    let policies = texts.iter().map(|text| folder.join(text.value)).collect();
    if !configured {
        for key in ["policies", "catalog"] {
            if !fields.has(key) {
                mistakes.say(fields.at, format!("expected `{key}`, or a run with `--config`"));
            }
        }
    }
    let ground = Ground {
        policies,
        catalog: catalog(file, folder, &fields, mistakes),
        membership: fields.parsed("membership", mistakes, membership),
        tenant: fields.parsed("tenant", mistakes, |text| {
            text.parse().map_err(|error| format!("`{text}`: {error}"))
        }),
    };
    let at = fields.parsed("at", mistakes, super::asked::time).unwrap_or(WEDNESDAY_NOON);
    let mut cases: Vec<Case> = Vec::new();
    let items = fields.items("cases", mistakes).unwrap_or_default();
    if items.is_empty() {
        mistakes.say(fields.place("cases"), "expected `cases`");
    }
    for item in items {
        if let Some(case) = case(item, folder, at, configured, mistakes) {
            if let Some(first) = cases.iter().find(|other| other.name == case.name) {
                let message = format!("`{}` is the name of line {} too", case.name, first.line);
                mistakes.say(item.position, message);
            }
            cases.push(case);
        }
    }
    Some(Suite { file: file.to_owned(), ground, cases })
}

fn catalog(
    file: &Path,
    folder: &Path,
    fields: &Fields<'_>,
    mistakes: &mut Mistakes,
) -> Option<CatalogFrom> {
    let node = fields.node("catalog")?;
    if let NodeKind::Sequence(items) = &node.kind {
        let entities = items.iter().map(|item| (item.position.line, item.to_json())).collect();
        return Some(CatalogFrom::Inline(file.to_owned(), entities));
    }
    let text = fields.text("catalog", mistakes)?;
    let path = folder.join(text.value);
    match std::fs::metadata(&path) {
        Ok(found) if found.is_dir() => Some(CatalogFrom::Folder(path)),
        Ok(_) => Some(CatalogFrom::Snapshot(path)),
        Err(cause) => {
            mistakes.say(text.at, format!("`{}`: {cause}", path.display()));
            None
        }
    }
}

fn membership(text: &str) -> Result<Membership, String> {
    match text {
        "token" => Ok(Membership::Token),
        "catalog" => Ok(Membership::Catalog),
        "either" => Ok(Membership::Either),
        "both" => Ok(Membership::Both),
        _ => Err(unknown("source", text, &["token", "catalog", "either", "both"])),
    }
}

fn case(
    node: &Node,
    folder: &Path,
    at: i64,
    configured: bool,
    mistakes: &mut Mistakes,
) -> Option<Case> {
    let known = [CASE_KEYS.as_slice(), &EXPECT_KEYS].concat();
    let fields = Fields::of(node, &known, mistakes)?;
    let name = fields.text("name", mistakes);
    if !fields.has("name") {
        mistakes.say(fields.at, "expected `name`");
    }
    let asked = Asked::read(&fields, at, configured, mistakes);
    let caller = Caller::read(&fields, folder, mistakes);
    let expectation = Expectation::read(&fields, mistakes);
    if let (Some(Caller::Nobody), Some(asked)) = (&caller, &asked)
        && !asked.is_routed()
    {
        let message = "nobody ever reaches a policy: expected a caller, or a request with `url`";
        mistakes.say(fields.at, message);
    }
    Some(Case {
        name: name?.value.to_owned(),
        line: fields.at.line,
        caller: caller?,
        asked: asked?,
        expectation: expectation?,
    })
}
