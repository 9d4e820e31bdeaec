//! Who is asking.

use std::sync::Arc;

use super::{ClientId, GroupId, ObjectId, TenantId};

/// The caller of a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Principal {
    /// The identity a verified token proves. Shared, because the verified-token
    /// cache hands the same one to every request that carries the token.
    Verified(Arc<Identity>),
    /// Nobody known. Only a public gate lets them pass.
    Anonymous,
}

impl Principal {
    /// The proven identity, if there is one.
    #[must_use]
    pub fn identity(&self) -> Option<&Identity> {
        match self {
            Self::Verified(identity) => Some(identity),
            Self::Anonymous => None,
        }
    }

    /// The kind, as metrics, records and identity headers show it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Verified(identity) => identity.kind.as_str(),
            Self::Anonymous => "anonymous",
        }
    }
}

/// What a verified token says about its bearer, reduced to what may decide.
///
/// Made only by the token verifier ([`crate::entra`]); a value of this type is
/// the proof that a token was verified. Names and e-mail addresses are left out:
/// they can be changed and reused, so nothing may be decided by them.
#[derive(Clone, Debug, PartialEq)]
pub struct Identity {
    /// The directory that vouches: `tid`.
    pub tenant: TenantId,
    /// The principal in it: `oid`.
    pub object: ObjectId,
    /// A person or an application.
    pub kind: IdentityKind,
    /// The application that asked for the token: `azp` or `appid`.
    pub client: Option<ClientId>,
    /// Object ids of the `groups` claim, sorted, each once.
    pub groups: Box<[GroupId]>,
    /// Entries of the `groups` claim that are names, where the API's registration
    /// emits names; sorted, each once.
    pub group_names: Box<[GroupName]>,
    /// App roles (`roles`), sorted, each once.
    pub roles: Box<[Box<str>]>,
    /// Delegated scopes (`scp`), sorted, each once. Empty for a workload.
    pub scopes: Box<[Box<str>]>,
    /// Seconds since 1970 at which the token was issued (`iat`).
    pub issued_at: i64,
    /// Seconds since 1970 at which the token ends (`exp`).
    pub expires_at: i64,
}

/// A group named in a token instead of identified.
pub type GroupName = Box<str>;

/// Whether somebody or something holds the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IdentityKind {
    /// A delegated token: an application acts for a signed-in user.
    User,
    /// An app-only token: an application, service principal or managed identity
    /// acts for itself.
    Workload,
}

impl IdentityKind {
    /// The name used in identity headers, metrics and records.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Workload => "workload",
        }
    }
}
