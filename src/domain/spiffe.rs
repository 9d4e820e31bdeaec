//! Workload identities, as they stand in a certificate: SPIFFE ids.

/// The longest id, in bytes (the SPIFFE-ID standard, section 2.3).
const MAX_LENGTH: usize = 2048;

const SCHEME: &str = "spiffe://";

/// A SPIFFE id with a path: `spiffe://cluster.local/ns/payments/sa/api`.
///
/// It has one spelling: the standard allows neither escapes nor dot segments, and
/// letter case counts in the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpiffeId<'a>(&'a str);

impl<'a> SpiffeId<'a> {
    /// Reads an id.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &'a str) -> Result<Self, &'static str> {
        let rest = text
            .strip_prefix(SCHEME)
            .ok_or("expected a workload identity such as `spiffe://cluster.local/ns/a/sa/b`")?;
        if text.len() > MAX_LENGTH {
            return Err("a workload identity has at most 2048 bytes");
        }
        let (trust_domain, path) =
            rest.split_once('/').ok_or("expected a path below the trust domain")?;
        let in_domain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || is_mark(b);
        if trust_domain.is_empty() || !trust_domain.bytes().all(in_domain) {
            return Err("a trust domain is of a-z, 0-9, `-`, `_`, `.`");
        }
        for segment in path.split('/') {
            if matches!(segment, "" | "." | "..") {
                return Err("a workload identity has no empty segment, no `.` and no `..`");
            }
            if !segment.bytes().all(|b| b.is_ascii_alphanumeric() || is_mark(b)) {
                return Err("a workload identity is of letters, digits, `-`, `_`, `.`");
            }
        }
        Ok(Self(text))
    }

    /// The id as it is written.
    #[must_use]
    pub fn as_str(self) -> &'a str {
        self.0
    }

    /// The trust domain, then the segments of the path.
    pub(crate) fn segments(self) -> impl Iterator<Item = &'a str> + Clone {
        self.0.strip_prefix(SCHEME).unwrap_or_default().split('/')
    }

    /// The id, and what is above it, segment by segment.
    pub(crate) fn prefixes(self) -> impl Iterator<Item = &'a str> {
        std::iter::successors(Some(self.0), |text| text.rsplit_once('/').map(|(above, _)| above))
    }
}

/// Whether a principal means to be a SPIFFE id, well-formed or not.
pub(crate) fn is_spiffe(principal: &str) -> bool {
    principal.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("spiffe:"))
}

fn is_mark(byte: u8) -> bool {
    matches!(byte, b'-' | b'_' | b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_one_spelling() {
        let long = format!("spiffe://a/{}", "b".repeat(MAX_LENGTH - 11));
        for good in [
            "spiffe://cluster.local/ns/payments/sa/api",
            "spiffe://10.0.0.1/a",
            "spiffe://td-1_x/A.b-c_D",
            "spiffe://a/...",
            &long,
        ] {
            assert_eq!(SpiffeId::parse(good).map(SpiffeId::as_str), Ok(good));
        }
        let longer = format!("{long}b");
        for (bad, want) in [
            ("", "expected a workload identity"),
            ("https://a/b", "expected a workload identity"),
            ("SPIFFE://a/b", "expected a workload identity"),
            ("spiffe://cluster.local", "expected a path"),
            ("spiffe:///ns/a", "a trust domain is"),
            ("spiffe://Cluster.local/a", "a trust domain is"),
            ("spiffe://user@a/b", "a trust domain is"),
            ("spiffe://a:8443/b", "a trust domain is"),
            ("spiffe://a/", "no empty segment"),
            ("spiffe://a//b", "no empty segment"),
            ("spiffe://a/b/", "no empty segment"),
            ("spiffe://a/./b", "no empty segment"),
            ("spiffe://a/../b", "no empty segment"),
            ("spiffe://a/%2e%2e", "is of letters"),
            ("spiffe://a/b?c", "is of letters"),
            ("spiffe://a/b#c", "is of letters"),
            ("spiffe://a/ä", "is of letters"),
            (&longer, "at most 2048 bytes"),
        ] {
            let error = SpiffeId::parse(bad).unwrap_err();
            assert!(error.contains(want), "{bad}: {error}");
        }
    }
}
