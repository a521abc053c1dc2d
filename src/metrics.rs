//! The registry: what everybody counts with, and what a scrape gets.

pub(crate) mod process;
pub(crate) mod requests;

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex},
};

pub use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry};
use prometheus::{HistogramOpts, Opts, TextEncoder, core::Collector};

/// Everything that is counted, in a registry of its own. A clone is another handle to the same.
///
/// The methods that add a metric panic when its name is no metric name or is taken: a fault in the code, seen at the
/// first start.
#[derive(Clone, Default)]
pub struct Metrics(Arc<Inner>);

#[derive(Default)]
struct Inner {
    registry: Registry,
    on_scrape: Mutex<Vec<Box<dyn Fn() + Send>>>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    /// A new registry with nothing in it.
    pub fn new() -> Self {
        Self::default()
    }

    /// Where metrics of other kinds are registered.
    pub fn registry(&self) -> &Registry {
        &self.0.registry
    }

    /// Adds a counter: a number that only goes up.
    pub fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.add(IntCounter::with_opts(Opts::new(name, help)))
    }

    /// Adds a family of counters, one for each combination of label values.
    pub fn counter_vec(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.add(IntCounterVec::new(Opts::new(name, help), labels))
    }

    /// Adds a gauge: a number that goes up and down.
    pub fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.add(IntGauge::with_opts(Opts::new(name, help)))
    }

    /// Adds a family of gauges.
    pub fn gauge_vec(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.add(IntGaugeVec::new(Opts::new(name, help), labels))
    }

    /// Adds a gauge that is asked for its value before each scrape.
    pub fn gauge_on_scrape(&self, name: &str, help: &str, value: impl Fn() -> i64 + Send + 'static) {
        let gauge = self.gauge(name, help);
        self.on_scrape(move || gauge.set(value()));
    }

    /// Adds a histogram with these upper bounds.
    pub fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Histogram {
        self.add(Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec())))
    }

    /// Adds a family of histograms.
    pub fn histogram_vec(&self, name: &str, help: &str, buckets: &[f64], labels: &[&str]) -> HistogramVec {
        self.add(HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets.to_vec()), labels))
    }

    /// Adds a counter for each value of one label, resolved once, so that counting is one atomic addition.
    pub(crate) fn counters(&self, name: &str, help: &str, label: &str, values: &[&str]) -> Vec<IntCounter> {
        let family = self.counter_vec(name, help, &[label]);
        values.iter().map(|value| family.with_label_values(&[value])).collect()
    }

    /// Adds a gauge for each value of one label.
    pub(crate) fn gauges(&self, name: &str, help: &str, label: &str, values: &[&str]) -> Vec<IntGauge> {
        let family = self.gauge_vec(name, help, &[label]);
        values.iter().map(|value| family.with_label_values(&[value])).collect()
    }

    pub(crate) fn add<C: Collector + Clone + 'static>(&self, metric: prometheus::Result<C>) -> C {
        let metric = metric.expect("name and labels are valid");
        self.0.registry.register(Box::new(metric.clone())).expect("each name is registered once");
        metric
    }

    /// Runs before each scrape, to bring gauges up to date. If it panics, they keep the values they had.
    pub fn on_scrape(&self, refresh: impl Fn() + Send + 'static) {
        self.0.on_scrape.lock().expect("every panic is caught").push(Box::new(refresh));
    }

    /// Everything in Prometheus' text format.
    pub fn render(&self) -> String {
        // Held until all is gathered: what another scrape begins anew would be missing here.
        let refreshes = self.0.on_scrape.lock().expect("every panic is caught");
        for refresh in refreshes.iter() {
            // The log has it.
            let _ = catch_unwind(AssertUnwindSafe(refresh));
        }
        let mut text = String::new();
        TextEncoder::new()
            .encode_utf8(&self.0.registry.gather(), &mut text)
            .expect("metric names and labels are UTF-8");
        text
    }
}
