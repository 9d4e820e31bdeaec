//! A denial for people: one page that needs nothing else.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, ErrorKind, UndefinedBehavior, Value, context, filters};

use super::languages::Language;
use super::proof;
use super::told::Told;
use super::{MAX_BYTES, fitting};

const BUILT_IN: &str = include_str!("page.html");
const NAME: &str = "page";
/// Steps of a template; the built-in one takes some hundreds.
const FUEL: u64 = 20_000;

/// The page and what a browser may do with it.
#[derive(Clone)]
pub struct Page {
    templates: Arc<Environment<'static>>,
    policy: Arc<str>,
}

/// Why a template can't be the page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateError {
    /// The line, from 1, where it is known.
    pub line: Option<usize>,
    /// What is wrong there.
    pub message: String,
}

impl Page {
    /// The page that comes with Stagedoor.
    #[must_use]
    pub fn built_in() -> Self {
        // Without a template every denial is JSON; a test sees to it that there is one.
        Self::prepare(BUILT_IN, false).unwrap_or_else(|_| Self {
            templates: Arc::new(Environment::empty()),
            policy: "default-src 'none'".into(),
        })
    }

    /// A page of the operator's own. It is compiled, and tried on values that would break
    /// out of it if something let them.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn own(source: &str) -> Result<Self, TemplateError> {
        let page = Self::prepare(source, true)?;
        for told in proof::samples() {
            let html = page.try_render(&told, &Language::sample()).map_err(of_template)?;
            proof::check(&html)
                .map_err(|message| TemplateError { line: None, message: message.to_string() })?;
            if html.len() > MAX_BYTES {
                let message =
                    format!("the page has {} bytes, and at most {MAX_BYTES} are sent", html.len());
                return Err(TemplateError { line: None, message });
            }
        }
        Ok(page)
    }

    fn prepare(source: &str, images: bool) -> Result<Self, TemplateError> {
        // As a browser reads it, which hashes styles so.
        let source = source.replace("\r\n", "\n").replace('\r', "\n");
        let policy = policy(&source, images)?;
        let mut templates = Environment::empty();
        templates.set_auto_escape_callback(|_| AutoEscape::Html);
        templates.set_undefined_behavior(UndefinedBehavior::Strict);
        templates.set_fuel(Some(FUEL));
        templates.set_recursion_limit(50);
        // Nothing that switches escaping off, and nothing that takes long.
        templates.add_filter("join", filters::join);
        templates.add_filter("upper", filters::upper);
        templates.add_filter("lower", filters::lower);
        templates.add_filter("length", filters::length);
        templates.add_filter("replace", filters::replace);
        templates.add_template_owned(NAME, source).map_err(of_template)?;
        Ok(Self { templates: Arc::new(templates), policy: policy.into() })
    }

    /// What a browser is told that the page may do: nothing but look as it does.
    pub(super) fn policy(&self) -> &str {
        &self.policy
    }

    /// The page, if it can be made.
    pub(super) fn render(&self, told: &Told<'_>, language: &Language) -> Option<String> {
        fitting(told, |told| {
            self.try_render(told, language).ok().filter(|html| html.len() <= MAX_BYTES)
        })
    }

    fn try_render(&self, told: &Told<'_>, language: &Language) -> Result<String, minijinja::Error> {
        let more = language.texts.page.more.replace("{count}", &told.more_owners.to_string());
        let context = context! {
            lang => language.tag.as_str(),
            direction => Value::from(Serde(&language.texts.direction)),
            text => context! { more => more, ..Value::from(Serde(&language.texts.page)) },
            ..Value::from(Serde(told))
        };
        self.templates.get_template(NAME)?.render(context)
    }
}

impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Page").field("policy", &self.policy).finish_non_exhaustive()
    }
}

impl TemplateError {
    /// As people read it, with the template's file.
    #[must_use]
    pub fn in_file(&self, file: &Path) -> String {
        match self.line {
            Some(line) => format!("{}:{line}: {}", file.display(), self.message),
            None => format!("{}: {}", file.display(), self.message),
        }
    }
}

fn of_template(error: minijinja::Error) -> TemplateError {
    let message = match (error.kind(), error.detail()) {
        (ErrorKind::OutOfFuel, _) => "takes too long: is there a loop in a loop?".to_owned(),
        (kind, Some(detail)) => format!("{kind}: {detail}"),
        (kind, None) => kind.to_string(),
    };
    TemplateError { line: error.line(), message }
}

/// The content security policy of a page with this source: its styles by their hashes, and
/// nothing else.
fn policy(source: &str, images: bool) -> Result<String, TemplateError> {
    let mut hashes = String::new();
    for (line, style) in styles(source) {
        if style.contains("{{") || style.contains("{%") || style.contains("{#") {
            let message = "a style must be the same for everybody: its hash is what a browser \
                           believes it by";
            return Err(TemplateError { line: Some(line), message: message.to_owned() });
        }
        let hash = digest::digest(&digest::SHA256, style.as_bytes());
        hashes.push_str(&format!(" 'sha256-{}'", STANDARD.encode(hash)));
    }
    let styles = if hashes.is_empty() { " 'none'" } else { &hashes };
    // A logo can stand in an operator's own page as a `data:` address.
    let images = if images { "; img-src data:" } else { "" };
    Ok(format!(
        "default-src 'none'; style-src{styles}{images}; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'"
    ))
}

/// The contents of the style elements, with the lines on which they begin.
fn styles(source: &str) -> impl Iterator<Item = (usize, &str)> {
    // Of the same length, byte by byte.
    let lower = source.to_ascii_lowercase();
    let starts: Vec<usize> = lower.match_indices("<style").map(|(at, _)| at).collect();
    starts.into_iter().filter_map(move |at| {
        let (before, element) = source.split_at_checked(at)?;
        let (_, rest) = element.split_once('>')?;
        let length = rest.to_ascii_lowercase().find("</style")?;
        let line = before.bytes().filter(|b| *b == b'\n').count() + 1;
        Some((line, rest.get(..length)?))
    })
}
