//! Locations of catalog files, as Backstage writes them.

/// Whether what follows a prefix of a location may lead elsewhere: who registers a file
/// writes its address, and whoever fetches it resolves dots.
#[must_use]
pub fn climbs(rest: &str) -> bool {
    let lower = rest.to_ascii_lowercase();
    rest.contains("..") || rest.contains('\\') || lower.contains("%2e") || lower.contains("%25")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_lead_elsewhere_is_told() {
        for good in ["", "catalog-info.yaml", "a/b.c/d-e", "a/.hidden/x", "%20x"] {
            assert!(!climbs(good), "{good}");
        }
        // Some take a backslash for a slash, and some resolve escapes, also twice.
        for bad in ["..", "a/../b", "a/..", "a\\b", "a/%2e%2e/b", "a/.%2E/b", "a/%252e/b"] {
            assert!(climbs(bad), "{bad}");
        }
    }
}
