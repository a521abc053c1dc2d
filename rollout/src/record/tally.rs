//! Counts and latencies of one kind of client.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::outcome::Outcome;

const LONGEST_US: u64 = 600_000_000;

/// What one kind of client saw.
#[derive(Clone, Debug)]
pub(crate) struct Tally {
    pub(crate) ok: u64,
    pub(crate) statuses: BTreeMap<u16, u64>,
    pub(crate) lost_first: u64,
    pub(crate) lost_kept: u64,
    pub(crate) refused: u64,
    pub(crate) connect_timeout: u64,
    pub(crate) response_timeout: u64,
    pub(crate) cut: u64,
    pub(crate) stream_refused: u64,
    pub(crate) library_error: u64,
    pub(crate) killed: u64,
    /// From the wish to send until the last byte (a stream: its head), in microseconds.
    pub(crate) latency: Histogram<u64>,
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
            response_timeout: 0,
            cut: 0,
            stream_refused: 0,
            library_error: 0,
            killed: 0,
            latency: histogram(),
        }
    }

    /// Counts one request.
    pub(crate) fn count(&mut self, outcome: Outcome) {
        *match outcome {
            Outcome::Ok => &mut self.ok,
            Outcome::Status(status) => self.statuses.entry(status).or_default(),
            Outcome::LostFirst => &mut self.lost_first,
            Outcome::LostKept => &mut self.lost_kept,
            Outcome::Refused => &mut self.refused,
            Outcome::ConnectTimeout => &mut self.connect_timeout,
            Outcome::ResponseTimeout => &mut self.response_timeout,
            Outcome::Cut => &mut self.cut,
            Outcome::StreamRefused => &mut self.stream_refused,
            Outcome::LibraryError => &mut self.library_error,
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
        self.response_timeout += other.response_timeout;
        self.cut += other.cut;
        self.stream_refused += other.stream_refused;
        self.library_error += other.library_error;
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
            + self.response_timeout
            + self.cut
            + self.stream_refused
            + self.library_error
    }

    /// The median, the 99th and the 99.9th percentile, and the longest.
    pub(crate) fn latencies(&self) -> [Duration; 4] {
        [0.5, 0.99, 0.999, 1.0]
            .map(|quantile| Duration::from_micros(self.latency.value_at_quantile(quantile)))
    }

    /// Requests in all, but for those whose connection the tool killed.
    pub(crate) fn requests(&self) -> u64 {
        self.ok + self.failures()
    }
}

/// An empty histogram of microseconds, up to ten minutes.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST_US, 3).expect("the bounds are constants in range")
}
