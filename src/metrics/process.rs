//! What the process and its runtime use, and which build it is.

use prometheus::{Gauge, Opts};
use tokio::runtime;

use super::Metrics;

/// Adds the process' own metrics, and what runs.
pub(crate) fn watch_process(metrics: &Metrics, version: &str, revision: &str) {
    let build =
        metrics.gauge_vec("build_info", "Always 1; its labels tell what runs.", &["version", "revision"]);
    build.with_label_values(&[version, revision]).set(1);
    #[cfg(target_os = "linux")]
    metrics
        .registry()
        .register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))
        .expect("registered once");
}

/// Adds the stable metrics of the runtime that serves.
pub(crate) fn watch_runtime(metrics: &Metrics, runtime: &runtime::Handle) {
    let workers = metrics.gauge("tokio_workers", "Worker threads of the main runtime.");
    let tasks = metrics.gauge("tokio_alive_tasks", "Tasks of the main runtime that have not ended.");
    let queued =
        metrics.gauge("tokio_global_queue_depth", "Tasks waiting in the main runtime's global queue.");
    let parks = metrics.counter("tokio_worker_parks_total", "Times that workers had nothing to do.");
    // A gauge by type, because prometheus' float counter can't be set to a total that tokio keeps itself.
    let busy = metrics
        .add(Gauge::with_opts(Opts::new("tokio_workers_busy_seconds", "Time that workers have been busy.")));
    let runtime = runtime.metrics();
    metrics.on_scrape(move || {
        let each = || 0..runtime.num_workers();
        workers.set(runtime.num_workers() as i64);
        tasks.set(runtime.num_alive_tasks() as i64);
        queued.set(runtime.global_queue_depth() as i64);
        let parked: u64 = each().map(|worker| runtime.worker_park_count(worker)).sum();
        parks.inc_by(parked.saturating_sub(parks.get()));
        busy.set(each().map(|worker| runtime.worker_total_busy_duration(worker).as_secs_f64()).sum());
    });
}
