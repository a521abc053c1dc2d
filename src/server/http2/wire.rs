//! The stream between hyper and an HTTP/2 peer: GOAWAY travels with a response, and what holds up its stream is reset.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

use crate::{
    lifecycle::Phase,
    server::{
        activity::{Activity, Leaving},
        stream::{H2_PREFACE, Stream},
    },
};
use landfall_frames::{
    frames::{self, ACK, Frame, FrameScanner, GOAWAY, HEAD, HEADERS, KIND_OFFSET, PING, RST_STREAM, UNKNOWN},
    streams::Streams,
};

/// The last stream of a GOAWAY that refuses none yet, RFC 9113 section 6.8.
const ALL_STREAMS: u32 = u32::MAX >> 1;

/// Error codes, RFC 9113 section 7.
const NO_ERROR: u32 = 0;
const CANCEL: u32 = 8;

/// Sees each frame of both directions, and adds frames of its own. hyper's own way out follows the first GOAWAY with
/// a final one after one round trip, and refuses what a client had begun to ask before it heard of the first: here,
/// all that comes is still answered.
#[derive(Debug)]
pub(super) struct Wire {
    stream: Box<Stream>,
    activity: Arc<Activity>,
    incoming: FrameScanner,
    outgoing: FrameScanner,
    streams: Streams,
    idle_pings: IdlePings,
    /// Frames of our own to the peer, and how much of them has been written.
    own: Vec<u8>,
    own_written: usize,
    /// What hyper is to read as if it came from the peer.
    for_hyper: Vec<u8>,
    final_goaway_sent: bool,
    stall: Option<Pin<Box<Sleep>>>,
    stalled_inside_frame: bool,
}

impl Wire {
    pub(super) fn new(stream: Box<Stream>) -> Self {
        Self {
            activity: stream.activity().clone(),
            stream,
            incoming: FrameScanner::behind(H2_PREFACE.len()),
            outgoing: FrameScanner::default(),
            streams: Streams::default(),
            idle_pings: IdlePings::default(),
            own: Vec::new(),
            own_written: 0,
            for_hyper: Vec::new(),
            final_goaway_sent: false,
            stall: None,
            stalled_inside_frame: false,
        }
    }

    fn received(&mut self, bytes: &mut [u8]) {
        let Self { incoming, streams, idle_pings, .. } = self;
        let mut answers = Vec::new();
        incoming.scan(bytes, |frame, payload, end| {
            streams.received(frame, payload);
            if idle_pings.received(frame, payload) {
                answers.push(end);
            }
        });
        for end in answers {
            // hyper did not send the ping, and logs a warning; a frame of no known type is ignored.
            if let Some(kind) = (end + KIND_OFFSET).checked_sub(HEAD) {
                bytes[kind] = UNKNOWN;
            }
        }
        self.note();
    }

    fn sent(&mut self, parts: &[IoSlice<'_>], mut count: usize) {
        for part in parts {
            let bytes = &part[..part.len().min(count)];
            count -= bytes.len();
            self.outgoing.scan(bytes, |frame, payload, _| self.streams.sent(frame, payload));
        }
        self.note();
    }

    fn note(&self) {
        if self.streams.count() > 0 && self.activity.leaving() == Leaving::Quiet {
            self.activity.leave(Leaving::Draining);
        }
        self.activity.frames_passed(self.streams.count() > 0, self.incoming.is_in_header_block());
    }

    /// Whether these bytes complete the last response that is open.
    fn is_last_response(&self, parts: &[IoSlice<'_>]) -> bool {
        let (mut outgoing, mut streams) = (self.outgoing.clone(), self.streams.clone());
        for part in parts {
            outgoing.scan(part, |frame, payload, _| streams.sent(frame, payload));
        }
        self.streams.count() > 0 && streams.count() == 0 && outgoing.is_between_frames()
    }

    /// The next frame of our own, which is as good as sent.
    fn next_own(&mut self) -> Option<Vec<u8>> {
        match self.activity.leaving() {
            Leaving::No | Leaving::GoawaySent => None,
            Leaving::Draining | Leaving::Quiet => self.next_of_drain(),
            Leaving::GoawayRequested => Some(self.first_goaway()),
            Leaving::Close if self.final_goaway_sent => None,
            Leaving::Close => {
                self.final_goaway_sent = true;
                Some(goaway(self.streams.last()))
            }
        }
    }

    /// What a peer hears without a response that is written now.
    fn next_of_drain(&mut self) -> Option<Vec<u8>> {
        let closing = self.activity.shared.lifecycle.phase() >= Phase::Closing;
        let is_quiet = self.activity.leaving() == Leaving::Quiet;
        let is_due = match self.streams.count() {
            // One that has not asked yet would go, and its next connection too, and never ask.
            0 if is_quiet && (closing || self.activity.is_used()) => {
                if !self.idle_pings.are_answered() {
                    return self.idle_pings.next();
                }
                true
            }
            // With one alone, its response will bring it.
            0 | 1 => false,
            _ => closing,
        };
        is_due.then(|| self.first_goaway())
    }

    fn first_goaway(&mut self) -> Vec<u8> {
        self.activity.leave(Leaving::GoawaySent);
        goaway(ALL_STREAMS)
    }

    /// Writes what there is of our own, where a frame may stand.
    fn poll_own(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let may_begin = self.outgoing.is_between_frames();
            if self.own.is_empty() && may_begin {
                self.own = self.next_own().unwrap_or_default();
            }
            if self.own.is_empty() || (self.own_written == 0 && !may_begin) {
                return Poll::Ready(Ok(()));
            }
            while self.own_written < self.own.len() {
                let rest = &self.own[self.own_written..];
                self.own_written += ready!(Pin::new(&mut *self.stream).poll_write(cx, rest))?;
            }
            self.own.clear();
            self.own_written = 0;
        }
    }

    /// Ends the streams that the peer has held up for too long, and comes back when the next one is due.
    fn poll_stalled(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let limit = self.activity.shared.limits.stall;
        if self.incoming.is_between_frames() {
            self.stalled_inside_frame = false;
        }
        while let Some(due) = self.streams.next_due(limit) {
            let timer = self.stall.get_or_insert_with(|| Box::pin(sleep_until(due)));
            if timer.as_mut().poll(cx).is_pending() {
                break;
            }
            if Instant::now() < due {
                timer.as_mut().reset(due);
            } else if self.incoming.is_between_frames() {
                self.reset(self.streams.due(Instant::now(), limit));
            } else if self.stalled_inside_frame {
                self.activity.stalled();
                return Err(io::ErrorKind::TimedOut.into());
            } else {
                self.stalled_inside_frame = true;
                timer.as_mut().reset(Instant::now() + limit);
            }
        }
        Ok(())
    }

    /// Ends streams on both sides; hyper takes that from the peer alone.
    fn reset(&mut self, streams: Vec<u32>) {
        for id in streams {
            let reset = frames::encode(RST_STREAM, id, &CANCEL.to_be_bytes());
            self.for_hyper.extend(&reset);
            self.own.extend(reset);
            self.streams.close(id);
        }
        self.note();
    }
}

fn goaway(last: u32) -> Vec<u8> {
    frames::encode(GOAWAY, 0, &[last.to_be_bytes(), NO_ERROR.to_be_bytes()].concat())
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_stalled(cx)?;
        if !self.for_hyper.is_empty() {
            let count = buf.remaining().min(self.for_hyper.len());
            buf.put_slice(&self.for_hyper[..count]);
            self.for_hyper.drain(..count);
            return Poll::Ready(Ok(()));
        }
        if self.activity.leaving() == Leaving::Close {
            // The end of the stream makes hyper close its own side.
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut *self.stream).poll_read(cx, buf))?;
        self.received(&mut buf.filled_mut()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_own(cx))?;
        let draining = matches!(self.activity.leaving(), Leaving::Draining | Leaving::Quiet);
        if !draining || !self.is_last_response(parts) {
            let written = ready!(Pin::new(&mut *self.stream).poll_write_vectored(cx, parts))?;
            self.sent(parts, written);
            return Poll::Ready(Ok(written));
        }
        // In one write, so that a client that reads the response has read GOAWAY too.
        let length = parts.iter().map(|part| part.len()).sum();
        let goaway = goaway(ALL_STREAMS);
        let with_goaway = [parts, &[IoSlice::new(&goaway)]].concat();
        let written = ready!(Pin::new(&mut *self.stream).poll_write_vectored(cx, &with_goaway))?;
        self.sent(parts, written.min(length));
        if written >= length {
            self.activity.leave(Leaving::GoawaySent);
            self.own.extend(&goaway[written - length..]);
        }
        Poll::Ready(Ok(written.min(length)))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_own(cx))?;
        // What was just written may have shut a window.
        self.poll_stalled(cx)?;
        if !self.for_hyper.is_empty() {
            cx.waker().wake_by_ref();
        }
        Pin::new(&mut *self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_shutdown(cx)
    }
}

/// Pings that find out whether the peer reads while it is idle. A client that reads only while it waits for a
/// response may read the first one behind it; the second one comes when there is nothing else to be read.
#[derive(Debug, Default)]
struct IdlePings {
    sent: u64,
    is_outstanding: bool,
    answered: u8,
}

impl IdlePings {
    fn next(&mut self) -> Option<Vec<u8>> {
        if self.is_outstanding {
            return None;
        }
        self.is_outstanding = true;
        self.sent += 1;
        Some(frames::encode(PING, 0, &self.sent.to_be_bytes()))
    }

    /// Whether it begins an answer to a ping, of which hyper sends none.
    fn received(&mut self, frame: Frame, payload: &[u8]) -> bool {
        match frame.kind {
            HEADERS => (self.is_outstanding, self.answered) = (false, 0),
            PING if frame.has(ACK) && self.is_outstanding && payload == self.sent.to_be_bytes() => {
                self.is_outstanding = false;
                self.answered += 1;
            }
            _ => {}
        }
        frame.kind == PING && frame.has(ACK) && payload.is_empty()
    }

    fn are_answered(&self) -> bool {
        self.answered >= 2
    }
}

#[cfg(test)]
mod tests;
