//! What can be wrong with a policy set.

use std::fmt;
use std::path::PathBuf;

/// Every mistake of a policy set, each with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyErrors(pub Vec<PolicyError>);

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PolicyError {
    /// The file, or `builtin`.
    pub file: PathBuf,
    /// Line and column, counted from 1, where they are known.
    pub place: Option<(usize, usize)>,
    /// What is wrong and what was expected.
    pub message: String,
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some((line, column)) = self.place {
            write!(f, ":{line}:{column}")?;
        }
        write!(f, ": {}", self.message)
    }
}

impl fmt::Display for PolicyErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for PolicyErrors {}

impl PolicyError {
    /// A mistake found by Cedar at a place in `source`.
    pub(super) fn cedar(
        file: &std::path::Path,
        source: &str,
        error: &dyn miette::Diagnostic,
    ) -> Self {
        let offset =
            error.labels().and_then(|mut labels| labels.next()).map(|label| label.offset());
        let mut message = error.to_string();
        if let Some(help) = error.help() {
            message = format!("{message} ({help})");
        }
        Self {
            file: file.to_owned(),
            place: offset.and_then(|offset| place(source, offset)),
            message,
        }
    }

    pub(super) fn plain(file: &std::path::Path, message: impl Into<String>) -> Self {
        Self { file: file.to_owned(), place: None, message: message.into() }
    }
}

/// Line and column of a byte offset, counted from 1.
pub(super) fn place(source: &str, offset: usize) -> Option<(usize, usize)> {
    let before = source.get(..offset)?;
    let line = before.bytes().filter(|&b| b == b'\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |text| text.chars().count()) + 1;
    Some((line, column))
}
