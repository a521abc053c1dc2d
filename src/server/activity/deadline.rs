//! Until when a peer has to do what is expected of it.

use std::{
    pin::{Pin, pin},
    sync::atomic::Ordering::Relaxed,
    task::{Context, Poll, ready},
    time::Duration,
};

use landfall_frames::pace::Pace;
use tokio::{
    task::unconstrained,
    time::{Instant, Sleep},
};

use super::{Activity, Awaiting};
use crate::{server::CloseReason, waiting};

/// How long after its request a client closes its side if it only says that it sends no more; who does it later, while
/// nothing has come yet, has given up.
const HALF_CLOSE: Duration = Duration::from_millis(500);

/// Watches that the peer does what is expected of it, each in its time.
#[derive(Debug)]
pub(in crate::server) struct Deadline<'a> {
    activity: &'a Activity,
    timer: Pin<&'a mut Sleep>,
    /// Whether the timer will wake us.
    is_set: bool,
    idle: Duration,
    seen: (Awaiting, u32),
    since: Instant,
    longest_pause: Duration,
    pace: Pace,
}

impl<'a> Deadline<'a> {
    /// For a peer that may be idle for so long.
    pub(in crate::server) fn new(activity: &'a Activity, timer: Pin<&'a mut Sleep>, idle: Duration) -> Self {
        let (seen, since) = ((Awaiting::Nothing, 0), Instant::now());
        let pace = Pace::of_socket(activity.written.load(Relaxed));
        Self { activity, timer, is_set: false, idle, seen, since, longest_pause: Duration::ZERO, pace }
    }

    /// Ready when the peer's time is up. To be polled after the connection, so that it sees what the connection
    /// has just done. The timer is touched only when the deadline moves closer, or when it goes off.
    pub(in crate::server) fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<CloseReason> {
        let now = (self.activity.awaiting(), self.activity.turn.load(Relaxed));
        let at = waiting::last_answered().into();
        if now != self.seen {
            if now.0 == Awaiting::NothingHalfClosed
                && self.seen == (Awaiting::Nothing, now.1)
                && !self.activity.response_began.load(Relaxed)
                && at - self.since > HALF_CLOSE
            {
                return Poll::Ready(CloseReason::Gone);
            }
            if self.seen.0 == Awaiting::Request {
                self.longest_pause = self.longest_pause.max(at - self.since);
            }
            if now.0 == Awaiting::Read {
                self.pace.pauses(self.activity.written.load(Relaxed), at);
            }
            (self.seen, self.since) = (now, at);
        }
        let Some((limit, end)) = self.activity.allowance(now.0, self.idle, self.longest_pause) else {
            return Poll::Pending;
        };
        let deadline = match now.0 {
            Awaiting::Read => self.pace.due(self.since, limit),
            _ => self.since + limit,
        };
        if deadline < self.timer.deadline() {
            self.timer.as_mut().reset(deadline);
            self.is_set = false;
        }
        // To ask a timer that will wake us costs four atomic operations.
        while !self.is_set || at >= self.timer.deadline() {
            // Without a budget, or it may not have heard whom to wake.
            let polled = pin!(unconstrained(self.timer.as_mut())).poll(cx);
            self.is_set = polled.is_pending();
            ready!(polled);
            if self.timer.deadline() >= deadline {
                return Poll::Ready(end);
            }
            self.timer.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}
