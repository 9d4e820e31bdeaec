//! Who is asking.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::{ClientId, GroupId, Identity, ObjectId, TenantId};

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

/// What a token says about its bearer, reduced to what may decide: the plain form of an
/// [`Identity`], to make one of.
///
/// Names and e-mail addresses are left out: they can be changed and reused, so nothing may
/// be decided by them.
#[derive(Clone, PartialEq)]
pub struct Holder {
    /// The directory that vouches: `tid`.
    pub tenant: TenantId,
    /// The principal in it: `oid`. Of a delegated token the user, also where an agent
    /// acts for them.
    pub object: ObjectId,
    /// A person or an application.
    pub kind: IdentityKind,
    /// Whether an application acts for a signed-in user: the token carries scopes, or
    /// would if any had been granted.
    pub delegated: bool,
    /// The application that asked for the token: `azp` or `appid`.
    pub client: Option<ClientId>,
    /// Object ids of the `groups` claim, sorted, each once.
    pub groups: Box<[GroupId]>,
    /// Entries of the `groups` claim that are names, where the API's registration
    /// emits names; sorted, each once.
    pub group_names: Box<[GroupName]>,
    /// The caller is in more groups than the token lists: it lists none, and points
    /// elsewhere. What `groups` holds then says nothing.
    pub groups_elsewhere: bool,
    /// App roles (`roles`), sorted, each once.
    pub roles: Box<[Box<str>]>,
    /// Delegated scopes (`scp`), sorted, each once. Empty for a workload.
    pub scopes: Box<[Box<str>]>,
    /// Seconds since 1970 at which the token was issued (`iat`).
    pub issued_at: i64,
    /// Seconds since 1970 at which the token ends (`exp`).
    pub expires_at: i64,
    /// What else a policy or a revocation may look at.
    pub facts: TokenFacts,
}

/// What a token says beyond who its bearer is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TokenFacts {
    /// The user's home is another directory: `acct`, or an `idp` that is not the issuer.
    pub guest: bool,
    /// A guest's home directory, where the token names one.
    pub home_tenant: Option<TenantId>,
    /// Directory roles (`wids`), sorted, each once.
    pub directory_roles: Box<[Box<str>]>,
    /// Authentication contexts that the sign-in satisfied (`acrs`), sorted, each once.
    pub auth_contexts: Box<[Box<str>]>,
    /// How the client application proved itself (`azpacr`, `appidacr`).
    pub client_auth: Option<ClientAuth>,
    /// The application that an agent belongs to (`xms_par_app_azp`).
    pub agent_parent: Option<ClientId>,
    /// The sign-in session (`sid`).
    pub session: Option<Box<str>>,
    /// The token's own id (`uti`).
    pub token_id: Option<Box<str>>,
    /// Whose keys verified it, and by which rules: the issuer's number.
    pub issuer: Option<usize>,
}

impl Holder {
    pub(super) fn fmt_as(&self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(name)
            .field("tenant", &self.tenant)
            .field("object", &self.object)
            .field("kind", &self.kind)
            .field("delegated", &self.delegated)
            .field("client", &self.client)
            .field("groups", &self.groups)
            .field("group_names", &self.group_names)
            .field("groups_elsewhere", &self.groups_elsewhere)
            .field("roles", &self.roles)
            .field("scopes", &self.scopes)
            .field("issued_at", &self.issued_at)
            .field("expires_at", &self.expires_at)
            .field("facts", &self.facts)
            .finish()
    }
}

impl fmt::Debug for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fmt_as("Holder", f)
    }
}

/// A group named in a token instead of identified.
pub type GroupName = Box<str>;

/// Who or what holds the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IdentityKind {
    /// An application acts for a signed-in user.
    User,
    /// An application or service principal acts for itself.
    Workload,
    /// An application whose credential Azure keeps: a virtual machine, a function, a pod.
    ManagedIdentity,
    /// An AI agent, for itself or for a user.
    Agent,
}

impl IdentityKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::User, Self::Workload, Self::ManagedIdentity, Self::Agent];

    /// The name used in configuration, identity headers, metrics and records.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Workload => "workload",
            Self::ManagedIdentity => "managed_identity",
            Self::Agent => "agent",
        }
    }
}

impl FromStr for IdentityKind {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or("expected `user`, `workload`, `managed_identity` or `agent`")
    }
}

/// How a client application proved itself to Entra.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClientAuth {
    /// Not at all: a public client, such as an app on somebody's device.
    Public,
    /// By a secret.
    Secret,
    /// By a certificate or a federated credential.
    Certificate,
}

impl ClientAuth {
    /// The name that policies see.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Secret => "secret",
            Self::Certificate => "certificate",
        }
    }
}
