//! An HTTP/2 connection: its deadlines, and its way out by GOAWAY.

mod wire;

use std::{
    future::{poll_fn, ready},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::time::{sleep, timeout};

use self::wire::Wire;
use super::{
    CloseReason, Shared,
    activity::{Deadline, Leaving},
    requests::ConnectionService,
    stream::Stream,
};
use crate::lifecycle::{Lifecycle, Phase};

/// As many as clients open before they have heard what the server allows; with fewer, some of those were refused.
const STREAMS: u32 = 100;

/// How long a connection that comes during the drain is served before it is told. In Go many requests wait for one connection,
/// and GOAWAY loses those that still do, if their body cannot be read twice.
const LATE: Duration = Duration::from_secs(1);

/// What hyper keeps of each response that the peer's windows allow and its socket does not take.
const SEND_BUFFER: usize = 64 << 10;

/// Serves it to its end.
pub(super) async fn serve(stream: Box<Stream>, shared: &Arc<Shared>) -> CloseReason {
    let activity = stream.activity().clone();
    // Without pings that have to be answered: a client that does not read while it is idle is not dead.
    let mut connection = pin!(
        http2::Builder::new(TokioExecutor::new())
            .max_concurrent_streams(STREAMS)
            .max_send_buf_size(SEND_BUFFER)
            .serve_connection(TokioIo::new(Wire::new(stream)), ConnectionService::http2(&activity))
    );
    let timer = pin!(sleep(shared.limits.idle));
    let mut deadline = Deadline::new(&activity, timer, shared.limits.idle);
    let is_late = shared.lifecycle.phase() >= Phase::Draining;
    // One at a time, as what is awaited is asked whenever the connection is polled.
    let mut awaited = Phase::Draining;
    let mut reached = pin!(reached(&shared.lifecycle, awaited, is_late));
    let mut is_stopped = false;
    let mut end = CloseReason::Done;
    loop {
        let expired = poll_fn(|cx| deadline.poll_expired(cx));
        tokio::select! {
            biased;
            // Before anything is written: a response after the signal brings GOAWAY. At closing the wire looks at the phase
            // itself, when it is polled, as it is next.
            () = reached.as_mut(), if !is_stopped => {
                is_stopped = awaited == Phase::Stopped;
                if !is_stopped {
                    activity.drain();
                    awaited = if awaited == Phase::Draining { Phase::Closing } else { Phase::Stopped };
                    reached.set(self::reached(&shared.lifecycle, awaited, is_late));
                }
            }
            result = connection.as_mut() => return match result {
                _ if activity.is_stalled() => CloseReason::Stalled,
                // hyper also ends, with all streams, at a request that it takes for a mistake, and says that all is well.
                Ok(()) if activity.is_closed() => end,
                _ => CloseReason::Failed,
            },
            why = expired => match (why, activity.leaving()) {
                (CloseReason::Idle, Leaving::Draining) => activity.leave(Leaving::Quiet),
                (CloseReason::Idle, Leaving::No | Leaving::Quiet) => {
                    end = CloseReason::Idle;
                    activity.leave(Leaving::GoawayRequested);
                }
                (CloseReason::Idle, Leaving::GoawaySent) => activity.leave(Leaving::Close),
                (CloseReason::Idle | CloseReason::Done, _) => return end,
                _ => return why,
            },
            () = ready(()), if is_stopped => {
                let end = match activity.is_idle() {
                    _ if activity.is_closed() => end,
                    true => CloseReason::IdleAtDeadline,
                    false => CloseReason::Aborted,
                };
                activity.leave(Leaving::Close);
                // Once is enough to write GOAWAY and close our side, and there is no time for more.
                let _ = timeout(Duration::ZERO, connection).await;
                return end;
            }
        }
    }
}

/// Waits for this phase; for the drain a little longer on a connection that came during it.
async fn reached(lifecycle: &Lifecycle, phase: Phase, is_late: bool) {
    lifecycle.reached(phase).await;
    if is_late && phase == Phase::Draining {
        tokio::select! {
            () = sleep(LATE) => {}
            () = lifecycle.reached(Phase::Closing) => {}
        }
    }
}
