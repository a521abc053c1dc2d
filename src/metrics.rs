//! The registry, what the service counts, and how a request is measured.
//!
//! Names follow <https://opentelemetry.io/docs/specs/semconv/http/http-metrics/> in Prometheus form.

use std::{
    fmt,
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use axum::{
    extract::{MatchedPath, Request},
    http::StatusCode,
};
use prometheus::{
    Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder, core::Collector,
};

use crate::shutdown::{Lifecycle, Phase};

/// Seconds, as the OpenTelemetry convention advises for request durations.
const BUCKETS: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// The methods that get a label value of their own; `_OTHER` stands for all the rest.
const METHODS: [&str; 10] =
    ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE", "_OTHER"];

/// The route of requests that no route matched.
const UNMATCHED: &str = "unmatched";

/// Everything that is counted, in a registry of its own. A clone is another handle to the same.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    registry: Registry,
    on_scrape: Mutex<Vec<Box<dyn Fn() + Send>>>,
    durations: HistogramVec,
    active: Vec<IntGauge>,
    counters: Counters,
}

/// What the server counts; each handle is resolved once, so that counting is one atomic addition.
#[derive(Debug)]
pub struct Counters {
    /// Requests that arrived, by [`Phase`].
    pub requests: Vec<IntCounter>,
    /// Connections that were accepted, by [`Phase`].
    pub connections: Vec<IntCounter>,
    /// Connections open now, by [`crate::server::Protocol`].
    pub open: Vec<IntGauge>,
    /// Connections that ended, by [`crate::server::End`].
    pub ended: Vec<IntCounter>,
    /// Failed attempts to accept a connection, as when file descriptors run out.
    pub accept_errors: IntCounter,
    /// Requests answered 503 because too many were in flight.
    pub shed: IntCounter,
    /// Requests answered 503 because their handler took too long.
    pub timed_out: IntCounter,
    /// Requests answered 500 because their handler panicked.
    pub panics: IntCounter,
}

impl Counters {
    /// Connections open now, whatever is spoken on them.
    pub fn connections_open(&self) -> i64 {
        self.open.iter().map(IntGauge::get).sum()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Metrics").field(&self.0.counters).finish()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// A new registry with everything in it at zero.
    pub fn new() -> Self {
        let registry = Registry::new();
        let opts = HistogramOpts::new(
            "http_server_request_duration_seconds",
            "Time from the head of a request to the head of its answer.",
        );
        let durations = HistogramVec::new(
            opts.buckets(BUCKETS.to_vec()),
            &["http_request_method", "http_route", "http_response_status_code"],
        );
        let durations = add(&registry, durations);
        let active = gauges(
            &registry,
            "http_server_active_requests",
            "Requests being answered.",
            "http_request_method",
            &METHODS,
        );
        let phases = Phase::ALL.map(Phase::name);
        let counters = Counters {
            requests: counters(
                &registry,
                "lifecycle_requests_total",
                "Requests that arrived, by lifecycle phase.",
                "phase",
                &phases,
            ),
            connections: counters(
                &registry,
                "lifecycle_connections_total",
                "Connections accepted, by lifecycle phase.",
                "phase",
                &phases,
            ),
            open: gauges(
                &registry,
                "server_connections_open",
                "Connections open, by protocol; undecided until the first bytes came.",
                "network_protocol_name",
                &crate::server::Protocol::NAMES,
            ),
            ended: counters(
                &registry,
                "server_connections_ended_total",
                "Connections that ended, by what ended them.",
                "reason",
                &crate::server::End::NAMES,
            ),
            accept_errors: counter(
                &registry,
                "server_accept_errors_total",
                "Failed attempts to accept a connection.",
            ),
            shed: counter(
                &registry,
                "http_server_requests_shed_total",
                "Requests answered 503 because too many were in flight.",
            ),
            timed_out: counter(
                &registry,
                "http_server_requests_timed_out_total",
                "Requests answered 503 because their handler took too long.",
            ),
            panics: counter(
                &registry,
                "http_server_panics_total",
                "Requests answered 500 because their handler panicked.",
            ),
        };
        let build = IntGaugeVec::new(
            Opts::new("build_info", "Always 1; its labels tell what runs."),
            &["version", "revision"],
        );
        add(&registry, build).with_label_values(&[crate::VERSION, crate::REVISION]).set(1);
        #[cfg(target_os = "linux")]
        registry
            .register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))
            .expect("registered once");
        let on_scrape = Mutex::default();
        Self(Arc::new(Inner { registry, on_scrape, durations, active, counters }))
    }

    /// What the server counts.
    pub fn counters(&self) -> &Counters {
        &self.0.counters
    }

    /// Requests of this method that are being answered.
    pub(crate) fn active(&self, method: MethodLabel) -> &IntGauge {
        &self.0.active[method.0]
    }

    /// Where the service registers metrics of its own.
    pub fn registry(&self) -> &Registry {
        &self.0.registry
    }

    /// Runs before each scrape, to bring gauges up to date.
    pub fn on_scrape(&self, refresh: impl Fn() + Send + 'static) {
        self.0.on_scrape.lock().expect("no refresh panics").push(Box::new(refresh));
    }

    /// Everything in Prometheus' text format.
    pub fn render(&self) -> String {
        for refresh in self.0.on_scrape.lock().expect("no refresh panics").iter() {
            refresh();
        }
        let mut text = String::new();
        TextEncoder::new()
            .encode_utf8(&self.0.registry.gather(), &mut text)
            .expect("metric names and labels are UTF-8");
        text
    }

    /// Adds the lifecycle phase: 1 for the phase the process is in, 0 for the others.
    pub fn watch_lifecycle(&self, lifecycle: &Lifecycle) {
        let phases = gauges(
            &self.0.registry,
            "lifecycle_phase",
            "1 for the phase that the process is in.",
            "phase",
            &Phase::ALL.map(Phase::name),
        );
        let lifecycle = lifecycle.clone();
        self.on_scrape(move || {
            for (gauge, phase) in phases.iter().zip(Phase::ALL) {
                gauge.set((lifecycle.phase() == phase).into());
            }
        });
    }

    /// Adds the stable metrics of the runtime that serves.
    pub fn watch_runtime(&self, runtime: &tokio::runtime::Handle) {
        let registry = &self.0.registry;
        let gauge = |name: &str, help: &str| add(registry, IntGauge::with_opts(Opts::new(name, help)));
        let workers = gauge("tokio_workers", "Worker threads of the main runtime.");
        let tasks = gauge("tokio_alive_tasks", "Tasks of the main runtime that have not ended.");
        let queued = gauge("tokio_global_queue_depth", "Tasks waiting in the main runtime's global queue.");
        let parks = counter(registry, "tokio_worker_parks_total", "Times that workers had nothing to do.");
        // A gauge by type, because prometheus' float counter can't be set to a total that tokio keeps itself.
        let busy = add(
            registry,
            Gauge::with_opts(Opts::new("tokio_workers_busy_seconds", "Time that workers have been busy.")),
        );
        let runtime = runtime.metrics();
        self.on_scrape(move || {
            let each = || 0..runtime.num_workers();
            workers.set(runtime.num_workers() as i64);
            tasks.set(runtime.num_alive_tasks() as i64);
            queued.set(runtime.global_queue_depth() as i64);
            let parked: u64 = each().map(|worker| runtime.worker_park_count(worker)).sum();
            parks.inc_by(parked.saturating_sub(parks.get()));
            busy.set(each().map(|worker| runtime.worker_total_busy_duration(worker).as_secs_f64()).sum());
        });
    }

    /// A gauge per health check, 1 when it is up; [`Gauge::set`] it from [`Metrics::on_scrape`].
    pub(crate) fn health_checks(&self) -> IntGaugeVec {
        let opts = Opts::new("health_check_up", "1 when the health check passes.");
        add(&self.0.registry, IntGaugeVec::new(opts, &["endpoint", "check"]))
    }
}

fn add<C: Collector + Clone + 'static>(registry: &Registry, metric: prometheus::Result<C>) -> C {
    let metric = metric.expect("name and labels are valid");
    registry.register(Box::new(metric.clone())).expect("each name is registered once");
    metric
}

fn counter(registry: &Registry, name: &str, help: &str) -> IntCounter {
    add(registry, IntCounter::with_opts(Opts::new(name, help)))
}

fn counters(registry: &Registry, name: &str, help: &str, label: &str, values: &[&str]) -> Vec<IntCounter> {
    let family = add(registry, IntCounterVec::new(Opts::new(name, help), &[label]));
    values.iter().map(|value| family.with_label_values(&[value])).collect()
}

fn gauges(registry: &Registry, name: &str, help: &str, label: &str, values: &[&str]) -> Vec<IntGauge> {
    let family = add(registry, IntGaugeVec::new(Opts::new(name, help), &[label]));
    values.iter().map(|value| family.with_label_values(&[value])).collect()
}

/// What a request is measured as.
#[derive(Debug)]
pub(crate) struct Measured {
    method: MethodLabel,
    route: Option<MatchedPath>,
}

/// The place of a method among [`METHODS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MethodLabel(usize);

impl Measured {
    pub(crate) fn begin(request: &Request) -> Self {
        let method = METHODS.iter().position(|known| *known == request.method().as_str());
        let method = MethodLabel(method.unwrap_or(METHODS.len() - 1));
        Self { method, route: request.extensions().get::<MatchedPath>().cloned() }
    }

    pub(crate) fn method(&self) -> MethodLabel {
        self.method
    }

    fn route(&self) -> &str {
        self.route.as_ref().map_or(UNMATCHED, MatchedPath::as_str)
    }

    fn histogram(&self, metrics: &Metrics, status: StatusCode) -> Histogram {
        metrics.0.durations.with_label_values(&[METHODS[self.method.0], self.route(), status.as_str()])
    }
}

/// The histograms that one route has used, found again without a lock: axum wraps each route on its own, so
/// that a handful of slots hold all of its methods and statuses.
#[derive(Debug, Default)]
pub(crate) struct Series([OnceLock<Slot>; 16]);

#[derive(Debug)]
struct Slot {
    route: String,
    method: MethodLabel,
    status: StatusCode,
    histogram: Histogram,
}

impl Series {
    pub(crate) fn observe(&self, metrics: &Metrics, request: &Measured, status: StatusCode, took: Duration) {
        let seconds = took.as_secs_f64();
        for slot in &self.0 {
            let Slot { route, method, histogram, status: known } = slot.get_or_init(|| Slot {
                route: request.route().to_owned(),
                method: request.method,
                status,
                histogram: request.histogram(metrics, status),
            });
            if (*method, *known, route.as_str()) == (request.method, status, request.route()) {
                return histogram.observe(seconds);
            }
        }
        request.histogram(metrics, status).observe(seconds);
    }
}
