//! Naming rules: from a workload's identity to its entity, by the operator's word
//! alone.

use super::settings::{DelegationError, NamingSettings};
use crate::domain::{Denial, EntityRef, Reason, SpiffeId};
use crate::routing::build::check_distinct;
use crate::routing::entity::{Entity, EntityTemplate, Place};
use crate::routing::path_pattern::{PathPattern, PathShape};

/// Naming rules, the most specific first.
#[derive(Clone, Debug, Default)]
pub(super) struct NamingRules(Vec<(PathShape, Entity)>);

impl NamingRules {
    /// Reads the rules, and reports those that can't be read.
    pub(super) fn read(rules: &[NamingSettings], errors: &mut Vec<DelegationError>) -> Self {
        let mut read: Vec<(PathShape, Entity)> = Vec::new();
        for (at, rule) in rules.iter().enumerate() {
            let mut mistake = |field: &str, message| {
                errors.push(DelegationError { field: format!("workloads[{at}].{field}"), message });
            };
            let pattern = match pattern(&rule.id) {
                Ok(pattern) => pattern,
                Err(message) => {
                    mistake("id", message);
                    continue;
                }
            };
            if read.iter().any(|(shape, _)| *shape == pattern.shape) {
                mistake("id", format!("`{}`: another rule is for the same workloads", rule.id));
                continue;
            }
            let bound = EntityTemplate::parse(&rule.entity).and_then(|template| {
                template
                    .bind(&[], &pattern.placeholders)
                    .map_err(|name| format!("`{{{name}}}` is not in `id`"))
            });
            match bound {
                Ok(entity) => read.push((pattern.shape, entity)),
                Err(message) => mistake("entity", message),
            }
        }
        read.sort_by(|(a, _), (b, _)| a.cmp(b));
        Self(read)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a rule is for this workload.
    pub(super) fn covers(&self, id: SpiffeId<'_>) -> bool {
        self.find(id).is_some()
    }

    /// The entity that the most specific rule gives this workload, if there is a rule.
    pub(super) fn entity(&self, id: SpiffeId<'_>) -> Option<Result<EntityRef, Denial>> {
        let template = self.find(id)?;
        // Letter case counts in an id, not in a ref: two workloads would be one entity.
        let lower = |text: &&str| !text.bytes().any(|b| b.is_ascii_uppercase());
        let filled = template.fill(|place| match place {
            Place::Segment(at) => id.segments().nth(at).filter(lower),
            Place::Label(_) => None,
        });
        Some(filled.and_then(|entity| entity.ok_or_else(|| Reason::EntityUnknown.into())))
    }

    fn find(&self, id: SpiffeId<'_>) -> Option<&Entity> {
        let found = self.0.iter().find(|(shape, _)| shape.matches(id.segments()));
        found.map(|(_, entity)| entity)
    }
}

/// Reads an id with placeholders as the exact path that it is, trust domain and all.
fn pattern(text: &str) -> Result<PathPattern, String> {
    let rest = text.strip_prefix("spiffe://").unwrap_or_default();
    if rest.split('/').next().is_some_and(|trust_domain| trust_domain.contains(['{', '}'])) {
        return Err(format!("`{text}`: a trust domain is fixed"));
    }
    let whole = |segment: &str| segment.starts_with('{') && segment.ends_with('}');
    let sample: Vec<&str> =
        text.split('/').map(|segment| if whole(segment) { "x" } else { segment }).collect();
    let sample = sample.join("/");
    // What is neither is a placeholder within a segment, which has its own message.
    if !sample.contains(['{', '}']) {
        SpiffeId::parse(&sample).map_err(|error| format!("`{text}`: {error}"))?;
    }
    let pattern = PathPattern::parse(&format!("/{rest}$"))?;
    check_distinct(&pattern.placeholders)?;
    Ok(pattern)
}
