//! Locations of catalog files, as Backstage writes them.

/// Whether what follows a prefix of a location may lead elsewhere: who registers a file
/// writes its address, and whoever fetches it resolves dots.
#[must_use]
pub fn climbs(rest: &str) -> bool {
    let lower = rest.to_ascii_lowercase();
    rest.contains("..") || rest.contains('\\') || lower.contains("%2e") || lower.contains("%25")
}
