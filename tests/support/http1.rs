//! An HTTP/1.1 client on a bare socket: it never looks at the socket before it sends, and never tries again.

use std::{
    io::{self, BufRead, BufReader, ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    time::Duration,
};

use serde_json::Value;
use socket2::SockRef;

use super::PATIENCE;

/// A connection. What fails panics, except where a method returns a `Result`.
pub(crate) struct Http1(BufReader<TcpStream>);

/// What came back.
#[derive(Debug, Default)]
pub(crate) struct Response {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Http1 {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).expect("the port takes connections")
    }

    pub(crate) fn try_connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Sends a request and reads its response.
    pub(crate) fn get(&mut self, path: &str) -> Response {
        self.ask(path);
        self.response()
    }

    pub(crate) fn try_get(&mut self, path: &str) -> io::Result<Response> {
        self.try_send(request("GET", path).as_bytes())?;
        self.try_response()
    }

    /// Sends a GET request.
    pub(crate) fn ask(&mut self, path: &str) {
        self.send(&request("GET", path));
    }

    pub(crate) fn send(&mut self, text: &str) {
        self.try_send(text.as_bytes()).expect("the peer takes what is sent");
    }

    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.get_mut().write_all(bytes)
    }

    /// Says that nothing more will be sent.
    pub(crate) fn finish_sending(&self) {
        // Fails when the peer has gone, as reading will tell.
        let _ = self.0.get_ref().shutdown(Shutdown::Write);
    }

    /// Leaves without a proper end: what is on its way is lost.
    pub(crate) fn reset(self) {
        SockRef::from(self.0.get_ref()).set_linger(Some(Duration::ZERO)).expect("a socket can be set");
    }

    pub(crate) fn response(&mut self) -> Response {
        self.try_response().expect("the response comes")
    }

    pub(crate) fn try_response(&mut self) -> io::Result<Response> {
        let mut response = self.try_head()?;
        let mut body = Vec::new();
        if response.header("transfer-encoding") == Some("chunked") {
            while let Some(chunk) = self.try_chunk()? {
                body.extend(chunk);
            }
        } else {
            let length = response.header("content-length").unwrap_or("0").parse().map_err(invalid)?;
            body.resize(length, 0);
            self.0.read_exact(&mut body)?;
        }
        response.body = String::from_utf8(body).map_err(invalid)?;
        Ok(response)
    }

    /// The head of a response whose body is read by chunks, or that has none.
    pub(crate) fn head(&mut self) -> Response {
        self.try_head().expect("the response comes")
    }

    pub(crate) fn try_head(&mut self) -> io::Result<Response> {
        let status_line = self.try_line()?;
        let status = status_line.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)?.parse().ok());
        let mut response =
            Response { status: status.ok_or_else(|| invalid(status_line))?, ..Response::default() };
        loop {
            let line = self.try_line()?;
            if line.is_empty() {
                return Ok(response);
            }
            let (name, value) = line.split_once(": ").ok_or_else(|| invalid(line.clone()))?;
            response.headers.push((name.to_lowercase(), value.to_owned()));
        }
    }

    /// The next chunk of a chunked body; `None` when the body is complete.
    pub(crate) fn chunk(&mut self) -> Option<String> {
        let chunk = self.try_chunk().expect("the body goes on");
        chunk.map(|bytes| String::from_utf8(bytes).expect("the tests' chunks are text"))
    }

    pub(crate) fn try_chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let length = usize::from_str_radix(&self.try_line()?, 16).map_err(invalid)?;
        let mut chunk = vec![0; length];
        self.0.read_exact(&mut chunk)?;
        self.try_line()?;
        Ok((length > 0).then_some(chunk))
    }

    /// A line as an upgraded connection speaks it.
    pub(crate) fn line(&mut self) -> String {
        self.try_line().expect("the line comes")
    }

    fn try_line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        match line.strip_suffix('\n') {
            Some(line) => Ok(line.strip_suffix('\r').unwrap_or(line).to_owned()),
            None => Err(io::Error::new(ErrorKind::UnexpectedEof, format!("closed after {line:?}"))),
        }
    }

    /// Requires that the peer closes, properly and without another byte; then we close too.
    pub(crate) fn ended(&mut self) {
        let rest = self.try_rest().expect("the peer closes without a reset");
        assert!(rest.is_empty(), "before its end came {:?}", String::from_utf8_lossy(&rest));
        // Fails when the peer's process is gone already.
        let _ = self.0.get_ref().shutdown(Shutdown::Both);
    }

    /// All that comes until the peer closes.
    pub(crate) fn try_rest(&mut self) -> io::Result<Vec<u8>> {
        let mut rest = Vec::new();
        self.0.read_to_end(&mut rest).map(|_| rest)
    }

    /// Whether the connection ends, properly or not, before a complete line comes.
    pub(crate) fn is_cut_off(&mut self) -> bool {
        self.try_line().is_err_and(|error| error.kind() != ErrorKind::WouldBlock)
    }

    /// Whether nothing comes for so long.
    pub(crate) fn is_silent_for(&mut self, time: Duration) -> bool {
        self.0.get_ref().set_read_timeout(Some(time)).expect("the time is not zero");
        let nothing = self.0.fill_buf().is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
        self.0.get_ref().set_read_timeout(Some(PATIENCE)).expect("the time is not zero");
        nothing
    }
}

fn invalid(what: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what)
}

/// A request without a body.
pub(crate) fn request(method: &str, path: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nhost: landfall.test\r\n\r\n")
}

/// The head of a POST with a JSON body of this length.
pub(crate) fn post(path: &str, length: usize) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nhost: landfall.test\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\n\r\n"
    )
}

impl Response {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Whether it says that the connection ends with it.
    pub(crate) fn says_close(&self) -> bool {
        self.header("connection") == Some("close")
    }

    /// Requires a problem with this status.
    pub(crate) fn problem(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let problem: Value = serde_json::from_str(&self.body).expect("a problem is JSON");
        assert_eq!(problem["status"], status, "{self:?}");
        problem
    }
}
