//! The JSON Schema of the configuration file, for editors and for [`structure`].
//!
//! [`structure`]: super::structure

use schemars::generate::SchemaSettings;
use schemars::transform::{Transform, transform_subschemas};
use schemars::{JsonSchema, Schema};
use serde_json::Value;

use super::document::Document;

/// The JSON Schema (2020-12) of the configuration file.
#[must_use]
pub fn schema() -> Value {
    let mut schema = of::<Document>();
    if let Some(schema) = schema.as_object_mut() {
        schema.insert("title".to_owned(), "Stagedoor configuration".into());
    }
    schema
}

/// The JSON Schema of a file that is written by people.
pub(super) fn of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        // Without references, a place in the file leads to its schema directly.
        settings.inline_subschemas = true;
        settings.transforms.push(Box::new(AsWritten));
    });
    let schema = settings.into_generator().into_root_schema_for::<T>();
    schema.to_value()
}

/// Says what a person may write rather than what the Rust type may hold: nothing
/// stands for no value, and what must be given has no default.
#[derive(Clone)]
struct AsWritten;

impl Transform for AsWritten {
    fn transform(&mut self, schema: &mut Schema) {
        if let Some(Value::Array(types)) = schema.get_mut("type") {
            types.retain(|kind| kind != "null");
            if let [only] = types.as_slice() {
                let only = only.clone();
                schema.insert("type".to_owned(), only);
            }
        }
        if let Some(Value::Array(values)) = schema.get_mut("enum") {
            values.retain(|value| !value.is_null());
        }
        // A section's default is that of its parts.
        let section = schema.get("properties").is_some();
        if section || schema.get("default").is_some_and(Value::is_null) {
            schema.remove("default");
        }
        // The names of Rust's integer types.
        if schema.get("format").is_some() {
            schema.remove("format");
        }
        let required = schema.get("required").cloned().unwrap_or_default();
        if let Some(Value::Object(properties)) = schema.get_mut("properties") {
            for name in required.as_array().into_iter().flatten().filter_map(Value::as_str) {
                if let Some(Value::Object(property)) = properties.get_mut(name) {
                    property.remove("default");
                }
            }
        }
        transform_subschemas(self, schema);
    }
}

/// The schema of the value that a JSON pointer leads to.
pub(super) fn at<'s>(schema: &'s Value, pointer: &str) -> Option<&'s Value> {
    pointer.split('/').skip(1).try_fold(schema, |schema, token| {
        let token = token.replace("~1", "/").replace("~0", "~");
        match schema.get("properties") {
            Some(properties) => properties.get(&token),
            None => schema.get("items").or_else(|| schema.get("additionalProperties")),
        }
    })
}
