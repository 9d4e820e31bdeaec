//! The one credential that is accepted: `Bearer`, and a token.

use crate::domain::{Credentials, Denial, Reason};

/// The token in an `authorization` header (RFC 6750 section 2.1).
pub(super) fn token<'a>(credentials: &'a Credentials<'_>) -> Result<&'a str, Denial> {
    let value = match credentials {
        Credentials::Absent => return Err(Reason::TokenMissing.into()),
        Credentials::Repeated => return Err(Reason::CredentialsRepeated.into()),
        Credentials::NotText => return Err(Reason::CredentialsMalformed.into()),
        Credentials::One(value) => value.as_ref(),
    };
    let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
    let token = token.trim_start_matches(' ');
    // One token and nothing after it; what is in it is for the parser to say.
    let one = !token.is_empty() && is_one_word(token);
    if scheme.eq_ignore_ascii_case("bearer") && one {
        Ok(token)
    } else {
        Err(Reason::CredentialsMalformed.into())
    }
}

/// Whether there is no blank and no control character in it. Tokens are kilobytes of plain
/// ASCII: written like this, the compiler looks at many bytes at a time.
fn is_one_word(text: &str) -> bool {
    let graphic = |bytes: &[u8]| {
        bytes.iter().fold(0, |odd, b| odd | u8::from(b.wrapping_sub(b'!') > b'~' - b'!')) == 0
    };
    let (chunks, rest) = text.as_bytes().as_chunks::<64>();
    (chunks.iter().all(|chunk| graphic(chunk)) && graphic(rest))
        || !text.contains(|c: char| c.is_whitespace() || c.is_control())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_word_is_one_word_wherever_it_ends() {
        for length in [0, 1, 63, 64, 65, 200] {
            let text = "x".repeat(length);
            assert!(is_one_word(&text));
            for c in ['a', '~', '!', 'é', '😀', '\u{301}'] {
                assert!(is_one_word(&format!("{text}{c}{text}")), "{c:?}");
            }
            for c in [' ', '\t', '\n', '\0', '\u{7f}', '\u{85}', '\u{a0}', '\u{2028}'] {
                assert!(!is_one_word(&format!("{text}{c}{text}")), "{c:?}");
            }
        }
    }
}
