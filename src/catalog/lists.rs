//! A list for each of many things, all in one piece of memory.

use super::names::{Number, number, place};

/// Lists of numbers, by the place of the thing that has them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Lists {
    /// Where each list ends; it begins where the one before it does.
    ends: Vec<Number>,
    items: Vec<Number>,
}

impl Lists {
    pub(super) fn with_capacity(lists: usize) -> Self {
        Self { ends: Vec::with_capacity(lists), items: Vec::new() }
    }

    /// Adds the next thing's list.
    pub(super) fn push(&mut self, items: impl IntoIterator<Item = Number>) {
        self.items.extend(items);
        self.ends.push(number(self.items.len()));
    }

    /// A thing's list; nothing for a thing that was never added.
    pub(super) fn get(&self, at: usize) -> &[Number] {
        let Some(end) = self.ends.get(at) else { return &[] };
        let before = at.checked_sub(1).and_then(|before| self.ends.get(before));
        let start = before.map_or(0, |start| place(*start));
        self.items.get(start..place(*end)).unwrap_or_default()
    }

    /// How many lists there are.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// How many items they have together.
    pub(super) fn items(&self) -> usize {
        self.items.len()
    }

    pub(super) fn shrink(&mut self) {
        self.ends.shrink_to_fit();
        self.items.shrink_to_fit();
    }

    pub(super) fn parts(&self) -> (&[Number], &[Number]) {
        (&self.ends, &self.items)
    }

    /// Lists as they were written down; nothing if they are none, or hold a number that
    /// is not less than `below`.
    pub(super) fn of_parts(ends: Vec<Number>, items: Vec<Number>, below: usize) -> Option<Self> {
        let sorted = ends.is_sorted();
        let whole = ends.last().map_or(0, |end| place(*end)) == items.len();
        let within = items.iter().all(|item| place(*item) < below);
        (sorted && whole && within).then_some(Self { ends, items })
    }
}
