//! A denial that helps: what was asked, who owns it, and whom to ask; as problem details
//! for programs, as a page for people.
//!
//! Most of what it tells was written by others: by who sent the request, by who wrote the
//! catalog, by who wrote the policies. It is made one harmless line where it is taken up
//! ([`told`]), escaped where it is put down, and told only to whom it may be ([`tell`]).

mod accept;
mod languages;
mod page;
mod problem;
mod proof;
mod tell;
mod texts;
mod told;

use std::borrow::Cow;
use std::sync::Arc;

use url::Url;

use crate::domain::{Decision, Denial, Request};

pub use languages::{Language, Languages};
pub use page::{Page, TemplateError};
pub use tell::{Audience, Tell};
pub use texts::{Direction, ReasonTexts, Texts};

pub(super) use problem::{MEDIA_TYPE as PROBLEM, minimal};

use told::Told;

/// A body has at most this many bytes; lists in it are cut until it has.
const MAX_BYTES: usize = 16 * 1024;
/// Nobody reads a longer list.
const MAX_ITEMS: usize = 20;

/// How denials are told: prepared once, from the configuration.
#[derive(Clone, Debug)]
pub struct Denials {
    /// What is told to whom.
    pub tell: Tell,
    /// Where people see Backstage.
    pub backstage_url: Option<Url>,
    /// What a reason's code is added to for the type of a problem.
    pub problem_type_base: Arc<str>,
    /// The languages.
    pub languages: Languages,
    /// The page.
    pub page: Page,
}

impl Denials {
    /// The type of a problem, unless the operator has a place of their own.
    pub const PROBLEM_TYPE_BASE: &'static str = "https://stagedoor.dev/reasons#";
}

impl Default for Denials {
    fn default() -> Self {
        Self {
            tell: Tell::default(),
            backstage_url: None,
            problem_type_base: Self::PROBLEM_TYPE_BASE.into(),
            languages: Languages::default(),
            page: Page::built_in(),
        }
    }
}

/// A body and the headers that it can't be without.
#[derive(Debug)]
pub(super) struct Rendered {
    pub(super) body: String,
    pub(super) headers: Vec<(&'static str, Cow<'static, str>)>,
}

impl Denials {
    /// What an HTTP client gets.
    pub(super) fn render(
        &self,
        (decision, decision_id): (&Decision, &str),
        denial: &Denial,
        request: Option<&Request<'_>>,
    ) -> Rendered {
        let accept = request.and_then(|request| request.accept.as_deref());
        let accept_language = request.and_then(|request| request.accept_language.as_deref());
        let mut headers = vec![
            ("vary", "accept, accept-language".into()),
            ("x-content-type-options", "nosniff".into()),
        ];
        let Some(language) = self.languages.choose(accept_language) else {
            return plain_problem(denial, headers);
        };
        let page = accept::prefers_page(accept);
        let mut told = Told::new(self, (decision, decision_id), denial, request, (language, page));
        told.cut(MAX_ITEMS);
        headers.push(("content-language", language.tag.clone().into()));
        if page && let Some(body) = self.page.render(&told, language) {
            headers.push(("content-type", "text/html; charset=utf-8".into()));
            headers.push(("content-security-policy", self.page.policy().to_owned().into()));
            headers.push(("referrer-policy", "no-referrer".into()));
            headers.push(("x-frame-options", "DENY".into()));
            return Rendered { body, headers };
        }
        match problem::render(self, &told, &language.texts.ask_owners) {
            Some(body) => {
                headers.push(("content-type", PROBLEM.into()));
                Rendered { body, headers }
            }
            None => plain_problem(denial, headers),
        }
    }
}

/// What is left where nothing else could be made.
fn plain_problem(denial: &Denial, mut headers: Vec<(&'static str, Cow<'static, str>)>) -> Rendered {
    headers.retain(|(name, _)| *name != "content-language");
    headers.push(("content-type", PROBLEM.into()));
    Rendered { body: minimal(denial.reason), headers }
}

/// The first that can be made of what is told, or of less and less of it.
fn fitting(told: &Told<'_>, make: impl Fn(&Told<'_>) -> Option<String>) -> Option<String> {
    make(told).or_else(|| {
        let mut told = told.clone();
        [5, 2, 1, 0].into_iter().find_map(|most| {
            told.cut(most);
            make(&told)
        })
    })
}

/// A text as a part of an address.
fn percent(text: &str) -> String {
    percent_encoded(text, |b| b.is_ascii_alphanumeric() || b"-._~".contains(&b))
}

/// A text in which every byte that isn't kept is an escape.
pub(super) fn percent_encoded(text: &str, keep: impl Fn(u8) -> bool) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii() && keep(byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push('%');
            let digits = [byte >> 4, byte & 0xf].map(|digit| char::from_digit(digit.into(), 16));
            encoded.extend(digits.into_iter().flatten().map(|digit| digit.to_ascii_uppercase()));
        }
    }
    encoded
}
