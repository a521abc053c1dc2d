//! Signals, phases, and the sequence from the first signal to the exit code.

use std::{
    fmt, io,
    process::ExitCode,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
    time::{sleep, timeout},
};
use tokio_util::task::{TaskTracker, task_tracker::TaskTrackerToken};
use tracing::{info, warn};

use crate::{config::Config, metrics::Counters, server::End};

/// Where the process is in its life; `lib.rs` draws the picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Phase {
    /// The listener is bound but not served.
    Starting,
    /// All is well.
    Serving,
    /// Asked to stop: unready, still accepting, clients are told to go elsewhere.
    Draining,
    /// The listener is closed; what is left gets its answer.
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

/// The phase, shared: read by everyone, moved on by [`drain`] alone. A clone is another handle to the same.
#[derive(Debug, Clone)]
pub struct Lifecycle(Arc<Shared>);

const NEVER: u64 = u64::MAX;

#[derive(Debug)]
struct Shared {
    // Twice, because a watch can be waited for and an atomic can be read without a lock.
    now: AtomicU8,
    phase: watch::Sender<Phase>,
    asked: OnceLock<Instant>,
    // Milliseconds since the first signal.
    last_request: AtomicU64,
    last_connection: AtomicU64,
    connections: TaskTracker,
    tasks: TaskTracker,
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self(Arc::new(Shared {
            now: AtomicU8::new(Phase::Starting as u8),
            phase: watch::Sender::new(Phase::Starting),
            asked: OnceLock::new(),
            last_request: AtomicU64::new(NEVER),
            last_connection: AtomicU64::new(NEVER),
            connections: TaskTracker::new(),
            tasks: TaskTracker::new(),
        }))
    }
}

impl Lifecycle {
    /// The phase now.
    pub fn phase(&self) -> Phase {
        Phase::ALL[usize::from(self.0.now.load(Ordering::Acquire))]
    }

    /// Moves on to a later phase; an earlier one is not returned to.
    pub fn enter(&self, phase: Phase) {
        self.0.now.fetch_max(phase as u8, Ordering::AcqRel);
        self.0.phase.send_if_modified(|now| std::mem::replace(now, phase.max(*now)) < phase);
    }

    /// Waits until this phase, or a later one, has begun.
    pub fn reached(&self, phase: Phase) -> impl Future<Output = ()> + Send + use<> {
        let mut phases = self.0.phase.subscribe();
        async move {
            // An error means that the sender is gone, and with it the process' life.
            let _ = phases.wait_for(|now| *now >= phase).await;
        }
    }

    /// The handle for long streams and background work.
    pub fn drain(&self) -> Drain {
        Drain(self.clone())
    }

    /// Makes the drain wait until the token is dropped.
    pub(crate) fn connection(&self) -> TaskTrackerToken {
        self.0.connections.token()
    }

    /// Counts a request by the phase it arrives in.
    pub(crate) fn count_request(&self, counters: &Counters) {
        self.count(&counters.requests, &self.0.last_request);
    }

    /// Counts a connection by the phase it arrives in.
    pub(crate) fn count_connection(&self, counters: &Counters) {
        self.count(&counters.connections, &self.0.last_connection);
    }

    fn count(&self, arrived: &[prometheus::IntCounter], last: &AtomicU64) {
        let phase = self.phase();
        arrived[phase as usize].inc();
        if phase >= Phase::Draining
            && let Some(asked) = self.0.asked.get()
        {
            last.store(millis(asked.elapsed()), Ordering::Relaxed);
        }
    }
}

/// Tells a long stream or a background task when to finish, and makes the server wait for it.
#[derive(Debug, Clone)]
pub struct Drain(Lifecycle);

impl Drain {
    /// Resolves when the process is asked to stop.
    pub async fn asked(&self) {
        self.0.reached(Phase::Draining).await;
    }

    /// Whether the process has been asked to stop.
    pub fn is_asked(&self) -> bool {
        self.0.phase() >= Phase::Draining
    }

    /// Runs a task that the drain waits for; it should end soon after [`Drain::asked`], and is aborted when
    /// the drain's time is up.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stopped = self.0.reached(Phase::Stopped);
        self.0.0.tasks.spawn(async move {
            tokio::select! {
                () = task => {}
                () = stopped => {}
            }
        });
    }
}

/// A signal that asks the process to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// SIGTERM, from the kubelet or the engine.
    Terminate,
    /// SIGINT, from a terminal: there is no load balancer to wait for.
    Interrupt,
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Terminate => "SIGTERM",
            Self::Interrupt => "SIGINT",
        })
    }
}

/// The signals that ask the process to stop, caught from the moment of registration.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    seen: u8,
}

impl Signals {
    /// Catches SIGTERM and SIGINT. First thing in `main`: as process 1 of a container, a process without
    /// handlers ignores SIGTERM and costs the pod its whole grace period.
    pub fn register() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            seen: 0,
        })
    }

    /// Waits for the next signal. Cancelling loses none.
    pub async fn next(&mut self) -> Asked {
        let asked = tokio::select! {
            _ = self.terminate.recv() => Asked::Terminate,
            _ = self.interrupt.recv() => Asked::Interrupt,
        };
        self.seen += 1;
        asked
    }

    /// Waits until this many signals have come since the registration.
    async fn seen(&mut self, count: u8) {
        while self.seen < count {
            let asked = self.next().await;
            warn!(signal = %asked, count = self.seen, "asked to stop again");
        }
    }
}

/// How the drain went: the last line of the log.
#[derive(Debug, Clone)]
pub struct Report {
    asked: Asked,
    delay: Duration,
    closing: Duration,
    connections_aborted: u64,
    tasks_aborted: usize,
    forced: bool,
    cleaned_up: bool,
}

/// Waits for the first signal, and takes the process from there to the point where nothing is served any more.
pub async fn drain(
    lifecycle: &Lifecycle,
    signals: &mut Signals,
    config: &Config,
    counters: &Counters,
) -> Report {
    let Shared { asked: asked_at, connections, tasks, .. } = &*lifecycle.0;

    let asked = signals.next().await;
    let begun = *asked_at.get_or_init(Instant::now);
    let delay = match asked {
        Asked::Terminate => config.drain_delay.0,
        Asked::Interrupt => Duration::ZERO,
    };
    lifecycle.enter(Phase::Draining);
    info!(
        signal = %asked,
        delay_ms = millis(delay),
        connections = counters.connections_open(),
        tasks = tasks.len(),
        "draining: unready, still accepting"
    );
    tokio::select! {
        () = sleep(delay) => {}
        () = signals.seen(2) => {}
    }

    let closing = Instant::now();
    connections.close();
    tasks.close();
    lifecycle.enter(Phase::Closing);
    info!(
        timeout_ms = millis(config.drain_timeout.0),
        connections = counters.connections_open(),
        tasks = tasks.len(),
        "closing: the listener closes, what is left gets its answer"
    );
    let gone = async { tokio::join!(connections.wait(), tasks.wait()) };
    let (timed_out, forced) = tokio::select! {
        biased;
        _ = gone => (false, false),
        () = sleep(config.drain_timeout.0) => (true, false),
        () = signals.seen(3) => (true, true),
    };

    let tasks_aborted = tasks.len();
    lifecycle.enter(Phase::Stopped);
    if timed_out {
        // Connection tasks end by themselves when they see the phase; a blocked runtime never lets them.
        let _ = timeout(Duration::from_secs(1), connections.wait()).await;
    }
    let stuck = connections.len() as u64;
    Report {
        asked,
        delay: closing - begun,
        closing: closing.elapsed(),
        connections_aborted: counters.ended[End::Aborted as usize].get() + stuck,
        tasks_aborted,
        forced,
        cleaned_up: true,
    }
}

impl Report {
    /// Adds whether the clean-up came to its end.
    pub fn cleaned_up(self, cleaned_up: bool) -> Self {
        Self { cleaned_up, ..self }
    }

    /// Whether everything that was there got its end.
    pub fn is_clean(&self) -> bool {
        self.connections_aborted == 0 && self.tasks_aborted == 0 && self.cleaned_up && !self.forced
    }

    /// 0 after a clean drain, 1 when anything was aborted.
    pub fn exit_code(&self) -> ExitCode {
        if self.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    /// Writes the report as one line.
    pub fn log(&self, lifecycle: &Lifecycle, counters: &Counters) {
        let last = |arrival: &AtomicU64| Some(arrival.load(Ordering::Relaxed)).filter(|at| *at != NEVER);
        let arrived = |counts: &[prometheus::IntCounter], phase: Phase| counts[phase as usize].get();
        let ended = |end: End| counters.ended[end as usize].get();
        info!(
            clean = self.is_clean(),
            signal = %self.asked,
            delay_ms = millis(self.delay),
            closing_ms = millis(self.closing),
            requests_while_draining = arrived(&counters.requests, Phase::Draining),
            requests_while_closing = arrived(&counters.requests, Phase::Closing),
            connections_while_draining = arrived(&counters.connections, Phase::Draining),
            connections_while_closing = arrived(&counters.connections, Phase::Closing),
            last_request_ms = last(&lifecycle.0.last_request),
            last_connection_ms = last(&lifecycle.0.last_connection),
            connections_let_go = ended(End::LetGo),
            connections_aborted = self.connections_aborted,
            tasks_aborted = self.tasks_aborted,
            cleaned_up = self.cleaned_up,
            "stopped"
        );
    }
}

fn millis(duration: Duration) -> u64 {
    duration.as_millis().try_into().unwrap_or(u64::MAX)
}
