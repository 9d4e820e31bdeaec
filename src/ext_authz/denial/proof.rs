//! Whether a template keeps values where they belong.
//!
//! The page is made of values that would each break out of it: escaping is not enough
//! where a value stands in an attribute without quotes, in a script, or as an address.

use std::borrow::Cow;
use std::fmt;

use super::languages::Language;
use super::told::{Asked, Caller, Told, ToldLink, ToldOwner};

/// How each value begins, so that it can be found in the page, and in which form.
const MARK: &str = "sgd-";

/// A value that got to where it does something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Escaped {
    value: String,
    place: &'static str,
}

impl fmt::Display for Escaped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` reaches {}: {ADVICE}", self.value, self.place)
    }
}

const ADVICE: &str = "values may stand in text and in attributes in quotes, escaped, and only \
                      `…_url` as an address";

impl Language {
    /// A language for a trial.
    pub(super) fn sample() -> Self {
        Self { tag: "en".to_owned(), texts: super::Texts::default() }
    }
}

/// A denial that tells everything, and one that tells as little as there is.
pub(super) fn samples() -> [Told<'static>; 2] {
    let address = || Some("https://example.com/".to_owned());
    let hostile = |name: &str| Cow::Owned(format!("{MARK}{name} <b>\"'`&{{{{ 7*7 }}}} x=y"));
    let owner = ToldOwner {
        entity: hostile("owner.entity"),
        title: hostile("owner.title"),
        entity_url: address(),
        email: Some(hostile("owner.email")),
        email_url: Some("mailto:team@example.com".to_owned()),
        links: vec![ToldLink { title: hostile("link.title"), url: "https://example.com/" }],
    };
    let full = Told {
        status: 403,
        reason: "not_permitted",
        title: "Title",
        sentence: "Sentence.",
        decision_id: "01234567-89ab-7def-8123-456789abcdef",
        request: Some(Asked {
            method: hostile("request.method"),
            host: hostile("request.host"),
            path: hostile("request.path"),
        }),
        entity: Some(hostile("entity")),
        entity_url: address(),
        action: Some("read"),
        action_text: Some("read"),
        owners: vec![owner],
        more_owners: 1,
        advice: vec![hostile("advice")],
        policies: vec![hostile("policies")],
        caller: Some(Caller {
            kind: "user",
            kind_text: Some("User"),
            object_id: hostile("caller.object_id"),
            tenant_id: hostile("caller.tenant_id"),
        }),
    };
    let mut bare = full.clone();
    bare.cut(0);
    bare.more_owners = 0;
    (bare.request, bare.entity, bare.entity_url) = (None, None, None);
    (bare.action, bare.action_text, bare.caller) = (None, None, None);
    [full, bare]
}

/// Where a reader of the page is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Text,
    Comment,
    /// Within a tag, and not in quotes.
    Tag,
    /// In an attribute, in these quotes.
    Quoted(char),
}

/// Reads a page that was made of the samples.
pub(super) fn check(html: &str) -> Result<(), Escaped> {
    // A value that isn't escaped shows by the character after its mark.
    for (at, _) in html.match_indices(MARK) {
        let rest = html.get(at..).unwrap_or_default();
        let value = rest.split([' ', '&', '<']).next().unwrap_or_default();
        let after = rest.strip_prefix(value).unwrap_or_default();
        if after.starts_with(" <b>") {
            return Err(escaped(value, "the page without being escaped"));
        }
    }
    let mut place = Place::Text;
    let mut rest = html;
    let mut attribute = String::new();
    // Blanks may stand between an attribute's name and its value.
    let mut ended = false;
    let mut element = String::new();
    while let Some(c) = rest.chars().next() {
        if let Some(value) = rest.strip_prefix(MARK) {
            let value = value.split([' ', '&', '<']).next().unwrap_or_default();
            let raw = ["script", "style"].contains(&element.as_str());
            match place {
                Place::Text if raw => return Err(escaped(value, "a script or a style")),
                Place::Comment => return Err(escaped(value, "a comment")),
                Place::Tag => return Err(escaped(value, "an attribute without quotes")),
                Place::Quoted(_) if acts(&attribute) => {
                    return Err(escaped(value, "an attribute that does something"));
                }
                _ => {}
            }
        }
        let skip = match place {
            Place::Text if rest.starts_with("<!--") => {
                place = Place::Comment;
                4
            }
            Place::Text if c == '<' => {
                let name: String =
                    rest.chars().skip(1).take_while(|c| !c.is_whitespace() && *c != '>').collect();
                element = name.to_ascii_lowercase();
                place = Place::Tag;
                attribute.clear();
                1
            }
            Place::Comment if rest.starts_with("-->") => {
                place = Place::Text;
                3
            }
            Place::Tag if c == '>' => {
                place = Place::Text;
                1
            }
            Place::Tag if c == '"' || c == '\'' => {
                place = Place::Quoted(c);
                1
            }
            Place::Tag => {
                if c.is_whitespace() || c == '/' {
                    ended = true;
                } else if c != '=' {
                    if std::mem::take(&mut ended) {
                        attribute.clear();
                    }
                    attribute.push(c.to_ascii_lowercase());
                }
                c.len_utf8()
            }
            Place::Quoted(quote) if c == quote => {
                place = Place::Tag;
                attribute.clear();
                1
            }
            _ => c.len_utf8(),
        };
        rest = rest.get(skip..).unwrap_or_default();
    }
    Ok(())
}

/// Whether the value of an attribute is an address, a style or a script.
fn acts(attribute: &str) -> bool {
    let names = [
        "href",
        "src",
        "srcset",
        "action",
        "formaction",
        "style",
        "content",
        "data",
        "srcdoc",
        "ping",
        "poster",
        "background",
        "cite",
        "http-equiv",
    ];
    attribute.starts_with("on") || attribute.ends_with(":href") || names.contains(&attribute)
}

fn escaped(value: &str, place: &'static str) -> Escaped {
    Escaped { value: value.trim_start_matches(MARK).to_owned(), place }
}
