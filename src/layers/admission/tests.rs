//! Admission on a clock of its own: of requests that wait for one thread, and at the pace of a dependency that answers so
//! many at once.

use std::{cmp::Reverse, collections::BinaryHeap};

use crate::metrics::Metrics;

use super::*;

/// The default of `APP_MAX_IN_FLIGHT`.
const MAX_IN_FLIGHT: usize = 1024;

/// The default of `APP_MAX_WAIT`.
const MAX_WAIT: Duration = Duration::from_millis(100);

const ALLOWANCE: Duration = Duration::from_millis(25);

/// A dependency: how long it takes for each, and how many it takes at once.
#[derive(Clone, Copy)]
struct Dependency {
    takes: Duration,
    at_once: usize,
}

/// What happened to the requests of one load.
#[derive(Debug, Default)]
struct Outcome {
    answered: u32,
    refused: u32,
    longest: Duration,
}

/// A route, and what its dependency is busy with.
struct Route {
    pace: Pace,
    now: Instant,
    /// When each place of the dependency is free again.
    places: BinaryHeap<Reverse<Instant>>,
    /// When each request in flight ends, and when it began.
    ends: BinaryHeap<Reverse<(Instant, Instant)>>,
    /// The limit that was told last, and how often there was another one.
    limit: usize,
    told: u32,
}

impl Route {
    fn new() -> Self {
        let (places, ends) = (BinaryHeap::new(), BinaryHeap::new());
        Self { pace: Pace::default(), now: Instant::now(), places, ends, limit: usize::MAX, told: 0 }
    }

    /// Asks so often, evenly, for so long.
    fn load(&mut self, per_second: u32, seconds: f64, dependency: Dependency) -> Outcome {
        let mut outcome = Outcome::default();
        let step = Duration::from_secs(1) / per_second;
        for _ in 0..(f64::from(per_second) * seconds) as u32 {
            self.now += step;
            self.end_until(self.now, &mut outcome);
            if self.ends.len() < MAX_IN_FLIGHT && self.pace.has_room() {
                self.pace.begin();
                let free = match self.places.len() < dependency.at_once {
                    true => self.now,
                    false => self.places.pop().expect("it has places").0.max(self.now),
                };
                self.places.push(Reverse(free + dependency.takes));
                self.ends.push(Reverse((free + dependency.takes, self.now)));
            } else {
                outcome.refused += 1;
            }
        }
        outcome
    }

    fn end_until(&mut self, until: Instant, outcome: &mut Outcome) {
        while self.ends.peek().is_some_and(|Reverse((end, _))| *end <= until) {
            let Reverse((end, began)) = self.ends.pop().expect("just seen");
            if let Some(limit) = self.pace.end(true, end - began, end, ALLOWANCE) {
                assert_ne!(limit, self.limit, "it is no other one");
                (self.limit, self.told) = (limit, self.told + 1);
            }
            assert_eq!(self.pace.limit.load(Relaxed), self.limit, "it is in force before it is told");
            outcome.answered += 1;
            outcome.longest = outcome.longest.max(end - began);
        }
    }
}

/// One thread that works on requests in their order.
struct Thread {
    admission: Admission,
    metrics: RequestMetrics,
    now: Instant,
    free: Instant,
}

impl Thread {
    fn new() -> Self {
        let now = Instant::now();
        let metrics = RequestMetrics::new(&Metrics::default());
        Self { admission: Admission::new(MAX_WAIT, 1), metrics, now, free: now }
    }

    /// Asks so often, evenly, for so long, for work that takes as long; tells how many were refused.
    fn load(&mut self, per_second: u32, seconds: f64, takes: Duration) -> u32 {
        let mut refused = 0;
        for _ in 0..(f64::from(per_second) * seconds) as u32 {
            self.now += Duration::from_secs(1) / per_second;
            let begins = self.free.max(self.now);
            match self.admission.admits(begins - self.now, begins, &self.metrics) {
                true => self.free = begins + takes,
                false => refused += 1,
            }
        }
        refused
    }

    /// Nothing runs for so long, whoever comes.
    fn freeze(&mut self, length: Duration) {
        self.free = self.free.max(self.now) + length;
    }
}

#[test]
fn what_waits_too_long_for_a_thread_is_refused() {
    let mut thread = Thread::new();
    let burns = Duration::from_millis(5);
    assert_eq!(thread.load(160, 5.0, burns), 0);
    let refused = thread.load(600, 5.0, burns);
    assert!((1900..2050).contains(&refused), "{refused} of 3000, 1000 of which can be answered");
    assert!(thread.free - thread.now < Duration::from_millis(50));
}

#[test]
fn a_few_that_wait_for_long_are_answered() {
    let mut thread = Thread::new();
    // Three of them wait at a time.
    thread.freeze(Duration::from_millis(600));
    assert_eq!(thread.load(5, 20.0, Duration::from_millis(200)), 0);
}

#[test]
fn a_machine_that_stands_still_again_and_again_is_no_reason_to_refuse() {
    for (freeze, then) in [(300, 0.5), (150, 0.2)] {
        let mut thread = Thread::new();
        for _ in 0..20 {
            thread.freeze(Duration::from_millis(freeze));
            assert_eq!(thread.load(1000, then, Duration::from_micros(50)), 0, "{freeze} ms");
        }
    }
}

const SLOW: Dependency = Dependency { takes: Duration::from_millis(50), at_once: 100 };

#[test]
fn overload_is_refused_and_the_rest_is_answered_at_full_pace_and_in_time() {
    for times in [1.5, 3.0, 6.0, 20.0] {
        let mut route = Route::new();
        let offered = (2000.0 * times) as u32;
        // What was let in before it was known holds up the others.
        route.load(offered, 1.0, SLOW);
        let outcome = route.load(offered, 5.0, SLOW);
        assert!(outcome.answered > 9_000, "{times}: {outcome:?}");
        assert!(outcome.longest < Duration::from_millis(300), "{times}: {outcome:?}");
    }
}

#[test]
fn nothing_is_refused_below_the_capacity() {
    let mut route = Route::new();
    for per_second in [1, 100, 1600, 10, 1600] {
        assert_eq!(route.load(per_second, 10.0, SLOW).refused, 0, "{per_second}");
    }
    assert_eq!(route.told, 0, "there was never a limit");
}

#[test]
fn a_few_that_take_longer_than_others_did_are_no_reason_for_a_limit() {
    let mut route = Route::new();
    route.load(100, 5.0, SLOW);
    route.load(100, 5.0, Dependency { takes: 3 * SLOW.takes, ..SLOW });
    assert_eq!(route.told, 0);
}

#[test]
fn the_limit_follows_a_dependency_that_takes_more_at_once() {
    let mut route = Route::new();
    route.load(8000, 5.0, SLOW);
    let more = Dependency { at_once: 5 * SLOW.at_once, ..SLOW };
    route.load(8000, 2.0, more);
    let outcome = route.load(8000, 5.0, more);
    assert!(outcome.answered > 38_000, "{outcome:?}");
}

#[test]
fn a_route_is_judged_by_ten_that_ended_and_by_50_ms_at_least() {
    let (pace, began) = (Pace::default(), Instant::now());
    let end =
        |at: u64| pace.end(true, Duration::from_millis(1), began + Duration::from_millis(at), ALLOWANCE);
    let since_judged = || pace.ended.load(Relaxed);
    pace.in_flight.store(100, Relaxed);
    (1..10).for_each(|_| _ = end(1000));
    assert_eq!(since_judged(), 9);
    end(1000);
    assert_eq!(since_judged(), 0);
    (0..20).for_each(|_| _ = end(1049));
    assert_eq!(since_judged(), 20);
    end(1051);
    assert_eq!(since_judged(), 0);
}

#[test]
fn a_limit_is_in_vain_if_half_as_many_take_as_long_when_it_has_had_its_effect() {
    let limited = Limited { at: Instant::now(), in_flight: 40, would_take: 0.5 };
    let is_in_vain = |after: u64, per_second: f64, took: f64| {
        limited.is_in_vain(limited.at + Duration::from_millis(after), per_second, took)
    };
    assert!(is_in_vain(1600, 39.0, 0.5));
    assert!(!is_in_vain(1400, 39.0, 0.5), "some began before");
    assert!(!is_in_vain(1600, 41.0, 0.5), "more than half were in flight");
    assert!(is_in_vain(1600, 39.0, 0.41));
    assert!(!is_in_vain(1600, 39.0, 0.39), "they are quicker now");
}

#[test]
fn a_handler_may_wait_for_a_quarter_of_what_it_may_wait_for_a_thread() {
    assert_eq!(Admission::new(MAX_WAIT, 1).allowance(), ALLOWANCE);
}

#[test]
fn a_burst_of_a_tenth_of_a_second_is_let_in() {
    let mut route = Route::new();
    route.load(1000, 3.0, SLOW);
    assert_eq!(route.load(4000, 0.1, SLOW).refused, 0);
    assert_eq!(route.load(1000, 3.0, SLOW).refused, 0);
}

#[test]
fn the_limit_goes_with_the_overload() {
    let mut route = Route::new();
    assert!(route.load(6000, 5.0, SLOW).refused > 10_000);
    route.load(1000, 1.0, SLOW);
    assert_eq!(route.load(1600, 10.0, SLOW).refused, 0);
}

#[test]
fn a_dependency_that_became_slower_and_takes_any_number_is_no_reason_to_refuse() {
    let unhurried = Dependency { takes: Duration::from_millis(50), at_once: usize::MAX };
    let slower = Dependency { takes: Duration::from_millis(500), ..unhurried };
    let mut route = Route::new();
    route.load(500, 5.0, unhurried);
    route.load(500, 5.0, slower);
    assert_eq!(route.load(500, 10.0, slower).refused, 0);
}

#[test]
fn callers_that_gave_up_show_that_a_route_is_slow_and_not_that_it_keeps_pace() {
    let pace = Pace::default();
    let started = Instant::now();
    let tick = Duration::from_millis(1);
    let mut refused = 0;
    for n in 1..2000 {
        let now = started + tick * n;
        refused += u32::from(!pace.has_room());
        pace.begin();
        pace.begin();
        // One of ten is answered; for the others it takes longer and longer, until they leave.
        let took = Duration::from_millis(5) + tick * n.min(1000);
        pace.end(n % 10 == 0, took, now, ALLOWANCE);
    }
    assert!(refused > 1000, "{refused}");
}
