//! What a connection is doing, and how long it may go on.

mod deadline;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

pub(super) use self::deadline::Deadline;
use super::{CloseReason, LINGER, Shared, read_ahead::ReadAhead};
use crate::{lifecycle::Phase, waiting};

/// By how much of the maximum the ages differ at which connections are to go.
const SPREAD: f64 = 0.2;

/// Kept up to date by the stream and the requests of one connection; each change is an atomic write to memory that
/// no other connection touches.
#[derive(Debug)]
pub(super) struct Activity {
    pub(super) shared: Arc<Shared>,
    in_flight: AtomicU32,
    /// Goes up with everything that gives the peer its time anew.
    turn: AtomicU32,
    used: AtomicBool,
    /// When it is to go, at its next response.
    old_at: Option<Instant>,
    aged: AtomicBool,
    /// For HTTP/1 alone, where one request comes at a time.
    read_ahead: ReadAhead,
    body_unread: AtomicBool,
    response_began: AtomicBool,
    half_closed: AtomicBool,
    gone: AtomicBool,
    write_blocked: AtomicBool,
    written: AtomicU64,
    closing: AtomicBool,
    /// For HTTP/2 alone.
    reading_head: AtomicBool,
    streams_open: AtomicBool,
    leaving: AtomicU8,
    stalled: AtomicBool,
}

/// How far an HTTP/2 connection is on its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Leaving {
    /// Not at all.
    No,
    /// Its next response is to bring GOAWAY.
    Draining,
    /// So it is, but the peer has asked nothing for a while.
    Quiet,
    /// The peer is to be sent GOAWAY.
    GoawayRequested,
    /// The peer was sent GOAWAY; whatever it opens is still answered.
    GoawaySent,
    /// Our side is to be closed.
    Close,
}

impl Leaving {
    const ALL: [Self; 6] =
        [Self::No, Self::Draining, Self::Quiet, Self::GoawayRequested, Self::GoawaySent, Self::Close];
}

/// How long a peer has asked nothing, at least, before it is told without a response; and twice as long as it has
/// ever paused. GOAWAY that crosses a request loses it in some clients, which have not sent it yet.
const QUIET: Duration = Duration::from_secs(2);

/// What the peer is expected to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Awaiting {
    /// To close its side, as we closed ours.
    Close,
    /// To read what we write.
    Read,
    /// Nothing: it is our turn.
    Nothing,
    /// Nothing, and it sends no more. Whether it still reads, only a write can show.
    NothingHalfClosed,
    /// Nothing any more: it has left.
    NothingGone,
    /// To send the rest of a head.
    Head,
    /// To ask, sooner or later.
    Request,
}

impl Activity {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        // Not all at the same age: those that came together are not to come back together.
        let age = shared.limits.max_age.map(|most| most.mul_f64(1.0 - SPREAD * fastrand::f64()));
        Self {
            shared: shared.clone(),
            in_flight: AtomicU32::new(0),
            turn: AtomicU32::new(0),
            used: AtomicBool::new(false),
            old_at: age.map(|age| Instant::now() + age),
            aged: AtomicBool::new(false),
            read_ahead: ReadAhead::default(),
            body_unread: AtomicBool::new(false),
            response_began: AtomicBool::new(false),
            half_closed: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            write_blocked: AtomicBool::new(false),
            written: AtomicU64::new(0),
            closing: AtomicBool::new(false),
            reading_head: AtomicBool::new(false),
            streams_open: AtomicBool::new(false),
            leaving: AtomicU8::new(Leaving::No as u8),
            stalled: AtomicBool::new(false),
        }
    }

    /// Bytes came in on an HTTP/1 connection.
    pub(super) fn bytes_read(&self, bytes: &[u8]) {
        if self.is_body_unread() {
            return;
        }
        if self.in_flight.load(Relaxed) == 0 {
            self.read_ahead.no_request_waits();
        }
        self.read_ahead.bytes_read(bytes);
    }

    /// Whether hyper reads nothing, so that nobody would notice that the peer leaves.
    pub(super) fn is_peer_unwatched(&self) -> bool {
        self.is_our_turn() && !self.half_closed.load(Relaxed)
    }

    /// The peer has closed its side.
    pub(super) fn half_closed(&self) {
        self.half_closed.store(true, Relaxed);
    }

    /// The peer has closed the connection.
    pub(super) fn gone(&self) {
        self.gone.store(true, Relaxed);
    }

    /// The peer takes no bytes.
    pub(super) fn write_blocked(&self) {
        self.write_blocked.store(true, Relaxed);
    }

    /// The peer took bytes.
    pub(super) fn bytes_written(&self, count: usize) {
        // Nobody else writes it, nor what is written like this below: a locked instruction costs as much as twenty others.
        self.written.store(self.written.load(Relaxed) + count as u64, Relaxed);
        if self.write_blocked.load(Relaxed) || self.half_closed.load(Relaxed) {
            self.write_blocked.store(false, Relaxed);
            self.turn.fetch_add(1, Relaxed);
        }
    }

    /// Frames came or went: whether streams are open now, and whether a head has begun and is not complete.
    pub(super) fn frames_passed(&self, streams_open: bool, reading_head: bool) {
        self.streams_open.store(streams_open, Relaxed);
        self.reading_head.store(reading_head, Relaxed);
    }

    /// An HTTP/2 connection goes a step further on its way out.
    pub(super) fn leave(&self, leaving: Leaving) {
        self.leaving.store(leaving as u8, Relaxed);
        if leaving >= Leaving::GoawayRequested {
            self.turn.fetch_add(1, Relaxed);
        }
    }

    /// Its next response is to bring GOAWAY, unless it is further than that.
    pub(super) fn drain(&self) {
        if self.leaving() == Leaving::No {
            self.leave(Leaving::Draining);
        }
    }

    /// A request has begun, perhaps on a connection that is to go because of its age.
    pub(super) fn age(&self, is_http2: bool) {
        let (Some(old_at), Some(most)) = (self.old_at, self.shared.limits.max_age) else { return };
        let now = waiting::ready_since();
        if now < old_at {
            return;
        }
        self.aged.store(true, Relaxed);
        if is_http2 {
            self.drain();
            // Where another stream is open whenever a response ends, no response would bring GOAWAY.
            let is_overdue = now >= old_at + most && self.in_flight.load(Relaxed) > 1;
            if is_overdue && self.leaving() < Leaving::GoawayRequested {
                self.leave(Leaving::GoawayRequested);
            }
        }
    }

    /// Whether it is to go, or has gone, because of its age.
    pub(super) fn is_aged(&self) -> bool {
        self.aged.load(Relaxed)
    }

    /// How far it is.
    pub(super) fn leaving(&self) -> Leaving {
        Leaving::ALL[usize::from(self.leaving.load(Relaxed))]
    }

    /// The peer holds us up, and there is no other way than to close the connection.
    pub(super) fn stalled(&self) {
        self.stalled.store(true, Relaxed);
    }

    /// Whether it does.
    pub(super) fn is_stalled(&self) -> bool {
        self.stalled.load(Relaxed)
    }

    /// Our side is closed.
    pub(super) fn closed(&self) {
        self.closing.store(true, Relaxed);
    }

    pub(super) fn request_began(&self, has_body: bool) {
        self.in_flight.fetch_add(1, Relaxed);
        self.turn.store(self.turn.load(Relaxed).wrapping_add(1), Relaxed);
        self.read_ahead.request_began(has_body);
        self.reading_head.store(false, Relaxed);
        self.body_unread.store(has_body, Relaxed);
        self.response_began.store(false, Relaxed);
        self.used.store(true, Relaxed);
    }

    pub(super) fn body_read(&self) {
        self.body_unread.store(false, Relaxed);
        self.turn.fetch_add(1, Relaxed);
    }

    pub(super) fn response_began(&self) {
        self.response_began.store(true, Relaxed);
    }

    pub(super) fn request_ended(&self) {
        self.in_flight.fetch_sub(1, Relaxed);
    }

    /// Whether there has been a request.
    pub(super) fn is_used(&self) -> bool {
        self.used.load(Relaxed)
    }

    /// Whether the latest request has a body that was not read to its end.
    pub(super) fn is_body_unread(&self) -> bool {
        self.body_unread.load(Relaxed)
    }

    /// Whether a request has been read that is still to be answered, behind the one that is.
    pub(super) fn has_pipelined_request(&self) -> bool {
        self.read_ahead.has_request()
    }

    /// Whether nothing would be lost if the connection ended now.
    pub(super) fn is_idle(&self) -> bool {
        matches!(self.awaiting(), Awaiting::Request | Awaiting::Close)
    }

    /// Whether there is a request, and the peer has sent all of it.
    pub(super) fn is_our_turn(&self) -> bool {
        self.in_flight.load(Relaxed) > 0 && !self.is_body_unread()
    }

    /// Whether the peer has got everything, and only has to close its side.
    pub(super) fn is_closed(&self) -> bool {
        self.awaiting() == Awaiting::Close
    }

    fn awaiting(&self) -> Awaiting {
        if self.closing.load(Relaxed) {
            Awaiting::Close
        } else if self.write_blocked.load(Relaxed) {
            Awaiting::Read
        } else if self.in_flight.load(Relaxed) > 0 {
            match (self.gone.load(Relaxed), self.half_closed.load(Relaxed)) {
                (true, _) => Awaiting::NothingGone,
                (_, true) => Awaiting::NothingHalfClosed,
                _ => Awaiting::Nothing,
            }
        } else if self.read_ahead.has_partial_head() || self.reading_head.load(Relaxed) {
            Awaiting::Head
        } else if self.streams_open.load(Relaxed) {
            Awaiting::Nothing
        } else {
            Awaiting::Request
        }
    }

    /// How long the peer has, and how the connection ends if that is not enough.
    fn allowance(
        &self,
        awaiting: Awaiting,
        idle: Duration,
        longest_pause: Duration,
    ) -> Option<(Duration, CloseReason)> {
        let Shared { limits, lifecycle, .. } = &*self.shared;
        match awaiting {
            Awaiting::Close => Some((LINGER, CloseReason::Done)),
            Awaiting::Read => Some((limits.stall, CloseReason::Stalled)),
            Awaiting::NothingHalfClosed if self.response_began.load(Relaxed) => {
                Some((LINGER, CloseReason::Gone))
            }
            Awaiting::Nothing | Awaiting::NothingHalfClosed => None,
            Awaiting::NothingGone => Some((Duration::ZERO, CloseReason::Gone)),
            Awaiting::Head => Some((limits.head, CloseReason::Head)),
            Awaiting::Request => {
                let limit = match self.leaving() {
                    Leaving::No | Leaving::Quiet => idle,
                    // The client may hear of it late, and nothing is in a hurry.
                    Leaving::GoawaySent if self.is_aged() && lifecycle.phase() < Phase::Draining => idle,
                    Leaving::Draining => QUIET.max(longest_pause * 2).min(idle),
                    _ => LINGER,
                };
                Some((limit, CloseReason::Idle))
            }
        }
    }
}
