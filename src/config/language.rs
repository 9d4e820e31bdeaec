//! A language's file: the texts of denials, held to the same rules as the configuration.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::problem::{Problem, below};
use super::{load, schema, structure};
use crate::domain::plain;
use crate::ext_authz::Texts;

/// A language has some dozens of sentences.
const MAX_BYTES: u64 = 256 << 10;
/// Nobody reads a longer sentence.
const MAX_CHARS: usize = 300;
/// Texts that say less without what they have a place for.
const PLACES: [(&str, &str); 2] = [("/ask_owners", "{owners}"), ("/page/more", "{count}")];

/// Reads a file.
///
/// # Errors
/// Every mistake, as `file:line:column: path: message`.
pub(super) fn load(file: &Path) -> Result<Texts, Vec<String>> {
    let shown = |problem: &Problem| {
        format!("{}:{}:{}: {problem}", file.display(), problem.line, problem.column)
    };
    let whole = |error: &dyn std::fmt::Display| vec![format!("{}: {error}", file.display())];
    let size = fs::metadata(file).map_err(|error| whole(&error))?.len();
    if size > MAX_BYTES {
        return Err(whole(&format!("is larger than {MAX_BYTES} bytes")));
    }
    let text = fs::read_to_string(file).map_err(|error| whole(&error))?;
    parse(&text).map_err(|problems| problems.iter().map(shown).collect())
}

fn parse(text: &str) -> Result<Texts, Vec<Problem>> {
    let root = load::document(text).map_err(|problem| vec![problem])?;
    let mut json = root.to_json();
    let schema = schema::of::<Texts>();
    let bug = |error: &dyn std::fmt::Display| {
        vec![load::place(&root, "", false, format!("can't be taken, which is a bug: {error}"))]
    };
    let validator = jsonschema::validator_for(&schema).map_err(|error| bug(&error))?;
    let flaws = structure::check(&schema, &validator, &mut json);
    let mut problems: Vec<Problem> = flaws.iter().map(|flaw| load::of_flaw(&root, flaw)).collect();
    let mut say = |pointer: &str, message: &str| {
        problems.push(load::place(&root, pointer, false, message.to_owned()));
    };
    texts(&json, "", &mut say);
    for (pointer, needed) in PLACES {
        let text = json.pointer(pointer).and_then(Value::as_str);
        if text.is_some_and(|text| !text.contains(needed)) {
            say(pointer, &format!("must hold `{needed}`"));
        }
    }
    if !problems.is_empty() {
        problems.sort();
        return Err(problems);
    }
    serde_json::from_value(json).map_err(|error| bug(&error))
}

/// Looks at every text below a value.
fn texts(value: &Value, pointer: &str, say: &mut impl FnMut(&str, &str)) {
    match value {
        Value::String(text) if text.trim().is_empty() => say(pointer, "must not be empty"),
        Value::String(text) if text.chars().count() > MAX_CHARS => {
            say(pointer, &format!("must not be longer than {MAX_CHARS} characters"));
        }
        Value::String(text) if plain(text, MAX_CHARS) != *text => {
            say(pointer, "must be one line, without marks that turn the direction of writing");
        }
        Value::Object(map) => {
            for (key, value) in map {
                texts(value, &below(pointer, key), say);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let problems = parse(text).err().unwrap_or_default();
        let found: Vec<String> = problems
            .iter()
            .map(|problem| format!("{}:{}: {problem}", problem.line, problem.column))
            .collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn mistakes_have_their_places() {
        check("ask_owners: 'Fragen Sie {owners}.'\npage: { open: Öffnen }", &[]);
        check("{}", &[]);
        check("", &["1:1: the file is empty"]);
        check(
            "pages: {}\n",
            &[
                "1:1: unknown key `pages`: did you mean `page`? (known here: `direction`, `titles`, \
               `reasons`, `ask_owners`, `mail_subject`, `kinds`, `actions`, `page`)",
            ],
        );
        check(
            "reasons:\n  not_permited: { sentence: Nein. }\n",
            &["2:3: reasons: unknown key `not_permited`: did you mean `not_permitted`?"],
        );
        check(
            "direction: up\nask_owners: Fragen Sie.\npage:\n  more: ''\n  open: \"a\\nb\"\n  \
             owners: [x]\n  facts: \"\\u202e\"\ntitles: { request: 7 }\n",
            &[
                "1:12: direction: expected one of `ltr`, `rtl`, found the text `up`",
                "2:13: ask_owners: must hold `{owners}`",
                "4:9: page.more: must hold `{count}`",
                "4:9: page.more: must not be empty",
                "5:9: page.open: must be one line, without marks that turn the direction of \
                 writing",
                "6:11: page.owners: expected a text, found a list",
                "7:10: page.facts: must be one line, without marks that turn the direction of \
                 writing",
                "8:20: titles.request: expected a text, found the number `7`",
            ],
        );
        let long = "é".repeat(MAX_CHARS + 1);
        check(
            &format!("mail_subject: {long}"),
            &["1:15: mail_subject: must not be longer than 300 characters"],
        );
    }
}
