//! HTTP/2: `multiplexed` is the client, `wire` its socket.

pub(super) mod multiplexed;

mod wire;
