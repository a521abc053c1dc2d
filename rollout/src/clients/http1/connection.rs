//! HTTP/1.1 on a raw socket: writes without a look at the socket first, and reads what comes.

use std::io;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::clients::tls::{self, Transport};
use crate::record::connections::Caller;

const HEAD_LIMIT: usize = 64 * 1024;

/// A client's connection.
pub(crate) struct Connection {
    stream: Transport,
    buffer: BytesMut,
    /// By which a balancer knows it, where there is one.
    pub(crate) caller: Option<Caller>,
    /// How many responses it has carried.
    pub(crate) responses: u32,
    /// How many bytes of the present response have come.
    pub(crate) received: usize,
}

/// A response that has come in full.
pub(crate) struct Response {
    pub(crate) status: u16,
    /// Whether the connection may carry another request, as RFC 9112 section 9.3 has it.
    pub(crate) reusable: bool,
}

/// The head of a response, its body still to be read.
pub(crate) struct Head {
    pub(crate) status: u16,
    reusable: bool,
    pub(crate) body: Body,
}

/// What of a body is still to come.
pub(crate) enum Body {
    /// This many bytes.
    Length(u64),
    /// This many bytes of a chunk with its line end, then more chunks.
    Chunk(u64),
    /// Whatever comes until the connection ends.
    UntilClose,
    /// The trailers after the last chunk.
    Trailers,
    Done,
}

impl Connection {
    /// Takes over a connected socket.
    pub(crate) fn new(stream: Transport) -> Self {
        Self { stream, buffer: BytesMut::new(), caller: None, responses: 0, received: 0 }
    }

    /// The socket, for its options.
    pub(super) fn socket(&self) -> &TcpStream {
        tls::socket(&self.stream)
    }

    /// Writes a request and reads its whole response.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> io::Result<Response> {
        self.write(request).await?;
        self.response().await
    }

    /// Writes a request, or a part of one, or several.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.received = 0;
        self.stream.write_all(bytes).await
    }

    /// Says that nothing more will be written.
    pub(crate) async fn end_writing(&mut self) -> io::Result<()> {
        self.stream.shutdown().await
    }

    /// Reads a whole response.
    pub(crate) async fn response(&mut self) -> io::Result<Response> {
        // What of it came with the response before.
        self.received = self.buffer.len();
        let mut head = self.head().await?;
        while self.read_body(&mut head.body).await? {}
        Ok(self.finish(&head))
    }

    /// Writes a request and reads the head of its response.
    pub(crate) async fn send(&mut self, request: &[u8]) -> io::Result<Head> {
        self.write(request).await?;
        self.head().await
    }

    async fn head(&mut self) -> io::Result<Head> {
        loop {
            if let Some(head) = self.parse_head()? {
                // An interim response (1xx) precedes the final one; a switch of protocols is final.
                if head.status >= 200 || head.status == 101 {
                    return Ok(head);
                }
            } else {
                self.fill().await?;
            }
        }
    }

    /// Ends an exchange whose body has been read to its end.
    pub(crate) fn finish(&mut self, head: &Head) -> Response {
        self.responses += 1;
        Response { status: head.status, reusable: head.reusable }
    }

    /// Reads the next part of a body; false once it has ended as its framing says it must.
    pub(crate) async fn read_body(&mut self, body: &mut Body) -> io::Result<bool> {
        match body {
            Body::Done => return Ok(false),
            Body::Length(0) => *body = Body::Done,
            Body::Length(left) => *left -= self.discard(*left).await?,
            Body::Chunk(0) => *body = self.next_chunk().await?,
            Body::Chunk(left) => *left -= self.discard(*left).await?,
            Body::Trailers => {
                if self.line().await?.is_empty() {
                    *body = Body::Done;
                }
            }
            Body::UntilClose => match self.fill().await {
                Ok(()) => self.buffer.clear(),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => *body = Body::Done,
                Err(error) => return Err(error),
            },
        }
        Ok(!matches!(body, Body::Done))
    }

    fn parse_head(&mut self) -> io::Result<Option<Head>> {
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut response = httparse::Response::new(&mut headers);
        let length = match response.parse(&self.buffer).map_err(invalid)? {
            httparse::Status::Complete(length) => length,
            httparse::Status::Partial if self.buffer.len() < HEAD_LIMIT => return Ok(None),
            httparse::Status::Partial => return Err(invalid("an endless head")),
        };
        let status = response.code.ok_or_else(|| invalid("no status"))?;
        let mut reusable = response.version == Some(1);
        let mut body = match status {
            100..200 | 204 | 304 => Body::Done,
            _ => Body::UntilClose,
        };
        for header in response.headers {
            let value = String::from_utf8_lossy(header.value).to_ascii_lowercase();
            if header.name.eq_ignore_ascii_case("connection") {
                reusable &= !value.split(',').any(|option| option.trim() == "close");
            } else if matches!(body, Body::Done) {
                continue;
            } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
                body = Body::Chunk(0);
            } else if header.name.eq_ignore_ascii_case("content-length") && !matches!(body, Body::Chunk(_)) {
                body = Body::Length(value.trim().parse().map_err(invalid)?);
            }
        }
        reusable &= !matches!(body, Body::UntilClose);
        self.buffer.advance(length);
        Ok(Some(Head { status, reusable, body }))
    }

    async fn next_chunk(&mut self) -> io::Result<Body> {
        let line = self.line().await?;
        let size = line[..].split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        let size = std::str::from_utf8(size).map_err(invalid)?;
        match u64::from_str_radix(size, 16).map_err(invalid)? {
            0 => Ok(Body::Trailers),
            size => Ok(Body::Chunk(size.saturating_add(2))),
        }
    }

    async fn line(&mut self) -> io::Result<BytesMut> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\r\n") {
                let line = self.buffer.split_to(end);
                self.buffer.advance(2);
                return Ok(line);
            }
            if self.buffer.len() >= HEAD_LIMIT {
                return Err(invalid("an endless line"));
            }
            self.fill().await?;
        }
    }

    /// This many bytes of what follows a switch of protocols.
    pub(crate) async fn take(&mut self, length: usize) -> io::Result<BytesMut> {
        while self.buffer.len() < length {
            self.fill().await?;
        }
        Ok(self.buffer.split_to(length))
    }

    async fn discard(&mut self, wanted: u64) -> io::Result<u64> {
        if self.buffer.is_empty() {
            self.fill().await?;
        }
        let here = self.buffer.len().min(usize::try_from(wanted).unwrap_or(usize::MAX));
        self.buffer.advance(here);
        Ok(here as u64)
    }

    async fn fill(&mut self) -> io::Result<()> {
        self.buffer.reserve(2048);
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the connection was closed")),
            read => {
                self.received += read;
                Ok(())
            }
        }
    }
}

fn invalid(error: impl ToString) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not HTTP/1.1: {}", error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    /// Answers one request with these bytes, then closes.
    async fn served(bytes: &'static [u8]) -> Connection {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 1024]).await.unwrap();
            for byte in bytes.chunks(7) {
                stream.write_all(byte).await.unwrap();
                tokio::task::yield_now().await;
            }
        });
        Connection::new(Transport::Left(TcpStream::connect(address).await.unwrap()))
    }

    async fn exchanged(bytes: &'static [u8]) -> io::Result<Response> {
        served(bytes).await.exchange(b"GET / HTTP/1.1\r\n\r\n").await
    }

    #[tokio::test]
    async fn reads_a_length_and_keeps_the_connection() {
        let response = exchanged(b"HTTP/1.1 201 Created\r\nContent-Length: 5\r\n\r\nhello").await.unwrap();
        assert_eq!((response.status, response.reusable), (201, true));
    }

    #[tokio::test]
    async fn honours_connection_close() {
        let response =
            exchanged(b"HTTP/1.1 200 OK\r\nconnection: Close\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        assert!(!response.reusable);
    }

    #[tokio::test]
    async fn passes_over_an_interim_response() {
        let bytes = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n";
        assert_eq!(exchanged(bytes).await.unwrap().status, 204);
    }

    #[tokio::test]
    async fn chunks_must_end_as_framed() {
        let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1;x=y\r\n!\r\n0\r\nA: b\r\n\r\n";
        assert!(exchanged(head).await.unwrap().reusable);
        let cut = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
        assert!(exchanged(cut).await.is_err());
    }

    #[tokio::test]
    async fn a_short_body_and_no_response_are_errors() {
        assert!(exchanged(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell").await.is_err());
        assert!(exchanged(b"").await.is_err());
        assert!(exchanged(b"SSH-2.0-x\r\n").await.is_err());
    }
    #[tokio::test]
    async fn what_has_no_body_has_none_whatever_it_says() {
        let response = exchanged(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n").await.unwrap();
        assert_eq!((response.status, response.reusable), (304, true));
    }

    #[tokio::test]
    async fn chunks_win_over_a_length_and_other_fields_say_nothing() {
        let bytes = b"HTTP/1.1 200 OK\r\nServer: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
        assert!(exchanged(bytes).await.unwrap().reusable);
    }

    #[tokio::test]
    async fn a_body_without_a_length_ends_with_the_connection_but_not_with_a_reset() {
        let bytes = b"HTTP/1.1 200 OK\r\nServer: x\r\n\r\nhello";
        assert!(!exchanged(bytes).await.unwrap().reusable);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        let mut connection = Connection::new(Transport::Left(client));
        connection.write(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        let _ = server.read(&mut [0; 1024]).await.unwrap();
        server.write_all(bytes).await.unwrap();
        let mut head = connection.head().await.unwrap();
        server.set_zero_linger().unwrap();
        drop(server);
        let ended = loop {
            match connection.read_body(&mut head.body).await {
                Ok(true) => {}
                ended => break ended,
            }
        };
        assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    }

    #[tokio::test]
    async fn an_endless_head_is_refused() {
        let bytes = format!("HTTP/1.1 200 OK\r\nA: {}", "a".repeat(HEAD_LIMIT)).leak().as_bytes();
        assert!(exchanged(bytes).await.err().unwrap().to_string().ends_with("an endless head"));
    }

    #[tokio::test]
    async fn responses_and_the_bytes_of_the_one_that_broke_are_counted() {
        let bytes =
            b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell";
        let mut connection = served(bytes).await;
        connection.exchange(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        assert!(connection.response().await.is_err());
        assert_eq!((connection.responses, connection.received), (1, 42));
    }
}
