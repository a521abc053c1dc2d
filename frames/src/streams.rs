//! Which streams of an HTTP/2 connection are open, told from the frames that pass, and which the peer holds up.

use std::time::Duration;

use tokio::time::Instant;

use crate::frames::{ACK, DATA, END_STREAM, Frame, HEADERS, RST_STREAM, SETTINGS, WINDOW_UPDATE};
use crate::pace::Pace;

/// RFC 9113 section 6.5.2.
const SETTINGS_INITIAL_WINDOW_SIZE: u8 = 4;
const DEFAULT_WINDOW: i64 = 65_535;

/// The open streams of a connection; one is open until the last frame of its response has been written.
#[derive(Debug, Clone)]
pub struct Streams {
    open: Vec<OpenStream>,
    last: u32,
    window: Window,
    initial_window: i64,
}

#[derive(Debug, Clone)]
struct OpenStream {
    id: u32,
    window: Window,
    response_since: Option<Instant>,
}

/// How many bytes the peer is ready to take, and since when it takes none.
#[derive(Debug, Clone)]
struct Window {
    size: i64,
    taken: u64,
    shut_since: Option<Instant>,
    pace: Pace,
}

impl Window {
    fn new(size: i64) -> Self {
        Self { size, taken: 0, shut_since: None, pace: Pace::default() }
    }

    /// The peer says so; by a new initial size it can also take something back.
    fn moves(&mut self, by: i64) {
        self.size += by;
        if self.size > 0 {
            self.shut_since = None;
        } else if self.shut_since.is_none() {
            self.shut();
        }
    }

    fn takes(&mut self, bytes: u32) {
        self.size -= i64::from(bytes);
        self.taken += u64::from(bytes);
        if self.size <= 0 {
            self.shut();
        }
    }

    fn shut(&mut self) {
        let now = Instant::now();
        self.pace.pauses(self.taken, now);
        self.shut_since = Some(now);
    }

    /// When the peer has held up a response for too long that began then, if it does.
    fn due(&self, begun: Instant, limit: Duration) -> Option<Instant> {
        Some(self.pace.due(self.shut_since?.max(begun), limit))
    }
}

impl Default for Streams {
    fn default() -> Self {
        Self {
            open: Vec::new(),
            last: 0,
            window: Window::new(DEFAULT_WINDOW),
            initial_window: DEFAULT_WINDOW,
        }
    }
}

impl Streams {
    /// How many are open.
    pub fn count(&self) -> usize {
        self.open.len()
    }

    /// The highest that the peer has opened.
    pub fn last(&self) -> u32 {
        self.last
    }

    /// Takes note of a frame from the peer.
    pub fn received(&mut self, frame: Frame, payload: &[u8]) {
        match (frame.kind, payload) {
            (HEADERS, _) if frame.stream > self.last => {
                self.last = frame.stream;
                let window = Window::new(self.initial_window);
                self.open.push(OpenStream { id: frame.stream, window, response_since: None });
            }
            (RST_STREAM, _) => self.close(frame.stream),
            (SETTINGS, &[0, SETTINGS_INITIAL_WINDOW_SIZE, a, b, c, d]) if !frame.has(ACK) => {
                let size = i64::from(u32::from_be_bytes([a, b, c, d]));
                for stream in &mut self.open {
                    stream.window.moves(size - self.initial_window);
                }
                self.initial_window = size;
            }
            (WINDOW_UPDATE, &[a, b, c, d]) => {
                let by = i64::from(u32::from_be_bytes([a, b, c, d]) & (u32::MAX >> 1));
                if frame.stream == 0 {
                    self.window.moves(by);
                } else if let Some(stream) = self.find(frame.stream) {
                    stream.window.moves(by);
                }
            }
            _ => {}
        }
    }

    /// Takes note of a frame to the peer.
    pub fn sent(&mut self, frame: Frame, payload: &[u8]) {
        if !payload.is_empty() {
            return;
        }
        match frame.kind {
            RST_STREAM => self.close(frame.stream),
            HEADERS | DATA => {
                let bytes = if frame.kind == DATA { frame.length } else { 0 };
                if bytes > 0 {
                    self.window.takes(bytes);
                }
                if frame.has(END_STREAM) {
                    self.close(frame.stream);
                } else if let Some(stream) = self.find(frame.stream) {
                    stream.response_since.get_or_insert_with(Instant::now);
                    // Also at a window of zero from the beginning.
                    stream.window.takes(bytes);
                }
            }
            _ => {}
        }
    }

    fn find(&mut self, id: u32) -> Option<&mut OpenStream> {
        self.open.iter_mut().find(|stream| stream.id == id)
    }

    /// It is open no more.
    pub fn close(&mut self, id: u32) {
        if let Some(index) = self.open.iter().position(|stream| stream.id == id) {
            self.open.swap_remove(index);
        }
    }

    /// When the peer has held up a response for too long, by its windows, if it holds up any that has begun.
    pub fn next_due(&self, limit: Duration) -> Option<Instant> {
        self.held_up(limit).map(|(_, due)| due).min()
    }

    /// Those that the peer has held up for too long.
    pub fn due(&self, now: Instant, limit: Duration) -> Vec<u32> {
        self.held_up(limit).filter(|(_, due)| *due <= now).map(|(id, _)| id).collect()
    }

    fn held_up(&self, limit: Duration) -> impl Iterator<Item = (u32, Instant)> {
        self.open.iter().filter_map(move |stream| {
            let begun = stream.response_since?;
            let windows = [&self.window, &stream.window];
            let due = windows.into_iter().filter_map(|window| window.due(begun, limit)).min()?;
            Some((stream.id, due))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use tokio::time::advance;

    use super::*;
    use crate::{frames::FrameScanner, fuzz_tests::holds, pace::SILENCE};

    const LIMIT: Duration = Duration::from_secs(10);

    fn frame(kind: u8, stream: u32, length: u32) -> Frame {
        Frame { kind, flags: 0, stream, length }
    }

    fn window_update(streams: &mut Streams, stream: u32, by: u32) {
        streams.received(frame(WINDOW_UPDATE, stream, 4), &by.to_be_bytes());
    }

    /// A stream whose response has begun.
    fn respond(streams: &mut Streams, id: u32) {
        streams.received(frame(HEADERS, id, 10), &[]);
        streams.sent(frame(HEADERS, id, 10), &[]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_is_held_up_from_the_last_byte_that_its_window_takes() {
        let mut streams = Streams::default();
        respond(&mut streams, 1);
        streams.sent(frame(DATA, 1, 65_534), &[]);
        window_update(&mut streams, 0, 1 << 20);
        assert_eq!(streams.next_due(LIMIT), None);
        advance(Duration::from_secs(1)).await;
        streams.sent(frame(DATA, 1, 1), &[]);
        assert_eq!(streams.next_due(LIMIT), Some(Instant::now() + LIMIT));
        window_update(&mut streams, 1, 1);
        assert_eq!(streams.next_due(LIMIT), None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_reserved_bit_of_a_window_update_is_no_part_of_it() {
        let mut streams = Streams::default();
        respond(&mut streams, 1);
        window_update(&mut streams, 0, 1 << 20);
        streams.sent(frame(DATA, 1, 65_535), &[]);
        window_update(&mut streams, 1, 1 << 31 | 1);
        assert_eq!(streams.next_due(LIMIT), None);
        streams.sent(frame(DATA, 1, 1), &[]);
        assert_eq!(streams.next_due(LIMIT), Some(Instant::now() + LIMIT));
    }

    #[tokio::test(start_paused = true)]
    async fn a_window_that_is_taken_back_is_shut() {
        let mut streams = Streams::default();
        respond(&mut streams, 1);
        let settings = [0, SETTINGS_INITIAL_WINDOW_SIZE, 0, 0, 0, 0];
        streams.received(frame(SETTINGS, 0, 6), &settings);
        assert_eq!(streams.next_due(LIMIT), Some(Instant::now() + LIMIT));
    }

    #[tokio::test(start_paused = true)]
    async fn a_response_that_begins_when_the_connection_is_shut_has_its_own_time() {
        let mut streams = Streams::default();
        respond(&mut streams, 1);
        window_update(&mut streams, 1, 1 << 20);
        streams.sent(frame(DATA, 1, 65_535), &[]);
        let shut = Instant::now();
        advance(Duration::from_secs(9)).await;
        respond(&mut streams, 3);
        assert_eq!(streams.due(shut + LIMIT, LIMIT), [1]);
        assert_eq!(streams.due(Instant::now() + LIMIT, LIMIT), [1, 3]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_is_open_until_the_last_frame_of_its_response() {
        let mut streams = Streams::default();
        respond(&mut streams, 1);
        respond(&mut streams, 3);
        streams.sent(Frame { flags: END_STREAM, ..frame(DATA, 1, 0) }, &[]);
        assert_eq!((streams.count(), streams.last()), (1, 3));
        streams.received(frame(HEADERS, 3, 1), &[]);
        assert_eq!(streams.count(), 1, "trailers open nothing");
        streams.received(frame(RST_STREAM, 3, 4), &[]);
        assert_eq!(streams.count(), 0);
        respond(&mut streams, 5);
        streams.sent(frame(RST_STREAM, 5, 4), &[]);
        assert_eq!(streams.count(), 0);
    }

    /// The open streams of a connection by their numbers: whether a response has begun, and its window.
    #[derive(Default)]
    struct Reference {
        open: BTreeMap<u32, (bool, i64)>,
        last: u32,
        window: i64,
        initial: i64,
    }

    impl Reference {
        fn received(&mut self, frame: Frame, payload: &[u8]) {
            let number = || payload.try_into().map(u32::from_be_bytes).unwrap_or(0);
            match (frame.kind, payload.len()) {
                (HEADERS, 0) if frame.stream > self.last => {
                    self.last = frame.stream;
                    self.open.insert(frame.stream, (false, self.initial));
                }
                (RST_STREAM, 0) => drop(self.open.remove(&frame.stream)),
                (SETTINGS, 6) if payload.starts_with(&[0, 4]) && !frame.has(ACK) => {
                    let new = payload[2..].iter().fold(0, |number, byte| number << 8 | i64::from(*byte));
                    self.open.values_mut().for_each(|(_, window)| *window += new - self.initial);
                    self.initial = new;
                }
                (WINDOW_UPDATE, 4) if frame.stream == 0 => self.window += i64::from(number() << 1 >> 1),
                (WINDOW_UPDATE, 4) => {
                    if let Some((_, window)) = self.open.get_mut(&frame.stream) {
                        *window += i64::from(number() << 1 >> 1);
                    }
                }
                _ => {}
            }
        }

        fn sent(&mut self, frame: Frame, payload: &[u8]) {
            match (frame.kind, payload.len()) {
                (HEADERS | DATA, 0) => {
                    let bytes = if frame.kind == DATA { i64::from(frame.length) } else { 0 };
                    self.window -= bytes;
                    if frame.has(END_STREAM) {
                        self.open.remove(&frame.stream);
                    } else if let Some(stream) = self.open.get_mut(&frame.stream) {
                        *stream = (true, stream.1 - bytes);
                    }
                }
                (RST_STREAM, 0) => drop(self.open.remove(&frame.stream)),
                _ => {}
            }
        }

        fn held_up(&self) -> Vec<u32> {
            let is_held_up = |&(begun, window): &(bool, i64)| begun && (window <= 0 || self.window <= 0);
            self.open.iter().filter(|(_, stream)| is_held_up(stream)).map(|(id, _)| *id).collect()
        }
    }

    #[test]
    fn any_frames_of_both_sides_tell_what_is_open_and_what_is_held_up() {
        holds("http2", |input| {
            let mut scanners = [FrameScanner::behind(24), FrameScanner::default()];
            let mut streams = Streams::default();
            let mut reference = Reference { window: 65_535, initial: 65_535, ..Reference::default() };
            // Pieces in turn from the one and from the other side.
            for (number, piece) in input.pieces().enumerate() {
                scanners[number % 2].scan(piece, |frame, payload, _| {
                    if number % 2 == 0 {
                        streams.received(frame, payload);
                        reference.received(frame, payload);
                    } else {
                        streams.sent(frame, payload);
                        reference.sent(frame, payload);
                    }
                });
                let mut held_up = streams.due(Instant::now() + SILENCE, LIMIT);
                held_up.sort_unstable();
                prop_assert_eq!(held_up, reference.held_up());
                prop_assert_eq!((streams.count(), streams.last()), (reference.open.len(), reference.last));
            }
            Ok(())
        });
    }
}
