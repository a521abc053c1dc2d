//! The outermost layer: a request id and a W3C trace id for every request, its span, and its access line.

use std::{
    convert::Infallible,
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue},
    response::Response,
};
use pin_project_lite::pin_project;
use tower::{Layer, Service};
use tracing::{Span, error_span};

use crate::{config::Config, telemetry::AccessLog};

/// Header of the request id, in requests and in every answer.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const LONGEST_REQUEST_ID: usize = 128;

/// The ids of a request, among its extensions.
#[derive(Debug, Clone)]
pub struct Ids {
    /// As the caller sent it, when that is at most 128 visible ASCII characters; else made here.
    pub request_id: HeaderValue,
    /// The trace the request belongs to: the caller's, or a new one.
    pub trace: Trace,
}

/// A position in a trace, see <https://www.w3.org/TR/trace-context/>.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trace {
    id: u128,
    flags: u8,
}

impl Ids {
    fn of(headers: &HeaderMap) -> Self {
        let acceptable = |id: &&HeaderValue| {
            (1..=LONGEST_REQUEST_ID).contains(&id.len()) && id.as_bytes().iter().all(u8::is_ascii_graphic)
        };
        let request_id = headers.get(REQUEST_ID).filter(acceptable).cloned().unwrap_or_else(|| {
            HeaderValue::try_from(format!("{:032x}", fastrand::u128(..))).expect("digits fit in a header")
        });
        let trace = headers.get(TRACEPARENT).and_then(Trace::parse).unwrap_or_else(Trace::new);
        Self { request_id, trace }
    }

    fn request_id(&self) -> &str {
        self.request_id.to_str().unwrap_or_default()
    }
}

impl Trace {
    fn new() -> Self {
        Self { id: fastrand::u128(1..), flags: 0 }
    }

    fn parse(header: &HeaderValue) -> Option<Self> {
        let text = header.to_str().ok()?;
        let hex = |from: usize, to: usize| {
            let digits = text.get(from..to)?;
            let lower = |c: u8| matches!(c, b'0'..=b'9' | b'a'..=b'f');
            digits.bytes().all(lower).then(|| u128::from_str_radix(digits, 16).ok())?
        };
        let dashes = [2, 35, 52].iter().all(|&at| text.as_bytes().get(at) == Some(&b'-'));
        let version = hex(0, 2)?;
        let ends_well = text.len() == 55 || (version > 0 && text.as_bytes().get(55) == Some(&b'-'));
        let (id, parent, flags) = (hex(3, 35)?, hex(36, 52)?, hex(53, 55)?);
        (dashes && ends_well && version != 0xff && id != 0 && parent != 0)
            .then_some(Self { id, flags: flags as u8 })
    }

    /// The `traceparent` header for a call that this request makes: the same trace, a new parent.
    pub fn child(&self) -> HeaderValue {
        let text = format!("00-{self}-{:016x}-{:02x}", fastrand::u64(1..), self.flags);
        HeaderValue::try_from(text).expect("digits and dashes fit in a header")
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.id)
    }
}

/// Wraps a service in request spans and access lines.
#[derive(Debug, Clone, Copy)]
pub struct TraceLayer {
    access_log: AccessLog,
    slow: Duration,
}

impl TraceLayer {
    /// Access lines as the configuration says.
    pub fn new(config: &Config) -> Self {
        Self { access_log: config.access_log, slow: config.slow_request.0 }
    }
}

impl<S> Layer<S> for TraceLayer {
    type Service = Traced<S>;

    fn layer(&self, inner: S) -> Traced<S> {
        Traced { inner, layer: *self }
    }
}

/// What [`TraceLayer`] makes.
#[derive(Debug, Clone)]
pub struct Traced<S> {
    inner: S,
    layer: TraceLayer,
}

impl<S> Service<Request> for Traced<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = TracedFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let started = Instant::now();
        let ids = Ids::of(request.headers());
        // At error level, so that the ids stand on every line that the filter lets through.
        let span = error_span!(
            "request",
            request_id = ids.request_id(),
            trace_id = %ids.trace,
            method = request.method().as_str(),
            path = request.uri().path(),
        );
        let request_id = ids.request_id.clone();
        request.extensions_mut().insert(ids);
        let inner = span.in_scope(|| self.inner.call(request));
        TracedFuture { inner, span, started, request_id: Some(request_id), layer: self.layer }
    }
}

pin_project! {
    /// The answer of [`Traced`].
    #[derive(Debug)]
    pub struct TracedFuture<F> {
        #[pin]
        inner: F,
        span: Span,
        started: Instant,
        request_id: Option<HeaderValue>,
        layer: TraceLayer,
    }
}

impl<F: Future<Output = Result<Response, Infallible>>> Future for TracedFuture<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let _entered = this.span.enter();
        let Ok(mut response) = ready!(this.inner.poll(cx));
        if let Some(request_id) = this.request_id.take() {
            response.headers_mut().insert(REQUEST_ID, request_id);
        }
        let took = this.started.elapsed();
        let status = response.status();
        let worth_a_line = match this.layer.access_log {
            AccessLog::All => true,
            AccessLog::Errors => status.is_server_error() || took > this.layer.slow,
            AccessLog::Off => false,
        };
        if worth_a_line {
            let duration_ms = took.as_secs_f64() * 1e3;
            if status.is_server_error() {
                tracing::error!(status = status.as_u16(), duration_ms, "answered");
            } else {
                tracing::info!(status = status.as_u16(), duration_ms, "answered");
            }
        }
        Poll::Ready(Ok(response))
    }
}
