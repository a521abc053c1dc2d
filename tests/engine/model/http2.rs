//! HTTP/2: each stream that was opened is answered, also behind the first GOAWAY, up to the one that says which was the
//! last; and nobody hears of GOAWAY before the drain.

use std::{collections::BTreeMap, thread};

use fastrand::Rng;

use super::{CLOSING, DRAINING, Progress, SIGNALLED, pause, run};
use crate::support::http2::{ALL_STREAMS, DATA, END_HEADERS, END_STREAM, Http2, PING, RST_STREAM};

const INITIAL_WINDOW_SIZE: u16 = 4;

#[test]
fn any_client_gets_what_it_is_owed_on_each_stream_whenever_the_process_drains() {
    run(|rng, _, process, progress| {
        thread::sleep(pause(rng) * 4);
        let Ok(client) = Http2::try_connect(process) else {
            return assert!(progress.has(CLOSING), "the listener is open until the delay is over");
        };
        // From then on, a connection may come too late.
        if !progress.has(CLOSING) {
            Connection { client, owed: BTreeMap::new(), progress }.play(rng);
        }
    });
}

struct Connection<'a> {
    client: Http2,
    /// The length of the body that each stream is to get.
    owed: BTreeMap<u32, usize>,
    progress: &'a Progress,
}

impl Drop for Connection<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("owed {:?}; progress {:?}; {:?}", self.owed, self.progress, self.client);
        }
    }
}

impl Connection<'_> {
    fn play(mut self, rng: &mut Rng) {
        if rng.bool() {
            self.client.take_little_at_a_time();
        }
        self.client.hold();
        self.client.begin(&[(INITIAL_WINDOW_SIZE, [1 << 20, 30_000][rng.usize(..2)])]);
        for _ in 0..rng.usize(1..5) {
            for _ in 0..rng.usize(..4) {
                let stream = self.open(rng);
                if rng.u8(..12) == 0 {
                    self.client.frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes());
                    self.owed.remove(&stream);
                }
            }
            while self.client.send_held(rng.usize(1..200)) > 0 {
                if rng.u8(..4) == 0 {
                    thread::sleep(pause(rng));
                }
            }
            if rng.bool() {
                self.read_owed();
            }
        }
        match rng.u8(..10) {
            // It leaves.
            0 => {}
            _ => {
                self.progress.wait_for(DRAINING);
                if self.client.goaways.is_empty() {
                    self.open(rng);
                }
                self.client.send_held(usize::MAX);
                self.read_owed();
                while self.client.goaways.is_empty() {
                    self.hear();
                }
            }
        }
    }

    fn open(&mut self, rng: &mut Rng) -> u32 {
        let kib = rng.usize(1..300);
        let (stream, length) = match rng.u8(..8) {
            0..3 => (self.client.ask("/"), r#"{"name":"testbed"}"#.len()),
            3 => (self.client.ask_head("/"), 0),
            4 => (self.client.ask(&format!("/block/{}", kib % 4)), "blocked\n".len()),
            5 | 6 => (self.client.ask(&format!("/large/{kib}")), kib << 10),
            _ => {
                // Fields of the static table: POST and http as they stand, path and authority with values of our own.
                let values = [(4, "/mirror"), (1, "landfall.test")];
                let stream = self.client.open(END_HEADERS, &[0x80 | 3, 0x80 | 6], &values);
                let body = vec![b'a'; kib * 10];
                let (first, second) = body.split_at(rng.usize(..body.len()));
                self.client.frame(DATA, 0, stream, first);
                self.client.frame(PING, 0, 0, &[0; 8]);
                self.client.frame(DATA, END_STREAM, stream, second);
                (stream, body.len())
            }
        };
        self.client.allow(stream, 1 << 20);
        self.client.allow(0, 1 << 20);
        self.owed.insert(stream, length);
        stream
    }

    /// Reads until every stream has what it is owed.
    fn read_owed(&mut self) {
        while let Some((&stream, &length)) = self.owed.first_key_value() {
            if self.client.is_complete(stream) {
                assert_eq!(
                    self.client.lengths.get(&stream).copied().unwrap_or(0),
                    length,
                    "of stream {stream}"
                );
                self.owed.remove(&stream);
            } else if self.client.ended {
                let last = self.client.goaways.last().map_or(ALL_STREAMS, |&(last, _)| last);
                return assert!(
                    stream > last,
                    "stream {stream} of {:?}; {:?}",
                    self.owed,
                    self.client.goaways
                );
            } else {
                self.hear();
            }
        }
    }

    fn hear(&mut self) {
        let before = self.client.goaways.len();
        self.client.hear_frame();
        // What the client owes the server, a ping's answer say, goes with the rest.
        self.client.send_held(usize::MAX);
        assert!(self.client.resets.is_empty(), "{:?}", self.client.resets);
        assert!(
            !self.client.ended || !self.client.goaways.is_empty(),
            "closed without GOAWAY; owed {:?}",
            self.owed
        );
        if self.client.goaways.len() > before {
            assert!(self.progress.has(SIGNALLED), "GOAWAY without a drain");
            assert_eq!(self.client.goaways[0], (ALL_STREAMS, 0));
            assert_eq!(self.client.goaways[before].1, 0);
            // A client that can't read behind GOAWAY would lose what has begun; in the delay, it is waited for.
            let cut_off =
                self.owed.keys().find(|&&id| self.client.has_begun(id) && !self.client.is_complete(id));
            assert!(
                cut_off.is_none() || self.progress.has(CLOSING),
                "GOAWAY before the end of stream {cut_off:?}"
            );
        }
    }
}
