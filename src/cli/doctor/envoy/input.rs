//! What is to be looked at: read, and sorted by what it is.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;
use url::Url;

use super::view::View;
use crate::fetch::{Exchange as _, HttpClient, Limits, Outgoing, is_secure};
use crate::yaml::{self, Document, Entry, Node, NodeKind, Position, Scalar};

/// The dump of an Envoy with some thousand routes has a few megabytes.
const LIMITS: Limits = Limits { timeout: Duration::from_secs(30), max_bytes: 64 << 20 };

/// The documents of one source.
pub(super) struct Input {
    /// For messages: the file, or the address.
    pub(super) name: String,
    documents: Vec<Document>,
}

/// One document, by what it is.
pub(super) enum Part<'a> {
    /// An Envoy's bootstrap.
    Bootstrap(View<'a>),
    /// What an Envoy's admin port shows at `/config_dump`.
    Dump(View<'a>),
    /// Istio's own configuration, without a Kubernetes object around it.
    Mesh(View<'a>),
    /// A Kubernetes object.
    Object(View<'a>),
}

impl Input {
    /// Reads a file, or asks a running Envoy.
    pub(super) fn read(target: &str) -> anyhow::Result<Self> {
        let documents = if target.starts_with("http://") || target.starts_with("https://") {
            vec![ask(target)?]
        } else {
            read_file(Path::new(target)).with_context(|| format!("`{target}`"))?
        };
        Ok(Self { name: target.to_owned(), documents })
    }

    #[cfg(test)]
    pub(super) fn of(name: &str, documents: Vec<Document>) -> Self {
        Self { name: name.to_owned(), documents }
    }

    /// All documents, sorted. One that is nothing of what is known is an error: it may
    /// be what opens the door.
    pub(super) fn parts(&self) -> anyhow::Result<Vec<Part<'_>>> {
        let mut parts = Vec::new();
        for document in &self.documents {
            if document.root.kind != NodeKind::Scalar(Scalar::Null) {
                self.sort(document, &mut parts)?;
            }
        }
        ensure!(!parts.is_empty(), "`{}` holds nothing", self.name);
        Ok(parts)
    }

    fn sort<'a>(&self, document: &'a Document, parts: &mut Vec<Part<'a>>) -> anyhow::Result<()> {
        let view = View::new(&document.root, "");
        let has = |name: &str| view.get(name).is_some();
        if has("configs") {
            parts.push(Part::Dump(view));
        } else if has("apiVersion") && has("kind") {
            if view.word("kind").ends_with("List") {
                parts.extend(view.list("items").into_iter().map(Part::Object));
            } else {
                parts.push(Part::Object(view));
            }
        } else if has("static_resources") || has("dynamic_resources") {
            parts.push(Part::Bootstrap(view));
        } else if has("extensionProviders") || has("meshConfig") {
            let inner = view.get("meshConfig").unwrap_or(view);
            parts.push(Part::Mesh(inner));
        } else {
            bail!(
                "`{}`, line {}: neither an Envoy configuration, nor its /config_dump, nor a \
                 Kubernetes object, nor Istio's mesh configuration",
                self.name,
                document.line
            );
        }
        Ok(())
    }
}

fn read_file(file: &Path) -> anyhow::Result<Vec<Document>> {
    let text = std::fs::read_to_string(file)?;
    match yaml::parse(&text) {
        Ok(documents) => Ok(documents),
        // A few escapes of JSON are none of YAML.
        Err(error) => match serde_json::from_str(&text) {
            Ok(value) => Ok(vec![without_lines(&value)]),
            Err(_) => Err(error.into()),
        },
    }
}

fn ask(target: &str) -> anyhow::Result<Document> {
    let mut url = Url::parse(target).with_context(|| format!("`{target}`"))?;
    ensure!(is_secure(&url), "`{target}` is neither https nor on loopback");
    if url.path() == "/" {
        url.set_path("/config_dump");
        // Without these the endpoints of discovered clusters are left out.
        url.set_query(Some("include_eds"));
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the runtime can't be started")?;
    let client = HttpClient::new().context("the HTTP client can't be set up")?;
    let request = Outgoing { url: &url, headers: Vec::new(), body: None };
    let answer = runtime.block_on(client.exchange(request, LIMITS))?;
    ensure!(answer.status.is_success(), "`{url}` answered {}", answer.status);
    let value = serde_json::from_slice(&answer.body)
        .with_context(|| format!("`{url}` answered something that is no JSON"))?;
    Ok(without_lines(&value))
}

/// A text within a document that is a document itself.
pub(super) fn embedded(text: &str) -> anyhow::Result<Vec<Document>> {
    Ok(yaml::parse(text)?)
}

fn without_lines(value: &Value) -> Document {
    Document { root: node(value), line: 0 }
}

fn node(value: &Value) -> Node {
    let position = Position { line: 0, column: 0 };
    let kind = match value {
        Value::Null => NodeKind::Scalar(Scalar::Null),
        Value::Bool(value) => NodeKind::Scalar(Scalar::Bool(*value)),
        Value::Number(value) => NodeKind::Scalar(Scalar::Number(value.clone())),
        Value::String(value) => NodeKind::Scalar(Scalar::String(value.clone())),
        Value::Array(items) => NodeKind::Sequence(items.iter().map(node).collect()),
        Value::Object(members) => NodeKind::Mapping(
            members
                .iter()
                .map(|(key, value)| Entry {
                    key: key.clone(),
                    key_position: position,
                    value: node(value),
                })
                .collect(),
        ),
    };
    Node { position, kind }
}
