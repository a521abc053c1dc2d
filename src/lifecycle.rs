//! The phase that the process is in, shared by all, and the handle that long streams and background work get of it.

use std::{
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use pin_project_lite::pin_project;
use prometheus::IntCounter;
use tokio_util::{
    sync::{CancellationToken, WaitForCancellationFutureOwned},
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};

use crate::{
    metrics::Metrics,
    sync::atomic::{AtomicU8, AtomicU64, Ordering},
};

/// Where the process is in its life; `lib.rs` draws the picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Phase {
    /// The listener is bound but not served.
    Starting,
    /// All is well.
    Serving,
    /// Received SIGTERM: unready, still accepting, clients are told to go elsewhere.
    Draining,
    /// The listener is closed; what is left gets its response.
    Closing,
    /// Nothing is served any more.
    Stopped,
}

impl Phase {
    /// All phases in their order.
    pub const ALL: [Self; 5] = [Self::Starting, Self::Serving, Self::Draining, Self::Closing, Self::Stopped];

    /// The phase as logs and metrics write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Serving => "serving",
            Self::Draining => "draining",
            Self::Closing => "closing",
            Self::Stopped => "stopped",
        }
    }
}

/// The phase, shared: read by everyone, moved on by [`crate::shutdown`] alone. A clone is another handle to the same.
#[derive(Debug, Clone)]
pub struct Lifecycle(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    // Twice, because a token can be waited for and an atomic can be read without a lock.
    now: AtomicU8,
    reached: [CancellationToken; Phase::ALL.len()],
    /// When each phase began, but for those that were left out.
    began: [OnceLock<Instant>; Phase::ALL.len()],
    requests: Arrivals,
    connections: Arrivals,
    open: TaskTracker,
    tasks: TaskTracker,
    workers: TaskTracker,
}

impl Lifecycle {
    /// A process that is starting, whose phase and arrivals are among the metrics.
    pub fn new(metrics: &Metrics) -> Self {
        let counters = |name, help| Arrivals {
            by_phase: metrics.counters(name, help, "phase", &Phase::ALL.map(Phase::name)),
            last: AtomicU64::new(NEVER),
        };
        let lifecycle = Self(Arc::new(Shared {
            now: AtomicU8::new(Phase::Starting as u8),
            reached: Phase::ALL.map(|_| CancellationToken::new()),
            began: [const { OnceLock::new() }; Phase::ALL.len()],
            requests: counters("lifecycle_requests_total", "Requests that arrived, by lifecycle phase."),
            connections: counters("lifecycle_connections_total", "Connections accepted, by lifecycle phase."),
            open: TaskTracker::new(),
            tasks: TaskTracker::new(),
            workers: TaskTracker::new(),
        }));
        let phases = metrics.gauges(
            "lifecycle_phase",
            "1 for the phase that the process is in.",
            "phase",
            &Phase::ALL.map(Phase::name),
        );
        lifecycle.enter(Phase::Starting);
        let watched = lifecycle.clone();
        metrics.on_scrape(move || {
            for (gauge, phase) in phases.iter().zip(Phase::ALL) {
                gauge.set((watched.phase() == phase).into());
            }
        });
        lifecycle
    }

    /// The phase now.
    pub fn phase(&self) -> Phase {
        Phase::ALL[usize::from(self.0.now.load(Ordering::Acquire))]
    }

    /// The phase now, how long it has lasted, and how long the process has.
    pub(crate) fn ages(&self) -> (Phase, Duration, Duration) {
        let phase = self.phase();
        let age = |phase: Phase| self.0.began[phase as usize].get().map_or(Duration::ZERO, Instant::elapsed);
        (phase, age(phase), age(Phase::Starting))
    }

    /// How long it has been since the drain began.
    pub(crate) fn draining_for(&self) -> Option<Duration> {
        self.0.began[Phase::Draining as usize].get().map(Instant::elapsed)
    }

    /// Moves on to a later phase; an earlier one is not returned to.
    pub fn enter(&self, phase: Phase) {
        if phase >= Phase::Draining {
            self.0.began[Phase::Draining as usize].get_or_init(Instant::now);
        }
        self.0.began[phase as usize].get_or_init(Instant::now);
        self.0.now.fetch_max(phase as u8, Ordering::AcqRel);
        for reached in &self.0.reached[..=phase as usize] {
            reached.cancel();
        }
    }

    /// Waits until this phase, or a later one, has begun.
    pub fn reached(&self, phase: Phase) -> impl Future<Output = ()> + Send + use<> {
        let wait = self.0.reached[phase as usize].clone().cancelled_owned();
        Reached { wait, lifecycle: self.clone(), phase, waits: None }
    }

    /// The handle for long streams and background work.
    pub fn drain(&self) -> Drain {
        Drain(self.clone())
    }

    /// Makes the drain wait until the token is dropped.
    pub(crate) fn connection(&self) -> TaskTrackerToken {
        self.0.open.token()
    }

    /// Counts a request by the phase it arrives in.
    pub(crate) fn count_request(&self) {
        self.count(&self.0.requests);
    }

    /// Counts a connection by the phase it arrives in.
    pub(crate) fn count_connection(&self) {
        self.count(&self.0.connections);
    }

    fn count(&self, arrivals: &Arrivals) {
        let phase = self.phase();
        arrivals.by_phase[phase as usize].inc();
        if phase >= Phase::Draining
            && let Some(after) = self.draining_for()
        {
            arrivals.last.store(millis(after), Ordering::Relaxed);
        }
    }

    /// The requests that have arrived.
    pub(crate) fn requests(&self) -> &Arrivals {
        &self.0.requests
    }

    /// The connections that have arrived.
    pub(crate) fn connections(&self) -> &Arrivals {
        &self.0.connections
    }

    /// What the drain waits for: connections, tasks and workers.
    pub(crate) fn waited_for(&self) -> [&TaskTracker; 3] {
        [&self.0.open, &self.0.tasks, &self.0.workers]
    }
}

pin_project! {
    /// Waits for a phase. A token locks whenever it is asked; most connections ask with each request.
    struct Reached {
        #[pin]
        wait: WaitForCancellationFutureOwned,
        lifecycle: Lifecycle,
        phase: Phase,
        // Who will be woken.
        waits: Option<Waker>,
    }
}

impl Future for Reached {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        let waits = this.waits.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()));
        if waits && this.lifecycle.phase() < *this.phase {
            return Poll::Pending;
        }
        *this.waits = Some(cx.waker().clone());
        this.wait.poll(cx)
    }
}

const NEVER: u64 = u64::MAX;

/// What arrived, by phase, and when the last of it came.
#[derive(Debug)]
pub(crate) struct Arrivals {
    by_phase: Vec<IntCounter>,
    // Milliseconds since draining began.
    last: AtomicU64,
}

impl Arrivals {
    /// How many came in this phase.
    pub(crate) fn during(&self, phase: Phase) -> u64 {
        self.by_phase[phase as usize].get()
    }

    /// How many came so far.
    pub(crate) fn total(&self) -> u64 {
        self.by_phase.iter().map(IntCounter::get).sum()
    }

    /// Milliseconds from the beginning of the drain to the last one that came in it.
    pub(crate) fn last_ms(&self) -> Option<u64> {
        Some(self.last.load(Ordering::Relaxed)).filter(|at| *at != NEVER)
    }
}

/// Tells a long stream or background work when to finish, and makes the process wait for it.
#[derive(Debug, Clone)]
pub struct Drain(Lifecycle);

impl Drain {
    /// Resolves when the drain has started: the process received SIGTERM and is unready.
    pub async fn started(&self) {
        self.0.reached(Phase::Draining).await;
    }

    /// Whether the drain has started.
    pub fn is_draining(&self) -> bool {
        self.0.phase() >= Phase::Draining
    }

    /// Resolves when the delay is over and the listener closes: no new connection comes, those that are open finish.
    pub async fn closing(&self) {
        self.0.reached(Phase::Closing).await;
    }

    /// Resolves when the last request has been answered, or was aborted: no more work will come.
    pub async fn stopped(&self) {
        self.0.reached(Phase::Stopped).await;
    }

    /// Runs a task that the drain waits for; it should end soon after [`Drain::started`], and is aborted when the
    /// drain timeout is over.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stopped = self.0.reached(Phase::Stopped);
        self.0.0.tasks.spawn(async move {
            tokio::select! {
                () = task => {}
                () = stopped => {}
            }
        });
    }

    /// Makes the drain wait as for a task, until the token is dropped.
    pub(crate) fn token(&self) -> TaskTrackerToken {
        self.0.0.tasks.token()
    }

    /// Runs a worker that the process waits for after the drain, such as one that ships what the last requests
    /// made; it should end soon after [`Drain::stopped`], and has half of the flush timeout for it.
    pub fn spawn_worker(&self, worker: impl Future<Output = ()> + Send + 'static) {
        self.0.0.workers.spawn(worker);
    }
}

/// Whole milliseconds, as logs write durations.
pub(crate) fn millis(duration: Duration) -> u64 {
    duration.as_millis().try_into().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use tokio::{task::yield_now, time::timeout};

    use super::*;

    #[tokio::test]
    async fn who_waits_hears_of_a_phase_though_others_began_before() {
        let lifecycle = Lifecycle::new(&Metrics::new());
        let waits = tokio::spawn(lifecycle.reached(Phase::Stopped));
        for phase in Phase::ALL {
            yield_now().await;
            assert!(!waits.is_finished(), "{}", phase.name());
            lifecycle.enter(phase);
        }
        timeout(Duration::from_secs(10), waits).await.expect("it is woken").unwrap();
    }

    #[test]
    fn background_work_hears_of_each_stage_when_it_comes() {
        let lifecycle = Lifecycle::new(&Metrics::new());
        let drain = lifecycle.drain();
        let heard = || {
            [drain.started().now_or_never(), drain.closing().now_or_never(), drain.stopped().now_or_never()]
                .map(|stage| stage.is_some())
        };
        for (phase, expected) in Phase::ALL.into_iter().zip([
            [false, false, false],
            [false, false, false],
            [true, false, false],
            [true, true, false],
            [true, true, true],
        ]) {
            lifecycle.enter(phase);
            assert_eq!((heard(), drain.is_draining()), (expected, expected[0]), "{}", phase.name());
        }
    }
}
