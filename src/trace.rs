//! A request id and a W3C trace id for every request, its span, and its access line.

use std::{fmt, time::Duration};

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue},
    response::Response,
};
use tracing::{Span, error_span, span::Entered};

use crate::{config::Config, telemetry::AccessLog};

/// Header of the request id, in requests and in every answer.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const LONGEST_REQUEST_ID: usize = 128;
const DIGITS: &[u8; 16] = b"0123456789abcdef";

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
            HeaderValue::from_bytes(&Hex::of(fastrand::u128(..)).0).expect("digits fit in a header")
        });
        let trace = headers.get(TRACEPARENT).and_then(Trace::parse).unwrap_or_else(Trace::new);
        Self { request_id, trace }
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

    fn as_hex(self) -> Hex {
        Hex::of(self.id)
    }

    /// The `traceparent` header for a call that this request makes: the same trace, a new parent.
    pub fn child(&self) -> HeaderValue {
        let text = format!("00-{self}-{:016x}-{:02x}", fastrand::u64(1..), self.flags);
        HeaderValue::try_from(text).expect("digits and dashes fit in a header")
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_hex().as_str())
    }
}

/// The span of a request, and what it takes to end it.
#[derive(Debug)]
pub(crate) struct Traced {
    span: Span,
    request_id: HeaderValue,
}

impl Traced {
    /// Finds or makes the ids of a request, leaves them among its extensions, and opens its span.
    pub(crate) fn begin(request: &mut Request) -> Self {
        let ids = Ids::of(request.headers());
        // At error level, so that the ids stand on every line that the filter lets through.
        let span = error_span!(
            "request",
            request_id = ids.request_id.to_str().unwrap_or_default(),
            trace_id = ids.trace.as_hex().as_str(),
            method = request.method().as_str(),
            path = request.uri().path(),
        );
        let request_id = ids.request_id.clone();
        request.extensions_mut().insert(ids);
        Self { span, request_id }
    }

    /// Makes what is logged part of the request's span, until the guard is dropped.
    pub(crate) fn enter(&self) -> Entered<'_> {
        self.span.enter()
    }

    /// Puts the request id on the answer, and writes the access line if there is to be one.
    pub(crate) fn end(&self, response: &mut Response, took: Duration, access: &Access) {
        response.headers_mut().insert(REQUEST_ID, self.request_id.clone());
        let status = response.status();
        let worth_a_line = match access.log {
            AccessLog::All => true,
            AccessLog::Errors => status.is_server_error() || took > access.slow,
            AccessLog::Off => false,
        };
        if !worth_a_line {
            return;
        }
        let duration_ms = took.as_secs_f64() * 1e3;
        if status.is_server_error() {
            tracing::error!(status = status.as_u16(), duration_ms, "answered");
        } else {
            tracing::info!(status = status.as_u16(), duration_ms, "answered");
        }
    }
}

/// Which requests get an access line.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Access {
    log: AccessLog,
    slow: Duration,
}

impl From<&Config> for Access {
    fn from(config: &Config) -> Self {
        Self { log: config.access_log, slow: config.slow_request.0 }
    }
}

/// Lower-case hexadecimal digits, without an allocation.
#[derive(Debug, Clone, Copy)]
struct Hex([u8; 32]);

impl Hex {
    fn of(number: u128) -> Self {
        let mut digits = [0; 32];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(number.to_be_bytes()) {
            pair.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        }
        Self(digits)
    }

    fn as_str(&self) -> &str {
        str::from_utf8(&self.0).expect("digits are ASCII")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn parse(text: &str) -> Option<String> {
        Trace::parse(&HeaderValue::from_str(text).unwrap()).map(|trace| trace.to_string())
    }

    #[test]
    fn a_traceparent_gives_its_trace_id() {
        let id = Some("4bf92f3577b34da6a3ce929d0e0e4736".to_owned());
        assert_eq!(parse(PARENT), id);
        assert_eq!(parse(&format!("01{}-future", &PARENT[2..])), id);
    }

    #[test]
    fn a_bad_traceparent_gives_none() {
        for bad in [
            "",
            "00",
            &PARENT[..54],
            &format!("{PARENT}-more"),
            &format!("ff{}", &PARENT[2..]),
            &PARENT.to_uppercase(),
            &PARENT.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            &PARENT.replace("00f067aa0ba902b7", &"0".repeat(16)),
            &PARENT.replace('-', "_"),
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_child_is_of_the_same_trace_with_another_parent() {
        let trace = Trace::parse(&HeaderValue::from_static(PARENT)).unwrap();
        let child = trace.child();
        let child = child.to_str().unwrap();
        assert!(
            child.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-") && child.ends_with("-01"),
            "{child}"
        );
        assert_ne!(child, PARENT);
        assert_eq!(Trace::parse(&HeaderValue::from_str(child).unwrap()), Some(trace));
    }

    #[test]
    fn an_id_that_is_too_long_or_not_visible_is_replaced() {
        let headers = |id: &str| HeaderMap::from_iter([(REQUEST_ID, HeaderValue::from_str(id).unwrap())]);
        assert_eq!(Ids::of(&headers("abc-123")).request_id, "abc-123");
        for bad in ["", "with space", &"x".repeat(129)] {
            let made = Ids::of(&headers(bad)).request_id;
            assert!(made != bad && made.len() == 32, "{bad}: {made:?}");
        }
    }
}
