//! Lookups: from a host to its paths, from a path to its rules.
//!
//! The only place that knows how the table is searched. Exact hosts and suffixes
//! are found by hash, hosts with placeholders by their number of labels; a host's
//! paths are tried one after another, the most specific first.

use std::collections::HashMap;

use super::Rule;
use super::host_pattern::{HostShape, Labels};
use super::path_pattern::PathShape;
use crate::domain::{Host, Path, without_parameters};

/// Host patterns, each with its paths.
#[derive(Clone, Debug, Default)]
pub(super) struct HostIndex {
    exact: HashMap<String, PathIndex>,
    /// By number of labels; the most specific first.
    labels: HashMap<usize, Vec<(Labels, PathIndex)>>,
    suffixes: HashMap<String, PathIndex>,
    any: Option<PathIndex>,
}

/// The path patterns of one host pattern, each with its rules; the most specific
/// first.
#[derive(Clone, Debug, Default)]
pub(super) struct PathIndex(Vec<(PathShape, Vec<Rule>)>);

impl HostIndex {
    /// Takes each host shape once.
    pub(super) fn new(hosts: impl IntoIterator<Item = (HostShape, PathIndex)>) -> Self {
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

    /// The paths of the most specific pattern that matches.
    pub(super) fn find(&self, host: &Host<'_>) -> Option<&PathIndex> {
        let text = host.as_str();
        if let Some(paths) = self.exact.get(text) {
            return Some(paths);
        }
        if host.is_address() {
            return self.any.as_ref();
        }
        self.by_labels(text).or_else(|| self.by_suffix(text)).or(self.any.as_ref())
    }

    fn by_labels(&self, host: &str) -> Option<&PathIndex> {
        if self.labels.is_empty() {
            return None;
        }
        let candidates = self.labels.get(&host.split('.').count())?;
        candidates.iter().find(|(labels, _)| labels.matches(host)).map(|(_, paths)| paths)
    }

    fn by_suffix(&self, host: &str) -> Option<&PathIndex> {
        if self.suffixes.is_empty() {
            return None;
        }
        let mut rest = host;
        while let Some((_, suffix)) = rest.split_once('.') {
            if let Some(paths) = self.suffixes.get(suffix) {
                return Some(paths);
            }
            rest = suffix;
        }
        None
    }
}

impl PathIndex {
    /// Takes each path shape once.
    pub(super) fn new(paths: impl IntoIterator<Item = (PathShape, Vec<Rule>)>) -> Self {
        let mut paths: Vec<_> = paths.into_iter().collect();
        paths.sort_by(|(a, _), (b, _)| a.cmp(b));
        Self(paths)
    }

    /// The rules of the most specific pattern that matches, if it is the same
    /// whether or not a backend drops `;` parameters.
    pub(super) fn find(&self, path: &Path<'_>) -> Option<&[Rule]> {
        let (shape, rules) = self.first(path.segments())?;
        if path.has_parameters() {
            let (bare, _) = self.first(path.segments().map(without_parameters))?;
            if bare != shape {
                return None;
            }
        }
        Some(rules)
    }

    fn first<'s>(
        &self,
        segments: impl Iterator<Item = &'s str> + Clone,
    ) -> Option<&(PathShape, Vec<Rule>)> {
        self.0.iter().find(|(shape, _)| shape.matches(segments.clone()))
    }
}
