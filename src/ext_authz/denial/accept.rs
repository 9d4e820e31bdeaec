//! Which form and which language a client would rather have (RFC 9110 section 12.5).

/// More ranges than this are not read: a person's browser sends ten.
const MAX_RANGES: usize = 50;

/// Whether a page is preferred over JSON. Where both are equally welcome, as to `*/*`, it
/// is a program that asks.
pub(super) fn prefers_page(accept: Option<&str>) -> bool {
    let Some(accept) = accept.filter(|accept| *accept != "*/*") else { return false };
    let ranges: Vec<Range<'_>> = ranges(accept).collect();
    let page = quality(&ranges, "text", &["html"]);
    page > 0 && page > quality(&ranges, "application", &["problem+json", "json"])
}

/// The first of the languages that a client would rather have than the others, as an index
/// of `tags`; nothing where it names none of them.
///
/// A range is cut from its end until something fits (RFC 4647 section 3.4), so `de-CH`
/// finds `de`.
pub(super) fn language<'t>(
    accept: Option<&str>,
    tags: impl Iterator<Item = &'t str> + Clone,
) -> Option<usize> {
    let mut ranges: Vec<Range<'_>> = ranges(accept?).filter(|range| range.quality > 0).collect();
    // Stable: of equal ones the first is meant.
    ranges.sort_by_key(|range| std::cmp::Reverse(range.quality));
    ranges.iter().find_map(|range| {
        let mut wanted = range.name;
        loop {
            if let Some(at) = tags.clone().position(|tag| tag.eq_ignore_ascii_case(wanted)) {
                return Some(at);
            }
            (wanted, _) = wanted.rsplit_once('-')?;
        }
    })
}

/// One item of the list.
struct Range<'a> {
    name: &'a str,
    /// In thousandths.
    quality: u16,
}

/// The items that can be read.
fn ranges(list: &str) -> impl Iterator<Item = Range<'_>> {
    split(list, ',').take(MAX_RANGES).filter_map(|item| {
        let mut parts = split(item, ';').map(str::trim);
        let name = parts.next().filter(|name| !name.is_empty())?;
        let weight = parts.find_map(|part| {
            let (name, value) = part.split_once('=')?;
            name.trim().eq_ignore_ascii_case("q").then_some(value.trim())
        });
        let quality = match weight {
            Some(weight) => thousandths(weight)?,
            None => 1000,
        };
        Some(Range { name, quality })
    })
}

/// The parts of a text between separators that don't stand in quotes.
fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    text.split(move |c| {
        quoted ^= c == '"';
        c == separator && !quoted
    })
}

/// A weight as the standard writes it: `0`, `0.8`, `1.000`.
fn thousandths(text: &str) -> Option<u16> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    if part.len() > 3 || !part.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    match whole {
        "0" => format!("{part:0<3}").parse().ok(),
        "1" => part.bytes().all(|b| b == b'0').then_some(1000),
        _ => None,
    }
}

/// How welcome a media type is: what the most specific range says.
fn quality(ranges: &[Range<'_>], kind: &str, subtypes: &[&str]) -> u16 {
    let best = |fits: &dyn Fn(&str, &str) -> bool| {
        let of = ranges.iter().filter(|range| {
            range.name.split_once('/').is_some_and(|(kind, subtype)| fits(kind, subtype))
        });
        of.map(|range| range.quality).max()
    };
    let is = |a: &str, b: &str| a.eq_ignore_ascii_case(b);
    best(&|k, s| is(k, kind) && subtypes.iter().any(|subtype| is(s, subtype)))
        .or_else(|| best(&|k, s| is(k, kind) && s == "*"))
        .or_else(|| best(&|k, s| k == "*" && s == "*"))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_for_those_who_prefer_them() {
        for (accept, want) in [
            (None, false),
            (Some(""), false),
            (Some("*/*"), false),
            (Some("text/html"), true),
            (Some("TEXT/HTML"), true),
            (Some("text/*"), true),
            // Firefox, Chrome, Safari.
            (Some("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"), true),
            (
                Some(
                    "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,\
                     image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7",
                ),
                true,
            ),
            // An image or a script of a page.
            (Some("image/avif,image/webp,image/png,*/*;q=0.8"), false),
            // curl, axios, fetch, a client of problem details.
            (Some("application/json, text/plain, */*"), false),
            (Some("application/json"), false),
            (Some("application/problem+json"), false),
            (Some("application/problem+json, text/html;q=0.9"), false),
            (Some("application/json;q=0.8, text/html"), true),
            (Some("application/json;q=0.8, text/html;q=0.9"), true),
            // Equal.
            (Some("text/html, application/json"), false),
            (Some("text/html;q=0.5, */*;q=0.5"), false),
            (Some("text/html, */*"), false),
            // Refused.
            (Some("text/html;q=0"), false),
            (Some("text/html;q=0.000, */*"), false),
            (Some("*/*;q=0, text/html;q=0.001"), true),
            (Some("application/json;q=0, text/html;q=0.1"), true),
            // Parameters and blanks.
            (Some("text/html;charset=utf-8"), true),
            (Some(" text/html ; q = 0.9 , application/json;q=0.1"), true),
            (Some("text/html;level=\"a,b;q=0\", application/json;q=0.2"), true),
            // What can't be read isn't there.
            (Some("text/html;q=2"), false),
            (Some("text/html;q=1.001"), false),
            (Some("text/html;q=-1"), false),
            (Some("text/html;q=.5"), false),
            (Some("text/html;q=0.1234"), false),
            (Some("text/html;q=0.9a"), false),
            (Some("text/html;q=0.-9"), false),
            (Some("text/html;q="), false),
            (Some("html"), false),
            (Some(";;;,,,/"), false),
            (Some("\"text/html"), false),
        ] {
            assert_eq!(prefers_page(accept), want, "{accept:?}");
        }
        assert!(!prefers_page(Some(&format!("{}text/html", "a/b,".repeat(MAX_RANGES)))));
    }

    #[test]
    fn languages_by_lookup() {
        let tags = ["en", "de", "pt-br", "zh-hant"];
        for (accept, want) in [
            (None, None),
            (Some(""), None),
            (Some("*"), None),
            (Some("fr"), None),
            (Some("de"), Some("de")),
            (Some("DE-ch-1996"), Some("de")),
            (Some("fr, de;q=0.5, en;q=0.4"), Some("de")),
            (Some("en;q=0.4, de;q=0.5"), Some("de")),
            (Some("en, de"), Some("en")),
            (Some("de;q=0, en;q=0.1"), Some("en")),
            (Some("pt"), None),
            (Some("pt-BR"), Some("pt-br")),
            (Some("zh-Hant-TW"), Some("zh-hant")),
            (Some("-"), None),
            (Some("--de"), None),
        ] {
            let found = language(accept, tags.iter().copied());
            assert_eq!(found.map(|at| tags[at]), want, "{accept:?}");
        }
    }
}
