//! An HTTP/2 connection: its deadlines, and its way out by GOAWAY.

use std::{future::poll_fn, pin::pin, sync::Arc, task::Poll, time::Duration};

use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::time::sleep;

use super::{
    CloseReason, Shared,
    activity::{Activity, Deadline},
    requests::ConnectionService,
    stream::Stream,
};
use crate::lifecycle::Phase;

/// How often an HTTP/2 peer is asked whether it is still there; it has the stall limit to answer.
const H2_PING: Duration = Duration::from_secs(20);

/// Serves it to its end.
pub(super) async fn serve(stream: Box<Stream>, shared: &Arc<Shared>) -> CloseReason {
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
