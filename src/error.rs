//! Every error as `application/problem+json`, RFC 9457, and extractors that fail with one.

use std::{borrow::Cow, convert::Infallible};

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::{
        FromRequest, FromRequestParts,
        rejection::{JsonRejection, PathRejection, QueryRejection},
    },
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use futures_util::{FutureExt, stream};
use http_body_util::BodyExt;
use serde::Serialize;

use crate::trace;

/// The content type of every error body.
pub const CONTENT_TYPE: &str = "application/problem+json";

/// What a caller is told when its request was not done; it carries the id of the request's trace.
#[derive(Debug, Serialize)]
pub struct Problem {
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'static str,
    #[serde(serialize_with = "as_number")]
    status: StatusCode,
    detail: Cow<'static, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError>,
    #[serde(skip)]
    headers: HeaderMap,
}

/// One field that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// Its name in the request.
    pub field: &'static str,
    /// What was expected of it, and what was found.
    pub detail: String,
}

fn as_number<S: serde::Serializer>(status: &StatusCode, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_u16(status.as_u16())
}

impl Problem {
    /// A problem with this status; the detail says what is wrong and what was expected.
    pub fn new(status: StatusCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status,
            detail: detail.into(),
            trace_id: trace::current().map(|context| context.to_string()),
            errors: Vec::new(),
            headers: HeaderMap::new(),
        }
    }

    /// 422 that lists every field that is wrong.
    pub fn fields(errors: Vec<FieldError>) -> Self {
        let detail = "fields of the request are not as expected";
        Self { errors, ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail) }
    }

    /// The same problem, answered with one more header.
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// The body.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a struct of plain values")
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = self.to_json();
        let kind = (header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
        (self.status, self.headers, [kind], body).into_response()
    }
}

/// Makes a problem of an error that a handler or a library answered as plain text or with no body at all; the
/// text becomes the detail, unless it is long, streamed or compressed.
pub fn or_problem(response: Response) -> Response {
    const LONGEST: u64 = 4096;
    let status = response.status();
    if !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let is_plain = match response.headers().get(header::CONTENT_TYPE) {
        None => true,
        Some(kind) => kind.as_bytes().starts_with(b"text/plain"),
    };
    if !is_plain {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    // What a nested service answers to HEAD has lost its text, but not the text's length.
    let is_stripped =
        body.is_end_stream() && parts.headers.get(header::CONTENT_LENGTH).is_some_and(|length| length != "0");
    let is_short = body.size_hint().exact().is_some_and(|length| length <= LONGEST);
    let is_text = parts.headers.remove(header::CONTENT_ENCODING).is_none();
    // A body of known length is there already.
    let text = (is_short && is_text).then(|| body.collect().now_or_never()).flatten();
    let text = text.and_then(Result::ok).and_then(|text| String::from_utf8(text.to_bytes().into()).ok());
    let detail = text.filter(|text| !text.is_empty());
    let detail = detail.map_or_else(|| default_detail(status).into(), Cow::Owned);
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.remove(header::CONTENT_TYPE);
    let mut problem = Problem::new(status, detail);
    problem.headers = parts.headers;
    let response = problem.into_response();
    if is_stripped { response.map(|_| of_unknown_length()) } else { response }
}

/// A body that is empty, without a content-length that says so.
fn of_unknown_length() -> Body {
    Body::from_stream(stream::empty::<Result<Bytes, Infallible>>())
}

fn default_detail(status: StatusCode) -> &'static str {
    match status {
        StatusCode::NOT_FOUND => "there is nothing at this path",
        StatusCode::METHOD_NOT_ALLOWED => "this path takes the methods that the Allow header names",
        _ => "the request could not be answered",
    }
}

/// [`axum::Json`] that rejects with a [`Problem`].
#[derive(Debug, FromRequest)]
#[from_request(via(axum::Json), rejection(Problem))]
pub struct Json<T>(pub T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

/// [`axum::extract::Query`] that rejects with a [`Problem`].
#[derive(Debug, FromRequestParts)]
#[from_request(via(axum::extract::Query), rejection(Problem))]
pub struct Query<T>(pub T);

/// [`axum::extract::Path`] that rejects with a [`Problem`].
#[derive(Debug, FromRequestParts)]
#[from_request(via(axum::extract::Path), rejection(Problem))]
pub struct Path<T>(pub T);

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Self {
        if is_stalled(&rejection) {
            let detail = "the body of the request did not arrive in time";
            return Self::new(StatusCode::REQUEST_TIMEOUT, detail);
        }
        match rejection.status() {
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Self::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "expected a body with content-type: application/json",
            ),
            StatusCode::PAYLOAD_TOO_LARGE => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, "the request body is larger than this service takes")
            }
            status => Self::new(status, rejection.body_text()),
        }
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        Self::new(rejection.status(), rejection.body_text())
    }
}

impl From<PathRejection> for Problem {
    fn from(rejection: PathRejection) -> Self {
        Self::new(rejection.status(), rejection.body_text())
    }
}

/// Whether the body's deadline is among the reasons.
fn is_stalled(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source())
        .any(|error| error.is::<tower_http::timeout::TimeoutError>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_field_that_is_wrong_is_told() {
        let error = |field| FieldError { field, detail: "expected a number".to_owned() };
        let problem = Problem::fields(vec![error("age"), error("size")]);
        let json: serde_json::Value = serde_json::from_str(&problem.to_json()).unwrap();
        assert_eq!((&json["status"], &json["errors"][1]["field"]), (&422.into(), &"size".into()));
    }

    #[test]
    fn a_problem_that_head_gets_is_not_said_to_have_no_length() {
        let length = |length| [(header::CONTENT_LENGTH, HeaderValue::from_static(length))];
        let of_get = (StatusCode::CONFLICT, "there is one already").into_response();
        assert!(or_problem(of_get).body().size_hint().exact() > Some(20));
        let of_head = (StatusCode::CONFLICT, length("20"), ()).into_response();
        assert_eq!(or_problem(of_head).body().size_hint().exact(), None);
        let empty = (StatusCode::CONFLICT, length("0"), ()).into_response();
        assert!(or_problem(empty).body().size_hint().exact() > Some(20));
    }
}
