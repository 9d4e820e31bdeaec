//! A value of a document and the way to it.

use std::time::Duration;

use crate::yaml::{Node, NodeKind, Scalar};

/// A value, with its path in the document.
#[derive(Clone, Debug)]
pub(super) struct View<'a> {
    node: &'a Node,
    path: String,
    /// The line of a text that all of this stands in.
    within: Option<usize>,
}

impl<'a> View<'a> {
    pub(super) fn new(node: &'a Node, path: impl Into<String>) -> Self {
        Self { node, path: path.into(), within: None }
    }

    /// The same, which stands in a text that begins on this line.
    pub(super) fn with_line(self, within: Option<usize>) -> Self {
        Self { within, ..self }
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// Where it begins; nothing for what has no lines, such as an answer of Envoy.
    pub(super) fn line(&self) -> Option<usize> {
        self.within.or(Some(self.node.position.line)).filter(|line| *line > 0)
    }

    /// A member, by its name in the protobuf; the JSON form of the name is the same
    /// member. What is null is not there.
    pub(super) fn get(&self, name: &str) -> Option<Self> {
        let json = camel(name);
        let (name, node) = [name, json.as_str()]
            .into_iter()
            .find_map(|name| self.node.value(name).map(|node| (name, node)))?;
        let there = node.kind != NodeKind::Scalar(Scalar::Null);
        there.then(|| self.part(node, join(&self.path, name)))
    }

    fn part(&self, node: &'a Node, path: String) -> Self {
        Self { node, path, within: self.within }
    }

    /// A member of a member of …
    pub(super) fn at(&self, names: &[&str]) -> Option<Self> {
        names.iter().try_fold(self.clone(), |view, name| view.get(name))
    }

    /// The items of a list; nothing of anything else.
    pub(super) fn items(&self) -> Vec<Self> {
        let NodeKind::Sequence(items) = &self.node.kind else { return Vec::new() };
        items
            .iter()
            .enumerate()
            .map(|(at, node)| self.part(node, format!("{}[{at}]", self.path)))
            .collect()
    }

    /// The items of a member that is a list.
    pub(super) fn list(&self, name: &str) -> Vec<Self> {
        self.get(name).map(|list| list.items()).unwrap_or_default()
    }

    /// The members of a mapping; nothing of anything else.
    pub(super) fn members(&self) -> Vec<(&'a str, Self)> {
        let NodeKind::Mapping(entries) = &self.node.kind else { return Vec::new() };
        entries
            .iter()
            .map(|entry| {
                let path = format!("{}[\"{}\"]", self.path, entry.key);
                (entry.key.as_str(), self.part(&entry.value, path))
            })
            .collect()
    }

    pub(super) fn is_mapping(&self) -> bool {
        matches!(self.node.kind, NodeKind::Mapping(_))
    }

    pub(super) fn text(&self) -> Option<&'a str> {
        match &self.node.kind {
            NodeKind::Scalar(Scalar::String(text)) => Some(text),
            _ => None,
        }
    }

    /// A member that is a text; empty where it isn't there.
    pub(super) fn word(&self, name: &str) -> &'a str {
        self.get(name).and_then(|view| view.text()).unwrap_or_default()
    }

    /// As it would be written.
    pub(super) fn shown(&self) -> String {
        match &self.node.kind {
            NodeKind::Scalar(Scalar::String(text)) => text.clone(),
            _ => self.node.to_json().to_string(),
        }
    }

    pub(super) fn number(&self) -> Option<f64> {
        match &self.node.kind {
            NodeKind::Scalar(Scalar::Number(number)) => number.as_f64(),
            NodeKind::Scalar(Scalar::String(text)) => text.parse().ok(),
            _ => None,
        }
    }

    /// Whether a member is there and is anything but `false`.
    pub(super) fn may_be_on(&self, name: &str) -> Option<Self> {
        self.get(name).filter(|view| view.node.kind != NodeKind::Scalar(Scalar::Bool(false)))
    }

    /// Whether a member is `true`, beyond doubt.
    pub(super) fn is_on(&self, name: &str) -> bool {
        self.get(name).is_some_and(|view| view.node.kind == NodeKind::Scalar(Scalar::Bool(true)))
    }

    /// Whether an enumeration has one of these values, each by its name and its number.
    pub(super) fn is_one_of(&self, values: &[(&str, f64)]) -> bool {
        values.iter().any(|(name, number)| {
            self.text().is_some_and(|text| text.eq_ignore_ascii_case(name))
                || self.number() == Some(*number)
        })
    }

    /// A duration as protobuf (`0.2s`) or Kubernetes (`200ms`, `1m`) has it.
    pub(super) fn duration(&self) -> Option<Duration> {
        let text = self.text()?;
        let units = [("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
        let (number, factor) = units
            .iter()
            .find_map(|(unit, factor)| text.strip_suffix(unit).map(|number| (number, factor)))?;
        Duration::try_from_secs_f64(number.parse::<f64>().ok()? * factor).ok()
    }

    /// What an `Any` holds: the type's name without its address, and the message.
    pub(super) fn typed(&self) -> (&'a str, Self) {
        let name = |of: &Self, key: &str| {
            let url = of.word(key);
            url.rsplit_once('/').map_or(url, |(_, name)| name)
        };
        match name(self, "@type") {
            "udpa.type.v1.TypedStruct" | "xds.type.v3.TypedStruct" => {
                (name(self, "type_url"), self.get("value").unwrap_or_else(|| self.clone()))
            }
            known => (known, self.clone()),
        }
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// `failure_mode_allow` as JSON spells it: `failureModeAllow`.
fn camel(name: &str) -> String {
    let mut upper = false;
    let mut out = String::with_capacity(name.len());
    for c in name.chars() {
        match c {
            '_' => upper = true,
            c if upper => {
                out.push(c.to_ascii_uppercase());
                upper = false;
            }
            c => out.push(c),
        }
    }
    out
}
