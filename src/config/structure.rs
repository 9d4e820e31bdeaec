//! Whether a file has the shape of a configuration: known keys, the right types.

use jsonschema::Validator;
use jsonschema::error::ValidationErrorKind;
use serde_json::Value;

use super::problem::{below, shown};
use super::schema;
use crate::nearest::nearest;

/// A mistake in the shape of the file.
pub(super) struct Flaw {
    /// What it is about, as a JSON pointer.
    pub(super) pointer: String,
    /// Where it is, as a JSON pointer.
    pub(super) place: String,
    /// What is not judged further because of it: the value that was taken away, the
    /// one that is missing.
    pub(super) spoils: Vec<String>,
    /// Whether it is at the key rather than at the value.
    pub(super) at_key: bool,
    /// What is wrong, and what is expected.
    pub(super) message: String,
}

/// Finds every mistake in the shape of `json` and takes what is wrong away, so
/// that the rest can be read.
pub(super) fn check(schema: &Value, validator: &Validator, json: &mut Value) -> Vec<Flaw> {
    let mut flaws: Vec<Flaw> = Vec::new();
    for error in validator.iter_errors(json) {
        let pointer = error.instance_path().as_str().to_owned();
        let expected = schema::at(schema, &pointer).unwrap_or(&Value::Null);
        match error.kind() {
            ValidationErrorKind::AdditionalProperties { unexpected } => {
                let given = error.instance();
                flaws.extend(
                    unexpected.iter().map(|key| unknown_key(&pointer, key, given, expected)),
                );
            }
            ValidationErrorKind::Required { property } => {
                flaws.push(missing_key(&pointer, property.as_str().unwrap_or_default(), expected));
            }
            kind => {
                let message = wrong_value(kind, error.instance(), expected);
                let (place, spoils) = (pointer.clone(), vec![pointer.clone()]);
                flaws.push(Flaw { pointer, place, spoils, at_key: false, message });
            }
        }
    }
    // A key that is only misspelt isn't missing as well.
    let misspelt: Vec<String> =
        flaws.iter().filter_map(|flaw| flaw.spoils.get(1)).cloned().collect();
    flaws.retain(|flaw| {
        let missing = flaw.at_key && flaw.place == flaw.pointer;
        !missing || flaw.spoils.iter().all(|key| !misspelt.contains(key))
    });
    for gone in flaws.iter_mut().filter_map(|flaw| flaw.spoils.first_mut()) {
        *gone = take(json, gone);
    }
    flaws
}

/// More known keys than this are not listed where one of them is likely meant.
const MAX_LISTED: usize = 30;

fn unknown_key(pointer: &str, key: &str, given: &Value, expected: &Value) -> Flaw {
    let known: Vec<&str> = expected
        .get("properties")
        .and_then(Value::as_object)
        .map(|properties| properties.keys().map(String::as_str).collect())
        .unwrap_or_default();
    let place = below(pointer, key);
    let mut spoils = vec![place.clone()];
    let mut message = format!("unknown key `{}`", shown(key));
    let free: Vec<&str> =
        known.iter().copied().filter(|known| given.get(known).is_none()).collect();
    if let Some(hint) = secret_hint(key, &known) {
        message.push_str(&hint);
    } else if let Some(meant) = nearest(key, &free) {
        message.push_str(&format!(": did you mean `{meant}`?"));
        spoils.push(below(pointer, meant));
    }
    // Nobody looks through the codes of all reasons for the one that was named already.
    if spoils.len() < 2 || known.len() <= MAX_LISTED {
        message.push_str(&format!(" (known here: {})", listed(&known)));
    }
    Flaw { pointer: pointer.to_owned(), place, spoils, at_key: true, message }
}

/// Secrets are given by file; a key that asks for one in the text is told so.
fn secret_hint(key: &str, known: &[&str]) -> Option<String> {
    let key = key.to_ascii_lowercase();
    let secret = ["token", "secret", "password", "passphrase", "credential", "api_key", "apikey"];
    if !secret.iter().any(|word| key.contains(word)) {
        return None;
    }
    let of_secret =
        |known: &&&str| known.ends_with("_file") && secret.iter().any(|word| known.contains(word));
    Some(match known.iter().find(of_secret) {
        Some(file) => format!(": a secret is never written here; `{file}` names its file"),
        // `max_token_byte` and its like are slips.
        None if nearest(&key, known).is_some() => return None,
        None => ": if it is a secret, it is never written here".to_owned(),
    })
}

fn missing_key(pointer: &str, key: &str, expected: &Value) -> Flaw {
    let purpose = expected
        .pointer(&format!("/properties/{key}/description"))
        .and_then(Value::as_str)
        .map(first_sentence)
        .unwrap_or_default();
    Flaw {
        pointer: pointer.to_owned(),
        place: pointer.to_owned(),
        spoils: vec![below(pointer, key)],
        at_key: true,
        message: format!("missing key `{key}`: {purpose}"),
    }
}

fn wrong_value(kind: &ValidationErrorKind, found: &Value, expected: &Value) -> String {
    match kind {
        ValidationErrorKind::Minimum { limit } => format!("must be at least `{limit}`"),
        ValidationErrorKind::Maximum { limit } => format!("must be at most `{limit}`"),
        ValidationErrorKind::MinItems { .. } => "must not be empty".to_owned(),
        _ => format!("expected {}, found {}", kind_of(expected), described(found)),
    }
}

/// What a schema asks for, in words.
fn kind_of(schema: &Value) -> String {
    if schema.get("properties").is_some() {
        return "a mapping".to_owned();
    }
    if let Some(title) = schema.get("title").and_then(Value::as_str) {
        return title.to_owned();
    }
    if let Some(values) = schema.get("enum").and_then(Value::as_array) {
        let words: Vec<&str> = values.iter().filter_map(Value::as_str).collect();
        return format!("one of {}", listed(&words));
    }
    // Values that each have a description of their own.
    if let Some(values) = schema.get("oneOf").and_then(Value::as_array) {
        let words: Vec<&str> =
            values.iter().filter_map(|value| value.get("const")?.as_str()).collect();
        return format!("one of {}", listed(&words));
    }
    match schema.get("type").and_then(Value::as_str) {
        Some("array") => "a list",
        Some("string") => "a text",
        Some("integer") => "a whole number",
        Some("object") => "a mapping",
        Some("boolean") => "`true` or `false`",
        _ => "another value",
    }
    .to_owned()
}

fn described(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(value) => format!("`{value}`"),
        Value::Number(value) => format!("the number `{value}`"),
        Value::String(value) => format!("the text `{}`", shown(value)),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a mapping".to_owned(),
    }
}

fn listed(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

fn first_sentence(text: &str) -> String {
    let text = text.replace('\n', " ");
    let end = text.find(". ").or_else(|| text.strip_suffix('.').map(str::len));
    let sentence = end.and_then(|end| text.get(..end)).unwrap_or(&text);
    let mut chars = sentence.chars();
    chars.next().map(|first| first.to_lowercase().chain(chars).collect()).unwrap_or_default()
}

/// Takes a value away, with the list it is in, since other items would be renamed.
/// Tells what is gone, even where it wasn't there.
fn take(json: &mut Value, pointer: &str) -> String {
    let mut pointer = pointer;
    while let Some((parent, last)) = pointer.rsplit_once('/') {
        match json.pointer_mut(parent) {
            Some(Value::Object(map)) => {
                map.remove(&last.replace("~1", "/").replace("~0", "~"));
                return pointer.to_owned();
            }
            Some(_) => pointer = parent,
            // Gone with what held it.
            None => return pointer.to_owned(),
        }
    }
    *json = Value::Object(serde_json::Map::new());
    String::new()
}
