//! Lookups: from a host to its paths, from a path to its rules.
//!
//! The only place that knows how the table is searched. Exact hosts and suffixes
//! are found by hash, hosts with placeholders by their number of labels; a host's
//! paths are tried one after another, the most specific first.

use std::collections::HashMap;
use std::fmt;

use super::Rule;
use super::host_pattern::{HostShape, Labels};
use super::path_pattern::PathShape;
use crate::domain::{Host, Path, without_parameters};

/// Host patterns, each with its paths.
#[derive(Clone, Debug, Default)]
pub(super) struct HostIndex {
    exact: HashMap<String, Paths>,
    /// By number of labels; the most specific first.
    labels: HashMap<usize, Vec<(Labels, Paths)>>,
    suffixes: HashMap<String, Paths>,
    any: Option<Paths>,
}

type Paths = PathIndex<Vec<Rule>>;

/// Path patterns, each with what stands behind it; the most specific first.
#[derive(Clone, Debug, Default)]
pub(super) struct PathIndex<T>(Vec<(PathShape, T)>);

/// The host pattern that was found. Shown as it is written, without the names of
/// placeholders.
#[derive(Clone, Copy, Debug)]
pub(super) enum Found<'a> {
    Exact(&'a str),
    Labels(&'a Labels),
    Suffix(&'a str),
    Any,
}

impl HostIndex {
    /// Takes each host shape once.
    pub(super) fn new(hosts: impl IntoIterator<Item = (HostShape, Paths)>) -> Self {
        let mut index = Self::default();
        for (shape, paths) in hosts {
            match shape {
                HostShape::Exact(host) => drop(index.exact.insert(host, paths)),
                HostShape::Labels(labels) => {
                    index.labels.entry(labels.count()).or_default().push((labels, paths));
                }
                HostShape::Suffix(suffix) => drop(index.suffixes.insert(suffix, paths)),
                HostShape::Any => index.any = Some(paths),
            }
        }
        for labels in index.labels.values_mut() {
            labels.sort_by_cached_key(|(labels, _)| labels.rank());
        }
        index
    }

    /// The most specific pattern that matches, and its paths.
    pub(super) fn find<'a>(&'a self, host: &'a Host<'_>) -> Option<(Found<'a>, &'a Paths)> {
        let text = host.as_str();
        if let Some(paths) = self.exact.get(text) {
            return Some((Found::Exact(text), paths));
        }
        let any = || self.any.as_ref().map(|paths| (Found::Any, paths));
        if host.is_address() {
            return any();
        }
        self.by_labels(text).or_else(|| self.by_suffix(text)).or_else(any)
    }

    fn by_labels(&self, host: &str) -> Option<(Found<'_>, &Paths)> {
        if self.labels.is_empty() {
            return None;
        }
        let candidates = self.labels.get(&host.split('.').count())?;
        let (labels, paths) = candidates.iter().find(|(labels, _)| labels.matches(host))?;
        Some((Found::Labels(labels), paths))
    }

    fn by_suffix<'a>(&'a self, host: &'a str) -> Option<(Found<'a>, &'a Paths)> {
        if self.suffixes.is_empty() {
            return None;
        }
        let mut rest = host;
        while let Some((_, suffix)) = rest.split_once('.') {
            if let Some(paths) = self.suffixes.get(suffix) {
                return Some((Found::Suffix(suffix), paths));
            }
            rest = suffix;
        }
        None
    }
}

impl fmt::Display for Found<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(host) => f.write_str(host),
            Self::Labels(labels) => labels.fmt(f),
            Self::Suffix(suffix) => write!(f, "*.{suffix}"),
            Self::Any => f.write_str("*"),
        }
    }
}

impl<T> PathIndex<T> {
    /// Takes each path shape once.
    pub(super) fn new(paths: impl IntoIterator<Item = (PathShape, T)>) -> Self {
        let mut paths: Vec<_> = paths.into_iter().collect();
        paths.sort_by(|(a, _), (b, _)| a.cmp(b));
        Self(paths)
    }

    /// What stands behind the most specific pattern that matches, if it is the same
    /// whether or not a backend drops `;` parameters.
    pub(super) fn find(&self, path: &Path<'_>) -> Option<&T> {
        let (shape, found) = self.first(path.segments())?;
        if path.has_parameters() {
            let (bare, _) = self.first(path.segments().map(without_parameters))?;
            if bare != shape {
                return None;
            }
        }
        Some(found)
    }

    /// All of them, the most specific first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &(PathShape, T)> {
        self.0.iter()
    }

    fn first<'s>(
        &self,
        segments: impl Iterator<Item = &'s str> + Clone,
    ) -> Option<&(PathShape, T)> {
        self.0.iter().find(|(shape, _)| shape.matches(segments.clone()))
    }
}
