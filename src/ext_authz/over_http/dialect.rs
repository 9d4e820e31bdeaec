//! Where a proxy says what it was asked.

use http::request::Parts;
use http::{HeaderMap, Method};

/// How a proxy asks, and what it makes of an answer.
///
/// A listener has one, so that headers of another can't be brought along by a client: they are
/// not looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// nginx's `auth_request`: `x-original-method`, `x-original-host`, `x-original-uri`, which
    /// its configuration sets. It tells its client of 401 and 403 only, without their body.
    Nginx,
    /// Traefik's ForwardAuth: `x-forwarded-method`, `x-forwarded-host`, `x-forwarded-uri`, which
    /// it sets itself. It passes on whatever isn't one of the 200s.
    Traefik,
    /// Envoy's `http_service`: the request itself, with this before its path. It takes any of
    /// the 500s for a failure of the check, which may let the request in.
    Envoy {
        /// Its `path_prefix`; empty where it has none.
        path_prefix: String,
    },
}

/// What a proxy was asked, as it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ext_authz) struct Line<'a> {
    pub(in crate::ext_authz) method: &'a str,
    pub(in crate::ext_authz) host: &'a str,
    pub(in crate::ext_authz) path: &'a str,
}

impl Dialect {
    /// The request that is asked about, or why it can't be told, for the record.
    pub(in crate::ext_authz) fn line<'a>(&self, asked: &'a Parts) -> Result<Line<'a>, String> {
        let headers = &asked.headers;
        let line = match self {
            Self::Nginx => Line {
                method: one(headers, "x-original-method")?,
                host: one(headers, "x-original-host")?,
                path: one(headers, "x-original-uri")?,
            },
            Self::Traefik => Line {
                method: one(headers, "x-forwarded-method")?,
                host: one(headers, "x-forwarded-host")?,
                path: one(headers, "x-forwarded-uri")?,
            },
            Self::Envoy { path_prefix } => Line {
                method: asked.method.as_str(),
                host: one(headers, "host")?,
                path: path(asked, path_prefix)?,
            },
        };
        match Method::from_bytes(line.method.as_bytes()) {
            Ok(_) => Ok(line),
            Err(_) => Err("the method is none".to_owned()),
        }
    }
}

/// The value of a header that has to be there once.
pub(super) fn one<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<&'a str, String> {
    let mut found = headers.get_all(name).iter();
    match (found.next(), found.next()) {
        (None, _) => Err(format!("`{name}` is missing")),
        (Some(_), Some(_)) => Err(format!("`{name}` is there more than once")),
        (Some(value), None) => match std::str::from_utf8(value.as_bytes()) {
            Ok("") => Err(format!("`{name}` is empty")),
            Ok(value) => Ok(value),
            Err(_) => Err(format!("`{name}` is no text")),
        },
    }
}

/// The path and query of a request, without what Envoy puts before them.
fn path<'a>(asked: &'a Parts, prefix: &str) -> Result<&'a str, String> {
    let uri = &asked.uri;
    // A whole address would be a second place for the host.
    if uri.scheme().is_some() || uri.authority().is_some() {
        return Err("the request target is no path".to_owned());
    }
    let path = uri.path_and_query().map(http::uri::PathAndQuery::as_str).unwrap_or_default();
    match path.strip_prefix(prefix) {
        Some(path) if path.starts_with('/') => Ok(path),
        _ => Err("the path does not begin with `http_authorization.path_prefix`".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn what_is_asked_stands_there_once_as_text() {
        for (values, want) in [
            (&[][..], Err("`x-original-uri` is missing")),
            (&[&b"/a"[..]], Ok("/a")),
            (&["/ä".as_bytes()], Ok("/ä")),
            (&[b""], Err("`x-original-uri` is empty")),
            (&[b"/\xff"], Err("`x-original-uri` is no text")),
            (&[b"/a", b"/a"], Err("`x-original-uri` is there more than once")),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append("x-original-uri", HeaderValue::from_bytes(value).unwrap());
            }
            let got = one(&headers, "x-original-uri");
            assert_eq!(got.as_ref().map_err(String::as_str).copied(), want);
        }
    }
}
