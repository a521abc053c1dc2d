//! What wraps every request of the service, in one place and in order.

use std::{
    any::Any,
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use pin_project_lite::pin_project;
use tokio::time::{Timeout, timeout};
use tower::{Layer, Service, ServiceBuilder};
use tower_http::{
    catch_panic::CatchPanicLayer, limit::RequestBodyLimitLayer, timeout::RequestBodyTimeoutLayer,
};

use crate::{
    config::Config,
    error::{Problem, or_problem},
    metrics::{Metrics, MetricsLayer},
    trace::TraceLayer,
};

/// Wraps the service's routes. What stands further up sees what those below it answer: a request that was shed
/// or timed out, or whose handler panicked, is traced and measured like any other.
pub fn wrap(routes: Router, config: &Config, metrics: &Metrics) -> Router {
    let panics = metrics.clone();
    routes.layer(
        ServiceBuilder::new()
            .layer(TraceLayer::new(config))
            .layer(MetricsLayer::new(metrics))
            .map_response(or_problem)
            .layer(ShedLayer::new(config.max_in_flight.get(), metrics))
            .layer(DeadlineLayer { limit: config.request_timeout.0, metrics: metrics.clone() })
            .layer(RequestBodyTimeoutLayer::new(config.stall_timeout.0))
            .layer(RequestBodyLimitLayer::new(config.body_limit))
            // axum's own limit would cut in at 2 MB.
            .layer(DefaultBodyLimit::disable())
            .layer(CatchPanicLayer::custom(move |_: Box<dyn Any + Send>| {
                panics.counters().panics.inc();
                Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the service failed; the log says more")
                    .into_response()
            })),
    )
}

/// Answers 503 with Retry-After while too many requests are being worked on. A request counts until its answer
/// begins, so that long streams don't starve the others.
#[derive(Debug, Clone)]
struct ShedLayer {
    limit: usize,
    working: Arc<AtomicUsize>,
    metrics: Metrics,
}

impl ShedLayer {
    fn new(limit: usize, metrics: &Metrics) -> Self {
        Self { limit, working: Arc::default(), metrics: metrics.clone() }
    }
}

impl<S> Layer<S> for ShedLayer {
    type Service = Shed<S>;

    fn layer(&self, inner: S) -> Shed<S> {
        Shed { inner, layer: self.clone() }
    }
}

#[derive(Debug, Clone)]
struct Shed<S> {
    inner: S,
    layer: ShedLayer,
}

/// A place among the requests that are worked on.
#[derive(Debug)]
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl<S> Service<Request> for Shed<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = ShedFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let before = self.layer.working.fetch_add(1, Relaxed);
        let place = Place(self.layer.working.clone());
        if before < self.layer.limit {
            return ShedFuture::Taken { inner: self.inner.call(request), place };
        }
        self.layer.metrics.counters().shed.inc();
        ShedFuture::Shed
    }
}

pin_project! {
    #[project = ShedProjection]
    enum ShedFuture<F> {
        Taken {
            #[pin]
            inner: F,
            place: Place,
        },
        Shed,
    }
}

impl<F: Future<Output = Result<Response, Infallible>>> Future for ShedFuture<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            ShedProjection::Taken { inner, .. } => inner.poll(cx),
            ShedProjection::Shed => Poll::Ready(Ok(Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "too many requests are in flight; try again later",
            )
            .with_header(header::RETRY_AFTER, HeaderValue::from_static("1"))
            .into_response())),
        }
    }
}

/// Answers 503 when a handler has not begun its answer in time. Unlike tower-http's, it sets no timer for a
/// handler that answers at once, and it counts.
#[derive(Debug, Clone)]
struct DeadlineLayer {
    limit: Duration,
    metrics: Metrics,
}

impl<S> Layer<S> for DeadlineLayer {
    type Service = Deadline<S>;

    fn layer(&self, inner: S) -> Deadline<S> {
        Deadline { inner, layer: self.clone() }
    }
}

#[derive(Debug, Clone)]
struct Deadline<S> {
    inner: S,
    layer: DeadlineLayer,
}

impl<S> Service<Request> for Deadline<S>
where
    S: Service<Request, Error = Infallible>,
    S::Response: IntoResponse,
{
    type Response = Response;
    type Error = Infallible;
    type Future = DeadlineFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let metrics = self.layer.metrics.clone();
        DeadlineFuture { inner: timeout(self.layer.limit, self.inner.call(request)), metrics }
    }
}

pin_project! {
    struct DeadlineFuture<F> {
        #[pin]
        inner: Timeout<F>,
        metrics: Metrics,
    }
}

impl<F, R> Future for DeadlineFuture<F>
where
    F: Future<Output = Result<R, Infallible>>,
    R: IntoResponse,
{
    type Output = Result<Response, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        Poll::Ready(Ok(match ready!(this.inner.poll(cx)) {
            Ok(Ok(response)) => response.into_response(),
            Err(_) => {
                this.metrics.counters().timed_out.inc();
                Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the answer took too long").into_response()
            }
        }))
    }
}
