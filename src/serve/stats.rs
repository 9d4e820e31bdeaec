//! What the listeners count.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters of a [`Server`](super::Server), readable while it runs. Each only
/// grows, except for the number of connections that are open and of those that may be.
#[derive(Debug, Default)]
pub struct ServeStats {
    limit: u64,
    open: AtomicU64,
    accepted: AtomicU64,
    accept_errors: AtomicU64,
    preface_failures: AtomicU64,
    unused: AtomicU64,
    panics: AtomicU64,
}

impl ServeStats {
    pub(super) fn new(max_connections: usize) -> Self {
        let limit = u64::try_from(max_connections).unwrap_or(u64::MAX);
        Self { limit, ..Self::default() }
    }

    /// Connections that may be open: those that are configured, or fewer where there are too few
    /// descriptors for them.
    #[must_use]
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// Connections open now.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }

    /// Connections accepted.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Times accepting failed and was put off.
    #[must_use]
    pub fn accept_errors(&self) -> u64 {
        self.accept_errors.load(Ordering::Relaxed)
    }

    /// Connections closed because their HTTP/2 preface was wrong, or not there in time or by when
    /// their place was needed.
    #[must_use]
    pub fn preface_failures(&self) -> u64 {
        self.preface_failures.load(Ordering::Relaxed)
    }

    /// Connections let go on which nothing was ever asked: they were in the way, or old enough.
    #[must_use]
    pub fn unused(&self) -> u64 {
        self.unused.load(Ordering::Relaxed)
    }

    /// Panics in a connection or in a request that nobody else caught.
    #[must_use]
    pub fn panics(&self) -> u64 {
        self.panics.load(Ordering::Relaxed)
    }

    pub(super) fn opened(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
        self.open.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn closed(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn accept_failed(&self) {
        self.accept_errors.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn preface_failed(&self) {
        self.preface_failures.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn was_unused(&self) {
        self.unused.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn panicked(&self) {
        self.panics.fetch_add(1, Ordering::Relaxed);
    }
}
