//! What is wrong with a configuration file, and where.

use std::fmt;

use crate::policy::PolicySettings;

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The line, from 1; 0 where the mistake isn't in the text.
    pub line: usize,
    /// The character in the line, from 1; 0 where the mistake isn't in the text.
    pub column: usize,
    /// What it is about: `entra.tenants[0].id`. Empty for the whole file.
    pub path: String,
    /// What is wrong, and what is expected.
    pub message: String,
}

/// All mistakes of a file, in the order of the text. Shown one a line, as
/// `file:line:column: path: message`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    file: String,
    problems: Vec<Problem>,
    policy: Box<PolicySettings>,
}

impl Problems {
    pub(super) fn new(file: &str, mut problems: Vec<Problem>) -> Self {
        problems.sort();
        problems.dedup();
        Self { file: file.to_owned(), problems, policy: Box::default() }
    }

    /// A mistake that has no place in the text.
    pub(super) fn of_file(file: &str, message: String) -> Self {
        Self::new(file, vec![Problem { line: 0, column: 0, path: String::new(), message }])
    }

    /// The mistakes; never empty.
    #[must_use]
    pub fn as_slice(&self) -> &[Problem] {
        &self.problems
    }

    /// The policy files that the configuration names, as far as it could be read: they
    /// can have mistakes of their own.
    #[must_use]
    pub fn policy(&self) -> &PolicySettings {
        &self.policy
    }

    #[must_use]
    pub(super) fn with_policy(self, policy: PolicySettings) -> Self {
        Self { policy: Box::new(policy), ..self }
    }

    /// Names the file in what is shown.
    #[must_use]
    pub(super) fn in_file(self, file: &str) -> Self {
        Self { file: file.to_owned(), ..self }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{}:", self.file)?;
            if problem.line > 0 {
                write!(f, "{}:{}:", problem.line, problem.column)?;
            }
            write!(f, " {problem}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for Problems {}

/// A JSON pointer as people write paths: `entra.tenants[0].id`.
pub(super) fn path(pointer: &str) -> String {
    let mut path = String::new();
    for token in pointer.split('/').skip(1) {
        let token = token.replace("~1", "/").replace("~0", "~");
        if !token.is_empty() && token.bytes().all(|b| b.is_ascii_digit()) {
            path.push_str(&format!("[{token}]"));
        } else {
            if !path.is_empty() {
                path.push('.');
            }
            path.push_str(&shown(&token));
        }
    }
    path
}

/// A JSON pointer one step down.
pub(super) fn below(pointer: &str, token: impl fmt::Display) -> String {
    let token = token.to_string().replace('~', "~0").replace('/', "~1");
    format!("{pointer}/{token}")
}

/// A text of the file, short and on one line.
pub(super) fn shown(text: &str) -> String {
    const MAX: usize = 80;
    let mut shown: String = text.chars().take(MAX).flat_map(escaped).collect();
    if text.chars().nth(MAX).is_some() {
        shown.push('…');
    }
    shown
}

fn escaped(c: char) -> Vec<char> {
    // Quotes are fine within backticks; what moves the cursor is not.
    if c.is_control() { c.escape_debug().collect() } else { vec![c] }
}
