//! The requests of one connection: each is counted, and in flight until the last byte of its response.

use std::{
    cell::RefCell,
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use axum::{
    Router,
    body::{Body, Bytes},
    http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Version, header},
    response::IntoResponse,
    routing::future::RouteFuture,
};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use tower::Service;

use super::{
    activity::Activity,
    unsent::{self, Turn, Unsent},
};
use crate::error::Problem;

/// How much of a response is handed to hyper at a time on HTTP/2, where hyper keeps all of what it has until the peer
/// takes it.
const PART: usize = 64 << 10;

/// The router as hyper calls it: counts each request, and keeps it in flight until its response is sent.
#[derive(Debug)]
pub(super) struct ConnectionService {
    // Each connection has its own, in a cell, because to clone it for each request is an atomic operation on
    // memory that all threads share.
    router: RefCell<Router>,
    activity: Arc<Activity>,
    /// For HTTP/2 alone.
    unsent: Option<Arc<Unsent>>,
}

impl ConnectionService {
    pub(super) fn new(activity: &Arc<Activity>) -> Self {
        let router = RefCell::new(activity.shared.router.clone());
        Self { router, activity: activity.clone(), unsent: None }
    }

    /// One that bounds what the responses hold in memory that wait for the peer's windows.
    pub(super) fn http2(activity: &Arc<Activity>) -> Self {
        Self { unsent: Some(Arc::default()), ..Self::new(activity) }
    }
}

impl hyper::service::Service<hyper::Request<Incoming>> for ConnectionService {
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = ResponseFuture;

    fn call(&self, request: hyper::Request<Incoming>) -> ResponseFuture {
        self.activity.shared.lifecycle.count_request();
        let version = request.version();
        let http1 = version <= Version::HTTP_11;
        let has_body = !request.body().is_end_stream();
        let is_head = *request.method() == Method::HEAD;
        let is_valid = version != Version::HTTP_11 || has_one_host(request.headers());
        let request = request.map(|body| match has_body {
            true if http1 => Body::new(RequestBody { body, activity: self.activity.clone() }),
            true => Body::new(body),
            false => Body::empty(),
        });
        let in_flight = InFlightGuard::new(&self.activity, has_body);
        self.activity.age(!http1);
        ResponseFuture {
            in_flight: Some(in_flight),
            version,
            is_head,
            turn: self.unsent.as_ref().map(Turn::new),
            future: is_valid.then(|| self.router.borrow_mut().call(request)),
        }
    }
}

/// Whether a request says who is asked, and says it once, RFC 9112 section 3.2.
fn has_one_host(headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter();
    hosts.next().is_some() && hosts.next().is_none()
}

fn without_one_host() -> Response<Body> {
    Problem::new(StatusCode::BAD_REQUEST, "expected exactly one Host header").into_response()
}

/// What HEAD is answered: the head of GET's response.
fn without_body(response: Response<Body>) -> Response<Body> {
    let (mut parts, body) = response.into_parts();
    // axum has emptied most of them already, and told the length before.
    if let Some(length) = body.size_hint().exact().filter(|_| !body.is_end_stream()) {
        parts.headers.entry(header::CONTENT_LENGTH).or_insert(length.into());
    }
    Response::from_parts(parts, Body::empty())
}

/// A request in flight, from its head to the last byte of its response.
#[derive(Debug)]
struct InFlightGuard(Arc<Activity>);

impl InFlightGuard {
    fn new(activity: &Arc<Activity>, has_body: bool) -> Self {
        activity.request_began(has_body);
        Self(activity.clone())
    }
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        self.0.request_ended();
    }
}

pin_project! {
    /// The body of an HTTP/1 request, which says when it has been read.
    struct RequestBody {
        #[pin]
        body: Incoming,
        activity: Arc<Activity>,
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let mut this = self.project();
        let frame = ready!(this.body.as_mut().poll_frame(cx));
        if frame.is_none() || this.body.is_end_stream() {
            this.activity.body_read();
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

pin_project! {
    /// A response on its way.
    pub(super) struct ResponseFuture {
        // None when the request was not valid.
        #[pin]
        future: Option<RouteFuture<Infallible>>,
        in_flight: Option<InFlightGuard>,
        version: Version,
        is_head: bool,
        turn: Option<Turn>,
    }
}

impl Future for ResponseFuture {
    type Output = Result<Response<ResponseBody>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Some(turn) = this.turn {
            ready!(turn.poll(cx));
        }
        let future = this.future.as_pin_mut();
        let is_valid = future.is_some();
        let mut response = match future {
            Some(future) => ready!(future.poll(cx)).unwrap_or_else(|never| match never {}),
            None => without_one_host(),
        };
        if *this.is_head {
            response = without_body(response);
        }
        let in_flight = this.in_flight.take();
        let upgrade = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        let is_last = in_flight.as_ref().is_some_and(|InFlightGuard(activity)| {
            activity.response_began();
            // hyper closes when it would have to read a body to its end that the handler left unread.
            !is_valid
                || activity.is_body_unread()
                || ((activity.is_aged() || activity.shared.is_last_response())
                    && !activity.has_pipelined_request())
        });
        if is_last && !upgrade && *this.version <= Version::HTTP_11 {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            // Or hyper adds the keep-alive that an HTTP/1.0 client asked for, and some clients believe that one.
            *response.version_mut() = *this.version;
        }
        let unsent = this.turn.as_ref().map(Turn::unsent);
        Poll::Ready(Ok(response.map(|body| ResponseBody::new(body, in_flight, unsent))))
    }
}

pin_project! {
    /// A body that keeps its request in flight.
    #[derive(Debug)]
    pub(super) struct ResponseBody {
        #[pin]
        body: Body,
        in_flight: Option<InFlightGuard>,
        in_parts: bool,
        rest: Bytes,
        counted: Option<unsent::Response>,
    }
}

impl ResponseBody {
    fn new(body: Body, in_flight: Option<InFlightGuard>, unsent: Option<&Arc<Unsent>>) -> Self {
        let length = HttpBody::size_hint(&body).lower();
        let counted = unsent.filter(|_| length > PART as u64).map(|unsent| unsent.count(length));
        Self { body, in_flight, in_parts: unsent.is_some(), rest: Bytes::new(), counted }
    }
}

impl HttpBody for ResponseBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.project();
        if this.rest.is_empty() {
            let frame = ready!(this.body.poll_frame(cx));
            match frame {
                Some(Ok(frame)) if *this.in_parts => match frame.into_data() {
                    Ok(data) if data.len() > PART => *this.rest = data,
                    Ok(data) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                frame => return Poll::Ready(frame),
            }
        }
        let part = if this.rest.len() > PART {
            this.rest.split_to(PART)
        } else {
            // Not a slice, which would keep the whole in memory when this body is gone.
            Bytes::copy_from_slice(&std::mem::take(this.rest))
        };
        Poll::Ready(Some(Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        // Of what has begun, nobody asks.
        if self.rest.is_empty() { self.body.size_hint() } else { SizeHint::default() }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use http_body_util::BodyExt;

    use super::*;

    /// The pieces that a response of these bytes goes out in.
    fn pieces(bytes: &Bytes, unsent: Option<&Arc<Unsent>>) -> Vec<Bytes> {
        let mut body = ResponseBody::new(Body::from(bytes.clone()), None, unsent);
        let mut next = || body.frame().now_or_never().expect("it is there");
        std::iter::from_fn(|| next()?.unwrap().into_data().ok()).collect()
    }

    #[test]
    fn on_http2_a_large_response_goes_out_in_parts_and_nothing_else_is_cut_or_copied() {
        let (large, small) = (Bytes::from(vec![1; 2 * PART + 1]), Bytes::from(vec![1; PART]));
        let http2 = Some(Arc::default());
        let lengths: Vec<_> = pieces(&large, http2.as_ref()).iter().map(Bytes::len).collect();
        assert_eq!(lengths, [PART, PART, 1]);
        for (bytes, version) in [(&small, http2.as_ref()), (&small, None), (&large, None)] {
            let pieces = pieces(bytes, version);
            assert_eq!(pieces.len(), 1);
            assert_eq!(pieces[0].as_ptr_range(), bytes.as_ptr_range());
        }
    }
}
