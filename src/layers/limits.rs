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
    body::{Body, Bytes, HttpBody},
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
    let body = mem::take(request.body_mut());
    let body = CoalescedBody { body, read: read.clone(), small: Vec::new(), waited: false, next: None };
    *request.body_mut() = Body::new(Limited::new(TimeoutBody::new(stall, body), limit));
    read
}

/// Frames of fewer bytes are put together. Whoever collects a body keeps each of its frames, and a frame of one byte takes 38.
const SMALL: usize = 1 << 10;

pin_project! {
    /// A body that puts small frames together, and tells when it has been read.
    struct CoalescedBody<B> {
        #[pin]
        body: B,
        read: Arc<AtomicBool>,
        small: Vec<u8>,
        waited: bool,
        next: Option<Option<Frame<Bytes>>>,
    }
}

impl<B: HttpBody<Data = Bytes>> HttpBody for CoalescedBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let mut this = self.project();
        while this.next.is_none() && this.small.len() < SMALL {
            let polled = this.body.as_mut().poll_frame(cx);
            if polled.is_pending() && !this.small.is_empty() {
                if mem::replace(this.waited, true) {
                    break;
                }
                // hyper hands out one frame at a time, so another may be there when it has had its turn.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            *this.waited = false;
            let frame = ready!(polled).transpose()?;
            let is_end = frame.is_none() || this.body.is_end_stream();
            if is_end {
                this.read.store(true, Relaxed);
            }
            match frame.as_ref().and_then(Frame::data_ref) {
                Some(data) if data.len() < SMALL && !is_end => this.small.extend_from_slice(data),
                _ if this.small.is_empty() => return Poll::Ready(frame.map(Ok)),
                _ => *this.next = Some(frame),
            }
        }
        let frame = match mem::take(this.small) {
            small if small.is_empty() => this.next.take().flatten(),
            small => Some(Frame::data(small.into())),
        };
        Poll::Ready(frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.small.is_empty() && self.next.iter().all(Option::is_none) && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::VecDeque, convert::Infallible};

    use axum::http::HeaderMap;
    use futures_util::FutureExt;
    use http_body_util::BodyExt;

    use super::*;

    /// As hyper's: one frame at a time, and then nothing before its connection has had a turn; `None` is a pause.
    struct Frames(VecDeque<Option<Frame<Bytes>>>, bool);

    impl HttpBody for Frames {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            self.1 = !self.1;
            if self.1 {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            match self.0.pop_front() {
                Some(None) => Poll::Pending,
                frame => Poll::Ready(frame.flatten().map(Ok)),
            }
        }
    }

    /// What comes of these frames in how many turns, and whether they have been read.
    fn read(frames: impl IntoIterator<Item = Option<Frame<Bytes>>>) -> (Vec<String>, bool) {
        let read = Arc::new(AtomicBool::new(false));
        let body = Frames(frames.into_iter().collect(), false);
        let mut body =
            CoalescedBody { body, read: read.clone(), small: Vec::new(), waited: false, next: None };
        let mut seen = Vec::new();
        for _ in 0..10_000 {
            match body.frame().now_or_never() {
                Some(Some(Ok(frame))) => seen.push(match frame.data_ref() {
                    Some(data) => String::from_utf8(data.to_vec()).unwrap(),
                    None => "trailers".to_owned(),
                }),
                Some(None) => break,
                _ => {}
            }
        }
        (seen, read.load(Relaxed))
    }

    fn data(text: &str) -> Option<Frame<Bytes>> {
        Some(Frame::data(Bytes::copy_from_slice(text.as_bytes())))
    }

    #[test]
    fn small_frames_that_come_one_after_the_other_are_put_together() {
        let (seen, is_read) = read((0..2500).map(|_| data("a")));
        assert_eq!(seen, [1024, 1024, 452].map(|length| "a".repeat(length)));
        assert!(is_read);
        let large = "b".repeat(SMALL);
        assert_eq!(read([data(&large), data(&large)]).0, [large.clone(), large.clone()]);
        assert_eq!(read([data("a"), data(&large)]).0, ["a", &large]);
    }

    #[test]
    fn what_has_come_is_not_kept_for_what_has_not() {
        assert_eq!(read([data("a"), data("b"), None, None, data("c")]).0, ["ab", "c"]);
    }

    #[test]
    fn trailers_come_behind_the_data() {
        let trailers = || Some(Frame::trailers(HeaderMap::new()));
        assert_eq!(read([data("a"), trailers()]), (["a", "trailers"].map(String::from).to_vec(), true));
        assert_eq!(read([trailers()]).0, ["trailers"]);
    }
}
