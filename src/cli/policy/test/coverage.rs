//! Which policies the cases tried.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::policy::PolicySet;

/// How many cases each policy decided, warned or raised an alert in.
#[derive(Debug, Default)]
pub(super) struct Coverage {
    /// By file and place, so that they come in the order of the files.
    policies: BTreeMap<Key, usize>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    file: PathBuf,
    place: Option<(usize, usize)>,
    id: Arc<str>,
}

/// A policy and its count.
pub(super) struct Covered<'a> {
    pub(super) id: &'a str,
    pub(super) file: String,
    pub(super) line: usize,
    pub(super) cases: usize,
}

impl Coverage {
    /// Takes up the policies of a set.
    pub(super) fn add(&mut self, set: &PolicySet) {
        for key in keys(set) {
            self.policies.entry(key).or_default();
        }
    }

    /// Counts a case in which these policies had a part.
    pub(super) fn count<'a>(
        &mut self,
        set: &PolicySet,
        touched: impl Iterator<Item = &'a Arc<str>>,
    ) {
        let touched: Vec<&Arc<str>> = touched.collect();
        for key in keys(set).filter(|key| touched.contains(&&key.id)) {
            *self.policies.entry(key).or_default() += 1;
        }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = Covered<'_>> {
        self.policies.iter().map(|(key, cases)| Covered {
            id: &key.id,
            file: key.file.display().to_string(),
            line: key.place.map_or(1, |(line, _)| line),
            cases: *cases,
        })
    }

    pub(super) fn uncovered(&self) -> impl Iterator<Item = Covered<'_>> {
        self.all().filter(|covered| covered.cases == 0)
    }
}

fn keys(set: &PolicySet) -> impl Iterator<Item = Key> {
    set.policies().map(|policy| Key {
        file: tidy(&policy.file),
        place: policy.place,
        id: Arc::clone(&policy.id),
    })
}

/// `tests/../owners.cedar` and `owners.cedar` are one file.
fn tidy(file: &std::path::Path) -> PathBuf {
    use std::path::Component;

    let mut tidy = PathBuf::new();
    for part in file.components() {
        let named = matches!(tidy.components().next_back(), Some(Component::Normal(_)));
        if part == Component::ParentDir && named {
            tidy.pop();
        } else {
            tidy.push(part);
        }
    }
    tidy
}
