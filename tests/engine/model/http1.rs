//! HTTP/1.1: what was sent is answered in its order, until a response says that it is the last one; and which may be that.

use std::{
    fmt,
    io::ErrorKind,
    thread,
    time::{Duration, Instant},
};

use fastrand::Rng;

use super::{
    CLOSING, DRAINING, Progress, SIGNALLED, run,
    script::{Ending, Request, Script, Step},
};
use crate::support::http1::{Http1, Response};

/// What the server reads at a time, at least. What is sent together is read together if no more than this waits.
const READ: usize = 8 * 1024;

/// How long the server takes in what still comes when it has closed its side.
const LINGER: Duration = Duration::from_secs(2);

#[test]
fn any_client_gets_what_it_is_owed_whenever_the_process_drains() {
    run(|rng, number, process, progress| {
        let script = Script::new(rng, number);
        if rng.bool() {
            thread::sleep(Duration::from_micros(rng.u64(..40_000)));
        }
        let connecting = Instant::now();
        let Ok(client) = Http1::try_connect(process.address_of_service()) else {
            return assert!(progress.has(CLOSING), "the listener is open until the delay is over");
        };
        // From then on, a connection may come too late.
        if !progress.has(CLOSING) {
            let (script, writes) = (&script, Vec::new());
            Connection { client, script, writes, responses: 0, progress, connecting }.play(rng);
        }
    });
}

/// One write of the client's.
struct Write {
    end: usize,
    /// How many responses it had read before.
    responses: usize,
    /// Whether it knew before that the process drains.
    draining: bool,
    /// Whether the server may not know how many requests it has read with this write: it may read it together with
    /// what is behind a body, or with what is behind that.
    uncounted: bool,
}

struct Connection<'a> {
    client: Http1,
    script: &'a Script,
    writes: Vec<Write>,
    responses: usize,
    progress: &'a Progress,
    connecting: Instant,
}

impl Connection<'_> {
    fn play(mut self, rng: &mut Rng) {
        for step in &self.script.steps {
            match *step {
                Step::Send(end) => self.send(end),
                Step::Pause(time) => thread::sleep(time),
                Step::Read => {
                    if self.read_owed() {
                        return self.ended();
                    }
                }
            }
        }
        match self.script.ending {
            Ending::Leave => {}
            Ending::Reset => self.client.reset(),
            Ending::HalfClose => {
                if rng.bool() && self.read_owed() {
                    return self.ended();
                }
                self.client.finish_sending();
                self.read_owed();
                self.ended();
            }
            Ending::LastRequest => {
                if self.read_owed() {
                    return self.ended();
                }
                self.progress.wait_for(DRAINING);
                let response = self.client.get("/livez");
                assert!(response.status == 200 && response.says_close(), "{response:?}\n{self}");
                self.client.ended();
            }
        }
    }

    fn send(&mut self, end: usize) {
        let start = self.sent();
        let draining = self.progress.has(DRAINING);
        let mut unanswered =
            self.script.requests.iter().skip(self.responses).take_while(|r| r.head_end <= end);
        let oldest = self.responses.checked_sub(1).map_or(0, |last| self.script.requests[last].end);
        let uncounted = unanswered.any(|request| request.has_body)
            || self.writes.iter().any(|write| write.end > oldest && write.uncounted)
            || end - oldest > READ;
        self.writes.push(Write { end, responses: self.responses, draining, uncounted });
        // It fails when the server has closed, as its response will say.
        let _ = self.client.try_send(&self.script.bytes[start..end]);
    }

    fn sent(&self) -> usize {
        self.writes.last().map_or(0, |write| write.end)
    }

    /// Reads the response to each request that was sent; tells whether the last of them ends the connection.
    fn read_owed(&mut self) -> bool {
        while let Some(request) = self.script.requests.get(self.responses).filter(|r| r.end <= self.sent()) {
            let response = match request.is_head {
                true => self.client.try_head(),
                false => self.client.try_response(),
            };
            let response =
                response.unwrap_or_else(|error| panic!("no response {request:?}: {error}\n{self}"));
            self.check(request, &response);
            self.responses += 1;
            if response.says_close() {
                return true;
            }
        }
        false
    }
}

// The contract

impl Connection<'_> {
    fn check(&self, request: &Request, response: &Response) {
        let said = || format!("{request:?}\ngot {response:?}\n{self}");
        assert_eq!(response.header("x-request-id"), Some(request.id.as_str()), "{}", said());
        assert_eq!(response.status, request.status, "{}", said());
        match &request.body {
            Some(body) => assert_eq!(&response.body, body, "{}", said()),
            None => drop(response.problem(request.status)),
        }
        if response.says_close() {
            assert!(self.may_close(request), "closed too early: {}", said());
        } else {
            assert!(!self.must_close(request), "not closed: {}", said());
        }
    }

    /// The write that completed the head of a request.
    fn write(&self, request: &Request) -> Option<&Write> {
        self.writes.iter().find(|write| write.end >= request.head_end)
    }

    fn may_close(&self, request: &Request) -> bool {
        if request.closes || !self.progress.has(SIGNALLED) {
            return request.closes;
        }
        let next = self.script.requests.get(self.responses + 1);
        let (Some(write), Some(next)) = (self.write(request), next.and_then(|next| self.write(next))) else {
            return true;
        };
        write.end != next.end || write.uncounted
    }

    /// Whether it came when the process drained, and there was nothing behind it.
    fn must_close(&self, request: &Request) -> bool {
        let came_in_drain = self.write(request).is_some_and(|write| write.draining);
        request.closes || (came_in_drain && request.end == self.sent())
    }

    /// Requires that nothing comes any more.
    fn ended(&mut self) {
        match self.client.try_rest() {
            Ok(rest) => assert!(rest.is_empty(), "{:?}\n{self}", String::from_utf8_lossy(&rest)),
            // What is sent to a server that has closed is answered by a reset, in the end.
            Err(error) => {
                let was_slow =
                    self.connecting.elapsed() > LINGER && error.kind() == ErrorKind::ConnectionReset;
                assert!(was_slow, "{error}\n{self}");
            }
        }
    }
}

impl fmt::Display for Connection<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut start = 0;
        for Write { end, responses, draining, uncounted } in &self.writes {
            let bytes = String::from_utf8_lossy(&self.script.bytes[start..*end]);
            writeln!(
                f,
                "sent after {responses} responses, draining {draining}, uncounted {uncounted}: {bytes:?}"
            )?;
            start = *end;
        }
        writeln!(f, "{} responses; {:?}", self.responses, self.script.ending)
    }
}
