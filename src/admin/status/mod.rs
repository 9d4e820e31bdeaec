//! The state of every part, for people and programs.

mod certificates;
mod exports;
mod form;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::{ConfigStatus, Readiness, Ready, Reloads};
use crate::audit::AuditSender;
use crate::authorizer::Current;
use crate::authorizer::explain::Explainer;
use crate::catalog::{Catalog, FindingKind, Held, SourceSettings};
use crate::clock::Now;
use crate::entra::{
    Authenticator, CacheStats, GroupResolver, GroupStats, IssuerStatus, VerificationStats,
};
use crate::ext_authz::{CheckService, PressureStats};
use crate::policy::Policies;
use crate::serve::ServeStats;
use crate::telemetry::{self, Metrics, MetricsPush, Traces};
use crate::tls::ServerTls;

pub use form::*;

/// Differences that are shown; all are counted.
const MAX_DIFFERENCES: usize = 50;
/// Findings of a kind that are shown; all are counted.
const MAX_EXAMPLES: usize = 3;

/// The parts that are looked at.
#[derive(Clone, Debug)]
pub struct Watched {
    /// The configuration.
    pub reloads: Reloads,
    /// Who decides: key sets and tokens, groups at Microsoft Graph, the policies.
    pub current: Current,
    /// The catalog.
    pub catalog: Catalog,
    /// Records.
    pub audit: AuditSender,
    /// Decisions.
    pub metrics: Metrics,
    /// Connections.
    pub serve: Arc<ServeStats>,
    /// So many of them may be open.
    pub max_connections: usize,
    /// What bounds the checks that wait.
    pub check: CheckService<Explainer>,
    /// Of the listeners that have TLS.
    pub tls: Vec<ServerTls>,
    /// Spans.
    pub traces: Traces,
    /// Metrics that are sent.
    pub push: MetricsPush,
    /// Looks what the process takes of the machine.
    pub process: fn() -> ProcessStatus,
    /// When the process was started, by both clocks.
    pub started: (SystemTime, Instant),
}

impl Watched {
    /// What an operator wants to know.
    #[must_use]
    pub fn status(&self, readiness: &Readiness, now: Now) -> Status {
        let Ready { is_ready, pending } = readiness.ready(now);
        let (started, begun) = self.started;
        let current = self.current.load();
        let authorizer = current.authorizer();
        let authenticator = &authorizer.authenticator;
        let resolver = authorizer.overage.resolver();
        Status {
            version: env!("CARGO_PKG_VERSION"),
            started: rfc3339(started),
            uptime_seconds: now.instant.saturating_duration_since(begun).as_secs(),
            ready: is_ready,
            pending,
            configuration: configuration(&self.reloads.status()),
            decisions: self.decisions(),
            keys: authenticator.status(now).into_iter().map(keys).collect(),
            revocations: revocations(authenticator),
            tokens: tokens(authenticator),
            graph: resolver.map(|resolver| graph(resolver, now)),
            catalog: self.catalog(now),
            policies: policies(&authorizer.policy),
            audit: self.audit(),
            connections: self.connections(),
            checks: self.checks(authenticator),
            certificates: certificates::all(&self.tls, resolver, now),
            exports: exports::all(&self.traces, &self.push, &self.audit, now),
            process: (self.process)(),
            log_lines_dropped: telemetry::dropped_lines(),
        }
    }

    fn decisions(&self) -> DecisionsStatus {
        let of = |wanted: &str| -> BTreeMap<&'static str, u64> {
            let all = self.metrics.decisions();
            let these = all.filter(|(outcome, _, _)| *outcome == wanted);
            these.map(|(_, reason, count)| (reason, count)).collect()
        };
        let durations = self.metrics.durations().into_iter();
        DecisionsStatus {
            allow: of("allow"),
            deny: of("deny"),
            guarded: self.metrics.guarded_calls(),
            durations: durations
                .map(|(le_seconds, count)| DurationStatus { le_seconds, count })
                .collect(),
        }
    }

    fn catalog(&self, now: Now) -> CatalogForm {
        let catalog = self.catalog.status(now);
        let findings = catalog.findings.iter().map(|(kind, count)| (kind.code(), *count));
        CatalogForm {
            state: catalog.state.to_string(),
            source: source(&self.catalog.settings().source),
            version: catalog.version.as_deref().map(str::to_owned),
            age_seconds: seconds(catalog.age),
            max_age_seconds: self.catalog.settings().max_age.as_secs(),
            next_refresh_seconds: seconds(catalog.next_refresh),
            entities: catalog.entities,
            groups: catalog.groups,
            users: catalog.users,
            findings: findings.collect(),
            finding_examples: self.examples(),
            held: catalog.held.map(held),
            last_error: catalog
                .last_error
                .map(|error| ErrorStatus { code: error.code, message: error.message }),
            refreshes: catalog.refreshes,
            failures: catalog.failures,
            sharing: catalog.role,
        }
    }

    fn examples(&self) -> Vec<FindingStatus> {
        let Some(snapshot) = self.catalog.snapshot() else { return Vec::new() };
        let all = snapshot.all_findings().kept();
        let of = |kind: FindingKind| all.iter().filter(move |finding| finding.kind == kind);
        FindingKind::ALL
            .into_iter()
            .flat_map(|kind| of(kind).take(MAX_EXAMPLES))
            .map(|finding| FindingStatus {
                kind: finding.kind.code(),
                entity: finding.entity.clone(),
                message: finding.message.clone(),
            })
            .collect()
    }

    fn audit(&self) -> AuditStatus {
        let stats = self.audit.stats();
        AuditStatus {
            written: stats.written,
            dropped: stats.dropped,
            failed: stats.failed,
            queue: self
                .audit
                .queue()
                .map(|queue| QueueStatus { waiting: queue.waiting, capacity: queue.capacity }),
            otlp: self.audit.is_sent().then_some(OtlpStatus {
                sent: stats.otlp_sent,
                dropped: stats.otlp_dropped,
                failed: stats.otlp_failed,
            }),
        }
    }

    fn connections(&self) -> ConnectionsStatus {
        ConnectionsStatus {
            open: self.serve.open(),
            max: self.max_connections,
            accepted: self.serve.accepted(),
            accept_errors: self.serve.accept_errors(),
            preface_failures: self.serve.preface_failures(),
            panics: self.serve.panics(),
        }
    }

    fn checks(&self, authenticator: &Authenticator) -> ChecksStatus {
        let pressure = self.check.pressure();
        let (load, stats) = (pressure.load(), pressure.stats());
        ChecksStatus {
            in_flight: load.waiting(),
            queued: load.queued,
            receiving: load.receiving,
            max_concurrent: load.most,
            queue_timeout_seconds: load.queue_timeout.as_secs_f64(),
            shed: shed(&stats, &authenticator.verification_stats()).into(),
        }
    }
}

/// Checks that were turned away, by what there was too much of.
pub(crate) fn shed(
    pressure: &PressureStats,
    verification: &VerificationStats,
) -> [(&'static str, u64); 3] {
    [
        ("concurrency", pressure.shed),
        ("message", pressure.unreceived),
        ("new_token", verification.full + verification.late),
    ]
}

fn configuration(status: &ConfigStatus) -> ConfigurationStatus {
    ConfigurationStatus {
        file: status.file.clone(),
        version: status.version.as_deref().map(str::to_owned),
        since: rfc3339(status.since),
        reloads: status.reloads,
        refused: status.refused,
        current: status.current,
        errors: status.errors.clone(),
        needs_restart: status.needs_restart.clone(),
    }
}

fn keys(issuer: IssuerStatus) -> KeysStatus {
    KeysStatus {
        issuer: issuer.issuer,
        state: issuer.state.to_string(),
        keys: issuer.keys,
        version: issuer.version.as_deref().map(str::to_owned),
        age_seconds: seconds(issuer.age),
        last_error: issuer.last_error,
        next_refresh_seconds: seconds(issuer.next_refresh),
    }
}

fn revocations(authenticator: &Authenticator) -> RevocationsStatus {
    let last_error = authenticator.revocations_error();
    RevocationsStatus { current: last_error.is_none(), last_error }
}

fn tokens(authenticator: &Authenticator) -> TokensStatus {
    let CacheStats { entries, bytes, hits, misses } = authenticator.cache_stats();
    let verification = authenticator.verification_stats();
    TokensStatus {
        cache: CacheStatus { entries, bytes, hits, misses },
        verified: verification.verified,
        waiting: verification.waiting,
        max_waiting: authenticator.verification_settings().queue,
        turned_away: verification.full,
        late: verification.late,
    }
}

fn graph(resolver: &GroupResolver, now: Now) -> GraphStatus {
    let GroupStats { entries, bytes, hits, misses, lookups, failures, flights } = resolver.stats();
    let last_error = resolver.last_error();
    let state = match &last_error {
        _ if resolver.is_throttled(now) => "throttled",
        Some(_) => "failing",
        None => "fresh",
    };
    GraphStatus {
        state,
        cache: CacheStatus { entries, bytes, hits, misses },
        lookups,
        failures,
        under_way: flights,
        last_error,
    }
}

fn source(settings: &SourceSettings) -> SourceStatus {
    match settings {
        SourceSettings::Folder(path) => {
            SourceStatus { kind: "folder", location: path.display().to_string() }
        }
        SourceSettings::Backstage(backstage) => {
            SourceStatus { kind: "backstage", location: backstage.url.to_string() }
        }
    }
}

fn held(held: Held) -> HeldStatus {
    HeldStatus {
        what: held.to_string(),
        id: held.id,
        examples: held.examples,
        crawls: held.crawls,
        adopt_after: held.adopt_after,
    }
}

fn policies(policies: &Policies) -> PoliciesStatus {
    let (status, stats) = (policies.status(), policies.stats());
    let (differences, others) = stats.differences();
    let total: u64 = differences.iter().map(|(_, count)| count).sum::<u64>() + others;
    let most = differences.into_iter().take(MAX_DIFFERENCES);
    let errors = stats.errors().into_iter();
    let memory = policies.current().memory();
    PoliciesStatus {
        version: status.version.to_string(),
        policies: status.policies,
        since: rfc3339(status.since),
        reloads: status.adopted,
        refused: status.refused,
        last_error: status.last_error,
        errors: errors
            .map(|(policy, count)| PolicyErrorStatus {
                policy: policy.as_deref().map(str::to_owned),
                count,
            })
            .collect(),
        shadow: ShadowStatus {
            differences: total,
            most: most
                .map(|(difference, count)| DifferenceStatus {
                    set: difference.set,
                    policy: difference.policy.as_deref().map(str::to_owned),
                    entity: difference.entity.to_string(),
                    would: if difference.would_allow { "allow" } else { "deny" },
                    count,
                })
                .collect(),
        },
        cache: CacheStatus {
            entries: memory.entries,
            bytes: memory.bytes,
            hits: memory.hits,
            misses: memory.misses,
        },
    }
}

fn seconds(duration: Option<Duration>) -> Option<u64> {
    duration.map(|duration| duration.as_secs())
}

/// How long ago it was, in seconds.
fn age(since: Option<Instant>, now: Now) -> Option<u64> {
    seconds(since.map(|since| now.instant.saturating_duration_since(since)))
}

fn unix(seconds: i64) -> String {
    let time = chrono::DateTime::from_timestamp(seconds, 0).unwrap_or_default();
    time.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}

fn rfc3339(time: SystemTime) -> String {
    chrono::DateTime::<chrono::Utc>::from(time).to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}
