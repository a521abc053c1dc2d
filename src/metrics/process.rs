//! What the process and its runtime use, and which build it is.

use prometheus::{Counter, Opts};
#[cfg(target_os = "linux")]
use prometheus::{
    core::{Collector, Desc},
    process_collector::ProcessCollector,
    proto::{self, MetricFamily},
};
#[cfg(target_os = "linux")]
use rustix::time::{ClockId, clock_gettime};
use tokio::runtime;

use super::Metrics;

/// Adds the process' own metrics, and what runs.
pub(crate) fn watch_process(metrics: &Metrics, version: &str, revision: &str) {
    let build =
        metrics.gauge_vec("build_info", "Always 1; its labels tell what runs.", &["version", "revision"]);
    build.with_label_values(&[version, revision]).set(1);
    #[cfg(target_os = "linux")]
    metrics.registry().register(Box::new(Process(ProcessCollector::for_self()))).expect("registered once");
}

/// What the library tells of the process, with the CPU time as a fraction; it counts whole seconds.
#[cfg(target_os = "linux")]
struct Process(ProcessCollector);

#[cfg(target_os = "linux")]
impl Collector for Process {
    fn desc(&self) -> Vec<&Desc> {
        self.0.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut families = self.0.collect();
        let cpu = families.iter_mut().find(|family| family.name() == "process_cpu_seconds_total");
        for metric in cpu.into_iter().flat_map(MetricFamily::mut_metric) {
            let mut seconds = proto::Counter::default();
            let used = clock_gettime(ClockId::ProcessCPUTime);
            seconds.set_value(used.tv_sec as f64 + used.tv_nsec as f64 / 1e9);
            metric.set_counter(seconds);
        }
        families
    }
}

/// Adds the stable metrics of the runtime that serves.
pub(crate) fn watch_runtime(metrics: &Metrics, runtime: &runtime::Handle) {
    let workers = metrics.gauge("tokio_workers", "Worker threads of the main runtime.");
    let tasks = metrics.gauge("tokio_alive_tasks", "Tasks of the main runtime that have not ended.");
    let queued =
        metrics.gauge("tokio_global_queue_depth", "Tasks waiting in the main runtime's global queue.");
    let parks = metrics.counter("tokio_worker_parks_total", "Times that workers had nothing to do.");
    let busy = metrics.add(Counter::with_opts(Opts::new(
        "tokio_workers_busy_seconds_total",
        "Time that all workers together have been busy.",
    )));
    let runtime = runtime.metrics();
    metrics.on_scrape(move || {
        let each = || 0..runtime.num_workers();
        workers.set(runtime.num_workers() as i64);
        tasks.set(runtime.num_alive_tasks() as i64);
        queued.set(runtime.global_queue_depth() as i64);
        let parked: u64 = each().map(|worker| runtime.worker_park_count(worker)).sum();
        parks.inc_by(parked.saturating_sub(parks.get()));
        let total: f64 = each().map(|worker| runtime.worker_total_busy_duration(worker).as_secs_f64()).sum();
        // Less than nothing is what rounding may leave, or another scrape at the same time.
        busy.inc_by((total - busy.get()).max(0.0));
    });
}
