//! Lookups: from a host to its paths, from a path to its rules.
//!
//! The only place that knows how the table is searched. Hosts and suffixes are found by
//! hash, hosts with placeholders by the hash of their other labels, and paths by a tree of
//! their segments: it makes no difference how many routes there are.

use std::fmt;
use std::hash::{BuildHasher as _, Hash as _, Hasher as _};

use hashbrown::{DefaultHashBuilder, HashMap, HashTable};
use smallvec::SmallVec;

use super::Rule;
use super::host_pattern::{HostShape, Labels};
use super::path_pattern::{PathShape, Step};
use crate::domain::{Host, Path, without_parameters};

/// Host patterns, each with its paths.
#[derive(Clone, Debug, Default)]
pub(super) struct HostIndex {
    exact: HashMap<String, Paths>,
    /// By number of labels; those with placeholders in the same places together, the most
    /// specific first.
    labels: HashMap<usize, Vec<SamePlaces>>,
    suffixes: HashMap<String, Paths>,
    any: Option<Paths>,
}

type Paths = PathIndex<Vec<Rule>>;

/// Host patterns that have placeholders in the same places.
#[derive(Clone, Debug)]
struct SamePlaces {
    /// Any of them.
    one: Labels,
    all: HashTable<(Labels, Paths)>,
    hasher: DefaultHashBuilder,
}

/// Path patterns, each with what stands behind it.
#[derive(Clone, Debug)]
pub(super) struct PathIndex<T> {
    /// The most specific first.
    all: Vec<(PathShape, T)>,
    tree: Tree,
}

/// Patterns by their segments. The nodes stand in one list, the root first, and nothing here
/// calls itself: a pattern can be as deep as its author likes.
#[derive(Clone, Debug)]
struct Tree(Vec<Node>);

/// What patterns go on with after the same segments. Nodes are named by their places.
#[derive(Clone, Debug, Default)]
struct Node {
    literals: HashMap<Box<str>, usize>,
    placeholder: Option<usize>,
    /// The pattern that ends here, for paths that do.
    exact: Option<usize>,
    /// The pattern that ends here, for all paths.
    prefix: Option<usize>,
}

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
                    let same = index.labels.entry(labels.count()).or_default();
                    let at = same.iter().position(|same| same.one.rank() == labels.rank());
                    let at = at.unwrap_or_else(|| {
                        same.push(SamePlaces::of(labels.clone()));
                        same.len() - 1
                    });
                    if let Some(same) = same.get_mut(at) {
                        same.insert(labels, paths);
                    }
                }
                HostShape::Suffix(suffix) => drop(index.suffixes.insert(suffix, paths)),
                HostShape::Any => index.any = Some(paths),
            }
        }
        for same in index.labels.values_mut() {
            same.sort_by_cached_key(|same| same.one.rank());
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
        let (labels, paths) = candidates.iter().find_map(|same| same.find(host))?;
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

impl SamePlaces {
    fn of(one: Labels) -> Self {
        Self { one, all: HashTable::new(), hasher: DefaultHashBuilder::default() }
    }

    fn insert(&mut self, labels: Labels, paths: Paths) {
        let hasher = &self.hasher;
        let hash = |labels: &Labels| hash(hasher, labels.literals().flatten());
        self.all.insert_unique(hash(&labels), (labels, paths), |(labels, _)| hash(labels));
    }

    fn find(&self, host: &str) -> Option<&(Labels, Paths)> {
        let literals = self.one.literals().zip(host.split('.'));
        let literals = literals.filter_map(|(literal, label)| literal.map(|_| label));
        self.all.find(hash(&self.hasher, literals), |(labels, _)| labels.matches(host))
    }
}

fn hash<'s>(hasher: &DefaultHashBuilder, labels: impl Iterator<Item = &'s str>) -> u64 {
    let mut hasher = hasher.build_hasher();
    labels.for_each(|label| label.hash(&mut hasher));
    hasher.finish()
}

impl<T> PathIndex<T> {
    /// Takes each path shape once.
    pub(super) fn new(paths: impl IntoIterator<Item = (PathShape, T)>) -> Self {
        let mut all: Vec<_> = paths.into_iter().collect();
        all.sort_by(|(a, _), (b, _)| a.cmp(b));
        let mut tree = Tree(vec![Node::default()]);
        for (at, (shape, _)) in all.iter().enumerate() {
            tree.insert(shape.steps(), at);
        }
        Self { all, tree }
    }

    /// What stands behind the most specific pattern that matches, if it is the same
    /// whether or not a backend drops `;` parameters.
    pub(super) fn find(&self, path: &Path<'_>) -> Option<&T> {
        let at = self.tree.first(path.segments())?;
        if path.has_parameters() {
            let bare = self.tree.first(path.segments().map(without_parameters))?;
            if bare != at {
                return None;
            }
        }
        self.all.get(at).map(|(_, found)| found)
    }

    /// All of them, the most specific first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &(PathShape, T)> {
        self.all.iter()
    }
}

impl<T> Default for PathIndex<T> {
    fn default() -> Self {
        Self { all: Vec::new(), tree: Tree(vec![Node::default()]) }
    }
}

impl Tree {
    fn insert(&mut self, steps: &[Step], pattern: usize) {
        let mut at = 0;
        for step in steps {
            let new = self.0.len();
            let Some(node) = self.0.get_mut(at) else { return };
            at = match step {
                Step::Literal(literal) => {
                    *node.literals.entry(literal.as_str().into()).or_insert(new)
                }
                Step::Placeholder => *node.placeholder.get_or_insert(new),
                Step::ExactEnd => return node.exact = Some(pattern),
                Step::PrefixEnd => return node.prefix = Some(pattern),
            };
            if at == new {
                self.0.push(Node::default());
            }
        }
    }

    /// The least of the patterns that match: what is tried first here is less (`Step`).
    fn first<'s>(&self, mut segments: impl Iterator<Item = &'s str> + Clone) -> Option<usize> {
        let mut at = 0;
        // Where to go on if there is nothing that way, the deepest last.
        let mut others = SmallVec::<[_; 4]>::new();
        loop {
            let node = self.0.get(at)?;
            if let Some(pattern) = node.prefix {
                others.push(Other::Prefix(pattern));
            }
            let next = match segments.next() {
                None if node.exact.is_some() => return node.exact,
                None => None,
                Some(segment) => {
                    let literal = node.literals.get(segment).copied();
                    let placeholder = node.placeholder.filter(|_| !segment.is_empty());
                    if let (Some(_), Some(placeholder)) = (literal, placeholder) {
                        others.push(Other::Placeholder(placeholder, segments.clone()));
                    }
                    literal.or(placeholder)
                }
            };
            at = match next {
                Some(next) => next,
                None => match others.pop()? {
                    Other::Prefix(pattern) => return Some(pattern),
                    Other::Placeholder(placeholder, rest) => {
                        segments = rest;
                        placeholder
                    }
                },
            };
        }
    }
}

/// Another way that a path may match, if the first doesn't.
enum Other<I> {
    Prefix(usize),
    /// At this node, with what is left of the path.
    Placeholder(usize, I),
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::subsequence;

    use super::super::host_pattern::HostPattern;
    use super::super::path_pattern::PathPattern;
    use super::*;

    /// The same by the definition: the least of all that match.
    fn least<'p>(shapes: &'p [PathShape], path: &Path<'_>) -> Option<&'p PathShape> {
        let least = |bare: bool| {
            let matching = shapes.iter().filter(|shape| match bare {
                false => shape.matches(path.segments()),
                true => shape.matches(path.segments().map(without_parameters)),
            });
            matching.min()
        };
        least(false).filter(|shape| !path.has_parameters() || least(true) == Some(shape))
    }

    #[test]
    fn a_pattern_can_be_deep() {
        let deep = "/a".repeat(4000);
        let shape = PathPattern::parse(&deep).expect("a pattern").shape;
        let index = PathIndex::new([(shape, ())]);
        let (path, _) = Path::split(&deep).expect("a path");
        assert!(index.find(&path).is_some());
    }

    proptest! {
        #[test]
        fn a_path_finds_what_the_definition_says(
            patterns in proptest::collection::btree_set(
                ("(/(a|b|a;|\\{p\\}|\\{q\\})){0,4}", any::<bool>()), 0..24,
            ),
            path in "(/(a|b|c|a;x|b;))*/?",
        ) {
            let text = |(body, exact): &(String, bool)| match (body.as_str(), exact) {
                ("", false) => "/".to_owned(),
                (body, true) => format!("{body}$"),
                (body, false) => body.to_owned(),
            };
            let mut shapes: Vec<PathShape> = patterns
                .iter()
                .filter_map(|pattern| Some(PathPattern::parse(&text(pattern)).ok()?.shape))
                .collect();
            shapes.sort();
            shapes.dedup();
            let index = PathIndex::new(shapes.iter().map(|shape| (shape.clone(), shape.clone())));
            if let Ok((path, _)) = Path::split(&path) {
                prop_assert_eq!(index.find(&path), least(&shapes, &path));
            }
        }

        #[test]
        fn a_host_finds_the_most_specific_labels(
            patterns in subsequence(vec![
                "{a}.b.c", "a.{b}.c", "a.b.{c}", "{a}.{b}.c", "{a}.b.{c}", "a.{b}.{c}",
                "{a}.x.c", "a.{b}.x", "x.{b}.c", "{a}.{b}.x", "{a}.c", "a.{b}", "{a}.x",
            ], 0..=13),
            host in "[abcx](\\.[abcx]){1,2}",
        ) {
            let shapes: Vec<Labels> = patterns
                .iter()
                .map(|pattern| match HostPattern::parse(pattern).expect("a pattern").shape {
                    HostShape::Labels(labels) => labels,
                    other => panic!("{other:?}"),
                })
                .collect();
            let hosts = shapes.iter().map(|labels| {
                (HostShape::Labels(labels.clone()), PathIndex::default())
            });
            let index = HostIndex::new(hosts);
            let matching = shapes.iter().filter(|labels| {
                labels.count() == host.split('.').count() && labels.matches(&host)
            });
            let want = matching.min_by_key(|labels| labels.rank()).map(ToString::to_string);
            let host = Host::parse(&host).expect("a host");
            let found = index.find(&host).map(|(found, _)| found.to_string());
            prop_assert_eq!(found, want);
        }
    }
}
