//! The path of a request, in the one spelling that anything is matched against.
//!
//! An authorizer and a backend that read one path differently are how authorizers
//! are walked around. So a path with more than one reading is refused, not
//! repaired, and what is accepted has one spelling:
//!
//! - The path ends at the first `?`. It starts with `/` and has at most 8 KiB.
//!   An empty path (`CONNECT`) and `*` (`OPTIONS *`) are refused.
//! - Raw characters are those of RFC 3986 section 3.3: letters, digits,
//!   `-._~!$&'()*+,;=:@` and `/`. Refused are all others: control characters,
//!   blanks, `\`, `#`, `"`, `<`, `>`, `[`, `]`, `^`, `` ` ``, `{`, `|`, `}`, and
//!   what is not ASCII.
//! - An escape is `%` and two hexadecimal digits. Refused are escapes of
//!   - what structures a URL: `/`, `\`, `.`, `%`, `;`, `?`, `#` – a backend that
//!     decodes before it splits sees another path;
//!   - letters, digits, `-`, `_`, `~`: nobody needs to escape them, and who does
//!     wants two readings;
//!   - control characters, from `%00` to `%1F`, `%7F`, and the Unicode ones;
//!   - bytes from `%80` on that are not UTF-8 (overlong forms are not).
//! - An escape of ``!$&'()*+,=:@`` is that character: careful clients escape them
//!   (`%40`), others don't, and a backend sees the same. All other escapes are
//!   compared without regard to letter case. [`Path::as_str`] has the canonical
//!   spelling: these characters raw, the digits of escapes in upper case.
//! - No segment is empty but the last (`//`), and none is `.` or `..`; what
//!   follows a `;` in a segment doesn't count there (`/..;a/`, `/;a/`).
//!
//! Everything else is compared byte by byte: `/admin`, `/Admin` and `/admin/` are
//! three paths.

use std::borrow::Cow;

/// The longest path, in bytes.
const MAX_LENGTH: usize = 8 * 1024;

/// A canonical path, without query. It borrows unless its spelling had to be
/// changed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Path<'a>(Cow<'a, str>);

/// Why a path is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Nothing before the query.
    #[error("the path is empty")]
    Empty,
    /// The first character is another than `/`.
    #[error("the path does not start with `/`")]
    NotAbsolute,
    /// More than 8 KiB.
    #[error("the path is longer than {MAX_LENGTH} bytes")]
    TooLong,
    /// A raw character that no path may hold.
    #[error("the path holds `{}`, which may not stand there unescaped", .0.escape_default())]
    Character(char),
    /// `%` without two hexadecimal digits.
    #[error("the path holds a `%` without two hexadecimal digits")]
    BadEscape,
    /// An escape of a character that structures a URL.
    #[error("the path holds an escaped `{0}`")]
    EscapedDelimiter(char),
    /// An escape of a character that needs none.
    #[error("the path holds an escaped `{0}`, which needs no escape")]
    EscapedPlain(char),
    /// An escape of a control character.
    #[error("the path holds an escaped control character")]
    EscapedControl,
    /// Escapes that are not UTF-8.
    #[error("the path holds escaped bytes that are not utf-8")]
    EscapedNonUtf8,
    /// `//`, or a segment that has parameters only.
    #[error("the path holds an empty segment")]
    EmptySegment,
    /// A segment `.` or `..`, perhaps with parameters.
    #[error("the path holds a dot segment")]
    DotSegment,
}

impl<'a> Path<'a> {
    /// Cuts `:path` at the first `?` and reads what stands before it; gives the
    /// query too, if there is one, as it is.
    ///
    /// # Errors
    /// The first thing found that the rules of this module refuse.
    pub fn split(raw: &'a str) -> Result<(Self, Option<&'a str>), PathError> {
        let (text, query) = match raw.split_once('?') {
            Some((text, query)) => (text, Some(query)),
            None => (raw, None),
        };
        if text.is_empty() {
            return Err(PathError::Empty);
        }
        if !text.starts_with('/') {
            return Err(PathError::NotAbsolute);
        }
        if text.len() > MAX_LENGTH {
            return Err(PathError::TooLong);
        }
        let path = if check_characters(text)? {
            Self(Cow::Borrowed(text))
        } else {
            Self(Cow::Owned(respell(text)))
        };
        path.check_segments()?;
        Ok((path, query))
    }

    /// The canonical spelling. It starts with `/`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same, as text: of the request itself where that was canonical.
    pub(crate) fn into_text(self) -> Cow<'a, str> {
        self.0
    }

    /// What stands between and after the slashes. Only the last can be empty: `/`
    /// has one segment, the empty one, and `/a/` has two.
    pub fn segments(&self) -> impl Iterator<Item = &str> + Clone {
        self.0.strip_prefix('/').unwrap_or_default().split('/')
    }

    /// Whether a segment has `;` parameters.
    #[must_use]
    pub fn has_parameters(&self) -> bool {
        self.0.contains(';')
    }

    fn check_segments(&self) -> Result<(), PathError> {
        let mut segments = self.segments().peekable();
        while let Some(segment) = segments.next() {
            match without_parameters(segment) {
                "" if !segment.is_empty() || segments.peek().is_some() => {
                    return Err(PathError::EmptySegment);
                }
                "." | ".." => return Err(PathError::DotSegment),
                _ => {}
            }
        }
        Ok(())
    }
}

/// A segment up to its first `;`: what a backend that knows path parameters
/// takes for its name.
pub(crate) fn without_parameters(segment: &str) -> &str {
    segment.split_once(';').map_or(segment, |(name, _)| name)
}

/// Whether every character and escape may stand in a path; if so, whether the
/// text is its own canonical spelling.
fn check_characters(text: &str) -> Result<bool, PathError> {
    let mut canonical = true;
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'%' {
            if byte != b'/' && !is_pchar(byte) {
                // All bytes before this one are ASCII, so it starts a character.
                let at = text.len() - tail.len() - 1;
                let found = text.get(at..).and_then(|from_here| from_here.chars().next());
                return Err(PathError::Character(found.unwrap_or(char::REPLACEMENT_CHARACTER)));
            }
            continue;
        }
        let (escape, tail) = take_escape(tail)?;
        rest = tail;
        match escape.byte {
            b'/' | b'\\' | b'.' | b'%' | b';' | b'?' | b'#' => {
                return Err(PathError::EscapedDelimiter(char::from(escape.byte)));
            }
            byte if is_unreserved(byte) => return Err(PathError::EscapedPlain(char::from(byte))),
            byte if byte.is_ascii_control() => return Err(PathError::EscapedControl),
            byte if byte.is_ascii() => canonical &= escape.upper_case && !is_pchar(byte),
            _ => {
                let (upper_case, tail) = take_character(escape, tail)?;
                canonical &= upper_case;
                rest = tail;
            }
        }
    }
    Ok(canonical)
}

#[derive(Clone, Copy)]
struct Escape {
    byte: u8,
    /// Whether its letters, if any, are upper case.
    upper_case: bool,
}

/// Reads the two digits after a `%`.
fn take_escape(rest: &[u8]) -> Result<(Escape, &[u8]), PathError> {
    let [high, low, tail @ ..] = rest else { return Err(PathError::BadEscape) };
    let (Some(h), Some(l)) = (hex(*high), hex(*low)) else { return Err(PathError::BadEscape) };
    let upper_case = !high.is_ascii_lowercase() && !low.is_ascii_lowercase();
    Ok((Escape { byte: h << 4 | l, upper_case }, tail))
}

/// Reads the rest of a character beyond ASCII, of which the first byte was
/// escaped, and says whether its escapes are in upper case.
fn take_character(first: Escape, mut rest: &[u8]) -> Result<(bool, &[u8]), PathError> {
    let length = match first.byte {
        0xC2..=0xDF => 2,
        0xE0..=0xEF => 3,
        0xF0..=0xF4 => 4,
        _ => return Err(PathError::EscapedNonUtf8),
    };
    let mut bytes = [first.byte, 0, 0, 0];
    let mut upper_case = first.upper_case;
    for slot in bytes.iter_mut().take(length).skip(1) {
        let Some((b'%', tail)) = rest.split_first() else {
            return Err(PathError::EscapedNonUtf8);
        };
        let (escape, tail) = take_escape(tail)?;
        *slot = escape.byte;
        upper_case &= escape.upper_case;
        rest = tail;
    }
    let character = bytes
        .get(..length)
        .and_then(|bytes| std::str::from_utf8(bytes).ok())
        .and_then(|text| text.chars().next())
        .ok_or(PathError::EscapedNonUtf8)?;
    if character.is_control() {
        return Err(PathError::EscapedControl);
    }
    Ok((upper_case, rest))
}

/// Writes a checked text in its canonical spelling.
fn respell(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut pieces = text.split('%');
    out.push_str(pieces.next().unwrap_or_default());
    for piece in pieces {
        // Checked before: two digits follow each `%`.
        let Some((digits, tail)) = piece.split_at_checked(2) else { continue };
        match u8::from_str_radix(digits, 16) {
            Ok(byte) if is_pchar(byte) => out.push(char::from(byte)),
            _ => {
                out.push('%');
                out.push_str(&digits.to_ascii_uppercase());
            }
        }
        out.push_str(tail);
    }
    out
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// RFC 3986 section 2.3.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// RFC 3986 section 3.3, without escapes.
fn is_pchar(byte: u8) -> bool {
    is_unreserved(byte)
        || matches!(
            byte,
            b'!' | b'$'
                | b'&'
                | b'\''
                | b'('
                | b')'
                | b'*'
                | b'+'
                | b','
                | b';'
                | b'='
                | b':'
                | b'@'
        )
}

#[cfg(test)]
mod tests;
