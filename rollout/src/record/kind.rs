//! The kinds of client.

use serde::{Serialize, Serializer};

/// A kind of client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Keeps its connection and sends again soon after the last response.
    Busy,
    /// Keeps its connection and is silent for longer than the drain delay.
    Idle,
    /// Connects for every request.
    Fresh,
    /// Sends several streams over one HTTP/2 connection.
    H2,
    /// Keeps an HTTP/2 connection, is silent for longer than the drain delay, and reads all the while.
    H2Idle,
    /// The same, but reads only while it awaits a response; a GOAWAY before that is the connection's end.
    H2Blocking,
    /// Is busy, with a body.
    Post,
    /// Reads an endless response until the server ends it.
    Stream,
    /// Sends several requests at once on one connection, before the first response.
    Pipeline,
    /// Sends a body so slowly that a rollout falls into it.
    Upload,
    /// Reads a large response so slowly that a rollout falls into it.
    Download,
    /// Ends its side of the connection once the request is written.
    HalfClose,
    /// Keeps a WebSocket, and pings.
    Websocket,
    /// Sends at a rate, however slow the responses are.
    Open,
    /// A program on a real client library, by this name.
    Library(&'static str),
}

impl Kind {
    /// Every kind of this tool's own, in the order of the table.
    pub(crate) const ALL: [Kind; 14] = [
        Kind::Busy,
        Kind::Idle,
        Kind::Fresh,
        Kind::H2,
        Kind::H2Idle,
        Kind::H2Blocking,
        Kind::Post,
        Kind::Stream,
        Kind::Pipeline,
        Kind::Upload,
        Kind::Download,
        Kind::HalfClose,
        Kind::Websocket,
        Kind::Open,
    ];

    /// Whether it speaks HTTP/2; a library's program knows that itself.
    pub(crate) fn is_http2(self) -> bool {
        matches!(self, Kind::H2 | Kind::H2Idle | Kind::H2Blocking)
    }

    /// The kind's name on the command line and in the table.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Busy => "busy",
            Kind::Idle => "idle",
            Kind::Fresh => "fresh",
            Kind::H2 => "h2",
            Kind::H2Idle => "h2-idle",
            Kind::H2Blocking => "h2-blocking",
            Kind::Post => "post",
            Kind::Stream => "stream",
            Kind::Pipeline => "pipeline",
            Kind::Upload => "upload",
            Kind::Download => "download",
            Kind::HalfClose => "half-close",
            Kind::Websocket => "websocket",
            Kind::Open => "open",
            Kind::Library(name) => name,
        }
    }
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_http2s_kinds_begin_with_it() {
        assert!(Kind::ALL.iter().all(|kind| kind.is_http2() == kind.name().starts_with("h2")));
    }
}
