//! What was found, for people and for programs.

use std::fmt::Write as _;

use serde::Serialize;

use super::envoy::Rule;

/// Of one kind, as many are listed one by one.
const MAX_LISTED: usize = 10;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Severity {
    /// Good to know.
    Info,
    /// Somebody will be denied, or something is not as it was meant.
    Warning,
    /// It does not work.
    Error,
}

/// One finding.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Found {
    severity: Severity,
    /// Its stable code.
    code: &'static str,
    /// What it is about.
    subject: String,
    /// The line of a file that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    message: String,
    /// What happens otherwise.
    #[serde(skip_serializing_if = "str::is_empty")]
    why: &'static str,
    /// What to do.
    #[serde(skip_serializing_if = "str::is_empty")]
    remedy: &'static str,
}

/// All findings.
#[derive(Debug, Default)]
pub(super) struct Report {
    list: Vec<Found>,
}

impl Report {
    pub(super) fn add(
        &mut self,
        severity: Severity,
        code: &'static str,
        subject: impl Into<String>,
        message: impl Into<String>,
        remedy: &'static str,
    ) {
        let (subject, message) = (subject.into(), message.into());
        self.list.push(Found { severity, code, subject, line: None, message, why: "", remedy });
    }

    /// The same by a rule, at a place in a document; once, however many ways lead there.
    pub(super) fn flag(
        &mut self,
        rule: &'static Rule,
        place: String,
        line: Option<usize>,
        message: impl Into<String>,
    ) {
        let Rule { code, severity, why, remedy } = *rule;
        let message = message.into();
        let same = |found: &Found| {
            found.code == code && found.subject == place && found.message == message
        };
        if self.list.iter().any(same) {
            return;
        }
        self.list.push(Found { severity, code, subject: place, line, message, why, remedy });
    }

    /// Codes, lines and subjects, as they were found.
    #[cfg(test)]
    pub(super) fn codes(&self) -> Vec<(&'static str, Option<usize>, String)> {
        self.list.iter().map(|found| (found.code, found.line, found.subject.clone())).collect()
    }

    pub(super) fn worst(&self) -> Option<Severity> {
        self.list.iter().map(|found| found.severity).max()
    }

    pub(super) fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(&self.sorted())
    }

    fn sorted(&self) -> Vec<&Found> {
        let mut sorted: Vec<&Found> = self.list.iter().collect();
        // Those that were added together stay together.
        sorted.sort_by_key(|found| (std::cmp::Reverse(found.severity), found.code));
        sorted
    }

    /// The worst first; of many alike the first few.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        let mut count = 0;
        let mut last = None;
        let sorted = self.sorted();
        for (at, found) in sorted.iter().enumerate() {
            if last != Some(found.code) {
                (last, count) = (Some(found.code), 0);
            }
            count += 1;
            if count <= MAX_LISTED {
                let mark = match found.severity {
                    Severity::Error => "ERROR",
                    Severity::Warning => "warn ",
                    Severity::Info => "info ",
                };
                let Found { code, subject, message, .. } = found;
                let line = found.line.map(|line| format!("line {line}, ")).unwrap_or_default();
                let _ = writeln!(text, "{mark}  {code:<22} {line}{subject}: {message}");
            }
            let ends = sorted.get(at + 1).is_none_or(|next| next.code != found.code);
            if ends && count > MAX_LISTED {
                let _ =
                    writeln!(text, "       … and {} more; `--json` shows all", count - MAX_LISTED);
            }
            if ends && !found.why.is_empty() {
                let _ = writeln!(text, "       {}", found.why);
            }
            if ends && !found.remedy.is_empty() {
                let _ = writeln!(text, "       → {}", found.remedy);
            }
        }
        let of = |severity| self.list.iter().filter(|found| found.severity == severity).count();
        let (errors, warnings) = (of(Severity::Error), of(Severity::Warning));
        let _ = write!(text, "\n{errors} errors, {warnings} warnings");
        text
    }
}
