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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_those_of_bcp_47() {
        let long = format!("de-{}", ["abcdefgh"; 4].join("-"));
        for tag in ["de", "ast", "pt-BR", "zh-Hant-TW", "de-CH-1996", "sr-Latn-x-a"] {
            assert!(Languages::is_tag(tag), "{tag}");
        }
        for text in
            ["", "d", "deut", "d1", "de-", "de--CH", "de_CH", "de-abcdefghi", "de-CH ", "dé", &long]
        {
            assert!(!Languages::is_tag(text), "{text}");
        }
    }

    /// An operator's English takes the place of the one that is built in.
    #[test]
    fn english_is_there_once_and_first() {
        let language = |tag: &str| Language { tag: tag.to_owned(), texts: Texts::default() };
        for (given, want) in [
            (&[][..], &["en"][..]),
            (&["de", "fr"], &["en", "de", "fr"]),
            (&["de", "en"], &["en", "de"]),
            (&["de", "EN", "fr"], &["EN", "de", "fr"]),
        ] {
            let languages = Languages::new(given.iter().map(|tag| language(tag)).collect());
            let tags: Vec<_> = languages.0.iter().map(|language| language.tag.as_str()).collect();
            assert_eq!(tags, want);
            // Who wants none of them gets that one.
            assert_eq!(languages.choose(Some("xx")).unwrap().tag, want[0]);
        }
    }
}
