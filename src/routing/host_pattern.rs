//! Patterns of hosts, as the table's routes have them.

use std::cmp::Reverse;
use std::fmt;

use super::path_pattern::{Placeholder, placeholder};
use crate::domain::Host;

/// A pattern, apart from the names of its placeholders: two patterns of one shape
/// match the same hosts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum HostShape {
    Exact(String),
    Labels(Labels),
    /// Without the `*.`.
    Suffix(String),
    Any,
}

/// Labels from the left; nothing stands for a placeholder.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Labels(Vec<Option<String>>);

#[derive(Clone, Debug)]
pub(super) struct HostPattern {
    pub(super) shape: HostShape,
    /// Their names, and which label they stand for.
    pub(super) placeholders: Vec<Placeholder>,
}

impl HostPattern {
    /// Reads a pattern, or says what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let plain = |shape| Self { shape, placeholders: Vec::new() };
        if text == "*" {
            return Ok(plain(HostShape::Any));
        }
        if let Some(suffix) = text.strip_prefix("*.") {
            if canonical(suffix)?.is_address() {
                return Err(format!("`{text}`: an ip address has no suffixes"));
            }
            return Ok(plain(HostShape::Suffix(suffix.to_owned())));
        }
        if text.contains('*') {
            return Err(format!(
                "`{text}`: `*` stands alone or at the start, as in `*.example.com`"
            ));
        }
        if !text.contains(['{', '}']) {
            canonical(text)?;
            return Ok(plain(HostShape::Exact(text.to_owned())));
        }
        let mut labels = Vec::new();
        let mut placeholders = Vec::new();
        for (at, label) in text.split('.').enumerate() {
            let name = placeholder(label, "label")?;
            labels.push(name.is_none().then(|| label.to_owned()));
            placeholders.extend(name.map(|name| Placeholder { name: name.to_owned(), at }));
        }
        let sample: Vec<&str> =
            labels.iter().map(|label| label.as_deref().unwrap_or("x")).collect();
        canonical(&sample.join("."))?;
        Ok(Self { shape: HostShape::Labels(Labels(labels)), placeholders })
    }
}

impl Labels {
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// Each label, from the left; nothing for a placeholder.
    pub(super) fn literals(&self) -> impl Iterator<Item = Option<&str>> {
        self.0.iter().map(Option::as_deref)
    }

    /// Whether a host with as many labels matches.
    pub(super) fn matches(&self, host: &str) -> bool {
        self.0
            .iter()
            .zip(host.split('.'))
            .all(|(label, found)| label.as_ref().is_none_or(|label| label == found))
    }

    /// Sorts what is more specific to the front.
    pub(super) fn rank(&self) -> impl Ord + use<> {
        let literal: Vec<bool> = self.0.iter().rev().map(Option::is_some).collect();
        (self.0.iter().filter(|label| label.is_none()).count(), Reverse(literal))
    }
}

impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, label) in self.0.iter().enumerate() {
            let dot = if at > 0 { "." } else { "" };
            write!(f, "{dot}{}", label.as_deref().unwrap_or("{}"))?;
        }
        Ok(())
    }
}

fn canonical(text: &str) -> Result<Host<'_>, String> {
    let host = Host::parse(text).map_err(|error| format!("`{text}`: {error}"))?;
    if host.as_str() == text {
        Ok(host)
    } else {
        Err(format!("`{text}` is not canonical: write `{}`", host.as_str()))
    }
}
