//! Log lines on their way to stdout: a thread empties their queue, so that a reader who stops reading stops nothing else.

use std::{
    io::{self, ErrorKind, Write},
    panic::{self, AssertUnwindSafe},
    sync::{Arc, atomic::Ordering::Relaxed},
    thread,
    time::Duration,
};

use rustix::stdio;
use tracing::warn;

use super::queue::Queue;

/// From one write to the next. To wake the thread for each line would cost more than to write it at once.
const PAUSE: Duration = Duration::from_millis(5);

/// Starts the thread that writes to stdout, and calls this every second at least.
pub(super) fn start(queue: Arc<Queue>, each_second: impl Fn() + Send + 'static) -> io::Result<()> {
    let thread = thread::Builder::new().name("log".to_owned());
    thread.spawn(move || write_out(&queue, write_to_stdout, each_second)).map(drop)
}

/// Writes all that waits in one go, again and again; `write` tells how much of it was not written.
fn write_out(queue: &Queue, write: impl Fn(&[u8]) -> usize, each_second: impl Fn()) {
    let mut lines = Vec::new();
    loop {
        let dropped = queue.take(&mut lines);
        let tell = || {
            each_second();
            // Stands behind the last line that was let in.
            if dropped > 0 {
                warn!(lines = dropped, "log lines were dropped: stdout was not read");
            }
        };
        // Layers of one's own see it too; a panic of theirs must not end the log.
        let _ = panic::catch_unwind(AssertUnwindSafe(tell));
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

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn lines_that_were_not_written_to_their_end_are_counted_as_dropped() {
        let queue = Arc::<Queue>::default();
        let (written, writes) = mpsc::channel();
        let writer = queue.clone();
        let write = move |lines: &[u8]| {
            let _ = written.send(lines.to_vec());
            lines.strip_prefix(b"one\nt").map_or(0, <[u8]>::len)
        };
        queue.push(b"one\ntwo\nthree\n");
        thread::spawn(move || write_out(&writer, write, || ()));
        let next = || writes.recv_timeout(Duration::from_secs(10)).expect("it goes on");
        assert_eq!(next(), b"one\ntwo\nthree\n");
        queue.push(b"once\nmore, in\nlines\n");
        next();
        assert_eq!(queue.dropped.load(Relaxed), 2);
    }
}
