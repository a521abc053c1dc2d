//! A request id and a W3C trace id for every request, its span, and its access line.

use std::{
    cell::RefCell,
    fmt, io,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, Method, Uri},
    response::Response,
};
use landfall_telemetry::{LogFilter, LogFormat, Logs, TracingLayer};
use tracing::{Span, error, error_span, info, span::EnteredSpan, trace};

use crate::telemetry::AccessLog;

/// Header of the request id, in requests and in every response.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Header of the trace context, in requests that come in and in those that go out.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Header of what tracing systems hand on beside it.
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

const LONGEST_REQUEST_ID: usize = 128;

thread_local! {
    static CURRENT: RefCell<Option<Current>> = const { RefCell::new(None) };
}

/// Whether spans wait until something is logged in them.
static ON_DEMAND: AtomicBool = AtomicBool::new(false);

/// Sends the logs of the process to stdout, and makes the span of a request when it is needed: at once for these layers,
/// else when something is logged in it.
pub(crate) fn init(filter: &LogFilter, format: LogFormat, layers: Vec<TracingLayer>) -> io::Result<Logs> {
    let logs = landfall_telemetry::init(filter, format, layers, open_span)?;
    ON_DEMAND.store(logs.spans_on_demand, Relaxed);
    Ok(logs)
}

/// The ids of a request, the caller's `tracestate`, and its span.
#[derive(Debug)]
struct Active {
    context: TraceContext,
    state: Option<HeaderValue>,
    request_id: RequestId,
    /// What its span will say, until that is opened.
    request: Option<(Method, Uri)>,
    /// Open, while it is not entered.
    span: Option<Span>,
}

/// The request that is being worked on.
#[derive(Debug)]
struct Current {
    active: Box<Active>,
    entered: Option<EnteredSpan>,
}

/// Opens the current request's span and enters it, unless that has been done.
fn open_span() {
    let wanted = CURRENT.with_borrow_mut(|current| {
        let Active { context, request_id, request, .. } = &mut *current.as_mut()?.active;
        // Taken before the span is made, which calls this again.
        let (method, uri) = request.take()?;
        Some((*context, request_id.header(), method, uri))
    });
    let Some((context, id, method, uri)) = wanted else { return };
    // At error level, so that the ids stand on every line that the filter lets through.
    let span = error_span!(
        "request",
        request_id = id.to_str().unwrap_or_default(),
        trace_id = Hex::<32>::of(context.trace_id).as_str(),
        span_id = Hex::<16>::of(context.span_id.into()).as_str(),
        method = method.as_str(),
        path = uri.path(),
    );
    set_entered(span.entered());
}

fn set_entered(span: EnteredSpan) {
    CURRENT.with_borrow_mut(|current| {
        if let Some(current) = current {
            current.entered = Some(span);
        }
    });
}

/// The trace of the request that is being worked on, `None` outside of one. A task that a handler spawns is outside:
/// take it along.
pub fn current() -> Option<TraceContext> {
    CURRENT.with_borrow(|current| current.as_ref().map(|current| current.active.context))
}

/// The `tracestate` header for a call that this request makes: the caller's, `None` when it sent none.
pub fn tracestate() -> Option<HeaderValue> {
    CURRENT.with_borrow(|current| current.as_ref()?.active.state.clone())
}

/// Says whether the current request's trace is recorded, which its outgoing calls hand on. For the tracing layer that
/// records it, when the request's span is new.
pub fn set_sampled(sampled: bool) {
    CURRENT.with_borrow_mut(|current| {
        if let Some(Current { active, .. }) = current {
            let context = &mut active.context;
            context.flags = context.flags & !1 | u8::from(sampled);
        }
    });
}

/// The position of a request in a trace, see <https://www.w3.org/TR/trace-context/>. Log lines, problems, exported spans
/// and outgoing calls all carry these ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace that the request belongs to: the caller's, or a new one.
    pub trace_id: u128,
    /// The caller's span, 0 when it told none.
    pub parent_id: u64,
    /// The span of this request.
    pub span_id: u64,
    /// The caller's flags; bit 0 says that the trace is sampled.
    pub flags: u8,
}

impl TraceContext {
    /// With this `traceparent`.
    fn below(parent: Option<&HeaderValue>) -> Self {
        // None is 0, which stands for no id.
        let span_id = fastrand::u64(..).max(1);
        let parent = parent.and_then(parse);
        let (trace_id, parent_id, flags) = parent.unwrap_or_else(|| (fastrand::u128(..).max(1), 0, 0));
        Self { trace_id, parent_id, span_id, flags }
    }

    /// The `traceparent` header for a call that this request makes.
    pub fn traceparent(&self) -> HeaderValue {
        let text = format!("00-{self}-{:016x}-{:02x}", self.span_id, self.flags);
        HeaderValue::try_from(text).expect("digits and dashes fit in a header")
    }
}

/// The trace id, as logs and headers write it.
impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Hex::<32>::of(self.trace_id).as_str())
    }
}

/// Trace id, parent and flags of a `traceparent` header; of a version to come, what this one knows.
fn parse(header: &HeaderValue) -> Option<(u128, u64, u8)> {
    let mut parts = header.to_str().ok()?.split('-');
    let mut hex = |length| {
        let digits = parts.next().filter(|digits| digits.len() == length)?;
        let lower = |c: u8| matches!(c, b'0'..=b'9' | b'a'..=b'f');
        digits.bytes().all(lower).then(|| u128::from_str_radix(digits, 16).ok())?
    };
    let (version, id, parent, flags) = (hex(2)?, hex(32)?, hex(16)?, hex(2)?);
    let ends_well = version > 0 || parts.next().is_none();
    let is_valid = ends_well && version != 0xff && id != 0 && parent != 0;
    is_valid.then_some((id, parent as u64, flags as u8))
}

/// What a caller tells about its request.
#[derive(Default)]
struct Told<'a> {
    request_id: Option<&'a HeaderValue>,
    parent: Option<&'a HeaderValue>,
    state: Option<&'a HeaderValue>,
}

impl<'a> Told<'a> {
    /// The first of each. In one pass: to look one up costs as much as to pass ten.
    fn by(headers: &'a HeaderMap) -> Self {
        let mut told = Self::default();
        for (name, value) in headers {
            let place = match name.as_str() {
                "x-request-id" => &mut told.request_id,
                "traceparent" => &mut told.parent,
                "tracestate" => &mut told.state,
                _ => continue,
            };
            place.get_or_insert(value);
        }
        told
    }
}

/// The span of a request, and what it takes to end it.
#[derive(Debug)]
pub(crate) struct Traced {
    // None while it is the current one. Boxed, as it is moved there and back each time the request goes on.
    active: Option<Box<Active>>,
}

impl Traced {
    /// Finds or makes the ids of a request.
    pub(crate) fn begin(request: &Request) -> Self {
        let told = Told::by(request.headers());
        let context = TraceContext::below(told.parent);
        let state = told.state.filter(|_| context.parent_id != 0).cloned();
        let request_id = RequestId::of(told.request_id);
        let request = Some((request.method().clone(), request.uri().clone()));
        let active = Active { context, state, request_id, request, span: None };
        let mut traced = Self { active: Some(Box::new(active)) };
        if !ON_DEMAND.load(Relaxed) {
            let _current = traced.enter();
            open_span();
        }
        traced
    }

    /// Makes what is logged part of the request's span, and its context the current one, until the guard is dropped.
    pub(crate) fn enter(&mut self) -> Entered<'_> {
        let mut before = None;
        if let Some(mut active) = self.active.take() {
            let span = active.span.take();
            before = CURRENT.replace(Some(Current { active, entered: None }));
            if let Some(span) = span {
                set_entered(span.entered());
            }
        }
        Entered { before, traced: self }
    }
}

/// The id of a request: the caller's when it is at most 128 visible ASCII characters, else a new one.
#[derive(Debug)]
enum RequestId {
    Callers(HeaderValue),
    New(u128),
}

impl RequestId {
    fn of(told: Option<&HeaderValue>) -> Self {
        let acceptable = |id: &&HeaderValue| {
            (1..=LONGEST_REQUEST_ID).contains(&id.len()) && id.as_bytes().iter().all(u8::is_ascii_graphic)
        };
        match told.filter(acceptable) {
            Some(id) => Self::Callers(id.clone()),
            None => Self::New(fastrand::u128(..)),
        }
    }

    fn header(&self) -> HeaderValue {
        match self {
            Self::Callers(id) => id.clone(),
            Self::New(id) => HeaderValue::from_bytes(&Hex::<32>::of(*id).0).expect("digits fit in a header"),
        }
    }
}

/// The request whose handler runs: its context is the current one of this thread until this is dropped.
pub(crate) struct Entered<'a> {
    before: Option<Current>,
    traced: &'a mut Traced,
}

impl Entered<'_> {
    /// Puts the request id on the response, and writes the access line; at trace level, which tracing layers see, if
    /// there is to be none.
    pub(crate) fn end(&self, response: &mut Response, route: &str, took: Duration, access: &Access) {
        let id = |current: &Option<Current>| Some(current.as_ref()?.active.request_id.header());
        if let Some(mut id) = CURRENT.with_borrow(id) {
            // Or HTTP/2 keeps each in the connection's table of headers, and compares the next with all that are there.
            id.set_sensitive(true);
            response.headers_mut().insert(REQUEST_ID, id);
        }
        let failed = response.status().is_server_error();
        let worth_a_line = match access.log {
            AccessLog::All => true,
            AccessLog::Errors => failed || took > access.slow,
            AccessLog::Off => false,
        };
        let (status, duration_ms) = (response.status().as_u16(), took.as_secs_f64() * 1e3);
        match (worth_a_line, failed) {
            (true, true) => error!(status, route, duration_ms, "responded"),
            (true, false) => info!(status, route, duration_ms, "responded"),
            (false, _) => trace!(status, route, duration_ms, "responded"),
        }
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        if let Some(Current { mut active, entered }) = CURRENT.replace(self.before.take()) {
            active.span = entered.map(EnteredSpan::exit);
            self.traced.active = Some(active);
        }
    }
}

/// Which requests get an access line.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Access {
    pub(crate) log: AccessLog,
    pub(crate) slow: Duration,
}

/// Lower-case hexadecimal digits, without an allocation.
#[derive(Debug, Clone, Copy)]
struct Hex<const DIGITS: usize>([u8; DIGITS]);

impl<const COUNT: usize> Hex<COUNT> {
    fn of(number: u128) -> Self {
        let bytes = number.to_be_bytes();
        // Without a table or a branch, so that the compiler makes many at once.
        let digit = |four: u8| four + b'0' + u8::from(four > 9) * (b'a' - b'9' - 1);
        let mut digits = [0; COUNT];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(&bytes[bytes.len() - COUNT / 2..]) {
            pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
        }
        Self(digits)
    }

    fn as_str(&self) -> &str {
        str::from_utf8(&self.0).expect("digits are ASCII")
    }
}

#[cfg(test)]
mod tests;
