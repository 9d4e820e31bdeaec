//! An entity as Backstage writes it, as far as Stagedoor reads it.
//!
//! From the catalog API or from a YAML file. Everything is read defensively: what is
//! not of the expected form is left out, because a catalog author may have written
//! anything.

use std::collections::HashMap;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// An entity.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct RawEntity {
    pub(super) kind: String,
    pub(super) metadata: Metadata,
    #[serde(default)]
    pub(super) spec: Spec,
    #[serde(default)]
    pub(super) relations: Vec<Relation>,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Metadata {
    pub(super) name: String,
    #[serde(default, deserialize_with = "text")]
    pub(super) namespace: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub(super) title: Option<String>,
    #[serde(default, deserialize_with = "texts_by_name")]
    pub(super) annotations: HashMap<String, String>,
    #[serde(default, deserialize_with = "texts")]
    pub(super) tags: Vec<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Spec {
    #[serde(default, rename = "type", deserialize_with = "text")]
    pub(super) spec_type: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub(super) lifecycle: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub(super) owner: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub(super) system: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub(super) domain: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub(super) subcomponent_of: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub(super) subdomain_of: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub(super) parent: Option<String>,
    #[serde(default, deserialize_with = "texts")]
    pub(super) children: Vec<String>,
    #[serde(default, deserialize_with = "texts")]
    pub(super) member_of: Vec<String>,
    #[serde(default, deserialize_with = "texts")]
    pub(super) members: Vec<String>,
    #[serde(default)]
    pub(super) profile: Value,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Relation {
    #[serde(default, rename = "type")]
    pub(super) relation: String,
    #[serde(default)]
    pub(super) target_ref: String,
}

fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::String(text) => Some(text),
        _ => None,
    })
}

fn texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::Array(items) => items
            .into_iter()
            .filter_map(|item| match item {
                Value::String(text) => Some(text),
                _ => None,
            })
            .collect(),
        _ => Vec::new(),
    })
}

fn texts_by_name<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<HashMap<String, String>, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::Object(members) => members
            .into_iter()
            .filter_map(|(name, value)| match value {
                Value::String(text) => Some((name, text)),
                _ => None,
            })
            .collect(),
        _ => HashMap::new(),
    })
}
