//! One connection from its first byte to its end: deadlines, and its part in the drain.

use std::{
    cell::RefCell,
    convert::Infallible,
    future::poll_fn,
    io,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    http::{HeaderValue, Response, StatusCode, Version, header},
    routing::future::RouteFuture,
};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use pin_project_lite::pin_project;
use tokio::{
    io::AsyncWriteExt,
    time::{sleep, timeout},
};
use tower::Service;

use super::{
    CloseReason, LINGER, Protocol, Shared,
    activity::{Activity, Deadline},
    stream::Stream,
};
use crate::{
    error::{self, Problem},
    lifecycle::Phase,
};

/// How often an HTTP/2 peer is asked whether it is still there; it has the stall limit to answer.
const H2_PING: Duration = Duration::from_secs(20);

// What is rare or moves about is boxed below: each idle connection keeps all of this in memory.

/// Serves a connection and counts its end.
pub(super) async fn serve(stream: Box<Stream>, shared: Arc<Shared>) {
    // The stream has a token of its own, but that is gone before the end is counted, and the report is then wrong.
    let _drain_waits_for_the_count = shared.lifecycle.connection();
    let reason = run(stream, &shared).await;
    shared.connections.close(reason);
}

async fn run(mut stream: Box<Stream>, shared: &Arc<Shared>) -> CloseReason {
    let stopped = shared.lifecycle.reached(Phase::Stopped);
    let protocol = tokio::select! {
        protocol = stream.protocol() => protocol,
        () = sleep(shared.limits.first_byte) => return CloseReason::FirstByte,
        () = stopped => return if stream.is_silent() { CloseReason::IdleAtDeadline } else { CloseReason::Aborted },
    };
    match protocol {
        Ok(Some(Protocol::Http2)) => Box::pin(http2(stream, shared)).await,
        Ok(Some(_)) => http1(stream, shared).await,
        Ok(None) => CloseReason::Done,
        Err(_) => CloseReason::Failed,
    }
}

async fn http1(stream: Box<Stream>, shared: &Arc<Shared>) -> CloseReason {
    let activity = stream.activity().clone();
    let mut connection = http1::Builder::new()
        // Its clock would also run between requests; ours tells the two apart.
        .header_read_timeout(None)
        // A client that has sent its request may close its side and still be owed the response.
        .half_close(true)
        .serve_connection(TokioIo::new(stream), ConnectionService::new(&activity))
        .with_upgrades();
    let timer = pin!(sleep(shared.limits.idle));
    let mut deadline = Deadline::new(&activity, timer);
    let expired = poll_fn(|cx| deadline.poll_expired(cx));
    let end = tokio::select! {
        biased;
        result = &mut connection => if result.is_ok() { CloseReason::Done } else { CloseReason::Failed },
        end = expired => end,
        () = shared.lifecycle.reached(Phase::Stopped) => {
            if activity.is_idle() { CloseReason::IdleAtDeadline } else { CloseReason::Aborted }
        }
    };
    match end {
        CloseReason::Idle => {
            Pin::new(&mut connection).graceful_shutdown();
            Box::pin(linger(shared, connection)).await;
        }
        CloseReason::IdleAtDeadline => {
            Pin::new(&mut connection).graceful_shutdown();
            // Once is enough to close our side, and there is no time for more.
            let _ = timeout(Duration::ZERO, &mut connection).await;
        }
        CloseReason::Done => {
            return if connection.into_parts().is_some() { end } else { CloseReason::Upgraded };
        }
        CloseReason::Head => {
            Box::pin(linger(shared, lingering_close(connection.into_parts(), head_timed_out()))).await
        }
        CloseReason::Failed => {
            Box::pin(linger(shared, lingering_close(connection.into_parts(), String::new()))).await
        }
        _ => {}
    }
    end
}

/// The response to a client that takes too long over the head of a request.
fn head_timed_out() -> String {
    let problem = Problem::new(StatusCode::REQUEST_TIMEOUT, "the head of the request did not arrive in time");
    let body = problem.to_json();
    let length = body.len();
    let kind = error::CONTENT_TYPE;
    format!(
        "HTTP/1.1 408 Request Timeout\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\
         connection: close\r\n\r\n{body}"
    )
}

/// Sends a last response, and closes without destroying it.
async fn lingering_close<S>(
    parts: Option<http1::Parts<TokioIo<Box<Stream>>, S>>,
    response: String,
) -> io::Result<()> {
    let Some(parts) = parts else { return Ok(()) };
    let mut stream = parts.io.into_inner();
    stream.write_all(response.as_bytes()).await?;
    stream.shutdown().await
}

/// Gives a lingering close the time that it may take: the peer may be gone, or never close its side.
async fn linger(shared: &Shared, closing: impl Future) {
    tokio::select! {
        _ = timeout(LINGER, closing) => {}
        () = shared.lifecycle.reached(Phase::Stopped) => {}
    }
}

async fn http2(stream: Box<Stream>, shared: &Arc<Shared>) -> CloseReason {
    let activity = stream.activity().clone();
    let mut connection = pin!(
        http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(H2_PING)
            .keep_alive_timeout(shared.limits.stall)
            .serve_connection(TokioIo::new(stream), ConnectionService::new(&activity))
    );
    let timer = pin!(sleep(shared.limits.idle));
    let mut deadline = Deadline::new(&activity, timer);
    let mut due = pin!(goaway_due(shared, &activity));
    let mut closing = pin!(shared.lifecycle.reached(Phase::Closing));
    let mut stopped = pin!(shared.lifecycle.reached(Phase::Stopped));
    let mut stage = Stage::Serving;
    let mut end = CloseReason::Done;
    loop {
        let expired = poll_fn(|cx| match deadline.poll_expired(cx) {
            // Sent GOAWAY because of the drain, it leaves by itself or when closing begins; pings find out when it is dead.
            Poll::Ready(CloseReason::Idle)
                if stage == Stage::Closing
                    || (stage == Stage::GoawayRequested && end != CloseReason::Idle) =>
            {
                Poll::Pending
            }
            expired => expired,
        });
        tokio::select! {
            biased;
            result = connection.as_mut() => return if result.is_ok() { end } else { CloseReason::Failed },
            () = due.as_mut(), if stage == Stage::Serving => stage = Stage::GoawayRequested,
            () = closing.as_mut(), if stage == Stage::GoawayRequested => stage = Stage::Closing,
            why = expired => match why {
                CloseReason::Idle => {
                    end = CloseReason::Idle;
                    stage = if stage == Stage::Serving { Stage::GoawayRequested } else { Stage::Closing };
                }
                _ => return why,
            },
            () = stopped.as_mut() => return if activity.is_closed() { end } else { CloseReason::Aborted },
        }
        match stage {
            Stage::Serving => {}
            Stage::GoawayRequested => activity.request_goaway(),
            Stage::Closing => connection.as_mut().graceful_shutdown(),
        }
    }
}

/// How far an HTTP/2 connection is on its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Not at all.
    Serving,
    /// The peer was sent GOAWAY; whatever it opens is still answered.
    GoawayRequested,
    /// Streams in flight finish, new ones are refused.
    Closing,
}

/// Resolves when the peer has to go elsewhere: when draining begins, but not before its first request, as a new
/// connection gets at least one response; and when closing begins in any case.
async fn goaway_due(shared: &Shared, activity: &Activity) {
    shared.lifecycle.reached(Phase::Draining).await;
    // No waker needed: requests come in while this task polls the connection, just before it polls this.
    let used = poll_fn(|_| if activity.is_used() { Poll::Ready(()) } else { Poll::Pending });
    tokio::select! {
        () = used => {}
        () = shared.lifecycle.reached(Phase::Closing) => {}
    }
}

/// The router as hyper calls it: counts each request, and keeps it in flight until its response is sent.
#[derive(Debug)]
struct ConnectionService {
    // Each connection has its own, in a cell, because to clone it for each request is an atomic operation on
    // memory that all threads share.
    router: RefCell<Router>,
    activity: Arc<Activity>,
}

impl ConnectionService {
    fn new(activity: &Arc<Activity>) -> Self {
        Self { router: RefCell::new(activity.shared.router.clone()), activity: activity.clone() }
    }
}

impl hyper::service::Service<hyper::Request<Incoming>> for ConnectionService {
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = ResponseFuture;

    fn call(&self, request: hyper::Request<Incoming>) -> ResponseFuture {
        let shared = &self.activity.shared;
        shared.lifecycle.count_request();
        let version = request.version();
        let http1 = version <= Version::HTTP_11;
        let has_body = !request.body().is_end_stream();
        let request = request.map(|body| match has_body && http1 {
            true => Body::new(RequestBody { body, activity: self.activity.clone() }),
            false => Body::new(body),
        });
        ResponseFuture {
            in_flight: Some(InFlightGuard::new(&self.activity, has_body)),
            version,
            future: self.router.borrow_mut().call(request),
        }
    }
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
    struct ResponseFuture {
        #[pin]
        future: RouteFuture<Infallible>,
        in_flight: Option<InFlightGuard>,
        version: Version,
    }
}

impl Future for ResponseFuture {
    type Output = Result<Response<ResponseBody>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Ok(mut response) = ready!(this.future.poll(cx));
        let in_flight = this.in_flight.take();
        let is_last = in_flight.as_ref().is_some_and(|InFlightGuard(activity)| {
            // hyper closes when it would have to read a body to its end that the handler left unread.
            activity.is_body_unread() || activity.shared.is_last_response()
        });
        let upgrade = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        if is_last && !upgrade && *this.version <= Version::HTTP_11 {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            // Or hyper adds the keep-alive that an HTTP/1.0 client asked for, and some clients believe that one.
            *response.version_mut() = *this.version;
        }
        Poll::Ready(Ok(response.map(|body| ResponseBody { body, in_flight })))
    }
}

pin_project! {
    /// A body that keeps its request in flight.
    #[derive(Debug)]
    struct ResponseBody {
        #[pin]
        body: Body,
        in_flight: Option<InFlightGuard>,
    }
}

impl HttpBody for ResponseBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.project().body.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
