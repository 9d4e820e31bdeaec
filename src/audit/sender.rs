//! Where records begin their way: a queue that never waits.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use tokio::sync::mpsc;

use super::AuditRecord;
use super::catalog::{CatalogRecord, Entry};
use super::config::ConfigRecord;
use super::latest::LatestDenials;
use super::loss::Gap;
use super::otlp::Otlp;
use super::writer::RETRY;
use crate::collector::ExportStatus;

/// Queues records. Cheap to clone.
#[derive(Clone)]
pub struct AuditSender {
    pub(super) queue: Option<mpsc::Sender<Entry>>,
    /// For what there is little of and decisions are not to push out.
    pub(super) rare: Option<mpsc::Sender<Entry>>,
    pub(super) counters: Arc<Counters>,
    pub(super) otlp: Option<Otlp>,
    pub(super) latest: LatestDenials,
}

/// The records that wait to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditQueue {
    /// So many wait.
    pub waiting: usize,
    /// So many can.
    pub capacity: usize,
}

/// How many records came to what end since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AuditStats {
    /// Handed to the system as whole lines.
    pub written: u64,
    /// Not queued: the queue was full, or the writer had stopped.
    pub dropped: u64,
    /// Queued, but the system did not take them.
    pub failed: u64,
    /// Taken by the OTLP collector.
    pub otlp_sent: u64,
    /// Not queued for the collector: too many waited.
    pub otlp_dropped: u64,
    /// Queued for the collector, which did not take them.
    pub otlp_failed: u64,
}

/// What became of records.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) written: AtomicU64,
    pub(super) dropped: AtomicU64,
    pub(super) failed: AtomicU64,
    /// What the stream itself has yet to say of both.
    pub(super) gap: Gap,
}

impl AuditSender {
    /// Queues a record; never waits. What doesn't fit is dropped and counted.
    pub fn send(&self, record: AuditRecord) {
        if let Some(queue) = &self.queue
            && queue.try_send(Entry::Decision(Box::new(record))).is_err()
        {
            self.drop_one();
        }
    }

    /// Queues a record of the catalog, of which very many can come at once: waits until
    /// decisions have at least half of the queue to themselves. Not to be called where
    /// waiting matters.
    pub fn send_patiently(&self, record: CatalogRecord) {
        let Some(queue) = &self.queue else { return };
        while queue.capacity() < queue.max_capacity().div_ceil(2) && !queue.is_closed() {
            thread::sleep(RETRY);
        }
        if queue.try_send(Entry::Catalog(Box::new(record))).is_err() {
            self.drop_one();
        }
    }

    /// Queues a single record of the catalog; never waits. It has a place beside those of
    /// decisions, up to a number. What doesn't fit is dropped and counted.
    pub fn send_catalog(&self, record: CatalogRecord) {
        self.send_rarely(Entry::Catalog(Box::new(record)));
    }

    /// Queues a record of the configuration. As [`AuditSender::send_catalog`].
    pub fn send_config(&self, record: ConfigRecord) {
        self.send_rarely(Entry::Config(Box::new(record)));
    }

    fn send_rarely(&self, entry: Entry) {
        if let Some(rare) = &self.rare
            && rare.try_send(entry).is_err()
        {
            self.drop_one();
        }
    }

    fn drop_one(&self) {
        count(&self.counters.dropped, 1);
        self.counters.gap.lose(1);
        if let Some(otlp) = &self.otlp {
            otlp.counters().gap.lose(1);
        }
    }

    /// Whether records go anywhere, so that none needs to be made where not.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.queue.is_some()
    }

    /// The counters.
    #[must_use]
    pub fn stats(&self) -> AuditStats {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut stats = AuditStats {
            written: of(&self.counters.written),
            dropped: of(&self.counters.dropped),
            failed: of(&self.counters.failed),
            ..AuditStats::default()
        };
        if let Some(otlp) = &self.otlp {
            stats.otlp_sent = of(&otlp.counters().sent);
            stats.otlp_dropped = of(&otlp.counters().dropped);
            stats.otlp_failed = of(&otlp.counters().failed);
        }
        stats
    }

    /// The records that wait; nothing where none is made.
    #[must_use]
    pub fn queue(&self) -> Option<AuditQueue> {
        let queue = self.queue.as_ref()?;
        let capacity = queue.max_capacity();
        Some(AuditQueue { waiting: capacity.saturating_sub(queue.capacity()), capacity })
    }

    /// The latest denials that were recorded.
    #[must_use]
    pub fn latest_denials(&self) -> &LatestDenials {
        &self.latest
    }

    /// Records that wait to be sent to the OTLP collector, or are on their way.
    #[must_use]
    pub fn otlp_queued(&self) -> u64 {
        self.otlp.as_ref().map_or(0, |otlp| otlp.counters().waiting())
    }

    /// Where records are sent by OTLP, and how that goes; nothing where there is no collector.
    #[must_use]
    pub fn exports(&self) -> Option<ExportStatus> {
        self.otlp.as_ref().map(Otlp::exports)
    }

    /// Whether there is an OTLP collector to send them to.
    #[must_use]
    pub fn is_sent(&self) -> bool {
        self.otlp.is_some()
    }
}

impl fmt::Debug for AuditSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditSender")
            .field("on", &self.is_on())
            .field("stats", &self.stats())
            .finish()
    }
}

pub(super) fn count(counter: &AtomicU64, more: usize) {
    counter.fetch_add(u64::try_from(more).unwrap_or(u64::MAX), Ordering::Relaxed);
}
