//! The HTTP/2 client's socket: what was asked is written before anything more is read.
//!
//! The h2 crate reads first. A GOAWAY read between the asking and the writing would have it open a
//! stream that RFC 9113 section 6.8 forbids, and a look at the socket before writing is what these
//! clients do not do.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

const PREFACE: usize = 24;
const FRAME_HEAD: usize = 9;
const HEADERS: u8 = 1;

/// A socket that reads nothing while a request waits to be written.
pub(super) struct Wire {
    stream: TcpStream,
    requests: Arc<Requests>,
    frames: Frames,
}

/// The requests of one connection, asked and written.
#[derive(Default)]
pub(super) struct Requests {
    asked: AtomicU32,
    written: AtomicU32,
    reader: Mutex<Option<Waker>>,
}

/// Counts the HEADERS frames in the bytes that a client writes.
struct Frames {
    skip: usize,
    head: Vec<u8>,
}

impl Wire {
    /// Takes over a connected socket.
    pub(super) fn new(stream: TcpStream) -> (Self, Arc<Requests>) {
        let requests = Arc::new(Requests::default());
        let frames = Frames { skip: PREFACE, head: Vec::with_capacity(FRAME_HEAD) };
        (Self { stream, requests: requests.clone(), frames }, requests)
    }
}

impl Requests {
    /// Holds reading back until one more request is written.
    pub(super) fn ask(&self) {
        self.asked.fetch_add(1, Ordering::AcqRel);
    }

    /// Takes an [`ask`](Self::ask) back: its request will never be written.
    pub(super) fn withdraw(&self) {
        self.asked.fetch_sub(1, Ordering::AcqRel);
        self.wake();
    }

    /// Says whether as many requests were written as were asked.
    pub(super) fn all_written(&self) -> bool {
        self.written.load(Ordering::Acquire) >= self.asked.load(Ordering::Acquire)
    }

    fn wrote(&self, requests: u32) {
        if requests > 0 {
            self.written.fetch_add(requests, Ordering::AcqRel);
            self.wake();
        }
    }

    fn wake(&self) {
        let reader = self.reader.lock().expect("nothing panics while it holds a waker").take();
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}

impl Frames {
    fn requests_in(&mut self, mut bytes: &[u8]) -> u32 {
        let mut requests = 0;
        while !bytes.is_empty() {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            let wanted = (FRAME_HEAD - self.head.len()).min(bytes.len());
            self.head.extend_from_slice(&bytes[..wanted]);
            bytes = &bytes[wanted..];
            if let [a, b, c, kind, ..] = self.head[..]
                && self.head.len() == FRAME_HEAD
            {
                self.skip = u32::from_be_bytes([0, a, b, c]) as usize;
                requests += u32::from(kind == HEADERS);
                self.head.clear();
            }
        }
        requests
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let waker = cx.waker().clone();
        *self.requests.reader.lock().expect("nothing panics while it holds a waker") = Some(waker);
        if !self.requests.all_written() {
            return Poll::Pending;
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = std::task::ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
        let requests = self.frames.requests_in(&bytes[..written]);
        self.requests.wrote(requests);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_counted_however_the_bytes_are_cut() {
        let mut bytes = vec![0; PREFACE];
        bytes.extend([0, 0, 6, 4, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1]);
        bytes.extend([0, 0, 2, 1, 5, 0, 0, 0, 1, 9, 9]);
        bytes.extend([0, 0, 0, 4, 1, 0, 0, 0, 0]);
        bytes.extend([0, 0, 1, 1, 5, 0, 0, 0, 3, 9]);
        for size in 1..bytes.len() {
            let mut frames = Frames { skip: PREFACE, head: Vec::new() };
            let requests: u32 = bytes.chunks(size).map(|part| frames.requests_in(part)).sum();
            assert_eq!(requests, 2, "cut to {size}");
        }
    }
}
