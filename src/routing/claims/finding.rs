//! What is told about a claim that grants nothing.

use crate::domain::EntityRef;

/// The longest excerpt of an author's text, and the longest message, in characters.
const MAX_EXCERPT: usize = 80;
const MAX_MESSAGE: usize = 320;

/// The most findings about one entity; more are only counted.
const MAX_FINDINGS: usize = 8;

/// Something that an entity claims, and that grants nothing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClaimFinding {
    /// Who claims it.
    pub entity: EntityRef,
    /// What about it: one line of printable ASCII, of bounded length. Everything else
    /// in it is shown as an escape.
    pub message: String,
}

/// What is told about one entity.
#[derive(Debug, Default)]
pub(super) struct Told {
    messages: Vec<String>,
    more: usize,
}

impl Told {
    pub(super) fn tell(&mut self, message: impl FnOnce() -> String) {
        if self.messages.len() < MAX_FINDINGS {
            self.messages.push(plain(&message(), MAX_MESSAGE));
        } else {
            self.more += 1;
        }
    }

    pub(super) fn into_findings(self, entity: &EntityRef) -> impl Iterator<Item = ClaimFinding> {
        let more = (self.more > 0).then(|| format!("and {} more of the kind", self.more));
        let entity = entity.clone();
        self.messages
            .into_iter()
            .chain(more)
            .map(move |message| ClaimFinding { entity: entity.clone(), message })
    }
}

/// The beginning of an author's text, printable.
pub(super) fn excerpt(text: &str) -> String {
    plain(text, MAX_EXCERPT)
}

/// Catalog authors choose these texts: nothing in them may move a cursor, turn the
/// direction of reading, or look like something else.
fn plain(text: &str, most: usize) -> String {
    let printable = |c: char| c == ' ' || c.is_ascii_graphic();
    let mut plain = String::new();
    for (count, c) in text.chars().enumerate() {
        if count == most {
            plain.push_str("...");
            break;
        }
        if printable(c) { plain.push(c) } else { plain.extend(c.escape_default()) }
    }
    plain
}
