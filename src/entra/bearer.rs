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
    let one = !token.is_empty() && !token.contains(|c: char| c.is_whitespace() || c.is_control());
    if scheme.eq_ignore_ascii_case("bearer") && one {
        Ok(token)
    } else {
        Err(Reason::CredentialsMalformed.into())
    }
}
