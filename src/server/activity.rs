//! What a connection is doing, and until when it may go on.

use std::{
    sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
    task::{Context, Poll, ready},
    time::Duration,
};

use std::pin::Pin;

use tokio::time::{Instant, Sleep};

use super::{End, LINGER, Limits};

const NEVER: u64 = u64::MAX;

/// Kept up to date by the stream and the requests of one connection; each change is an atomic write.
#[derive(Debug)]
pub(super) struct Activity {
    born: Instant,
    in_flight: AtomicU32,
    used: AtomicBool,
    reading_head: AtomicBool,
    closing: AtomicBool,
    /// When the state began that has no request in flight; milliseconds since `born`, as all times here.
    since: AtomicU64,
    /// When the peer stopped taking what we write.
    blocked: AtomicU64,
}

impl Activity {
    pub(super) fn new() -> Self {
        Self {
            born: Instant::now(),
            in_flight: AtomicU32::new(0),
            used: AtomicBool::new(false),
            reading_head: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            since: AtomicU64::new(0),
            blocked: AtomicU64::new(NEVER),
        }
    }

    fn now(&self) -> u64 {
        self.born.elapsed().as_millis() as u64
    }

    /// Bytes came in; between requests they begin a head.
    pub(super) fn bytes_read(&self) {
        if self.in_flight.load(Relaxed) == 0 && !self.reading_head.swap(true, Relaxed) {
            self.since.store(self.now(), Relaxed);
        }
    }

    /// The peer takes no bytes.
    pub(super) fn write_blocked(&self) {
        let _ = self.blocked.compare_exchange(NEVER, self.now(), Relaxed, Relaxed);
    }

    /// The peer took bytes.
    pub(super) fn bytes_written(&self) {
        if self.blocked.load(Relaxed) != NEVER {
            self.blocked.store(NEVER, Relaxed);
        }
    }

    /// Our side is closed; the peer's may follow.
    pub(super) fn closed(&self) {
        self.since.store(self.now(), Relaxed);
        self.closing.store(true, Relaxed);
    }

    pub(super) fn request_began(&self) {
        self.in_flight.fetch_add(1, Relaxed);
        self.reading_head.store(false, Relaxed);
        self.used.store(true, Relaxed);
    }

    pub(super) fn request_ended(&self) {
        self.since.store(self.now(), Relaxed);
        self.in_flight.fetch_sub(1, Relaxed);
    }

    /// Whether there has been a request.
    pub(super) fn is_used(&self) -> bool {
        self.used.load(Relaxed)
    }

    /// Whether nothing would be lost if the connection ended now.
    pub(super) fn is_idle(&self) -> bool {
        self.in_flight.load(Relaxed) == 0 && !self.reading_head.load(Relaxed)
    }

    /// When the peer's time is up, and for what; `None` while it is our turn.
    fn deadline(&self, limits: &Limits) -> Option<(Instant, End)> {
        let at = |millis: u64, limit: Duration| self.born + Duration::from_millis(millis) + limit;
        let since = self.since.load(Relaxed);
        let blocked = self.blocked.load(Relaxed);
        if self.closing.load(Relaxed) {
            Some((at(since, LINGER), End::Done))
        } else if blocked != NEVER {
            Some((at(blocked, limits.stall), End::Stalled))
        } else if self.in_flight.load(Relaxed) > 0 {
            None
        } else if self.reading_head.load(Relaxed) {
            Some((at(since, limits.head), End::Head))
        } else {
            Some((at(since, limits.idle), End::Idle))
        }
    }

    /// Ready when the peer's time is up. To be polled after the connection, so that it sees what the connection
    /// has just done: the timer is touched only when the deadline moves closer, or when it goes off.
    pub(super) fn poll_expired(
        &self,
        cx: &mut Context<'_>,
        mut timer: Pin<&mut Sleep>,
        limits: &Limits,
    ) -> Poll<End> {
        let Some((deadline, end)) = self.deadline(limits) else { return Poll::Pending };
        if deadline < timer.deadline() {
            timer.as_mut().reset(deadline);
        }
        loop {
            ready!(timer.as_mut().poll(cx));
            if timer.deadline() >= deadline {
                return Poll::Ready(end);
            }
            timer.as_mut().reset(deadline);
        }
    }
}
