//! How long decisions take: a histogram that a request and a scrape can both be at.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

/// The first bucket's upper bound, in microseconds.
const FIRST: u64 = 16;
/// From 16 µs in doublings to half a second, and one for what takes longer.
const BUCKETS: usize = 17;

/// Counters by duration. Without a lock: the library's own histogram has one, which a
/// scrape would hold while a request waits. Every clone counts in the same places.
#[derive(Clone, Debug, Default)]
pub(super) struct Latency(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    buckets: [AtomicU64; BUCKETS],
    nanos: AtomicU64,
}

impl Latency {
    pub(super) fn observe(&self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        if let Some(bucket) = self.0.buckets.get(bucket(nanos)) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.0.nanos.fetch_add(nanos, Ordering::Relaxed);
    }
}

/// The first bucket whose bound is not below.
fn bucket(nanos: u64) -> usize {
    let below = nanos.saturating_sub(1) / (FIRST * 1000);
    let doublings = below.checked_ilog2().map_or(0, |log| log + 1);
    usize::try_from(doublings).unwrap_or(BUCKETS).min(BUCKETS - 1)
}

/// The upper bound of a bucket, in seconds.
fn bound(bucket: usize) -> f64 {
    let power = i32::try_from(bucket).unwrap_or(i32::MAX);
    if bucket + 1 < BUCKETS { 16e-6 * 2_f64.powi(power) } else { f64::INFINITY }
}

impl EncodeMetric for Latency {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), std::fmt::Error> {
        let counts = self.0.buckets.each_ref().map(|bucket| bucket.load(Ordering::Relaxed));
        let buckets: Vec<(f64, u64)> =
            counts.iter().enumerate().map(|(at, count)| (bound(at), *count)).collect();
        let sum = Duration::from_nanos(self.0.nanos.load(Ordering::Relaxed)).as_secs_f64();
        // Of the same counts, so that the whole is the sum of its parts at any moment.
        encoder.encode_histogram::<NoLabelSet>(sum, counts.iter().sum(), &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_no_longer_than_a_bound_is_in_its_bucket() {
        assert_eq!((bucket(0), bucket(1)), (0, 0));
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
        for at in 0..BUCKETS - 1 {
            let bound = (FIRST * 1000) << at;
            assert_eq!((bucket(bound), bucket(bound + 1)), (at, at + 1), "{bound} ns");
            let seconds = Duration::from_nanos(bound).as_secs_f64();
            assert!((super::bound(at) - seconds).abs() < 1e-12);
        }
    }
}
