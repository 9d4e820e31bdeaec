//! What follows from another snapshot: routes that it claims, and records of what changed.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use crate::audit::form::CatalogWhat;
use crate::audit::{AuditSender, CatalogRecord};
use crate::authorizer::Routes;
use crate::catalog::{Adopted, Held, Observe, Snapshot, changes};

/// Told by the catalog, off the request's path.
#[derive(Debug)]
pub(super) struct Ownership {
    audit: AuditSender,
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
        Arc::new(Self { audit, followers: Mutex::new(Followers { routes, last: None }) })
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
        if !self.audit.is_on() {
            return;
        }
        let (audit, time) = (self.audit.clone(), SystemTime::now());
        let (before, after) = (adopted.before.cloned(), Arc::clone(adopted.after));
        let record = move || record(&audit, time, before.as_deref(), &after);
        // There can be as many changes as entities.
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(record)),
            Err(_) => record(),
        }
    }

    fn holding(&self, held: &Held) {
        if !self.audit.is_on() {
            return;
        }
        let (audit, held) = (self.audit.clone(), held.clone());
        let send = move || {
            let detail = format!("{}: {held}: {}", held.id, held.examples.join("; "));
            let event = CatalogRecord::of(CatalogWhat::CatalogHeld, SystemTime::now());
            audit.send_patiently(CatalogRecord { detail: Some(detail.into()), ..event });
        };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(send)),
            Err(_) => send(),
        }
    }
}

fn record(audit: &AuditSender, time: SystemTime, before: Option<&Snapshot>, after: &Snapshot) {
    let (entities, groups, users) = after.counts();
    let findings = after.all_findings().total();
    let detail =
        format!("{entities} entities, {groups} groups, {users} users, {findings} findings");
    let versions = CatalogRecord {
        snapshot_before: before.map(|before| Arc::clone(before.version())),
        snapshot_version: Some(Arc::clone(after.version())),
        ..CatalogRecord::of(CatalogWhat::CatalogAdopted, time)
    };
    audit.send_patiently(CatalogRecord { detail: Some(detail.into()), ..versions.clone() });
    let Some(before) = before else { return };
    changes(before, after, |change| {
        audit.send_patiently(CatalogRecord {
            event: CatalogWhat::CatalogChange,
            change: Some(change.kind.code()),
            entity: Some(change.entity),
            other: change.other.map(Into::into),
            ..versions.clone()
        });
    });
}
