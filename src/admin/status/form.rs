//! What `/status` says: the names of its members are public API. Members are only added.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

/// Everything an operator wants to see at a glance. What is not there is `null`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Status {
    /// The version of Stagedoor.
    pub version: &'static str,
    /// When the process was started.
    pub started: String,
    /// Since then, in seconds.
    pub uptime_seconds: u64,
    /// Whether requests can be decided.
    pub ready: bool,
    /// What is missing, in words.
    pub pending: Vec<String>,
    /// The configuration.
    pub configuration: ConfigurationStatus,
    /// Decisions since the start.
    pub decisions: DecisionsStatus,
    /// The signing keys, issuer by issuer.
    pub keys: Vec<KeysStatus>,
    /// What was revoked.
    pub revocations: RevocationsStatus,
    /// Verified tokens, and those that wait to be.
    pub tokens: TokensStatus,
    /// Groups looked up at Microsoft Graph; `null` where Graph is not asked.
    pub graph: Option<GraphStatus>,
    /// The catalog.
    pub catalog: CatalogForm,
    /// The policies.
    pub policies: PoliciesStatus,
    /// Audit records.
    pub audit: AuditStatus,
    /// Connections of Envoys.
    pub connections: ConnectionsStatus,
    /// Checks that wait, and those that were turned away.
    pub checks: ChecksStatus,
    /// Certificates of Stagedoor's own.
    pub certificates: Vec<CertificateStatus>,
    /// What is exported by OTLP.
    pub exports: Vec<ExportForm>,
    /// What the process takes of the machine.
    pub process: ProcessStatus,
    /// Log lines that nobody took.
    pub log_lines_dropped: u64,
}

/// The configuration.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ConfigurationStatus {
    /// The file, if it was read from one.
    pub file: Option<String>,
    /// Names the one in force: a hash of the file's text.
    pub version: Option<String>,
    /// When it came into force.
    pub since: String,
    /// Reloads that were taken over since the start.
    pub reloads: u64,
    /// Reloads that were refused.
    pub refused: u64,
    /// Whether the last reload was taken over, or there was none yet.
    pub current: bool,
    /// Why the last reload was refused.
    pub errors: Vec<String>,
    /// The changed settings that it was refused for: they take effect at a start only.
    pub needs_restart: Vec<String>,
}

/// Decisions since the start.
#[derive(Debug, Serialize, JsonSchema)]
pub struct DecisionsStatus {
    /// Requests that were let through, by what granted it.
    pub allow: BTreeMap<&'static str, u64>,
    /// Requests that were denied, by reason: every reason there is.
    pub deny: BTreeMap<&'static str, u64>,
    /// Calls that would have ended in a gRPC error, and were denied.
    pub guarded: u64,
    /// How long decisions took.
    pub durations: Vec<DurationStatus>,
}

/// A bucket of durations.
#[derive(Debug, Serialize, JsonSchema)]
pub struct DurationStatus {
    /// Its upper bound, in seconds; the last bucket has none.
    pub le_seconds: Option<f64>,
    /// Decisions in it, and in no bucket below.
    pub count: u64,
}

/// The signing keys of an issuer.
#[derive(Debug, Serialize, JsonSchema)]
pub struct KeysStatus {
    /// The issuer, or its template.
    pub issuer: String,
    /// `initializing`, `fresh`, `stale`, `expired`.
    pub state: String,
    /// Usable keys.
    pub keys: usize,
    /// Names the key set.
    pub version: Option<String>,
    /// Since the last successful fetch, in seconds.
    pub age_seconds: Option<u64>,
    /// Why the last fetch failed.
    pub last_error: Option<String>,
    /// Until the next regular fetch, in seconds; `null` while one is under way.
    pub next_refresh_seconds: Option<u64>,
}

/// What was revoked.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RevocationsStatus {
    /// Whether the file could be read the last time, if there is one.
    pub current: bool,
    /// Why not. What it said before holds on.
    pub last_error: Option<String>,
}

/// Verified tokens.
#[derive(Debug, Serialize, JsonSchema)]
pub struct TokensStatus {
    /// What is kept of them.
    pub cache: CacheStatus,
    /// Tokens that were looked at whole.
    pub verified: u64,
    /// New tokens that wait for their turn.
    pub waiting: usize,
    /// So many may.
    pub max_waiting: usize,
    /// New tokens that were turned away because too many waited.
    pub turned_away: u64,
    /// New tokens that were turned away because they had waited for too long.
    pub late: u64,
}

/// Something that is kept.
#[derive(Debug, Serialize, JsonSchema)]
pub struct CacheStatus {
    /// Entries.
    pub entries: usize,
    /// Their size, as counted.
    pub bytes: usize,
    /// Found.
    pub hits: u64,
    /// Not found.
    pub misses: u64,
}

/// Groups looked up at Microsoft Graph.
#[derive(Debug, Serialize, JsonSchema)]
pub struct GraphStatus {
    /// `fresh`, `failing` while the last lookup failed, `throttled` while Graph asked for
    /// silence.
    pub state: &'static str,
    /// Callers whose groups are kept.
    pub cache: CacheStatus,
    /// Lookups since the start.
    pub lookups: u64,
    /// Lookups that failed.
    pub failures: u64,
    /// Lookups that are under way or wait for their turn.
    pub under_way: usize,
    /// Why the last lookup failed.
    pub last_error: Option<String>,
}

/// The catalog.
#[derive(Debug, Serialize, JsonSchema)]
pub struct CatalogForm {
    /// `initializing`, `fresh`, `stale`, `expired`.
    pub state: String,
    /// Where the entities come from.
    pub source: SourceStatus,
    /// Names the snapshot.
    pub version: Option<String>,
    /// Since its crawl began, in seconds.
    pub age_seconds: Option<u64>,
    /// Beyond this age nothing is decided by it, in seconds.
    pub max_age_seconds: u64,
    /// Until the next regular refresh, in seconds; `null` while one is under way.
    pub next_refresh_seconds: Option<u64>,
    /// Entities of the snapshot.
    pub entities: usize,
    /// Groups of the snapshot.
    pub groups: usize,
    /// Users of the snapshot.
    pub users: usize,
    /// What was not believed, by kind.
    pub findings: BTreeMap<&'static str, usize>,
    /// Some of it: at most three of a kind.
    pub finding_examples: Vec<FindingStatus>,
    /// What is held back.
    pub held: Option<HeldStatus>,
    /// Why the last refresh failed.
    pub last_error: Option<ErrorStatus>,
    /// Refreshes since the start.
    pub refreshes: u64,
    /// Refreshes that failed, by cause.
    pub failures: BTreeMap<&'static str, u64>,
    /// Where snapshots are shared: `publisher` or `follower`.
    pub sharing: Option<&'static str>,
}

/// Where the entities come from.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SourceStatus {
    /// `backstage` or `folder`.
    pub kind: &'static str,
    /// Its address or path.
    pub location: String,
}

/// Something of the catalog that was not believed.
#[derive(Debug, Serialize, JsonSchema)]
pub struct FindingStatus {
    /// The kind.
    pub kind: &'static str,
    /// The entity, as far as it could be read.
    pub entity: String,
    /// What about it.
    pub message: String,
}

/// What is held back.
#[derive(Debug, Serialize, JsonSchema)]
pub struct HeldStatus {
    /// Names it, to confirm it.
    pub id: String,
    /// What is over its share.
    pub what: String,
    /// Some of the changes.
    pub examples: Vec<String>,
    /// With how many crawls in a row it has come.
    pub crawls: u32,
    /// After how many it is adopted.
    pub adopt_after: u32,
}

/// An error.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ErrorStatus {
    /// Its stable code.
    pub code: &'static str,
    /// For people.
    pub message: String,
}

/// The policies.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PoliciesStatus {
    /// Names the set in force.
    pub version: String,
    /// The number of policies.
    pub policies: usize,
    /// When the set came into force.
    pub since: String,
    /// Sets that came into force since the start, the first one not counted.
    pub reloads: u64,
    /// Changes that were not taken over.
    pub refused: u64,
    /// Why the files as they are now are not in force.
    pub last_error: Option<String>,
    /// Policies that could not be evaluated.
    pub errors: Vec<PolicyErrorStatus>,
    /// How policies in the shadow differ.
    pub shadow: ShadowStatus,
    /// Remembered answers.
    pub cache: CacheStatus,
}

/// A policy that could not be evaluated.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PolicyErrorStatus {
    /// Its id; `null` stands for the others.
    pub policy: Option<String>,
    /// How often.
    pub count: u64,
}

/// How policies in the shadow differ.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ShadowStatus {
    /// Answers that would have been others.
    pub differences: u64,
    /// The most frequent ones.
    pub most: Vec<DifferenceStatus>,
}

/// A difference.
#[derive(Debug, Serialize, JsonSchema)]
pub struct DifferenceStatus {
    /// `mode` or `files`.
    pub set: &'static str,
    /// The policy that makes it; `null` where none permits any more.
    pub policy: Option<String>,
    /// The entity that was asked for.
    pub entity: String,
    /// `allow` or `deny`.
    pub would: &'static str,
    /// How often.
    pub count: u64,
}

/// What became of audit records since the start.
#[derive(Debug, Serialize, JsonSchema)]
pub struct AuditStatus {
    /// Written.
    pub written: u64,
    /// Lost to a full queue.
    pub dropped: u64,
    /// Lost to a sink that failed.
    pub failed: u64,
    /// Those that wait to be written; `null` where none is made.
    pub queue: Option<QueueStatus>,
    /// Those for the OTLP collector; `null` where there is none.
    pub otlp: Option<OtlpStatus>,
}

/// Records that wait.
#[derive(Debug, Serialize, JsonSchema)]
pub struct QueueStatus {
    /// So many wait.
    pub waiting: usize,
    /// So many can.
    pub capacity: usize,
}

/// Records for the OTLP collector.
#[derive(Debug, Serialize, JsonSchema)]
pub struct OtlpStatus {
    /// Taken by it.
    pub sent: u64,
    /// Not queued for it.
    pub dropped: u64,
    /// Not taken by it.
    pub failed: u64,
}

/// Connections of Envoys.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ConnectionsStatus {
    /// Open now.
    pub open: u64,
    /// So many may be.
    pub max: usize,
    /// Accepted since the start.
    pub accepted: u64,
    /// Times accepting failed and was put off.
    pub accept_errors: u64,
    /// Closed because they did not begin HTTP/2 in time.
    pub preface_failures: u64,
    /// Panics in a connection that nothing else caught.
    pub panics: u64,
}

/// Checks that have to wait. One that waits for nothing is not counted.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ChecksStatus {
    /// Wait for something now: for their turn, the rest of a message, groups, a key, a new
    /// token's turn.
    pub in_flight: usize,
    /// Those of them that wait for their turn, since as many as may wait for something else.
    pub queued: usize,
    /// Those of them whose message is on its way.
    pub receiving: usize,
    /// So many of each may: with their turn, without, on their way.
    pub max_concurrent: usize,
    /// How long one waits for its turn before it is turned away, in seconds.
    pub queue_timeout_seconds: f64,
    /// Turned away, by what there was too much of.
    pub shed: BTreeMap<&'static str, u64>,
}

/// A certificate of Stagedoor's own.
#[derive(Debug, Serialize, JsonSchema)]
pub struct CertificateStatus {
    /// Who shows it: the listeners `grpc`, `http` and `admin`, or `graph`, which shows it to Entra.
    pub shown_by: &'static str,
    /// The file that it is read from.
    pub file: String,
    /// `good`; `ends_soon` with less than a fifth of its lifetime and 30 days left; `near_end`
    /// with less than a twentieth and 3 days; `expired`; `unread` before the one for `graph` is
    /// needed.
    pub state: &'static str,
    /// Its subject.
    pub subject: Option<String>,
    /// Its alternative names: at most twenty.
    pub names: Vec<String>,
    /// When it ends.
    pub not_after: Option<String>,
    /// Until then, in seconds; less than 0 after that.
    pub left_seconds: Option<i64>,
    /// Since when a listener shows it.
    pub since: Option<String>,
    /// Since its files could last be read, in seconds.
    pub age_seconds: Option<u64>,
    /// Whether the files as they are now are in use.
    pub current: bool,
    /// Why not. A listener goes on with what was in them before.
    pub last_error: Option<String>,
    /// Connections to the listener that did not get through their TLS handshake.
    pub handshake_failures: Option<u64>,
}

/// What is exported to an OTLP collector.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ExportForm {
    /// `spans`, `metrics` or `audit_records`.
    pub what: &'static str,
    /// The collector's address.
    pub endpoint: String,
    /// `grpc` or `http`.
    pub protocol: &'static str,
    /// `idle` before the first export, then `fresh`, or `failing` while the last one failed.
    pub state: &'static str,
    /// Wait to be sent, or are on their way; `null` for metrics, which are read when they are
    /// sent.
    pub queued: Option<u64>,
    /// Taken by the collector: spans, records, or times that it took metrics.
    pub sent: u64,
    /// Not queued for it; `null` for metrics.
    pub dropped: Option<u64>,
    /// Not taken by it.
    pub failed: u64,
    /// Since it last took something, in seconds.
    pub age_seconds: Option<u64>,
    /// Why it did not take the last export.
    pub last_error: Option<String>,
}

/// What the process takes of the machine. What the system doesn't tell is `null`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ProcessStatus {
    /// Memory that it has, in bytes.
    pub resident_bytes: Option<u64>,
    /// File descriptors that are open.
    pub open_descriptors: Option<u64>,
    /// So many may be.
    pub max_descriptors: Option<u64>,
    /// Processor time that it has taken, in seconds.
    pub cpu_seconds: Option<f64>,
}
