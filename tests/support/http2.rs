//! An HTTP/2 client that writes its frames by hand, RFC 9113: it reads only when the test lets it, so that it does
//! not hear of GOAWAY, or answer a ping, before.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, BufRead, BufReader, ErrorKind, Read, Write},
    net::{Shutdown, TcpStream},
};

use socket2::SockRef;

use super::{PATIENCE, process::Process};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;

const ACK: u8 = 1;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// Indexed field of HPACK's static table, RFC 7541 appendix A: `:status: 200`.
const STATUS_200: u8 = 0x80 | 8;

/// The last stream of the first GOAWAY of a graceful end: "none was refused yet".
pub(crate) const ALL_STREAMS: u32 = (1 << 31) - 1;

/// A connection, and what has been heard on it.
#[derive(Debug)]
pub(crate) struct Http2 {
    stream: BufReader<TcpStream>,
    /// What is not sent before [`Http2::send_held`] says so, if anything is held.
    held: Option<Vec<u8>>,
    next_stream: u32,
    pongs: usize,
    /// How often the peer has asked whether it is heard.
    pub(crate) pings: usize,
    /// Whether GOAWAY is the end of it all, as for the Python package h2: what comes behind it can't be read.
    pub(crate) gives_up_at_goaway: bool,
    /// Last stream and error code of each GOAWAY.
    pub(crate) goaways: Vec<(u32, u32)>,
    statuses: BTreeMap<u32, u8>,
    complete: BTreeSet<u32>,
    /// Streams that the peer has reset, and why.
    pub(crate) resets: BTreeMap<u32, u32>,
    /// Bytes of bodies.
    pub(crate) data: usize,
    /// The same by stream.
    pub(crate) lengths: BTreeMap<u32, usize>,
    /// Whether the peer has closed; then we have too.
    pub(crate) ended: bool,
}

impl Http2 {
    /// Connects, without a request yet.
    pub(crate) fn connect(process: &Process) -> Self {
        Self::connect_with(process, &[])
    }

    /// Connects with these settings, each a number and a value.
    pub(crate) fn connect_with(process: &Process, settings: &[(u16, u32)]) -> Self {
        let mut client = Self::try_connect(process).expect("the port takes connections");
        client.begin(settings);
        client
    }

    /// Connects, and says nothing.
    pub(crate) fn try_connect(process: &Process) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&process.address_of_service(), PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self {
            stream: BufReader::with_capacity(1 << 16, stream),
            held: None,
            next_stream: 1,
            pongs: 0,
            pings: 0,
            gives_up_at_goaway: false,
            goaways: Vec::new(),
            statuses: BTreeMap::new(),
            complete: BTreeSet::new(),
            resets: BTreeMap::new(),
            data: 0,
            lengths: BTreeMap::new(),
            ended: false,
        })
    }

    /// Lets the kernel hold little of what has come and is not read.
    pub(crate) fn take_little_at_a_time(&self) {
        SockRef::from(self.stream.get_ref()).set_recv_buffer_size(128 << 10).expect("a socket can be set");
    }

    /// Says what a client says first.
    pub(crate) fn begin(&mut self, settings: &[(u16, u32)]) {
        self.send(PREFACE);
        let settings = settings
            .iter()
            .flat_map(|(number, value)| number.to_be_bytes().into_iter().chain(value.to_be_bytes()));
        self.frame(SETTINGS, 0, 0, &settings.collect::<Vec<_>>());
    }

    fn acknowledge(&mut self, kind: u8, payload: &[u8]) {
        // The peer may have closed in the meantime.
        let _ = self.try_send(&encode(kind, ACK, 0, payload));
    }

    /// Sends bytes as they are.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).expect("the peer takes what is sent");
    }

    fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.held {
            Some(held) => held.write_all(bytes),
            None => self.stream.get_mut().write_all(bytes),
        }
    }

    /// Sends nothing from now on, but what [`Http2::send_held`] says.
    pub(crate) fn hold(&mut self) {
        self.held.get_or_insert_default();
    }

    /// Sends so much of what is held, or all of it, and tells how much that was. A peer that has closed takes it too.
    pub(crate) fn send_held(&mut self, most: usize) -> usize {
        let held = self.held.as_mut().expect("the test has called `hold`");
        let piece: Vec<u8> = held.drain(..most.min(held.len())).collect();
        let _ = self.stream.get_mut().write_all(&piece);
        piece.len()
    }

    /// Sends a frame.
    pub(crate) fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.send(&encode(kind, flags, stream, payload));
    }

    /// Opens a stream with a GET request.
    pub(crate) fn ask(&mut self, path: &str) -> u32 {
        // Fields of the static table: GET and http as they stand, path and authority with values of our own.
        self.open(END_HEADERS | END_STREAM, &[0x80 | 2, 0x80 | 6], &[(4, path), (1, "landfall.test")])
    }

    /// Opens a stream with a HEAD request.
    pub(crate) fn ask_head(&mut self, path: &str) -> u32 {
        self.open(END_HEADERS | END_STREAM, &[0x80 | 6], &[(2, "HEAD"), (4, path), (1, "landfall.test")])
    }

    /// Opens a stream: fields of the static table as they stand, and with values.
    pub(crate) fn open(&mut self, flags: u8, fields: &[u8], values: &[(u8, &str)]) -> u32 {
        let stream = self.next_stream;
        self.next_stream += 2;
        let mut block = fields.to_vec();
        for (name, value) in values {
            // Without indexing; the number has a prefix of 4 bits.
            let name = if *name < 15 { vec![*name] } else { vec![15, *name - 15] };
            block.extend(name);
            block.push(u8::try_from(value.len()).expect("it is short"));
            block.extend(value.as_bytes());
        }
        self.frame(HEADERS, flags, stream, &block);
        stream
    }

    /// Lets the peer send so many bytes more, on a stream or, on 0, on all together.
    pub(crate) fn allow(&mut self, stream: u32, bytes: u32) {
        self.frame(WINDOW_UPDATE, 0, stream, &bytes.to_be_bytes());
    }

    /// Opens a stream and waits for its response, which has to be 200.
    pub(crate) fn get(&mut self, path: &str) {
        let stream = self.ask(path);
        self.response(stream);
    }

    /// Waits for the end of the response on a stream.
    pub(crate) fn ended(&mut self, stream: u32) {
        self.hear(|client| client.complete.contains(&stream));
    }

    /// Waits for the complete response of a stream, which has to be 200.
    pub(crate) fn response(&mut self, stream: u32) {
        self.hear(|client| client.complete.contains(&stream) || client.resets.contains_key(&stream));
        assert_eq!(self.resets.get(&stream), None, "stream {stream} was reset");
        assert_eq!(self.statuses[&stream], STATUS_200, "the first field of the response on stream {stream}");
    }

    /// Whether the head of a stream's response has come.
    pub(crate) fn has_begun(&self, stream: u32) -> bool {
        self.statuses.contains_key(&stream)
    }

    /// Whether all of a stream's response has come.
    pub(crate) fn is_complete(&self, stream: u32) -> bool {
        self.complete.contains(&stream)
    }

    /// Waits for the complete response of a stream, and hears what came in the same reading.
    pub(crate) fn answer_and_what_is_read_with_it(&mut self, stream: u32) {
        self.response(stream);
        while !self.stream.buffer().is_empty() {
            self.hear_frame();
        }
    }

    /// Waits until something has come, without hearing what it is.
    pub(crate) fn let_something_come(&mut self) {
        self.stream.fill_buf().expect("something comes");
    }

    /// Hears what the peer has to say by itself to a connection that has just begun.
    pub(crate) fn settle(&mut self) {
        // The first may be read along with the preface, and be answered before anything else is thought of.
        for _ in 0..2 {
            self.frame(PING, 0, 0, &[0; 8]);
            let before = self.pongs;
            self.hear(|client| client.pongs > before);
        }
    }

    /// Reads frames until it holds.
    pub(crate) fn hear(&mut self, mut holds: impl FnMut(&Self) -> bool) {
        while !holds(self) {
            assert!(!self.ended, "the connection ended before; GOAWAYs {:?}", self.goaways);
            self.hear_frame();
        }
    }

    /// Reads one frame, or the end.
    pub(crate) fn hear_frame(&mut self) {
        let mut head = [0; 9];
        match self.stream.read_exact(&mut head) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                self.ended = true;
                // Fails when the peer's process is gone already.
                let _ = self.stream.get_ref().shutdown(Shutdown::Both);
                return;
            }
            read => read.expect("a frame comes"),
        }
        let number = |bytes: &[u8]| bytes.iter().fold(0, |number, &byte| number << 8 | u32::from(byte));
        let (length, kind, flags) = (number(&head[..3]), head[3], head[4]);
        let stream = number(&head[5..]);
        let mut payload = vec![0; length as usize];
        self.stream.read_exact(&mut payload).expect("a frame is complete");
        let gone = self.gives_up_at_goaway && !self.goaways.is_empty();
        assert!(!gone || kind == GOAWAY, "behind GOAWAY comes a frame of type {kind} on stream {stream}");
        match kind {
            SETTINGS if flags & ACK == 0 => self.acknowledge(SETTINGS, &[]),
            PING if flags & ACK == 0 => {
                self.pings += 1;
                self.acknowledge(PING, &payload);
            }
            PING => self.pongs += 1,
            GOAWAY => self.goaways.push((number(&payload[..4]), number(&payload[4..8]))),
            RST_STREAM => {
                self.resets.insert(stream, number(&payload));
            }
            HEADERS | DATA => {
                if kind == DATA {
                    self.data += payload.len();
                    *self.lengths.entry(stream).or_default() += payload.len();
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

fn encode(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("the tests' frames are small");
    let mut frame = length.to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}
