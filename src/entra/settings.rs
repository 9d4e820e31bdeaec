//! What the token verifier is configured with.

use std::time::Duration;

use url::Url;

use crate::domain::{ClientId, TenantId};

/// Everything `entra` needs to know.
#[derive(Clone, Debug)]
pub struct EntraSettings {
    /// The tenants whose tokens are accepted; at least one, no two with one id.
    pub tenants: Vec<TenantSettings>,
    /// How far the issuer's clock may differ from ours, in either direction.
    pub clock_skew: Duration,
    /// The longest time from `iat` to `exp` that is accepted.
    pub max_token_lifetime: Duration,
    /// Tokens longer than this many bytes are refused unread.
    pub max_token_bytes: usize,
    /// The verified-token cache.
    pub cache: TokenCacheSettings,
    /// The life of a key set.
    pub keys: KeySettings,
}

/// One tenant.
#[derive(Clone, Debug)]
pub struct TenantSettings {
    /// The tenant's id: the `tid` its tokens carry.
    pub id: TenantId,
    /// Where its discovery documents are, without a final slash:
    /// `https://login.microsoftonline.com`.
    pub authority: Url,
    /// The issuer of its v1.0 tokens, or nothing where those are not accepted.
    pub issuer_v1: Option<String>,
    /// The issuer of its v2.0 tokens, or nothing where those are not accepted.
    pub issuer_v2: Option<String>,
    /// The `aud` values that are accepted, compared byte by byte; never empty.
    pub audiences: Vec<String>,
    /// The client applications (`azp`, `appid`) that are accepted; empty accepts
    /// any that the tenant lets ask for the audience.
    pub clients: Vec<ClientId>,
    /// Whether a token with neither `scp` nor `roles` is accepted.
    pub accept_tokens_without_grant: bool,
}

/// Bounds of the verified-token cache.
#[derive(Clone, Copy, Debug)]
pub struct TokenCacheSettings {
    /// At most this many tokens; 0 switches the cache off.
    pub max_entries: usize,
    /// At most this many bytes, as far as they can be counted.
    pub max_bytes: usize,
}

/// The life of a key set.
#[derive(Clone, Copy, Debug)]
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
