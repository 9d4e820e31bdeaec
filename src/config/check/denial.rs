//! `denial`: what a denied caller reads.

use std::fs;
use std::path::Path;

use url::Url;

use super::Findings;
use crate::config::document::{self, Denial};
use crate::config::language;
use crate::config::problem::below;
use crate::ext_authz::{Audience, Denials, Language, Languages, Page, Tell};

/// A template is a page; more than this is a mistake.
const MAX_TEMPLATE_BYTES: u64 = 64 << 10;

pub(super) fn settings(denial: &Denial, findings: &mut Findings<'_>) -> Option<Denials> {
    let backstage_url = match &denial.backstage_url {
        Some(text) => findings.url("/denial/backstage_url", text).map(Some),
        None => Some(None),
    };
    let base = &denial.problem_type_base;
    if !is_type_base(base) {
        let expected = "expected the beginning of an address, such as `https://example.com/#`";
        findings.say("/denial/problem_type_base", expected);
    }
    let languages = languages(denial, findings);
    let page = match &denial.template {
        Some(text) => template(text, findings),
        None => Some(Page::built_in()),
    };
    Some(Denials {
        tell: tell(&denial.tell),
        backstage_url: backstage_url?,
        problem_type_base: base.as_str().into(),
        languages,
        page: page?,
    })
}

fn tell(tell: &document::Tell) -> Tell {
    let audience = |audience: document::Audience| match audience {
        document::Audience::Never => Audience::Never,
        document::Audience::Known => Audience::Known,
        document::Audience::Everyone => Audience::Everyone,
    };
    Tell {
        entity: audience(tell.entity),
        owners: audience(tell.owners),
        contacts: audience(tell.contacts),
        caller: audience(tell.caller),
        advice: audience(tell.advice),
        policies: audience(tell.policies),
    }
}

/// Whether a code that is added to it makes an address that identifies something.
fn is_type_base(text: &str) -> bool {
    let plain = text.bytes().all(|b| b.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&b));
    let scheme = Url::parse(&format!("{text}code")).ok().map(|url| url.scheme().to_owned());
    let known = ["https", "http", "urn", "tag"];
    plain && text.len() <= 200 && scheme.is_some_and(|scheme| known.contains(&scheme.as_str()))
}

fn languages(denial: &Denial, findings: &mut Findings<'_>) -> Languages {
    let mut languages: Vec<Language> = Vec::new();
    for (tag, text) in &denial.languages {
        let pointer = below("/denial/languages", tag);
        if !Languages::is_tag(tag) {
            findings.say(&pointer, "expected a language's tag, such as `de` or `pt-br`");
        }
        if languages.iter().any(|other| other.tag.eq_ignore_ascii_case(tag)) {
            findings.say(&pointer, "is given twice");
        }
        let Some(file) = findings.file(&pointer, text) else { continue };
        match language::load(&file) {
            Ok(texts) => languages.push(Language { tag: tag.clone(), texts }),
            Err(problems) => {
                for problem in problems {
                    findings.say(&pointer, problem);
                }
            }
        }
    }
    Languages::new(languages)
}

fn template(text: &str, findings: &mut Findings<'_>) -> Option<Page> {
    let pointer = "/denial/template";
    let file = findings.file(pointer, text)?;
    let page = read(&file).and_then(|source| Page::own(&source).map_err(|e| e.in_file(&file)));
    findings.read(pointer, page)
}

fn read(file: &Path) -> Result<String, String> {
    let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
    let size = fs::metadata(file).map_err(|error| failed(&error))?.len();
    if size > MAX_TEMPLATE_BYTES {
        return Err(failed(&format!("is larger than {MAX_TEMPLATE_BYTES} bytes")));
    }
    fs::read_to_string(file).map_err(|error| failed(&error))
}
