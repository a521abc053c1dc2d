//! What one HTTP/1.1 client is going to do, told from a seed.

use std::time::Duration;

use fastrand::Rng;

use super::pause;

/// A request, and the response that is owed to it.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) id: String,
    /// Where its head and all of it end among the bytes that are sent.
    pub(super) head_end: usize,
    pub(super) end: usize,
    pub(super) is_head: bool,
    pub(super) has_body: bool,
    /// Whether the connection ends with it, drain or not.
    pub(super) closes: bool,
    pub(super) status: u16,
    /// `None` where it is a problem.
    pub(super) body: Option<String>,
}

#[derive(Debug)]
pub(super) enum Step {
    /// Sends everything up to this byte, in one write.
    Send(usize),
    Pause(Duration),
    /// Reads what is owed to it.
    Read,
}

/// How the client ends a connection that the server has not closed.
#[derive(Debug)]
pub(super) enum Ending {
    /// It says that it sends no more, and reads on.
    HalfClose,
    /// It asks for the last time when the server drains.
    LastRequest,
    /// It closes without reading.
    Leave,
    Reset,
}

#[derive(Debug)]
pub(super) struct Script {
    pub(super) requests: Vec<Request>,
    pub(super) bytes: Vec<u8>,
    pub(super) steps: Vec<Step>,
    pub(super) ending: Ending,
}

impl Script {
    pub(super) fn new(rng: &mut Rng, client: usize) -> Self {
        let mut script =
            Self { requests: Vec::new(), bytes: Vec::new(), steps: Vec::new(), ending: Ending::LastRequest };
        for number in 0..rng.usize(..8) {
            script.add(rng, format!("{client}-{number}"));
        }
        script.ending = match rng.u8(..10) {
            0..4 => Ending::LastRequest,
            4..8 => Ending::HalfClose,
            8 => Ending::Leave,
            _ => Ending::Reset,
        };
        if let (false, Some(last)) = (matches!(script.ending, Ending::LastRequest), script.requests.last())
            && rng.u8(..4) == 0
        {
            // Inside of the head, as what becomes of half a body is the handler's affair.
            let previous = script.requests.iter().rev().nth(1).map_or(0, |request| request.end);
            script.bytes.truncate(rng.usize(previous..last.head_end));
        }
        script.split(rng);
        script
    }

    /// Adds a request to those that are to be sent.
    pub(super) fn add(&mut self, rng: &mut Rng, id: String) {
        let (mut is_head, mut closes, mut status, mut fields) = (false, false, 200, String::new());
        let mut content = String::new();
        let (line, body) = match rng.u8(..20) {
            0..8 => ("GET /".to_owned(), Some(r#"{"name":"testbed"}"#.to_owned())),
            8..10 => {
                is_head = true;
                ("HEAD /".to_owned(), Some(String::new()))
            }
            10..12 => {
                status = 404;
                ("GET /nothing".to_owned(), None)
            }
            12..14 => (format!("GET /block/{}", rng.u8(..4)), Some("blocked\n".to_owned())),
            14..16 => {
                let kib = [1, 20, 300][rng.usize(..3)];
                (format!("GET /large/{kib}"), Some("a".repeat(kib << 10)))
            }
            16..18 => {
                status = 201;
                let name = "\\r\\n\\r\\nGET / ".repeat(rng.usize(1..4));
                // JSON takes line ends between its parts, which look like the end of a head.
                content = format!("{{\"name\":\r\n\r\n\"{name}\"}}");
                fields = "content-type: application/json\r\n".to_owned();
                ("POST /greetings".to_owned(), Some(format!("{{\"greeting\":\"Hello, {name}!\"}}")))
            }
            18 => {
                // A handler that leaves the body unread.
                (closes, status) = (true, 405);
                content = "nobody\r\n\r\nreads this".to_owned();
                ("POST /".to_owned(), None)
            }
            _ => {
                // Responds before it has read the body.
                closes = true;
                content = "comes\r\n\r\nback".to_owned();
                ("POST /mirror".to_owned(), Some(content.clone()))
            }
        };
        if rng.u8(..20) == 0 {
            closes = true;
            fields += "Connection: close\r\n";
        }
        if rng.u8(..8) == 0 {
            // RFC 9112 section 2.2.
            self.bytes.extend(b"\r\n");
        }
        let has_body = !content.is_empty();
        match rng.bool() {
            _ if !has_body => {}
            true => fields += &format!("content-length: {}\r\n", content.len()),
            false => {
                fields += "transfer-encoding: chunked\r\n";
                let (first, second) = content.split_at(rng.usize(1..content.len()));
                content = [first, second, ""].map(|part| format!("{:x}\r\n{part}\r\n", part.len())).concat();
            }
        }
        let head = format!("{line} HTTP/1.1\r\nhost: landfall.test\r\nx-request-id: {id}\r\n{fields}\r\n");
        self.bytes.extend(head.as_bytes());
        let head_end = self.bytes.len();
        self.bytes.extend(content.as_bytes());
        let end = self.bytes.len();
        self.requests.push(Request { id, head_end, end, is_head, has_body, closes, status, body });
    }

    /// Decides what is sent together.
    fn split(&mut self, rng: &mut Rng) {
        let mut ends = vec![self.bytes.len()];
        for request in &self.requests {
            if rng.bool() {
                ends.push(request.end);
            }
        }
        for _ in 0..rng.usize(..5) {
            ends.push(rng.usize(..=self.bytes.len()));
        }
        ends.retain(|&end| 0 < end && end <= self.bytes.len());
        ends.sort_unstable();
        ends.dedup();
        for end in ends {
            self.steps.push(Step::Send(end));
            match rng.u8(..3) {
                0 => {}
                1 => self.steps.push(Step::Pause(pause(rng))),
                _ => self.steps.push(Step::Read),
            }
        }
    }
}
