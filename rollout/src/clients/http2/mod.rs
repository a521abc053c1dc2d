//! HTTP/2: `multiplexed` is the client, `socket` its socket.

pub(super) mod multiplexed;

mod socket;
