//! What the bytes of a connection pass through before they are served: nothing, or what the service puts there, such
//! as TLS.

use std::{
    fmt, io, mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf, empty},
    net::TcpStream,
};

/// A connection as the service hands it out.
pub(super) trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

type Wrapping = Pin<Box<dyn Future<Output = io::Result<Socket>> + Send>>;

/// What wraps each connection that was accepted.
#[derive(Clone)]
pub(crate) struct Transport(Arc<dyn Fn(TcpStream) -> Wrapping + Send + Sync>);

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport").finish_non_exhaustive()
    }
}

impl Transport {
    pub(crate) fn new<T, F>(wrap: impl Fn(TcpStream) -> F + Send + Sync + 'static) -> Self
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
        F: Future<Output = io::Result<T>> + Send + 'static,
    {
        Self(Arc::new(move |tcp| {
            let wrapping = wrap(tcp);
            Box::pin(async move { Ok(Socket::Wrapped(Box::new(wrapping.await?))) })
        }))
    }
}

/// The lowest part of a connection's stream.
pub(super) enum Socket {
    Tcp(TcpStream),
    Wrapped(Box<dyn Connection>),
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp(_) => "Tcp",
            Self::Wrapped(_) => "Wrapped",
        })
    }
}

impl Socket {
    /// Has it wrapped, which may take as many round trips as it likes: the caller limits the time.
    pub(super) async fn wrap(&mut self, transport: &Transport) -> io::Result<()> {
        // Nobody reads until its TCP stream comes back from the future that wraps it.
        if let Self::Tcp(tcp) = mem::replace(self, Self::Wrapped(Box::new(empty()))) {
            *self = (transport.0)(tcp).await?;
        }
        Ok(())
    }

    /// Looks at what the peer has sent without taking it; what is wrapped can't be looked into.
    pub(super) fn poll_peek(&self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(tcp) => tcp.poll_peek(cx, buf),
            Self::Wrapped(_) => Poll::Pending,
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Self::Wrapped(wrapped) => Pin::new(wrapped).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_write(cx, bytes),
            Self::Wrapped(wrapped) => Pin::new(wrapped).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_write_vectored(cx, parts),
            Self::Wrapped(wrapped) => Pin::new(wrapped).poll_write_vectored(cx, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(tcp) => tcp.is_write_vectored(),
            Self::Wrapped(wrapped) => wrapped.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_flush(cx),
            Self::Wrapped(wrapped) => Pin::new(wrapped).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Wrapped(wrapped) => Pin::new(wrapped).poll_shutdown(cx),
        }
    }
}
