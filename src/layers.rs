//! What wraps every request of the service, in one place and in order.
//!
//! From the outside in: the service's outer layers, request id and trace, metrics, problems for plain errors, load
//! shedding, timeout, panics, body limits, the service's own layers, handler. What stands further out sees what those
//! inside it answer: a request that was shed or timed out, or whose handler panicked, is traced and measured like any
//! other.

mod admission;
mod limits;
mod outliving;

use std::{
    convert::Infallible,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::HttpBody,
    extract::{MatchedPath, Request},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use futures_util::future::Either;
use pin_project_lite::pin_project;
use tokio::{
    sync::OwnedSemaphorePermit,
    task::yield_now,
    time::{Sleep, sleep_until},
};
use tower::{Layer, Service};

pub use self::limits::RouteLimits;
pub(crate) use self::limits::unknown_route;
use self::{
    admission::{Admission, FirstTurns, Pace},
    limits::{Limits, LimitsByRoute, limit_body},
    outliving::{Handler, Outliving},
};
use crate::{
    config::Config,
    error::{Problem, or_problem},
    lifecycle::Drain,
    metrics::{
        Metrics,
        requests::{Measured, RequestMetrics, Series, Shed},
    },
    trace::{Access, Traced},
    waiting,
};

/// Wraps the service's routes.
pub(crate) fn wrap(
    routes: Router,
    config: &Config,
    limits: &[(&'static str, RouteLimits)],
    metrics: &Metrics,
    drain: Drain,
    threads: usize,
) -> Router {
    routes.layer(EngineLayer(Box::leak(Box::new(Shared {
        access: Access { log: config.access_log, slow: config.slow_request.0 },
        metrics: RequestMetrics::new(metrics),
        admission: Admission::new(config.max_wait.0, threads),
        max_in_flight: config.max_in_flight.get(),
        stall_timeout: config.stall_timeout.0,
        limits: LimitsByRoute::new(config, limits),
        drain,
    }))))
}

#[derive(Debug)]
struct Shared {
    access: Access,
    metrics: RequestMetrics,
    admission: Admission,
    max_in_flight: usize,
    stall_timeout: Duration,
    limits: LimitsByRoute,
    drain: Drain,
}

// It lives as long as the process, as what it keeps of a route does. axum clones the service of a route for each request: to
// count the clones is two atomic operations on memory that all threads share.
#[derive(Debug, Clone)]
struct EngineLayer(&'static Shared);

impl<S> Layer<S> for EngineLayer {
    type Service = EngineService<S>;

    fn layer(&self, inner: S) -> EngineService<S> {
        let route = Route {
            shared: self.0,
            series: self.0.metrics.series(),
            pace: Pace::default(),
            first_turns: FirstTurns::default(),
            limits: OnceLock::new(),
        };
        EngineService { inner, route: Box::leak(Box::new(route)) }
    }
}

/// What the engine keeps of one route: axum wraps each on its own.
#[derive(Debug)]
struct Route {
    shared: &'static Shared,
    series: Arc<Series>,
    pace: Pace,
    first_turns: FirstTurns,
    limits: OnceLock<Limits>,
}

impl Route {
    fn limits(&self, request: &Request) -> &Limits {
        let matched = || request.extensions().get::<MatchedPath>();
        self.limits.get_or_init(|| self.shared.limits.of(matched()))
    }

    /// Whether a request is worked on that has waited so long.
    fn admit(&self, now: Instant, waited: Duration) -> Result<(), Shed> {
        let Route { shared, pace, .. } = self;
        if shared.metrics.in_flight() > shared.max_in_flight {
            Err(Shed::InFlight)
        } else if !shared.admission.admits(waited, now, &shared.metrics) {
            Err(Shed::Wait)
        } else if !pace.has_room() {
            Err(Shed::Pace)
        } else {
            Ok(())
        }
    }

    /// As `admit`, when its turn has come, which lasts until it is dropped.
    async fn admit_in_turn(&self, arrived: Instant) -> Result<OwnedSemaphorePermit, Shed> {
        let turn = self.shared.admission.turn().await;
        let now = Instant::now();
        self.admit(now, now - arrived)?;
        // What is in progress has the thread before; the second time, also what the thread has just heard of.
        yield_now().await;
        yield_now().await;
        Ok(turn)
    }
}

/// One route with the engine's layers around it.
#[derive(Debug, Clone)]
struct EngineService<S> {
    inner: S,
    route: &'static Route,
}

impl<S> Service<Request> for EngineService<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
    S::Future: Handler,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Either<ResponseFuture<S::Future>, Outliving<S::Future>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let arrived = waiting::ready_since();
        let traced = Traced::begin(&request);
        let guard = InFlightGuard::new(self.route, Measured::begin(&request, &self.route.series, arrived));
        let Limits { body, timeout, outlives_caller } = *self.route.limits(&request);
        let mut unread = None;
        // Most requests have no body.
        if !request.body().is_end_stream() {
            unread = Some(limit_body(&mut request, body, self.route.shared.stall_timeout));
        }
        let begin = || ResponseFuture {
            handler: self.inner.call(request),
            timeout,
            timer: None,
            arrived,
            is_judged: false,
            turn: None,
            unread,
            traced,
            guard,
        };
        if outlives_caller { Either::Right(Outliving::new(begin())) } else { Either::Left(begin()) }
    }
}

pin_project! {
    /// A request on its way through the layers.
    struct ResponseFuture<F> {
        #[pin]
        handler: F,
        timeout: Option<Duration>,
        // Set when the handler does not answer at once; most do.
        timer: Option<Pin<Box<Sleep>>>,
        arrived: Instant,
        is_judged: bool,
        // Set while it waits for its turn.
        turn: Option<Pin<Box<dyn Future<Output = Result<OwnedSemaphorePermit, Shed>> + Send>>>,
        // Set while the handler waits for the body.
        unread: Option<Arc<AtomicBool>>,
        traced: Traced,
        guard: InFlightGuard,
    }
}

impl<F: Future<Output = Result<Response, Infallible>>> Future for ResponseFuture<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let traced = this.traced.enter();
        let route = this.guard.route;
        let shared = route.shared;
        // Held until the handler has had the thread.
        let mut _turn = None;
        let mut admitted = Ok(());
        let mut began_in_crowd = None;
        if !*this.is_judged {
            let mut now = Instant::now();
            let waited = now - *this.arrived;
            let is_crowded = shared.admission.is_crowded(waited);
            if this.turn.is_none() && is_crowded && route.first_turns.are_long() {
                *this.turn = Some(Box::pin(route.admit_in_turn(*this.arrived)));
            }
            admitted = match this.turn {
                None => route.admit(now, waited),
                Some(turn) => {
                    let admitted = ready!(turn.as_mut().poll(cx));
                    now = Instant::now();
                    admitted.map(|turn| _turn = Some(turn))
                }
            };
            (*this.turn, *this.is_judged) = (None, true);
            began_in_crowd = is_crowded.then_some(now);
        }
        let polled = admitted.map(|()| catch_unwind(AssertUnwindSafe(|| this.handler.poll(cx))));
        if let (Ok(_), Some(began)) = (&polled, began_in_crowd) {
            route.first_turns.took(began.elapsed());
        }
        let response = match polled {
            Err(reason) => shared.shed(reason),
            Ok(Err(_panic)) => shared.panicked(),
            Ok(Ok(Poll::Ready(Ok(response)))) => response,
            Ok(Ok(Poll::Pending)) => {
                let deadline = this.timeout.and_then(|limit| this.arrived.checked_add(limit));
                let Some(deadline) = deadline else { return Poll::Pending };
                let timer = this.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline.into())));
                if timer.as_mut().poll(cx).is_pending() {
                    let waits_for_caller = this.unread.as_ref().is_some_and(|read| !read.load(Relaxed));
                    if !waits_for_caller {
                        this.guard.count();
                    }
                    return Poll::Pending;
                }
                shared.timed_out()
            }
        };
        let mut response = or_problem(response);
        let now = Instant::now();
        waiting::answered(now);
        this.guard.answered(now);
        let took = now - *this.arrived;
        route.series.observe(&shared.metrics, &this.guard.measured, response.status(), took);
        traced.end(&mut response, route.series.route(), took, &shared.access);
        Poll::Ready(Ok(response))
    }
}

impl Shared {
    fn shed(&self, reason: Shed) -> Response {
        self.metrics.shed(reason);
        // Spread, or all come back at once.
        const SECONDS: [&str; 4] = ["1", "2", "3", "4"];
        let seconds = HeaderValue::from_static(SECONDS[fastrand::usize(..SECONDS.len())]);
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "there is too much to do; try again later")
            .with_header(header::RETRY_AFTER, seconds)
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

/// Counts a request until its response begins: long streams don't starve the others.
#[derive(Debug)]
struct InFlightGuard {
    route: &'static Route,
    measured: Measured,
    /// Since when it counts for the pace of its route.
    counts_since: Option<Instant>,
}

impl InFlightGuard {
    fn new(route: &'static Route, measured: Measured) -> Self {
        route.shared.metrics.begin(&measured);
        Self { route, measured, counts_since: None }
    }

    /// It waits for what its handler needs.
    fn count(&mut self) {
        self.counts_since.get_or_insert_with(|| {
            self.route.pace.begin();
            Instant::now()
        });
    }

    fn answered(&mut self, now: Instant) {
        if let Some(since) = self.counts_since.take() {
            self.ended(true, now - since, now);
        }
    }

    fn ended(&self, was_answered: bool, took: Duration, now: Instant) {
        let Route { shared, series, pace, .. } = self.route;
        if let Some(limit) = pace.end(was_answered, took, now, shared.admission.allowance()) {
            shared.metrics.limited(series.route(), limit);
        }
    }
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        if let Some(since) = self.counts_since {
            let now = Instant::now();
            self.ended(false, now - since, now);
        }
        self.route.series.end(&self.measured);
        self.route.shared.metrics.end(&self.measured);
    }
}
