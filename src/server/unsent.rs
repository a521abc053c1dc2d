//! What the responses of one HTTP/2 connection hold in memory until its peer takes them: while that is much, its next
//! requests wait.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::sync::{Notify, futures::OwnedNotified};

use crate::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// How much there may be before the next requests wait: far above what a peer that reads leaves behind.
const MUCH: u64 = 8 << 20;

/// What one response counts for at most, so that a few large ones that are taken slowly hold up nobody.
const MOST: u64 = 1 << 20;

/// The responses of one connection.
#[derive(Debug, Default)]
pub(super) struct Unsent {
    bytes: AtomicU64,
    less: Arc<Notify>,
}

impl Unsent {
    /// Counts a response of this length, until what is returned is dropped.
    pub(super) fn count(self: &Arc<Self>, length: u64) -> Response {
        let counted = length.min(MOST);
        self.bytes.fetch_add(counted, Relaxed);
        Response { unsent: self.clone(), counted }
    }
}

/// A response that is counted.
#[derive(Debug)]
pub(super) struct Response {
    unsent: Arc<Unsent>,
    counted: u64,
}

impl Drop for Response {
    fn drop(&mut self) {
        self.unsent.bytes.fetch_sub(self.counted, Relaxed);
        self.unsent.less.notify_waiters();
    }
}

/// A request's turn.
#[derive(Debug)]
pub(super) struct Turn {
    unsent: Arc<Unsent>,
    // Boxed, as hardly any request waits.
    waiting: Option<Pin<Box<OwnedNotified>>>,
    has_begun: bool,
}

impl Turn {
    pub(super) fn new(unsent: &Arc<Unsent>) -> Self {
        Self { unsent: unsent.clone(), waiting: None, has_begun: false }
    }

    /// The responses that it waits for.
    pub(super) fn unsent(&self) -> &Arc<Unsent> {
        &self.unsent
    }

    /// Ready when the request may begin, and from then on: what has begun may hold what others need.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.has_begun || self.unsent.bytes.load(Relaxed) < MUCH {
                self.has_begun = true;
                self.waiting = None;
                return Poll::Ready(());
            }
            match &mut self.waiting {
                Some(waiting) => {
                    ready!(waiting.as_mut().poll(cx));
                    self.waiting = None;
                }
                // Before the next look, so that nothing is missed between the two.
                None => self.waiting = Some(Box::pin(self.unsent.less.clone().notified_owned())),
            }
        }
    }
}
