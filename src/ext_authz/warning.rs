//! What an allowed caller is warned of, on the upstream's answer.

use super::denial::percent_encoded;
use crate::domain::Notice;

/// The header that carries a warning.
pub(super) const NAME: &str = "x-stagedoor-warning";
/// More warnings than this nobody reads.
const MAX_WARNINGS: usize = 5;
/// A longer one is cut.
const MAX_CHARS: usize = 300;

/// The value of a header for each warning: the policy, and what it says. What is not plain
/// ASCII is percent-encoded UTF-8, and so is `%` itself.
pub(super) fn warnings(notices: &[Notice]) -> impl DoubleEndedIterator<Item = String> + use<'_> {
    notices.iter().take(MAX_WARNINGS).map(value)
}

fn value(notice: &Notice) -> String {
    let text = format!("{}: {}", notice.policy, notice.text);
    // A line break is no part of what it says.
    let text: String =
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_CHARS).collect();
    percent_encoded(text.trim(), |b| (b' '..=b'~').contains(&b) && b != b'%')
}
