//! The languages that there are, and the one for a client.

use std::sync::Arc;

use super::accept;
use super::texts::Texts;

/// The languages of denials. English is always among them.
#[derive(Clone, Debug)]
pub struct Languages(Arc<[Language]>);

/// A language.
#[derive(Clone, Debug)]
pub struct Language {
    /// Its tag (BCP 47), such as `de`.
    pub tag: String,
    /// Its words.
    pub texts: Texts,
}

/// The language of the words that are built in.
const ENGLISH: &str = "en";

impl Default for Languages {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

impl Languages {
    /// These languages; English as it is built in, unless it is among them.
    #[must_use]
    pub fn new(mut languages: Vec<Language>) -> Self {
        if !languages.iter().any(|language| language.tag.eq_ignore_ascii_case(ENGLISH)) {
            languages.push(Language { tag: ENGLISH.to_owned(), texts: Texts::default() });
        }
        // The first is for those who want another.
        languages.sort_by_key(|language| !language.tag.eq_ignore_ascii_case(ENGLISH));
        Self(languages.into())
    }

    /// Whether a text is a language's tag.
    #[must_use]
    pub fn is_tag(text: &str) -> bool {
        let mut parts = text.split('-');
        let letters = |part: &str| part.bytes().all(|b| b.is_ascii_alphabetic());
        let first = parts.next().is_some_and(|part| (2..=3).contains(&part.len()) && letters(part));
        let fits = |part: &str| {
            (1..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric())
        };
        first && text.len() <= 35 && parts.all(fits)
    }

    /// The one for a client.
    pub(super) fn choose(&self, accept: Option<&str>) -> Option<&Language> {
        let tags = self.0.iter().map(|language| language.tag.as_str());
        self.0.get(accept::language(accept, tags).unwrap_or(0))
    }
}
