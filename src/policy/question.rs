//! What the policy engine is asked, in values of its own.
//!
//! Facts about groups and entities come from the catalog, but the engine doesn't
//! know the catalog: whoever asks puts the facts in.

use crate::domain::{Action, EntityRef, GroupId, Identity};

/// One question: may this principal do this to this resource?
#[derive(Clone, Debug)]
pub struct Question<'a> {
    /// Who asks.
    pub identity: &'a Identity,
    /// The directory's groups the principal is in.
    pub entra_groups: &'a [GroupId],
    /// Every group the principal is in: bound from the token, from the catalog,
    /// their ancestors, and the personal group of the principal's own User entity.
    pub groups: &'a [&'a EntityRef],
    /// What is to be done.
    pub action: Action,
    /// What it is done to.
    pub resource: ResourceFacts<'a>,
    /// Every system and domain that the resource is part of, over others too, each once.
    pub wholes: Vec<ResourceFacts<'a>>,
    /// The request it is done by.
    pub request: RequestFacts<'a>,
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
    /// Seconds since 1970.
    pub unix_time: i64,
    /// Seconds since the token was issued.
    pub token_age: i64,
}
