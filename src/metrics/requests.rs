//! How a request is measured: one histogram by method, route and status, and what went wrong.
//!
//! Names follow <https://opentelemetry.io/docs/specs/semconv/http/http-metrics/> in Prometheus form.

use std::{sync::OnceLock, time::Duration};

use axum::{
    extract::{MatchedPath, Request},
    http::StatusCode,
};
use prometheus::{Histogram, HistogramVec, IntCounter, IntGauge};

use super::Metrics;

/// Seconds, as the OpenTelemetry convention advises for request durations.
const BUCKETS: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// The methods that get a label value of their own; `_OTHER` stands for all the rest.
const METHODS: [&str; 10] =
    ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE", "_OTHER"];

/// The route of requests that no route matched.
const UNMATCHED: &str = "unmatched";

/// What is counted of the service's requests.
#[derive(Debug)]
pub(crate) struct RequestMetrics {
    durations: HistogramVec,
    active: Vec<IntGauge>,
    /// Requests answered 503 because too many were in flight.
    pub(crate) shed: IntCounter,
    /// Requests answered 503 because their handler took too long.
    pub(crate) timed_out: IntCounter,
    /// Requests answered 500 because their handler panicked.
    pub(crate) panics: IntCounter,
}

impl RequestMetrics {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        Self {
            durations: metrics.histogram_vec(
                "http_server_request_duration_seconds",
                "Time from the head of a request to the head of its response.",
                &BUCKETS,
                &["http_request_method", "http_route", "http_response_status_code"],
            ),
            active: metrics.gauges(
                "http_server_active_requests",
                "Requests whose response has not begun.",
                "http_request_method",
                &METHODS,
            ),
            shed: metrics.counter(
                "http_server_requests_shed_total",
                "Requests answered 503 because too many were in flight.",
            ),
            timed_out: metrics.counter(
                "http_server_requests_timed_out_total",
                "Requests answered 503 because their handler took too long.",
            ),
            panics: metrics
                .counter("http_server_panics_total", "Requests answered 500 because their handler panicked."),
        }
    }

    /// Requests of this method whose response has not begun.
    pub(crate) fn active(&self, method: MethodLabel) -> &IntGauge {
        &self.active[method.0]
    }
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

    fn histogram(&self, metrics: &RequestMetrics, status: StatusCode) -> Histogram {
        metrics.durations.with_label_values(&[METHODS[self.method.0], self.route(), status.as_str()])
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
    pub(crate) fn observe(
        &self,
        metrics: &RequestMetrics,
        request: &Measured,
        status: StatusCode,
        took: Duration,
    ) {
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
