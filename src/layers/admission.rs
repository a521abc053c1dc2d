//! Which requests are worked on when there are more than can be: admission by how long they wait.
//!
//! A request waits in two places. Before its handler begins it waits for a thread; that wait is measured, and in a crowd
//! too long a one is shed (after CoDel, <https://queue.acm.org/detail.cfm?id=2209336>). What is in progress has the thread
//! before what would begin and keep it for long, or else whatever it holds would be held that much longer. Inside the handler it waits for
//! whatever the handler needs; that shows in how long the handlers of its route take, and then as many are let in as
//! can be answered in time at the pace of the last moment (Little's law).

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::metrics::requests::RequestMetrics;

/// A wait that is no wait.
const PROMPT: Duration = Duration::from_millis(10);

/// Fewer that wait at once, for each thread, are no crowd, however long they do.
const FEW: u32 = 8;

/// How long a crowd may last before it is more than a burst.
const BURST: Duration = Duration::from_millis(200);

/// A crowd that lasts longer will not go by itself.
const LONG: Duration = Duration::from_secs(1);

/// Admission by the wait for a thread, the same for all routes. Times are in microseconds from the start.
#[derive(Debug)]
pub(super) struct Admission {
    max_wait: Duration,
    few: u32,
    started: Instant,
    /// When the last of those that waited had its turn.
    last: AtomicU64,
    /// Since when there was always one that waited.
    since: AtomicU64,
    /// When the waits since then are made up for, had a few waited all the time.
    made_up: AtomicU64,
    /// One for each thread.
    turns: Arc<Semaphore>,
}

impl Admission {
    pub(super) fn new(max_wait: Duration, threads: usize) -> Self {
        let few = FEW.saturating_mul(threads.try_into().unwrap_or(u32::MAX));
        let [last, since, made_up] = Default::default();
        let turns = Arc::new(Semaphore::new(threads));
        Self { max_wait, few, started: Instant::now(), last, since, made_up, turns }
    }

    /// Whether a request that has waited so long is not alone.
    pub(super) fn is_crowded(&self, waited: Duration) -> bool {
        waited >= PROMPT || self.turns.available_permits() == 0
    }

    /// Waits in line for the turn to begin; it lasts until it is dropped.
    pub(super) async fn turn(&self) -> OwnedSemaphorePermit {
        self.turns.clone().acquire_owned().await.expect("it is never closed")
    }

    /// Whether a request is still worked on that has waited so long.
    pub(super) fn admits(&self, waited: Duration, now: Instant, metrics: &RequestMetrics) -> bool {
        if waited < PROMPT {
            return true;
        }
        metrics.waited(waited);
        let micros = |duration: Duration| duration.as_micros() as u64;
        let (came, now) = (micros(now - waited - self.started), micros(now - self.started));
        // As a bucket that each wait fills and a few that wait would keep level.
        let mut level = self.made_up.load(Relaxed).saturating_sub(now);
        // After a moment in which the whole machine stood still nobody waits any more, however many have.
        if came > self.last.swap(now, Relaxed) + micros(PROMPT) || level == 0 {
            self.since.store(now, Relaxed);
            level = 0;
        }
        level = (level + micros(waited / self.few)).min(2 * micros(BURST));
        self.made_up.store(now + level, Relaxed);
        let lasts = now.saturating_sub(self.since.load(Relaxed));
        // The longer it lasts, the shorter is a wait that is too long, as what waits here holds up more than itself.
        let too_long = micros(self.max_wait) * micros(LONG) / lasts.clamp(micros(LONG), 4 * micros(LONG));
        micros(waited) < too_long || level.min(lasts) < micros(BURST)
    }

    /// What a handler may wait for what it needs: on average, as little as for a thread in the end.
    pub(super) fn allowance(&self) -> Duration {
        self.max_wait / 4
    }
}

/// How long the handlers of a route keep the thread when they begin in a crowd: an average of the last, in microseconds.
#[derive(Debug, Default)]
pub(super) struct FirstTurns(AtomicU64);

impl FirstTurns {
    /// Whether others should have theirs before.
    pub(super) fn are_long(&self) -> bool {
        self.0.load(Relaxed) > 1000
    }

    pub(super) fn took(&self, time: Duration) {
        let average = self.0.load(Relaxed);
        self.0.store(average - average / 8 + time.as_micros() as u64 / 8, Relaxed);
    }
}

/// For how long the pace of a route is measured at least, and over how many requests.
const WINDOW: (Duration, usize) = (Duration::from_millis(50), 10);

/// A window as long says nothing about the pace: nobody asked for most of it.
const IDLE: Duration = Duration::from_secs(1);

/// No fewer are let in at once.
const FEWEST: usize = 16;

/// Admission by the pace at which a route's handlers answer.
#[derive(Debug)]
pub(super) struct Pace {
    in_flight: AtomicUsize,
    limit: AtomicUsize,
    refused: AtomicUsize,
    /// Those answered, and those whose caller left before.
    ended: AtomicUsize,
    abandoned: AtomicUsize,
    /// By those that ended, in microseconds.
    spent: AtomicU64,
    judged: Mutex<Judged>,
}

/// What was found at the end of the last window. Times are in seconds.
#[derive(Debug)]
struct Judged {
    at: Instant,
    /// What a handler takes on average when it does not wait.
    unhurried: f64,
    late: u32,
    limited: Limited,
}

/// How it was when the limit came.
#[derive(Debug)]
struct Limited {
    at: Instant,
    in_flight: usize,
    /// The last of those in flight, at the pace at that time.
    would_take: f64,
}

impl Limited {
    /// Whether half as many take as long: then it is not for each other that they wait.
    fn is_in_vain(&self, now: Instant, per_second: f64, took: f64) -> bool {
        let is_effective = (now - self.at).as_secs_f64() > 2.0 * self.would_take + took;
        // By Little's law, as more may have been in flight when these began.
        is_effective && per_second * took <= self.in_flight as f64 / 2.0 && took > 0.8 * self.would_take
    }
}

impl Default for Pace {
    fn default() -> Self {
        let at = Instant::now();
        let judged = Judged {
            at,
            unhurried: f64::INFINITY,
            late: 0,
            limited: Limited { at, in_flight: 0, would_take: 0.0 },
        };
        Self {
            in_flight: AtomicUsize::new(0),
            limit: AtomicUsize::new(usize::MAX),
            refused: AtomicUsize::new(0),
            ended: AtomicUsize::new(0),
            abandoned: AtomicUsize::new(0),
            spent: AtomicU64::new(0),
            judged: Mutex::new(judged),
        }
    }
}

impl Pace {
    /// Whether there is room for another request.
    pub(super) fn has_room(&self) -> bool {
        let has_room = self.in_flight.load(Relaxed) < self.limit.load(Relaxed);
        if !has_room {
            self.refused.fetch_add(1, Relaxed);
        }
        has_room
    }

    /// Counts a request that has nothing more to wait for from its caller.
    pub(super) fn begin(&self) {
        self.in_flight.fetch_add(1, Relaxed);
    }

    /// Counts it out; `allowance` is what a handler may take beyond twice what it takes unhurried. Tells the limit, if
    /// there is another one now; `usize::MAX` is none.
    pub(super) fn end(
        &self,
        was_answered: bool,
        took: Duration,
        now: Instant,
        allowance: Duration,
    ) -> Option<usize> {
        self.in_flight.fetch_sub(1, Relaxed);
        if !was_answered {
            self.abandoned.fetch_add(1, Relaxed);
        }
        self.spent.fetch_add(took.as_micros() as u64, Relaxed);
        if self.ended.fetch_add(1, Relaxed) + 1 < WINDOW.1 {
            return None;
        }
        // Whoever comes while it is judged has been counted.
        let mut judged = self.judged.try_lock().ok()?;
        if now.saturating_duration_since(judged.at) < WINDOW.0 {
            return None;
        }
        let limit = self.judge(&mut judged, now, allowance.as_secs_f64());
        (self.limit.swap(limit, Relaxed) != limit).then_some(limit)
    }

    /// The limit from now on.
    fn judge(&self, judged: &mut Judged, now: Instant, allowance: f64) -> usize {
        let window = now - std::mem::replace(&mut judged.at, now);
        let (ended, abandoned) = (self.ended.swap(0, Relaxed), self.abandoned.swap(0, Relaxed));
        let took = self.spent.swap(0, Relaxed) as f64 / 1e6 / ended as f64;
        let per_second = ended.saturating_sub(abandoned) as f64 / window.as_secs_f64();
        let refused = self.refused.swap(0, Relaxed);
        let in_flight = self.in_flight.load(Relaxed);
        let limit = self.limit.load(Relaxed);
        // Forgotten slowly, as what it needs may have become slower for good.
        judged.unhurried = took.min(judged.unhurried * 1.001);
        let may_take = 2.0 * judged.unhurried + allowance;
        let in_time = FEWEST.max((per_second * may_take) as usize);
        if limit == usize::MAX {
            let is_late = window < IDLE && in_flight > in_time && took > 1.5 * judged.unhurried;
            judged.late = if is_late { judged.late + 1 } else { 0 };
            judged.limited = Limited { at: now, in_flight, would_take: in_flight as f64 / per_second };
            if judged.late > 1 { in_time } else { limit }
        } else if took <= may_take {
            // As long as some are refused, there are too many; perhaps a tenth more can be answered.
            if refused > 0 { limit.saturating_add(limit / 10) } else { usize::MAX }
        } else if judged.limited.is_in_vain(now, per_second, took) {
            judged.unhurried = took;
            usize::MAX
        } else {
            in_time
        }
    }
}

#[cfg(test)]
mod tests;
