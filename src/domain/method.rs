//! The request's method.

use super::Action;

/// An HTTP method, as the request line has it.
///
/// Methods are case-sensitive (RFC 9110 section 9.1): `get` is not `GET`, and a
/// backend that treats it alike must not receive it under `read`. Override
/// headers (`X-HTTP-Method-Override` and the like) are never looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method<'a> {
    /// `GET`
    Get,
    /// `HEAD`
    Head,
    /// `OPTIONS`
    Options,
    /// `POST`
    Post,
    /// `PUT`
    Put,
    /// `PATCH`
    Patch,
    /// `DELETE`
    Delete,
    /// Any other, including `CONNECT` and `TRACE`.
    Other(&'a str),
}

impl<'a> Method<'a> {
    /// Reads a method; every text is one.
    #[must_use]
    pub fn new(text: &'a str) -> Self {
        match text {
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "OPTIONS" => Self::Options,
            "POST" => Self::Post,
            "PUT" => Self::Put,
            "PATCH" => Self::Patch,
            "DELETE" => Self::Delete,
            other => Self::Other(other),
        }
    }

    /// The method as sent.
    #[must_use]
    pub fn as_str(&self) -> &'a str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Options => "OPTIONS",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
            Self::Other(other) => other,
        }
    }

    /// The action a method stands for where the route names none. What is not
    /// known is never less than `admin`.
    #[must_use]
    pub fn action(&self) -> Action {
        match self {
            Self::Get | Self::Head | Self::Options => Action::Read,
            Self::Post | Self::Put | Self::Patch | Self::Delete => Action::Write,
            Self::Other(_) => Action::Admin,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_methods_are_never_less_than_admin() {
        for (text, want) in [
            ("GET", Action::Read),
            ("HEAD", Action::Read),
            ("OPTIONS", Action::Read),
            ("POST", Action::Write),
            ("DELETE", Action::Write),
            ("get", Action::Admin),
            ("Get", Action::Admin),
            ("CONNECT", Action::Admin),
            ("TRACE", Action::Admin),
            ("PROPFIND", Action::Admin),
            ("", Action::Admin),
        ] {
            assert_eq!(Method::new(text).action(), want, "{text}");
            assert_eq!(Method::new(text).as_str(), text);
        }
    }
}
