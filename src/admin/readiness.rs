//! Whether requests can be decided, and what is missing where they can't.

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
    shutdown: Shutdown,
}

impl Readiness {
    /// Readiness of these parts.
    #[must_use]
    pub fn new(current: Current, catalog: Catalog, shutdown: Shutdown) -> Self {
        Self { current, catalog, shutdown }
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
}
