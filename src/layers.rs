//! What wraps every request of the service, in one place and in order.
//!
//! From the outside in: request id and trace, metrics, problems for plain errors, load shedding, timeout, panics,
//! body limits, handler. What stands further out sees what those inside it answer: a request that was shed or
//! timed out, or whose handler panicked, is traced and measured like any other.

use std::{
    convert::Infallible,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::{Body, HttpBody},
    extract::{DefaultBodyLimit, Request},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use futures_util::{FutureExt, future::CatchUnwind};
use http_body_util::Limited;
use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep_until};
use tower::{Layer, Service};
use tower_http::timeout::TimeoutBody;

use crate::{
    config::Config,
    error::{Problem, or_problem},
    metrics::{Measured, MethodLabel, Metrics, Series},
    trace::{Access, Traced},
};

/// Wraps the service's routes.
pub fn wrap(routes: Router, config: &Config, metrics: &Metrics) -> Router {
    routes.layer(Layers(Arc::new(Shared {
        access: Access::from(config),
        metrics: metrics.clone(),
        max_in_flight: config.max_in_flight.get(),
        in_flight: AtomicUsize::new(0),
        request_timeout: config.request_timeout.0,
        stall_timeout: config.stall_timeout.0,
        body_limit: config.body_limit,
    })))
}

#[derive(Debug)]
struct Shared {
    access: Access,
    metrics: Metrics,
    max_in_flight: usize,
    in_flight: AtomicUsize,
    request_timeout: Duration,
    stall_timeout: Duration,
    body_limit: usize,
}

#[derive(Debug, Clone)]
struct Layers(Arc<Shared>);

impl<S> Layer<S> for Layers {
    type Service = Wrapped<S>;

    fn layer(&self, inner: S) -> Wrapped<S> {
        Wrapped { inner, around: Arc::new(Around { shared: self.0.clone(), series: Series::default() }) }
    }
}

/// What is around one route.
#[derive(Debug)]
struct Around {
    shared: Arc<Shared>,
    series: Series,
}

/// One route with everything around it.
#[derive(Debug, Clone)]
struct Wrapped<S> {
    inner: S,
    around: Arc<Around>,
}

impl<S> Service<Request> for Wrapped<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Answering<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let started = Instant::now();
        let traced = Traced::begin(&mut request);
        let measured = Measured::begin(&request);
        let (place, is_free) = Place::take(&self.around, &measured);
        let handler = is_free.then(|| {
            let request = self.around.shared.limit_body(request);
            AssertUnwindSafe(self.inner.call(request)).catch_unwind()
        });
        Answering { handler, timer: None, started, traced, measured, place }
    }
}

pin_project! {
    /// A request on its way through the layers.
    struct Answering<F> {
        // None when there was no place for it.
        #[pin]
        handler: Option<CatchUnwind<AssertUnwindSafe<F>>>,
        // Set when the handler does not answer at once; most do.
        timer: Option<Pin<Box<Sleep>>>,
        started: Instant,
        traced: Traced,
        measured: Measured,
        place: Place,
    }
}

impl<F: Future<Output = Result<Response, Infallible>>> Future for Answering<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let _in_span = this.traced.enter();
        let Around { shared, series } = &*this.place.around;
        let answer = match this.handler.as_pin_mut().map(|handler| handler.poll(cx)) {
            None => shared.shed(),
            Some(Poll::Ready(Ok(Ok(answer)))) => answer,
            Some(Poll::Ready(Err(_panic))) => shared.panicked(),
            Some(Poll::Pending) => {
                let deadline = *this.started + shared.request_timeout;
                let timer = this.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline.into())));
                ready!(timer.as_mut().poll(cx));
                shared.timed_out()
            }
        };
        let mut answer = or_problem(answer);
        let took = this.started.elapsed();
        series.observe(&shared.metrics, this.measured, answer.status(), took);
        this.traced.end(&mut answer, took, &shared.access);
        Poll::Ready(Ok(answer))
    }
}

impl Shared {
    /// Limits how large a body may be and how long it may stall; most requests have none.
    fn limit_body(&self, mut request: Request) -> Request {
        if request.body().is_end_stream() {
            return request;
        }
        // axum's own limit would cut in at 2 MB.
        DefaultBodyLimit::disable().apply(&mut request);
        request
            .map(|body| Body::new(Limited::new(TimeoutBody::new(self.stall_timeout, body), self.body_limit)))
    }

    fn shed(&self) -> Response {
        self.metrics.counters().shed.inc();
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too many requests are in flight; try again later")
            .with_header(header::RETRY_AFTER, HeaderValue::from_static("1"))
            .into_response()
    }

    fn timed_out(&self) -> Response {
        self.metrics.counters().timed_out.inc();
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the answer took too long").into_response()
    }

    fn panicked(&self) -> Response {
        self.metrics.counters().panics.inc();
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the service failed; its log says more")
            .into_response()
    }
}

/// A place among the requests that are worked on, until the answer begins: long streams don't starve the others.
#[derive(Debug)]
struct Place {
    around: Arc<Around>,
    method: MethodLabel,
}

impl Place {
    /// Counts a request in, and tells whether there was room for it.
    fn take(around: &Arc<Around>, measured: &Measured) -> (Self, bool) {
        let place = Self { around: around.clone(), method: measured.method() };
        let Shared { metrics, in_flight, max_in_flight, .. } = &*around.shared;
        metrics.active(place.method).inc();
        let before = in_flight.fetch_add(1, Relaxed);
        (place, before < *max_in_flight)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.around.shared.in_flight.fetch_sub(1, Relaxed);
        self.around.shared.metrics.active(self.method).dec();
    }
}
