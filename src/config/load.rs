//! From the text of a file to a [`Config`] or to all of its mistakes.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::digest;
use serde_json::{Number, Value};

use super::check::{self, Finding};
use super::problem::{Problem, Problems, path, shown};
use super::structure::{self, Flaw};
use super::{Config, Origin, schema};
use crate::yaml::{self, Node, Position};

/// A configuration is text that people write; more than this is a mistake.
const MAX_BYTES: u64 = 32 << 20;

pub(super) fn load(file: &Path) -> Result<Config, Problems> {
    let name = shown(&file.to_string_lossy());
    let text = read(file).map_err(|message| Problems::of_file(&name, message))?;
    let base_dir = match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let origin = Origin { file: file.to_owned(), version: version(&text) };
    parse(&text, base_dir)
        .map(|config| Config { origin: Some(origin), ..config })
        .map_err(|problems| problems.in_file(&name))
}

/// Names a text.
pub(super) fn version(text: &str) -> Arc<str> {
    let hash = digest::digest(&digest::SHA256, text.as_bytes());
    hash.as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect::<String>().into()
}

pub(super) fn read(file: &Path) -> Result<String, String> {
    let mut text = String::new();
    let opened = fs::File::open(file).map_err(|error| format!("can't be read: {error}"))?;
    let size = opened
        .take(MAX_BYTES + 1)
        .read_to_string(&mut text)
        .map_err(|error| format!("can't be read: {error}"))?;
    if size as u64 > MAX_BYTES {
        return Err(format!("is larger than {MAX_BYTES} bytes"));
    }
    Ok(text)
}

pub(super) fn parse(text: &str, base_dir: &Path) -> Result<Config, Problems> {
    let root = document(text).map_err(|problem| Problems::new("config", vec![problem]))?;
    let mut json = root.to_json();
    whole_numbers(&mut json);

    let schema = schema();
    let validator = jsonschema::validator_for(&schema).map_err(|error| {
        Problems::of_file("config", format!("its schema can't be used, which is a bug: {error}"))
    })?;
    let flaws = structure::check(&schema, &validator, &mut json);
    let document = serde_json::from_value(json).map_err(|error| {
        let mut problems: Vec<Problem> = flaws.iter().map(|flaw| of_flaw(&root, flaw)).collect();
        let message = format!("can't be taken as it is, which is a bug: {error}");
        problems.push(place(&root, "", true, message));
        Problems::new("config", problems)
    })?;

    let (config, findings) = check::check(&document, base_dir);
    let problems: Vec<Problem> = flaws
        .iter()
        .map(|flaw| of_flaw(&root, flaw))
        .chain(
            findings
                .iter()
                .filter(|finding| !spoilt(finding, &flaws))
                .map(|finding| place(&root, &finding.pointer, false, finding.message.clone())),
        )
        .collect();
    match config {
        Some(config) if problems.is_empty() => Ok(config),
        _ if problems.is_empty() => {
            Err(Problems::of_file("config", "it can't be used, but no rule says why: a bug".into()))
        }
        _ => {
            let policy = check::policy(&document, base_dir);
            Err(Problems::new("config", problems).with_policy(policy))
        }
    }
}

pub(super) fn document(text: &str) -> Result<Node, Problem> {
    let problem = |line, column, message| Problem { line, column, path: String::new(), message };
    let documents =
        yaml::parse(text).map_err(|error| problem(error.line, error.column, error.message))?;
    let mut documents = documents.into_iter();
    let first = documents.next().ok_or_else(|| problem(1, 1, "the file is empty".to_owned()))?;
    match documents.next() {
        Some(second) => Err(problem(second.line, 1, "expected one document".to_owned())),
        None => Ok(first.root),
    }
}

/// The schema takes `1e3` and `5.0` for whole numbers, so they become some.
fn whole_numbers(json: &mut Value) {
    /// Floats are exact up to here.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match json {
        Value::Number(number) => {
            if let Some(float) = number.as_f64().filter(|_| number.is_f64())
                && float.fract() == 0.0
                && float.abs() <= EXACT
                && let Ok(Value::Number(whole)) = serde_json::from_str(&format!("{float:.0}"))
                && whole.is_i64()
            {
                *number = whole;
            } else if number.as_f64().is_some_and(|float| float == 0.0) {
                // `-0.0`
                *number = Number::from(0);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(whole_numbers),
        Value::Object(map) => map.values_mut().for_each(whole_numbers),
        _ => {}
    }
}

/// Whether a finding may only follow from what the structure lacks.
fn spoilt(finding: &Finding, flaws: &[Flaw]) -> bool {
    flaws.iter().flat_map(|flaw| &flaw.spoils).any(|spoilt| {
        finding.about().any(|pointer| within(pointer, spoilt) || within(spoilt, pointer))
    })
}

/// Whether one JSON pointer leads into what another leads to.
fn within(pointer: &str, outer: &str) -> bool {
    pointer.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

pub(super) fn of_flaw(root: &Node, flaw: &Flaw) -> Problem {
    let mut problem = place(root, &flaw.place, flaw.at_key, flaw.message.clone());
    problem.path = path(&flaw.pointer);
    problem
}

/// A problem with the place of what a JSON pointer leads to, or of the nearest thing
/// around it that stands in the file.
pub(super) fn place(root: &Node, pointer: &str, at_key: bool, message: String) -> Problem {
    let mut around = pointer;
    let position = loop {
        // What isn't in the file is looked for at the key of what it belongs to.
        let found = if at_key || around.len() < pointer.len() {
            root.locate_key(around)
        } else {
            root.locate(around)
        };
        match (found, around.rsplit_once('/')) {
            (Some(position), _) => break position,
            (None, Some((parent, _))) => around = parent,
            (None, None) => break Position { line: 1, column: 1 },
        }
    };
    Problem { line: position.line, column: position.column, path: path(pointer), message }
}
