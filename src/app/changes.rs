//! Records of what another snapshot changed, made one after another.
//!
//! There can be as many changes as entities, so whoever records them waits for decisions to
//! have room. Where nobody takes records at all that is for ever, and a snapshot still comes
//! every minute: one waits, and what comes meanwhile is told as one change, from the snapshot
//! that was recorded last to the newest. So no more than three snapshots are held here,
//! whatever becomes of the records.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use crate::audit::form::CatalogWhat;
use crate::audit::{AuditSender, CatalogRecord};
use crate::catalog::{Snapshot, changes};

/// Records changes. Never waits itself.
#[derive(Clone, Debug)]
pub(super) struct Changes {
    audit: AuditSender,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    is_recording: bool,
    next: Option<Step>,
}

/// From one snapshot to a later one.
#[derive(Debug)]
struct Step {
    time: SystemTime,
    before: Arc<Snapshot>,
    after: Arc<Snapshot>,
}

impl Changes {
    pub(super) fn new(audit: AuditSender) -> Self {
        Self { audit, state: Arc::default() }
    }

    /// Has it on record that this snapshot is adopted, and what it changes.
    pub(super) fn record(&self, before: Option<&Arc<Snapshot>>, after: &Arc<Snapshot>) {
        if !self.audit.is_on() {
            return;
        }
        let time = SystemTime::now();
        self.audit.send_catalog(adopted(time, before.map(Arc::as_ref), after));
        let Some(before) = before else { return };
        if !self.state().add(Step { time, before: Arc::clone(before), after: Arc::clone(after) }) {
            return;
        }
        let all = self.clone();
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(move || all.run())),
            Err(_) => all.run(),
        }
    }

    fn run(self) {
        while let Some(step) = self.next() {
            // Without this, a defect would have every later change wait for ever.
            let recorded = catch_unwind(AssertUnwindSafe(|| step.record(&self.audit)));
            if recorded.is_err() {
                let (before, after) = (step.before.version(), step.after.version());
                tracing::error!(%before, %after, "changes of the catalog are not on record: a defect");
            }
        }
    }

    fn next(&self) -> Option<Step> {
        let mut state = self.state();
        let next = state.next.take();
        state.is_recording = next.is_some();
        next
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Adds it to what waits. Returns whether somebody has to begin with it.
    fn add(&mut self, step: Step) -> bool {
        match &mut self.next {
            Some(next) => (next.time, next.after) = (step.time, step.after),
            next @ None => *next = Some(step),
        }
        !std::mem::replace(&mut self.is_recording, true)
    }
}

impl Step {
    fn record(&self, audit: &AuditSender) {
        let versions = versions(self.time, Some(&self.before), &self.after);
        changes(&self.before, &self.after, |change| {
            audit.send_patiently(CatalogRecord {
                event: CatalogWhat::CatalogChange,
                change: Some(change.kind.code()),
                entity: Some(change.entity),
                other: change.other.map(Into::into),
                ..versions.clone()
            });
        });
    }
}

fn adopted(time: SystemTime, before: Option<&Snapshot>, after: &Snapshot) -> CatalogRecord {
    let (entities, groups, users) = after.counts();
    let findings = after.all_findings().total();
    let detail =
        format!("{entities} entities, {groups} groups, {users} users, {findings} findings");
    CatalogRecord { detail: Some(detail.into()), ..versions(time, before, after) }
}

fn versions(time: SystemTime, before: Option<&Snapshot>, after: &Snapshot) -> CatalogRecord {
    CatalogRecord {
        snapshot_before: before.map(|before| Arc::clone(before.version())),
        snapshot_version: Some(Arc::clone(after.version())),
        ..CatalogRecord::of(CatalogWhat::CatalogAdopted, time)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::io::{self, Read};
    use std::os::fd::AsRawFd;
    use std::path::Path;
    use std::sync::Weak;
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::*;
    use crate::audit::{AuditSettings, AuditSink, AuditWriter};
    use crate::catalog::load_entities;

    const SOON: Duration = Duration::from_secs(20);
    /// The records of so many are more than a pipe and the queue hold.
    const COMPONENTS: usize = 600;

    /// A catalog of which every component has the number in its name.
    fn snapshot(number: usize) -> Arc<Snapshot> {
        let entity = |kind: &str, name: String, spec: Value| {
            let metadata = json!({ "name": name, "namespace": "default" });
            json!({ "apiVersion": "backstage.io/v1alpha1", "kind": kind, "metadata": metadata,
                "spec": spec, "relations": [] })
        };
        let group = entity("Group", "team".to_owned(), json!({ "type": "team", "children": [] }));
        let components = (0..COMPONENTS).map(|component| {
            let spec = json!({ "type": "service", "lifecycle": "production", "owner": "team" });
            entity("Component", format!("c{number}-{component}"), spec)
        });
        let all = std::iter::once(group).chain(components).enumerate().collect();
        Arc::new(load_entities(Path::new("catalog.yaml"), all).expect("a catalog"))
    }

    fn names(snapshot: usize) -> BTreeSet<String> {
        (0..COMPONENTS).map(|n| format!("component:default/c{snapshot}-{n}")).collect()
    }

    /// While nobody takes records, snapshots come and go; afterwards what is on record leads
    /// from the first to the last.
    #[tokio::test]
    async fn a_sink_that_hangs_holds_few_snapshots_and_loses_no_change() {
        let (mut reader, pipe) = io::pipe().expect("a pipe");
        let path = format!("/proc/self/fd/{}", pipe.as_raw_fd());
        let settings =
            AuditSettings { queue: 64, ..AuditSettings::to(AuditSink::File(path.into())) };
        let (audit, task) = AuditWriter::start(&settings).expect("started");
        drop(pipe);
        let changes = Changes::new(audit.clone());

        let mut seen: Vec<Weak<Snapshot>> = Vec::new();
        let mut before: Option<Arc<Snapshot>> = None;
        for number in 0..6 {
            let after = snapshot(number);
            changes.record(before.as_ref(), &after);
            seen.push(Arc::downgrade(&after));
            before = Some(after);
        }
        drop(before);
        let held = seen.iter().filter(|snapshot| snapshot.strong_count() > 0).count();
        assert!((2..=3).contains(&held), "{held} snapshots are held");

        let reading = tokio::task::spawn_blocking(move || {
            let mut text = String::new();
            reader.read_to_string(&mut text).map(|_| text)
        });
        let recorded = async {
            while changes.state().is_recording {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(SOON, recorded).await.expect("all is recorded");
        assert!(task.stop(SOON).await);
        let text = reading.await.expect("no panic").expect("text");
        assert_eq!(audit.stats().dropped, 0);

        let (mut adopted, mut components) = (0, names(0));
        for line in text.lines() {
            let record: Value = serde_json::from_str(line).expect("JSON");
            let entity = record["entity"].as_str().unwrap_or_default();
            match (record["event"].as_str(), record["change"].as_str()) {
                (Some("catalog_adopted"), _) => adopted += 1,
                (_, Some("added")) => assert!(components.insert(entity.to_owned()), "{line}"),
                (_, Some("removed")) => assert!(components.remove(entity), "{line}"),
                _ => {}
            }
        }
        assert_eq!(adopted, 6);
        assert_eq!(components, names(5));
    }
}
