//! What became of each pod, and when: for the report, the chart, and the question of who lost a request.

use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

use serde::Serialize;

const PODS_KEPT: usize = 4000;

/// The pods of a run, local processes or a cluster's.
pub(crate) struct Pods {
    started: Instant,
    lives: Mutex<Vec<Life>>,
}

/// One pod's life, in seconds since the run began.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Life {
    pub(crate) name: String,
    pub(crate) started: f64,
    pub(crate) ready: Option<f64>,
    /// When it was asked to end.
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
    /// It ended by itself with this code, having been asked to.
    Exit(i32),
    /// It outlived its grace period and was killed.
    Killed,
    /// It ended without having been asked to.
    Crashed,
    /// A cluster does not tell.
    Unknown,
}

impl Pods {
    /// No pods yet; times count from `started`.
    pub(crate) fn new(started: Instant) -> Self {
        Self { started, lives: Mutex::new(Vec::new()) }
    }

    /// A pod has been started.
    pub(crate) fn started(&self, name: &str) {
        let started = self.now();
        let mut lives = self.lock();
        if lives.len() == PODS_KEPT {
            lives.remove(0);
        }
        lives.push(Life {
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
        self.mark(name, |life, now| _ = life.ready.get_or_insert(now));
    }

    /// A pod has been asked to end; only the first time counts.
    pub(crate) fn terminating(&self, name: &str) {
        self.mark(name, |life, now| _ = life.terminating.get_or_insert(now));
    }

    /// A pod that was asked to end no longer gets new connections; only the first time counts.
    pub(crate) fn left_endpoints(&self, name: &str) {
        self.mark(name, |life, now| {
            if life.terminating.is_some() {
                life.left_endpoints.get_or_insert(now);
            }
        });
    }

    /// A pod has ended.
    pub(crate) fn gone(&self, name: &str, end: End) {
        self.mark(name, |life, now| {
            life.gone.get_or_insert(now);
            life.end.get_or_insert(end);
        });
    }

    /// Says whether a pod of this name has been started.
    pub(crate) fn knows(&self, name: &str) -> bool {
        self.lock().iter().any(|life| life.name == name)
    }

    /// The pods that have not ended.
    pub(crate) fn living(&self) -> Vec<String> {
        self.lock().iter().filter(|life| life.gone.is_none()).map(|life| life.name.clone()).collect()
    }

    /// Says in words what a pod is doing now.
    pub(crate) fn describe(&self, name: &str) -> String {
        let now = self.now();
        let lives = self.lock();
        let Some(life) = lives.iter().rev().find(|life| life.name == name) else {
            return name.to_string();
        };
        let since = |at: f64| format!("{:.3} s", now - at);
        match (life.ready, life.terminating, life.gone) {
            (_, Some(asked), Some(gone)) => {
                format!("{name}, asked to end {} ago, gone since {}", since(asked), since(gone))
            }
            (_, None, Some(gone)) => format!("{name}, gone since {}", since(gone)),
            (_, Some(asked), None) => format!("{name}, asked to end {} ago", since(asked)),
            (Some(ready), None, None) => format!("{name}, ready since {}", since(ready)),
            (None, None, None) => format!("{name}, not ready yet"),
        }
    }

    /// A copy of every life so far.
    pub(crate) fn lives(&self) -> Vec<Life> {
        self.lock().clone()
    }

    fn mark(&self, name: &str, change: impl FnOnce(&mut Life, f64)) {
        let now = self.now();
        if let Some(life) = self.lock().iter_mut().rev().find(|life| life.name == name) {
            change(life, now);
        }
    }

    fn now(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Life>> {
        self.lives.lock().expect("nothing panics while it holds the list")
    }
}
