//! What one route allows instead of what the configuration says.

use std::{
    collections::HashMap,
    mem,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, HttpBody},
    extract::{DefaultBodyLimit, MatchedPath, Request},
    middleware::{self, Next},
    response::Response,
};
use http_body::{Frame, SizeHint};
use http_body_util::Limited;
use pin_project_lite::pin_project;
use tower::ServiceExt;
use tower_http::timeout::TimeoutBody;

use crate::config::Config;

/// What one route allows instead of the defaults, which are `APP_BODY_LIMIT` and `APP_REQUEST_TIMEOUT`.
#[derive(Debug, Clone, Copy, Default)]
pub struct RouteLimits {
    body: Option<usize>,
    timeout: Option<Option<Duration>>,
    outlives_caller: bool,
}

impl RouteLimits {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// The largest request body in bytes.
    pub fn body(self, bytes: usize) -> Self {
        Self { body: Some(bytes), ..self }
    }

    /// How long a handler may take to begin its response.
    pub fn timeout(self, limit: Duration) -> Self {
        Self { timeout: Some(Some(limit)), ..self }
    }

    /// Lets a handler begin its response when it likes, as for a long poll. A stream that begins at once needs no
    /// such thing: the timeout ends with the head of the response.
    pub fn no_timeout(self) -> Self {
        Self { timeout: Some(None), ..self }
    }

    /// Lets a handler finish though its caller leaves before the response begins; other handlers are dropped then. Its
    /// timeout still ends it, it stays in flight until then, and the drain waits for it.
    pub fn outlives_caller(self) -> Self {
        Self { outlives_caller: true, ..self }
    }
}

/// The limits in force on a route.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) body: usize,
    pub(super) timeout: Option<Duration>,
    pub(super) outlives_caller: bool,
}

/// The limits of all routes.
#[derive(Debug)]
pub(super) struct LimitsByRoute {
    default: Limits,
    routes: HashMap<&'static str, RouteLimits>,
}

impl LimitsByRoute {
    pub(super) fn new(config: &Config, routes: &[(&'static str, RouteLimits)]) -> Self {
        let (body, timeout) = (config.body_limit, Some(config.request_timeout.0));
        let default = Limits { body, timeout, outlives_caller: false };
        Self { default, routes: routes.iter().copied().collect() }
    }

    pub(super) fn of(&self, route: Option<&MatchedPath>) -> Limits {
        let limits = route.and_then(|route| self.routes.get(route.as_str())).copied().unwrap_or_default();
        Limits {
            body: limits.body.unwrap_or(self.default.body),
            timeout: limits.timeout.unwrap_or(self.default.timeout),
            outlives_caller: limits.outlives_caller,
        }
    }
}

/// The first of these that the router has no route for.
pub(crate) async fn unknown_route(
    routes: &Router,
    limits: &[(&'static str, RouteLimits)],
) -> Option<&'static str> {
    let revealing = routes.clone().layer(middleware::from_fn(reveal));
    for (route, _) in limits {
        let Ok(request) = Request::get(*route).body(Body::empty()) else { return Some(route) };
        let Ok(response) = revealing.clone().oneshot(request).await;
        if response.extensions().get::<MatchedPath>().is_none_or(|matched| matched.as_str() != *route) {
            return Some(route);
        }
    }
    None
}

/// Answers with the route that matched, in place of its handler.
async fn reveal(request: Request, _handler: Next) -> Response {
    let mut response = Response::new(Body::empty());
    if let Some(route) = request.extensions().get::<MatchedPath>() {
        response.extensions_mut().insert(route.clone());
    }
    response
}

/// Limits how large a body may be and how long it may stall, and tells when it has been read.
pub(super) fn limit_body(request: &mut Request, limit: usize, stall: Duration) -> Arc<AtomicBool> {
    // axum's own limit would cut in at 2 MB.
    DefaultBodyLimit::disable().apply(request);
    let read = Arc::new(AtomicBool::new(false));
    let limited = Limited::new(TimeoutBody::new(stall, mem::take(request.body_mut())), limit);
    *request.body_mut() = Body::new(Told { body: limited, read: read.clone() });
    read
}

pin_project! {
    /// A body that tells when it has been read.
    struct Told<B> {
        #[pin]
        body: B,
        read: Arc<AtomicBool>,
    }
}

impl<B: HttpBody> HttpBody for Told<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut this = self.project();
        let frame = ready!(this.body.as_mut().poll_frame(cx));
        if frame.is_none() || this.body.is_end_stream() {
            this.read.store(true, Relaxed);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
