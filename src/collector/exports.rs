//! Where something is exported to, and what came of it the last time.

use std::fmt::Display;
use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;
use url::Url;

use super::OtlpProtocol;
use crate::domain::plain;

/// Of an error, so many characters are kept: what a collector answers can be long.
const LONGEST: usize = 300;

/// The exports of one kind to one collector. Written to by whoever sends, which no request does.
#[derive(Debug, Default)]
pub(crate) struct Exports {
    endpoint: String,
    protocol: OtlpProtocol,
    last: Mutex<Last>,
}

#[derive(Clone, Debug, Default)]
struct Last {
    taken: Option<Instant>,
    error: Option<String>,
}

/// How exports go, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportStatus {
    /// The collector's address, and nothing that could be a secret.
    pub endpoint: String,
    /// How it is spoken to.
    pub protocol: OtlpProtocol,
    /// When it last took something.
    pub taken: Option<Instant>,
    /// Why it did not take the last export; nothing once it takes one.
    pub last_error: Option<String>,
}

impl Exports {
    pub(crate) fn to(endpoint: &Url, protocol: OtlpProtocol) -> Self {
        Self { endpoint: shown(endpoint), protocol, last: Mutex::default() }
    }

    /// Notes what came of an export.
    pub(crate) fn note<E: Display>(&self, outcome: &Result<(), E>) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match outcome {
            Ok(()) => *last = Last { taken: Some(Instant::now()), error: None },
            Err(error) => last.error = Some(plain(&error.to_string(), LONGEST)),
        }
    }

    pub(crate) fn status(&self) -> ExportStatus {
        let Last { taken, error } =
            self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (endpoint, protocol) = (self.endpoint.clone(), self.protocol);
        ExportStatus { endpoint, protocol, taken, last_error: error }
    }
}

/// The configuration takes no address with a user, a password or a query. Whoever makes the
/// settings otherwise shows none of them either.
fn shown(endpoint: &Url) -> String {
    let mut url = endpoint.clone();
    // An address that can't have them has none.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    url.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_address_shows_a_secret() {
        for (address, want) in [
            ("https://collector:4317", "https://collector:4317/"),
            ("https://user:secret@collector/otlp?key=secret#secret", "https://collector/otlp"),
            ("https://secret@collector", "https://collector/"),
        ] {
            let exports = Exports::to(&address.parse().expect("an address"), OtlpProtocol::Http);
            assert_eq!(exports.status().endpoint, want);
        }
    }

    #[test]
    fn an_error_lasts_until_something_is_taken() {
        let exports = Exports::default();
        assert_eq!((exports.status().taken, exports.status().last_error), (None, None));
        exports.note(&Ok::<(), String>(()));
        let taken = exports.status().taken;
        assert!(taken.is_some());
        exports.note(&Err(format!("no\n{}", "x".repeat(LONGEST))));
        let status = exports.status();
        assert_eq!(status.taken, taken, "what was taken before was");
        assert_eq!(status.last_error, Some(format!("no{}", "x".repeat(LONGEST - 2))));
        exports.note(&Ok::<(), String>(()));
        assert_eq!(exports.status().last_error, None);
    }
}
