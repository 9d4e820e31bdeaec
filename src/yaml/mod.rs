//! A small strict reader of YAML that keeps the place of everything it reads.
//!
//! Configuration and catalog files are both written by people, so every mistake
//! is told with its line and column. What YAML allows beyond JSON and makes for
//! surprises is refused: keys given twice, tags of an application, keys that are
//! lists. Plain scalars follow the core schema of YAML 1.2: `yes` is a text.

mod compose;
mod scalar;

#[cfg(test)]
mod tests;

use std::fmt;

use serde_json::Value;

/// Reads every document of a text.
///
/// A text without any document, such as one of comments alone, gives none.
///
/// # Errors
/// The first mistake in the text. Lists and mappings may be 64 deep, and aliases
/// may expand to 2,000,000 nodes and 64 MiB of text over all documents.
pub fn parse(text: &str) -> Result<Vec<Document>, YamlError> {
    compose::documents(text)
}

/// One document of a text.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// What it holds.
    pub root: Node,
    /// The line on which it begins, from 1.
    pub line: usize,
}

impl Document {
    /// The document without places. Numbers that no 64-bit integer holds are floats.
    #[must_use]
    pub fn to_json(&self) -> Value {
        self.root.to_json()
    }
}

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Where it begins. What an alias stands for begins where the alias is, and
    /// the parts of it where the anchor has them; an empty value, where its key is.
    pub position: Position,
    /// The value.
    pub kind: NodeKind,
}

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum NodeKind {
    /// Anything but a list or a mapping.
    Scalar(Scalar),
    /// A list.
    Sequence(Vec<Node>),
    /// A mapping, in the order of the text. No two entries have one key.
    Mapping(Vec<Entry>),
}

/// A value without parts.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar {
    /// `null`, `~` or nothing.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A finite number.
    Number(serde_json::Number),
    /// Anything else, and anything in quotes.
    String(String),
}

/// A key and its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The key; a number or boolean is spelled as JSON does.
    pub key: String,
    /// Where the key begins.
    pub key_position: Position,
    /// The value.
    pub value: Node,
}

/// A place in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line, from 1.
    pub line: usize,
    /// The character in the line, from 1.
    pub column: usize,
}

/// Why a text could not be read, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{line}:{column}: {message}")]
pub struct YamlError {
    /// The line, from 1.
    pub line: usize,
    /// The character in the line, from 1.
    pub column: usize,
    /// What is wrong there.
    pub message: String,
}

impl YamlError {
    fn new(at: Position, message: impl Into<String>) -> Self {
        Self { line: at.line, column: at.column, message: message.into() }
    }
}

impl Node {
    /// The value without places.
    #[must_use]
    pub fn to_json(&self) -> Value {
        match &self.kind {
            NodeKind::Scalar(Scalar::Null) => Value::Null,
            NodeKind::Scalar(Scalar::Bool(value)) => Value::Bool(*value),
            NodeKind::Scalar(Scalar::Number(value)) => Value::Number(value.clone()),
            NodeKind::Scalar(Scalar::String(value)) => Value::String(value.clone()),
            NodeKind::Sequence(items) => items.iter().map(Self::to_json).collect(),
            NodeKind::Mapping(entries) => Value::Object(
                entries.iter().map(|entry| (entry.key.clone(), entry.value.to_json())).collect(),
            ),
        }
    }

    /// The value under a key, where this is a mapping that has it.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<&Self> {
        self.entry(key).map(|entry| &entry.value)
    }

    /// Where the value begins that a JSON pointer (RFC 6901) leads to.
    #[must_use]
    pub fn locate(&self, json_pointer: &str) -> Option<Position> {
        self.follow(json_pointer).map(|node| node.position)
    }

    /// Where the key of the value begins that a JSON pointer leads to; of an item
    /// of a list and of the root, where the value does.
    #[must_use]
    pub fn locate_key(&self, json_pointer: &str) -> Option<Position> {
        let Some((parent, last)) = json_pointer.rsplit_once('/') else {
            return self.locate(json_pointer);
        };
        let parent = self.follow(parent)?;
        match parent.entry(&unescape(last)) {
            Some(entry) => Some(entry.key_position),
            None => parent.step(last).map(|node| node.position),
        }
    }

    /// The value that a JSON pointer leads to.
    #[must_use]
    pub fn follow(&self, json_pointer: &str) -> Option<&Self> {
        let mut steps = json_pointer.split('/');
        if steps.next() != Some("") {
            return None;
        }
        steps.try_fold(self, Self::step)
    }

    fn step(&self, token: &str) -> Option<&Self> {
        match &self.kind {
            NodeKind::Scalar(_) => None,
            NodeKind::Sequence(items) => items.get(token.parse::<usize>().ok()?),
            NodeKind::Mapping(_) => self.value(&unescape(token)),
        }
    }

    fn entry(&self, key: &str) -> Option<&Entry> {
        match &self.kind {
            NodeKind::Mapping(entries) => entries.iter().find(|entry| entry.key == key),
            _ => None,
        }
    }
}

fn unescape(token: &str) -> String {
    token.replace("~1", "/").replace("~0", "~")
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}
