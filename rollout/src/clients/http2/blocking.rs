//! The HTTP/2 client of a blocking program: it reads only while it awaits a response, and takes a GOAWAY that it
//! finds before that response's end for the end of the connection. The request is then lost.
//!
//! So do the Python packages h2 and httpx, whose idle connections nobody reads.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker, ready};
use std::time::Instant;

use bytes::Bytes;
use h2::client::{Connection, ResponseFuture, SendRequest};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::timeout;

use super::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, Frame, Frames, GOAWAY, HEADERS, PREFACE, RST_STREAM,
};
use crate::clients::client::{Client, Loss, lost};
use crate::clients::pacer::Pacer;
use crate::clients::tls::Transport;
use crate::record::connections::Caller;
use crate::record::outcome::Outcome;

/// A connection that makes progress only during [`exchange`](Self::exchange).
struct Kept {
    sender: SendRequest<Bytes>,
    connection: Connection<Socket, Bytes>,
    reading: Arc<Reading>,
    caller: Caller,
    responses: u32,
}

/// A socket that is read only from the writing of a request to the end of its response.
struct Socket {
    stream: Transport,
    reading: Arc<Reading>,
    sent: Frames,
    received: Frames,
}

/// What is read, and what has been.
#[derive(Default)]
struct Reading(Mutex<State>);

#[derive(Default)]
struct State {
    /// The stream whose response is awaited.
    awaited: Option<u32>,
    /// Its request has been written.
    written: bool,
    /// Who is to read from then on.
    reader: Option<Waker>,
    /// The response ends with its headers, which are not complete yet.
    ends_with_headers: bool,
    /// The GOAWAY came before the awaited response had ended.
    goaway_first: bool,
}

/// How an exchange came to its end.
enum End {
    Response(u16),
    Goaway,
    Failed(h2::Error),
}

/// Sends until the run ends.
pub(in crate::clients) async fn run(mut client: Client, mut pacer: Pacer) {
    let request = client.context.target.http2().expect("the run checked it before it began");
    let mut kept = None;
    while client.pause(&mut pacer).await {
        let began = Instant::now();
        match send(&client, kept.take(), &request).await {
            Ok((connection, status)) => {
                client.answered(status, began.elapsed());
                kept = Some(connection);
            }
            Err(loss) => client.failed(loss),
        }
    }
}

async fn send(client: &Client, kept: Option<Kept>, request: &http::Request<()>) -> Result<(Kept, u16), Loss> {
    let mut begun = None;
    if let Some(mut kept) = kept {
        // An error here means that nothing was written: a GOAWAY or the end was read with the last response.
        begun = kept.sender.send_request(request.clone(), true).ok().map(|(response, _)| (kept, response));
    }
    let (mut connection, response) = match begun {
        Some(begun) => begun,
        None => {
            let mut fresh = connect(client).await?;
            let begun = fresh.sender.send_request(request.clone(), true);
            let (response, _) = begun.map_err(|error| Loss::on_new_connection(fresh.caller, error))?;
            (fresh, response)
        }
    };
    let mut received = 0;
    let exchange = connection.exchange(response, &mut received);
    let ended = timeout(client.context.target.response_timeout, exchange).await;
    let before = connection.responses;
    let (outcome, detail) = match ended {
        Ok(End::Response(status)) => {
            connection.responses += 1;
            return Ok((connection, status));
        }
        Ok(End::Goaway) => (lost(before, received), "a GOAWAY stood before the response's end".to_string()),
        Ok(End::Failed(error)) => (lost(before, received), error.to_string()),
        Err(_) => (Outcome::ResponseTimeout, "no response in time".to_string()),
    };
    Err(Loss {
        outcome,
        answered_before: before,
        bytes_received: received,
        caller: Some(connection.caller),
        detail,
    })
}

async fn connect(client: &Client) -> Result<Kept, Loss> {
    let (stream, caller) = client.connect().await?;
    let reading = Arc::new(Reading::default());
    let (sent, received) = (Frames::after(PREFACE), Frames::after(0));
    let socket = Socket { stream, reading: reading.clone(), sent, received };
    let handshake = h2::client::handshake(socket).await;
    let (sender, connection) = handshake.map_err(|error| Loss::on_new_connection(caller, error))?;
    Ok(Kept { sender, connection, reading, caller, responses: 0 })
}

impl Kept {
    /// Writes the request and reads up to the end of its response, or to a GOAWAY that stands before it.
    async fn exchange(&mut self, response: ResponseFuture, received: &mut usize) -> End {
        self.reading.begin(response.stream_id().as_u32());
        let mut whole = pin!(async {
            let (head, mut body) = response.await?.into_parts();
            *received = 1;
            while let Some(part) = body.data().await {
                let part = part?;
                *received += part.len();
                body.flow_control().release_capacity(part.len())?;
            }
            Ok(head.status.as_u16())
        });
        let (reading, connection) = (&self.reading, &mut self.connection);
        let mut closed = false;
        let mut drive = move |cx: &mut Context<'_>| {
            closed = closed || Pin::new(&mut *connection).poll(cx).is_ready();
            Poll::Ready(())
        };
        let ended = poll_fn(|cx| {
            let _ = drive(cx);
            let response = whole.as_mut().poll(cx);
            if reading.state().goaway_first {
                return Poll::Ready(End::Goaway);
            }
            Poll::Ready(match ready!(response) {
                Ok(status) => End::Response(status),
                Err(error) => End::Failed(error),
            })
        })
        .await;
        // What the last frames call for, such as the acknowledgement of settings, is still to be written.
        poll_fn(drive).await;
        ended
    }
}

impl Reading {
    fn begin(&self, stream: u32) {
        *self.state() = State { awaited: Some(stream), ..State::default() };
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nothing panics while it holds the state")
    }
}

impl State {
    fn see(&mut self, frame: Frame) {
        if frame.kind == GOAWAY {
            self.goaway_first |= self.awaited.is_some();
        }
        if self.awaited != Some(frame.stream) {
            return;
        }
        let has = |flag| frame.flags & flag != 0;
        let ended = match frame.kind {
            HEADERS => {
                self.ends_with_headers = has(END_STREAM);
                has(END_STREAM) && has(END_HEADERS)
            }
            CONTINUATION => self.ends_with_headers && has(END_HEADERS),
            DATA => has(END_STREAM),
            RST_STREAM => true,
            _ => false,
        };
        if ended {
            self.awaited = None;
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { stream, reading, received, .. } = self.get_mut();
        let mut state = reading.state();
        if state.awaited.is_none() || !state.written {
            // While idle nobody is to be woken: the next exchange polls by itself.
            state.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let before = buf.filled().len();
        ready!(Pin::new(stream).poll_read(cx, buf))?;
        received.feed(&buf.filled()[before..], |frame| state.see(frame));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Self { stream, reading, sent, .. } = self.get_mut();
        let written = ready!(Pin::new(stream).poll_write(cx, bytes))?;
        if sent.count(HEADERS, &bytes[..written]) > 0 {
            let mut state = reading.state();
            state.written = true;
            state.reader.take().into_iter().for_each(Waker::wake);
        }
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
    use crate::clients::http2::frames::{ACK, PING};
    use crate::clients::http2::peer::{self, GOAWAY_FRAME, PING_FRAME};
    use crate::record::kind::Kind;

    #[tokio::test]
    async fn a_goaway_that_came_while_idle_loses_the_next_request() {
        let run = peer::drive(Kind::H2Blocking, run, &PING_FRAME, &GOAWAY_FRAME).await;
        assert_eq!((run.tally.lost_kept, run.tally.failures()), (1, 1));
        assert!(run.tally.ok >= 2 && run.connections == 2, "{run:?}");
    }

    #[tokio::test]
    async fn a_goaway_with_a_response_loses_nothing() {
        let run = peer::drive(Kind::H2Blocking, run, &GOAWAY_FRAME, &[]).await;
        assert_eq!(run.tally.failures(), 0);
        assert_eq!(run.connections, 2, "{run:?}");
    }

    #[test]
    fn a_goaway_before_the_responses_last_frame_is_before_its_end() {
        let frame = |kind, flags, stream| Frame { kind, flags, stream };
        let (goaway, settings) = (frame(GOAWAY, 0, 0), frame(4, ACK, 0));
        let head = frame(HEADERS, END_HEADERS, 1);
        for (frames, first) in [
            (&[head, frame(DATA, END_STREAM, 1), goaway][..], false),
            (&[frame(HEADERS, END_STREAM, 1), frame(CONTINUATION, END_HEADERS, 1), goaway], false),
            (&[frame(RST_STREAM, 0, 1), goaway], false),
            (&[settings, goaway, head], true),
            (&[head, frame(DATA, 0, 1), goaway], true),
            (&[frame(HEADERS, END_STREAM, 1), goaway], true),
            (&[frame(HEADERS, END_STREAM | END_HEADERS, 3), goaway], true),
        ] {
            let mut state = State { awaited: Some(1), ..State::default() };
            frames.iter().for_each(|frame| state.see(*frame));
            assert_eq!(state.goaway_first, first, "{frames:?}");
        }
    }

    #[tokio::test]
    async fn nothing_is_read_while_idle() {
        let run = peer::drive(Kind::H2Blocking, run, &PING_FRAME, &PING_FRAME).await;
        assert_eq!(run.received[..4], [HEADERS, PING, HEADERS, PING]);
        assert_eq!((run.tally.failures(), run.connections), (0, 1), "{run:?}");
    }
}
