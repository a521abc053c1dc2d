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
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
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
use futures_util::{
    FutureExt,
    future::{CatchUnwind, Either},
};
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
    routes.layer(EngineLayer(Arc::new(Shared {
        access: Access { log: config.access_log, slow: config.slow_request.0 },
        metrics: RequestMetrics::new(metrics),
        admission: Admission::new(config.max_wait.0, threads),
        max_in_flight: config.max_in_flight.get(),
        in_flight: AtomicUsize::new(0),
        stall_timeout: config.stall_timeout.0,
        limits: LimitsByRoute::new(config, limits),
        drain,
    })))
}

#[derive(Debug)]
struct Shared {
    access: Access,
    metrics: RequestMetrics,
    admission: Admission,
    max_in_flight: usize,
    in_flight: AtomicUsize,
    stall_timeout: Duration,
    limits: LimitsByRoute,
    drain: Drain,
}

#[derive(Debug, Clone)]
struct EngineLayer(Arc<Shared>);

impl<S> Layer<S> for EngineLayer {
    type Service = EngineService<S>;

    fn layer(&self, inner: S) -> EngineService<S> {
        let route = Route {
            shared: self.0.clone(),
            series: self.0.metrics.series(),
            pace: Pace::default(),
            first_turns: FirstTurns::default(),
            limits: OnceLock::new(),
        };
        EngineService { inner, route: Arc::new(route) }
    }
}

/// What the engine keeps of one route: axum wraps each on its own.
#[derive(Debug)]
struct Route {
    shared: Arc<Shared>,
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
        if shared.in_flight.load(Relaxed) > shared.max_in_flight {
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
    async fn admit_in_turn(self: Arc<Self>, arrived: Instant) -> Result<OwnedSemaphorePermit, Shed> {
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
    route: Arc<Route>,
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
        let guard = InFlightGuard::new(&self.route, Measured::begin(&request, &self.route.series, arrived));
        let Limits { body, timeout, outlives_caller } = *self.route.limits(&request);
        let mut unread = None;
        // Most requests have no body.
        if !request.body().is_end_stream() {
            unread = Some(limit_body(&mut request, body, self.route.shared.stall_timeout));
        }
        let handler = AssertUnwindSafe(self.inner.call(request)).catch_unwind();
        let (handler, timer, is_judged, turn) = (Some(handler), None, false, None);
        let begin =
            || ResponseFuture { handler, timeout, timer, arrived, is_judged, turn, unread, traced, guard };
        if outlives_caller { Either::Right(Outliving::new(begin())) } else { Either::Left(begin()) }
    }
}

pin_project! {
    /// A request on its way through the layers.
    struct ResponseFuture<F> {
        // None when it was shed.
        #[pin]
        handler: Option<CatchUnwind<AssertUnwindSafe<F>>>,
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
        let mut this = self.project();
        let traced = this.traced.enter();
        // Held until the handler has had the thread.
        let mut _turn = None;
        let mut began = None;
        if !*this.is_judged {
            let route = &this.guard.route;
            let mut now = Instant::now();
            let is_crowded = route.shared.admission.is_crowded(now - *this.arrived);
            if this.turn.is_none() && is_crowded && route.first_turns.are_long() {
                *this.turn = Some(Box::pin(route.clone().admit_in_turn(*this.arrived)));
            }
            let admitted = match this.turn {
                None => route.admit(now, now - *this.arrived),
                Some(turn) => {
                    let admitted = ready!(turn.as_mut().poll(cx));
                    now = Instant::now();
                    admitted.map(|turn| _turn = Some(turn))
                }
            };
            (*this.turn, *this.is_judged) = (None, true);
            if let Err(reason) = admitted {
                route.shared.metrics.shed(reason);
                this.handler.set(None);
            } else {
                began = is_crowded.then_some(now);
                if this.unread.is_none() && this.timeout.is_some() {
                    this.guard.count(now);
                }
            }
        }
        let polled = this.handler.as_pin_mut().map(|handler| handler.poll(cx));
        if let Some(began) = began {
            this.guard.route.first_turns.took(began.elapsed());
        }
        let shared = &this.guard.route.shared;
        let response = match polled {
            None => shared.shed(),
            Some(Poll::Ready(Ok(Ok(response)))) => response,
            Some(Poll::Ready(Err(_panic))) => shared.panicked(),
            Some(Poll::Pending) => {
                let deadline = this.timeout.and_then(|limit| this.arrived.checked_add(limit));
                let Some(deadline) = deadline else { return Poll::Pending };
                let timer = this.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline.into())));
                if timer.as_mut().poll(cx).is_pending() {
                    // From here on it is no longer its caller that it waits for.
                    if this.unread.take_if(|read| read.load(Relaxed)).is_some() {
                        this.guard.count(Instant::now());
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
        let Route { shared, series, .. } = &*this.guard.route;
        series.observe(&shared.metrics, &this.guard.measured, response.status(), took);
        traced.end(&mut response, series.route(), took, &shared.access);
        Poll::Ready(Ok(response))
    }
}

impl Shared {
    fn shed(&self) -> Response {
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
    route: Arc<Route>,
    measured: Measured,
    /// Since when it counts for the pace of its route.
    counts_since: Option<Instant>,
}

impl InFlightGuard {
    fn new(route: &Arc<Route>, measured: Measured) -> Self {
        route.shared.metrics.active(measured.method()).inc();
        route.shared.in_flight.fetch_add(1, Relaxed);
        Self { route: route.clone(), measured, counts_since: None }
    }

    fn count(&mut self, now: Instant) {
        self.route.pace.begin();
        self.counts_since = Some(now);
    }

    fn answered(&mut self, now: Instant) {
        if let Some(since) = self.counts_since.take() {
            self.ended(true, now - since, now);
        }
    }

    fn ended(&self, was_answered: bool, took: Duration, now: Instant) {
        let Route { shared, series, pace, .. } = &*self.route;
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
        let Route { shared, series, .. } = &*self.route;
        let Shared { in_flight, metrics, .. } = &**shared;
        series.end(&self.measured);
        in_flight.fetch_sub(1, Relaxed);
        metrics.active(self.measured.method()).dec();
    }
}
