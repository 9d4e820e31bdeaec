//! Counting the calls of Microsoft Graph, by what came of them.

use std::sync::atomic::{AtomicU64, Ordering};

use super::client::GraphError;

/// What can come of a call.
const OUTCOMES: [&str; 7] =
    ["ok", "gone", "throttled", "unauthorized", "unwell", "refused", "unanswered"];

/// A counter of each outcome.
#[derive(Debug, Default)]
pub(super) struct GraphCalls([AtomicU64; OUTCOMES.len()]);

impl GraphCalls {
    pub(super) fn count<T>(&self, outcome: &Result<T, GraphError>) {
        let index = match outcome {
            Ok(_) => 0,
            Err(GraphError::Gone) => 1,
            Err(GraphError::Throttled { .. }) => 2,
            Err(GraphError::Unauthorized) => 3,
            Err(GraphError::Unwell(_)) => 4,
            Err(GraphError::Status { .. } | GraphError::Answer(_)) => 5,
            Err(GraphError::Fetch(_)) => 6,
        };
        if let Some(counter) = self.0.get(index) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Each outcome, and how often it was.
    pub(super) fn all(&self) -> impl Iterator<Item = (&'static str, u64)> {
        OUTCOMES.into_iter().zip(self.0.iter().map(|counter| counter.load(Ordering::Relaxed)))
    }
}
