//! What a request is about.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use super::{EntityRef, IdentityKind};

/// The answer of routing: which entity, which action, and who is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The entity the request is for. Always there when the gate is
    /// [`Gate::Policy`]; routing sees to that.
    pub resource: Option<EntityRef>,
    /// What is done to it.
    pub action: Action,
    /// Who may pass.
    pub gate: Gate,
    /// The name of the route that matched, for audit and metrics.
    pub route: Arc<str>,
    /// What the route asks of its callers beyond its gate.
    pub demands: Option<Arc<Demands>>,
}

/// What a route asks of its callers beyond its gate. Means nothing on a public one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Demands {
    /// The kinds of callers that may pass; empty is any.
    pub kinds: Vec<IdentityKind>,
    /// The authentication context that the caller's sign-in must have satisfied.
    pub auth_context: Option<Box<str>>,
    /// The longest time since the token was issued.
    pub max_token_age: Option<Duration>,
}

/// What a request does to an entity. `admin` includes `write`, which includes `read`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    /// Looks at it.
    Read,
    /// Changes it.
    Write,
    /// Administers it; also what an unknown method is taken for.
    Admin,
}

impl Action {
    /// Every action.
    pub const ALL: [Self; 3] = [Self::Read, Self::Write, Self::Admin];

    /// The name used in configuration, policies, metrics and records.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
        }
    }
}

/// How far a caller must prove themself on a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Gate {
    /// Anybody, without a token.
    Public,
    /// Anybody with a valid token of a configured tenant.
    Authenticated,
    /// Whom the policy permits.
    Policy,
}

impl Gate {
    /// Every gate.
    pub const ALL: [Self; 3] = [Self::Public, Self::Authenticated, Self::Policy];

    /// The name used in configuration, metrics and records.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Authenticated => "authenticated",
            Self::Policy => "policy",
        }
    }
}

impl FromStr for Action {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|action| action.as_str() == text)
            .ok_or("expected `read`, `write` or `admin`")
    }
}

impl FromStr for Gate {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|gate| gate.as_str() == text)
            .ok_or("expected `public`, `authenticated` or `policy`")
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
