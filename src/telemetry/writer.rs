//! Log lines on their way to stdout: a bounded queue and a thread that empties it, so that a reader who stops reading
//! stops nothing else.

use std::{
    io::{self, ErrorKind, Write},
    mem,
    panic::{self, AssertUnwindSafe},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use rustix::stdio;
use tracing::warn;

use crate::metrics::Metrics;

/// Bytes that may wait; the thread has as many again in its hands.
const CAPACITY: usize = 1 << 20;

/// From one write to the next. To wake the thread for each line would cost more than to write it at once.
const PAUSE: Duration = Duration::from_millis(5);

/// How often the thread looks around while nothing is logged.
const LOOK: Duration = Duration::from_secs(1);

/// Where log lines are written to. A clone is another handle to the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct LogWriter(pub(super) Arc<Queue>);

#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    /// There are lines to write.
    filled: Condvar,
    /// Everything has been written.
    emptied: Condvar,
    dropped: AtomicU64,
}

#[derive(Debug, Default)]
struct Waiting {
    lines: Vec<u8>,
    /// Since this was last told.
    dropped: u64,
    /// The thread has lines in its hands, or has just had.
    is_writing: bool,
}

impl LogWriter {
    /// Starts the thread that writes to stdout, and calls this every second at least.
    pub(super) fn start(each_second: impl Fn() + Send + 'static) -> io::Result<Self> {
        let writer = Self::default();
        let queue = writer.0.clone();
        thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || queue.write_out(write_to_stdout, each_second))?;
        Ok(writer)
    }

    /// Waits until everything is written, but no longer than this.
    pub(crate) fn flush(&self, limit: Duration) {
        let waiting = self.0.waiting.lock().expect("nothing panics while it holds this");
        let is_busy = |waiting: &mut Waiting| waiting.is_writing || !waiting.lines.is_empty();
        drop(self.0.emptied.wait_timeout_while(waiting, limit, is_busy));
    }

    /// Exports how many lines were dropped.
    pub(crate) fn export(&self, metrics: &Metrics) {
        let dropped = metrics.counter(
            "log_lines_dropped_total",
            "Log lines that were not written, because stdout was not read or failed.",
        );
        let queue = self.0.clone();
        metrics.on_scrape(move || dropped.inc_by(queue.dropped.load(Relaxed).saturating_sub(dropped.get())));
    }
}

impl Queue {
    fn push(&self, line: &[u8]) {
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

    /// Writes all that waits in one go, again and again; `write` tells how much of it was not written.
    fn write_out(&self, write: impl Fn(&[u8]) -> usize, each_second: impl Fn()) {
        let mut lines = Vec::new();
        loop {
            let dropped = self.take(&mut lines);
            let tell = || {
                each_second();
                // Stands behind the last line that was let in.
                if dropped > 0 {
                    warn!(lines = dropped, "log lines were dropped: stdout was not read");
                }
            };
            // The service's own layers see it too; a panic of theirs must not end the log.
            let _ = panic::catch_unwind(AssertUnwindSafe(tell));
            let lost = write(&lines);
            let lost = lines[lines.len() - lost..].iter().filter(|byte| **byte == b'\n').count();
            self.dropped.fetch_add(lost as u64, Relaxed);
            lines.clear();
            thread::sleep(PAUSE);
        }
    }

    /// Waits for lines and takes them all; tells how many were dropped behind them.
    fn take(&self, lines: &mut Vec<u8>) -> u64 {
        let mut waiting = self.waiting.lock().expect("nothing panics while it holds this");
        waiting.is_writing = false;
        if waiting.lines.is_empty() {
            self.emptied.notify_all();
        }
        (waiting, _) = self
            .filled
            .wait_timeout_while(waiting, LOOK, |waiting| waiting.lines.is_empty())
            .expect("nothing panics while it holds this");
        waiting.is_writing = true;
        mem::swap(&mut waiting.lines, lines);
        mem::take(&mut waiting.dropped)
    }
}

/// Writes until everything is written or stdout fails; tells how many bytes are left.
fn write_to_stdout(mut bytes: &[u8]) -> usize {
    while !bytes.is_empty() {
        match rustix::io::write(stdio::stdout(), bytes).map_err(|error| io::Error::from(error).kind()) {
            Ok(written) => bytes = &bytes[written..],
            Err(ErrorKind::Interrupted) => {}
            // Somebody who shares the pipe with us has made it so.
            Err(ErrorKind::WouldBlock) => thread::sleep(Duration::from_millis(10)),
            Err(_) => break,
        }
    }
    bytes.len()
}

/// Takes a whole line with each write, as `fmt` writes them.
impl Write for &Queue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
