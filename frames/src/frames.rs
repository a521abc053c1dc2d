//! Where one HTTP/2 frame ends and the next one begins, RFC 9113 section 4.1.

/// Part of a body.
pub const DATA: u8 = 0;
/// Head of a request or a response, or trailers.
pub const HEADERS: u8 = 1;
/// The end of a stream before its time.
pub const RST_STREAM: u8 = 3;
/// What a side allows.
pub const SETTINGS: u8 = 4;
/// What a server would push.
pub const PUSH_PROMISE: u8 = 5;
/// A question whether the peer is there, or the answer.
pub const PING: u8 = 6;
/// The way out.
pub const GOAWAY: u8 = 7;
/// Room for more of a body.
pub const WINDOW_UPDATE: u8 = 8;
/// More of a head.
pub const CONTINUATION: u8 = 9;
/// A type that nobody knows, and everybody has to ignore.
pub const UNKNOWN: u8 = 0xff;

/// Flag: an answer.
pub const ACK: u8 = 1;
/// Flag: nothing follows on this stream in this direction.
pub const END_STREAM: u8 = 1;
/// Flag: no more of the head follows.
pub const END_HEADERS: u8 = 4;

/// The length of a head.
pub const HEAD: usize = 9;
/// Where the type stands in it.
pub const KIND_OFFSET: usize = 3;

/// What the head of a frame says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// Its type.
    pub kind: u8,
    /// What holds of it.
    pub flags: u8,
    /// Which it belongs to; 0 is the connection.
    pub stream: u32,
    /// Of its payload, in bytes.
    pub length: u32,
}

impl Frame {
    fn parse(head: [u8; HEAD]) -> Self {
        let [a, b, c, kind, flags, stream @ ..] = head;
        // The highest bit is reserved.
        let stream = u32::from_be_bytes(stream) & (u32::MAX >> 1);
        Self { kind, flags, stream, length: u32::from_be_bytes([0, a, b, c]) }
    }

    /// Whether this flag is set.
    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// How many bytes of the payload belong together; 0 where nobody looks at it.
    fn unit(&self) -> usize {
        match self.kind {
            SETTINGS => 6,
            PING => 8,
            WINDOW_UPDATE => 4,
            _ => 0,
        }
    }
}

/// A frame of our own, with a payload that is short.
pub fn encode(kind: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0, 0, payload.len() as u8, kind, 0];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// Follows the frames that pass in one direction, in pieces of any size.
#[derive(Debug, Clone, Default)]
pub struct FrameScanner {
    /// A head, or a unit of payload, that is not complete yet.
    part: [u8; HEAD],
    filled: usize,
    /// The frame whose payload is passing, and how much of it is still to come.
    frame: Option<Frame>,
    left: usize,
    in_header_block: bool,
}

impl FrameScanner {
    /// One that lets so many bytes pass before the first frame.
    pub fn behind(preface: usize) -> Self {
        let frame = Frame { kind: UNKNOWN, flags: 0, stream: 0, length: 0 };
        Self { frame: Some(frame), left: preface, ..Self::default() }
    }

    /// Calls `seen` with each head, and an empty payload, and then with each unit of a payload that matters; and with
    /// where it ends in these bytes.
    pub fn scan(&mut self, all: &[u8], mut seen: impl FnMut(Frame, &[u8], usize)) {
        let mut bytes = all;
        while !bytes.is_empty() {
            let Some(frame) = self.frame else {
                if self.fill(&mut bytes, HEAD) {
                    let frame = Frame::parse(self.part);
                    if matches!(frame.kind, HEADERS | PUSH_PROMISE | CONTINUATION) {
                        self.in_header_block = !frame.has(END_HEADERS);
                    }
                    self.left = frame.length as usize;
                    self.frame = Some(frame).filter(|_| self.left > 0);
                    seen(frame, &[], all.len() - bytes.len());
                }
                continue;
            };
            match frame.unit().min(self.left) {
                0 => {
                    let passing = self.left.min(bytes.len());
                    self.left -= passing;
                    bytes = &bytes[passing..];
                }
                unit => {
                    if self.fill(&mut bytes, unit) {
                        self.left -= unit;
                        seen(frame, &self.part[..unit], all.len() - bytes.len());
                    }
                }
            }
            if self.left == 0 {
                self.frame = None;
            }
        }
    }

    /// Whether the part is complete now.
    fn fill(&mut self, bytes: &mut &[u8], size: usize) -> bool {
        let (taken, rest) = bytes.split_at(bytes.len().min(size - self.filled));
        self.part[self.filled..self.filled + taken.len()].copy_from_slice(taken);
        *bytes = rest;
        self.filled = (self.filled + taken.len()) % size;
        self.filled == 0
    }

    /// Whether another frame may stand here: not inside of one, and not between the frames of one header block.
    pub fn is_between_frames(&self) -> bool {
        self.frame.is_none() && self.filled == 0 && !self.in_header_block
    }

    /// Whether a header block has begun and is not complete.
    pub fn is_in_header_block(&self) -> bool {
        self.in_header_block || self.frame.is_some_and(|frame| matches!(frame.kind, HEADERS | CONTINUATION))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fuzz_tests::holds;

    /// What is seen of these bytes when they come in pieces of this size.
    fn seen(bytes: &[u8], size: usize) -> (Vec<(Frame, Vec<u8>)>, FrameScanner) {
        let mut scanner = FrameScanner::default();
        let mut seen = Vec::new();
        for piece in bytes.chunks(size) {
            scanner.scan(piece, |frame, payload, _| seen.push((frame, payload.to_vec())));
        }
        (seen, scanner)
    }

    #[test]
    fn frames_are_seen_the_same_in_pieces_of_any_size() {
        let mut bytes = encode(SETTINGS, 0, &[0, 4, 0, 0, 0, 1, 0, 3, 0, 0, 0, 100]);
        bytes.extend(encode(DATA, 3, b"GOAWAY and other text"));
        bytes.extend(encode(SETTINGS, 0, &[]));
        bytes.extend(encode(PING, 0, b"12345678"));
        bytes.extend(encode(WINDOW_UPDATE, 5, &7_u32.to_be_bytes()));
        let (whole, _) = seen(&bytes, bytes.len());
        let payloads: Vec<_> =
            whole.iter().map(|(frame, payload)| (frame.kind, payload.as_slice())).collect();
        let expected: [(u8, &[u8]); 9] = [
            (SETTINGS, &[]),
            (SETTINGS, &[0, 4, 0, 0, 0, 1]),
            (SETTINGS, &[0, 3, 0, 0, 0, 100]),
            (DATA, &[]),
            (SETTINGS, &[]),
            (PING, &[]),
            (PING, b"12345678"),
            (WINDOW_UPDATE, &[]),
            (WINDOW_UPDATE, &[0, 0, 0, 7]),
        ];
        assert_eq!(payloads, expected);
        for size in 1..bytes.len() {
            let (pieces, scanner) = seen(&bytes, size);
            assert_eq!(pieces, whole, "in pieces of {size}");
            assert!(scanner.is_between_frames());
        }
    }

    #[test]
    fn no_place_inside_a_frame_is_between_frames() {
        let bytes = encode(DATA, 1, b"some");
        for size in 1..bytes.len() {
            assert!(!seen(&bytes[..size], size).1.is_between_frames(), "after {size}");
        }
    }

    #[test]
    fn no_place_inside_a_header_block_is_between_frames() {
        let mut bytes = encode(HEADERS, 1, b"a block in two");
        let (_, scanner) = seen(&bytes, bytes.len());
        assert!(!scanner.is_between_frames() && scanner.is_in_header_block());
        let mut last = encode(CONTINUATION, 1, b"parts");
        last[4] = END_HEADERS;
        bytes.extend(last);
        let (_, scanner) = seen(&bytes, bytes.len());
        assert!(scanner.is_between_frames() && !scanner.is_in_header_block());
    }

    /// Each head, and each unit of a payload that matters, with where it ends; and whether a frame ends with the bytes.
    fn walked(bytes: &[u8]) -> (Vec<(u8, Vec<u8>, usize)>, bool) {
        let (mut seen, mut at) = (Vec::new(), 0);
        while let Some(head) = bytes.get(at..at + 9) {
            at += 9;
            seen.push((head[3], Vec::new(), at));
            let end = at + (usize::from(head[0]) << 16) + (usize::from(head[1]) << 8) + usize::from(head[2]);
            let payload = &bytes[at..end.min(bytes.len())];
            let unit = match head[3] {
                4 => 6,
                6 => 8,
                8 => 4,
                _ => payload.len().max(1),
            };
            for part in payload.chunks(unit).filter(|_| matches!(head[3], 4 | 6 | 8)) {
                at += part.len();
                if part.len() == unit || at == end {
                    seen.push((head[3], part.to_vec(), at));
                }
            }
            if end > bytes.len() {
                return (seen, false);
            }
            at = end;
        }
        (seen, at == bytes.len())
    }

    #[test]
    fn any_pieces_of_frames_are_seen_as_by_one_who_has_all_of_them() {
        holds("http2", |input| {
            let mut scanner = FrameScanner::behind(24);
            let (mut seen, mut passed) = (Vec::new(), 0);
            for piece in input.pieces() {
                scanner.scan(piece, |frame, payload, end| {
                    seen.push((frame.kind, payload.to_vec(), passed + end - 24));
                });
                passed += piece.len();
            }
            let (expected, is_whole) = input.bytes.get(24..).map_or((Vec::new(), false), walked);
            prop_assert_eq!(seen, expected);
            prop_assert_eq!(scanner.is_between_frames(), is_whole && !scanner.is_in_header_block());
            Ok(())
        });
    }
}
