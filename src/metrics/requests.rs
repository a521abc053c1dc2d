//! How a request is measured: one histogram by method, route, status and version, and what went wrong.
//!
//! Names follow <https://opentelemetry.io/docs/specs/semconv/http/http-metrics/> in Prometheus form.

use std::{sync::OnceLock, time::Duration};

use axum::{
    Extension, Router,
    body::Body,
    extract::{MatchedPath, Request},
    http::{StatusCode, Version},
    routing::any,
};
use futures_util::FutureExt;
use prometheus::{Histogram, HistogramOpts, HistogramVec, IntCounter, IntGauge, IntGaugeVec, Opts};
use tower::ServiceExt;

use super::Metrics;

/// Seconds, as the OpenTelemetry convention advises for request durations.
const BUCKETS: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// Seconds that requests wait.
const WAITS: [f64; 6] = [0.025, 0.05, 0.1, 0.15, 0.25, 1.0];

/// Why a request was shed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shed {
    /// It has waited too long for a thread.
    Wait,
    /// Its route does not keep pace.
    Pace,
    /// Too many are in flight.
    InFlight,
}

impl Shed {
    const NAMES: [&str; 3] = ["wait", "pace", "in_flight"];
}

/// The methods that get a label value of their own; `_OTHER` stands for all the rest.
const METHODS: [&str; 10] =
    ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE", "_OTHER"];

/// The scheme of all requests: TLS ends in front of the pod.
const SCHEME: (&str, &str) = ("url_scheme", "http");

/// The route of requests that no route matched.
const UNMATCHED: &str = "unmatched";

/// What is counted of the service's requests.
#[derive(Debug)]
pub(crate) struct RequestMetrics {
    durations: HistogramVec,
    active: Vec<IntGauge>,
    shed: Vec<IntCounter>,
    waits: Histogram,
    limits: IntGaugeVec,
    /// Requests answered 504 because their handler took too long.
    pub(crate) timed_out: IntCounter,
    /// Requests answered 500 because their handler panicked.
    pub(crate) panics: IntCounter,
}

impl RequestMetrics {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        let active = metrics.add(IntGaugeVec::new(
            Opts::new(
                "http_server_active_requests",
                "Requests whose response has not begun; one whose body is still sent is not counted any more.",
            )
            .const_label(SCHEME.0, SCHEME.1),
            &["http_request_method"],
        ));
        Self {
            durations: metrics.add(HistogramVec::new(
                HistogramOpts::new(
                    "http_server_request_duration_seconds",
                    "Time from the head of a request to the head of its response.",
                )
                .const_label(SCHEME.0, SCHEME.1)
                .buckets(BUCKETS.to_vec()),
                &[
                    "http_request_method",
                    "http_route",
                    "http_response_status_code",
                    "network_protocol_version",
                ],
            )),
            active: METHODS.map(|method| active.with_label_values(&[method])).to_vec(),
            shed: metrics.counters(
                "http_server_requests_shed_total",
                "Requests answered 503 because they waited too long, their route did not keep pace, or too many were in flight.",
                "reason",
                &Shed::NAMES,
            ),
            waits: metrics.histogram(
                "http_server_request_wait_seconds",
                "How long requests waited for a thread, of those that did so for 10 ms or longer.",
                &WAITS,
            ),
            limits: metrics.gauge_vec(
                "http_server_admission_limit",
                "Requests of a route worked on at once, as long as it can't keep pace.",
                &["http_route"],
            ),
            timed_out: metrics.counter(
                "http_server_requests_timed_out_total",
                "Requests answered 504 because their handler took too long.",
            ),
            panics: metrics
                .counter("http_server_panics_total", "Requests answered 500 because their handler panicked."),
        }
    }

    /// Counts a request that is shed.
    pub(crate) fn shed(&self, reason: Shed) {
        self.shed[reason as usize].inc();
    }

    /// A request has waited so long for a thread.
    pub(crate) fn waited(&self, wait: Duration) {
        self.waits.observe(wait.as_secs_f64());
    }

    /// Of a route no more are admitted at once; `usize::MAX` is any number.
    pub(crate) fn limited(&self, request: &Measured, limit: usize) {
        let route = request.route.as_ref().map_or(UNMATCHED, MatchedPath::as_str);
        match i64::try_from(limit) {
            Ok(limit) => self.limits.with_label_values(&[route]).set(limit),
            // It may not be there.
            Err(_) => drop(self.limits.remove_label_values(&[route])),
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
    version: Version,
    route: Option<MatchedPath>,
}

/// The place of a method among [`METHODS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MethodLabel(usize);

impl Measured {
    pub(crate) fn begin(request: &Request, series: &Series) -> Self {
        let method = METHODS.iter().position(|known| *known == request.method().as_str());
        let method = MethodLabel(method.unwrap_or(METHODS.len() - 1));
        let route = request.extensions().get::<MatchedPath>().cloned();
        if route.is_none() {
            series.unmatched.get_or_init(|| nested_service(request).unwrap_or_else(|| UNMATCHED.to_owned()));
        }
        Self { method, version: request.version(), route }
    }

    pub(crate) fn method(&self) -> MethodLabel {
        self.method
    }
}

/// The path of the service that was nested with `nest_service` and has got this request. axum tells it to routes inside
/// of that service only, so one is asked.
fn nested_service(request: &Request) -> Option<String> {
    const INSIDE: &str = "/{*path}";
    let router = Router::new().route(INSIDE, any(async |route: MatchedPath| Extension(route)));
    let mut inside = Request::get("/path").body(Body::empty()).expect("the path is valid");
    *inside.extensions_mut() = request.extensions().clone();
    let Ok(response) = router.oneshot(inside).now_or_never()?;
    let path = response.extensions().get::<MatchedPath>()?.as_str();
    (path != INSIDE).then(|| path.to_owned())
}

/// As the convention writes it.
fn version_label(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "0.9",
        Version::HTTP_10 => "1.0",
        Version::HTTP_11 => "1.1",
        Version::HTTP_2 => "2",
        _ => "3",
    }
}

/// The histograms that one route has used, found again without a lock: axum wraps each route on its own, so
/// that a handful of slots hold all of its methods, versions and statuses.
#[derive(Debug, Default)]
pub(crate) struct Series {
    slots: [OnceLock<Slot>; 16],
    /// What stands for the route where none matched.
    unmatched: OnceLock<String>,
}

#[derive(Debug)]
struct Slot {
    route: String,
    method: MethodLabel,
    version: Version,
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
        let &Measured { method, version, .. } = request;
        let route = match &request.route {
            Some(route) => route.as_str(),
            None => self.unmatched.get().map_or(UNMATCHED, String::as_str),
        };
        let histogram = || {
            let method = METHODS[method.0];
            metrics.durations.with_label_values(&[method, route, status.as_str(), version_label(version)])
        };
        let seconds = took.as_secs_f64();
        for slot in &self.slots {
            let slot = slot.get_or_init(|| Slot {
                route: route.to_owned(),
                method,
                version,
                status,
                histogram: histogram(),
            });
            if (slot.method, slot.version, slot.status) == (method, version, status) && slot.route == route {
                return slot.histogram.observe(seconds);
            }
        }
        histogram().observe(seconds);
    }
}
