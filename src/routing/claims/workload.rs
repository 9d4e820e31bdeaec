//! SPIFFE ids, and rules that make refs of them.

use crate::domain::{Denial, EntityRef, Reason};

/// The longest that SPIFFE allows.
const MAX_ID: usize = 2048;

/// Checks a SPIFFE id: `spiffe://<trust domain>/<segment>/…`.
pub(super) fn check_id(text: &str) -> Result<(), String> {
    let wrong = |why: &str| Err(format!("`{}`: {why}", text.escape_debug()));
    let Some((domain, path)) = text.strip_prefix("spiffe://").and_then(|id| id.split_once('/'))
    else {
        return wrong("expected a SPIFFE id such as `spiffe://cluster.local/ns/shop/sa/orders`");
    };
    let in_domain =
        |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'_');
    let in_path = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    let segment =
        |part: &str| !part.is_empty() && part != "." && part != ".." && part.bytes().all(in_path);
    if text.len() > MAX_ID || domain.is_empty() || !domain.bytes().all(in_domain) {
        return wrong("the trust domain is none");
    }
    if path.split('/').all(segment) { Ok(()) } else { wrong("a segment of its path is none") }
}

/// Whether an id is this one or below it.
pub(super) fn is_below(id: &str, prefix: &str) -> bool {
    id.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A rule from ids to refs: `spiffe://cluster.local/ns/{namespace}/sa/{name}` to
/// `component:{namespace}/{name}`.
#[derive(Clone, Debug)]
pub(super) struct WorkloadRule {
    segments: Vec<Segment>,
    entity: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Literal(String),
    Placeholder(String),
}

impl WorkloadRule {
    /// Reads a rule; the error says which of the two is wrong.
    pub(super) fn parse(id: &str, entity: &str) -> Result<Self, (&'static str, String)> {
        let mut sample_id = String::new();
        let mut sample_entity = entity.to_owned();
        let mut segments: Vec<Segment> = Vec::new();
        for (at, segment) in id.split('/').enumerate() {
            if at > 0 {
                sample_id.push('/');
            }
            let name = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
            match name {
                Some(name) => {
                    let fits = !name.is_empty()
                        && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
                    let segment = Segment::Placeholder(name.to_owned());
                    if !fits || segments.contains(&segment) || at < 3 {
                        let message = format!(
                            "`{{{name}}}`: expected a placeholder of a-z and `_`, once, after the \
                             trust domain"
                        );
                        return Err(("id", message));
                    }
                    sample_id.push('x');
                    sample_entity = sample_entity.replace(&format!("{{{name}}}"), "x");
                    segments.push(segment);
                }
                None => {
                    sample_id.push_str(segment);
                    segments.push(Segment::Literal(segment.to_owned()));
                }
            }
        }
        check_id(&sample_id).map_err(|error| ("id", error))?;
        if let Err(error) = EntityRef::parse(&sample_entity) {
            let names = segments.iter().filter_map(|segment| match segment {
                Segment::Placeholder(name) => Some(format!("`{{{name}}}`")),
                Segment::Literal(_) => None,
            });
            let names: Vec<String> = names.collect();
            let message = format!("`{entity}`: {error}; placeholders here: {}", names.join(", "));
            return Err(("entity", message));
        }
        Ok(Self { segments, entity: entity.to_owned() })
    }

    /// The entity of an id, if the rule is for it.
    pub(super) fn entity(&self, id: &str) -> Option<Result<EntityRef, Denial>> {
        let mut found = id.split('/');
        let mut entity = self.entity.clone();
        for segment in &self.segments {
            let given = found.next()?;
            match segment {
                Segment::Literal(literal) if literal == given => {}
                Segment::Literal(_) => return None,
                Segment::Placeholder(name) => {
                    entity = entity.replace(&format!("{{{name}}}"), given);
                }
            }
        }
        if found.next().is_some() {
            return None;
        }
        let unknown = |error| Denial::with_detail(Reason::EntityUnknown, error);
        Some(EntityRef::parse(&entity).map_err(unknown))
    }
}
