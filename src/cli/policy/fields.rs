//! Mappings of YAML, read strictly: every key is known, every value is of its kind, and each
//! mistake has its place.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::nearest::nearest;
use crate::yaml::{Entry, Node, NodeKind, Position, Scalar};

/// What is wrong with a file.
#[derive(Clone, Debug)]
pub(super) struct Mistakes {
    file: PathBuf,
    list: Vec<(Position, String)>,
}

impl Mistakes {
    pub(super) fn of(file: &Path) -> Self {
        Self { file: file.to_owned(), list: Vec::new() }
    }

    pub(super) fn say(&mut self, at: Position, message: impl Into<String>) {
        self.list.push((at, message.into()));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

/// One a line, with its place before it, so that an editor can jump there.
impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut list: Vec<_> = self.list.iter().collect();
        list.sort();
        for (index, (at, message)) in list.into_iter().enumerate() {
            let between = if index > 0 { "\n" } else { "" };
            write!(f, "{between}{}:{at}: {message}", self.file.display())?;
        }
        Ok(())
    }
}

/// A text and its place.
#[derive(Clone, Debug)]
pub(super) struct Placed<T> {
    pub(super) value: T,
    pub(super) at: Position,
}

/// The entries of a mapping.
#[derive(Clone, Copy)]
pub(super) struct Fields<'n> {
    entries: &'n [Entry],
    /// Where the mapping begins.
    pub(super) at: Position,
}

impl<'n> Fields<'n> {
    /// The mapping that a value is. Keys that are not known are mistakes.
    pub(super) fn of(node: &'n Node, known: &[&str], mistakes: &mut Mistakes) -> Option<Self> {
        let NodeKind::Mapping(entries) = &node.kind else {
            let known = known.join("`, `");
            mistakes.say(node.position, format!("expected a mapping with keys of `{known}`"));
            return None;
        };
        for entry in entries.iter().filter(|entry| !known.contains(&&*entry.key)) {
            mistakes.say(entry.key_position, unknown("key", &entry.key, known));
        }
        Some(Self { entries, at: node.position })
    }

    /// The value of a key; one that is empty is none.
    pub(super) fn node(&self, key: &str) -> Option<&'n Node> {
        let value = &self.entries.iter().find(|entry| entry.key == key)?.value;
        (value.kind != NodeKind::Scalar(Scalar::Null)).then_some(value)
    }

    /// Where a key stands, for what is wrong with its being there.
    pub(super) fn place(&self, key: &str) -> Position {
        let entry = self.entries.iter().find(|entry| entry.key == key);
        entry.map_or(self.at, |entry| entry.key_position)
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.node(key).is_some()
    }

    pub(super) fn text(&self, key: &str, mistakes: &mut Mistakes) -> Option<Placed<&'n str>> {
        text(self.node(key)?, mistakes)
    }

    /// A text that stands for something else.
    pub(super) fn parsed<T>(
        &self,
        key: &str,
        mistakes: &mut Mistakes,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let text = self.text(key, mistakes)?;
        parse(text.value)
            .map_err(|message| mistakes.say(text.at, format!("`{key}`: {message}")))
            .ok()
    }

    pub(super) fn flag(&self, key: &str, mistakes: &mut Mistakes) -> Option<bool> {
        let node = self.node(key)?;
        if let NodeKind::Scalar(Scalar::Bool(flag)) = node.kind {
            return Some(flag);
        }
        mistakes.say(node.position, format!("`{key}`: expected `true` or `false`"));
        None
    }

    /// A list of texts, or one.
    pub(super) fn texts(&self, key: &str, mistakes: &mut Mistakes) -> Option<Vec<Placed<&'n str>>> {
        let node = self.node(key)?;
        match &node.kind {
            NodeKind::Sequence(items) => {
                Some(items.iter().filter_map(|item| text(item, mistakes)).collect())
            }
            _ => Some(vec![text(node, mistakes)?]),
        }
    }

    pub(super) fn items(&self, key: &str, mistakes: &mut Mistakes) -> Option<&'n [Node]> {
        let node = self.node(key)?;
        if let NodeKind::Sequence(items) = &node.kind {
            return Some(items);
        }
        mistakes.say(node.position, format!("`{key}`: expected a list"));
        None
    }
}

fn text<'n>(node: &'n Node, mistakes: &mut Mistakes) -> Option<Placed<&'n str>> {
    if let NodeKind::Scalar(Scalar::String(value)) = &node.kind {
        return Some(Placed { value, at: node.position });
    }
    mistakes.say(node.position, "expected a text");
    None
}

/// Says that a word is not known, and which one may have been meant.
pub(super) fn unknown(what: &str, word: &str, known: &[&str]) -> String {
    match nearest(word, known) {
        Some(near) => format!("the {what} `{word}` is not known; did you mean `{near}`?"),
        None if known.len() <= 12 => {
            format!("the {what} `{word}` is not known; expected one of `{}`", known.join("`, `"))
        }
        None => format!("the {what} `{word}` is not known"),
    }
}
