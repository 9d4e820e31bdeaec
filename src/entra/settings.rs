//! What the token verifier is configured with.

use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use super::graph::GraphSettings;
use crate::bounded::Bounds;
use crate::domain::{ClientId, IdentityKind, TenantId};

/// Everything `entra` needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntraSettings {
    /// The tenants whose tokens are accepted; at least one, no two with one issuer.
    pub tenants: Vec<TenantSettings>,
    /// How far the issuer's clock may differ from ours, in either direction.
    pub clock_skew: Duration,
    /// The longest time from `iat` to `exp` that is accepted.
    pub max_token_lifetime: Duration,
    /// Tokens that were issued longer ago are refused, whatever their `exp`.
    pub max_token_age: Option<Duration>,
    /// Tokens longer than this many bytes are refused unread.
    pub max_token_bytes: usize,
    /// What becomes of callers in more groups than a token lists.
    pub overage: Overage,
    /// How Microsoft Graph is asked for the groups of such callers, if it is.
    pub graph: Option<GraphSettings>,
    /// The verified-token cache.
    pub cache: Bounds,
    /// How tokens are verified that nobody has verified yet.
    pub verification: VerificationSettings,
    /// The life of a key set.
    pub keys: KeySettings,
    /// Where key sets are kept for the next start.
    pub key_store: Option<PathBuf>,
    /// Ids of keys that are not trusted, whoever publishes them.
    pub distrusted_keys: Vec<String>,
    /// A file of what was revoked, read again when it changes.
    pub revocations: Option<PathBuf>,
}

impl EntraSettings {
    /// With everything but the tenants as the configuration's defaults have it.
    #[must_use]
    pub fn new(tenants: Vec<TenantSettings>) -> Self {
        let (second, hour) = (Duration::from_secs(1), Duration::from_secs(3600));
        Self {
            tenants,
            clock_skew: second * 60,
            max_token_lifetime: hour * 28,
            max_token_age: None,
            max_token_bytes: 16 * 1024,
            overage: Overage::Deny,
            graph: None,
            cache: Bounds { max_entries: 100_000, max_bytes: 64 << 20 },
            verification: VerificationSettings { queue: 500, max_wait: second / 10 },
            keys: KeySettings {
                refresh_every: hour,
                min_refresh_interval: second * 300,
                max_age: hour * 24,
                unknown_key_wait: second / 10,
                fetch_timeout: second * 5,
            },
            key_store: None,
            distrusted_keys: Vec::new(),
            revocations: None,
        }
    }
}

/// What new tokens are held to before they are verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerificationSettings {
    /// Tokens that may wait for their turn.
    pub queue: usize,
    /// How long a token waits before it is turned away.
    pub max_wait: Duration,
}

/// What becomes of a token that points to a caller's groups instead of listing them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overage {
    /// It is refused: the groups can't be known.
    #[default]
    Deny,
    /// It is accepted; whoever needs the groups finds them elsewhere.
    Accept,
}

/// A tenant, or the tenants of a multi-tenant application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantSettings {
    /// Whose tokens.
    pub tenants: Tenants,
    /// Where the discovery documents are, without a final slash:
    /// `https://login.microsoftonline.com`.
    pub authority: Url,
    /// Where Microsoft Graph is.
    pub graph: Url,
    /// The issuer of v1.0 tokens, or nothing where those are not accepted. Of several
    /// tenants a template: it holds `{tenantid}`.
    pub issuer_v1: Option<String>,
    /// The issuer of v2.0 tokens, likewise.
    pub issuer_v2: Option<String>,
    /// The `aud` values that are accepted, compared byte by byte; never empty.
    pub audiences: Vec<String>,
    /// The client applications (`azp`, `appid`) that are accepted; empty accepts
    /// any that the tenant lets ask for the audience.
    pub clients: Vec<ClientId>,
    /// The kinds of callers that are accepted.
    pub kinds: Vec<IdentityKind>,
    /// A delegated token carries one of these scopes; empty asks for any.
    pub required_scopes: Vec<String>,
    /// An app-only token carries one of these roles; empty asks for any.
    pub required_roles: Vec<String>,
    /// Whether a token without any scope or role is accepted.
    pub accept_tokens_without_grant: bool,
    /// Whether the API's registration emits groups as names. Then no entry counts as an id,
    /// also one that looks like one: whoever may name a group could write somebody's.
    pub groups_are_names: bool,
    /// Client applications that are agents, whatever their tokens say.
    pub agent_clients: Vec<ClientId>,
    /// Values of `xms_act_fct` and `xms_sub_fct` that tell an agent.
    pub agent_facets: Vec<String>,
}

/// Values of the facet claims that tell an agent: 11 an agent identity, 13 an agent's
/// user (Microsoft's token claims reference for agents).
pub const AGENT_FACETS: [&str; 2] = ["11", "13"];

impl TenantSettings {
    /// With everything else as the configuration's defaults have it, and no issuers.
    #[must_use]
    pub fn new(tenants: Tenants, authority: Url, graph: Url, audiences: Vec<String>) -> Self {
        Self {
            tenants,
            authority,
            graph,
            issuer_v1: None,
            issuer_v2: None,
            audiences,
            clients: Vec::new(),
            kinds: IdentityKind::ALL.to_vec(),
            required_scopes: Vec::new(),
            required_roles: Vec::new(),
            accept_tokens_without_grant: false,
            groups_are_names: false,
            agent_clients: Vec::new(),
            agent_facets: AGENT_FACETS.map(str::to_owned).to_vec(),
        }
    }
}

/// Which tenants' tokens are accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tenants {
    /// One: its own authority vouches for it.
    One(TenantId),
    /// These, of a multi-tenant application: the common authority vouches.
    Listed(Vec<TenantId>),
    /// Any organisation's. Personal accounts are no organisation.
    Any,
}

/// The tenant of personal Microsoft accounts, which anybody can have.
const PERSONAL_ACCOUNTS: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";

impl Tenants {
    /// Whether tokens of this tenant are accepted.
    #[must_use]
    pub fn accept(&self, tenant: TenantId) -> bool {
        match self {
            Self::One(one) => *one == tenant,
            Self::Listed(listed) => listed.contains(&tenant),
            Self::Any => tenant.to_string() != PERSONAL_ACCOUNTS,
        }
    }

    /// Whether these name the tenant more closely than the others do.
    pub(super) fn name(&self, tenant: TenantId, others: &Self) -> bool {
        let closeness = |tenants: &Self| match tenants {
            Self::One(one) if *one == tenant => 2,
            Self::Listed(listed) if listed.contains(&tenant) => 1,
            _ => 0,
        };
        closeness(self) > closeness(others)
    }

    /// Whether one key document serves several tenants.
    #[must_use]
    pub fn are_several(&self) -> bool {
        !matches!(self, Self::One(_))
    }

    /// What stands for them in the authority's addresses.
    #[must_use]
    pub fn directory(&self) -> String {
        match self {
            Self::One(tenant) => tenant.to_string(),
            Self::Listed(_) | Self::Any => "organizations".to_owned(),
        }
    }
}

/// The life of a key set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeySettings {
    /// A key set is fetched anew this often.
    pub refresh_every: Duration,
    /// A token that names an unknown key makes for a fetch at once, but not more
    /// often than this.
    pub min_refresh_interval: Duration,
    /// A key set that could not be refreshed for this long is no longer used.
    pub max_age: Duration,
    /// How long a request waits for the fetch that its unknown key started.
    pub unknown_key_wait: Duration,
    /// A fetch is given up after this long.
    pub fetch_timeout: Duration,
}
