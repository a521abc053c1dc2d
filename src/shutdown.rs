//! Signals, and the sequence from the first signal to the exit code.

use std::{
    fmt, io,
    process::ExitCode,
    time::{Duration, Instant},
};

use prometheus::{Gauge, Opts};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    task::JoinHandle,
    time::{sleep, timeout},
};
use tracing::{info, warn};

use crate::{
    config::Config,
    lifecycle::{Lifecycle, Phase, millis},
    metrics::Metrics,
    server::{CloseReason, Connections},
};

/// A signal that ends the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShutdownSignal {
    /// SIGTERM, from the kubelet or the engine.
    Terminate,
    /// SIGINT, from a terminal: there is no load balancer to wait for.
    Interrupt,
}

impl fmt::Display for ShutdownSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Terminate => "SIGTERM",
            Self::Interrupt => "SIGINT",
        })
    }
}

/// The signals that end the process, caught from the moment of registration.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    received: u8,
}

impl Signals {
    /// Catches SIGTERM and SIGINT. First thing in `main`: as process 1 of a container, a process without
    /// handlers ignores SIGTERM and costs the pod its whole grace period.
    pub fn register() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            received: 0,
        })
    }

    /// Waits for the next signal. Cancelling loses none.
    pub async fn next(&mut self) -> ShutdownSignal {
        let signal = tokio::select! {
            _ = self.terminate.recv() => ShutdownSignal::Terminate,
            _ = self.interrupt.recv() => ShutdownSignal::Interrupt,
        };
        self.received += 1;
        signal
    }

    /// Waits until this many signals have come since the registration.
    async fn received(&mut self, count: u8) {
        while self.received < count {
            let signal = self.next().await;
            warn!(%signal, count = self.received, "received another signal");
        }
    }
}

/// The part of the flush timeout that is the log's own; the rest is for workers and clean-up.
pub(crate) fn log_flush_limit(flush_timeout: Duration) -> Duration {
    Duration::from_secs(1).min(flush_timeout / 4)
}

/// Exports what is left of the drain's time, and when the last request came in it.
pub(crate) fn export(lifecycle: &Lifecycle, config: &Config, metrics: &Metrics) {
    let gauge = |name, help| metrics.add(Gauge::with_opts(Opts::new(name, help)));
    let remaining = gauge(
        "lifecycle_drain_remaining_seconds",
        "Time until what is still open is aborted; before the drain, all that it may take.",
    );
    let last = gauge(
        "lifecycle_last_request_seconds",
        "Time from the beginning of the drain to the last request that arrived in it.",
    );
    let limit = config.drain_delay.0 + config.drain_timeout.0;
    let lifecycle = lifecycle.clone();
    metrics.on_scrape(move || {
        let elapsed = lifecycle.draining_for().unwrap_or_default();
        remaining.set(limit.saturating_sub(elapsed).as_secs_f64());
        last.set(lifecycle.requests().last_ms().unwrap_or(0) as f64 / 1000.0);
    });
}

/// Waits for the first signal, or for the end of the accept loop, and takes the process from there to the point where
/// nothing is served any more and `cleanup` has run. The exit code is 0 after a clean drain, 1 when anything was aborted.
pub(crate) async fn drain(
    lifecycle: &Lifecycle,
    signals: &mut Signals,
    accepting: JoinHandle<()>,
    config: &Config,
    connections: &Connections,
    cleanup: impl Future<Output = bool>,
) -> ExitCode {
    let [open, tasks, workers] = lifecycle.waited_for();

    let cause = tokio::select! {
        biased;
        signal = signals.next() => Some(signal),
        // By a panic: no new client is served any more, but those on kept connections are.
        _ = accepting => None,
    };
    let signal = cause.map_or("none: the accept loop has ended".to_owned(), |signal| signal.to_string());
    let begun = Instant::now();
    let delay = match cause {
        Some(ShutdownSignal::Interrupt) => Duration::ZERO,
        Some(ShutdownSignal::Terminate) | None => config.drain_delay.0,
    };
    lifecycle.enter(Phase::Draining);
    info!(
        signal,
        delay_ms = millis(delay),
        connections = connections.open(),
        tasks = tasks.len(),
        "draining: unready, still accepting"
    );
    tokio::select! {
        () = sleep(delay) => {}
        () = signals.received(2) => {}
    }

    let closing = Instant::now();
    open.close();
    tasks.close();
    workers.close();
    lifecycle.enter(Phase::Closing);
    info!(
        timeout_ms = millis(config.drain_timeout.0),
        connections = connections.open(),
        tasks = tasks.len(),
        "closing: the listener closes, what is left gets its response"
    );
    let gone = async { tokio::join!(open.wait(), tasks.wait()) };
    let (timed_out, forced) = tokio::select! {
        biased;
        _ = gone => (false, false),
        () = sleep(config.drain_timeout.0) => (true, false),
        () = signals.received(3) => (true, true),
    };

    let tasks_aborted = tasks.len();
    lifecycle.enter(Phase::Stopped);
    // All that follows has to fit into the flush timeout.
    let stopped = Instant::now();
    let flush_timeout = config.flush_timeout.0;
    let remaining = |limit: Duration| limit.saturating_sub(stopped.elapsed());
    if timed_out {
        // Connection tasks end by themselves when they see the phase; a blocked runtime never lets them.
        let _ = timeout(Duration::from_secs(1).min(flush_timeout / 4), open.wait()).await;
    }
    let connections_aborted = connections.closed(CloseReason::Aborted) + open.len() as u64;

    // Half of it, so that clean-up has its turn even when a worker hangs.
    let _ = timeout(remaining(flush_timeout / 2), workers.wait()).await;
    let workers_aborted = workers.len();
    let until_log = flush_timeout - log_flush_limit(flush_timeout);
    let cleaned_up = timeout(remaining(until_log), cleanup).await.unwrap_or(false);
    let aborted = connections_aborted > 0 || tasks_aborted > 0 || workers_aborted > 0;
    let clean = !aborted && cleaned_up && !forced && cause.is_some();
    info!(
        clean,
        signal,
        delay_ms = millis(closing - begun),
        closing_ms = millis(stopped - closing),
        flush_ms = millis(stopped.elapsed()),
        requests_while_draining = lifecycle.requests().during(Phase::Draining),
        requests_while_closing = lifecycle.requests().during(Phase::Closing),
        connections_while_draining = lifecycle.connections().during(Phase::Draining),
        connections_while_closing = lifecycle.connections().during(Phase::Closing),
        last_request_ms = lifecycle.requests().last_ms(),
        last_connection_ms = lifecycle.connections().last_ms(),
        connections_idle_at_deadline = connections.closed(CloseReason::IdleAtDeadline),
        connections_aborted,
        tasks_aborted,
        workers_aborted,
        cleaned_up,
        "stopped"
    );
    if clean { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
