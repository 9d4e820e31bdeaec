//! From the parser's events to nodes, within bounds.

use std::collections::{HashMap, HashSet};

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span, StrInput, Tag};

use super::{Document, Entry, Node, NodeKind, Position, Scalar, YamlError, scalar};

/// Lists and mappings in each other.
const MAX_DEPTH: usize = 64;
/// Nodes in all documents, aliases expanded: enough for 100,000 routes, which are 1.3 million.
const MAX_NODES: usize = 2_000_000;
/// Bytes of texts and keys in all documents, aliases expanded.
const MAX_BYTES: usize = 64 << 20;

pub(super) fn documents(text: &str) -> Result<Vec<Document>, YamlError> {
    refuse_controls(text)?;
    let mut composer = Composer {
        parser: Parser::new_from_str(text),
        anchors: HashMap::new(),
        total: Size::default(),
    };
    let mut documents = Vec::new();
    loop {
        let (event, at) = composer.next()?;
        match event {
            Event::StreamEnd => return Ok(documents),
            Event::DocumentStart(_) => {
                let (event, start) = composer.next()?;
                let (root, _) = composer.node(event, start, 0)?;
                documents.push(Document { root, line: at.line });
            }
            _ => {}
        }
    }
}

/// The parser takes a NUL for the end of the text, so what follows one would be
/// dropped unseen; YAML allows none of the others either.
fn refuse_controls(text: &str) -> Result<(), YamlError> {
    let mut at = Position { line: 1, column: 1 };
    for c in text.chars() {
        match c {
            '\n' => at = Position { line: at.line + 1, column: 1 },
            '\t' | '\r' => at.column += 1,
            c if u32::from(c) < 0x20 => {
                let code = u32::from(c);
                return Err(YamlError::new(at, format!("control character U+{code:04X}")));
            }
            _ => at.column += 1,
        }
    }
    Ok(())
}

struct Composer<'a> {
    parser: Parser<'a, StrInput<'a>>,
    anchors: HashMap<usize, (Node, Size)>,
    total: Size,
}

/// How much a node holds, itself included.
#[derive(Clone, Copy, Default)]
struct Size {
    nodes: usize,
    bytes: usize,
    /// Lists and mappings in each other.
    height: usize,
}

impl Size {
    /// Counts a part in.
    fn add(&mut self, part: Self) {
        self.nodes += part.nodes;
        self.bytes += part.bytes;
        self.height = self.height.max(part.height + 1);
    }
}

impl<'a> Composer<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Position), YamlError> {
        match self.parser.next_event() {
            Some(Ok((event, Span { start, .. }))) => Ok((event, position(&start))),
            Some(Err(error)) => Err(syntax(&error)),
            None => {
                Err(YamlError::new(Position { line: 1, column: 1 }, "the text ends unexpectedly"))
            }
        }
    }

    /// The node that begins with an event, `depth` lists and mappings down.
    fn node(
        &mut self,
        event: Event<'a>,
        at: Position,
        depth: usize,
    ) -> Result<(Node, Size), YamlError> {
        let (kind, anchor, size) = match event {
            Event::Alias(id) => return self.alias(id, at, depth),
            Event::Scalar(text, style, anchor, tag) => {
                let size = Size { nodes: 1, bytes: text.len(), height: 0 };
                self.count(size, at)?;
                let scalar = scalar(&text, style, tag.as_deref(), at)?;
                (NodeKind::Scalar(scalar), anchor, size)
            }
            Event::SequenceStart(anchor, tag) => {
                self.enter(tag.as_deref(), "seq", at, depth)?;
                let (items, size) = self.sequence(depth + 1)?;
                (NodeKind::Sequence(items), anchor, size)
            }
            Event::MappingStart(anchor, tag) => {
                self.enter(tag.as_deref(), "map", at, depth)?;
                let (entries, size) = self.mapping(depth + 1)?;
                (NodeKind::Mapping(entries), anchor, size)
            }
            _ => return Err(YamlError::new(at, "expected a value")),
        };
        let node = Node { position: at, kind };
        if anchor != 0 {
            // The copy is held too, so it counts.
            self.count(size, at)?;
            self.anchors.insert(anchor, (node.clone(), size));
        }
        Ok((node, size))
    }

    fn sequence(&mut self, depth: usize) -> Result<(Vec<Node>, Size), YamlError> {
        let mut items = Vec::new();
        let mut size = Size { nodes: 1, bytes: 0, height: 1 };
        loop {
            let (event, at) = self.next()?;
            if event == Event::SequenceEnd {
                return Ok((items, size));
            }
            let (item, item_size) = self.node(event, at, depth)?;
            size.add(item_size);
            items.push(item);
        }
    }

    fn mapping(&mut self, depth: usize) -> Result<(Vec<Entry>, Size), YamlError> {
        let mut entries = Vec::new();
        let mut size = Size { nodes: 1, bytes: 0, height: 1 };
        let mut keys = HashSet::new();
        loop {
            let (event, key_position) = self.next()?;
            if event == Event::MappingEnd {
                return Ok((entries, size));
            }
            let (node, key_size) = self.node(event, key_position, depth)?;
            let key = key(node)?;
            if !keys.insert(key.clone()) {
                let message = format!("the key `{key}` is given twice");
                return Err(YamlError::new(key_position, message));
            }
            let (event, mut at) = self.next()?;
            if is_empty(&event) {
                // The parser places nothing where the next thing begins.
                at = key_position;
            }
            let (value, value_size) = self.node(event, at, depth)?;
            size.add(key_size);
            size.add(value_size);
            entries.push(Entry { key, key_position, value });
        }
    }

    fn alias(&mut self, id: usize, at: Position, depth: usize) -> Result<(Node, Size), YamlError> {
        let Some((node, size)) = self.anchors.get(&id) else {
            return Err(YamlError::new(at, "an alias can't stand inside of what it stands for"));
        };
        if depth + size.height > MAX_DEPTH {
            return Err(too_deep(at));
        }
        // Before the copy: the count is what bounds the memory.
        self.total = within(self.total, *size, at)?;
        Ok((Node { position: at, kind: node.kind.clone() }, *size))
    }

    /// What a list or a mapping must keep to before its parts are read.
    fn enter(
        &mut self,
        tag: Option<&Tag>,
        own: &str,
        at: Position,
        depth: usize,
    ) -> Result<(), YamlError> {
        if depth >= MAX_DEPTH {
            return Err(too_deep(at));
        }
        match tag {
            None => {}
            Some(tag) if is_unspecific(tag) => {}
            Some(tag) if core(tag, at)? == own => {}
            Some(tag) => {
                let given = core(tag, at)?;
                let message = format!("the tag `!!{given}` doesn't fit a `!!{own}`");
                return Err(YamlError::new(at, message));
            }
        }
        self.count(Size { nodes: 1, bytes: 0, height: 0 }, at)
    }

    fn count(&mut self, size: Size, at: Position) -> Result<(), YamlError> {
        self.total = within(self.total, size, at)?;
        Ok(())
    }
}

fn within(total: Size, part: Size, at: Position) -> Result<Size, YamlError> {
    let nodes = total.nodes.saturating_add(part.nodes);
    let bytes = total.bytes.saturating_add(part.bytes);
    if nodes > MAX_NODES {
        return Err(YamlError::new(at, format!("more than {MAX_NODES} values, aliases expanded")));
    }
    if bytes > MAX_BYTES {
        return Err(YamlError::new(at, format!("more than {MAX_BYTES} bytes, aliases expanded")));
    }
    Ok(Size { nodes, bytes, height: 0 })
}

fn scalar(
    text: &str,
    style: ScalarStyle,
    tag: Option<&Tag>,
    at: Position,
) -> Result<Scalar, YamlError> {
    let string = || Scalar::String(text.to_owned());
    let resolved = || scalar::resolve(text).map_err(|message| YamlError::new(at, message));
    let Some(tag) = tag else {
        return if style == ScalarStyle::Plain { resolved() } else { Ok(string()) };
    };
    if is_unspecific(tag) {
        return Ok(string());
    }
    let wanted = core(tag, at)?;
    if wanted == "str" {
        return Ok(string());
    }
    match (wanted, resolved()?) {
        ("null", Scalar::Null) => Ok(Scalar::Null),
        ("bool", Scalar::Bool(value)) => Ok(Scalar::Bool(value)),
        ("int", Scalar::Number(number)) if !number.is_f64() => Ok(Scalar::Number(number)),
        ("float", Scalar::Number(number)) => Ok(Scalar::Number(number)),
        _ => Err(YamlError::new(at, format!("`{text}` isn't a `!!{wanted}`"))),
    }
}

/// The non-specific tag `!`: not a plain scalar, but nothing else either.
fn is_unspecific(tag: &Tag) -> bool {
    tag.handle.is_empty() && tag.suffix == "!"
}

/// The name of a tag of the core schema, short or verbatim (`!<tag:yaml.org,2002:str>`).
fn core(tag: &Tag, at: Position) -> Result<&str, YamlError> {
    let name = if tag.is_yaml_core_schema() {
        Some(tag.suffix.as_str())
    } else if tag.handle.is_empty() {
        tag.suffix.strip_prefix("tag:yaml.org,2002:")
    } else {
        None
    };
    name.filter(|name| matches!(*name, "str" | "null" | "bool" | "int" | "float" | "seq" | "map"))
        .ok_or_else(|| {
            let message =
                format!("the tag `{}{}` isn't of the core schema", tag.handle, tag.suffix);
            YamlError::new(at, message)
        })
}

fn key(node: Node) -> Result<String, YamlError> {
    match node.kind {
        NodeKind::Scalar(Scalar::String(text)) => Ok(text),
        NodeKind::Scalar(Scalar::Number(number)) => Ok(number.to_string()),
        NodeKind::Scalar(Scalar::Bool(value)) => Ok(value.to_string()),
        NodeKind::Scalar(Scalar::Null) => Err(YamlError::new(node.position, "a key is missing")),
        NodeKind::Sequence(_) | NodeKind::Mapping(_) => {
            Err(YamlError::new(node.position, "a key must be a text"))
        }
    }
}

fn is_empty(event: &Event<'_>) -> bool {
    matches!(event, Event::Scalar(text, ScalarStyle::Plain, ..) if text.is_empty())
}

fn too_deep(at: Position) -> YamlError {
    YamlError::new(at, format!("more than {MAX_DEPTH} lists and mappings in each other"))
}

fn syntax(error: &ScanError) -> YamlError {
    YamlError::new(position(error.marker()), error.info())
}

fn position(marker: &Marker) -> Position {
    Position { line: marker.line(), column: marker.col() + 1 }
}
