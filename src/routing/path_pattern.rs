//! Patterns of paths, as the table's routes have them.

use std::fmt;

use crate::domain::Path;

/// A pattern, apart from the names of its placeholders: two patterns of one shape
/// match the same paths.
///
/// The order is the rule of specificity: of two shapes that match one path, the
/// lesser is the more specific.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct PathShape(Vec<Step>);

/// A segment, or the end. The order of the variants is their rank.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Step {
    Literal(String),
    Placeholder,
    ExactEnd,
    PrefixEnd,
}

#[derive(Clone, Debug)]
pub(super) struct PathPattern {
    pub(super) shape: PathShape,
    /// Their names, and which segment they stand for.
    pub(super) placeholders: Vec<Placeholder>,
}

/// A placeholder of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Placeholder {
    pub(super) name: String,
    /// Which label or segment, from the left, counted from 0.
    pub(super) at: usize,
}

impl PathPattern {
    /// Reads a pattern, or says what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (body, end) = match text.strip_suffix('$') {
            Some(body) => (body, Step::ExactEnd),
            None => (text, Step::PrefixEnd),
        };
        let Some(inner) = body.strip_prefix('/') else {
            return Err(format!("`{text}`: expected a path that starts with `/`"));
        };
        if body.contains([';', '?']) {
            return Err(format!("`{text}`: a pattern holds neither `;` nor `?`"));
        }
        // Legal in a path, but whoever writes them means something else, and a
        // pattern that never matches leaves its requests to a weaker one.
        if body.contains('*') {
            return Err(format!("`{text}`: `*` is no wildcard here: a prefix covers all below it"));
        }
        if inner.split('/').any(|segment| segment.starts_with(':')) {
            return Err(format!("`{text}`: a placeholder is written `{{name}}`, not `:name`"));
        }
        let mut steps = Vec::new();
        let mut placeholders = Vec::new();
        let mut sample = String::with_capacity(body.len());
        // The prefix `/` is the one of no segments; the exact one has one, empty.
        let segments = (end == Step::ExactEnd || !inner.is_empty()).then(|| inner.split('/'));
        for (at, segment) in segments.into_iter().flatten().enumerate() {
            sample.push('/');
            match placeholder(segment, "segment")? {
                Some(name) => {
                    placeholders.push(Placeholder { name: name.to_owned(), at });
                    steps.push(Step::Placeholder);
                    sample.push('x');
                }
                None => {
                    steps.push(Step::Literal(segment.to_owned()));
                    sample.push_str(segment);
                }
            }
        }
        if !sample.is_empty() {
            let (path, _) = Path::split(&sample).map_err(|error| format!("`{text}`: {error}"))?;
            if path.as_str() != sample {
                return Err(format!(
                    "`{text}` is not canonical: expected it as in `{}`",
                    path.as_str()
                ));
            }
        }
        if end == Step::PrefixEnd && steps.last().is_some_and(Step::is_empty) {
            return Err(format!(
                "`{text}`: a prefix matches with and without a final `/`: leave it out, or end with `$`"
            ));
        }
        steps.push(end);
        Ok(Self { shape: PathShape(steps), placeholders })
    }
}

impl PathShape {
    /// The segments, and the end.
    pub(super) fn steps(&self) -> &[Step] {
        &self.0
    }

    /// Whether a path of these segments matches.
    pub(super) fn matches<'s>(&self, mut segments: impl Iterator<Item = &'s str>) -> bool {
        self.0.iter().all(|step| match step {
            Step::Literal(literal) => segments.next() == Some(literal),
            Step::Placeholder => segments.next().is_some_and(|segment| !segment.is_empty()),
            Step::ExactEnd => segments.next().is_none(),
            Step::PrefixEnd => true,
        })
    }
}

/// As it is written, without the names of placeholders.
impl fmt::Display for PathShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.0 {
            match step {
                Step::Literal(literal) => write!(f, "/{literal}")?,
                Step::Placeholder => f.write_str("/{}")?,
                Step::ExactEnd => f.write_str("$")?,
                // The prefix of no segments.
                Step::PrefixEnd if self.0.len() == 1 => f.write_str("/")?,
                Step::PrefixEnd => {}
            }
        }
        Ok(())
    }
}

impl Step {
    fn is_empty(&self) -> bool {
        matches!(self, Self::Literal(literal) if literal.is_empty())
    }
}

/// The name in `{name}`; nothing, if the part is a literal. `part` is the word for
/// what a placeholder stands for here.
pub(super) fn placeholder<'p>(text: &'p str, part: &str) -> Result<Option<&'p str>, String> {
    if !text.contains(['{', '}']) {
        return Ok(None);
    }
    let name = text
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'))
        .filter(|name| !name.contains(['{', '}']))
        .ok_or_else(|| format!("`{text}`: a placeholder stands for a whole {part}"))?;
    check_placeholder_name(name)?;
    Ok(Some(name))
}

pub(super) fn check_placeholder_name(name: &str) -> Result<(), String> {
    if !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_') {
        Ok(())
    } else {
        Err(format!("`{{{name}}}`: the name of a placeholder is of a-z and `_`"))
    }
}
