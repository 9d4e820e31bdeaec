//! The configuration file as it is written. These types are the public
//! configuration: their docs are its documentation, their defaults its defaults.
//!
//! Every field can be left out as far as serde goes; what must be given is said to
//! the schema alone, which is what judges a file's structure. So a file with a
//! mistake can still be read and its other mistakes be found.

mod catalog;
mod catalog_routes;
mod denial;
mod entra;
mod http;
mod policy;
mod reload;
mod transport;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::values::{ByteSize, Period};
use crate::audit::Member;
pub(super) use catalog::{Backstage, Catalog, Guard, Membership, Shared};
pub(super) use catalog_routes::{CatalogRoutes, Delegation, Workload};
pub(super) use denial::{Audience, Denial, Tell};
pub(super) use entra::{CallerKind, Cloud, Entra, Graph, Overage, Tenant, Version};
pub(super) use http::{Dialect, HttpAuthorization};
pub(super) use policy::Policy;
pub(super) use reload::Reload;
pub(super) use transport::{Outgoing, Tls};

/// The configuration of Stagedoor.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["listen", "entra", "catalog"]))]
pub(super) struct Document {
    /// Where to listen.
    pub(super) listen: Listen,
    /// How the listeners of `listen.http` are asked.
    pub(super) http_authorization: HttpAuthorization,
    /// Which tokens are accepted.
    pub(super) entra: Entra,
    /// Who owns what.
    pub(super) catalog: Catalog,
    /// Which requests are for which entity. Empty where Envoy's context extensions say it.
    pub(super) routes: Vec<Route>,
    /// Which requests the catalog may say are for which entity. Without, none.
    pub(super) catalog_routes: CatalogRoutes,
    /// Who may do what.
    pub(super) policy: Policy,
    /// What an answer tells the upstream.
    pub(super) answer: Answer,
    /// What a denied caller reads.
    pub(super) denial: Denial,
    /// Limits of one check.
    pub(super) check: Check,
    /// Limits of the listeners that are asked for decisions.
    pub(super) limits: Limits,
    /// The record of every decision.
    pub(super) audit: Audit,
    /// Logs, traces and metrics.
    pub(super) telemetry: Telemetry,
    /// Connections to others.
    pub(super) outgoing: Outgoing,
    /// When this file is read again.
    pub(super) reload: Reload,
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
    /// Threads that Envoy's connections are served on; without it as many as there are
    /// processors. A connection stays on its thread, and each new one goes where the fewest
    /// are: no more are of use than Envoy opens connections, about one for each of its own
    /// threads. With 0 they are served by the threads of everything else, which take work
    /// from each other: that costs more, and is here to be compared with.
    #[schemars(range(max = 1024))]
    pub(super) workers: Option<u32>,
    /// Where proxies ask that don't ask over gRPC: addresses as above, in the dialect of
    /// `http_authorization`. They are believed what they say of a request, so only they may reach
    /// it: on loopback, by a Unix socket, or by `clients` of `tls`.
    pub(super) http: Vec<String>,
    /// What the TCP listeners of `grpc` and `http` show, and whom they let in. Without, they
    /// don't speak TLS.
    pub(super) tls: Option<Tls>,
    /// Where health, readiness and metrics are: `address:port`.
    pub(super) admin: String,
    /// The same for `admin`. With `client_ca_file`, a client may show no certificate, but
    /// then gets nothing but `/live` and `/ready`, unless it has the token.
    pub(super) admin_tls: Option<Tls>,
    /// The file that holds the bearer token that `admin` asks for, at least 32 characters;
    /// read again within seconds of a change. `/live` and `/ready` need none.
    pub(super) admin_token_file: Option<String>,
    /// The listeners, as written above, that don't speak TLS and may be reached from other
    /// machines all the same, or of which anybody may ask `admin`. Every other address must
    /// be on loopback or have TLS: who can reach a listener can ask it for decisions and
    /// read its metrics.
    pub(super) allow_plaintext_on: Vec<String>,
}

impl Default for Listen {
    fn default() -> Self {
        Self {
            grpc: Vec::new(),
            unix_socket_mode: "0660".to_owned(),
            workers: None,
            http: Vec::new(),
            tls: None,
            admin: "127.0.0.1:9192".to_owned(),
            admin_tls: None,
            admin_token_file: None,
            allow_plaintext_on: Vec::new(),
        }
    }
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

#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Answer {
    /// The names of the headers that an allowed request carries to the upstream.
    pub(super) headers: Headers,
    /// Whether `authorization` is taken away from an allowed request. nginx and Traefik have to
    /// do that themselves.
    pub(super) remove_authorization: bool,
    /// Whether the spellings of these headers with `_` for `-` are taken away from an allowed
    /// request, since many services take them for the same. `false` saves Envoy work, and is
    /// for where each Envoy that asks drops or refuses such headers
    /// (`headers_with_underscores_action`); `stagedoor doctor --envoy` looks whether it does.
    pub(super) remove_look_alikes: bool,
    /// What Envoy's access log and filters are told of a decision, as dynamic metadata under
    /// `envoy.filters.http.ext_authz`. Each field costs Envoy some work.
    pub(super) metadata: Vec<MetadataField>,
}

impl Default for Answer {
    fn default() -> Self {
        use MetadataField::{
            Action, Decision, DecisionId, Entity, Kind, Policies, Reason, Route, Snapshot, Subject,
            Tenant,
        };
        Self {
            headers: Headers::default(),
            remove_authorization: false,
            remove_look_alikes: true,
            metadata: vec![
                DecisionId, Decision, Reason, Kind, Tenant, Subject, Route, Action, Entity,
                Policies, Snapshot,
            ],
        }
    }
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum MetadataField {
    DecisionId,
    Decision,
    Reason,
    Kind,
    Tenant,
    Subject,
    Route,
    Action,
    Entity,
    Policies,
    Snapshot,
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
    /// Checks that wait at a time: for groups, a key, a new token's turn, or the rest of
    /// their message. Who has to wait for nothing is not counted.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub(super) max_concurrent: u32,
    /// How long a check that has to wait does so for one of these places before it is
    /// denied as overload; at most `deadline`.
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
    /// Connections at a time over all listeners. Beyond that, one on which nothing was asked yet
    /// makes room.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub(super) max_connections: u32,
    /// Requests at a time on one connection.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub(super) max_concurrent_streams: u32,
    /// The largest gRPC message that is read; `4KiB` to `16MiB`, and more than
    /// `entra.max_token_bytes`.
    pub(super) max_message_bytes: ByteSize,
    /// The largest list of a gRPC request's own headers, or of an HTTP request's; `4KiB` to
    /// `1MiB`, and with `listen.http` at least `32KiB` and more than `entra.max_token_bytes`.
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
            // With `pre_stop`, and with what is written after it, within ten seconds.
            drain_timeout: Period::seconds(6),
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
    /// When a file is begun anew. Without, never: then rename it and send SIGHUP.
    pub(super) rotate: Option<Rotate>,
    /// An OTLP collector's gRPC address that gets every record as a log, also where `to` is
    /// `off`.
    pub(super) otlp: Option<String>,
    /// Records that wait to be written; one more is dropped and counted.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub(super) queue: u32,
    /// Whether a record holds what else the token said (`facts`): roles, scopes, groups.
    /// Without, a decision can't be made again from its record.
    pub(super) facts: bool,
    /// Members that are left out; a record names those in `masked` that had something to
    /// say.
    pub(super) mask: Vec<Member>,
    /// Replaces ids of callers by pseudonyms.
    pub(super) pseudonyms: Option<Pseudonyms>,
}

impl Default for Audit {
    fn default() -> Self {
        Self {
            to: "stdout".to_owned(),
            rotate: None,
            otlp: None,
            queue: 8192,
            facts: true,
            mask: Vec::new(),
            pseudonyms: None,
        }
    }
}

#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Rotate {
    /// The file is renamed to `.1` before it would be larger than this; `64KiB` to `64GiB`.
    pub(super) max_size: ByteSize,
    /// Files that are kept beside it: `.1` to this one.
    #[schemars(range(min = 1, max = 1000))]
    pub(super) keep: u32,
}

impl Default for Rotate {
    fn default() -> Self {
        Self { max_size: ByteSize::mib(100), keep: 10 }
    }
}

#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["key_file"]))]
pub(super) struct Pseudonyms {
    /// The file that holds the key, at least 32 bytes; read again within a second of a
    /// change.
    pub(super) key_file: String,
    /// Whose ids are replaced: the caller's `object` id, the `client` application's.
    #[schemars(length(min = 1))]
    pub(super) fields: Vec<PseudonymField>,
}

impl Default for Pseudonyms {
    fn default() -> Self {
        Self { key_file: String::new(), fields: vec![PseudonymField::Object] }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum PseudonymField {
    Object,
    Client,
}

#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Telemetry {
    /// What is logged: a `tracing` filter such as `info` or `stagedoor=debug,info`.
    pub(super) log: String,
    /// The form of log lines: for people or for machines.
    pub(super) log_format: LogFormat,
    /// The OTLP collector's address, such as `http://127.0.0.1:4317`; traces and metrics are
    /// sent only where it is given. By HTTP, `/v1/traces` and `/v1/metrics` are added.
    pub(super) otlp_endpoint: Option<String>,
    /// How the collector is spoken to: `grpc`, mostly on port 4317, or `http`, protobuf over
    /// HTTP, mostly on port 4318.
    pub(super) otlp_protocol: OtlpProtocol,
    /// The authorities that the collector's certificate must be of, as PEM, instead of those
    /// that the system trusts.
    pub(super) ca_file: Option<String>,
    /// Of the traces that begin here, the part that is recorded; 0 to 1. A caller's trace is
    /// recorded where the caller says so.
    #[schemars(range(min = 0, max = 1))]
    pub(super) sample_ratio: f64,
    /// How often metrics are sent to the collector; `1s` to `1h`, or `0s` for never.
    pub(super) metrics_every: Period,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self {
            log: "info".to_owned(),
            log_format: LogFormat::Text,
            otlp_endpoint: None,
            otlp_protocol: OtlpProtocol::Grpc,
            ca_file: None,
            sample_ratio: 1.0,
            metrics_every: Period::seconds(60),
        }
    }
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum OtlpProtocol {
    Grpc,
    Http,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum LogFormat {
    Text,
    Json,
}
