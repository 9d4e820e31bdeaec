//! The host of a request, in the one spelling that anything is matched against.
//!
//! - Letter case means nothing: the canonical spelling is lower case.
//! - A port from 1 to 65535 is cut, the default and any other: routes match hosts,
//!   whatever port they were reached on. `host:`, `host:0` and `host:080` are
//!   refused.
//! - One final dot is cut; a second is refused.
//! - A name has labels of 1 to 63 letters, digits, `-` and `_` (which internal
//!   names have), none with a `-` at its start or end, and at most 253 characters.
//!   International names come as `xn--…`.
//! - A name that ends in a number is an IPv4 address in its four-part decimal form,
//!   or refused (`127.1`, `0x7f.1`, `010.0.0.1`).
//! - An IPv6 address stands in brackets, in the form of RFC 5952, without zone.
//! - Everything else is refused: the empty host, `user@`, commas, blanks, control
//!   characters, `/`, `\`, `%`, and what is not ASCII.

use std::borrow::Cow;
use std::net::{Ipv4Addr, Ipv6Addr};

/// The longest name, in characters (RFC 1035 section 2.3.4, as text).
const MAX_LENGTH: usize = 253;
const MAX_LABEL: usize = 63;

/// A canonical host: a name, an IPv4 address, or an IPv6 address in brackets. It
/// borrows unless there was an upper-case letter.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Host<'a>(Cow<'a, str>);

/// Why a host is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// Nothing there.
    #[error("the host is empty")]
    Empty,
    /// More than 253 characters.
    #[error("the host is longer than {MAX_LENGTH} characters")]
    TooLong,
    /// A character that no plain host has.
    #[error("the host holds `{}`", .0.escape_default())]
    Character(char),
    /// What follows the `:` is not a port.
    #[error("the host's port is not a number from 1 to 65535")]
    Port,
    /// Nothing before, between or after dots.
    #[error("the host has an empty label")]
    EmptyLabel,
    /// A label of more than 63 characters.
    #[error("the host has a label of more than {MAX_LABEL} characters")]
    LabelTooLong,
    /// A label that starts or ends with `-`.
    #[error("the host has a label that starts or ends with `-`")]
    Hyphen,
    /// It would be an IP address, but is none in its canonical form.
    #[error("the host is not an ip address in its canonical form")]
    Address,
}

impl<'a> Host<'a> {
    /// Reads `:authority`.
    ///
    /// # Errors
    /// The first thing found that the rules of this module refuse.
    pub fn parse(raw: &'a str) -> Result<Self, HostError> {
        if raw.is_empty() {
            return Err(HostError::Empty);
        }
        // First, so that the error names the `@` rather than what comes of it.
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.:[]".contains(c);
        if let Some(character) = raw.chars().find(|c| !plain(*c)) {
            return Err(HostError::Character(character));
        }
        let host = if raw.starts_with('[') { parse_v6(raw)? } else { parse_name(raw)? };
        Ok(Self(if host.bytes().any(|b| b.is_ascii_uppercase()) {
            Cow::Owned(host.to_ascii_lowercase())
        } else {
            Cow::Borrowed(host)
        }))
    }

    /// The canonical spelling: lower case, without port and final dot.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same, as text: of the request itself where that was canonical.
    pub(crate) fn into_text(self) -> Cow<'a, str> {
        self.0
    }

    /// Whether it is an IP address, which has no labels to match.
    #[must_use]
    pub fn is_address(&self) -> bool {
        self.0.starts_with('[') || self.0.parse::<Ipv4Addr>().is_ok()
    }
}

/// Checks `[address]` or `[address]:port` and gives it without the port.
fn parse_v6(raw: &str) -> Result<&str, HostError> {
    let end = raw.find(']').ok_or(HostError::Address)?;
    let (host, port) = raw.split_at_checked(end + 1).ok_or(HostError::Address)?;
    if !port.is_empty() {
        check_port(port.strip_prefix(':').ok_or(HostError::Address)?)?;
    }
    let text = host.get(1..end).ok_or(HostError::Address)?;
    let address: Ipv6Addr = text.parse().map_err(|_| HostError::Address)?;
    if address.to_string().eq_ignore_ascii_case(text) { Ok(host) } else { Err(HostError::Address) }
}

/// Checks a name or IPv4 address and gives it without port and final dot.
fn parse_name(raw: &str) -> Result<&str, HostError> {
    let host = match raw.split_once(':') {
        Some((host, port)) => {
            check_port(port)?;
            host
        }
        None => raw,
    };
    if host.is_empty() {
        return Err(HostError::Empty);
    }
    let host = host.strip_suffix('.').unwrap_or(host);
    if host.len() > MAX_LENGTH {
        return Err(HostError::TooLong);
    }
    for label in host.split('.') {
        check_label(label)?;
    }
    let last = host.rsplit('.').next().unwrap_or_default();
    if is_number(last) && host.parse::<Ipv4Addr>().is_err() {
        return Err(HostError::Address);
    }
    Ok(host)
}

fn check_port(port: &str) -> Result<(), HostError> {
    let decimal = port.bytes().all(|b| b.is_ascii_digit()) && !port.starts_with('0');
    if decimal && port.parse::<u16>().is_ok() { Ok(()) } else { Err(HostError::Port) }
}

fn check_label(label: &str) -> Result<(), HostError> {
    if label.is_empty() {
        return Err(HostError::EmptyLabel);
    }
    if label.len() > MAX_LABEL {
        return Err(HostError::LabelTooLong);
    }
    if let Some(bracket) = label.chars().find(|c| matches!(c, '[' | ']')) {
        return Err(HostError::Character(bracket));
    }
    if label.starts_with('-') || label.ends_with('-') {
        return Err(HostError::Hyphen);
    }
    Ok(())
}

/// Whether resolvers take a last label for part of an IPv4 address: decimal, octal
/// or hexadecimal (the "ends in a number" check of the WHATWG URL standard).
fn is_number(label: &str) -> bool {
    match label.strip_prefix("0x").or_else(|| label.strip_prefix("0X")) {
        Some(digits) => digits.bytes().all(|b| b.is_ascii_hexdigit()),
        None => label.bytes().all(|b| b.is_ascii_digit()),
    }
}

#[cfg(test)]
mod tests;
