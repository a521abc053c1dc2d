//! One connection, from its first byte to its end: which protocol it speaks, and what closed it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::time::sleep;

use super::{CloseReason, Protocol, Shared, http1, http2, stream::Stream};
use crate::lifecycle::Phase;

// What is rare or moves about is boxed here and below: each idle connection keeps all of this in memory.

/// Serves a connection and counts its end.
pub(super) async fn serve(stream: Box<Stream>, shared: Arc<Shared>) {
    // The stream has a token of its own, but that is gone before the end is counted, and the report is then wrong.
    let _drain_waits_for_the_count = shared.lifecycle.connection();
    let activity = stream.activity().clone();
    let reason = match run(stream, &shared).await {
        CloseReason::Done if activity.is_aged() => CloseReason::Aged,
        reason => reason,
    };
    shared.connections.close(reason);
}

/// As [`serve`], but a connection that hangs is closed when others have to wait: one that has not asked, or not
/// completely, in the time that a probe takes many times over.
pub(super) async fn serve_or_make_room(stream: Box<Stream>, shared: Arc<Shared>) {
    const HANGS: Duration = Duration::from_millis(100);
    let opened = Instant::now();
    let activity = stream.activity().clone();
    let has_to_go = async {
        loop {
            shared.crowded.notified().await;
            if opened.elapsed() > HANGS && !activity.is_our_turn() {
                break;
            }
        }
    };
    tokio::select! {
        () = serve(stream, shared.clone()) => {}
        () = has_to_go => shared.connections.close(CloseReason::Idle),
    }
}

async fn run(mut stream: Box<Stream>, shared: &Arc<Shared>) -> CloseReason {
    let stopped = shared.lifecycle.reached(Phase::Stopped);
    let protocol = tokio::select! {
        protocol = stream.protocol() => protocol,
        () = sleep(shared.limits.first_byte) => return CloseReason::FirstByte,
        () = stopped => return if stream.is_silent() { CloseReason::IdleAtDeadline } else { CloseReason::Aborted },
    };
    match protocol {
        Ok(Some(Protocol::Http2)) => Box::pin(http2::serve(stream, shared)).await,
        Ok(Some(_)) => http1::serve(stream, shared).await,
        Ok(None) => CloseReason::Done,
        Err(_) => CloseReason::Failed,
    }
}
