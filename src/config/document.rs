//! The configuration file as it is written. These types are the public
//! configuration: their docs are its documentation, their defaults its defaults.
//!
//! Every field can be left out as far as serde goes; what must be given is said to
//! the schema alone, which is what judges a file's structure. So a file with a
//! mistake can still be read and its other mistakes be found.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::values::{ByteSize, Period};

/// The configuration of Stagedoor.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["listen", "entra", "catalog"]))]
pub(super) struct Document {
    /// Where to listen.
    pub(super) listen: Listen,
    /// Which tokens are accepted.
    pub(super) entra: Entra,
    /// Who owns what.
    pub(super) catalog: Catalog,
    /// Which requests are for which entity. Empty where Envoy's context extensions say it.
    pub(super) routes: Vec<Route>,
    /// Who may do what.
    pub(super) policy: Policy,
    /// What an answer tells the upstream.
    pub(super) answer: Answer,
    /// Limits of one check.
    pub(super) check: Check,
    /// Limits of the gRPC listeners.
    pub(super) limits: Limits,
    /// The record of every decision.
    pub(super) audit: Audit,
    /// Logs and traces.
    pub(super) telemetry: Telemetry,
}

#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["grpc"]))]
pub(super) struct Listen {
    /// Where Envoy asks: `address:port`, such as `127.0.0.1:9191`, or
    /// `unix:/path/of/the.sock`. Port 0 lets the system choose.
    #[schemars(length(min = 1))]
    pub(super) grpc: Vec<String>,
    /// The mode of Unix sockets' files, in octal and in quotes.
    #[schemars(
        title = "a file mode in octal and in quotes, such as `\"0660\"`",
        regex(pattern = "^0?[0-7]{3}$")
    )]
    pub(super) unix_socket_mode: String,
    /// Where health, readiness and metrics are: `address:port`.
    pub(super) admin: String,
    /// The listeners, as written above, that may be reached from other machines
    /// although they don't speak TLS. Every other address must be on loopback: who
    /// can reach a listener can ask it for decisions and read its metrics.
    pub(super) allow_plaintext_on: Vec<String>,
}

impl Default for Listen {
    fn default() -> Self {
        Self {
            grpc: Vec::new(),
            unix_socket_mode: "0660".to_owned(),
            admin: "127.0.0.1:9192".to_owned(),
            allow_plaintext_on: Vec::new(),
        }
    }
}

#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["tenants"]))]
pub(super) struct Entra {
    /// How far Entra's clock may differ from ours, in either direction; at most `5m`.
    pub(super) clock_skew: Period,
    /// The longest time from a token's `iat` to its `exp`; `1m` to `48h`.
    pub(super) max_token_lifetime: Period,
    /// Tokens that were issued longer ago are refused, whatever their `exp`; `1m` to
    /// `48h`. Without, only `exp` counts.
    pub(super) max_token_age: Option<Period>,
    /// Longer tokens are refused unread; `1KiB` to `64KiB`.
    pub(super) max_token_bytes: ByteSize,
    /// What was revoked, a line each: `object <oid>`, `session <sid>`, `token <uti>`,
    /// `key <kid>`, `issued-before <time>`. Read again within a second of a change.
    pub(super) revocations_file: Option<String>,
    /// Where the groups of a caller come from who is in more than a token lists: nowhere,
    /// so they are answered with 503 (`deny`), the catalog's own User (`catalog`), or
    /// Microsoft Graph (`graph`).
    pub(super) overage: Overage,
    /// How Microsoft Graph is asked; required by `overage: graph`, and used by nothing else.
    pub(super) graph: Option<Graph>,
    /// The life of the tenants' signing keys.
    pub(super) keys: Keys,
    /// The cache of verified tokens.
    pub(super) token_cache: TokenCache,
    /// The tenants whose tokens are accepted.
    #[schemars(length(min = 1))]
    pub(super) tenants: Vec<Tenant>,
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
            tenants: Vec::new(),
        }
    }
}

#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Keys {
    /// Keys are fetched anew this often; `1m` to `24h`. A removed key is accepted no
    /// longer than this.
    pub(super) refresh_every: Period,
    /// A token with an unknown key makes for a fetch at once, but not more often than
    /// this; `1s` up to `refresh_every`.
    pub(super) min_refresh_interval: Period,
    /// Keys that could not be refreshed for this long are no longer used; from
    /// `refresh_every` to `168h`.
    pub(super) max_age: Period,
    /// How long a request with an unknown key waits for the fetch; less than
    /// `check.deadline`.
    pub(super) unknown_key_wait: Period,
    /// A fetch is given up after this long; `100ms` to `1m`.
    pub(super) fetch_timeout: Period,
    /// A folder in which key sets are kept, so that a start without network has those of
    /// the last run, up to `max_age`.
    pub(super) store: Option<String>,
    /// Ids of keys that are not trusted, whoever publishes them.
    pub(super) distrusted: Vec<String>,
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
pub(super) struct TokenCache {
    /// At most this many tokens; 0 switches the cache off.
    #[schemars(range(min = 0, max = 100_000_000))]
    pub(super) max_entries: u32,
    /// At most this many bytes, as far as they can be counted.
    pub(super) max_bytes: ByteSize,
}

impl Default for TokenCache {
    fn default() -> Self {
        Self { max_entries: 100_000, max_bytes: ByteSize::mib(64) }
    }
}

/// One of `secret_file`, `certificate_file`, `federated_token_file`, `workload_identity`
/// and `managed_identity` says how Stagedoor proves itself.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Graph {
    /// The application that Stagedoor is in Entra; of a managed identity only a
    /// user-assigned one has to be named, of a workload identity none.
    pub(super) client_id: Option<String>,
    /// The file that holds the application's client secret, read anew for each token.
    pub(super) secret_file: Option<String>,
    /// The PEM file that holds the application's certificate and its RSA key, read anew
    /// for each token.
    pub(super) certificate_file: Option<String>,
    /// The file that holds a token of another issuer whom the application trusts (workload
    /// identity federation), read anew for each token.
    pub(super) federated_token_file: Option<String>,
    /// Takes the client id and the federated token's file from the environment
    /// (`AZURE_CLIENT_ID`, `AZURE_FEDERATED_TOKEN_FILE`), as AKS sets it.
    pub(super) workload_identity: bool,
    /// Asks the machine's or the platform's identity endpoint.
    pub(super) managed_identity: bool,
    /// How long a request waits for its caller's groups; less than `check.deadline`.
    /// Beyond it the request is answered with 503, and the call goes on for the next one.
    pub(super) wait: Period,
    /// A call is given up after this long, with all its pages and retries; `1s` to `1m`.
    pub(super) timeout: Period,
    /// A caller's groups are kept this long; `10s` to `24h`.
    pub(super) ttl: Period,
    /// A failure is kept this long before Graph is asked for that caller again; `1s` to `5m`.
    pub(super) failure_ttl: Period,
    /// Calls at a time.
    #[schemars(range(min = 1, max = 1000))]
    pub(super) max_calls: u32,
    /// At most this many callers' groups are kept.
    #[schemars(range(min = 1, max = 100_000_000))]
    pub(super) max_entries: u32,
    /// At most this many bytes of them, as far as they can be counted.
    pub(super) max_bytes: ByteSize,
    /// Asks only for the groups that the catalog binds, as long as they are at most 60.
    pub(super) only_catalog_groups: bool,
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
pub(super) struct Tenant {
    /// The tenant's id, a GUID: the `tid` of its tokens.
    pub(super) id: Option<String>,
    /// Instead of `id`, for a multi-tenant application: the ids of the tenants whose
    /// tokens are accepted.
    pub(super) allowed_tenants: Vec<String>,
    /// Instead of `id`: accepts tokens of every organisation in the cloud. Whoever has a
    /// tenant can then get in as far as policies let them.
    pub(super) dangerously_allow_any_tenant: bool,
    /// The cloud the tenant is in, which gives authority and issuers; `public` where
    /// neither this nor `authority` is given. The v1.0 issuer of `us_government` is
    /// taken to be that of `public`; `issuer_v1` overrides it.
    pub(super) cloud: Option<Cloud>,
    /// Where the discovery documents are, instead of a cloud's own place:
    /// `https://contoso.ciamlogin.com`.
    pub(super) authority: Option<String>,
    /// The issuer of v1.0 tokens, instead of the cloud's; required to accept `v1`
    /// with `authority`.
    pub(super) issuer_v1: Option<String>,
    /// The issuer of v2.0 tokens, instead of `{authority}/{id}/v2.0`.
    pub(super) issuer_v2: Option<String>,
    /// The token versions that are accepted. Both, if not given; with `authority` but
    /// without `issuer_v1`, only `v2`.
    #[schemars(length(min = 1))]
    pub(super) versions: Option<Vec<Version>>,
    /// Where Microsoft Graph is, instead of the cloud's own place.
    pub(super) graph_url: Option<String>,
    /// The `aud` values that are accepted, compared byte by byte: the API's client id
    /// (v2), or its application id URI (v1).
    #[schemars(length(min = 1))]
    pub(super) audiences: Vec<String>,
    /// The client applications that are accepted, by their ids; empty accepts any
    /// that the tenant lets ask for the audience.
    pub(super) clients: Vec<String>,
    /// The kinds of callers that are accepted. All, if not given.
    #[schemars(length(min = 1))]
    pub(super) kinds: Option<Vec<CallerKind>>,
    /// A delegated token must carry one of these scopes; empty asks for any.
    pub(super) required_scopes: Vec<String>,
    /// An app-only token must carry one of these app roles; empty asks for any.
    pub(super) required_roles: Vec<String>,
    /// Passes over groups that the API's registration emits as names. Nothing is decided by
    /// names; without this a token with one is refused, since its groups aren't known.
    pub(super) ignore_group_names: bool,
    /// Client applications that are agents, whatever their tokens say.
    pub(super) agent_clients: Vec<String>,
    /// Values of `xms_act_fct` and `xms_sub_fct` that tell an agent. `11` and `13`, if not
    /// given. A token with `xms_par_app_azp` is an agent's in any case.
    pub(super) agent_facets: Option<Vec<String>>,
    /// Accepts tokens with neither `scp` nor `roles`. Any application in the tenant
    /// can get such a token, without anyone's consent.
    pub(super) dangerously_accept_tokens_without_scope_or_role: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum CallerKind {
    User,
    Workload,
    ManagedIdentity,
    Agent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Overage {
    Deny,
    Catalog,
    Graph,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Cloud {
    Public,
    UsGovernment,
    China,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Version {
    V1,
    V2,
}

#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Catalog {
    /// A folder of `catalog-info.yaml` files. Either this or `backstage`.
    pub(super) folder: Option<String>,
    /// A Backstage backend. Either this or `folder`.
    pub(super) backstage: Option<Backstage>,
    /// A snapshot is made this often; `1s` to `24h`.
    pub(super) refresh_every: Period,
    /// A snapshot older than this is no longer decided by; from `refresh_every` to
    /// `168h`.
    pub(super) max_age: Period,
    /// Which side says who is in a group: the token's group claims, the catalog's
    /// `memberOf`, either of them, or only both together.
    pub(super) membership: Membership,
}

impl Default for Catalog {
    fn default() -> Self {
        Self {
            folder: None,
            backstage: None,
            refresh_every: Period::seconds(60),
            max_age: Period::hours(24),
            membership: Membership::Token,
        }
    }
}

#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["url"]))]
pub(super) struct Backstage {
    /// The backend's base address, below which `api/catalog` is; https, or http on
    /// loopback.
    pub(super) url: String,
    /// The file that holds the bearer token, read anew for each crawl.
    pub(super) token_file: Option<String>,
    /// Entities a page.
    #[schemars(range(min = 1, max = 10_000))]
    pub(super) page_size: u32,
    /// A crawl is given up after this long; `1s` to `1h`.
    pub(super) crawl_timeout: Period,
    /// Prefixes of `backstage.io/managed-by-location` from which Entra ids are
    /// believed, such as `url:https://github.com/contoso/org/`. The Microsoft Graph
    /// provider's own entities always are; everything else can be written by
    /// whoever may register a file.
    pub(super) trusted_id_locations: Vec<String>,
}

impl Default for Backstage {
    fn default() -> Self {
        Self {
            url: String::new(),
            token_file: None,
            page_size: 500,
            crawl_timeout: Period::seconds(60),
            trusted_id_locations: Vec::new(),
        }
    }
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Membership {
    Token,
    Catalog,
    Either,
    Both,
}

#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["name", "hosts"]))]
pub(super) struct Route {
    /// Its name, for records, spans and messages; unique.
    pub(super) name: String,
    /// Hosts: exact, `*.example.com`, `{component}.apps.example.com`, or `*` for any.
    #[schemars(length(min = 1))]
    pub(super) hosts: Vec<String>,
    /// Path prefixes, ending at a segment: `/v1/orders`, `/svc/{component}`; a final
    /// `$` demands that the path ends there. Empty is any path.
    pub(super) paths: Vec<String>,
    /// Methods, in upper case; empty is any.
    pub(super) methods: Vec<String>,
    /// Who may pass: anybody (`public`), anybody with a valid token (`authenticated`),
    /// or whom the policies permit (`policy`).
    pub(super) gate: Gate,
    /// The entity, with the placeholders of hosts and paths:
    /// `component:default/{component}`. Required by the gate `policy`.
    pub(super) entity: Option<String>,
    /// The action. Without it, the method says.
    pub(super) action: Option<Action>,
    /// Whether a path with a `;` can match.
    pub(super) allow_path_parameters: bool,
    /// The kinds of callers that may pass; empty is any.
    pub(super) kinds: Vec<CallerKind>,
    /// The authentication context that the sign-in must have satisfied: `c1`. Who lacks it
    /// gets 401 with the claims challenge that has their client sign them in for it.
    pub(super) auth_context: Option<String>,
    /// The longest time since the token was issued; `1m` to `48h`. Who is beyond it gets
    /// 401 with the claims challenge that has their client sign them in anew.
    pub(super) max_token_age: Option<Period>,
}

impl Default for Route {
    fn default() -> Self {
        Self {
            name: String::new(),
            hosts: Vec::new(),
            paths: Vec::new(),
            methods: Vec::new(),
            gate: Gate::Policy,
            entity: None,
            action: None,
            allow_path_parameters: false,
            kinds: Vec::new(),
            auth_context: None,
            max_token_age: None,
        }
    }
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Gate {
    Public,
    Authenticated,
    Policy,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Action {
    Read,
    Write,
    Admin,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Policy {
    /// Cedar files. None stands for the built-in policy: owners only.
    pub(super) files: Vec<String>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Answer {
    /// The names of the headers that an allowed request carries to the upstream.
    pub(super) headers: Headers,
    /// Whether `authorization` is taken away from an allowed request.
    pub(super) remove_authorization: bool,
}

#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Headers {
    /// Carries the principal: `oid`.
    pub(super) subject: String,
    /// Carries the tenant: `tid`.
    pub(super) tenant: String,
    /// Carries `user`, `workload` or `anonymous`.
    pub(super) kind: String,
    /// Carries the entity that the request is for.
    pub(super) entity: String,
    /// Carries the decision's id.
    pub(super) decision_id: String,
}

impl Default for Headers {
    fn default() -> Self {
        Self {
            subject: "x-stagedoor-subject".to_owned(),
            tenant: "x-stagedoor-tenant".to_owned(),
            kind: "x-stagedoor-kind".to_owned(),
            entity: "x-stagedoor-entity".to_owned(),
            decision_id: "x-stagedoor-decision-id".to_owned(),
        }
    }
}

#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Check {
    /// Checks that are decided at a time.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub(super) max_concurrent: u32,
    /// How long a check waits for its turn before it is denied as overload; at most
    /// `deadline`.
    pub(super) queue_timeout: Period,
    /// A check that takes longer is denied; `10ms` to `10s`. Less than Envoy's own
    /// timeout.
    pub(super) deadline: Period,
}

impl Default for Check {
    fn default() -> Self {
        Self {
            max_concurrent: 1000,
            queue_timeout: Period::millis(10),
            deadline: Period::millis(150),
        }
    }
}

#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Limits {
    /// Connections at a time over all listeners.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub(super) max_connections: u32,
    /// Requests at a time on one connection.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub(super) max_concurrent_streams: u32,
    /// The largest gRPC message that is read; `4KiB` to `16MiB`, and more than
    /// `entra.max_token_bytes`.
    pub(super) max_message_bytes: ByteSize,
    /// The largest list of a gRPC request's own headers; `4KiB` to `1MiB`.
    pub(super) max_header_list_bytes: ByteSize,
    /// How long a new connection may take to begin; `100ms` to `1m`.
    pub(super) preface_timeout: Period,
    /// A ping is sent after this long without anything received; `1s` to `1h`.
    pub(super) keepalive_interval: Period,
    /// A connection is closed when a ping isn't answered for this long; `100ms` to `5m`.
    pub(super) keepalive_timeout: Period,
    /// A connection is asked to end after about this long; `1s` to `24h`.
    pub(super) max_connection_age: Period,
    /// How long connections are still accepted after the signal to stop; at most `5m`.
    pub(super) pre_stop: Period,
    /// What is still running this long after that is ended; at most `10m`.
    pub(super) drain_timeout: Period,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 1024,
            max_concurrent_streams: 1000,
            max_message_bytes: ByteSize::kib(256),
            max_header_list_bytes: ByteSize::kib(64),
            preface_timeout: Period::seconds(3),
            keepalive_interval: Period::seconds(20),
            keepalive_timeout: Period::seconds(10),
            max_connection_age: Period::minutes(30),
            pre_stop: Period::seconds(3),
            drain_timeout: Period::seconds(7),
        }
    }
}

#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Audit {
    /// Where records go: `stdout`, `off`, or `file:/path`.
    #[schemars(
        title = "`stdout`, `off` or `file:/path`",
        regex(pattern = "^(stdout|off|file:.+)$")
    )]
    pub(super) to: String,
    /// Records that wait to be written; one more is dropped and counted.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub(super) queue: u32,
}

impl Default for Audit {
    fn default() -> Self {
        Self { to: "stdout".to_owned(), queue: 8192 }
    }
}

#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Telemetry {
    /// What is logged: a `tracing` filter such as `info` or `stagedoor=debug,info`.
    pub(super) log: String,
    /// The form of log lines: for people or for machines.
    pub(super) log_format: LogFormat,
    /// The OTLP collector's gRPC address; traces are exported only where it is given.
    pub(super) otlp_endpoint: Option<String>,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self { log: "info".to_owned(), log_format: LogFormat::Text, otlp_endpoint: None }
    }
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum LogFormat {
    Text,
    Json,
}
