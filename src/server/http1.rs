//! An HTTP/1 connection: its deadlines, its part in the drain, and a close that destroys no response.

use std::{
    future::poll_fn,
    io,
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use axum::http::StatusCode;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::{
    io::AsyncWriteExt,
    time::{sleep, timeout},
};

use super::{CloseReason, LINGER, Shared, activity::Deadline, requests::ConnectionService, stream::Stream};
use crate::{
    error::{self, Problem},
    lifecycle::Phase,
};

/// The longest head; a longer one gets 431. HTTP/2 has the same limit by default. Bodies pass through as much memory, and
/// all connections together may have so much of it at once.
const BUFFER: usize = 16 * 1024;

/// How long a connection is idle before what hyper keeps for it is let go: its buffers are nine tenths of its memory.
const REST: Duration = Duration::from_millis(250);

/// Serves it to its end.
pub(super) async fn serve(mut stream: Box<Stream>, shared: &Arc<Shared>) -> CloseReason {
    loop {
        stream = match Box::pin(serve_requests(stream, shared)).await {
            Ok(idle) => idle,
            Err(end) => return end,
        };
        let end = tokio::select! {
            biased;
            asked = stream.next_request() => match asked {
                Ok(true) => continue,
                Ok(false) => CloseReason::Done,
                Err(_) => CloseReason::Failed,
            },
            () = shared.lifecycle.reached(Phase::Stopped) => CloseReason::IdleAtDeadline,
            () = sleep(shared.limits.idle.saturating_sub(REST)) => CloseReason::Idle,
        };
        match end {
            CloseReason::Idle => Box::pin(linger(shared, stream.shutdown())).await,
            // Once is enough to close our side, and there is no time for more.
            CloseReason::IdleAtDeadline => _ = timeout(Duration::ZERO, stream.shutdown()).await,
            _ => {}
        }
        return end;
    }
}

/// Serves its requests until it is idle, or to its end.
async fn serve_requests(stream: Box<Stream>, shared: &Arc<Shared>) -> Result<Box<Stream>, CloseReason> {
    let activity = stream.activity().clone();
    let mut connection = http1::Builder::new()
        // Its clock would also run between requests; ours tells the two apart.
        .header_read_timeout(None)
        // A client that has sent its request may close its side and still be owed the response.
        .half_close(true)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(stream), ConnectionService::new(&activity))
        .with_upgrades();
    let idle = shared.limits.idle.min(REST);
    let timer = pin!(sleep(idle));
    let mut deadline = Deadline::new(&activity, timer, idle);
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
            // What it has read at most is an empty line, which means nothing.
            return connection.into_parts().map(|parts| parts.io.into_inner()).ok_or(CloseReason::Upgraded);
        }
        CloseReason::IdleAtDeadline => {
            Pin::new(&mut connection).graceful_shutdown();
            let _ = timeout(Duration::ZERO, &mut connection).await;
        }
        CloseReason::Done => {
            return Err(if connection.into_parts().is_some() { end } else { CloseReason::Upgraded });
        }
        CloseReason::Head => {
            Box::pin(linger(shared, lingering_close(connection.into_parts(), head_timed_out()))).await
        }
        CloseReason::Failed => {
            Box::pin(linger(shared, lingering_close(connection.into_parts(), String::new()))).await
        }
        _ => {}
    }
    Err(end)
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
