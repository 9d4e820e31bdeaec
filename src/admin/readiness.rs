//! Whether requests can be decided, and what is missing where they can't.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::authorizer::Current;
use crate::catalog::Catalog;
use crate::clock::Now;
use crate::shutdown::{Shutdown, Stage};

/// What readiness depends on. Asked anew each time: keys and snapshots expire by
/// themselves.
///
/// Whoever was ready once stays so until it ends. What can be missing then, keys or a catalog that
/// became too old, concerns some of the requests, and mostly all replicas alike: were they all to
/// say that they aren't ready, Kubernetes would leave none to ask, and every request be refused.
/// A replica whose own way out is cut goes on to be asked as well; alerts tell of it.
#[derive(Clone, Debug)]
pub struct Readiness {
    current: Current,
    catalog: Catalog,
    shutdown: Shutdown,
    was_ready: Arc<AtomicBool>,
}

/// Whether to ask, and what is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ready {
    /// Whether requests are to be sent here.
    pub is_ready: bool,
    /// What is missing, in words. Where it is ready nevertheless, those requests are denied that
    /// need what is missing.
    pub pending: Vec<String>,
}

impl Readiness {
    /// Readiness of these parts.
    #[must_use]
    pub fn new(current: Current, catalog: Catalog, shutdown: Shutdown) -> Self {
        let was_ready = Arc::default();
        Self { current, catalog, shutdown, was_ready }
    }

    /// How it is now.
    #[must_use]
    pub fn ready(&self, now: Now) -> Ready {
        let mut pending = self.missing(now);
        if pending.is_empty() {
            self.was_ready.store(true, Ordering::Relaxed);
        }
        let ends = self.shutdown.stage() != Stage::Running;
        if ends {
            pending.insert(0, "shutting down".to_owned());
        }
        Ready { is_ready: !ends && self.was_ready.load(Ordering::Relaxed), pending }
    }

    fn missing(&self, now: Now) -> Vec<String> {
        let mut pending = Vec::new();
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
