//! What the clients saw: counts and latencies per kind, and everything over time, in bounded memory.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::outcome::{Kind, Outcome};

const BUCKETS: usize = 600;
const FIRST_BUCKET: Duration = Duration::from_millis(100);
const FAILURES_KEPT: usize = 200;
const LONGEST_US: u64 = 600_000_000;

/// Takes the outcome of every request of a run.
pub(crate) struct Recorder {
    started: Instant,
    seen: Mutex<Seen>,
}

/// Everything recorded so far.
#[derive(Clone)]
pub(crate) struct Seen {
    pub(crate) tallies: BTreeMap<Kind, Tally>,
    pub(crate) timeline: Timeline,
    /// How late requests were sent, in microseconds.
    pub(crate) lateness: Histogram<u64>,
    /// The first failures, each with what is known about it.
    pub(crate) failures: Vec<Failure>,
    /// What kept this tool itself from sending, if anything did.
    pub(crate) own_fault: Option<String>,
}

/// What one kind of client saw.
#[derive(Clone)]
pub(crate) struct Tally {
    pub(crate) ok: u64,
    pub(crate) statuses: BTreeMap<u16, u64>,
    pub(crate) lost_first: u64,
    pub(crate) lost_kept: u64,
    pub(crate) refused: u64,
    pub(crate) connect_timeout: u64,
    pub(crate) answer_timeout: u64,
    pub(crate) cut: u64,
    pub(crate) stream_refused: u64,
    pub(crate) killed: u64,
    /// From the wish to send until the last byte (a stream: its head), in microseconds.
    pub(crate) latency: Histogram<u64>,
}

/// One request that was failed.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Failure {
    /// When it was seen, in seconds since the run began.
    pub(crate) at: f64,
    pub(crate) kind: Kind,
    pub(crate) outcome: Outcome,
    /// How many requests its connection had answered before.
    pub(crate) answered_before: u32,
    /// How many bytes of an answer came.
    pub(crate) bytes_received: usize,
    /// The pod at the other end, where the tool can know it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pod: Option<String>,
    pub(crate) detail: String,
}

/// Requests over time, in at most 600 buckets of equal width.
#[derive(Clone)]
pub(crate) struct Timeline {
    pub(crate) width: Duration,
    pub(crate) buckets: Vec<Bucket>,
    open: Bucket,
    latency: Histogram<u64>,
}

/// One stretch of the timeline.
#[derive(Clone, Copy, Default, Serialize)]
pub(crate) struct Bucket {
    pub(crate) requests: u64,
    pub(crate) failed: u64,
    /// The 99th percentile of its answers' latencies, in microseconds.
    pub(crate) p99_us: u64,
}

impl Recorder {
    /// Begins with nothing seen; times count from now.
    pub(crate) fn start() -> Self {
        Self { started: Instant::now(), seen: Mutex::new(Seen::new()) }
    }

    /// Counts a request that was answered in full.
    pub(crate) fn answered(&self, kind: Kind, status: u16, latency: Duration) {
        let outcome = match status {
            200..300 => Outcome::Ok,
            status => Outcome::Status(status),
        };
        let now = self.elapsed();
        let mut seen = self.lock();
        seen.tally(kind).latency.saturating_record(micros(latency));
        seen.tally(kind).count(outcome);
        seen.timeline.record(now, outcome, Some(micros(latency)));
        if outcome.is_failure() {
            seen.keep(Failure {
                at: now.as_secs_f64(),
                kind,
                outcome,
                answered_before: 0,
                bytes_received: 0,
                pod: None,
                detail: format!("answered {status}"),
            });
        }
    }

    /// Counts a request that was not.
    pub(crate) fn failed(&self, failure: Failure) {
        let now = self.elapsed();
        let mut seen = self.lock();
        seen.tally(failure.kind).count(failure.outcome);
        seen.timeline.record(now, failure.outcome, None);
        if failure.outcome.is_failure() {
            seen.keep(Failure { at: now.as_secs_f64(), ..failure });
        }
    }

    /// Notes how late a request was sent.
    pub(crate) fn late(&self, by: Duration) {
        self.lock().lateness.saturating_record(micros(by));
    }

    /// Notes that the tool itself could not do its part.
    pub(crate) fn own_fault(&self, what: String) {
        self.lock().own_fault.get_or_insert(what);
    }

    /// Requests so far, and how many of them failed.
    pub(crate) fn totals(&self) -> (u64, u64) {
        let seen = self.lock();
        seen.tallies.values().fold((0, 0), |(requests, failed), tally| {
            (requests + tally.requests(), failed + tally.failures())
        })
    }

    /// A copy of everything seen so far.
    pub(crate) fn seen(&self) -> Seen {
        let now = self.elapsed();
        let mut seen = self.lock();
        seen.timeline.advance(now);
        seen.clone()
    }

    /// The instant that times count from.
    pub(crate) fn started(&self) -> Instant {
        self.started
    }

    /// Time since the start.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("nothing panics while it counts")
    }
}

impl Seen {
    fn new() -> Self {
        Self {
            tallies: BTreeMap::new(),
            timeline: Timeline::new(),
            lateness: histogram(),
            failures: Vec::new(),
            own_fault: None,
        }
    }

    fn tally(&mut self, kind: Kind) -> &mut Tally {
        self.tallies.entry(kind).or_insert_with(Tally::new)
    }

    fn keep(&mut self, failure: Failure) {
        if self.failures.len() < FAILURES_KEPT {
            self.failures.push(failure);
        }
    }
}

impl Tally {
    /// Nothing counted yet.
    pub(crate) fn new() -> Self {
        Self {
            ok: 0,
            statuses: BTreeMap::new(),
            lost_first: 0,
            lost_kept: 0,
            refused: 0,
            connect_timeout: 0,
            answer_timeout: 0,
            cut: 0,
            stream_refused: 0,
            killed: 0,
            latency: histogram(),
        }
    }

    fn count(&mut self, outcome: Outcome) {
        *match outcome {
            Outcome::Ok => &mut self.ok,
            Outcome::Status(status) => self.statuses.entry(status).or_default(),
            Outcome::LostFirst => &mut self.lost_first,
            Outcome::LostKept => &mut self.lost_kept,
            Outcome::Refused => &mut self.refused,
            Outcome::ConnectTimeout => &mut self.connect_timeout,
            Outcome::AnswerTimeout => &mut self.answer_timeout,
            Outcome::Cut => &mut self.cut,
            Outcome::StreamRefused => &mut self.stream_refused,
            Outcome::Killed => &mut self.killed,
        } += 1;
    }

    /// Adds another tally to this one.
    pub(crate) fn add(&mut self, other: &Tally) {
        self.ok += other.ok;
        for (status, count) in &other.statuses {
            *self.statuses.entry(*status).or_default() += count;
        }
        self.lost_first += other.lost_first;
        self.lost_kept += other.lost_kept;
        self.refused += other.refused;
        self.connect_timeout += other.connect_timeout;
        self.answer_timeout += other.answer_timeout;
        self.cut += other.cut;
        self.stream_refused += other.stream_refused;
        self.killed += other.killed;
        self.latency.add(&other.latency).expect("both have the same bounds");
    }

    /// Requests answered with a status other than 2xx.
    pub(crate) fn other_status(&self) -> u64 {
        self.statuses.values().sum()
    }

    /// Requests whose caller was failed.
    pub(crate) fn failures(&self) -> u64 {
        self.other_status()
            + self.lost_first
            + self.lost_kept
            + self.refused
            + self.connect_timeout
            + self.answer_timeout
            + self.cut
            + self.stream_refused
    }

    /// Requests in all, but for those whose connection the tool killed.
    pub(crate) fn requests(&self) -> u64 {
        self.ok + self.failures()
    }
}

impl Timeline {
    fn new() -> Self {
        let latency =
            Histogram::new_with_bounds(1, LONGEST_US, 2).expect("the bounds are constants in range");
        Self { width: FIRST_BUCKET, buckets: Vec::new(), open: Bucket::default(), latency }
    }

    fn record(&mut self, now: Duration, outcome: Outcome, latency: Option<u64>) {
        self.advance(now);
        if outcome != Outcome::Killed {
            self.open.requests += 1;
            self.open.failed += u64::from(outcome.is_failure());
        }
        if let Some(latency) = latency {
            self.latency.saturating_record(latency);
        }
    }

    fn advance(&mut self, now: Duration) {
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
        Bucket {
            requests: parts.iter().map(|part| part.requests).sum(),
            failed: parts.iter().map(|part| part.failed).sum(),
            p99_us: parts.iter().map(|part| part.p99_us).max().unwrap_or_default(),
        }
    }
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST_US, 3).expect("the bounds are constants in range")
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_run_stays_within_its_buckets_and_forgets_no_request() {
        let mut timeline = Timeline::new();
        for second in 0..100_000u64 {
            let outcome = if second % 1000 == 0 { Outcome::LostKept } else { Outcome::Ok };
            timeline.record(Duration::from_secs(second), outcome, Some(1000));
        }
        assert!(timeline.buckets.len() < BUCKETS);
        let sum: u64 = timeline.buckets.iter().map(|bucket| bucket.requests).sum();
        assert_eq!(sum + timeline.open.requests, 100_000);
        let failed: u64 = timeline.buckets.iter().map(|bucket| bucket.failed).sum();
        assert_eq!(failed + timeline.open.failed, 100);
    }

    #[test]
    fn only_the_first_failures_are_kept_but_all_are_counted() {
        let recorder = Recorder::start();
        for _ in 0..1000 {
            recorder.answered(Kind::Busy, 503, Duration::from_millis(1));
        }
        recorder.answered(Kind::Busy, 204, Duration::from_millis(1));
        assert_eq!(recorder.totals(), (1001, 1000));
        assert_eq!(recorder.seen().failures.len(), FAILURES_KEPT);
    }
}
