//! What has been read of an HTTP/1 connection beyond the request that is answered: requests sent together are read
//! together, and answered one by one.

use std::sync::{
    LazyLock,
    atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
};

use memchr::memmem::Finder;

/// The end of a head, as everybody writes it; and with a bare line feed, which hyper takes too.
static BLANK_LINES: LazyLock<[Finder<'static>; 2]> =
    LazyLock::new(|| [b"\n\r\n" as &[u8], b"\n\n"].map(Finder::new));

/// Follows the heads in what is read, RFC 9112 section 2.1. What follows a body in one read is not seen, as nobody
/// here knows where the body ends.
#[derive(Debug, Default)]
pub(super) struct ReadAhead {
    requests: AtomicU32,
    in_head: AtomicBool,
    in_line: AtomicBool,
}

impl ReadAhead {
    /// These bytes were read, and are no body.
    pub(super) fn bytes_read(&self, bytes: &[u8]) {
        if !self.has_partial_head() && is_one_head(bytes) {
            self.requests.store(self.requests.load(Relaxed) + 1, Relaxed);
            return;
        }
        let (mut in_head, mut in_line) = (self.in_head.load(Relaxed), self.in_line.load(Relaxed));
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', bytes) {
            let is_empty = !in_line && is_empty_line(&bytes[start..end]);
            // Empty lines before a head belong to nothing, RFC 9112 section 2.2.
            if is_empty && in_head {
                self.requests.fetch_add(1, Relaxed);
            }
            in_head = !is_empty;
            in_line = false;
            start = end + 1;
        }
        in_line |= !is_empty_line(&bytes[start..]);
        self.in_head.store(in_head, Relaxed);
        self.in_line.store(in_line, Relaxed);
    }

    /// The first of the requests that were read is to be answered.
    pub(super) fn request_began(&self, has_body: bool) {
        if has_body {
            self.in_head.store(false, Relaxed);
            self.in_line.store(false, Relaxed);
        }
        let others = if has_body { 0 } else { self.requests.load(Relaxed).saturating_sub(1) };
        self.requests.store(others, Relaxed);
    }

    /// No request is waiting: more is read only then.
    pub(super) fn no_request_waits(&self) {
        self.requests.store(0, Relaxed);
    }

    /// Whether a request has been read that is still to be answered.
    pub(super) fn has_request(&self) -> bool {
        self.requests.load(Relaxed) > 0
    }

    /// Whether a head has been read in part.
    pub(super) fn has_partial_head(&self) -> bool {
        self.in_head.load(Relaxed) || self.in_line.load(Relaxed)
    }
}

/// Whether this is one head and nothing else, as most reads are.
fn is_one_head(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(u8::is_ascii_uppercase)
        && bytes.ends_with(b"\n\r\n")
        && BLANK_LINES.each_ref().map(|end| end.find(bytes)) == [Some(bytes.len() - 3), None]
}

fn is_empty_line(line: &[u8]) -> bool {
    matches!(line, [] | b"\r")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fuzz_tests::holds;

    const HEAD: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";

    fn read<'a>(parts: impl IntoIterator<Item = &'a str>) -> (u32, bool) {
        let ahead = ReadAhead::default();
        parts.into_iter().for_each(|part| ahead.bytes_read(part.as_bytes()));
        (ahead.requests.load(Relaxed), ahead.has_partial_head())
    }

    #[test]
    fn heads_are_counted_wherever_they_are_split() {
        let two = HEAD.repeat(2);
        for middle in 0..=two.len() {
            let is_partial = middle != 0 && middle != HEAD.len() && middle != two.len();
            let (first, rest) = two.split_at(middle);
            assert_eq!(read([first]), ((middle / HEAD.len()) as u32, is_partial), "{first:?}");
            assert_eq!(read([first, rest]), (2, false), "{first:?} {rest:?}");
        }
        assert_eq!(read(two.split_inclusive(|_| true)), (2, false));
    }

    #[test]
    fn one_head_is_what_most_reads_are() {
        assert!(is_one_head(HEAD.as_bytes()));
        for other in
            ["", "\r\n", "\r\n\r\n", &HEAD.repeat(2), &HEAD[1..HEAD.len() - 1], &format!("{HEAD}GET")]
        {
            assert!(!is_one_head(other.as_bytes()), "{other:?}");
        }
    }

    #[test]
    fn empty_lines_are_no_heads_and_bare_line_feeds_end_lines() {
        assert_eq!(read(["\r\n"]), (0, false));
        assert_eq!(read(["\r\n\r\n\n", HEAD, "\r"]), (1, false));
        assert_eq!(read(["GET / HTTP/1.1\nhost: a\n\n"]), (1, false));
        assert_eq!(read(["G"]), (0, true));
    }

    #[test]
    fn what_follows_a_head_is_taken_for_its_body_if_it_has_one() {
        let ahead = ReadAhead::default();
        ahead.bytes_read(HEAD.repeat(3).as_bytes());
        ahead.request_began(false);
        assert!(ahead.has_request());
        ahead.request_began(true);
        assert!(!ahead.has_request());
        ahead.bytes_read(b"GET");
        ahead.request_began(true);
        assert!(!ahead.has_partial_head());
    }

    /// How many heads hyper's parser finds, and whether it is in the midst of one; `None` where it finds a fault.
    fn parsed(mut bytes: &[u8]) -> Option<(u32, bool)> {
        let mut count = 0;
        loop {
            let mut headers = [httparse::EMPTY_HEADER; 200];
            match httparse::Request::new(&mut headers).parse(bytes).ok()? {
                httparse::Status::Complete(length) => (count, bytes) = (count + 1, &bytes[length..]),
                httparse::Status::Partial => {
                    return Some((count, !bytes.iter().all(|b| b"\r\n".contains(b))));
                }
            }
        }
    }

    #[test]
    fn any_pieces_of_heads_are_counted_as_hyper_parses_them() {
        holds("http1", |input| {
            let (pieces, whole) = (ReadAhead::default(), ReadAhead::default());
            input.pieces().for_each(|piece| pieces.bytes_read(piece));
            whole.bytes_read(&input.bytes);
            let found = |ahead: &ReadAhead| (ahead.requests.load(Relaxed), ahead.has_partial_head());
            // With others, nobody knows which line they belong to; hyper takes none.
            let is_end = |at: usize| input.bytes[at + 1..].first().is_none_or(|next| *next == b'\n');
            if memchr::memchr_iter(b'\r', &input.bytes).all(is_end) {
                prop_assert_eq!(found(&pieces), found(&whole));
            }
            if let Some(parsed) = parsed(&input.bytes) {
                prop_assert_eq!((found(&pieces), found(&whole)), (parsed, parsed));
            }
            Ok(())
        });
    }
}
