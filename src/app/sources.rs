//! Metrics that are read from the parts when they are scraped.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::admin::{Liveness, status};
use crate::audit::AuditSender;
use crate::authorizer::Current;
use crate::authorizer::explain::Explainer;
use crate::catalog::{Catalog, CatalogState, FindingKind};
use crate::clock::Now;
use crate::entra::GroupResolver;
use crate::ext_authz::CheckService;
use crate::serve::ServeStats;
use crate::telemetry;
use crate::tls::ServerTls;

/// The parts that are asked.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) current: Current,
    pub(super) catalog: Catalog,
    pub(super) audit: AuditSender,
    pub(super) serve: Arc<ServeStats>,
    pub(super) liveness: Liveness,
    pub(super) check: CheckService<Explainer>,
    pub(super) tls: Vec<ServerTls>,
}

impl Collector for Parts {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let now = Now::read();
        let current = self.current.load();
        let authorizer = current.authorizer();
        let authenticator = &authorizer.authenticator;
        let mut gauge = |name: &str, help: &str, value: f64| {
            let descriptor = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(value).encode(descriptor)
        };

        let issuers = authenticator.status(now);
        let usable = issuers.iter().filter(|issuer| issuer.state.is_usable()).count();
        gauge("stagedoor_issuers", "Configured issuers", count(issuers.len()))?;
        gauge("stagedoor_issuers_usable", "Issuers with usable keys", count(usable))?;
        let oldest = issuers.iter().filter_map(|issuer| issuer.age).max();
        if let Some(age) = oldest {
            gauge("stagedoor_keys_age_seconds", "Age of the oldest key set", age.as_secs_f64())?;
        }

        let catalog = self.catalog.status(now);
        gauge(
            "stagedoor_catalog_usable",
            "1 while ownership can be decided by",
            f64::from(u8::from(catalog.state.is_usable())),
        )?;
        if let Some(age) = catalog.age {
            gauge("stagedoor_catalog_age_seconds", "Age of the snapshot", age.as_secs_f64())?;
        }
        gauge("stagedoor_catalog_entities", "Entities of the snapshot", count(catalog.entities))?;
        gauge("stagedoor_catalog_groups", "Groups of the snapshot", count(catalog.groups))?;
        gauge("stagedoor_catalog_users", "Users of the snapshot", count(catalog.users))?;
        gauge(
            "stagedoor_catalog_held",
            "1 while a snapshot, or a part of one, is held back",
            f64::from(u8::from(catalog.held.is_some())),
        )?;

        let claimed = authorizer.routes.claimed();
        let routes = claimed.routes.iter().count();
        gauge("stagedoor_claimed_routes", "Routes that entities claim", count(routes))?;
        gauge(
            "stagedoor_claim_findings",
            "Claims of hosts, paths and workloads that do not count",
            count(claimed.findings.len()),
        )?;

        let tokens = authenticator.cache_stats();
        gauge("stagedoor_token_cache_entries", "Cached tokens", count(tokens.entries))?;
        gauge("stagedoor_token_cache_bytes", "Their size, as counted", count(tokens.bytes))?;
        let verification = authenticator.verification_stats();
        gauge(
            "stagedoor_verifications_queued",
            "Tokens that wait to be verified",
            count(verification.waiting),
        )?;

        gauge(
            "stagedoor_revocations_current",
            "1 while what was revoked could be read the last time",
            f64::from(u8::from(authenticator.revocations_error().is_none())),
        )?;
        let groups = authorizer.overage.resolver().map(GroupResolver::stats).unwrap_or_default();
        gauge("stagedoor_groups_entries", "Callers whose groups are kept", count(groups.entries))?;
        gauge("stagedoor_groups_bytes", "Their size, as counted", count(groups.bytes))?;

        let serve = &*self.serve;
        let pressure = self.check.pressure().stats();
        gauge(
            "stagedoor_checks_in_flight",
            "Checks that wait for something now",
            count(pressure.waiting),
        )?;
        gauge("stagedoor_connections_open", "Connections of Envoys", exact(serve.open()))?;
        gauge("stagedoor_connections_limit", "So many may be", exact(serve.limit()))?;
        gauge(
            "stagedoor_threads_unresponsive",
            "Threads that serve connections and do not answer",
            count(self.liveness.unresponsive(now.instant)),
        )?;

        let help = "1 for the state of the catalog: initializing, fresh, stale or expired";
        let mut states =
            encoder.encode_descriptor("stagedoor_catalog_state", help, None, MetricType::Gauge)?;
        for state in CatalogState::CODES {
            let is = ConstGauge::new(f64::from(u8::from(catalog.state.code() == state)));
            is.encode(states.encode_family(&[("state", state)])?)?;
        }
        let help = "Entities and claims of the catalog that were not believed";
        let mut findings = encoder.encode_descriptor(
            "stagedoor_catalog_findings",
            help,
            None,
            MetricType::Gauge,
        )?;
        for kind in FindingKind::ALL {
            let found = catalog.findings.get(&kind).copied().unwrap_or(0);
            let found = ConstGauge::new(count(found));
            found.encode(findings.encode_family(&[("kind", kind.code())])?)?;
        }
        let tls: Vec<_> = self.tls.iter().map(ServerTls::status).collect();
        if !tls.is_empty() {
            let help = "Seconds until the certificate in use expires, by listener";
            let name = "stagedoor_tls_certificate_expiry_seconds";
            let mut expiries = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for listener in &tls {
                let left = ConstGauge::new(listener.facts.left(now.unix));
                left.encode(expiries.encode_family(&[("listener", listener.listener)])?)?;
            }
            // Certificates are issued for hours or for years: what is left says whether a
            // renewal is due only beside the whole.
            let help = "Seconds that the certificate in use was issued for, by listener";
            let name = "stagedoor_tls_certificate_lifetime_seconds";
            let mut lifetimes = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for listener in &tls {
                let whole = ConstGauge::new(listener.facts.lifetime());
                whole.encode(lifetimes.encode_family(&[("listener", listener.listener)])?)?;
            }
            let help = "1 while the certificate files as they are now are in use, by listener";
            let name = "stagedoor_tls_certificate_current";
            let mut current = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for listener in &tls {
                let is = ConstGauge::new(f64::from(u8::from(listener.last_error.is_none())));
                is.encode(current.encode_family(&[("listener", listener.listener)])?)?;
            }
        }
        let help = "Refreshes of the catalog that failed, by what failed";
        let mut failures = encoder.encode_descriptor(
            "stagedoor_catalog_refresh_failures",
            help,
            None,
            MetricType::Counter,
        )?;
        for (code, failed) in &catalog.failures {
            ConstCounter::new(*failed).encode(failures.encode_family(&[("cause", *code)])?)?;
        }

        let help = "Checks that were turned away, by what there was too much of";
        let mut shed =
            encoder.encode_descriptor("stagedoor_shed", help, None, MetricType::Counter)?;
        for (class, number) in status::shed(&pressure, &verification) {
            ConstCounter::new(number).encode(shed.encode_family(&[("class", class)])?)?;
        }

        let audit = self.audit.stats();
        let mut counter = |name: &str, help: &str, value: u64| {
            let descriptor = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            ConstCounter::new(value).encode(descriptor)
        };
        counter("stagedoor_catalog_refreshes", "Refreshes of the catalog", catalog.refreshes)?;
        counter("stagedoor_connections_accepted", "Connections accepted", serve.accepted())?;
        counter(
            "stagedoor_connection_accept_errors",
            "Times accepting failed and was put off",
            serve.accept_errors(),
        )?;
        counter(
            "stagedoor_connection_preface_failures",
            "Connections closed because they did not begin HTTP/2 in time, or by when their place was needed",
            serve.preface_failures(),
        )?;
        counter(
            "stagedoor_connections_unused",
            "Connections let go on which nothing was ever asked",
            serve.unused(),
        )?;
        counter(
            "stagedoor_tls_handshake_failures",
            "Connections that did not get through their TLS handshake",
            tls.iter().map(|listener| listener.handshake_failures).sum(),
        )?;
        counter(
            "stagedoor_connection_panics",
            "Panics in a connection that nothing else caught",
            serve.panics(),
        )?;
        counter(
            "stagedoor_log_lines_dropped",
            "Log lines that nobody took",
            telemetry::dropped_lines(),
        )?;
        counter("stagedoor_groups_hits", "Groups of callers that were at hand", groups.hits)?;
        counter(
            "stagedoor_groups_misses",
            "Groups of callers that were waited for",
            groups.misses,
        )?;
        counter("stagedoor_groups_lookups", "Lookups at microsoft graph", groups.lookups)?;
        counter("stagedoor_groups_failures", "Lookups that failed", groups.failures)?;
        counter("stagedoor_token_cache_hits", "Tokens found verified", tokens.hits)?;
        counter("stagedoor_token_cache_misses", "Tokens that had to be verified", tokens.misses)?;
        counter("stagedoor_verifications", "Tokens that were verified", verification.verified)?;
        counter(
            "stagedoor_verifications_turned_away",
            "Tokens that were not verified because as many as may were waiting",
            verification.full,
        )?;
        counter(
            "stagedoor_verifications_late",
            "Tokens that were not verified in time",
            verification.late,
        )?;
        counter("stagedoor_audit_records_written", "Audit records written", audit.written)?;
        counter(
            "stagedoor_audit_records_dropped",
            "Audit records lost to a full queue",
            audit.dropped,
        )?;
        counter(
            "stagedoor_audit_records_failed",
            "Audit records lost to a sink that failed",
            audit.failed,
        )?;
        counter(
            "stagedoor_audit_otlp_records_sent",
            "Audit records that the OTLP collector took",
            audit.otlp_sent,
        )?;
        counter(
            "stagedoor_audit_otlp_records_dropped",
            "Audit records not queued for the OTLP collector: too many waited",
            audit.otlp_dropped,
        )?;
        counter(
            "stagedoor_audit_otlp_records_failed",
            "Audit records that could not be sent to the OTLP collector",
            audit.otlp_failed,
        )
    }
}

#[allow(clippy::cast_precision_loss)] // as below
fn exact(value: u64) -> f64 {
    value as f64
}

/// Prometheus knows only floating point.
#[allow(clippy::cast_precision_loss)] // beyond 2^53 nobody counts
fn count(value: usize) -> f64 {
    value as f64
}
