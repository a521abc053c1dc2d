//! Named checks behind `/livez`, `/readyz` and `/startupz`, in the manner of kube-apiserver.
//!
//! The readiness flag is the lifecycle's phase: `/readyz` fails before and after [`Phase::Serving`].

mod background;
mod endpoints;
mod heartbeat;
mod hysteresis;

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde_json::Value;
use tokio::runtime;
use tokio::task::AbortHandle;
use tracing::{info, warn};

pub(crate) use self::endpoints::{public_router, router, wants_json};
use self::{
    background::LastResult,
    endpoints::{Line, Report},
    heartbeat::Heartbeat,
};
use crate::{
    lifecycle::{Lifecycle, Phase},
    metrics::Metrics,
};

/// What the kubelet asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// Is the process stuck? If so it is restarted.
    Livez,
    /// Does it want traffic?
    Readyz,
    /// Has it started? Until then the other two are not asked.
    Startupz,
}

impl Endpoint {
    const ALL: [Self; 3] = [Self::Livez, Self::Readyz, Self::Startupz];

    const fn name(self) -> &'static str {
        match self {
            Self::Livez => "livez",
            Self::Readyz => "readyz",
            Self::Startupz => "startupz",
        }
    }
}

/// What a failing check means for its endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The endpoint fails.
    Critical,
    /// It is reported only. Right for what all pods share: one outage must not take every pod out at once.
    Degraded,
}

/// How a check outside the process is made; [`Default`] is every 10 s with 2 s to answer, down after three
/// failures, up after one success, critical.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    /// From one check to the next, give or take a fifth, so that pods don't check in step.
    pub interval: Duration,
    /// For one check.
    pub timeout: Duration,
    /// Successes in a row that bring it up.
    pub rise: u32,
    /// Failures in a row that bring it down.
    pub fall: u32,
    /// What its failure means.
    pub severity: Severity,
}

impl Default for Schedule {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(10),
            timeout: Duration::from_secs(2),
            rise: 1,
            fall: 3,
            severity: Severity::Critical,
        }
    }
}

type Outcome = Result<(), String>;

/// The reason of a check that panicked; the log has the panic.
const PANICKED: &str = "panicked";

/// All checks of the process. A clone is another handle to the same.
#[derive(Clone, Default)]
pub struct Health(Arc<RwLock<Vec<Arc<Check>>>>);

struct Check {
    endpoint: Endpoint,
    name: &'static str,
    severity: Severity,
    ask: Box<dyn Fn() -> Outcome + Send + Sync>,
    // None where a change is logged elsewhere.
    was_up: Option<AtomicBool>,
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.checks().iter().map(|check| (check.endpoint, check.name))).finish()
    }
}

impl Health {
    /// The checks that every service has of its lifecycle.
    pub fn new(lifecycle: &Lifecycle) -> Self {
        let health = Self::default();
        let of_phase = |endpoint, passes: fn(Phase) -> bool| {
            let lifecycle = lifecycle.clone();
            health.add(Check {
                endpoint,
                name: "lifecycle",
                severity: Severity::Critical,
                ask: Box::new(move || match lifecycle.phase() {
                    phase if passes(phase) => Ok(()),
                    phase => Err(phase.name().to_owned()),
                }),
                was_up: None,
            });
        };
        of_phase(Endpoint::Readyz, |phase| phase == Phase::Serving);
        of_phase(Endpoint::Startupz, |phase| phase > Phase::Starting);
        health
    }

    /// Adds a check that answers at once from what the process knows already.
    ///
    /// # Panics
    /// When the endpoint has a check of this name.
    pub fn check(
        &self,
        endpoint: Endpoint,
        name: &'static str,
        severity: Severity,
        ask: impl Fn() -> Outcome + Send + Sync + 'static,
    ) {
        let was_up = Some(AtomicBool::new(true));
        self.add(Check { endpoint, name, severity, ask: Box::new(ask), was_up });
    }

    fn add(&self, check: Check) {
        let (endpoint, name) = (check.endpoint, check.name);
        let mut checks = self.0.write().expect("nothing panics while it holds this");
        let taken = checks.iter().any(|other| (other.endpoint, other.name) == (endpoint, name));
        if !taken {
            checks.push(Arc::new(check));
        }
        // Not while it is locked, or every probe would fail from now on.
        drop(checks);
        assert!(!taken, "{} has a check called {name} already", endpoint.name());
    }

    /// All of them, to be asked while nothing is locked.
    fn checks(&self) -> Vec<Arc<Check>> {
        self.0.read().expect("nothing panics while it holds this").clone()
    }

    /// Adds a readiness check that asks something outside the process: it runs in the background, and the probe
    /// reads its last result. Down until its first result, and when none has come for a few intervals.
    pub fn background<R, E>(
        &self,
        name: &'static str,
        schedule: Schedule,
        ask: impl Fn() -> R + Send + 'static,
    ) where
        R: Future<Output = Result<(), E>> + Send + 'static,
        E: fmt::Display + 'static,
    {
        let last = Arc::new(LastResult::new(&schedule));
        let result = last.clone();
        self.check(Endpoint::Readyz, name, schedule.severity, move || last.outcome());
        tokio::spawn(background::run(schedule, ask, result));
    }

    /// Adds the check of the runtime that serves: down when nothing has run there for longer than the limit. Such a pod
    /// gets no traffic, and then no more time. Call it on another runtime, from which it can be judged.
    pub(crate) fn watch_runtime(&self, runtime: &runtime::Handle, lifecycle: &Lifecycle, limit: Duration) {
        let heartbeat = Heartbeat::watch(runtime, lifecycle, limit);
        for endpoint in [Endpoint::Livez, Endpoint::Readyz] {
            let heartbeat = heartbeat.clone();
            self.check(endpoint, "runtime", Severity::Critical, move || match heartbeat.silence() {
                silence if silence <= limit => Ok(()),
                silence => {
                    Err(format!("no task of the main runtime has run for {:.1} s", silence.as_secs_f64()))
                }
            });
        }
    }

    /// Adds the readiness check of the service's accept loop; at its cap it is still alive.
    pub(crate) fn watch_listener(&self, accept_loop: AbortHandle) {
        self.check(Endpoint::Readyz, "listener", Severity::Critical, move || {
            if accept_loop.is_finished() { Err("the accept loop is not running".to_owned()) } else { Ok(()) }
        });
    }

    /// Exports a gauge per check.
    pub fn export(&self, metrics: &Metrics) {
        let gauges =
            metrics.gauge_vec("health_check_up", "1 when the health check passes.", &["endpoint", "check"]);
        let health = self.clone();
        metrics.on_scrape(move || {
            for check in health.checks() {
                let up = check.outcome().is_ok();
                gauges.with_label_values(&[check.endpoint.name(), check.name]).set(up.into());
            }
        });
    }

    /// How each check is, by endpoint and name.
    pub(crate) fn summary(&self) -> Value {
        let checks = self.checks();
        let name = |check: &Check| format!("{}/{}", check.endpoint.name(), check.name);
        checks
            .iter()
            .map(|check| (name(check), check.outcome().err().unwrap_or_else(|| "ok".to_owned())))
            .collect()
    }

    /// Whether none of its critical checks fails.
    pub(crate) fn passes(&self, endpoint: Endpoint) -> bool {
        self.report(endpoint, |_| true).passes()
    }

    fn report(&self, endpoint: Endpoint, wanted: impl Fn(&str) -> bool) -> Report {
        let checks = self.checks();
        let asked = checks.iter().filter(|check| check.endpoint == endpoint && wanted(check.name));
        Report { endpoint, lines: asked.map(|check| Line::of(check)).collect() }
    }
}

impl Check {
    /// Asks, and logs when the answer has changed.
    fn outcome(&self) -> Outcome {
        let asked = catch_unwind(AssertUnwindSafe(|| (self.ask)()));
        let outcome = asked.unwrap_or_else(|_| Err(PANICKED.to_owned()));
        let is_up = outcome.is_ok();
        if self.was_up.as_ref().is_some_and(|was_up| was_up.swap(is_up, Ordering::Relaxed) != is_up) {
            let (endpoint, check) = (self.endpoint.name(), self.name);
            match &outcome {
                Ok(()) => info!(endpoint, check, "health check passes"),
                Err(reason) => warn!(endpoint, check, reason, "health check fails"),
            }
        }
        outcome
    }
}

#[cfg(test)]
mod tests;
