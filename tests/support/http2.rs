//! An HTTP/2 client that writes its frames by hand, RFC 9113: it hears of GOAWAY only when the test lets it, and
//! answers pings or doesn't.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{ErrorKind, Read, Write},
    net::{Shutdown, TcpStream},
};

use super::{PATIENCE, process::Process};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;

const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// Indexed field of HPACK's static table, RFC 7541 appendix A: `:status: 200`.
const STATUS_200: u8 = 0x80 | 8;

/// The last stream of the first GOAWAY of a graceful end: "none was refused yet".
pub(crate) const ALL_STREAMS: u32 = (1 << 31) - 1;

/// A connection, and what has been heard on it.
pub(crate) struct Http2 {
    stream: TcpStream,
    next_stream: u32,
    pongs: usize,
    /// Last stream and error code of each GOAWAY.
    pub(crate) goaways: Vec<(u32, u32)>,
    statuses: BTreeMap<u32, u8>,
    complete: BTreeSet<u32>,
    /// Bytes of bodies.
    pub(crate) data: usize,
    /// Whether the peer has closed; then we have too.
    pub(crate) ended: bool,
}

impl Http2 {
    /// Connects, without a request yet.
    pub(crate) fn connect(process: &Process) -> Self {
        let stream = TcpStream::connect_timeout(&process.address_of_service(), PATIENCE)
            .expect("the port takes connections");
        stream.set_nodelay(true).expect("a socket can be set");
        stream.set_read_timeout(Some(PATIENCE)).expect("the time is not zero");
        let mut client = Self {
            stream,
            next_stream: 1,
            pongs: 0,
            goaways: Vec::new(),
            statuses: BTreeMap::new(),
            complete: BTreeSet::new(),
            data: 0,
            ended: false,
        };
        client.stream.write_all(PREFACE).expect("the peer takes what is sent");
        client.frame(SETTINGS, 0, 0, &[]);
        client
    }

    fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).expect("the tests' frames are small");
        let mut frame = length.to_be_bytes()[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        self.stream.write_all(&frame).expect("the peer takes what is sent");
    }

    /// Opens a stream with a GET request.
    pub(crate) fn ask(&mut self, path: &str) -> u32 {
        self.ask_by(&[0x80 | 2], path)
    }

    /// Opens a stream with a HEAD request.
    pub(crate) fn ask_head(&mut self, path: &str) -> u32 {
        self.ask_by(b"\x02\x04HEAD", path)
    }

    fn ask_by(&mut self, method: &[u8], path: &str) -> u32 {
        let stream = self.next_stream;
        self.next_stream += 2;
        // Fields of the static table: http as it stands, path and authority with values of our own.
        let mut block = [method, &[0x80 | 6]].concat();
        for (name, value) in [(4, path), (1, "landfall.test")] {
            block.extend([name, u8::try_from(value.len()).expect("it is short")]);
            block.extend(value.as_bytes());
        }
        self.frame(HEADERS, END_HEADERS | END_STREAM, stream, &block);
        stream
    }

    /// Opens a stream and waits for its answer, which has to be 200.
    pub(crate) fn get(&mut self, path: &str) {
        let stream = self.ask(path);
        self.answer(stream);
    }

    /// Waits for the end of the answer on a stream.
    pub(crate) fn ended(&mut self, stream: u32) {
        self.hear(|client| client.complete.contains(&stream));
    }

    /// Waits for the complete answer of a stream, which has to be 200.
    pub(crate) fn answer(&mut self, stream: u32) {
        self.ended(stream);
        assert_eq!(self.statuses[&stream], STATUS_200, "the first field of the answer on stream {stream}");
    }

    /// Hears what the peer has to say by itself to a connection that has just begun.
    pub(crate) fn settle(&mut self) {
        // The first may be read along with the preface, and be answered before anything else is thought of.
        for pongs in 1..=2 {
            self.frame(PING, 0, 0, &[0; 8]);
            self.hear(|client| client.pongs == pongs);
        }
    }

    /// Reads frames until it holds.
    pub(crate) fn hear(&mut self, holds: impl Fn(&Self) -> bool) {
        while !holds(self) {
            assert!(!self.ended, "the connection ended before; GOAWAYs {:?}", self.goaways);
            self.hear_frame();
        }
    }

    fn hear_frame(&mut self) {
        let mut head = [0; 9];
        match self.stream.read_exact(&mut head) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                self.ended = true;
                // Fails when the peer's process is gone already.
                let _ = self.stream.shutdown(Shutdown::Both);
                return;
            }
            read => read.expect("a frame comes"),
        }
        let number = |bytes: &[u8]| bytes.iter().fold(0, |number, &byte| number << 8 | u32::from(byte));
        let (length, kind, flags) = (number(&head[..3]), head[3], head[4]);
        let stream = number(&head[5..]);
        let mut payload = vec![0; length as usize];
        self.stream.read_exact(&mut payload).expect("a frame is complete");
        match kind {
            SETTINGS if flags & ACK == 0 => self.frame(SETTINGS, ACK, 0, &[]),
            PING if flags & ACK == 0 => self.frame(PING, ACK, 0, &payload),
            PING => self.pongs += 1,
            GOAWAY => self.goaways.push((number(&payload[..4]), number(&payload[4..8]))),
            RST_STREAM => panic!("stream {stream} was reset with code {}", number(&payload)),
            HEADERS | DATA => {
                if kind == DATA {
                    self.data += payload.len();
                } else {
                    self.statuses.entry(stream).or_insert(payload[0]);
                }
                if flags & END_STREAM != 0 {
                    self.complete.insert(stream);
                }
            }
            _ => {}
        }
    }
}
