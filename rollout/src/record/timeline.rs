//! Requests, failures and latency over time, in bounded memory.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::kind::Kind;
use super::outcome::Outcome;
use super::tally::histogram;

const BUCKETS: usize = 600;
const FIRST_BUCKET: Duration = Duration::from_millis(100);

/// Requests over time, in at most 600 buckets of equal width.
#[derive(Clone)]
pub(crate) struct Timeline {
    pub(crate) width: Duration,
    pub(crate) buckets: Vec<Bucket>,
    open: Bucket,
    latency: Histogram<u64>,
}

/// One stretch of the timeline.
#[derive(Clone, Default, Serialize)]
pub(crate) struct Bucket {
    pub(crate) requests: u64,
    pub(crate) failed: u64,
    /// The failed ones of each kind of client that has any.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) failed_by_client: BTreeMap<Kind, u64>,
    /// The 99th percentile of its responses' latencies, in microseconds.
    pub(crate) p99_us: u64,
}

impl Timeline {
    /// Nothing yet.
    pub(crate) fn new() -> Self {
        Self { width: FIRST_BUCKET, buckets: Vec::new(), open: Bucket::default(), latency: histogram() }
    }

    /// Counts one request at this time since the start.
    pub(crate) fn record(&mut self, now: Duration, kind: Kind, outcome: Outcome, latency: Option<u64>) {
        self.advance(now);
        if outcome != Outcome::Killed {
            self.open.requests += 1;
            self.open.failed += u64::from(outcome.is_failure());
        }
        if outcome.is_failure() {
            *self.open.failed_by_client.entry(kind).or_default() += 1;
        }
        if let Some(latency) = latency {
            self.latency.saturating_record(latency);
        }
    }

    /// Closes the buckets that ended before this time.
    pub(crate) fn advance(&mut self, now: Duration) {
        while now >= self.width * (self.buckets.len() as u32 + 1) {
            self.open.p99_us = self.latency.value_at_quantile(0.99);
            self.latency.reset();
            self.buckets.push(std::mem::take(&mut self.open));
            if self.buckets.len() == BUCKETS {
                self.halve();
            }
        }
    }

    fn halve(&mut self) {
        self.buckets = self.buckets.chunks(2).map(Bucket::joined).collect();
        self.width *= 2;
    }
}

impl Bucket {
    /// The worst p99 of the parts stands for the whole: their histograms are gone.
    pub(crate) fn joined(parts: &[Bucket]) -> Bucket {
        let mut failed_by_client = BTreeMap::new();
        for (kind, failed) in parts.iter().flat_map(|part| &part.failed_by_client) {
            *failed_by_client.entry(*kind).or_default() += failed;
        }
        Bucket {
            failed_by_client,
            requests: parts.iter().map(|part| part.requests).sum(),
            failed: parts.iter().map(|part| part.failed).sum(),
            p99_us: parts.iter().map(|part| part.p99_us).max().unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_run_stays_within_its_buckets_and_forgets_no_request() {
        let mut timeline = Timeline::new();
        for second in 0..100_000u64 {
            let outcome = if second % 1000 == 0 { Outcome::LostKept } else { Outcome::Ok };
            timeline.record(Duration::from_secs(second), Kind::Idle, outcome, Some(1000));
        }
        assert!(timeline.buckets.len() < BUCKETS);
        let sum: u64 = timeline.buckets.iter().map(|bucket| bucket.requests).sum();
        assert_eq!(sum + timeline.open.requests, 100_000);
        let failed: u64 = timeline.buckets.iter().map(|bucket| bucket.failed).sum();
        assert_eq!(failed + timeline.open.failed, 100);
        let idle = timeline.buckets.iter().filter_map(|bucket| bucket.failed_by_client.get(&Kind::Idle));
        assert_eq!(idle.sum::<u64>(), failed);
    }
    #[test]
    fn what_a_bucket_counts() {
        let mut timeline = Timeline::new();
        let at = Duration::from_millis;
        timeline.record(at(0), Kind::Busy, Outcome::Ok, Some(1000));
        timeline.record(at(50), Kind::Busy, Outcome::Cut, None);
        timeline.record(at(99), Kind::Busy, Outcome::Killed, None);
        timeline.record(at(100), Kind::Busy, Outcome::Ok, Some(2000));
        timeline.advance(at(199));
        let [first] = &timeline.buckets[..] else { panic!("one has ended") };
        assert_eq!((first.requests, first.failed, first.p99_us), (2, 1, 1000));
        assert_eq!(first.failed_by_client, [(Kind::Busy, 1)].into());
        timeline.advance(at(200));
        assert_eq!((timeline.buckets.len(), timeline.buckets[1].p99_us), (2, 2000));
        let both = Bucket::joined(&timeline.buckets);
        assert_eq!((both.requests, both.failed, both.p99_us), (3, 1, 2000));
    }

    #[test]
    fn a_bucket_is_twice_as_wide_when_there_would_be_too_many() {
        let mut timeline = Timeline::new();
        timeline.advance(FIRST_BUCKET * (BUCKETS as u32 - 1));
        assert_eq!((timeline.buckets.len(), timeline.width), (BUCKETS - 1, FIRST_BUCKET));
        timeline.advance(FIRST_BUCKET * BUCKETS as u32);
        assert_eq!((timeline.buckets.len(), timeline.width), (BUCKETS / 2, 2 * FIRST_BUCKET));
    }
}
