//! What the policy engine is asked, in values of its own.
//!
//! Facts about groups and entities come from the catalog, but the engine doesn't know the
//! catalog: whoever asks brings them. They are asked for only where an answer is not
//! remembered.

use std::borrow::Cow;
use std::sync::Arc;

use crate::domain::{Action, EntityRef, GroupId, Identity};

/// One question: may this principal do this to this resource?
#[derive(Clone, Copy)]
pub struct Question<'a> {
    /// Who asks.
    pub identity: &'a Arc<Identity>,
    /// The directory's groups of a principal whose token doesn't list them, sorted.
    pub listed: Option<&'a Arc<[GroupId]>>,
    /// What is to be done.
    pub action: Action,
    /// What it is done to.
    pub entity: &'a EntityRef,
    /// The request it is done by.
    pub request: RequestFacts<'a>,
    /// What is known of groups and entities.
    pub facts: &'a dyn Facts,
    /// The version of these facts: equal versions say the same of everything.
    pub version: &'a Arc<str>,
}

/// What is known of the caller's groups, and of entities.
pub trait Facts {
    /// Every group the caller is in: bound from the token, from the catalog, their
    /// ancestors, and the personal group of the caller's own User entity. Depends on nothing
    /// but the version, the identity and its listed groups.
    fn groups(&self) -> Vec<&EntityRef>;

    /// The entity that is asked for.
    fn target(&self) -> Option<ResourceFacts<'_>>;

    /// Another entity, that a policy names or that the one asked for is part of.
    fn resource(&self, entity: &EntityRef) -> Option<ResourceFacts<'_>>;

    /// The groups above a group.
    fn above(&self, group: &EntityRef) -> Vec<&EntityRef>;

    /// The group that one of the directory's groups is bound to.
    fn bound(&self, id: &GroupId) -> Option<&EntityRef>;
}

/// What the catalog says about an entity.
#[derive(Clone, Debug)]
pub struct ResourceFacts<'a> {
    /// Its ref; the kind decides the Cedar type.
    pub entity: &'a EntityRef,
    /// Its owners: groups, and the personal groups of owning users.
    pub owners: Vec<&'a EntityRef>,
    /// `spec.type`.
    pub spec_type: Option<&'a str>,
    /// `spec.lifecycle`.
    pub lifecycle: Option<&'a str>,
    /// `metadata.tags`.
    pub tags: Vec<&'a str>,
    /// The system it is directly part of.
    pub system: Option<&'a EntityRef>,
    /// The domain that it, or else its system, is directly part of.
    pub domain: Option<&'a EntityRef>,
    /// Every system and domain it is part of, over others too. Never two entities that
    /// are part of each other: Cedar's hierarchy has no circles.
    pub part_of: Vec<&'a EntityRef>,
}

/// What a policy may look at in the request.
#[derive(Clone, Copy, Debug)]
pub struct RequestFacts<'a> {
    /// The real method.
    pub method: &'a str,
    /// The canonical host.
    pub host: &'a str,
    /// The canonical path, without query.
    pub path: &'a str,
    /// The name of the route.
    pub route: &'a str,
    /// The calling workload's certificate identity.
    pub source: Option<&'a str>,
    /// The called workload's certificate identity.
    pub destination: Option<&'a str>,
    /// What the caller gave as a reason.
    pub justification: Option<&'a str>,
    /// Seconds since 1970.
    pub unix_time: i64,
    /// Seconds since the token was issued.
    pub token_age: i64,
}

impl Question<'_> {
    /// The directory's groups of the principal, sorted.
    #[must_use]
    pub fn entra_groups(&self) -> Cow<'_, [GroupId]> {
        self.listed.map_or_else(|| self.identity.groups(), |listed| Cow::Borrowed(listed))
    }
}

impl RequestFacts<'_> {
    /// The day of the week in UTC, from 1 (Monday) to 7 (ISO 8601).
    #[must_use]
    pub fn weekday(&self) -> i64 {
        // 1970-01-01 was a Thursday.
        self.unix_time.div_euclid(86_400).saturating_add(3).rem_euclid(7).saturating_add(1)
    }
}

impl std::fmt::Debug for Question<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Question")
            .field("identity", self.identity)
            .field("action", &self.action)
            .field("entity", self.entity)
            .field("request", &self.request)
            .finish_non_exhaustive()
    }
}
