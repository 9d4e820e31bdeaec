//! Backstage's name for an entity: `kind:namespace/name`.

use std::fmt;
use std::sync::Arc;

/// A full entity ref in its canonical spelling, all lower case.
///
/// Backstage compares refs without regard to case and prints them in lower case
/// (`stringifyEntityRef`); so do we, once, here. The characters that survive are
/// those that Backstage's own validation allows in kinds, namespaces and names,
/// so a ref can stand in a header, a log line or a Cedar entity id as it is.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntityRef {
    text: Arc<str>,
    colon: u16,
    slash: u16,
}

/// Why a text is not an entity ref.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntityRefError {
    /// A part is missing or empty.
    #[error("expected `kind:namespace/name`: the {0} is missing")]
    Missing(&'static str),
    /// A character that Backstage allows in no ref.
    #[error(
        "expected `kind:namespace/name`: the {0} holds a character other than a-z, 0-9, `-`, `_`, `.`"
    )]
    Character(&'static str),
    /// Backstage ends each part at 63 characters.
    #[error("expected `kind:namespace/name`: the {0} is longer than 63 characters")]
    TooLong(&'static str),
}

impl EntityRef {
    /// Reads a full ref, `kind:namespace/name`, in any letter case.
    ///
    /// # Errors
    /// A part that is missing, too long, or holds a character outside the grammar.
    pub fn parse(text: &str) -> Result<Self, EntityRefError> {
        Self::resolve(text, "", "")
    }

    /// Reads a ref that may leave out kind and namespace, as `spec.owner` and the
    /// like do; what is left out is taken from the defaults. The grammar is
    /// Backstage's `parseEntityRef`: the first `:` ends the kind unless a `/`
    /// comes before it, the first `/` ends the namespace.
    ///
    /// # Errors
    /// As [`EntityRef::parse`].
    pub fn resolve(text: &str, kind: &str, namespace: &str) -> Result<Self, EntityRefError> {
        let (kind, namespace, name) = parts(text, kind, namespace);
        Self::new(kind, namespace, name)
    }

    /// Makes a ref of its three parts, in any letter case.
    ///
    /// # Errors
    /// As [`EntityRef::parse`].
    pub fn new(kind: &str, namespace: &str, name: &str) -> Result<Self, EntityRefError> {
        let mut text = String::with_capacity(kind.len() + namespace.len() + name.len() + 2);
        write(kind, namespace, name, &mut text)?;
        Self::of_canonical(&text)
    }

    /// Writes the canonical spelling of a full ref over a text, so that a ref that is
    /// known already needs no memory of its own.
    ///
    /// # Errors
    /// As [`EntityRef::parse`]; what the text holds then means nothing.
    pub(crate) fn spell(text: &str, into: &mut String) -> Result<(), EntityRefError> {
        let (kind, namespace, name) = parts(text, "", "");
        write(kind, namespace, name, into)
    }

    /// As [`EntityRef::spell`], of the three parts.
    ///
    /// # Errors
    /// As [`EntityRef::parse`].
    pub(crate) fn spell_parts(
        kind: &str,
        namespace: &str,
        name: &str,
        into: &mut String,
    ) -> Result<(), EntityRefError> {
        write(kind, namespace, name, into)
    }

    /// Reads a ref that is spelled canonically.
    ///
    /// # Errors
    /// As [`EntityRef::parse`]; upper case is a wrong character here.
    pub(crate) fn of_canonical(text: &str) -> Result<Self, EntityRefError> {
        let (kind, namespace, name) = parts(text, "", "");
        for (part, which) in [(kind, "kind"), (namespace, "namespace"), (name, "name")] {
            check(part, which)?;
            if part.bytes().any(|b| b.is_ascii_uppercase()) {
                return Err(EntityRefError::Character(which));
            }
        }
        let colon = u16::try_from(kind.len()).map_err(|_| EntityRefError::TooLong("kind"))?;
        let slash = u16::try_from(kind.len() + 1 + namespace.len())
            .map_err(|_| EntityRefError::TooLong("namespace"))?;
        Ok(Self { text: text.into(), colon, slash })
    }

    /// The whole ref, `kind:namespace/name`, lower case.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The kind, lower case: `component`, `group`, `user`, …
    #[must_use]
    pub fn kind(&self) -> &str {
        self.text.get(..usize::from(self.colon)).unwrap_or_default()
    }

    /// The namespace, lower case.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.text.get(usize::from(self.colon) + 1..usize::from(self.slash)).unwrap_or_default()
    }

    /// The name, lower case.
    #[must_use]
    pub fn name(&self) -> &str {
        self.text.get(usize::from(self.slash) + 1..).unwrap_or_default()
    }
}

/// Kind, namespace and name of a text, with defaults for the first two.
fn parts<'t>(text: &'t str, kind: &'t str, namespace: &'t str) -> (&'t str, &'t str, &'t str) {
    let (kind, rest) = match (text.find(':'), text.find('/')) {
        (Some(colon), Some(slash)) if slash < colon => (kind, text),
        (Some(_), _) => text.split_once(':').unwrap_or((kind, text)),
        (None, _) => (kind, text),
    };
    let (namespace, name) = rest.split_once('/').unwrap_or((namespace, rest));
    (kind, namespace, name)
}

fn write(kind: &str, namespace: &str, name: &str, into: &mut String) -> Result<(), EntityRefError> {
    check(kind, "kind")?;
    check(namespace, "namespace")?;
    check(name, "name")?;
    into.clear();
    into.push_str(kind);
    into.push(':');
    into.push_str(namespace);
    into.push('/');
    into.push_str(name);
    into.make_ascii_lowercase();
    Ok(())
}

fn check(part: &str, which: &'static str) -> Result<(), EntityRefError> {
    if part.is_empty() {
        return Err(EntityRefError::Missing(which));
    }
    if part.len() > 63 {
        return Err(EntityRefError::TooLong(which));
    }
    if part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.')) {
        Ok(())
    } else {
        Err(EntityRefError::Character(which))
    }
}

impl fmt::Display for EntityRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for EntityRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grammar() {
        let ok = |text, want: &str| {
            let parsed = EntityRef::resolve(text, "Group", "other-ns").expect(text);
            assert_eq!(parsed.as_str(), want);
            assert_eq!(
                EntityRef::new(parsed.kind(), parsed.namespace(), parsed.name()),
                Ok(parsed.clone())
            );
        };
        ok("team-a", "group:other-ns/team-a");
        ok("default/team-a", "group:default/team-a");
        ok("user:guest", "user:other-ns/guest");
        ok("Group:Default/Team-A", "group:default/team-a");
        for (text, want) in [
            ("", EntityRefError::Missing("name")),
            (":a", EntityRefError::Missing("kind")),
            ("/a", EntityRefError::Missing("namespace")),
            ("a/", EntityRefError::Missing("name")),
            ("a:b:c/d", EntityRefError::Character("namespace")),
            ("default/a:b", EntityRefError::Character("name")),
            ("a b", EntityRefError::Character("name")),
            ("a\"", EntityRefError::Character("name")),
            ("équipe", EntityRefError::Character("name")),
        ] {
            assert_eq!(EntityRef::resolve(text, "group", "default"), Err(want), "{text}");
        }
        assert_eq!(EntityRef::parse("team-a"), Err(EntityRefError::Missing("kind")));
        assert_eq!(
            EntityRef::parse(&format!("group:default/{}", "a".repeat(64))),
            Err(EntityRefError::TooLong("name"))
        );
    }
}
