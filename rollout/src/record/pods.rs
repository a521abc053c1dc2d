//! The history of each pod: for the report, the chart, and the question of which pod lost a request.

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

    /// A pod's termination has begun; only the first time counts.
    pub(crate) fn terminating(&self, name: &str) {
        self.mark(name, |history, now| _ = history.terminating.get_or_insert(now));
    }

    /// A terminating pod no longer gets new connections; only the first time counts.
    pub(crate) fn left_endpoints(&self, name: &str) {
        self.mark(name, |history, now| {
            if history.terminating.is_some() {
                history.left_endpoints.get_or_insert(now);
            }
        });
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

    /// Says in words what a pod is doing now.
    pub(crate) fn describe(&self, name: &str) -> String {
        let now = self.now();
        let histories = self.lock();
        let Some(history) = histories.iter().rev().find(|history| history.name == name) else {
            return name.to_string();
        };
        let took = |seconds: f64| format!("{seconds:.3} s");
        let since = |at: f64| took(now - at);
        match (history.ready, history.terminating, history.gone) {
            (_, Some(terminating), Some(gone)) => {
                format!(
                    "{name}, gone for {}, after terminating for {}",
                    since(gone),
                    took(gone - terminating)
                )
            }
            (_, None, Some(gone)) => format!("{name}, gone for {}", since(gone)),
            (_, Some(terminating), None) => format!("{name}, terminating for {}", since(terminating)),
            (Some(ready), None, None) => format!("{name}, ready for {}", since(ready)),
            (None, None, None) => format!("{name}, not ready yet"),
        }
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
