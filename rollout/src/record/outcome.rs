//! What can become of a request.

use serde::Serialize;

/// What became of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// Answered in full with a 2xx; for a stream, also ended as its framing says.
    Ok,
    /// Answered in full with another status.
    Status(u16),
    /// Written as the first request of its connection, and not answered.
    LostFirst,
    /// Written on a connection that had answered before, and not answered.
    LostKept,
    /// Never written: the connection was refused.
    Refused,
    /// Never written: the connection was not made in time.
    ConnectTimeout,
    /// Written, and not answered in time.
    ResponseTimeout,
    /// Answered in part: the body broke off before its framing's end.
    Cut,
    /// Refused as an HTTP/2 stream: by REFUSED_STREAM, or above the last stream of a GOAWAY.
    StreamRefused,
    /// What a client library reported as an error; how far the request had come it does not say.
    LibraryError,
    /// Lost because the chaos of this tool killed the client's connection; no fault of the server.
    Killed,
}

impl Outcome {
    /// Says whether the caller was failed: anything but a full 2xx, unless the tool did it itself.
    pub(crate) fn is_failure(self) -> bool {
        !matches!(self, Outcome::Ok | Outcome::Killed)
    }
}
