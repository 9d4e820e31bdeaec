//! The answer to a request, and the proof it carries.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rand::RngExt as _;
use smallvec::SmallVec;
use uuid::{Builder, Uuid};

use super::{Contact, EntityRef, Identity, Principal, Reason, Target};

/// One decision: everything that the reply, the metric and the audit record are
/// made from, so that none of them can exist without it.
#[derive(Clone, Debug)]
pub struct Decision {
    /// Names this decision to people and in records.
    pub id: DecisionId,
    /// The answer.
    pub verdict: Verdict,
    /// Who asked, as far as it was proven.
    pub principal: Principal,
    /// What was asked for, as far as routing got.
    pub target: Option<Target>,
    /// Who owns the resource, where the catalog was asked.
    pub owners: Owners,
    /// What it was decided by.
    pub versions: Versions,
    /// What else came of deciding.
    pub notes: Notes,
}

/// What came of deciding beside the verdict. Nothing of it changes the verdict.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notes {
    /// What was remembered from an earlier request.
    pub remembered: Remembered,
    /// What other policies would have answered, where that differs.
    pub shadow: Vec<Shadow>,
    /// What the caller is to be told although they may.
    pub warnings: Vec<Notice>,
    /// What somebody should look at: a policy that lets somebody in says that it is loud.
    pub alerts: Vec<Notice>,
    /// Why the caller says that they need it, as they wrote it.
    pub justification: Option<Box<str>>,
    /// What it waited for from outside. Few decisions wait for anything.
    pub waits: Vec<Wait>,
}

/// A time that a decision waited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// What for.
    pub what: Waited,
    /// From when.
    pub since: SystemTime,
    /// How long.
    pub took: Duration,
    /// Whether it came.
    pub came: bool,
}

/// What a decision can wait for from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited {
    /// A key set, for a key that no token named before.
    SigningKey,
    /// Microsoft Graph, for groups that a token doesn't list.
    Groups,
}

/// What a decision found ready.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Remembered {
    /// The token was verified before.
    pub token: bool,
    /// The policies were asked before.
    pub decision: bool,
}

/// What a set of policies that is not enforced would have answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shadow {
    /// Which set.
    pub set: ShadowSet,
    /// Whether it would have let the request pass.
    pub allow: bool,
    /// The code of its answer.
    pub reason: &'static str,
    /// The policies that determined it.
    pub policies: Vec<Arc<str>>,
}

/// A set of policies that is evaluated and not enforced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ShadowSet {
    /// The enforced policies together with those that are in shadow mode.
    Mode,
    /// The policies of the files that are in the shadow.
    Files,
}

impl ShadowSet {
    /// The name used in metrics and records.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mode => "mode",
            Self::Files => "files",
        }
    }
}

/// What a policy has to say beside its effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The policy.
    pub policy: Arc<str>,
    /// What it says, in its author's words.
    pub text: Arc<str>,
}

/// Allow or deny.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// Let through, by this permit.
    Allow(Permit),
    /// Not let through.
    Deny(Denial),
}

/// The proof that a request may pass. There is no other way to an allow, and no
/// way to a permit but to state what grants it.
#[derive(Clone, Debug)]
pub struct Permit {
    grant: Grant,
}

/// What lets a request pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grant {
    /// The route's gate is public.
    PublicRoute,
    /// The route's gate asks for a verified identity, and there is one.
    AuthenticatedRoute,
    /// These policies permit it, and none forbids it.
    Policies(Arc<[Arc<str>]>),
}

impl Permit {
    /// A permit by a public gate.
    ///
    /// Returns nothing for any other gate.
    #[must_use]
    pub fn by_public_gate(target: &Target) -> Option<Self> {
        (target.gate == super::Gate::Public).then_some(Self { grant: Grant::PublicRoute })
    }

    /// A permit by an authenticated gate; the identity is the proof that a token
    /// was verified.
    ///
    /// Returns nothing for any other gate.
    #[must_use]
    pub fn by_authenticated_gate(target: &Target, _proof: &Identity) -> Option<Self> {
        (target.gate == super::Gate::Authenticated)
            .then_some(Self { grant: Grant::AuthenticatedRoute })
    }

    /// A permit by policies. Only the policy engine calls this, with the policies
    /// that determined its answer; without any there is no permit.
    #[must_use]
    pub(crate) fn by_policies(ids: impl Into<Arc<[Arc<str>]>>) -> Option<Self> {
        let ids = ids.into();
        (!ids.is_empty()).then_some(Self { grant: Grant::Policies(ids) })
    }

    /// What grants it.
    #[must_use]
    pub fn grant(&self) -> &Grant {
        &self.grant
    }
}

/// Why a request may not pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// The stable reason.
    pub reason: Reason,
    /// The policies that determined it, where a policy forbade or failed.
    pub policies: Vec<Arc<str>>,
    /// The `@reason` of each of them: written by the operator for the denied person.
    pub advice: Vec<Arc<str>>,
    /// What an operator needs to understand it; never shown to the client.
    pub detail: Option<String>,
    /// What a new token would have to say for another answer.
    pub challenge: Option<Box<Challenge>>,
}

/// What is asked of a new token (a claims challenge, as Microsoft's client libraries
/// understand it).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// This authentication context is satisfied.
    AuthContext(Box<str>),
    /// It was issued at or after this second.
    IssuedSince(i64),
}

impl From<Reason> for Denial {
    fn from(reason: Reason) -> Self {
        Self { reason, policies: Vec::new(), advice: Vec::new(), detail: None, challenge: None }
    }
}

impl Denial {
    /// A denial with a word for the operator.
    #[must_use]
    pub fn with_detail(reason: Reason, detail: impl fmt::Display) -> Self {
        Self { detail: Some(detail.to_string()), ..reason.into() }
    }
}

/// Owners of an entity. Most have one, which needs no memory of its own.
pub type Owners = SmallVec<[Owner; 1]>;

/// An owner of an entity, as a denied person reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The owning group or user.
    pub entity: EntityRef,
    /// Its display name; the ref's name where the catalog has none.
    pub title: Arc<str>,
    /// How to reach it, where the catalog says so.
    pub contact: Option<Arc<Contact>>,
}

/// What a decision was made by. Equal versions and an equal request give an equal
/// decision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Versions {
    /// Content hash of the policy set.
    pub policy: Option<Arc<str>>,
    /// Content hash of the catalog snapshot.
    pub snapshot: Option<Arc<str>>,
    /// Content hash of the key set in force for the issuer of the caller's token.
    pub keys: Option<Arc<str>>,
}

impl Decision {
    /// The code of the answer: a [`Reason`]'s, or what granted it.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match &self.verdict {
            Verdict::Deny(denial) => denial.reason.code(),
            Verdict::Allow(permit) => match permit.grant {
                Grant::PublicRoute => "public_route",
                Grant::AuthenticatedRoute => "authenticated_route",
                Grant::Policies(_) => "permitted",
            },
        }
    }

    /// The policies that determined the answer.
    #[must_use]
    pub fn policies(&self) -> &[Arc<str>] {
        match &self.verdict {
            Verdict::Deny(denial) => &denial.policies,
            Verdict::Allow(permit) => match &permit.grant {
                Grant::Policies(ids) => ids,
                Grant::PublicRoute | Grant::AuthenticatedRoute => &[],
            },
        }
    }

    /// Whether the request may pass.
    #[must_use]
    pub fn is_allow(&self) -> bool {
        matches!(self.verdict, Verdict::Allow(_))
    }
}

/// Names one decision: a UUID of version 7, so that ids sort by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DecisionId(Uuid);

impl DecisionId {
    /// A new id: the milliseconds since 1970, and 74 random bits. Made without a lock and
    /// without a call of the system; two of one millisecond have no order.
    #[must_use]
    pub fn new() -> Self {
        Self::at(SystemTime::now())
    }

    /// A new id of this time.
    #[must_use]
    pub fn at(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let millis = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        Self(Builder::from_unix_timestamp_millis(millis, &rand::rng().random()).into_uuid())
    }

    /// As `Display` writes it, into a place that is there already.
    pub fn write<'b>(&self, place: &'b mut [u8; 36]) -> &'b str {
        self.0.as_hyphenated().encode_lower(place)
    }
}

impl Default for DecisionId {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for DecisionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}
