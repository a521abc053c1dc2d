//! A TCP stream that tells what it does, and closes without destroying its last response.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::OwnedSemaphorePermit,
};
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::{Protocol, Shared, activity::Activity, transport::Socket};

/// What an HTTP/2 client says first, RFC 9113 section 3.4.
pub(super) const H2_PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What is written as one piece, in bytes.
const SMALL: usize = 512;

/// A connection is open as long as its stream lives, also when it was upgraded to something else.
#[derive(Debug)]
pub(super) struct Stream {
    socket: Socket,
    first: First,
    activity: Arc<Activity>,
    shut_down: bool,
    protocol: Protocol,
    _slot: Option<OwnedSemaphorePermit>,
    _drain_waits: TaskTrackerToken,
}

/// The bytes that were read to tell the protocol, to be read again.
#[derive(Debug, Default)]
struct First {
    bytes: [u8; H2_PREFACE.len()],
    start: usize,
    end: usize,
}

impl Stream {
    pub(super) fn new(tcp: TcpStream, shared: &Arc<Shared>, slot: Option<OwnedSemaphorePermit>) -> Self {
        let protocol = Protocol::Undecided;
        shared.connections.opened(protocol);
        Self {
            socket: Socket::Tcp(tcp),
            first: First::default(),
            activity: Arc::new(Activity::new(shared)),
            shut_down: false,
            protocol,
            _slot: slot,
            _drain_waits: shared.lifecycle.connection(),
        }
    }

    pub(super) fn activity(&self) -> &Arc<Activity> {
        &self.activity
    }

    /// Waits for enough bytes to tell the protocol; `None` when the peer closes without sending any.
    pub(super) async fn protocol(&mut self) -> io::Result<Option<Protocol>> {
        if let Some(transport) = &self.activity.shared.transport {
            self.socket.wrap(transport).await?;
        }
        loop {
            let First { bytes, end, .. } = &mut self.first;
            let read = self.socket.read(&mut bytes[*end..]).await?;
            *end += read;
            if *end == 0 {
                return Ok(None);
            }
            let protocol = match &bytes[..*end] {
                _ if self.activity.shared.limits.for_probes => Protocol::Http1,
                preface if preface == H2_PREFACE => Protocol::Http2,
                part if read > 0 && H2_PREFACE.starts_with(part) => continue,
                _ => Protocol::Http1,
            };
            self.become_protocol(protocol);
            if protocol == Protocol::Http1 {
                self.activity.bytes_read(&self.first.bytes[..self.first.end]);
            }
            return Ok(Some(protocol));
        }
    }

    /// Waits for the first bytes of another HTTP/1 request; tells whether there are any, or the peer has closed.
    pub(super) async fn next_request(&mut self) -> io::Result<bool> {
        let First { bytes, start, end } = &mut self.first;
        (*start, *end) = (0, 0);
        *end = self.socket.read(bytes).await?;
        self.activity.bytes_read(&bytes[..*end]);
        Ok(*end > 0)
    }

    /// Whether the peer has sent anything yet.
    pub(super) fn is_silent(&self) -> bool {
        self.first.end == 0
    }

    fn become_protocol(&mut self, protocol: Protocol) {
        let connections = &self.activity.shared.connections;
        connections.gone(self.protocol);
        connections.opened(protocol);
        self.protocol = protocol;
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.activity.shared.connections.gone(self.protocol);
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let First { bytes, start, end } = &mut self.first;
        if start < end {
            let count = buf.remaining().min(*end - *start);
            buf.put_slice(&bytes[*start..*start + count]);
            *start += count;
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.socket).poll_read(cx, buf))?;
        if self.protocol == Protocol::Http1 {
            self.activity.bytes_read(&buf.filled()[before..]);
        }
        Poll::Ready(Ok(()))
    }
}

impl Stream {
    /// Notices that an HTTP/1 peer closes its side, or all of it, while it waits for its response.
    fn watch_peer(&self, cx: &mut Context<'_>) {
        match self.socket.poll_peek(cx, &mut ReadBuf::new(&mut [0])) {
            Poll::Ready(Ok(0)) => self.activity.half_closed(),
            Poll::Ready(Err(_)) => self.activity.gone(),
            // Another request, or nothing.
            Poll::Ready(Ok(_)) | Poll::Pending => {}
        }
    }

    fn note(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match written {
            Poll::Pending => self.activity.write_blocked(),
            Poll::Ready(Ok(count)) => self.activity.bytes_written(count),
            Poll::Ready(Err(_)) => {}
        }
        written
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write(cx, bytes);
        self.note(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // Most responses are so small that it costs the kernel more to put them together.
        let mut whole = [0; SMALL];
        let length = parts.iter().map(|part| part.len()).sum();
        if let Some(mut rest) = whole.get_mut(..length) {
            for part in parts {
                let (to, after) = rest.split_at_mut(part.len());
                to.copy_from_slice(part);
                rest = after;
            }
            return self.poll_write(cx, &whole[..length]);
        }
        let written = Pin::new(&mut self.socket).poll_write_vectored(cx, parts);
        self.note(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.protocol == Protocol::Http1 && self.activity.is_peer_unwatched() {
            self.watch_peer(cx);
        }
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    /// Closes our side and reads on until the peer closes its own: a socket closed with unread bytes sends a
    /// reset, which destroys a response that is still on its way. RFC 9112 section 9.6 asks for the same.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.shut_down {
            ready!(Pin::new(&mut self.socket).poll_shutdown(cx))?;
            self.shut_down = true;
            self.activity.closed();
        }
        let mut scratch = [0; 2048];
        loop {
            let mut unread = ReadBuf::new(&mut scratch);
            ready!(Pin::new(&mut self.socket).poll_read(cx, &mut unread))?;
            if unread.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use axum::Router;
    use proptest::prelude::*;
    use socket2::{Domain, Socket as Socket2, Type};

    use super::*;
    use crate::{
        config::Config,
        fuzz_tests::{Input, holds},
        server::{Limits, tests::server},
    };

    /// A client that sends these pieces and closes.
    struct Pieces(VecDeque<Vec<u8>>);

    impl AsyncRead for Pieces {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            if let Some(mut piece) = self.0.pop_front() {
                let rest = piece.split_off(piece.len().min(buf.remaining()));
                buf.put_slice(&piece);
                if !rest.is_empty() {
                    self.0.push_front(rest);
                }
            }
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncWrite for Pieces {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// Which protocol is told from it, and what is read afterwards.
    async fn served(input: &Input, shared: &Arc<Shared>) -> (Option<Protocol>, Vec<u8>) {
        // Not connected, as it is replaced.
        let socket = Socket2::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_nonblocking(true).unwrap();
        let tcp = TcpStream::from_std(socket.into()).unwrap();
        let mut stream = Stream::new(tcp, shared, None);
        // An empty piece would be the end.
        let pieces = input.pieces().filter(|piece| !piece.is_empty()).map(<[u8]>::to_vec).collect();
        stream.socket = Socket::Wrapped(Box::new(Pieces(pieces)));
        let protocol = stream.protocol().await.unwrap();
        let mut read = Vec::new();
        // Who reads takes as much at a time as it likes.
        let mut part = [0; 7];
        while let count @ 1.. = stream.read(&mut part).await.unwrap() {
            read.extend(&part[..count]);
        }
        (protocol, read)
    }

    #[test]
    fn any_first_bytes_are_read_again_and_the_preface_alone_is_http2() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        let shared = |for_probes| {
            let limits = Limits { for_probes, ..Limits::from(&Config::default()) };
            server(Router::new(), limits, None).shared
        };
        let (service, admin) = (shared(false), shared(true));
        holds("http2", |input| {
            let http1 = Some(Protocol::Http1).filter(|_| !input.bytes.is_empty());
            let is_http2 = input.bytes.starts_with(H2_PREFACE);
            let expected = if is_http2 { Some(Protocol::Http2) } else { http1 };
            prop_assert_eq!(runtime.block_on(served(input, &service)), (expected, input.bytes.clone()));
            prop_assert_eq!(runtime.block_on(served(input, &admin)), (http1, input.bytes.clone()));
            Ok(())
        });
    }
}
