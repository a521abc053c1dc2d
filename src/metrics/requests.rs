//! How a request is measured: one histogram by method, route, status and version, and what went wrong.
//!
//! Names follow <https://opentelemetry.io/docs/specs/semconv/http/http-metrics/> in Prometheus form.

use std::{
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use axum::{
    Extension, Router,
    body::Body,
    extract::{MatchedPath, Request},
    http::{StatusCode, Version},
    routing::any,
};
use futures_util::FutureExt;
use prometheus::{Histogram, HistogramVec, IntCounter, IntGaugeVec};
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
const SCHEME: &str = "http";

/// The route of requests that no route matched.
const UNMATCHED: &str = "unmatched";

/// What is counted of the service's requests.
#[derive(Debug)]
pub(crate) struct RequestMetrics {
    durations: HistogramVec,
    active: Arc<[AtomicU32; METHODS.len()]>,
    routes: Arc<Mutex<Vec<Arc<Series>>>>,
    shed: Vec<IntCounter>,
    waits: Histogram,
    limits: IntGaugeVec,
    /// Requests answered 504 because their handler took too long.
    pub(crate) timed_out: IntCounter,
    /// Requests worked on to their end though their caller had left.
    pub(crate) outlived: IntCounter,
    /// Requests answered 500 because their handler panicked.
    pub(crate) panics: IntCounter,
}

impl RequestMetrics {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        let by_method = metrics.gauge_vec(
            "http_server_active_requests",
            "Requests whose response has not begun; one whose body is still sent is not counted any more.",
            &["http_request_method", "url_scheme"],
        );
        let active = Arc::new([const { AtomicU32::new(0) }; METHODS.len()]);
        let counted = active.clone();
        let by_route = |name, help| metrics.gauge_vec(name, help, &["http_route"]);
        let in_flight =
            by_route("http_server_route_active_requests", "Requests whose response has not begun, by route.");
        let oldest = by_route(
            "http_server_route_oldest_request_seconds",
            "Age of the oldest; 512 s begin at 0 again.",
        );
        let routes = Arc::new(Mutex::new(Vec::<Arc<Series>>::new()));
        let watched = routes.clone();
        metrics.on_scrape(move || {
            for (method, count) in METHODS.iter().zip(counted.iter()) {
                by_method.with_label_values(&[method, SCHEME]).set(count.load(Relaxed).into());
            }
            in_flight.reset();
            oldest.reset();
            // Each method of a route has one of its own.
            for series in watched.lock().expect("nothing panics while it holds this").iter() {
                let Some(route) = series.name.get() else { continue };
                let (count, age) = series.in_flight();
                in_flight.with_label_values(&[route]).add(count);
                let oldest = oldest.with_label_values(&[route]);
                oldest.set(oldest.get().max(age));
            }
        });
        Self {
            routes,
            durations: metrics.histogram_vec(
                "http_server_request_duration_seconds",
                "Time from the head of a request to the head of its response.",
                &BUCKETS,
                &[
                    "http_request_method",
                    "http_route",
                    "http_response_status_code",
                    "network_protocol_version",
                    "url_scheme",
                ],
            ),
            active,
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
            outlived: metrics.counter(
                "http_server_requests_outlived_total",
                "Requests whose caller left and whose handler went on, as its route says.",
            ),
            panics: metrics
                .counter("http_server_panics_total", "Requests answered 500 because their handler panicked."),
        }
    }

    /// What is kept of one route.
    pub(crate) fn series(&self) -> Arc<Series> {
        let series = Arc::new(Series::new());
        self.routes.lock().expect("nothing panics while it holds this").push(series.clone());
        series
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
    pub(crate) fn limited(&self, route: &str, limit: usize) {
        match i64::try_from(limit) {
            Ok(limit) => self.limits.with_label_values(&[route]).set(limit),
            // It may not be there.
            Err(_) => drop(self.limits.remove_label_values(&[route])),
        }
    }

    /// A request has begun.
    pub(crate) fn begin(&self, request: &Measured) {
        self.active[request.method.0].fetch_add(1, Relaxed);
    }

    /// It has its response, or needs none any more.
    pub(crate) fn end(&self, request: &Measured) {
        self.active[request.method.0].fetch_sub(1, Relaxed);
    }

    /// Requests whose response has not begun.
    pub(crate) fn in_flight(&self) -> usize {
        self.active.iter().map(|count| count.load(Relaxed) as usize).sum()
    }
}

/// What a request is measured as.
#[derive(Debug)]
pub(crate) struct Measured {
    method: MethodLabel,
    version: Version,
    /// The place of the second that it began in.
    second: usize,
}

/// The place of a method among [`METHODS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MethodLabel(usize);

impl Measured {
    pub(crate) fn begin(request: &Request, series: &Series, arrived: Instant) -> Self {
        let method = METHODS.iter().position(|known| *known == request.method().as_str());
        let method = MethodLabel(method.unwrap_or(METHODS.len() - 1));
        series.name.get_or_init(|| match request.extensions().get::<MatchedPath>() {
            Some(route) => route.as_str().to_owned(),
            None => nested_service(request).unwrap_or_else(|| UNMATCHED.to_owned()),
        });
        Self { method, version: request.version(), second: series.begin(arrived) }
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
#[derive(Debug)]
pub(crate) struct Series {
    slots: [OnceLock<Slot>; 16],
    /// The route, or what stands for it where none matched.
    name: OnceLock<String>,
    /// Requests without a response, by the second that they began in: their ages, for two atomic additions each.
    begun: [AtomicU32; 512],
    since: Instant,
}

#[derive(Debug)]
struct Slot {
    method: MethodLabel,
    version: Version,
    status: StatusCode,
    histogram: Histogram,
}

impl Series {
    fn new() -> Self {
        let (slots, begun) = ([const { OnceLock::new() }; _], [const { AtomicU32::new(0) }; _]);
        Self { slots, name: OnceLock::new(), begun, since: Instant::now() }
    }

    fn begin(&self, arrived: Instant) -> usize {
        let second = arrived.saturating_duration_since(self.since).as_secs() as usize % self.begun.len();
        self.begun[second].fetch_add(1, Relaxed);
        second
    }

    /// A request has its response, or needs none any more.
    pub(crate) fn end(&self, request: &Measured) {
        self.begun[request.second].fetch_sub(1, Relaxed);
    }

    /// How many requests have no response yet, and the age of the oldest.
    fn in_flight(&self) -> (i64, i64) {
        let (now, all) = (self.since.elapsed().as_secs() as usize, self.begun.len());
        let of_age = |age: usize| i64::from(self.begun[(now + all - age) % all].load(Relaxed));
        let oldest = (0..all).rfind(|age| of_age(*age) > 0).unwrap_or(0);
        ((0..=oldest).map(of_age).sum(), oldest as i64)
    }

    /// The route, as metrics and logs write it.
    pub(crate) fn route(&self) -> &str {
        self.name.get().map_or(UNMATCHED, String::as_str)
    }

    pub(crate) fn observe(
        &self,
        metrics: &RequestMetrics,
        request: &Measured,
        status: StatusCode,
        took: Duration,
    ) {
        let &Measured { method, version, .. } = request;
        let histogram = || {
            let (method, route, version) = (METHODS[method.0], self.route(), version_label(version));
            metrics.durations.with_label_values(&[method, route, status.as_str(), version, SCHEME])
        };
        let seconds = took.as_secs_f64();
        for slot in &self.slots {
            let slot = slot.get_or_init(|| Slot { method, version, status, histogram: histogram() });
            if (slot.method, slot.version, slot.status) == (method, version, status) {
                return slot.histogram.observe(seconds);
            }
        }
        histogram().observe(seconds);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_in_flight_are_told_with_the_age_of_the_oldest_also_when_the_seconds_begin_again() {
        for age in [0, 7, 511, 512, 600, 3 * 512 + 100] {
            let now = Instant::now();
            let series = Series { since: now - Duration::from_secs(age), ..Series::new() };
            let ago = |seconds| now - Duration::from_secs(age.min(seconds));
            let begun = [0, 3, 300].map(|seconds| series.begin(ago(seconds)));
            assert_eq!(series.in_flight(), (3, age.min(300) as i64), "{age} s");
            for (second, left) in begun.into_iter().rev().zip([(2, age.min(3)), (1, 0), (0, 0)]) {
                series.end(&Measured { method: MethodLabel(0), version: Version::HTTP_11, second });
                assert_eq!(series.in_flight(), (left.0, left.1 as i64), "{age} s");
            }
        }
    }
}
