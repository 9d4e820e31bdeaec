//! Metrics that are read from the parts when they are scraped.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::audit::AuditSender;
use crate::catalog::Catalog;
use crate::clock::Now;
use crate::entra::Authenticator;
use crate::serve::ServeStats;

/// Registers them.
pub(super) fn register(
    registry: &mut Registry,
    authenticator: &Authenticator,
    catalog: &Catalog,
    audit: &AuditSender,
    serve: Arc<ServeStats>,
) {
    registry.register_collector(Box::new(Parts {
        authenticator: authenticator.clone(),
        catalog: catalog.clone(),
        audit: audit.clone(),
        serve,
    }));
}

#[derive(Debug)]
struct Parts {
    authenticator: Authenticator,
    catalog: Catalog,
    audit: AuditSender,
    serve: Arc<ServeStats>,
}

impl Collector for Parts {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let now = Now::read();
        let mut gauge = |name: &str, help: &str, value: f64| {
            let descriptor = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(value).encode(descriptor)
        };

        let issuers = self.authenticator.status(now);
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
        gauge(
            "stagedoor_catalog_findings",
            "Entities and claims of the catalog that were not believed",
            count(catalog.findings),
        )?;

        let tokens = self.authenticator.cache_stats();
        gauge("stagedoor_token_cache_entries", "Cached tokens", count(tokens.entries))?;
        gauge("stagedoor_token_cache_bytes", "Their size, as counted", count(tokens.bytes))?;

        let serve = &*self.serve;
        gauge("stagedoor_connections_open", "Connections of Envoys", exact(serve.open()))?;

        let audit = self.audit.stats();
        let mut counter = |name: &str, help: &str, value: u64| {
            let descriptor = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            ConstCounter::new(value).encode(descriptor)
        };
        counter("stagedoor_connections_accepted", "Connections accepted", serve.accepted())?;
        counter(
            "stagedoor_connection_accept_errors",
            "Times accepting failed and was put off",
            serve.accept_errors(),
        )?;
        counter(
            "stagedoor_connection_preface_failures",
            "Connections closed because they did not begin HTTP/2 in time",
            serve.preface_failures(),
        )?;
        counter(
            "stagedoor_connection_panics",
            "Panics in a connection that nothing else caught",
            serve.panics(),
        )?;
        counter("stagedoor_token_cache_hits", "Tokens found verified", tokens.hits)?;
        counter("stagedoor_token_cache_misses", "Tokens that had to be verified", tokens.misses)?;
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
