//! Which streams of an HTTP/2 connection are open, told from the frames that pass, and which the peer holds up.

use tokio::time::Instant;

use super::frames::{ACK, DATA, END_STREAM, Frame, HEADERS, RST_STREAM, SETTINGS, WINDOW_UPDATE};

/// RFC 9113 section 6.5.2.
const SETTINGS_INITIAL_WINDOW_SIZE: u8 = 4;
const DEFAULT_WINDOW: i64 = 65_535;

/// The open streams of a connection; one is open until the last frame of its response has been written.
#[derive(Debug, Clone)]
pub(super) struct Streams {
    open: Vec<OpenStream>,
    last: u32,
    window: Window,
    initial_window: i64,
}

#[derive(Debug, Clone)]
struct OpenStream {
    id: u32,
    window: Window,
    has_response: bool,
}

/// How many bytes the peer is ready to take, and since when it takes none.
#[derive(Debug, Clone)]
struct Window {
    size: i64,
    shut_since: Option<Instant>,
}

impl Window {
    fn new(size: i64) -> Self {
        Self { size, shut_since: None }
    }

    /// The peer says so; by a new initial size it can also take something back.
    fn moves(&mut self, by: i64) {
        self.size += by;
        self.shut_since = if self.size > 0 { None } else { self.shut_since.or_else(|| Some(Instant::now())) };
    }

    fn takes(&mut self, bytes: u32) {
        self.size -= i64::from(bytes);
        if self.size <= 0 {
            self.shut_since = Some(Instant::now());
        }
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
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// The highest that the peer has opened.
    pub(super) fn last(&self) -> u32 {
        self.last
    }

    /// Takes note of a frame from the peer.
    pub(super) fn received(&mut self, frame: Frame, payload: &[u8]) {
        match (frame.kind, payload) {
            (HEADERS, _) if frame.stream > self.last => {
                self.last = frame.stream;
                let window = Window::new(self.initial_window);
                self.open.push(OpenStream { id: frame.stream, window, has_response: false });
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
    pub(super) fn sent(&mut self, frame: Frame, payload: &[u8]) {
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
                    stream.has_response = true;
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
    pub(super) fn close(&mut self, id: u32) {
        if let Some(index) = self.open.iter().position(|stream| stream.id == id) {
            self.open.swap_remove(index);
        }
    }

    /// Since when the peer holds a response up that has begun, by its windows.
    pub(super) fn held_up_since(&self) -> Option<Instant> {
        self.held_up().map(|(_, since)| since).min()
    }

    /// Those that the peer has held up since then or longer.
    pub(super) fn held_up_until(&self, then: Instant) -> Vec<u32> {
        self.held_up().filter(|(_, since)| *since <= then).map(|(id, _)| id).collect()
    }

    fn held_up(&self) -> impl Iterator<Item = (u32, Instant)> {
        let begun = self.open.iter().filter(|stream| stream.has_response);
        begun.filter_map(|stream| {
            let since = [self.window.shut_since, stream.window.shut_since].into_iter().flatten().min();
            since.map(|since| (stream.id, since))
        })
    }
}
