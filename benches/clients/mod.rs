//! Clients that cost little themselves: blocking, one request at a time, and no more of the response is understood than where
//! it ends.

use std::{
    io::{BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

/// Connections that are kept in one round.
pub(crate) const CLIENTS: usize = 32;

const BODY: [u8; 1024] = [b'x'; 1024];

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Load {
    Get,
    Post,
    GetHttp2,
    PostHttp2,
}

impl Load {
    pub(crate) const ALL: [Self; 4] = [Self::Get, Self::Post, Self::GetHttp2, Self::PostHttp2];
    pub(crate) const NAMES: [&'static str; 4] = ["GET", "POST 1 KiB", "GET, HTTP/2", "POST 1 KiB, HTTP/2"];

    /// Requests per second over one round.
    pub(crate) fn run(self, address: SocketAddr, round: Duration) -> f64 {
        let (done, stop) = (AtomicU64::new(0), AtomicBool::new(false));
        let began = Instant::now();
        thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(|| {
                    let mut ask = self.client(address);
                    while !stop.load(Relaxed) {
                        ask();
                        done.fetch_add(1, Relaxed);
                    }
                });
            }
            thread::sleep(round);
            stop.store(true, Relaxed);
        });
        done.load(Relaxed) as f64 / began.elapsed().as_secs_f64()
    }

    fn client(self, address: SocketAddr) -> Box<dyn FnMut()> {
        let http1 = || Http1::connect(address);
        match self {
            Self::Get => {
                let mut client = http1();
                Box::new(move || client.ask(b"GET / HTTP/1.1\r\nhost: bench\r\n\r\n", b"}"))
            }
            Self::Post => {
                let mut client = http1();
                let mut request =
                    b"POST /copy HTTP/1.1\r\nhost: bench\r\ncontent-length: 1024\r\n\r\n".to_vec();
                request.extend(BODY);
                Box::new(move || client.ask(&request, b"xxxx"))
            }
            // Fields of HPACK's static table, RFC 7541 appendix A: the method, http, the path.
            Self::GetHttp2 => {
                let mut client = Http2::connect(address);
                Box::new(move || client.ask(&[0x82, 0x86, 0x84], &[]))
            }
            Self::PostHttp2 => {
                let mut client = Http2::connect(address);
                Box::new(move || client.ask(b"\x83\x86\x04\x05/copy", &BODY))
            }
        }
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("it listens");
    stream.set_nodelay(true).expect("it is a TCP socket");
    stream
}

/// One kept connection.
pub(crate) struct Http1(TcpStream);

impl Http1 {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self(connect(address))
    }

    /// Asks once and reads the response up to its end.
    pub(crate) fn ask(&mut self, request: &[u8], end: &[u8]) {
        self.0.write_all(request).expect("it takes requests");
        let mut response = [0; 2048];
        let mut filled = 0;
        let is_whole = |response: &[u8]| {
            let head = response.windows(4).position(|end| end == b"\r\n\r\n");
            // The body of POST is as long as it was sent.
            head.is_some_and(|head| end == b"}" || response.len() >= head + 4 + BODY.len())
                && response.ends_with(end)
        };
        while !is_whole(&response[..filled]) {
            let read = self.0.read(&mut response[filled..]).expect("it answers");
            assert!(read > 0, "the connection was closed");
            filled += read;
        }
        assert!(response.starts_with(b"HTTP/1.1 200"), "every request succeeds");
    }
}

/// A connection with frames made by hand, RFC 9113.
struct Http2 {
    stream: BufReader<TcpStream>,
    next: u32,
}

impl Http2 {
    const DATA: u8 = 0;
    const HEADERS: u8 = 1;
    const END_STREAM: u8 = 1;
    const END_HEADERS: u8 = 4;

    fn connect(address: SocketAddr) -> Self {
        let mut hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        // Settings, the acknowledgement of the server's, and a window for all that will come.
        hello.extend(frame(4, 0, 0, &[]));
        hello.extend(frame(4, 1, 0, &[]));
        hello.extend(frame(8, 0, 0, &(1_u32 << 30).to_be_bytes()));
        let mut stream = connect(address);
        stream.write_all(&hello).expect("it takes a preface");
        Self { stream: BufReader::new(stream), next: 1 }
    }

    fn ask(&mut self, fields: &[u8], body: &[u8]) {
        let stream = self.next;
        self.next += 2;
        let last = if body.is_empty() { Self::END_STREAM } else { 0 };
        let mut request = frame(Self::HEADERS, Self::END_HEADERS | last, stream, fields);
        if !body.is_empty() {
            request.extend(frame(Self::DATA, Self::END_STREAM, stream, body));
        }
        self.stream.get_mut().write_all(&request).expect("it takes requests");
        loop {
            let mut head = [0; 9];
            self.stream.read_exact(&mut head).expect("it answers");
            let [a, b, c, kind, flags, id @ ..] = head;
            let mut payload = [0; 1 << 14];
            let payload = &mut payload[..u32::from_be_bytes([0, a, b, c]) as usize];
            self.stream.read_exact(payload).expect("it answers");
            if u32::from_be_bytes(id) == stream {
                // `:status: 200` in the static table.
                assert!(
                    kind == Self::DATA || kind == Self::HEADERS && payload[0] == 0x88,
                    "every request succeeds"
                );
                if flags & Self::END_STREAM != 0 {
                    return;
                }
            }
        }
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, length @ ..] = (payload.len() as u32).to_be_bytes();
    [&length[..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}
