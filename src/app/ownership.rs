//! What follows from another snapshot: routes that it claims, and records of it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use crate::audit::form::CatalogWhat;
use crate::audit::{AuditSender, CatalogRecord};
use crate::authorizer::Routes;
use crate::catalog::{Adopted, Held, Observe, Snapshot};

use super::changes::Changes;

/// Told by the catalog, off the request's path.
#[derive(Debug)]
pub(super) struct Ownership {
    audit: AuditSender,
    changes: Changes,
    followers: Mutex<Followers>,
}

/// What follows the snapshot. Behind a lock that no request takes.
#[derive(Debug)]
struct Followers {
    routes: Routes,
    /// The last snapshot that was adopted, or is right now.
    last: Option<Arc<Snapshot>>,
}

impl Ownership {
    pub(super) fn new(audit: AuditSender, routes: Routes) -> Arc<Self> {
        let changes = Changes::new(audit.clone());
        Arc::new(Self { audit, changes, followers: Mutex::new(Followers { routes, last: None }) })
    }

    /// Has other routes follow the snapshot from now on, and `publish` put them in force:
    /// no snapshot comes between the two.
    pub(super) fn reroute<R>(&self, routes: Routes, publish: impl FnOnce() -> R) -> R {
        let mut followers = self.followers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = &followers.last {
            routes.adopt(last);
        }
        followers.routes = routes;
        publish()
    }
}

impl Observe for Ownership {
    fn adopting(&self, adopted: &Adopted<'_>) {
        {
            let mut followers = self.followers.lock().unwrap_or_else(PoisonError::into_inner);
            followers.routes.adopt(adopted.after);
            followers.last = Some(Arc::clone(adopted.after));
        }
        self.changes.record(adopted.before, adopted.after);
    }

    fn holding(&self, held: &Held) {
        let detail = format!("{}: {held}: {}", held.id, held.examples.join("; "));
        let event = CatalogRecord::of(CatalogWhat::CatalogHeld, SystemTime::now());
        self.audit.send_catalog(CatalogRecord { detail: Some(detail.into()), ..event });
    }
}
