//! The history of each pod: for the report, the chart, and the question of which pod lost a request.

use std::fmt;
use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

use serde::Serialize;

const PODS_KEPT: usize = 4000;

/// The pods of a run, local processes or a cluster's.
pub(crate) struct Pods {
    started: Instant,
    histories: Mutex<Vec<PodHistory>>,
}

/// One pod's history, in seconds since the run began.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct PodHistory {
    pub(crate) name: String,
    pub(crate) started: f64,
    pub(crate) ready: Option<f64>,
    /// When its termination began.
    pub(crate) terminating: Option<f64>,
    /// When new connections stopped being sent to it.
    pub(crate) left_endpoints: Option<f64>,
    pub(crate) gone: Option<f64>,
    pub(crate) end: Option<End>,
}

/// What a pod was doing at one moment.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct PodState {
    pub(crate) name: String,
    pub(crate) phase: PodPhase,
    /// How long it had been in that phase.
    pub(crate) seconds: f64,
    /// How long it had been terminating, or was until it ended.
    #[serde(skip)]
    terminating: Option<f64>,
}

/// The phases of a pod, as the chart shows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PodPhase {
    Starting,
    Ready,
    /// It has been told to end and still gets new connections.
    Terminating,
    /// It no longer gets any.
    Draining,
    Gone,
    /// It was never seen.
    Unknown,
}

/// How a pod's process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum End {
    /// It exited with this code after SIGTERM.
    Exit(i32),
    /// It outlived its grace period and was killed.
    Killed,
    /// It exited without SIGTERM.
    Crashed,
    /// A cluster does not say.
    Unknown,
}

impl PodPhase {
    /// As the chart's legend, the page and the JSON have it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            PodPhase::Starting => "starting",
            PodPhase::Ready => "ready",
            PodPhase::Terminating => "terminating",
            PodPhase::Draining => "draining",
            PodPhase::Gone => "gone",
            PodPhase::Unknown => "unknown",
        }
    }
}

impl PodHistory {
    /// The phases it went through, each with its beginning and its end, up to `now` if it is not gone.
    pub(crate) fn phases(&self, now: f64) -> [(PodPhase, f64, f64); 4] {
        let end = self.gone.unwrap_or(now);
        let terminating = self.terminating.unwrap_or(end);
        let left = self.left_endpoints.filter(|_| self.terminating.is_some()).unwrap_or(end).min(end);
        let ready = self.ready.unwrap_or(terminating).min(terminating);
        [
            (PodPhase::Starting, self.started, ready),
            (PodPhase::Ready, ready, terminating),
            (PodPhase::Terminating, terminating, left),
            (PodPhase::Draining, left, end),
        ]
    }

    /// The phase it was in at this time, and for how long it had been.
    pub(crate) fn phase_at(&self, at: f64) -> (PodPhase, f64) {
        if let Some(gone) = self.gone.filter(|gone| *gone <= at) {
            return (PodPhase::Gone, at - gone);
        }
        let begun = self.phases(f64::INFINITY).into_iter().rev().find(|(_, from, _)| *from <= at);
        begun.map_or((PodPhase::Unknown, 0.0), |(phase, from, _)| (phase, at - from))
    }
}

impl fmt::Display for PodState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name)?;
        match (self.phase, self.terminating) {
            (PodPhase::Unknown, _) => Ok(()),
            (PodPhase::Starting, _) => f.write_str(", not ready yet"),
            (PodPhase::Ready, _) => write!(f, ", ready for {:.3} s", self.seconds),
            (PodPhase::Gone, Some(took)) => {
                write!(f, ", gone for {:.3} s, after terminating for {took:.3} s", self.seconds)
            }
            (PodPhase::Gone, None) => write!(f, ", gone for {:.3} s", self.seconds),
            (_, took) => write!(f, ", terminating for {:.3} s", took.unwrap_or_default()),
        }
    }
}

impl Pods {
    /// No pods yet; times count from `started`.
    pub(crate) fn new(started: Instant) -> Self {
        Self { started, histories: Mutex::new(Vec::new()) }
    }

    /// A pod has been started.
    pub(crate) fn started(&self, name: &str) {
        let started = self.now();
        let mut histories = self.lock();
        if histories.len() == PODS_KEPT {
            histories.remove(0);
        }
        histories.push(PodHistory {
            name: name.to_string(),
            started,
            ready: None,
            terminating: None,
            left_endpoints: None,
            gone: None,
            end: None,
        });
    }

    /// A pod has become ready; only the first time counts.
    pub(crate) fn ready(&self, name: &str) {
        self.mark(name, |history, now| _ = history.ready.get_or_insert(now));
    }

    /// A pod's termination has begun; says whether this is the first time, which alone counts.
    pub(crate) fn terminating(&self, name: &str) -> bool {
        let mut first = false;
        self.mark(name, |history, now| {
            first = history.terminating.is_none();
            history.terminating.get_or_insert(now);
        });
        first
    }

    /// A terminating pod no longer gets new connections; only the first time counts.
    pub(crate) fn left_endpoints(&self, name: &str) {
        self.mark(name, |history, now| {
            if history.terminating.is_some() {
                history.left_endpoints.get_or_insert(now);
            }
        });
    }

    /// A pod got its last new connection this many seconds after its termination had begun.
    pub(crate) fn left_endpoints_after(&self, name: &str, seconds: f64) {
        self.mark(name, |history, _| {
            history.left_endpoints = history.terminating.map(|terminating| terminating + seconds);
        });
    }

    /// Says whether a pod of this name has been started and has not ended.
    pub(crate) fn is_running(&self, name: &str) -> bool {
        self.lock().iter().any(|history| history.name == name && history.gone.is_none())
    }

    /// The pods that have begun to terminate and have not ended.
    pub(crate) fn ending(&self) -> Vec<String> {
        let histories = self.lock();
        let ending = histories.iter().filter(|pod| pod.terminating.is_some() && pod.gone.is_none());
        ending.map(|pod| pod.name.clone()).collect()
    }

    /// A pod has ended.
    pub(crate) fn gone(&self, name: &str, end: End) {
        self.mark(name, |history, now| {
            history.gone.get_or_insert(now);
            history.end.get_or_insert(end);
        });
    }

    /// Says whether a pod of this name has been started.
    pub(crate) fn knows(&self, name: &str) -> bool {
        self.lock().iter().any(|history| history.name == name)
    }

    /// The pods that have not ended.
    pub(crate) fn running(&self) -> Vec<String> {
        self.lock()
            .iter()
            .filter(|history| history.gone.is_none())
            .map(|history| history.name.clone())
            .collect()
    }

    /// What a pod is doing now.
    pub(crate) fn state(&self, name: &str) -> PodState {
        let now = self.now();
        let histories = self.lock();
        let history = histories.iter().rev().find(|history| history.name == name);
        let (phase, seconds) = history.map_or((PodPhase::Unknown, 0.0), |history| history.phase_at(now));
        let terminating =
            history.and_then(|history| Some(history.gone.unwrap_or(now) - history.terminating?));
        PodState { name: name.to_string(), phase, seconds, terminating }
    }

    /// A copy of every history so far.
    pub(crate) fn histories(&self) -> Vec<PodHistory> {
        self.lock().clone()
    }

    fn mark(&self, name: &str, change: impl FnOnce(&mut PodHistory, f64)) {
        let now = self.now();
        if let Some(history) = self.lock().iter_mut().rev().find(|history| history.name == name) {
            change(history, now);
        }
    }

    fn now(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<PodHistory>> {
        self.histories.lock().expect("nothing panics while it holds the list")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn history() -> PodHistory {
        PodHistory {
            name: "pod-1".into(),
            started: 1.0,
            ready: Some(2.0),
            terminating: Some(10.0),
            left_endpoints: Some(12.0),
            gone: Some(20.0),
            end: Some(End::Exit(0)),
        }
    }

    #[test]
    fn the_phase_at_a_time_is_the_one_that_had_begun() {
        let at = |time| history().phase_at(time);
        assert_eq!(at(0.5), (PodPhase::Unknown, 0.0));
        assert_eq!(at(1.5), (PodPhase::Starting, 0.5));
        assert_eq!(at(10.0), (PodPhase::Terminating, 0.0));
        assert_eq!(at(13.0), (PodPhase::Draining, 1.0));
        assert_eq!(at(21.0), (PodPhase::Gone, 1.0));
        let living = PodHistory { terminating: None, left_endpoints: None, gone: None, ..history() };
        assert_eq!(living.phase_at(100.0), (PodPhase::Ready, 98.0));
        let starting = PodHistory { ready: None, ..living };
        assert_eq!(starting.phase_at(100.0), (PodPhase::Starting, 99.0));
    }
    #[test]
    fn what_happened_to_a_pod_counts_once() {
        let pods = Pods::new(Instant::now() - Duration::from_secs(10));
        pods.started("a");
        pods.started("b");
        pods.left_endpoints("a");
        assert_eq!(pods.histories()[0].left_endpoints, None, "it was not told to end");
        assert!((10.0..11.0).contains(&pods.histories()[0].started));
        assert!(pods.terminating("a") && !pods.terminating("a") && !pods.terminating("c"));
        pods.left_endpoints("a");
        let left = pods.histories()[0].left_endpoints;
        pods.left_endpoints("a");
        assert!(left.is_some() && pods.histories()[0].left_endpoints == left);
        pods.left_endpoints_after("a", 0.25);
        let [a, b] = &pods.histories()[..] else { panic!("two were started") };
        assert_eq!(a.left_endpoints, Some(a.terminating.unwrap() + 0.25));
        assert_eq!((b.terminating, pods.ending()), (None, vec!["a".to_owned()]));
        assert!(pods.is_running("a") && pods.is_running("b") && !pods.is_running("c"));
        pods.gone("a", End::Killed);
        pods.gone("a", End::Exit(0));
        assert_eq!(pods.histories()[0].end, Some(End::Killed));
        assert_eq!((pods.running(), pods.ending()), (vec!["b".to_owned()], vec![]));
        assert!(!pods.is_running("a") && pods.knows("a") && !pods.knows("c"));
        assert_eq!(pods.state("c").phase, PodPhase::Unknown);
    }

    #[test]
    fn a_long_run_forgets_the_first_pods() {
        let pods = Pods::new(Instant::now());
        (0..PODS_KEPT + 2).for_each(|n| pods.started(&n.to_string()));
        assert_eq!((pods.histories().len(), pods.knows("1"), pods.knows("2")), (PODS_KEPT, false, true));
    }

    #[test]
    fn a_pods_state_is_said_in_a_few_words() {
        let pods = Pods::new(Instant::now());
        let said =
            |phase, terminating| PodState { name: "a".into(), phase, seconds: 2.0, terminating }.to_string();
        assert_eq!(said(PodPhase::Unknown, None), "a");
        assert_eq!(said(PodPhase::Starting, None), "a, not ready yet");
        assert_eq!(said(PodPhase::Ready, None), "a, ready for 2.000 s");
        assert_eq!(said(PodPhase::Terminating, Some(2.0)), "a, terminating for 2.000 s");
        assert_eq!(said(PodPhase::Draining, Some(3.0)), "a, terminating for 3.000 s");
        assert_eq!(said(PodPhase::Gone, Some(3.0)), "a, gone for 2.000 s, after terminating for 3.000 s");
        assert_eq!(said(PodPhase::Gone, None), "a, gone for 2.000 s");
        pods.started("a");
        pods.lock()[0] = PodHistory { name: "a".into(), ..history() };
        let terminating = pods.state("a").terminating.unwrap();
        assert_eq!(terminating, 10.0, "it was gone 10 s after it had begun to terminate");
    }
}
