//! Whose word is believed about Entra ids, members and the hierarchy.

use super::entity::RawEntity;
use crate::domain::climbs;

/// Whose word is believed.
#[derive(Clone, Debug)]
pub(super) enum Trust {
    /// Everybody's: the operator wrote the files.
    All,
    /// The Microsoft Graph provider's, and that of entities at some locations.
    Locations {
        /// Locations, and what is below them.
        trusted: Vec<String>,
        /// The Microsoft Graph providers by their ids; empty is any.
        providers: Vec<String>,
    },
}

impl Trust {
    /// Whether whoever wrote an entity is believed. Backstage itself sets the location;
    /// anybody who may register a file writes the rest.
    pub(super) fn believes(&self, raw: &RawEntity<'_>) -> bool {
        match self {
            Self::All => true,
            Self::Locations { trusted, .. } => {
                let location = location(raw);
                self.graph_object(location).is_some()
                    || trusted.iter().any(|trusted| is_below(location, trusted))
            }
        }
    }

    /// Whether an entity is believed about its own Entra id. The provider repeats the id:
    /// what it wrote about one object can't come to stand for another.
    pub(super) fn believes_id(&self, raw: &RawEntity<'_>, id: &str) -> bool {
        match self {
            Self::All => true,
            Self::Locations { .. } => match self.graph_object(location(raw)) {
                Some(repeated) => repeated.eq_ignore_ascii_case(id),
                None => self.believes(raw),
            },
        }
    }

    /// The object that a location of the Microsoft Graph provider names:
    /// `msgraph:<provider>/<object id>`.
    fn graph_object<'l>(&self, location: &'l str) -> Option<&'l str> {
        let Self::Locations { providers, .. } = self else { return None };
        let (provider, object) = location.strip_prefix("msgraph:")?.split_once('/')?;
        let known = providers.is_empty() || providers.iter().any(|known| known == provider);
        (!provider.is_empty() && known).then_some(object)
    }
}

/// Where an entity is written, as Backstage says.
pub(super) fn location<'r>(raw: &'r RawEntity<'_>) -> &'r str {
    raw.metadata.annotations.location.as_deref().unwrap_or_default()
}

/// Whether a location is the trusted one or below it, so that
/// `url:https://github.com/contoso` doesn't stand for `…/contoso-of-somebody-else`, nor for
/// what `…/contoso/../somebody-else` leads to.
fn is_below(location: &str, trusted: &str) -> bool {
    location
        .strip_prefix(trusted)
        .filter(|rest| rest.is_empty() || trusted.ends_with('/') || rest.starts_with('/'))
        .is_some_and(|rest| !climbs(rest))
}
