//! What the clients saw: counts and latencies per kind, and everything over time, in bounded memory.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::Serialize;

use super::kind::Kind;
use super::outcome::Outcome;
use super::pods::PodState;
use super::tally::{Tally, histogram};
use super::timeline::Timeline;

const FAILURES_KEPT: usize = 200;

/// Takes the outcome of every request of a run.
pub(crate) struct Recorder {
    started: Instant,
    observed: Mutex<Observations>,
}

/// Everything recorded so far.
#[derive(Clone)]
pub(crate) struct Observations {
    pub(crate) tallies: BTreeMap<Kind, Tally>,
    pub(crate) timeline: Timeline,
    /// How late requests were sent, in microseconds.
    pub(crate) lateness: Histogram<u64>,
    /// The first failures, each with what is known about it.
    pub(crate) failures: Vec<Failure>,
    /// What kept this tool itself from sending, if anything did.
    pub(crate) own_fault: Option<String>,
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
    /// How many bytes of the response came.
    pub(crate) bytes_received: usize,
    /// The pod at the other end and what it was doing, where the tool can know it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pod: Option<PodState>,
    pub(crate) detail: String,
}

impl Recorder {
    /// Begins with nothing recorded; times count from now.
    pub(crate) fn start() -> Self {
        Self { started: Instant::now(), observed: Mutex::new(Observations::new()) }
    }

    /// Counts a request that was answered in full.
    pub(crate) fn answered(&self, kind: Kind, status: u16, latency: Duration) {
        let outcome = match status {
            200..300 => Outcome::Ok,
            status => Outcome::Status(status),
        };
        let now = self.elapsed();
        let mut observed = self.lock();
        observed.tally(kind).latency.saturating_record(micros(latency));
        observed.tally(kind).count(outcome);
        observed.timeline.record(now, kind, outcome, Some(micros(latency)));
        if outcome.is_failure() {
            observed.keep(Failure {
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

    /// Counts a request that was not answered in full.
    pub(crate) fn failed(&self, failure: Failure) {
        let now = self.elapsed();
        let mut observed = self.lock();
        observed.tally(failure.kind).count(failure.outcome);
        observed.timeline.record(now, failure.kind, failure.outcome, None);
        if failure.outcome.is_failure() {
            observed.keep(Failure { at: now.as_secs_f64(), ..failure });
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

    /// Says whether a request of this kind has been answered or lost, or can no longer be.
    pub(crate) fn has(&self, kind: Kind) -> bool {
        let observed = self.lock();
        observed.own_fault.is_some() || observed.tallies.contains_key(&kind)
    }

    /// Requests so far, and how many of them failed.
    pub(crate) fn totals(&self) -> (u64, u64) {
        let observed = self.lock();
        observed.tallies.values().fold((0, 0), |(requests, failed), tally| {
            (requests + tally.requests(), failed + tally.failures())
        })
    }

    /// A copy of everything recorded so far.
    pub(crate) fn observations(&self) -> Observations {
        let now = self.elapsed();
        let mut observed = self.lock();
        observed.timeline.advance(now);
        observed.clone()
    }

    /// The instant that times count from.
    pub(crate) fn started(&self) -> Instant {
        self.started
    }

    /// Time since the start.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    fn lock(&self) -> MutexGuard<'_, Observations> {
        self.observed.lock().expect("nothing panics while it counts")
    }
}

impl Observations {
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

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_failures_are_kept_but_all_are_counted() {
        let recorder = Recorder::start();
        for _ in 0..1000 {
            recorder.answered(Kind::Busy, 503, Duration::from_millis(1));
        }
        recorder.answered(Kind::Busy, 204, Duration::from_millis(1));
        assert_eq!(recorder.totals(), (1001, 1000));
        assert_eq!(recorder.observations().failures.len(), FAILURES_KEPT);
    }
    #[test]
    fn latencies_and_lateness_are_in_microseconds() {
        let recorder = Recorder::start();
        recorder.answered(Kind::Busy, 200, Duration::from_micros(1500));
        recorder.late(Duration::from_micros(700));
        let observed = recorder.observations();
        assert_eq!((observed.tallies[&Kind::Busy].latency.max(), observed.lateness.max()), (1500, 700));
    }

    #[test]
    fn times_count_from_the_start() {
        let started = Instant::now() - Duration::from_secs(10);
        let recorder = Recorder { started, ..Recorder::start() };
        recorder.answered(Kind::Busy, 500, Duration::ZERO);
        let unanswered = Failure { at: 0.0, ..recorder.observations().failures[0].clone() };
        recorder.failed(unanswered);
        let observed = recorder.observations();
        let at: Vec<f64> = observed.failures.iter().map(|failure| failure.at).collect();
        assert!(at.len() == 2 && at.iter().all(|at| (10.0..15.0).contains(at)), "{at:?}");
        assert!((100..150).contains(&observed.timeline.buckets.len()));
    }

    #[test]
    fn a_kind_is_waited_for_until_it_has_sent_or_nothing_can_be_sent() {
        let recorder = Recorder::start();
        recorder.answered(Kind::Busy, 200, Duration::ZERO);
        assert!(recorder.has(Kind::Busy) && !recorder.has(Kind::Idle));
        recorder.own_fault("no more ports".into());
        recorder.own_fault("no more memory".into());
        assert!(recorder.has(Kind::Idle));
        assert_eq!(recorder.observations().own_fault.as_deref(), Some("no more ports"));
    }
}
