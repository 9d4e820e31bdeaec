//! The JSON Schema of a line, from the types that write it.

use schemars::Schema;
use schemars::generate::SchemaSettings;
use schemars::transform::{Transform, transform_subschemas};
use serde_json::Value;

use super::RecordForm;

/// The JSON Schema (draft 2020-12) of one line.
#[must_use]
pub fn schema() -> Value {
    let settings = SchemaSettings::draft2020_12().for_serialize().with(|settings| {
        settings.transforms.push(Box::new(AsWritten));
    });
    let mut schema = settings.into_generator().into_root_schema_for::<RecordForm<'static>>();
    schema.insert("title".to_owned(), "Stagedoor audit record".into());
    schema.to_value()
}

/// A member without a value is left out: no `null` is ever written. And the names of Rust's
/// integers mean nothing to anybody else.
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
        if let Some(Value::Array(choices)) = schema.get_mut("anyOf") {
            choices.retain(|choice| choice.get("type").is_none_or(|kind| kind != "null"));
            if let [Value::Object(only)] = choices.as_slice() {
                let only = only.clone();
                schema.remove("anyOf");
                for (keyword, value) in only {
                    schema.insert(keyword, value);
                }
            }
        }
        if schema.get("format").is_some_and(|format| format != "date-time") {
            schema.remove("format");
        }
        schema.remove("default");
        transform_subschemas(self, schema);
    }
}
