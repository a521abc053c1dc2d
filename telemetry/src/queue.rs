//! The bounded queue of log lines: nobody who logs waits.

use std::{mem, time::Duration};

use crate::sync::{
    Condvar, Mutex,
    atomic::{AtomicU64, Ordering::Relaxed},
};

/// Bytes that may wait; the thread has as many again in its hands.
const CAPACITY: usize = 1 << 20;

/// The lines that wait.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    /// There are lines to write.
    filled: Condvar,
    /// Everything has been written.
    emptied: Condvar,
    /// How many were dropped so far.
    pub(super) dropped: AtomicU64,
}

#[derive(Debug, Default)]
struct Waiting {
    lines: Vec<u8>,
    /// Since this was last told.
    dropped: u64,
    /// The thread has lines in its hands, or has just had.
    is_writing: bool,
}

impl Queue {
    /// Adds a line, or drops it where too many wait.
    pub(super) fn push(&self, line: &[u8]) {
        let mut waiting = self.waiting.lock().expect("nothing panics while it holds this");
        if waiting.lines.len() + line.len() > CAPACITY {
            waiting.dropped += 1;
            drop(waiting);
            self.dropped.fetch_add(1, Relaxed);
            return;
        }
        let is_waited_for = waiting.lines.is_empty() && !waiting.is_writing;
        waiting.lines.extend_from_slice(line);
        drop(waiting);
        if is_waited_for {
            self.filled.notify_one();
        }
    }

    /// Waits for lines, no longer than a second, and takes them all; tells how many were dropped behind them.
    pub(super) fn take(&self, lines: &mut Vec<u8>) -> u64 {
        let mut waiting = self.waiting.lock().expect("nothing panics while it holds this");
        waiting.is_writing = false;
        if waiting.lines.is_empty() {
            self.emptied.notify_all();
        }
        (waiting, _) = self
            .filled
            .wait_timeout_while(waiting, Duration::from_secs(1), |waiting| waiting.lines.is_empty())
            .expect("nothing panics while it holds this");
        waiting.is_writing = true;
        mem::swap(&mut waiting.lines, lines);
        mem::take(&mut waiting.dropped)
    }

    /// Waits until everything is written, but no longer than this.
    pub(super) fn flush(&self, limit: Duration) {
        let waiting = self.waiting.lock().expect("nothing panics while it holds this");
        let is_busy = |waiting: &mut Waiting| waiting.is_writing || !waiting.lines.is_empty();
        drop(self.emptied.wait_timeout_while(waiting, limit, is_busy));
    }
}
