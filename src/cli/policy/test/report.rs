//! Results for people and for programs.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::coverage::Coverage;
use super::expectation::ids;
use super::{Outcome, Played};
use crate::cli::policy::paint::Paint;

/// A line for each file, everything about what failed, and the sum.
pub(super) fn text(all: &[Played], coverage: Option<&Coverage>, paint: Paint) -> String {
    let mut text = String::new();
    for played in all {
        let (passed, failed) = counts(&played.results);
        let file = played.file.display();
        let _ = match failed {
            0 => writeln!(text, "{}  {file}: {passed} passed", paint.green("ok    ")),
            failed => {
                writeln!(text, "{}  {file}: {passed} passed, {failed} failed", paint.red("FAILED"))
            }
        };
    }
    for played in all {
        for outcome in played.results.iter().filter(|outcome| !outcome.passed()) {
            failure(&mut text, played, outcome, paint);
        }
    }
    if let Some(coverage) = coverage {
        covered(&mut text, coverage, paint);
    }
    let (passed, failed) = counts(all.iter().flat_map(|played| &played.results));
    let sum = format!("{} cases: {passed} passed, {failed} failed", passed + failed);
    let _ = write!(text, "\n{}", if failed == 0 { paint.green(&sum) } else { paint.red(&sum) });
    text
}

fn counts<'a>(results: impl IntoIterator<Item = &'a Outcome>) -> (usize, usize) {
    results.into_iter().fold((0, 0), |(passed, failed), outcome| match outcome.passed() {
        true => (passed + 1, failed),
        false => (passed, failed + 1),
    })
}

fn failure(text: &mut String, played: &Played, outcome: &Outcome, paint: Paint) {
    let Outcome { case, .. } = outcome;
    let place = format!("{}:{}: {}", played.file.display(), case.line, case.name);
    let _ = writeln!(text, "\n{}", paint.red(&place));
    for difference in &outcome.differences {
        let _ = writeln!(text, "  {difference}");
    }
    for (name, value) in what_came(outcome) {
        let _ = writeln!(text, "  {} {value}", paint.dim(&format!("{name:<10}")));
    }
}

/// What came, as far as there is something to say.
pub(super) fn what_came(outcome: &Outcome) -> Vec<(&'static str, String)> {
    let came = &outcome.came;
    let answer = if came.allow { "allow" } else { "deny" };
    let mut rows =
        vec![("answer", format!("{answer} ({})", came.code)), ("policies", ids(&came.policies))];
    rows.extend(came.advice.iter().map(|advice| ("advice", advice.to_string())));
    rows.extend(came.detail.iter().map(|detail| ("detail", detail.clone())));
    rows.extend(came.challenge.iter().map(|challenge| ("challenge", challenge.clone())));
    for (name, list) in
        [("warnings", &came.warnings), ("alerts", &came.alerts), ("shadow", &came.shadow)]
    {
        if !list.is_empty() {
            rows.push((name, ids(list)));
        }
    }
    rows
}

fn covered(text: &mut String, coverage: &Coverage, paint: Paint) {
    let _ = writeln!(text, "\ncases that each policy decided, warned or raised an alert in:");
    for policy in coverage.all() {
        let row = format!("{:>5}  {}  {}:{}", policy.cases, policy.id, policy.file, policy.line);
        let _ = writeln!(text, "{}", if policy.cases == 0 { paint.yellow(&row) } else { row });
    }
    let (all, none) = (coverage.all().count(), coverage.uncovered().count());
    let _ = match none {
        0 => writeln!(text, "every one of {all} policies decided a case"),
        none => writeln!(text, "{none} of {all} policies decided no case"),
    };
}

/// Everything, for programs.
pub(super) fn json(all: &[Played], coverage: Option<&Coverage>) -> serde_json::Result<String> {
    let files: Vec<Value> = all.iter().map(file).collect();
    let (passed, failed) = counts(all.iter().flat_map(|played| &played.results));
    let mut json = json!({ "passed": passed, "failed": failed, "files": files });
    if let Some(coverage) = coverage {
        let policies: Vec<Value> = coverage
            .all()
            .map(|policy| {
                json!({
                    "policy": policy.id, "file": policy.file, "line": policy.line,
                    "cases": policy.cases,
                })
            })
            .collect();
        if let Value::Object(members) = &mut json {
            members.insert("coverage".to_owned(), Value::Array(policies));
        }
    }
    serde_json::to_string_pretty(&json)
}

fn file(played: &Played) -> Value {
    let cases: Vec<Value> = played.results.iter().map(case).collect();
    json!({ "file": played.file.display().to_string(), "cases": cases })
}

fn case(outcome: &Outcome) -> Value {
    let Outcome { case, came, differences } = outcome;
    json!({
        "name": case.name,
        "line": case.line,
        "passed": outcome.passed(),
        "differences": differences,
        "came": {
            "answer": if came.allow { "allow" } else { "deny" },
            "reason": came.code,
            "policies": came.policies.iter().map(|id| &**id).collect::<Vec<_>>(),
            "warnings": came.warnings.iter().map(|id| &**id).collect::<Vec<_>>(),
            "alerts": came.alerts.iter().map(|id| &**id).collect::<Vec<_>>(),
            "shadow": came.shadow.iter().map(|id| &**id).collect::<Vec<_>>(),
            "challenge": came.challenge,
            "advice": came.advice.iter().map(|text| &**text).collect::<Vec<_>>(),
            "detail": came.detail,
        },
    })
}
