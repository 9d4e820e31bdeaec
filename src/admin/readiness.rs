//! Whether requests can be decided, and what is missing where they can't.

use std::collections::BTreeMap;

use serde_json::json;

use crate::audit::AuditSender;
use crate::authorizer::Current;
use crate::catalog::Catalog;
use crate::clock::Now;
use crate::shutdown::{Shutdown, Stage};

/// What readiness depends on. Asked anew each time: keys and snapshots expire by
/// themselves.
#[derive(Clone, Debug)]
pub struct Readiness {
    current: Current,
    catalog: Catalog,
    audit: AuditSender,
    shutdown: Shutdown,
}

impl Readiness {
    /// Readiness of these parts.
    #[must_use]
    pub fn new(current: Current, catalog: Catalog, audit: AuditSender, shutdown: Shutdown) -> Self {
        Self { current, catalog, audit, shutdown }
    }

    /// What is missing; nothing when requests can be decided.
    #[must_use]
    pub fn pending(&self, now: Now) -> Vec<String> {
        let mut pending = Vec::new();
        if self.shutdown.stage() != Stage::Running {
            pending.push("shutting down".to_owned());
        }
        for issuer in self.current.load().authorizer().authenticator.status(now) {
            if !issuer.state.is_usable() {
                pending.push(format!("keys of {}: {}", issuer.issuer, issuer.state));
            }
        }
        let catalog = self.catalog.status(now);
        if !catalog.state.is_usable() {
            pending.push(format!("catalog: {}", catalog.state));
        }
        pending
    }

    /// Everything an operator wants to see at a glance.
    #[must_use]
    pub fn status(&self, now: Now) -> serde_json::Value {
        let current = self.current.load();
        let authenticator = &current.authorizer().authenticator;
        let keys: Vec<_> = authenticator
            .status(now)
            .iter()
            .map(|issuer| {
                json!({
                    "issuer": issuer.issuer,
                    "state": issuer.state.to_string(),
                    "keys": issuer.keys,
                    "version": issuer.version.as_deref(),
                    "age_seconds": issuer.age.map(|age| age.as_secs()),
                    "last_error": issuer.last_error,
                })
            })
            .collect();
        let catalog = self.catalog.status(now);
        let findings: BTreeMap<_, _> =
            catalog.findings.iter().map(|(kind, count)| (kind.code(), count)).collect();
        let held = catalog.held.as_ref().map(|held| {
            json!({
                "id": held.id,
                "what": held.to_string(),
                "examples": held.examples,
                "crawls": held.crawls,
                "adopt_after": held.adopt_after,
            })
        });
        let last_error = catalog
            .last_error
            .as_ref()
            .map(|error| json!({ "code": error.code, "message": error.message }));
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "pending": self.pending(now),
            "keys": keys,
            "catalog": {
                "state": catalog.state.to_string(),
                "version": catalog.version,
                "age_seconds": catalog.age.map(|age| age.as_secs()),
                "entities": catalog.entities,
                "groups": catalog.groups,
                "users": catalog.users,
                "findings": findings,
                "held": held,
                "last_error": last_error,
                "refreshes": catalog.refreshes,
                "failures": catalog.failures,
                "sharing": catalog.role,
            },
            "audit": self.audit(),
        })
    }

    /// What became of audit records, since the start.
    fn audit(&self) -> serde_json::Value {
        let stats = self.audit.stats();
        let otlp = self.audit.is_sent().then(|| {
            json!({
                "sent": stats.otlp_sent,
                "dropped": stats.otlp_dropped,
                "failed": stats.otlp_failed,
            })
        });
        json!({
            "written": stats.written,
            "dropped": stats.dropped,
            "failed": stats.failed,
            "otlp": otlp,
        })
    }
}
