//! Log lines on their way to stdout: a thread empties their queue, so that a reader who stops reading stops nothing else.

use std::{
    io::{self, ErrorKind, Write},
    panic,
    sync::{Arc, atomic::Ordering::Relaxed},
    thread,
    time::Duration,
};

use rustix::stdio;
use tracing::warn;
use tracing_subscriber::fmt::MakeWriter;

use super::queue::Queue;
use crate::metrics::Metrics;

/// From one write to the next. To wake the thread for each line would cost more than to write it at once.
const PAUSE: Duration = Duration::from_millis(5);

/// Where log lines are written to. A clone is another handle to the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct LogWriter(Arc<Queue>);

impl LogWriter {
    /// Starts the thread that writes to stdout.
    pub(super) fn start() -> io::Result<Self> {
        let writer = Self::default();
        let queue = writer.0.clone();
        thread::Builder::new().name("log".to_owned()).spawn(move || write_out(&queue, write_to_stdout))?;
        Ok(writer)
    }

    /// Waits until everything is written, but no longer than this.
    pub(crate) fn flush(&self, limit: Duration) {
        self.0.flush(limit);
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

/// Writes all that waits in one go, again and again; `write` tells how much of it was not written.
fn write_out(queue: &Queue, write: impl Fn(&[u8]) -> usize) {
    let mut lines = Vec::new();
    loop {
        let dropped = queue.take(&mut lines);
        // Stands behind the last line that was let in.
        if dropped > 0 {
            let tell = || warn!(lines = dropped, "log lines were dropped: stdout was not read");
            // The service's own layers see it too; a panic of theirs must not end the log.
            let _ = panic::catch_unwind(tell);
        }
        let lost = write(&lines);
        let lost = lines[lines.len() - lost..].iter().filter(|byte| **byte == b'\n').count();
        queue.dropped.fetch_add(lost as u64, Relaxed);
        lines.clear();
        thread::sleep(PAUSE);
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

impl<'a> MakeWriter<'a> for LogWriter {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(&self.0)
    }
}

/// Takes a whole line with each write, as `fmt` writes them.
pub(crate) struct Line<'a>(&'a Queue);

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
