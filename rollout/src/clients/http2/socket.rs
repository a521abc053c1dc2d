//! The busy HTTP/2 client's socket: a request that has begun is written before anything more is read, and
//! once a GOAWAY has been read no request begins.
//!
//! The h2 crate alone takes a request between the reading of a GOAWAY and the handling of it, and
//! then opens a stream that RFC 9113 section 6.8 forbids: a loss that would not be the server's.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::frames::{Frames, GOAWAY, HEADERS, PREFACE};
use crate::clients::tls::Transport;

/// A socket that reads nothing while a request waits to be written.
pub(super) struct Socket {
    stream: Transport,
    requests: Arc<Requests>,
    sent: Frames,
    received: Frames,
}

/// The requests of one connection, begun and written.
#[derive(Default)]
pub(super) struct Requests(Mutex<State>);

#[derive(Default)]
struct State {
    begun: u32,
    written: u32,
    goaway: bool,
    reader: Option<Waker>,
}

impl Socket {
    /// Takes over a connected socket.
    pub(super) fn new(stream: Transport) -> (Self, Arc<Requests>) {
        let requests = Arc::new(Requests::default());
        let (sent, received) = (Frames::after(PREFACE), Frames::after(0));
        (Self { stream, requests: requests.clone(), sent, received }, requests)
    }
}

impl Requests {
    /// Holds reading back until one more request is written; false once a GOAWAY has come.
    pub(super) fn begin(&self) -> bool {
        let mut state = self.state();
        state.begun += u32::from(!state.goaway);
        !state.goaway
    }

    /// Takes an [`begin`](Self::begin) back: its request will never be written.
    pub(super) fn cancel(&self) {
        self.state().begun -= 1;
        self.wake();
    }

    fn wrote(&self, requests: u32) {
        if requests > 0 {
            self.state().written += requests;
            self.wake();
        }
    }

    fn wake(&self) {
        let reader = self.state().reader.take();
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nothing panics while it holds the state")
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { stream, requests, received, .. } = self.get_mut();
        // Held while reading, so that no request begins between the arrival of a GOAWAY and our knowing.
        let mut state = requests.state();
        if state.written < state.begun {
            state.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let before = buf.filled().len();
        ready!(Pin::new(stream).poll_read(cx, buf))?;
        state.goaway |= received.count(GOAWAY, &buf.filled()[before..]) > 0;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Self { stream, requests, sent, .. } = self.get_mut();
        let written = ready!(Pin::new(stream).poll_write(cx, bytes))?;
        requests.wrote(sent.count(HEADERS, &bytes[..written]));
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
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    const REQUEST: [u8; 11] = [0, 0, 2, HEADERS, 5, 0, 0, 0, 1, 9, 9];
    const GOING: [u8; 17] = [0, 0, 8, GOAWAY, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0];

    /// A socket with a request that was begun, and its peer, which has said that it goes.
    async fn begun() -> (Socket, Arc<Requests>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut peer, _) = listener.accept().await.unwrap();
        peer.write_all(&GOING).await.unwrap();
        let (socket, requests) = Socket::new(Transport::Left(stream));
        assert!(requests.begin());
        (socket, requests, peer)
    }

    #[tokio::test]
    async fn nothing_is_read_before_a_begun_request_is_written_and_none_begins_after_a_goaway() {
        let (mut socket, requests, _peer) = begun().await;
        let mut bytes = [0; 17];
        let early = tokio::time::timeout(std::time::Duration::from_millis(50), socket.read(&mut bytes)).await;
        assert!(early.is_err(), "read before the request was written");
        socket.write_all(&[&[0; PREFACE], &REQUEST[..]].concat()).await.unwrap();
        socket.read_exact(&mut bytes).await.unwrap();
        assert_eq!(bytes, GOING);
        assert!(!requests.begin(), "begun after a GOAWAY");
    }

    #[tokio::test]
    async fn a_request_that_is_taken_back_holds_no_reading_up() {
        let (mut socket, requests, mut peer) = begun().await;
        let mut bytes = [0; 17];
        let reading = async {
            tokio::join!(socket.read_exact(&mut bytes), async { requests.cancel() }).0.unwrap();
        };
        tokio::time::timeout(std::time::Duration::from_secs(10), reading).await.unwrap();
        // The peer hears of the end.
        socket.shutdown().await.unwrap();
        let end = tokio::time::timeout(std::time::Duration::from_secs(10), peer.read_u8());
        assert_eq!(end.await.unwrap().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
