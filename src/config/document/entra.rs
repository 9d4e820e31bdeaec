//! `entra`: which tokens are accepted, and how their groups are found.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::values::{ByteSize, Period};

#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["tenants"]))]
pub(in crate::config) struct Entra {
    /// How far Entra's clock may differ from ours, in either direction; at most `5m`.
    pub(in crate::config) clock_skew: Period,
    /// The longest time from a token's `iat` to its `exp`; `1m` to `48h`.
    pub(in crate::config) max_token_lifetime: Period,
    /// Tokens that were issued longer ago are refused, whatever their `exp`; `1m` to
    /// `48h`. Without, only `exp` counts.
    pub(in crate::config) max_token_age: Option<Period>,
    /// Longer tokens are refused unread; `1KiB` to `64KiB`.
    pub(in crate::config) max_token_bytes: ByteSize,
    /// What was revoked, a line each: `object <oid>`, `session <sid>`, `token <uti>`,
    /// `key <kid>`, `issued-before <time>`. Read again within a second of a change.
    pub(in crate::config) revocations_file: Option<String>,
    /// Where the groups of a caller come from who is in more than a token lists: nowhere,
    /// so they are answered with 503 (`deny`), the catalog's own User (`catalog`), or
    /// Microsoft Graph (`graph`).
    pub(in crate::config) overage: Overage,
    /// How Microsoft Graph is asked; required by `overage: graph`, and used by nothing else.
    pub(in crate::config) graph: Option<Graph>,
    /// The life of the tenants' signing keys.
    pub(in crate::config) keys: Keys,
    /// The cache of verified tokens.
    pub(in crate::config) token_cache: TokenCache,
    /// What tokens are held to that are not in the cache.
    pub(in crate::config) verification: Verification,
    /// The tenants whose tokens are accepted.
    #[schemars(length(min = 1))]
    pub(in crate::config) tenants: Vec<Tenant>,
}

impl Default for Entra {
    fn default() -> Self {
        Self {
            clock_skew: Period::seconds(60),
            // What Entra gives to clients capable of continuous access evaluation.
            max_token_lifetime: Period::hours(28),
            max_token_age: None,
            max_token_bytes: ByteSize::kib(16),
            revocations_file: None,
            overage: Overage::Deny,
            graph: None,
            keys: Keys::default(),
            token_cache: TokenCache::default(),
            verification: Verification::default(),
            tenants: Vec::new(),
        }
    }
}

#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Keys {
    /// Keys are fetched anew this often; `1m` to `24h`. A removed key is accepted no
    /// longer than this.
    pub(in crate::config) refresh_every: Period,
    /// A token with an unknown key makes for a fetch at once, but not more often than
    /// this; `1s` up to `refresh_every`.
    pub(in crate::config) min_refresh_interval: Period,
    /// Keys that could not be refreshed for this long are no longer used; from
    /// `refresh_every` to `168h`.
    pub(in crate::config) max_age: Period,
    /// How long a request with an unknown key waits for the fetch; less than
    /// `check.deadline`.
    pub(in crate::config) unknown_key_wait: Period,
    /// A fetch is given up after this long; `100ms` to `1m`.
    pub(in crate::config) fetch_timeout: Period,
    /// A folder in which key sets are kept, so that a start without network has those of
    /// the last run, up to `max_age`.
    pub(in crate::config) store: Option<String>,
    /// Ids of keys that are not trusted, whoever publishes them.
    pub(in crate::config) distrusted: Vec<String>,
}

impl Default for Keys {
    fn default() -> Self {
        Self {
            refresh_every: Period::hours(1),
            min_refresh_interval: Period::minutes(5),
            max_age: Period::hours(24),
            unknown_key_wait: Period::millis(100),
            fetch_timeout: Period::seconds(5),
            store: None,
            distrusted: Vec::new(),
        }
    }
}

#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct TokenCache {
    /// At most this many tokens; 0 switches the cache off.
    #[schemars(range(min = 0, max = 100_000_000))]
    pub(in crate::config) max_entries: u32,
    /// At most this many bytes, as far as they can be counted.
    pub(in crate::config) max_bytes: ByteSize,
}

impl Default for TokenCache {
    fn default() -> Self {
        Self { max_entries: 100_000, max_bytes: ByteSize::mib(64) }
    }
}

#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Verification {
    /// At most this many new tokens wait to be verified; one more is turned away at once with
    /// 503. Without it half of `check.max_concurrent`, and always less, so that known callers have the rest.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub(in crate::config) queue: Option<u32>,
    /// A new token that waited this long is turned away with 503; without it half of
    /// `check.deadline`, and always less.
    pub(in crate::config) max_wait: Option<Period>,
}

/// One of `secret_file`, `certificate_file`, `federated_token_file`, `workload_identity`
/// and `managed_identity` says how Stagedoor proves itself.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Graph {
    /// The application that Stagedoor is in Entra; of a managed identity only a
    /// user-assigned one has to be named, of a workload identity none.
    pub(in crate::config) client_id: Option<String>,
    /// The file that holds the application's client secret, read anew for each token.
    pub(in crate::config) secret_file: Option<String>,
    /// The PEM file that holds the application's certificate and its RSA key, read anew
    /// for each token.
    pub(in crate::config) certificate_file: Option<String>,
    /// The file that holds a token of another issuer whom the application trusts (workload
    /// identity federation), read anew for each token.
    pub(in crate::config) federated_token_file: Option<String>,
    /// Takes the client id and the federated token's file from the environment
    /// (`AZURE_CLIENT_ID`, `AZURE_FEDERATED_TOKEN_FILE`), as AKS sets it.
    pub(in crate::config) workload_identity: bool,
    /// Asks the machine's or the platform's identity endpoint.
    pub(in crate::config) managed_identity: bool,
    /// How long a request waits for its caller's groups; less than `check.deadline`.
    /// Beyond it the request is answered with 503, and the call goes on for the next one.
    pub(in crate::config) wait: Period,
    /// A call is given up after this long, with all its pages and retries; `10s` to `1m`.
    pub(in crate::config) timeout: Period,
    /// A caller's groups are kept this long; `10s` to `24h`.
    pub(in crate::config) ttl: Period,
    /// A failure is kept this long before Graph is asked for that caller again; `1s` to `5m`.
    pub(in crate::config) failure_ttl: Period,
    /// Calls at a time.
    #[schemars(range(min = 1, max = 1000))]
    pub(in crate::config) max_calls: u32,
    /// At most this many callers' groups are kept.
    #[schemars(range(min = 100, max = 100_000_000))]
    pub(in crate::config) max_entries: u32,
    /// At most this many bytes of them, as far as they can be counted; from `4MiB`.
    pub(in crate::config) max_bytes: ByteSize,
    /// Asks only for the groups that the catalog binds, as long as they are at most 60.
    pub(in crate::config) only_catalog_groups: bool,
}

impl Default for Graph {
    fn default() -> Self {
        Self {
            client_id: None,
            secret_file: None,
            certificate_file: None,
            federated_token_file: None,
            workload_identity: false,
            managed_identity: false,
            wait: Period::millis(120),
            timeout: Period::seconds(10),
            ttl: Period::minutes(5),
            failure_ttl: Period::seconds(5),
            max_calls: 16,
            max_entries: 100_000,
            max_bytes: ByteSize::mib(64),
            only_catalog_groups: true,
        }
    }
}

#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["audiences"]))]
pub(in crate::config) struct Tenant {
    /// The tenant's id, a GUID: the `tid` of its tokens.
    pub(in crate::config) id: Option<String>,
    /// Instead of `id`, for a multi-tenant application: the ids of the tenants whose
    /// tokens are accepted.
    pub(in crate::config) allowed_tenants: Vec<String>,
    /// Instead of `id`: accepts tokens of every organisation in the cloud. Whoever has a
    /// tenant can then get in as far as policies let them.
    pub(in crate::config) dangerously_allow_any_tenant: bool,
    /// The cloud the tenant is in, which gives authority and issuers; `public` where
    /// neither this nor `authority` is given. The v1.0 issuer of `us_government` is
    /// taken to be that of `public`; `issuer_v1` overrides it.
    pub(in crate::config) cloud: Option<Cloud>,
    /// Where the discovery documents are, instead of a cloud's own place:
    /// `https://contoso.ciamlogin.com`.
    pub(in crate::config) authority: Option<String>,
    /// The issuer of v1.0 tokens, instead of the cloud's; required to accept `v1`
    /// with `authority`.
    pub(in crate::config) issuer_v1: Option<String>,
    /// The issuer of v2.0 tokens, instead of `{authority}/{id}/v2.0`.
    pub(in crate::config) issuer_v2: Option<String>,
    /// The token versions that are accepted. Both, if not given; with `authority` but
    /// without `issuer_v1`, only `v2`.
    #[schemars(length(min = 1))]
    pub(in crate::config) versions: Option<Vec<Version>>,
    /// Where Microsoft Graph is, instead of the cloud's own place.
    pub(in crate::config) graph_url: Option<String>,
    /// The `aud` values that are accepted, compared byte by byte: the API's client id
    /// (v2), or its application id URI (v1).
    #[schemars(length(min = 1))]
    pub(in crate::config) audiences: Vec<String>,
    /// The client applications that are accepted, by their ids; empty accepts any
    /// that the tenant lets ask for the audience.
    pub(in crate::config) clients: Vec<String>,
    /// The kinds of callers that are accepted. All, if not given.
    #[schemars(length(min = 1))]
    pub(in crate::config) kinds: Option<Vec<CallerKind>>,
    /// A delegated token must carry one of these scopes; empty asks for any.
    pub(in crate::config) required_scopes: Vec<String>,
    /// An app-only token must carry one of these app roles; empty asks for any.
    pub(in crate::config) required_roles: Vec<String>,
    /// The API's registration emits groups as names. Nothing is decided by names, also by
    /// one that looks like an id; without this a token with one is refused.
    pub(in crate::config) groups_are_names: bool,
    /// Client applications that are agents, whatever their tokens say.
    pub(in crate::config) agent_clients: Vec<String>,
    /// Values of `xms_act_fct` and `xms_sub_fct` that tell an agent. `11` and `13`, if not
    /// given. A token with `xms_par_app_azp` is an agent's in any case.
    pub(in crate::config) agent_facets: Option<Vec<String>>,
    /// Accepts tokens with neither `scp` nor `roles`. Any application in the tenant
    /// can get such a token, without anyone's consent.
    pub(in crate::config) dangerously_accept_tokens_without_scope_or_role: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum CallerKind {
    User,
    Workload,
    ManagedIdentity,
    Agent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum Overage {
    Deny,
    Catalog,
    Graph,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum Cloud {
    Public,
    UsGovernment,
    China,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum Version {
    V1,
    V2,
}
