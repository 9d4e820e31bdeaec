//! `denial`, its languages and its template.

use super::*;
use crate::domain::Reason;
use crate::ext_authz::{Audience, Tell};

/// The mistakes of a section, in a folder with these files.
#[track_caller]
fn check_with(files: &[(&str, &str)], body: &str, expected: &[&str]) {
    let folder = folder();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).expect("file");
    }
    let found: Vec<String> = match Config::parse(&with("denial", body), folder.path()) {
        Ok(_) => Vec::new(),
        Err(problems) => problems
            .as_slice()
            .iter()
            .map(|problem| format!("{}:{}: {problem}", problem.line, problem.column))
            .map(|line| line.replace(&*folder.path().to_string_lossy(), "DIR"))
            .collect(),
    };
    assert_eq!(found, expected, "{body}");
}

#[test]
fn defaults_tell_strangers_nothing_of_ownership() {
    let config = good("denial", "{}");
    assert_eq!(config.denials.tell, Tell::default());
    for audience in [Tell::default().entity, Tell::default().owners, Tell::default().contacts] {
        assert_eq!(audience, Audience::Known);
    }
    assert_eq!(config.denials.backstage_url, None);
    let config = good("denial", "{tell: {owners: never, policies: everyone}}");
    let want = Tell { owners: Audience::Never, policies: Audience::Everyone, ..Tell::default() };
    assert_eq!(config.denials.tell, want);
}

#[test]
fn mistakes_have_their_places() {
    check_with(&[], "{backstage_url: 'https://backstage.example.com/base/'}", &[]);
    for base in ["https://example.com/reasons#", "urn:example:", "tag:example.com,2026:reason/"] {
        check_with(&[], &format!("{{problem_type_base: '{base}'}}"), &[]);
    }
    for (body, expected) in [
        (
            "{tell: {owner: known}}",
            "1:17: denial.tell: unknown key `owner`: did you mean `owners`? (known here: `entity`, \
             `owners`, `contacts`, `caller`, `advice`, `policies`)",
        ),
        (
            "{tell: {owners: all}}",
            "1:25: denial.tell.owners: expected one of `never`, `known`, `everyone`, found the \
             text `all`",
        ),
        (
            "{backstage_url: 'javascript:alert(1)'}",
            "1:25: denial.backstage_url: expected an address that begins with `https://`",
        ),
        (
            "{backstage_url: 'https://user@example.com'}",
            "1:25: denial.backstage_url: an address must hold no user and no password",
        ),
        (
            "{problem_type_base: 'reasons#'}",
            "1:29: denial.problem_type_base: expected the beginning of an address, such as \
             `https://example.com/#`",
        ),
        (
            "{problem_type_base: 'javascript:'}",
            "1:29: denial.problem_type_base: expected the beginning of an address, such as \
             `https://example.com/#`",
        ),
        ("{languages: [de]}", "1:21: denial.languages: expected a mapping, found a list"),
        (
            "{languages: {de: 7}}",
            "1:26: denial.languages.de: expected a text, found the number `7`",
        ),
        (
            "{languages: {de: nothing.yaml}}",
            "1:26: denial.languages.de: the file `DIR/nothing.yaml` can't be read: No such file or \
             directory (os error 2)",
        ),
        (
            "{template: nothing.html}",
            "1:20: denial.template: the file `DIR/nothing.html` can't be read: No such file or \
             directory (os error 2)",
        ),
    ] {
        check_with(&[], body, &[expected]);
    }
}

#[test]
fn languages_and_templates_are_read() {
    let good = "ask_owners: 'Fragen Sie {owners}.'";
    check_with(&[("de.yaml", good)], "{languages: {de: de.yaml, de-AT: de.yaml}}", &[]);
    check_with(
        &[("de.yaml", good)],
        "{languages: {de_AT: de.yaml, de: de.yaml, DE: de.yaml}}",
        &[
            "1:29: denial.languages.de_AT: expected a language's tag, such as `de` or `pt-br`",
            "1:42: denial.languages.de: is given twice",
        ],
    );
    check_with(
        &[("de.yaml", "titles:\n  request: x\n  caler: y\nkind: {}\n")],
        "{languages: {de: de.yaml}}",
        &[
            "1:26: denial.languages.de: DIR/de.yaml:3:3: titles: unknown key `caler`: did you mean \
             `caller`? (known here: `request`, `credentials`, `caller`, `stagedoor`)",
            "1:26: denial.languages.de: DIR/de.yaml:4:1: unknown key `kind`: did you mean `kinds`? \
             (known here: `direction`, `titles`, `reasons`, `ask_owners`, `mail_subject`, `kinds`, \
             `actions`, `page`)",
        ],
    );
    check_with(
        &[("de.yaml", "a: [")],
        "{languages: {de: de.yaml}}",
        &[
            "1:26: denial.languages.de: DIR/de.yaml:2:1: while parsing a node, did not find expected node content",
        ],
    );
    check_with(&[("page.html", "<p>{{ title }}")], "{template: page.html}", &[]);
    check_with(
        &[("page.html", "<p>\n{{ title ")],
        "{template: page.html}",
        &[
            "1:20: denial.template: DIR/page.html:2: syntax error: unexpected end of input, expected end of variable block",
        ],
    );
    check_with(
        &[("page.html", "<p>\n{{ titel }}")],
        "{template: page.html}",
        &["1:20: denial.template: DIR/page.html:2: undefined value"],
    );
}

/// Nothing is read that nobody would have written.
#[test]
fn languages_and_templates_have_a_largest_size() {
    let (language, page) = ("# a\n".repeat(70_000), "<!-- -->\n".repeat(8_000));
    check_with(
        &[("de.yaml", &language)],
        "{languages: {de: de.yaml}}",
        &["1:26: denial.languages.de: DIR/de.yaml: is larger than 262144 bytes"],
    );
    check_with(
        &[("page.html", &page)],
        "{template: page.html}",
        &["1:20: denial.template: DIR/page.html: is larger than 65536 bytes"],
    );
}

/// What is in the documentation is a whole language.
#[test]
fn german() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/languages/de.yaml");
    let body = format!("{{languages: {{de: '{}'}}}}", file.display());
    good("denial", &body);
    let text = fs::read_to_string(&file).expect("file");
    let german = crate::yaml::parse(&text).expect("yaml")[0].to_json();
    for reason in Reason::ALL {
        let sentence = german["reasons"][reason.code()]["sentence"].as_str();
        assert!(sentence.is_some_and(|text| text != reason.sentence()), "{reason}");
    }
    let english = serde_json::to_value(crate::ext_authz::Texts::default()).expect("JSON");
    let mut all = Vec::new();
    pointers(&english, "", &mut all);
    for pointer in all {
        assert!(german.pointer(&pointer).is_some(), "{pointer}");
    }
}
