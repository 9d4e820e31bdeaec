//! Text that strangers wrote, made fit to stand among other text.

/// A text for people, as much of it as they read, and nothing that moves what stands
/// around it: control characters and marks that turn the direction of writing.
#[must_use]
pub fn plain(text: &str, longest: usize) -> String {
    let turns = |c: char| matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().filter(|c| !c.is_control() && !turns(*c)).take(longest).collect()
}
