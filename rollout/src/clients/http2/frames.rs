//! The frames in the bytes of one direction of an HTTP/2 connection.

/// The length of the client's connection preface, which precedes its frames.
pub(super) const PREFACE: usize = 24;

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
#[cfg(test)]
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const CONTINUATION: u8 = 9;

#[cfg(test)]
pub(super) const ACK: u8 = 0x1;
pub(super) const END_STREAM: u8 = 0x1;
pub(super) const END_HEADERS: u8 = 0x4;

const HEAD: usize = 9;

/// The head of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
}

/// Finds the frames in bytes that come in parts.
pub(super) struct Frames {
    /// How much of the preface or of the present payload is still to come.
    skip: usize,
    head: Vec<u8>,
}

impl Frames {
    /// Begins after this many bytes.
    pub(super) fn after(preface: usize) -> Self {
        Self { skip: preface, head: Vec::with_capacity(HEAD) }
    }

    /// Calls `each` for every frame that these bytes complete.
    pub(super) fn feed(&mut self, mut bytes: &[u8], mut each: impl FnMut(Frame)) {
        while !bytes.is_empty() {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            if self.head.len() < HEAD {
                let wanted = (HEAD - self.head.len()).min(bytes.len());
                self.head.extend_from_slice(&bytes[..wanted]);
                bytes = &bytes[wanted..];
                if let [a, b, c, ..] = self.head[..]
                    && self.head.len() == HEAD
                {
                    self.skip = u32::from_be_bytes([0, a, b, c]) as usize;
                }
            }
            if let [_, _, _, kind, flags, a, b, c, d] = self.head[..]
                && self.skip == 0
            {
                each(Frame { kind, flags, stream: u32::from_be_bytes([a, b, c, d]) & 0x7fff_ffff });
                self.head.clear();
            }
        }
    }

    /// Counts the frames of this kind that these bytes complete.
    pub(super) fn count(&mut self, kind: u8, bytes: &[u8]) -> u32 {
        let mut found = 0;
        self.feed(bytes, |frame| found += u32::from(frame.kind == kind));
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_found_however_the_bytes_are_cut() {
        let mut bytes = vec![0; PREFACE];
        bytes.extend([0, 0, 6, 4, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1]);
        bytes.extend([0, 0, 2, HEADERS, 5, 0, 0, 0, 1, 9, 9]);
        bytes.extend([0, 0, 0, 4, 1, 0, 0, 0, 0]);
        bytes.extend([0, 0, 2, HEADERS, 4, 0, 0, 0, 3, 9, 9]);
        let frame = |kind, flags, stream| Frame { kind, flags, stream };
        for size in 1..bytes.len() {
            let (mut frames, mut found) = (Frames::after(PREFACE), Vec::new());
            bytes.chunks(size).for_each(|part| frames.feed(part, |frame| found.push(frame)));
            let all = [frame(4, 0, 0), frame(HEADERS, 5, 1), frame(4, 1, 0), frame(HEADERS, 4, 3)];
            assert_eq!(found, all, "cut to {size}");
        }
    }

    #[test]
    fn a_frame_is_found_once_its_payload_is_there() {
        let mut frames = Frames::after(0);
        assert_eq!(frames.count(DATA, &[0, 0, 2, DATA, END_STREAM, 0, 0, 0, 1, 9]), 0);
        assert_eq!(frames.count(DATA, &[9]), 1);
    }
}
