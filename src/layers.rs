//! What wraps every request of the service, in one place and in order.
//!
//! From the outside in: the service's outer layers, request id and trace, metrics, problems for plain errors, load
//! shedding, timeout, panics, body limits, the service's own layers, handler. What stands further out sees what those
//! inside it answer: a request that was shed or timed out, or whose handler panicked, is traced and measured like any
//! other.

mod limits;

use std::{
    convert::Infallible,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::{Body, HttpBody},
    extract::{DefaultBodyLimit, MatchedPath, Request},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use futures_util::{FutureExt, future::CatchUnwind};
use http_body_util::Limited;
use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep_until};
use tower::{Layer, Service};
use tower_http::timeout::TimeoutBody;

pub use self::limits::RouteLimits;
pub(crate) use self::limits::unknown_route;
use self::limits::{Limits, LimitsByRoute};
use crate::{
    config::Config,
    error::{Problem, or_problem},
    metrics::{
        Metrics,
        requests::{Measured, MethodLabel, RequestMetrics, Series},
    },
    trace::{Access, Traced},
};

/// Wraps the service's routes.
pub(crate) fn wrap(
    routes: Router,
    config: &Config,
    limits: &[(&'static str, RouteLimits)],
    metrics: &Metrics,
) -> Router {
    routes.layer(EngineLayer(Arc::new(Shared {
        access: Access { log: config.access_log, slow: config.slow_request.0 },
        metrics: RequestMetrics::new(metrics),
        max_in_flight: config.max_in_flight.get(),
        in_flight: AtomicUsize::new(0),
        stall_timeout: config.stall_timeout.0,
        limits: LimitsByRoute::new(config, limits),
    })))
}

#[derive(Debug)]
struct Shared {
    access: Access,
    metrics: RequestMetrics,
    max_in_flight: usize,
    in_flight: AtomicUsize,
    stall_timeout: Duration,
    limits: LimitsByRoute,
}

#[derive(Debug, Clone)]
struct EngineLayer(Arc<Shared>);

impl<S> Layer<S> for EngineLayer {
    type Service = EngineService<S>;

    fn layer(&self, inner: S) -> EngineService<S> {
        let route =
            Route { shared: self.0.clone(), series: self.0.metrics.series(), limits: OnceLock::new() };
        EngineService { inner, route: Arc::new(route) }
    }
}

/// What the engine keeps of one route: axum wraps each on its own.
#[derive(Debug)]
struct Route {
    shared: Arc<Shared>,
    series: Arc<Series>,
    limits: OnceLock<Limits>,
}

impl Route {
    fn limits(&self, request: &Request) -> &Limits {
        let matched = || request.extensions().get::<MatchedPath>();
        self.limits.get_or_init(|| self.shared.limits.of(matched()))
    }
}

/// One route with the engine's layers around it.
#[derive(Debug, Clone)]
struct EngineService<S> {
    inner: S,
    route: Arc<Route>,
}

impl<S> Service<Request> for EngineService<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let started = Instant::now();
        let traced = Traced::begin(&request);
        let measured = Measured::begin(&request, &self.route.series);
        let Limits { body, timeout } = *self.route.limits(&request);
        let (guard, is_free) = InFlightGuard::new(&self.route, &measured);
        let handler = is_free.then(|| {
            let request = limit_body(request, body, self.route.shared.stall_timeout);
            AssertUnwindSafe(self.inner.call(request)).catch_unwind()
        });
        ResponseFuture { handler, timeout, timer: None, started, traced, measured, guard }
    }
}

pin_project! {
    /// A request on its way through the layers.
    struct ResponseFuture<F> {
        // None when there was no room for it.
        #[pin]
        handler: Option<CatchUnwind<AssertUnwindSafe<F>>>,
        timeout: Option<Duration>,
        // Set when the handler does not answer at once; most do.
        timer: Option<Pin<Box<Sleep>>>,
        started: Instant,
        traced: Traced,
        measured: Measured,
        guard: InFlightGuard,
    }
}

impl<F: Future<Output = Result<Response, Infallible>>> Future for ResponseFuture<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let _in_span = this.traced.enter();
        let Route { shared, series, .. } = &*this.guard.route;
        let response = match this.handler.as_pin_mut().map(|handler| handler.poll(cx)) {
            None => shared.shed(),
            Some(Poll::Ready(Ok(Ok(response)))) => response,
            Some(Poll::Ready(Err(_panic))) => shared.panicked(),
            Some(Poll::Pending) => {
                let deadline = this.timeout.and_then(|limit| this.started.checked_add(limit));
                let Some(deadline) = deadline else { return Poll::Pending };
                let timer = this.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline.into())));
                ready!(timer.as_mut().poll(cx));
                shared.timed_out()
            }
        };
        let mut response = or_problem(response);
        let took = this.started.elapsed();
        series.observe(&shared.metrics, this.measured, response.status(), took);
        this.traced.end(&mut response, series.route(this.measured), took, &shared.access);
        Poll::Ready(Ok(response))
    }
}

/// Limits how large a body may be and how long it may stall; most requests have none.
fn limit_body(mut request: Request, limit: usize, stall_timeout: Duration) -> Request {
    if request.body().is_end_stream() {
        return request;
    }
    // axum's own limit would cut in at 2 MB.
    DefaultBodyLimit::disable().apply(&mut request);
    request.map(|body| Body::new(Limited::new(TimeoutBody::new(stall_timeout, body), limit)))
}

impl Shared {
    fn shed(&self) -> Response {
        self.metrics.shed.inc();
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too many requests are in flight; try again later")
            .with_header(header::RETRY_AFTER, HeaderValue::from_static("1"))
            .into_response()
    }

    fn timed_out(&self) -> Response {
        self.metrics.timed_out.inc();
        // Not 503, which proxies take leave to repeat a request for: this one may be half done.
        Problem::new(StatusCode::GATEWAY_TIMEOUT, "the response took too long").into_response()
    }

    fn panicked(&self) -> Response {
        self.metrics.panics.inc();
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the service failed; its log says more")
            .into_response()
    }
}

/// Counts a request that is worked on, until its response begins: long streams don't starve the others.
#[derive(Debug)]
struct InFlightGuard {
    route: Arc<Route>,
    method: MethodLabel,
    second: usize,
}

impl InFlightGuard {
    /// Counts a request in, and tells whether there was room for it.
    fn new(route: &Arc<Route>, measured: &Measured) -> (Self, bool) {
        let guard = Self { route: route.clone(), method: measured.method(), second: measured.second() };
        let Shared { metrics, in_flight, max_in_flight, .. } = &*route.shared;
        metrics.active(guard.method).inc();
        let before = in_flight.fetch_add(1, Relaxed);
        (guard, before < *max_in_flight)
    }
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        self.route.series.end(self.second);
        self.route.shared.in_flight.fetch_sub(1, Relaxed);
        self.route.shared.metrics.active(self.method).dec();
    }
}
